"""The condition that a device is in, asked of its shell: battery, charger, heat, disk.

One portable script (`facts.sh`) for Linux, macOS and Android, run before each measurement and by the probe. What it prints
is not trusted: a number that is not plausible is no number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from edgecarbon.dispatch import quoting

MAXIMUM_LINES = 2000
_PACKAGES = {
    "apt-get": "sudo apt-get install python3 python3-venv",
    "dnf": "sudo dnf install python3",
    "pacman": "sudo pacman -S python",
    "brew": "brew install python",
    "pkg": "pkg install python python-torch",
}
# Android starts to slow down at `moderate`, 2, of its scale of 0 to 6.
_THROTTLED_FROM = 2


class Limits(Protocol):
    """The `limits` of a device's entry, as far as its condition is held to them."""

    battery_floor_percent: float
    charger: str
    ceiling_celsius: float | None
    disk_floor_mbyte: float


@dataclass(frozen=True)
class Facts:
    """A device's condition; None where the device does not tell."""

    system: str | None = None
    release: str | None = None
    machine: str | None = None
    android: str | None = None
    model: str | None = None
    python: str | None = None
    package_tool: str | None = None
    unix_s: float | None = None
    disk_free_bytes: float | None = None
    memory_total_bytes: float | None = None
    load: float | None = None
    battery_percent: float | None = None
    battery_status: str | None = None
    charger_connected: bool | None = None
    zones_celsius: dict[str, float] = field(default_factory=dict)
    """Hottest reading of each kind of thermal zone."""
    hottest_celsius: float | None = None
    throttled: bool | None = None
    """Whether the system says that it is slowed down for heat now."""
    throttle_count: float | None = None
    """How often Linux has throttled the processor since it was started."""
    phantom_killing: bool | None = None
    """Whether Android ends background processes of apps beyond a number (Android 12 and later)."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Trouble:
    """Something that stands in the way, and the way out."""

    reason: str
    remedy: str


def script(folder: str, sysfs: str = "/sys") -> str:
    """The shell text that asks a device.

    Args:
        folder: where this project's files are kept there, absolute or under `~/`.
        sysfs: where its /sys is.
    """
    text = Path(__file__).with_name("facts.sh").read_text(encoding="utf-8")
    return f"folder={quoting.path(folder)} sysfs={quoting.word(sysfs)}\n{text}"


def parse(text: str) -> Facts:
    """What the script said. Never raises: the text is a device's."""
    said: dict[str, list[str]] = {}
    for line in text.splitlines()[:MAXIMUM_LINES]:
        key, equals, value = line.partition("=")
        if equals:
            said.setdefault(key[:100], []).append(value.strip()[:200])
    dumpsys = dict(line.partition(":")[::2] for line in said.get("dumpsys", []))
    pmset = " ".join(said.get("pmset", []))
    zones = _zones(said)
    battery_celsius = _number(dumpsys.get("temperature"), -400, 1500, 0.1)
    if battery_celsius is not None:
        zones["battery"] = battery_celsius
    percent = [_number(value, 0, 100) for value in said.get("battery_percent", [])]
    percent += [_number(dumpsys.get("level"), 0, 100), _found_number(r"(\d+)%", pmset, 0, 100)]
    memory = _number(_first(said, "memory_total_bytes"), 1, 1e15)
    if memory is None:
        memory = _number(_first(said, "memory_total_kbyte"), 1, 1e12, 1024)
    return Facts(
        **{
            name: _words(said, name)
            for name in ("system", "release", "machine", "android", "model", "python", "package_tool")
        },
        unix_s=_number(_first(said, "unix_s"), 0, 1e11),
        disk_free_bytes=_number(_first(said, "disk_free_kbyte"), 0, 1e13, 1024),
        memory_total_bytes=memory,
        load=_number(_first(said, "load"), 0, 1e5),
        battery_percent=min((value for value in percent if value is not None), default=None),
        battery_status=_words(said, "battery_status"),
        charger_connected=_charger(said, dumpsys, pmset),
        zones_celsius=zones,
        hottest_celsius=max(zones.values(), default=None),
        throttled=_throttled(said),
        throttle_count=_number(_first(said, "throttle_count"), 0, 1e12),
        phantom_killing=_phantom_killing(said),
    )


def troubles(facts: Facts, limits: Limits) -> list[Trouble]:
    """What keeps a device from starting a run now."""
    found = []
    percent, hottest, free = facts.battery_percent, facts.hottest_celsius, facts.disk_free_bytes
    if percent is not None and percent < limits.battery_floor_percent:
        floor = f"{limits.battery_floor_percent:g} %"
        found.append(
            Trouble(f"its battery is at {percent:g} %, and limits.battery_floor_percent asks for {floor}", "Charge it")
        )
    if limits.charger != "any" and facts.charger_connected is not (limits.charger == "on"):
        state = {True: "on", False: "off", None: "not to be told"}[facts.charger_connected]
        mend = {"on": "Plug it in", "off": "Unplug it"}[limits.charger]
        found.append(Trouble(f"its charger is {state}, and limits.charger asks for {limits.charger}", mend))
    if limits.ceiling_celsius is not None and hottest is not None and hottest > limits.ceiling_celsius:
        ceiling = f"{limits.ceiling_celsius:g} °C"
        found.append(
            Trouble(f"it is at {hottest:.0f} °C, and limits.ceiling_celsius allows {ceiling}", "Let it cool down")
        )
    if free is not None and free < limits.disk_floor_mbyte * 1e6:
        floor = f"{limits.disk_floor_mbyte:g} MB"
        found.append(
            Trouble(
                f"it has {free / 1e6:.0f} MB of disk free, and limits.disk_floor_mbyte asks for {floor}", "Free disk"
            )
        )
    return found


def remedies(facts: Facts, found: Mapping[str, Any] | None) -> list[Trouble]:
    """What is missing on a device, each with the command that mends it.

    Args:
        found: what the payload's probe said there; None where it did not run.
    """
    missing = []
    if facts.python is None and found is None:
        missing.append(
            Trouble("no python3 was found", _PACKAGES.get(facts.package_tool or "", "install Python 3.11 or later"))
        )
    if facts.phantom_killing:
        missing.append(
            Trouble(
                "Android ends apps' background processes (phantom-process killing)",
                "adb shell settings put global settings_enable_monitor_phantom_procs false",
            )
        )
    for problem in (found or {}).get("problems") or []:
        if isinstance(problem, Mapping):
            missing.append(Trouble(str(problem.get("what"))[:500], str(problem.get("remedy"))[:500]))
    return missing


def _first(said: Mapping[str, list[str]], key: str) -> str | None:
    return said[key][0] if key in said else None


def _words(said: Mapping[str, list[str]], key: str) -> str | None:
    value = _first(said, key)
    return value or None


def _number(text: str | None, least: float, most: float, unit: float = 1.0) -> float | None:
    """A number within its bounds (in the unit that it was said in), times `unit`."""
    try:
        value = float((text or "").strip())
    except ValueError:
        return None
    return value * unit if math.isfinite(value) and least <= value <= most else None


def _found_number(pattern: str, text: str, least: float, most: float) -> float | None:
    found = re.search(pattern, text)
    return _number(found[1], least, most) if found else None


def _zones(said: Mapping[str, list[str]]) -> dict[str, float]:
    zones: dict[str, float] = {}
    for key, values in said.items():
        if key.startswith("zone "):
            # Thousandths of a degree; some phones' drivers give tenths, or whole degrees.
            degrees = [value for text in values if (value := _number(text, -40_000, 150_000)) is not None]
            plausible = [
                value / 1000 if abs(value) > 1500 else value / 10 if abs(value) > 150 else value for value in degrees
            ]
            if plausible:
                zones[key[5:]] = max(plausible)
    return zones


def _charger(said: Mapping[str, list[str]], dumpsys: Mapping[str, str], pmset: str) -> bool | None:
    """Whether power comes in from outside. A machine without a battery has no charger to tell of."""
    powered = [value.strip() for key, value in dumpsys.items() if key.endswith("powered")]
    if powered:
        return "true" in powered
    if "drawing from" in pmset:
        return "AC Power" in pmset
    if "online" in said:
        return any(value not in ("", "0") for value in said["online"])
    status = _first(said, "battery_status")
    return None if status is None else status != "Discharging"


def _throttled(said: Mapping[str, list[str]]) -> bool | None:
    status = _number(_first(said, "thermal_status"), 0, 6)
    if status is not None:
        return status >= _THROTTLED_FROM
    limit = _number(_first(said, "speed_limit"), 0, 100)
    return None if limit is None else limit < 100


def _phantom_killing(said: Mapping[str, list[str]]) -> bool | None:
    android = _found_number(r"^(\d+)", _first(said, "android") or "", 1, 1000)
    if android is None:
        return None
    allowed = _number(_first(said, "phantom_limit"), 0, 2**31)
    return android >= 12 and _first(said, "phantom_monitor") != "false" and (allowed is None or allowed < 1000)
