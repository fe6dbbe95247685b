"""CPU temperature and clock beside the power, from Linux hwmon, thermal zones and cpufreq."""

from __future__ import annotations

import os
import time
from typing import Literal

from edgecarbon.meters.base import Channel, MeterUnavailable, NumberFile, Options, read_text

# Both change slowly, and asking a busy core for its clock is not free.
UPDATE_PERIOD_S = 1.0
_MOST_CLOCKS = 8
_HWMON_CPU = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
_ZONES_CPU = ("x86_pkg_temp", "cpu", "soc", "acpitz")


class ThermalMeter:
    """The hottest CPU sensor in °C, and the mean current clock of up to eight clock domains in MHz."""

    name = "thermal"
    runs_on: Literal["device"] = "device"

    def __init__(self, temperatures: list[str], clocks: list[str]) -> None:
        self._temperatures = [NumberFile(path, 1e-3) for path in temperatures]
        self._clocks = [NumberFile(path, 1e-3) for path in clocks]
        self._channels = []
        if temperatures:
            self._channels.append(_channel("temperature", "C", temperatures, 0.1))
        if clocks:
            self._channels.append(_channel("frequency", "MHz", clocks, 1.0))
        self._read_s = float("-inf")
        self._values: list[float | None] = []

    def channels(self) -> list[Channel]:
        return list(self._channels)

    def read(self) -> list[float | None]:
        now_s = time.monotonic()
        if now_s - self._read_s < UPDATE_PERIOD_S:
            return list(self._values)
        self._read_s = now_s
        degrees = [value for file in self._temperatures if (value := file.read()) is not None]
        clocks = [value for file in self._clocks if (value := file.read()) is not None]
        self._values = []
        if self._temperatures:
            self._values.append(max(degrees, default=None))
        if self._clocks:
            self._values.append(sum(clocks) / len(clocks) if clocks else None)
        return list(self._values)

    def close(self) -> None:
        for file in (*self._temperatures, *self._clocks):
            file.close()


def open_meter(options: Options) -> ThermalMeter:
    temperatures, clocks = _temperatures(options.sysfs), _clocks(options.sysfs)
    if not temperatures and not clocks:
        raise MeterUnavailable(
            f"no CPU temperature under {options.sysfs}/class/hwmon or {options.sysfs}/class/thermal and no clock under "
            f"{options.sysfs}/devices/system/cpu/cpufreq: usual on a virtual machine"
        )
    return ThermalMeter(temperatures, clocks)


def _channel(quantity: Literal["temperature", "frequency"], unit: str, paths: list[str], resolution: float) -> Channel:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return Channel(
        id=f"thermal/cpu/{quantity}", meter="thermal", component="cpu", quantity=quantity, unit=unit, boundary=None,
        provenance="measured", source=paths[0] + more, update_period_s=UPDATE_PERIOD_S, resolution=resolution,
    )  # fmt: skip


def _temperatures(sysfs: str) -> list[str]:
    """The CPU's own sensors; failing those, the first kind of thermal zone that is about the CPU."""
    hwmon = os.path.join(sysfs, "class", "hwmon")
    for folder in _folders(hwmon, "hwmon"):
        if read_text(os.path.join(folder, "name")) in _HWMON_CPU:
            found = [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if _is_temperature(name)]
            readable = _readable(found)
            if readable:
                return readable
    zones = _folders(os.path.join(sysfs, "class", "thermal"), "thermal_zone")
    for kind in _ZONES_CPU:
        found = [os.path.join(z, "temp") for z in zones if (read_text(os.path.join(z, "type")) or "").startswith(kind)]
        readable = _readable(found)
        if readable:
            return readable
    return []


def _clocks(sysfs: str) -> list[str]:
    policies = _folders(os.path.join(sysfs, "devices", "system", "cpu", "cpufreq"), "policy")
    readable = _readable([os.path.join(policy, "scaling_cur_freq") for policy in policies])
    return readable[:: -(-len(readable) // _MOST_CLOCKS)] if readable else []


def _folders(root: str, prefix: str) -> list[str]:
    try:
        names = [name for name in os.listdir(root) if name.startswith(prefix) and name[len(prefix) :].isdigit()]
    except OSError:
        return []
    return [os.path.join(root, name) for name in sorted(names, key=lambda name: int(name[len(prefix) :]))]


def _is_temperature(name: str) -> bool:
    return name.startswith("temp") and name.endswith("_input")


def _readable(paths: list[str]) -> list[str]:
    """The files that give a number now: a sensor that is listed may still refuse to be read."""
    return [path for path in paths if (read_text(path) or "").lstrip("-").isdigit()]
