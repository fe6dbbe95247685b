"""NVIDIA Jetson: the INA3221 sensors of the module, as the kernel's ina3221 driver shows them under hwmon.

Power of a rail is `inN_input` (mV) × `currN_input` (mA); `inN_label` names it. What feeds the whole module depends on
the module: one rail, or the sum of those that together take all that enters (_INPUTS). That is its SoC with memory,
storage and regulators, without the carrier board, what is plugged into it, and the power supply: boundary `soc`. Other
rails lie inside these, are logged, and are counted nowhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgecarbon.meters.access import Access
from edgecarbon.meters.base import Channel, MeterUnavailable, Options, Quantity, RunsOn, folders

RUNS_ON: RunsOn = "device"
DRIVER = "ina3221"
MODULE = "module"
# The driver's update_interval says how often; without it, as often as the recorder asks by default.
UPDATE_PERIOD_S = 0.1
_MILLI = 1e-3
# One step of the shunt's voltage is 40 µV (INA3221 data sheet), so that of the current is 40 µV over the resistance.
_SHUNT_STEP_MICROVOLT = 40.0
_SHUNT_MICROOHM = 5000.0
# As NVIDIA's design guides place the sensors: Orin NX, Orin Nano, Xavier NX and TX2; Nano and TX1; AGX Orin, where the
# memory's rail VDDQ_VDD2_1V8AO hangs on VIN_SYS_5V0, which is not the whole; AGX Xavier.
_INPUTS = (
    ("VDD_IN",),
    ("POM_5V_IN",),
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
)


@dataclass(frozen=True)
class Rail:
    name: str
    volts_path: str
    amperes_path: str
    step_amperes: float
    update_period_s: float


class JetsonMeter:
    """Component `module` is all that enters; a component for each rail beside it. A total of several rails needs all."""

    name = "jetson"

    def __init__(self, access: Access, rails: Sequence[Rail]) -> None:
        self._access, self._rails = access, rails
        by_name = {rail.name: rail for rail in rails}
        self._inputs = next(
            ([by_name[name] for name in names] for names in _INPUTS if all(name in by_name for name in names)), []
        )
        # Of a single rail that is the total, the power is told once.
        self._parts = [rail for rail in rails if self._inputs != [rail]]
        self._channels = (
            [_channel(MODULE, "power", self._inputs, self._step_watts(self._inputs))] if self._inputs else []
        )
        for rail in self._parts:
            self._channels.append(_channel(rail.name, "power", [rail], self._step_watts([rail])))
        for rail in self._inputs:
            self._channels.append(_channel(rail.name, "voltage", [rail], 8 * _MILLI))
            self._channels.append(_channel(rail.name, "current", [rail], rail.step_amperes))

    def channels(self) -> list[Channel]:
        return list(self._channels)

    def read(self) -> list[float | None]:
        volts = {rail.name: self._access.number(rail.volts_path, _MILLI) for rail in self._rails}
        amperes = {rail.name: self._access.number(rail.amperes_path, _MILLI) for rail in self._rails}
        watts = {name: product(volts[name], amperes[name]) for name in volts}
        values: list[float | None] = []
        if self._inputs:
            told = [value for rail in self._inputs if (value := watts[rail.name]) is not None]
            values.append(sum(told) if len(told) == len(self._inputs) else None)
        values += [watts[rail.name] for rail in self._parts]
        for rail in self._inputs:
            values += [volts[rail.name], amperes[rail.name]]
        return values

    def close(self) -> None:
        self._access.close()

    def _step_watts(self, rails: Sequence[Rail]) -> float:
        """A step of the current at the voltage now; the 8 mV of the voltage weigh less."""
        return sum((self._access.number(rail.volts_path, _MILLI) or 0.0) * rail.step_amperes for rail in rails)


def open_meter(options: Options) -> JetsonMeter:
    root = os.path.join(options.sysfs, "class", "hwmon")
    rails = find_rails(options.access, root)
    if not rails:
        raise MeterUnavailable(
            f"no {DRIVER} sensor that can be read under {root}: this is no Jetson, or its kernel shows the sensor as "
            "iio (JetPack 4 and older); a wall meter can stand in"
        )
    return JetsonMeter(options.access, rails)


def find_rails(access: Access, root: str) -> list[Rail]:
    """Every labelled input of every sensor that tells voltage and current now; inputs that are not connected have none."""
    rails = []
    for folder in folders(access, root, "hwmon"):
        if access.read(os.path.join(folder, "name")) != DRIVER:
            continue
        interval_ms = access.number(os.path.join(folder, "update_interval"))
        period_s = interval_ms * _MILLI if interval_ms else UPDATE_PERIOD_S
        for name in access.names(folder):
            if not (found := re.fullmatch(r"in([123])_label", name)):
                continue
            number, label = found[1], access.read(os.path.join(folder, name)) or ""
            paths = [os.path.join(folder, f"{kind}{number}_input") for kind in ("in", "curr")]
            if label in ("", "NC") or any(access.number(path) is None for path in paths):
                continue
            ohm = access.number(os.path.join(folder, f"shunt{number}_resistor")) or _SHUNT_MICROOHM
            rails.append(Rail(label, paths[0], paths[1], _SHUNT_STEP_MICROVOLT / ohm, period_s))
    return rails


def product(volts: float | None, amperes: float | None) -> float | None:
    return None if volts is None or amperes is None else volts * amperes


def _channel(component: str, quantity: Quantity, rails: Sequence[Rail], resolution: float) -> Channel:
    source = {
        "power": " + ".join(f"{rail.volts_path} × {os.path.basename(rail.amperes_path)}" for rail in rails),
        "voltage": rails[0].volts_path,
        "current": rails[0].amperes_path,
    }[quantity]
    return Channel(
        id=f"jetson/{component}/{quantity}", meter="jetson", component=component, quantity=quantity,
        unit={"power": "W", "voltage": "V", "current": "A"}[quantity],
        boundary="soc" if component == MODULE else None, provenance="measured", source=source,
        update_period_s=max(rail.update_period_s for rail in rails), resolution=resolution,
        # The sensor's maker states one for the chip, nobody for chip, resistor and board together.
        accuracy_relative=None,
    )  # fmt: skip
