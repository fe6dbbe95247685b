"""CPU temperature and clock beside the power, from Linux hwmon, thermal zones and cpufreq."""

from __future__ import annotations

import os

from edgecarbon.meters.access import Access
from edgecarbon.meters.base import Channel, MeterUnavailable, Options, Quantity, RunsOn, SlowMeter, folders

RUNS_ON: RunsOn = "device"
# Both change slowly, and asking a busy core for its clock is not free.
UPDATE_PERIOD_S = 1.0
_MOST_CLOCKS = 8
_HWMON_CPU = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
_ZONES_CPU = ("x86_pkg_temp", "cpu", "soc", "acpitz")


class ThermalMeter(SlowMeter):
    """The hottest CPU sensor in °C, and the mean current clock of up to eight clock domains in MHz."""

    name = "thermal"
    period_s = UPDATE_PERIOD_S

    def __init__(self, access: Access, temperatures: list[str], clocks: list[str]) -> None:
        channels = [_channel("temperature", "C", temperatures, 0.1)] if temperatures else []
        channels += [_channel("frequency", "MHz", clocks, 1.0)] if clocks else []
        super().__init__(access, channels)
        self._temperatures, self._clocks = temperatures, clocks

    def ask(self) -> list[float | None]:
        degrees, clocks = self._numbers(self._temperatures), self._numbers(self._clocks)
        values: list[float | None] = []
        if self._temperatures:
            values.append(max(degrees, default=None))
        if self._clocks:
            values.append(sum(clocks) / len(clocks) if clocks else None)
        return values

    def _numbers(self, paths: list[str]) -> list[float]:
        return [value for path in paths if (value := self._access.number(path, 1e-3)) is not None]


def open_meter(options: Options) -> ThermalMeter:
    temperatures, clocks = _temperatures(options.access, options.sysfs), _clocks(options.access, options.sysfs)
    if not temperatures and not clocks:
        raise MeterUnavailable(
            f"no CPU temperature under {options.sysfs}/class/hwmon or {options.sysfs}/class/thermal and no clock under "
            f"{options.sysfs}/devices/system/cpu/cpufreq: usual on a virtual machine"
        )
    return ThermalMeter(options.access, temperatures, clocks)


def _channel(quantity: Quantity, unit: str, paths: list[str], resolution: float) -> Channel:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return Channel(
        id=f"thermal/cpu/{quantity}", meter="thermal", component="cpu", quantity=quantity, unit=unit, boundary=None,
        provenance="measured", source=paths[0] + more, update_period_s=UPDATE_PERIOD_S, resolution=resolution,
    )  # fmt: skip


def _temperatures(access: Access, sysfs: str) -> list[str]:
    """The CPU's own sensors; failing those, the first kind of thermal zone that is about the CPU."""
    for folder in folders(access, os.path.join(sysfs, "class", "hwmon"), "hwmon"):
        if access.read(os.path.join(folder, "name")) in _HWMON_CPU:
            readable = _readable(
                access, [os.path.join(folder, name) for name in access.names(folder) if _is_temperature(name)]
            )
            if readable:
                return readable
    zones = folders(access, os.path.join(sysfs, "class", "thermal"), "thermal_zone")
    for kind in _ZONES_CPU:
        found = [zone for zone in zones if (access.read(os.path.join(zone, "type")) or "").startswith(kind)]
        readable = _readable(access, [os.path.join(zone, "temp") for zone in found])
        if readable:
            return readable
    return []


def _clocks(access: Access, sysfs: str) -> list[str]:
    policies = folders(access, os.path.join(sysfs, "devices", "system", "cpu", "cpufreq"), "policy")
    readable = _readable(access, [os.path.join(policy, "scaling_cur_freq") for policy in policies])
    return readable[:: -(-len(readable) // _MOST_CLOCKS)] if readable else []


def _is_temperature(name: str) -> bool:
    return name.startswith("temp") and name.endswith("_input")


def _readable(access: Access, paths: list[str]) -> list[str]:
    """The files that give a number now: a sensor that is listed may still refuse to be read."""
    return [path for path in paths if access.number(path) is not None]
