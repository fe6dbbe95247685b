"""A Linux laptop on its battery: the energy that leaves it, as the fuel gauge tells it under /sys/class/power_supply.

Energy is `energy_now`, else ∫V·dQ of `charge_now` and `voltage_now`. The sign of the current differs from driver to
driver, so `status` alone says which way it flows. Files and units: the kernel's Documentation/ABI/testing/
sysfs-class-power and Documentation/power/power_supply_class.rst.

The batteries of a machine are counted as one: while one drains, another may stand still, and lacks nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from edgecarbon.meters.access import Access
from edgecarbon.meters.base import Channel, MeterUnavailable, Options, Quantity, RunsOn, SlowMeter
from edgecarbon.meters.drain import Drain

RUNS_ON: RunsOn = "device"
# The embedded controller is slow to answer, and the gauge seldom moves faster.
UPDATE_PERIOD_S = 1.0
ALL = "batteries"
_MICRO = 1e-6
_JOULES_PER_MICROWATT_HOUR = _COULOMBS_PER_MICROAMPERE_HOUR = 3600 * _MICRO

_Values = Mapping[Quantity, float | None]
_UNITS: dict[Quantity, str] = {
    "energy": "J", "power": "W", "charge": "C", "voltage": "V", "current": "A", "temperature": "C", "discharging": "1",
}  # fmt: skip
_COUNTED: tuple[Quantity, ...] = ("energy", "power", "discharging")


class _Battery:
    """One battery: what it tells is found by reading it once."""

    def __init__(self, access: Access, folder: str) -> None:
        self._access, self._folder = access, folder
        self.name = os.path.basename(folder)
        files = ("energy_now", "charge_now", "power_now", "voltage_now", "current_now", "temp")
        self._files = {name for name in files if self._number(name) is not None}
        self._drain, self._first_joules = Drain(), self._joules_left()
        self.quantities = [quantity for quantity, value in self.read().items() if value is not None]

    def status(self) -> str | None:
        return self._access.read(os.path.join(self._folder, "status"))

    def read(self) -> _Values:
        told = {name: self._number(name) for name in sorted(self._files)}
        volts, amperes, charge = (told.get(name) for name in ("voltage_now", "current_now", "charge_now"))
        volts, amperes = _scaled(volts, _MICRO), _scaled(amperes, _MICRO)
        coulombs = _scaled(charge, _COULOMBS_PER_MICROAMPERE_HOUR)
        status = self.status()
        return {
            "energy": self._joules(told.get("energy_now"), coulombs, volts),
            "power": self._watts(told.get("power_now"), amperes, volts, status),
            "charge": coulombs,
            "voltage": volts,
            "current": amperes,
            "temperature": _scaled(told.get("temp"), 0.1),
            "discharging": None if status is None else float(status == "Discharging"),
        }

    def source(self, quantity: Quantity) -> str:
        by_current = "current_now × voltage_now"
        name = {
            "energy": "energy_now" if "energy_now" in self._files else "charge_now × voltage_now",
            "power": "power_now" if "power_now" in self._files else by_current,
            "temperature": "temp", "discharging": "status",
        }.get(quantity, f"{quantity}_now")  # fmt: skip
        return os.path.join(self._folder, name)

    def resolution(self, quantity: Quantity) -> float:
        """The unit of the file. Real gauges move in larger steps, which nobody tells."""
        if quantity == "energy" and "energy_now" not in self._files:
            return _COULOMBS_PER_MICROAMPERE_HOUR * (self._number("voltage_now") or 0.0) * _MICRO
        steps: dict[Quantity, float] = {
            "energy": _JOULES_PER_MICROWATT_HOUR, "charge": _COULOMBS_PER_MICROAMPERE_HOUR,
            "temperature": 0.1, "discharging": 1.0,
        }  # fmt: skip
        return steps.get(quantity, _MICRO)

    def _number(self, name: str) -> float | None:
        return self._access.number(os.path.join(self._folder, name))

    def _joules_left(self) -> float | None:
        return _scaled(self._number("energy_now"), _JOULES_PER_MICROWATT_HOUR)

    def _joules(self, left: float | None, coulombs: float | None, volts: float | None) -> float | None:
        if self._first_joules is None:
            return self._drain.add(coulombs, volts)
        return None if left is None else self._first_joules - left * _JOULES_PER_MICROWATT_HOUR

    def _watts(
        self, microwatts: float | None, amperes: float | None, volts: float | None, status: str | None
    ) -> float | None:
        """Below 0 while the battery is charged."""
        watts = _scaled(microwatts, _MICRO)
        if "power_now" not in self._files and amperes is not None and volts is not None:
            watts = amperes * volts
        if watts is None or status is None:
            return None
        return -abs(watts) if status == "Charging" else abs(watts)


class BatteryMeter(SlowMeter):
    """A component for each battery; of several, the component `batteries` is their sum, and it alone is counted."""

    name = "battery"
    period_s = UPDATE_PERIOD_S

    def __init__(self, access: Access, batteries: Sequence[_Battery]) -> None:
        self._batteries = batteries
        self._told: list[tuple[int | None, Quantity]] = []
        if len(batteries) > 1:
            shared = [q for q in _COUNTED if all(q in battery.quantities for battery in batteries)]
            self._told += [(None, quantity) for quantity in shared]
        self._told += [(i, quantity) for i, battery in enumerate(batteries) for quantity in battery.quantities]
        super().__init__(access, [self._channel(index, quantity) for index, quantity in self._told])

    def ask(self) -> list[float | None]:
        told = [battery.read() for battery in self._batteries]
        return [together(told, quantity) if index is None else told[index][quantity] for index, quantity in self._told]

    def _channel(self, index: int | None, quantity: Quantity) -> Channel:
        members = self._batteries if index is None else [self._batteries[index]]
        component = ALL if index is None else members[0].name
        counted = quantity in ("energy", "power") and (index is None or len(self._batteries) == 1)
        return Channel(
            id=f"battery/{component}/{quantity}", meter="battery", component=component, quantity=quantity,
            unit=_UNITS[quantity], boundary="battery" if counted else None, provenance="measured",
            source=" + ".join(member.source(quantity) for member in members), update_period_s=UPDATE_PERIOD_S,
            resolution=max(member.resolution(quantity) for member in members),
        )  # fmt: skip


def together(told: Sequence[_Values], quantity: Quantity) -> float | None:
    """The sum of all batteries, or None where one failed. They discharge as one while one does and none is charged."""
    values = [values[quantity] for values in told]
    if any(value is None for value in values):
        return None
    if quantity == "discharging":
        charged = any((values.get("power") or 0.0) < 0 for values in told)
        return float(any(values) and not charged)
    return sum(value or 0.0 for value in values)


def open_meter(options: Options) -> BatteryMeter:
    root = os.path.join(options.sysfs, "class", "power_supply")
    batteries = [_Battery(options.access, folder) for folder in find_batteries(options.access, root)]
    if not batteries:
        raise MeterUnavailable(f"no battery of this machine under {root}: a wall meter can stand in")
    silent = [one.name for one in batteries if not {"energy", "power"} & set(one.quantities)]
    if silent:
        raise MeterUnavailable(
            f"{root}/{silent[0]} tells neither energy_now, nor power_now, nor charge or current with a voltage"
        )
    statuses = [battery.status() or "unreadable" for battery in batteries]
    if "Discharging" not in statuses or "Charging" in statuses:
        told = ", ".join(f"{one.name} {status}" for one, status in zip(batteries, statuses, strict=True))
        raise MeterUnavailable(
            f"the machine does not run from its battery (status: {told}), which then tells nothing of what the "
            "machine draws: unplug the charger"
        )
    return BatteryMeter(options.access, batteries)


def find_batteries(access: Access, root: str) -> list[str]:
    """Folders of the batteries that feed the machine: not those of a mouse or a keyboard, nor of an empty bay."""
    found = []
    for name in access.names(root):
        folder = os.path.join(root, name)
        told = {file: access.read(os.path.join(folder, file)) for file in ("type", "scope", "present")}
        if told["type"] == "Battery" and told["scope"] != "Device" and told["present"] != "0":
            found.append(folder)
    return found


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale
