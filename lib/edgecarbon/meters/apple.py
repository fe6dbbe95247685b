"""Apple Silicon: the SoC's energy counters of IOReport, through the package zeus-apple-silicon, without root.

They follow a model of activity, not a sensor (the package's README; Apple's powermetrics manual calls its figures
estimated): `modelled`. Component `soc` is the sum of CPU, GPU, neural engine and memory, as many of them as the chip
tells, and it alone is counted: a neural engine that nobody uses stands still, and lacks nothing. Each part is logged
beside it, and the integrator says `stalled` of one that never moves. Whether the GPU's figure holds that of its SRAM is
not documented: the SRAM is logged and not added.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from edgecarbon.meters.access import Access, Unanswered
from edgecarbon.meters.base import Channel, MeterUnavailable, Options, RunsOn

RUNS_ON: RunsOn = "device"
# Nobody documents how often the counters move.
UPDATE_PERIOD_S = 0.1
_MILLI = 1e-3
_CALL = "apple cumulative energy"
# Attributes of AppleEnergyMetrics (millijoules, None where the chip has none), by component.
_FIELDS = {"cpu": "cpu_total_mj", "gpu": "gpu_mj", "ane": "ane_mj", "dram": "dram_mj", "gpu_sram": "gpu_sram_mj"}
_ADDED = ("cpu", "gpu", "ane", "dram")
_NEEDED = ("cpu", "gpu")


class _Session:
    """The package's monitor, made when it is first asked. A meter that runs from a trace never asks it."""

    def __init__(self) -> None:
        self._monitor: Any = None

    def joules(self) -> dict[str, float]:
        """Joules so far of each component that the chip tells."""
        if self._monitor is None:
            self._monitor = _package().AppleEnergyMonitor()
        metrics = self._monitor.get_cumulative_energy()
        told = {component: getattr(metrics, field, None) for component, field in _FIELDS.items()}
        return {component: float(value) * _MILLI for component, value in told.items() if value is not None}


class AppleMeter:
    name = "apple"

    def __init__(self, access: Access, session: _Session, components: Sequence[str]) -> None:
        self._access, self._session, self._components = access, session, components
        self._added = [component for component in _ADDED if component in components]

    def channels(self) -> list[Channel]:
        return [_channel("soc", self._added, "soc"), *(_channel(part, [part], None) for part in self._components)]

    def read(self) -> list[float | None]:
        told: dict[str, float] = self._access.attempt(_CALL, self._session.joules) or {}
        parts = [told.get(component) for component in self._components]
        whole = all(component in told for component in self._added)
        return [sum(told[component] for component in self._added) if whole else None, *parts]

    def close(self) -> None:
        self._access.close()


def open_meter(options: Options) -> AppleMeter:
    session = _Session()
    try:
        told: dict[str, float] = options.access.call(_CALL, session.joules)
    except Unanswered as error:
        raise MeterUnavailable(f"no energy from IOReport: {error}") from error
    lacking = [component for component in _NEEDED if component not in told]
    if lacking:
        raise MeterUnavailable(
            f"zeus-apple-silicon does not find the energy of the {' and '.join(lacking)} on this chip: a newer version "
            "may (pip install -U zeus-apple-silicon)"
        )
    return AppleMeter(options.access, session, [component for component in _FIELDS if component in told])


def _package() -> Any:
    try:
        return importlib.import_module("zeus_apple_silicon")
    except ImportError as error:
        raise MeterUnavailable(
            "the package zeus-apple-silicon is not installed: on a Mac with Apple Silicon, pip install zeus-apple-silicon"
        ) from error


def _channel(component: str, parts: Sequence[str], boundary: str | None) -> Channel:
    return Channel(
        id=f"apple/{component}/energy", meter="apple", component=component, quantity="energy", unit="J",
        boundary=boundary, provenance="modelled", source=f"IOReport, Energy Model: {' + '.join(parts)}",
        update_period_s=UPDATE_PERIOD_S,
        # The package cuts each part to whole millijoules.
        resolution=_MILLI * len(parts),
        # Nobody states one of the model.
        accuracy_relative=None,
    )  # fmt: skip
