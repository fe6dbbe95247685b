"""A phone's battery through adb: charge × voltage, with the clocks and the thermal status beside it.

A loop in the phone's shell prints a block about once a second. It reads /sys/class/power_supply/battery where adb's
user may (the kernel's Documentation/ABI/testing/sysfs-class-power gives the units), else asks `dumpsys battery`.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence

from edgecarbon.meters.access import Access, Stream
from edgecarbon.meters.base import THROTTLED_FOR_HEAT, Channel, MeterUnavailable, Options, Quantity, RunsOn
from edgecarbon.meters.drain import Drain

RUNS_ON: RunsOn = "host"
UPDATE_PERIOD_S = 1.0
# A block that is this late did not come.
STALE_S = 15.0
OPEN_S = 10.0
THERMAL_EVERY = 10
_WAIT_S = 0.1
# PowerManager.THERMAL_STATUS_MODERATE.
_SLOWED_FROM = 2
_COULOMBS_PER_UAH = 3.6e-3
# What gauges commonly step by, though they print µAh.
_QUANTUM_COULOMBS = 3.6
_MOST_BYTES, _MOST_LINES, _MOST_LINE = 1 << 16, 500, 200
# 10 mAh to 100 Ah: outside it the counter is not what its name says.
_CHARGE_UAH = (1e4, 1e8)
_DUMPSYS_STATUS = {2: 0.0, 3: 1.0, 4: 0.0, 5: 0.0}
_FILE_STATUS = {"discharging": 1.0, "charging": 0.0, "not charging": 0.0, "full": 0.0}
_FAKED = "dumpsys (UPDATES STOPPED"

# The script comes through standard input, so that the command, by which a trace knows it, stays the same.
COMMAND = 'exec sh -c "$(cat)"'
_SCRIPT = f"""
battery=$sys/class/power_supply/battery
say() {{ {{ IFS= read -r value <"$2"; }} 2>/dev/null && echo "$1=$value"; }}
files=yes
for name in charge_counter voltage_now status; do say x "$battery/$name" >/dev/null || files=no; done
n=0
while echo "begin $n"; do
  say uptime "$proc/uptime"
  if [ $files = yes ]; then
    for name in charge_counter voltage_now current_now status temp; do say $name "$battery/$name"; done
    for name in usb ac dc wireless; do say online "$sys/class/power_supply/$name/online"; done
  else
    # Since Android 14 this makes the battery service read the gauge anew, too; before, it knows no such word.
    echo "current_now=$(cmd battery get -f current_now 2>/dev/null)"
    dumpsys battery 2>/dev/null | sed 's/^ */dumpsys /'
  fi
  for file in "$sys"/devices/system/cpu/cpufreq/policy*/scaling_cur_freq; do say clock "$file"; done
  [ $((n % {THERMAL_EVERY})) = 0 ] && dumpsys thermalservice 2>/dev/null | sed -n 's/^ *Thermal Status: */thermal=/p'
  echo "end $n" || exit
  n=$((n + 1))
  sleep 1
done
"""

Said = dict[str, list[str]]
_Values = dict[Quantity, float | None]
# Component, unit, resolution of each quantity.
_TOLD: dict[Quantity, tuple[str, str, float]] = {
    "energy": ("battery", "J", math.nan),
    "charge": ("battery", "C", _COULOMBS_PER_UAH),
    "voltage": ("battery", "V", 1e-3),
    "current": ("battery", "uA", 1.0),
    "discharging": ("battery", "1", 1.0),
    "temperature": ("battery", "C", 0.1),
    "frequency": ("cpu", "MHz", 1.0),
    "throttle": ("phone", "bitmask", 1.0),
}


class Blocks:
    """Whole blocks out of a text that comes in pieces and is not trusted: long lines and endless blocks are dropped."""

    def __init__(self) -> None:
        self._rest, self._number, self._lines = "", "", 0
        self._said: Said | None = None

    def add(self, text: str) -> list[Said]:
        """The blocks that are whole now, each as its keys with the values that were printed for them, in order."""
        whole: list[Said] = []
        *lines, self._rest = (self._rest + text)[-_MOST_BYTES:].split("\n")
        for line in lines:
            word, _, number = line.strip().partition(" ")
            if word == "begin":
                self._said, self._number, self._lines = {}, number, 0
            elif word == "end" and self._said is not None and number == self._number:
                whole.append(self._said)
                self._said = None
            elif self._said is not None:
                self._lines += 1
                if self._lines > _MOST_LINES:
                    self._said = None
                elif len(line) <= _MOST_LINE:
                    key, _, value = line.partition(":" if word == "dumpsys" else "=")
                    self._said.setdefault(key, []).append(value.strip())
        return whole


class AndroidMeter:
    """Values are those of the last block, for at most `STALE_S`; the phone's uptime tells blocks that were held up."""

    name = "android"

    def __init__(self, access: Access, stream: Stream, blocks: Blocks, told: Sequence[Said]) -> None:
        self._access, self._stream, self._blocks = access, stream, blocks
        self._drain, self._lead_s, self._heard_s = Drain(), math.inf, -math.inf
        # Asked less often than the rest, because it takes the phone longer to tell.
        self._throttle, self._throttle_s = 0.0, -math.inf
        self._values: _Values = {}
        for said in told:
            self._hear(said)
        by_file = "charge_counter" in told[0]
        battery_volts = decode(told[0])["voltage"] or 0.0
        self._channels = [
            _channel(quantity, by_file, battery_volts)
            for quantity, value in {"energy": 0.0, **decode(told[0])}.items()
            if value is not None
        ]

    def channels(self) -> list[Channel]:
        return list(self._channels)

    def read(self) -> list[float | None]:
        for said in self._blocks.add(self._stream.take()):
            self._hear(said)
        if self._access.monotonic() - self._heard_s > STALE_S:
            self._values = {}
        return [self._values.get(channel.quantity) for channel in self._channels]

    def close(self) -> None:
        self._stream.close()

    def _hear(self, said: Said) -> None:
        now_s, uptime_s = self._access.monotonic(), _seconds(said)
        if uptime_s is not None:
            self._lead_s = min(self._lead_s, now_s - uptime_s)
            if now_s - uptime_s - self._lead_s > STALE_S:
                return
        self._values, self._heard_s = decode(said), now_s
        if self._values["throttle"] is not None:
            self._throttle, self._throttle_s = self._values["throttle"], now_s
        elif now_s - self._throttle_s <= 2 * THERMAL_EVERY * UPDATE_PERIOD_S:
            self._values["throttle"] = self._throttle
        self._values["energy"] = self._drain.add(self._values["charge"], self._values["voltage"])


def open_meter(options: Options) -> AndroidMeter:
    if options.adb is None:
        raise MeterUnavailable("no phone is reached by adb here")
    access, adb = options.access, list(options.adb)
    reach(access, adb)
    script = f"sys={shlex.quote(options.sysfs)}\nproc={shlex.quote(options.procfs)}\n{_SCRIPT}"
    stream, blocks = access.stream([*adb, "shell", "-T", COMMAND], script), Blocks()
    try:
        return AndroidMeter(access, stream, blocks, _first(access, stream, blocks))
    except MeterUnavailable:
        stream.close()
        raise


def reach(access: Access, adb: list[str]) -> None:
    """Raises MeterUnavailable where adb has no phone that lets it in."""
    if (access.run([*adb, "get-state"], 10.0) or "").strip() != "device":
        raise MeterUnavailable(
            f"`{shlex.join(adb)} get-state` does not say `device`: `adb connect` the phone, or plug it in, and accept "
            "this computer's key on it"
        )


def _first(access: Access, stream: Stream, blocks: Blocks) -> list[Said]:
    """The first blocks to come, of which the first one tells what the battery's energy needs."""
    for _ in range(round(OPEN_S / _WAIT_S)):
        told = blocks.add(stream.take())
        if told:
            _check(told[0])
            return told
        access.wait(_WAIT_S)
    raise MeterUnavailable(f"the phone's shell printed nothing within {OPEN_S:g} s: try `adb shell dumpsys battery`")


def _check(said: Said) -> None:
    if any(key.startswith(_FAKED) for key in said):
        raise MeterUnavailable("the phone was told to pretend a state of its battery: adb shell dumpsys battery reset")
    values = decode(said)
    if values["charge"] is None or values["voltage"] is None:
        printed = _last(said, "charge_counter", "dumpsys Charge counter") or "nothing"
        raise MeterUnavailable(
            f"this phone's charge counter says {printed[:40]!r}, which is no charge in µAh, or it tells no voltage; "
            "a wall meter can stand in"
        )


def decode(said: Mapping[str, list[str]]) -> _Values:
    """What a block says, in the units of the channels; None for what is not there or cannot be.

    A faked state is none. Plugged in, a phone is not being drained, whatever its status says: what the charger gives
    passes the battery by.
    """
    if any(key.startswith(_FAKED) for key in said):
        said = {key: value for key, value in said.items() if not key.startswith("dumpsys") and key != "current_now"}
    charge_uah = _number(_last(said, "charge_counter", "dumpsys Charge counter"))
    if charge_uah is not None and not _CHARGE_UAH[0] <= charge_uah <= _CHARGE_UAH[1]:
        charge_uah = None
    tenths = _number(_last(said, "temp", "dumpsys temperature"))
    clocks = [khz for text in said.get("clock", []) if (khz := _number(text)) is not None]
    status = _number(_last(said, "thermal"))
    return {
        "charge": None if charge_uah is None else charge_uah * _COULOMBS_PER_UAH,
        "voltage": volts(_number(_last(said, "voltage_now", "dumpsys voltage"))),
        # Samsung's battery service prints it by itself, under a name of its own.
        "current": _number(_last(said, "dumpsys current now", "current_now")),
        "discharging": _discharging(said),
        "temperature": tenths / 10 if tenths is not None and -400 <= tenths <= 1500 else None,
        "frequency": sum(clocks) / len(clocks) * 1e-3 if clocks else None,
        "throttle": None if status is None or not 0 <= status <= 6 else heat_bits(status),
    }


def heat_bits(status: float) -> float:
    """Android's thermal status, 0 to 6, as what a `throttle` channel tells: from 2, moderate, on the phone is slowed down."""
    return float(THROTTLED_FOR_HEAT) if status >= _SLOWED_FROM else 0.0


def volts(printed: float | None) -> float | None:
    """A battery's voltage, which some phones print in V or µV in place of mV: the one that is between 2 and 20 V."""
    if printed is None:
        return None
    return next((printed * scale for scale in (1e-6, 1e-3, 1.0) if 2 <= printed * scale <= 20), None)


def _discharging(said: Mapping[str, list[str]]) -> float | None:
    powered = [value for key, values in said.items() if key.endswith(" powered") for value in values]
    if "true" in powered or "1" in said.get("online", []):
        return 0.0
    named = _last(said, "status")
    if named is not None:
        return _FILE_STATUS.get(named.lower())
    number = _number(_last(said, "dumpsys status"))
    return None if number is None else _DUMPSYS_STATUS.get(int(number))


def _seconds(said: Mapping[str, list[str]]) -> float | None:
    """The phone's uptime."""
    found = re.match(r"(\d{1,10}\.\d{1,9}) ", _last(said, "uptime") or "")
    return float(found[1]) if found else None


def _last(said: Mapping[str, list[str]], *keys: str) -> str | None:
    return next((said[key][-1] for key in keys if said.get(key)), None)


def _number(text: str | None) -> float | None:
    return float(text) if text is not None and re.fullmatch(r"-?[0-9]{1,15}", text) else None


def _channel(quantity: Quantity, by_file: bool, battery_volts: float) -> Channel:
    component, unit, resolution = _TOLD[quantity]
    folder = "/sys/class/power_supply/battery/"
    names = {
        "energy": "charge_counter × voltage_now", "charge": "charge_counter", "voltage": "voltage_now",
        "current": "current_now", "discharging": "status", "temperature": "temp",
    }  # fmt: skip
    source = f"adb: {folder}{names[quantity]}" if by_file and quantity in names else "adb: dumpsys battery"
    if quantity == "frequency":
        source = "adb: /sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq"
    elif quantity == "throttle":
        source = "adb: dumpsys thermalservice"
    return Channel(
        id=f"android/{component}/{quantity}", meter="android", component=component, quantity=quantity, unit=unit,
        boundary="battery" if quantity == "energy" else None, provenance="measured", source=source,
        update_period_s=UPDATE_PERIOD_S * (THERMAL_EVERY if quantity == "throttle" else 1),
        resolution=_QUANTUM_COULOMBS * battery_volts if quantity == "energy" else resolution,
        # Neither the gauge's maker nor the phone's states one.
        accuracy_relative=None,
    )  # fmt: skip
