"""The labelled estimate: idle power plus utilisation times the span to full power. It measures nothing, and says so."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from edgecarbon.meters.base import Channel, MeterUnavailable, Options, RunsOn
from edgecarbon.meters.cputime import MachineTime, process_seconds

RUNS_ON: RunsOn = "device"
_KEYS = ("idle_watts", "relative_uncertainty", "source")
WATTS_PER_CORE = 8.0
"""What a busy logical core is taken to add where `busy_watts` is not given."""


class EstimateMeter:
    """E(t) = idle_watts·t + (busy_watts − idle_watts)·(busy CPU seconds)/cores, a counter that starts at 0 J.

    Busy seconds come from /proc/stat (the whole machine) where it can be read and counts, else from this process alone.
    """

    name = "estimate"

    def __init__(self, options: Options, estimate: Mapping[str, Any]) -> None:
        self._access = options.access
        self._machine = MachineTime.open(self._access, options.procfs)
        self._cores = self._machine.cores if self._machine else (os.cpu_count() or 1)
        self._idle_watts, self._busy_watts, self._relative_uncertainty = _parameters(estimate, self._cores)
        self._tick_s = self._machine.tick_s if self._machine else 0.001
        basis = f"{options.procfs}/stat, all cores" if self._machine else "this process's CPU time only"
        assumed = "" if estimate.get("busy_watts") is not None else f", assuming {WATTS_PER_CORE:g} W a busy core"
        self._source = (
            f"{self._idle_watts:g} W idle + {self._busy_watts - self._idle_watts:g} W × CPU utilisation "
            f"({basis}){assumed}; {estimate['source']}"
        )
        self._start_s = self._access.monotonic()
        self._start_busy_s = self._busy_seconds() or 0.0
        self._last = (self._start_s, self._start_busy_s)

    def channels(self) -> list[Channel]:
        span_watts = self._busy_watts - self._idle_watts
        energy = Channel(
            id="estimate/cpu/energy", meter="estimate", component="cpu", quantity="energy", unit="J",
            boundary="cpu_package", provenance="estimated", source=self._source, update_period_s=self._tick_s,
            resolution=span_watts * self._tick_s / self._cores, accuracy_relative=self._relative_uncertainty,
            max_watts=self._busy_watts,
        )  # fmt: skip
        utilisation = Channel(
            id="estimate/cpu/utilisation", meter="estimate", component="cpu", quantity="utilisation", unit="1",
            boundary=None, provenance="measured", source=self._source.split("(", 1)[1].split(")", 1)[0],
            update_period_s=self._tick_s, resolution=0.001,
        )  # fmt: skip
        return [energy, utilisation]

    def read(self) -> list[float | None]:
        now_s, busy_s = self._access.monotonic(), self._busy_seconds()
        if busy_s is None:
            return [None, None]
        idle_joules = self._idle_watts * (now_s - self._start_s)
        busy_joules = (self._busy_watts - self._idle_watts) * (busy_s - self._start_busy_s) / self._cores
        elapsed_s, used_s = now_s - self._last[0], busy_s - self._last[1]
        if elapsed_s < 2 * self._tick_s:  # two reads within a tick cannot tell a utilisation
            return [idle_joules + busy_joules, None]
        self._last = (now_s, busy_s)
        return [idle_joules + busy_joules, min(max(used_s / (elapsed_s * self._cores), 0.0), 1.0)]

    def close(self) -> None:
        self._access.close()

    def _busy_seconds(self) -> float | None:
        return self._machine.busy_seconds() if self._machine else process_seconds(self._access)


def _parameters(estimate: Mapping[str, Any], cores: int) -> tuple[float, float, float]:
    missing = [key for key in _KEYS if estimate.get(key) in (None, "")]
    if missing:
        raise ValueError(f"estimate: {', '.join(missing)} missing; it needs {', '.join(_KEYS)}")
    idle_watts, relative_uncertainty = float(estimate["idle_watts"]), float(estimate["relative_uncertainty"])
    given = estimate.get("busy_watts")
    busy_watts = idle_watts + WATTS_PER_CORE * cores if given is None else float(given)
    finite = all(math.isfinite(value) for value in (idle_watts, busy_watts, relative_uncertainty))
    if not finite or not 0 <= idle_watts <= busy_watts or busy_watts == 0:
        raise ValueError(f"estimate: needs 0 <= idle_watts ({idle_watts}) <= busy_watts ({busy_watts}), busy above 0")
    if relative_uncertainty <= 0:
        raise ValueError(f"estimate: relative_uncertainty {relative_uncertainty} must be above 0: it is a guess")
    return idle_watts, busy_watts, relative_uncertainty


def open_meter(options: Options) -> EstimateMeter:
    if not options.estimate:
        raise MeterUnavailable("no estimate was given: set idle_watts, busy_watts, relative_uncertainty and source")
    return EstimateMeter(options, options.estimate)
