"""A whole MacBook: the system load that macOS keeps in its battery's registry entry, through `ioreg`, without root.

PowerTelemetryData holds a sum of loads in mW and how many were added, both made known about once a minute; the mean of a
stretch is Δ AccumulatedSystemLoad/Δ SystemLoadAccumulatorCount. SystemLoad is what the machine uses, from the charger
or from the battery: beside a charger, SystemPowerIn is SystemLoad and what charges the battery. So the figure is right
on mains as well, charger's loss left out, and its boundary is `battery`: the whole device behind its charger. A Mac
without a battery has no such entry.

ioreg prints every number as unsigned 64-bit: 18446744073709546980 is −4,636.
"""

from __future__ import annotations

import re

from edgecarbon.meters.access import Access
from edgecarbon.meters.base import Channel, MeterUnavailable, Options, Quantity, RunsOn, SlowMeter

RUNS_ON: RunsOn = "device"
COMMAND = ["ioreg", "-rn", "AppleSmartBattery", "-w0"]
UPDATE_PERIOD_S = 60.0
# Each look is a process. A publication is so seen up to this late, of the minute that it covers.
POLL_S = 5.0
_MILLI = 1e-3
_SUM, _COUNT, _NOW, _DEGREES = "AccumulatedSystemLoad", "SystemLoadAccumulatorCount", "SystemLoad", "Temperature"
_TELEMETRY = re.compile(r'^\s*"PowerTelemetryData" = \{(.*)\}\s*$', re.MULTILINE)
_TEMPERATURE = re.compile(rf'^\s*"{_DEGREES}" = (\d{{1,20}})\s*$', re.MULTILINE)


class LoadCounter:
    """Joules since the first call: at each publication, the mean load of what it adds × the time since the last one.

    The first stretch began before the first call; of it, the time since then counts.
    """

    def __init__(self) -> None:
        self._last: tuple[int, int] | None = None
        self._moved_s = 0.0
        self._joules = 0.0

    def add(self, milliwatts: int, count: int, now_s: float) -> float:
        """Takes the sum of loads and how many they are, at `now_s` on a monotonic clock."""
        if self._last is None:
            self._last, self._moved_s = (milliwatts, count), now_s
        elif (milliwatts, count) != self._last:
            added, times = milliwatts - self._last[0], count - self._last[1]
            # Counters that start again leave an unknown stretch: a fall, of whatever size, says so to the integrator.
            self._joules += added / times * _MILLI * (now_s - self._moved_s) if added >= 0 < times else -1.0
            self._last, self._moved_s = (milliwatts, count), now_s
        return self._joules


class IoregMeter(SlowMeter):
    """Component `machine` tells energy and, where it is there, the load now; `battery` tells its temperature."""

    name = "ioreg"
    period_s = POLL_S

    def __init__(self, access: Access, told: dict[str, int]) -> None:
        self._counter = LoadCounter()
        channels = [_channel("machine", "energy", "J", f"Δ {_SUM}/Δ {_COUNT} × time", "battery", _MILLI)]
        if _NOW in told:
            channels.append(_channel("machine", "power", "W", _NOW, "battery", _MILLI))
        if _DEGREES in told:
            channels.append(_channel("battery", "temperature", "C", _DEGREES, None, 0.01))
        super().__init__(access, channels)
        self._counter.add(told[_SUM], told[_COUNT], access.monotonic())

    def ask(self) -> list[float | None]:
        told = parse(self._access.run(COMMAND))
        tells = _SUM in told and _COUNT in told
        joules = self._counter.add(told[_SUM], told[_COUNT], self._access.monotonic()) if tells else None
        scales: dict[Quantity, tuple[str, float]] = {"power": (_NOW, _MILLI), "temperature": (_DEGREES, 0.01)}
        values = [joules]
        for name, scale in (scales[channel.quantity] for channel in self._channels[1:]):
            values.append(told[name] * scale if name in told else None)
        return values


def open_meter(options: Options) -> IoregMeter:
    printed = options.access.run(COMMAND)
    if printed is None:
        raise MeterUnavailable("`ioreg` does not run: it is a part of macOS, and this is another system")
    told = parse(printed)
    if _SUM not in told or _COUNT not in told:
        why = "this macOS keeps no PowerTelemetryData" if "AppleSmartBattery" in printed else "this Mac has no battery"
        raise MeterUnavailable(f"{why}: the SoC's own counters (apple) or a wall meter can stand in")
    return IoregMeter(options.access, told)


def parse(printed: str | None) -> dict[str, int]:
    """The numbers of PowerTelemetryData, and the battery's temperature in 0.01 °C, as `ioreg` prints them."""
    found = _TELEMETRY.search(printed or "")
    told = {
        name: signed(int(value))
        for name, value in re.findall(r'"(\w+)"=(\d{1,20})(?=[,}]|$)', found[1] if found else "")
    }
    if degrees := _TEMPERATURE.search(printed or ""):
        told[_DEGREES] = int(degrees[1])
    return told


def signed(number: int) -> int:
    """A 64-bit number that was printed without its sign."""
    return number - (1 << 64) if number >= 1 << 63 else number


def _channel(
    component: str, quantity: Quantity, unit: str, source: str, boundary: str | None, resolution: float
) -> Channel:
    return Channel(
        id=f"ioreg/{component}/{quantity}", meter="ioreg", component=component, quantity=quantity, unit=unit,
        boundary=boundary, provenance="measured", source=f"{' '.join(COMMAND)}: {source}",
        update_period_s=UPDATE_PERIOD_S, resolution=resolution,
    )  # fmt: skip
