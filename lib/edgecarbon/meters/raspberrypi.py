"""Raspberry Pi 5: the power management chip's own converter, through `vcgencmd pmic_read_adc`.

It prints a current (`NAME_A current(7)=1.11625000A`) and a voltage (`NAME_V volt(15)=0.74944980V`) for each rail that
the chip feeds; the sum of V·I is what these rails take. What the regulators lose is not in it, nor what the 5 V input
feeds directly (USB, fan, HATs), whose voltage EXT5V_V has no current: the sum is below what a meter at the supply
shows, and `estimated`. Boundary `soc`: the chip, its memory and the board's rails.

Throttling is `vcgencmd get_throttled`: bit 0 under-voltage, 1 frequency capped, 2 throttled, 3 soft temperature limit,
each now (from bit 16 on: since the start). The channel tells NVML's bit of thermal slowdown (0x20) for bit 2 or 3, and
0 where bit 0 is set too, because the chip does not say which of the two it throttles for.
"""

from __future__ import annotations

import re

from edgecarbon.meters.access import Access
from edgecarbon.meters.base import (
    THROTTLED_FOR_HEAT,
    Channel,
    MeterUnavailable,
    Options,
    Quantity,
    RunsOn,
    SlowMeter,
)

RUNS_ON: RunsOn = "device"
# Every look is a process.
UPDATE_PERIOD_S = 1.0
ADC, TEMPERATURE, THROTTLED = (["vcgencmd", name] for name in ("pmic_read_adc", "measure_temp", "get_throttled"))
_UNDER_VOLTAGE, _FOR_HEAT = 0x1, 0x4 | 0x8
_PAIR = re.compile(r"^\s*(\w+)_(?:A current\(\d+\)=(\d{1,6}\.\d+)A|V volt\(\d+\)=(\d{1,6}\.\d+)V)\s*$", re.MULTILINE)


class RaspberryPiMeter(SlowMeter):
    """Component `board` tells power, `cpu` temperature and throttling where the firmware does."""

    name = "raspberrypi"
    period_s = UPDATE_PERIOD_S

    def __init__(self, access: Access, rails: frozenset[str]) -> None:
        self._rails = rails
        self._has_temperature = celsius(access.run(TEMPERATURE)) is not None
        self._has_throttle = heat_bits(access.run(THROTTLED)) is not None
        channels = [_power(rails)]
        if self._has_temperature:
            channels.append(_state("temperature", "C", TEMPERATURE, 0.1))
        if self._has_throttle:
            channels.append(_state("throttle", "bitmask (vcgencmd)", THROTTLED, 1.0))
        super().__init__(access, channels)

    def ask(self) -> list[float | None]:
        values = [self._watts()]
        if self._has_temperature:
            values.append(celsius(self._access.run(TEMPERATURE)))
        if self._has_throttle:
            values.append(heat_bits(self._access.run(THROTTLED)))
        return values

    def _watts(self) -> float | None:
        """None where a rail is missing that was there at the start: the sum of the others would be too small."""
        watts = rail_watts(self._access.run(ADC))
        return sum(watts[rail] for rail in sorted(self._rails)) if self._rails <= watts.keys() else None


def open_meter(options: Options) -> RaspberryPiMeter:
    printed = options.access.run(ADC)
    if printed is None:
        raise MeterUnavailable(
            "`vcgencmd pmic_read_adc` does not run: this is no Raspberry Pi, or the user may not open /dev/vcio "
            "(sudo usermod -aG video USER, then log in again)"
        )
    rails = frozenset(rail_watts(printed))
    if not rails:
        raise MeterUnavailable(
            "`vcgencmd pmic_read_adc` tells no rail's voltage and current: only the Raspberry Pi 5 has that; a wall "
            "meter can stand in"
        )
    return RaspberryPiMeter(options.access, rails)


def rail_watts(printed: str | None) -> dict[str, float]:
    """V·I of each rail that `pmic_read_adc` tells both of, in watts."""
    amperes, volts = {}, {}
    for name, current, voltage in _PAIR.findall(printed or ""):
        if current:
            amperes[name] = float(current)
        else:
            volts[name] = float(voltage)
    return {name: amperes[name] * volts[name] for name in amperes if name in volts}


def celsius(printed: str | None) -> float | None:
    """The figure of `temp=52.1'C`."""
    found = re.fullmatch(r"temp=(-?\d{1,3}(?:\.\d+)?)'C", (printed or "").strip())
    return float(found[1]) if found else None


def heat_bits(printed: str | None) -> float | None:
    """`throttled=0x50005` as NVML's bit for heat, or 0."""
    found = re.fullmatch(r"throttled=0x([0-9a-fA-F]{1,8})", (printed or "").strip())
    if not found:
        return None
    bits = int(found[1], 16)
    return float(THROTTLED_FOR_HEAT) if bits & _FOR_HEAT and not bits & _UNDER_VOLTAGE else 0.0


def _power(rails: frozenset[str]) -> Channel:
    return Channel(
        id="raspberrypi/board/power", meter="raspberrypi", component="board", quantity="power", unit="W",
        boundary="soc", provenance="estimated", source=f"{' '.join(ADC)}: sum of {', '.join(sorted(rails))}",
        update_period_s=UPDATE_PERIOD_S,
        # In published outputs the current of the core, the largest, moves by 8.93 mA, at about 0.8 V.
        resolution=0.01,
    )  # fmt: skip


def _state(quantity: Quantity, unit: str, words: list[str], resolution: float) -> Channel:
    return Channel(
        id=f"raspberrypi/cpu/{quantity}", meter="raspberrypi", component="cpu", quantity=quantity, unit=unit,
        boundary=None, provenance="measured", source=" ".join(words), update_period_s=UPDATE_PERIOD_S,
        resolution=resolution,
    )  # fmt: skip
