"""From readings to totals: one for each boundary, the headline among them, and what is left of it net of idle power.

Pure functions on the JSON form of readings ({"window", "meter", "component", ...Reading}).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edgecarbon.meters.base import PROVENANCES, Provenance

AcceleratorKind = Literal["cpu", "cuda", "mps"]
IDLE_DRIFT = 0.05
HOST = "cpu_package+dram"

# Whole devices first; then what did the work. Where a GPU did it and only the CPU was read, the total is partial.
_PREFERRED: dict[str, tuple[str, ...]] = {
    "cuda": ("wall", "battery", "gpu_board", "soc", "cpu_package"),
    "mps": ("wall", "battery", "soc", "cpu_package"),
    "cpu": ("wall", "battery", "soc", "cpu_package"),
}
_WHOLE = ("wall", "battery", "soc")


@dataclass(frozen=True)
class Total:
    """Energy of one boundary over one window. `status` is partial where a component is missing or was not covered.

    `meters` and `channels` are those that were counted.
    """

    joules: float | None
    uncertainty_joules: float | None
    boundary: str | None
    provenance: Provenance
    status: Literal["complete", "partial", "absent"]
    coverage: float
    flags: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    meters: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Net:
    """Energy above idle. `idle_drift_relative` is (after − before)/before, None unless both were measured."""

    joules: float | None
    uncertainty_joules: float | None
    idle_watts: float | None
    idle_uncertainty_watts: float | None
    idle_drift_relative: float | None
    flags: tuple[str, ...] = ()


def headline(readings: Iterable[Mapping[str, Any]], window: str, accelerator_kind: str) -> Total:
    """The total of `window` on the first boundary, in order of preference, on which anything was read: see `totals`."""
    sets = _sets(readings, window, accelerator_kind)
    found = _totals(sets, accelerator_kind)
    if found:
        return found[0]
    tried = [boundary for boundary, members in sets.items() if members]
    flags = {flag for members in sets.values() for reading in members for flag in reading["flags"]}
    missing = tuple(reading["component"] for members in sets.values() for reading in members)
    return Total(
        None, None, tried[0] if tried else None, "absent", "absent", 0.0, tuple(sorted(flags)), missing=missing
    )


def totals(readings: Iterable[Mapping[str, Any]], window: str, accelerator_kind: str) -> list[Total]:
    """The total of `window` on every boundary on which anything was read, in order of preference: the headline first.

    Packages and their memory are one set, called "cpu_package+dram" where memory was read, "cpu_package" where not.
    Each component of a host counts once, however many ranks or channels report it: its first reading with joules, and
    the recorder puts a counter before an integrated power. Of several meters on a boundary the best provenance is
    taken. A GPU's total is partial where its host's CPU was not read beside it. Totals of different boundaries overlap
    and are never added.

    Raises:
        ValueError: no such kind of accelerator.
    """
    return _totals(_sets(readings, window, accelerator_kind), accelerator_kind)


_Sets = dict[str, list[Mapping[str, Any]]]


def _sets(readings: Iterable[Mapping[str, Any]], window: str, accelerator_kind: str) -> _Sets:
    """The readings of each boundary of `window`, in order of preference."""
    if accelerator_kind not in _PREFERRED:
        raise ValueError(f"accelerator_kind {accelerator_kind!r}: expected one of {', '.join(_PREFERRED)}")
    mine = [reading for reading in readings if reading["window"] == window]
    return {boundary: _components(mine, boundary) for boundary in _PREFERRED[accelerator_kind]}


def _totals(sets: _Sets, accelerator_kind: str) -> list[Total]:
    read = [boundary for boundary, found in sets.items() if any(r["joules"] is not None for r in found)]
    # A GPU's figure without its host's, or a host's without the GPU's that did the work, is a part.
    apart = {"cuda": ("gpu_board", "cpu_package"), "mps": ("soc",), "cpu": ("cpu_package",)}[accelerator_kind]
    lacking = [other for other in apart if other not in read]
    return [_sum(sets[boundary], boundary, [] if boundary in _WHOLE else lacking) for boundary in read]


def _sum(found: Sequence[Mapping[str, Any]], boundary: str, lacking: Sequence[str]) -> Total:
    counted = [reading for reading in found if reading["joules"] is not None]
    missing = [*(reading["component"] for reading in found if reading["joules"] is None), *lacking]
    has_dram = any(reading["boundary"] == "dram" for reading in counted)
    flags = {flag for reading in found for flag in reading["flags"]}
    return Total(
        joules=math.fsum(reading["joules"] for reading in counted),
        uncertainty_joules=math.hypot(*(reading["uncertainty_joules"] or 0.0 for reading in counted)),
        boundary=HOST if boundary == "cpu_package" and has_dram else boundary,
        provenance=max((reading["provenance"] for reading in counted), key=PROVENANCES.index),
        status="partial" if missing or "partial" in flags else "complete",
        coverage=min(reading["coverage"] for reading in found),
        flags=tuple(sorted(flags | ({"partial"} if missing else set()))),
        components=tuple(reading["component"] for reading in counted),
        missing=tuple(missing),
        meters=tuple(dict.fromkeys(reading["meter"] for reading in counted)),
        channels=tuple(reading["channel"] for reading in counted if reading.get("channel")),
    )


def _components(readings: Iterable[Mapping[str, Any]], boundary: str) -> list[Mapping[str, Any]]:
    """One reading a component of the boundary (a package brings its memory along), from the best meter that read it."""
    members = ("cpu_package", "dram") if boundary == "cpu_package" else (boundary,)
    chosen: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for reading in readings:
        if reading["boundary"] not in members:
            continue
        key = (reading["meter"], reading.get("host"), reading["component"])
        if key not in chosen or _wants(reading) < _wants(chosen[key]):
            chosen[key] = reading
    by_meter: dict[str, list[Mapping[str, Any]]] = {}
    for (meter, *_), reading in chosen.items():
        by_meter.setdefault(meter, []).append(reading)

    def rank(found: list[Mapping[str, Any]]) -> tuple[bool, int]:
        told = [PROVENANCES.index(reading["provenance"]) for reading in found if reading["joules"] is not None]
        return not told, max(told, default=len(PROVENANCES))

    found = min(by_meter.values(), key=rank, default=[])
    # Some machines list a memory domain whose counter never moves: the set is then the packages alone, and says so.
    dram = [reading for reading in found if reading["boundary"] == "dram"]
    if all(reading["joules"] is None for reading in dram):
        found = [reading for reading in found if reading["boundary"] != "dram"]
    return found


def _wants(reading: Mapping[str, Any]) -> int:
    """How little a reading is wanted: one without joules least, then a counter that stood still and lost some."""
    if reading["joules"] is None:
        return 2
    return int({"stalled", "partial"} <= {*reading["flags"]})


def net_joules(
    gross_joules: float,
    gross_uncertainty_joules: float,
    duration_s: float,
    idle_watts: float,
    idle_uncertainty_watts: float,
) -> tuple[float, float]:
    """(E − P_idle·t, √(u_E² + (u_P·t)²)). Gross and idle are taken as independent, which is on the safe side."""
    if not duration_s > 0:
        raise ValueError(f"duration_s must be above 0, not {duration_s}")
    net = gross_joules - idle_watts * duration_s
    return net, math.hypot(gross_uncertainty_joules, idle_uncertainty_watts * duration_s)


def net(total: Total, duration_s: float, before: tuple[Total, float] | None, after: tuple[Total, float] | None) -> Net:
    """`total` less idle power; `before` and `after` are an idle window's total and its duration in seconds.

    An idle window counts only on the boundary of the total. Idle power is the mean of the two. The same sensor read
    both, so their uncertainties are averaged and not reduced; half the difference counts as a rectangular limit.
    """
    idle = [
        (told.joules / seconds, (told.uncertainty_joules or 0.0) / seconds)
        for told, seconds in (pair for pair in (before, after) if pair)
        if told.joules is not None and told.boundary == total.boundary and seconds > 0
    ]
    if not idle:
        return Net(None, None, None, None, None)
    watts = math.fsum(power for power, _ in idle) / len(idle)
    spread_watts = abs(idle[-1][0] - idle[0][0]) / 2
    uncertainty_watts = math.hypot(math.fsum(u for _, u in idle) / len(idle), spread_watts / math.sqrt(3))
    drift = (idle[1][0] - idle[0][0]) / idle[0][0] if len(idle) == 2 and idle[0][0] > 0 else None
    flags = ("idle_drift",) if drift is not None and abs(drift) > IDLE_DRIFT else ()
    if total.joules is None:
        return Net(None, None, watts, uncertainty_watts, drift, flags)
    joules, u = net_joules(total.joules, total.uncertainty_joules or 0.0, duration_s, watts, uncertainty_watts)
    return Net(joules, u, watts, uncertainty_watts, drift, flags)
