"""What other processes do on the machine meanwhile: their share of its cores, which a figure of energy is disturbed by."""

from __future__ import annotations

from edgecarbon.meters.base import Channel, MeterUnavailable, Options, RunsOn
from edgecarbon.meters.cputime import MachineTime, own_seconds

RUNS_ON: RunsOn = "device"
UPDATE_PERIOD_S = 1.0


class LoadMeter:
    """(busy CPU seconds − those of this process)/(time × cores), over the last second."""

    name = "load"

    def __init__(self, options: Options, machine: MachineTime) -> None:
        self._access, self._machine = options.access, machine
        self._source = f"{options.procfs}/stat less this process"
        self._last_s, self._last_others_s = self._access.monotonic(), self._others_s()
        self._value: float | None = None

    def channels(self) -> list[Channel]:
        return [
            Channel(
                id="load/others/utilisation", meter="load", component="others", quantity="utilisation", unit="1",
                boundary=None, provenance="measured", source=self._source, update_period_s=UPDATE_PERIOD_S,
                resolution=self._machine.tick_s / self._machine.cores / UPDATE_PERIOD_S,
            )
        ]  # fmt: skip

    def read(self) -> list[float | None]:
        now_s = self._access.monotonic()
        elapsed_s = now_s - self._last_s
        if elapsed_s >= UPDATE_PERIOD_S:
            others_s = self._others_s()
            self._value = None
            if others_s is not None and self._last_others_s is not None:
                self._value = max(0.0, others_s - self._last_others_s) / (elapsed_s * self._machine.cores)
            self._last_s, self._last_others_s = now_s, others_s
        return [self._value]

    def close(self) -> None:
        self._access.close()

    def _others_s(self) -> float | None:
        busy_s, own_s = self._machine.busy_seconds(), own_seconds(self._access)
        return None if busy_s is None or own_s is None else busy_s - own_s


def open_meter(options: Options) -> LoadMeter:
    machine = MachineTime.open(options.access, options.procfs)
    if machine is None:
        raise MeterUnavailable(f"no CPU times in {options.procfs}/stat: only Linux tells what other processes do")
    return LoadMeter(options, machine)
