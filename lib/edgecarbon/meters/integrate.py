"""From samples to joules: what a counter or a power channel says of one window, how surely, and what was wrong.

Pure functions. Times in seconds on a monotonic clock, increasing; values in the channel's unit, NaN or None for a
failed read. Samples just outside the window help to interpolate at its ends. The uncertainty is one standard
uncertainty, the root of the summed squares of the terms that docs/measurement.md lists; a quantity known only to lie in
an interval of width w counts w/√12 (JCGM 100:2008, 4.3.7).
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from edgecarbon.meters.base import Channel, Reading

COVERAGE_NEEDED = 0.95
GAP_PERIODS = 3
STALL_PERIODS = 5
SHORT_PERIODS = 100
DISAGREEMENT = 0.10
# A sample that comes this many periods after the last one is still on time.
_ON_TIME = 1.5
# A step of a counter above this multiple of the power the component can draw is a reset that looks like a wrap.
_IMPLAUSIBLE = 2.0
# Over how many update periods the power at a window's end is taken.
_END_PERIODS = 10


@dataclass(frozen=True)
class Window:
    """[start_s, end_s], how often it was sampled, and the length from which a window is not `short`."""

    start_s: float
    end_s: float
    sample_period_s: float
    minimum_window_s: float = 60.0

    def __post_init__(self) -> None:
        if not self.end_s > self.start_s or not self.sample_period_s > 0:
            raise ValueError(f"a window needs end_s > start_s and sample_period_s > 0, not {self}")

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True)
class _Cover:
    """How much of a window samples lie on."""

    covered_s: float
    longest_gap_s: float


def integrate(channel: Channel, times: Sequence[float], values: Sequence[float | None], window: Window) -> Reading:
    """The energy of an "energy" channel (last − first) or a "power" channel (trapezoid) over the window."""
    if channel.quantity not in ("energy", "power"):
        raise ValueError(f"{channel.id}: no energy in a channel of {channel.quantity}")
    xs, ys = _around(times, values, window)
    flags = {*channel.flags}
    if window.duration_s < max(window.minimum_window_s, SHORT_PERIODS * channel.update_period_s):
        flags.add("short")
    period_s = max(window.sample_period_s, channel.update_period_s)
    cover = _cover(xs, window, period_s)
    if cover.longest_gap_s > GAP_PERIODS * period_s:
        flags |= {"gap", "partial"}
    if len(xs) < 2 or xs[-1] <= window.start_s or xs[0] >= window.end_s:
        return _reading(channel, None, None, 0.0, flags | {"no_data", "partial"})
    whole = _counter if channel.quantity == "energy" else _power
    return whole(channel, xs, ys, window, cover, flags)


def readings(
    channels: Sequence[Channel],
    times: Sequence[float],
    columns: Sequence[Sequence[float | None]],
    name: str,
    start_s: float,
    end_s: float,
    *,
    sample_period_s: float,
    minimum_window_s: float = 60.0,
) -> list[dict[str, Any]]:
    """Readings of the window `name` from every energy and power channel, as JSON; a component's counter comes first.

    Of several power channels of a component the first is integrated. Counter and integrated power that differ by more
    than 10 % are both flagged.
    """
    window = Window(start_s, end_s, sample_period_s, minimum_window_s)
    found: dict[tuple[str, str], dict[str, tuple[Channel, Reading]]] = {}
    for quantity in ("energy", "power"):
        for channel, column in zip(channels, columns, strict=True):
            kinds = found.setdefault((channel.meter, channel.component), {})
            if channel.quantity == quantity and quantity not in kinds:
                kinds[quantity] = (channel, integrate(channel, times, column, window))
    out = []
    for (meter, component), kinds in found.items():
        flags = _disagreement([reading for _, reading in kinds.values()])
        for channel, reading in kinds.values():
            told = replace(reading, flags=tuple(sorted({*reading.flags, *flags}))).to_json()
            out.append({"window": name, "meter": meter, "component": component, "channel": channel.id, **told})
    return out


def _disagreement(pair: Sequence[Reading]) -> set[str]:
    joules = [reading.joules for reading in pair if reading.joules is not None]
    disagree = len(joules) == 2 and abs(joules[1] - joules[0]) > DISAGREEMENT * joules[0]
    return {"counter_power_disagree"} if disagree else set()


def _around(times: Sequence[float], values: Sequence[float | None], window: Window) -> tuple[list[float], list[float]]:
    """The valid samples of the window, with the nearest valid one before it and after it."""
    first, last = bisect_left(times, window.start_s), bisect_right(times, window.end_s)

    def valid(index: int) -> bool:
        value = values[index]
        return value is not None and math.isfinite(value)

    before = next((i for i in range(first - 1, -1, -1) if valid(i)), None)
    after = next((i for i in range(last, len(times)) if valid(i)), None)
    kept: Iterable[int] = (i for i in range(first, last) if valid(i))
    chosen = [*([before] if before is not None else []), *kept, *([after] if after is not None else [])]
    return [times[i] for i in chosen], [float(values[i] or 0.0) for i in chosen]


def _cover(xs: Sequence[float], window: Window, period_s: float) -> _Cover:
    """A sample on time covers the stretch since the last one; a late one covers one period of it."""
    if not xs:
        return _Cover(0.0, window.duration_s)
    covered_s = 0.0
    longest_s = max(xs[0] - window.start_s, window.end_s - xs[-1], 0.0)
    for i in range(1, len(xs)):
        step_s = xs[i] - xs[i - 1]
        inside_s = min(xs[i], window.end_s) - max(xs[i - 1], window.start_s)
        if inside_s <= 0:
            continue
        on_time = step_s <= _ON_TIME * period_s
        covered_s += inside_s if on_time else inside_s * period_s / step_s
        longest_s = max(longest_s, step_s)
    return _Cover(covered_s, longest_s)


def _counter(
    channel: Channel, xs: list[float], ys: list[float], window: Window, cover: _Cover, flags: set[str]
) -> Reading:
    coverage = cover.covered_s / window.duration_s
    steps, flaw = _steps(channel, xs, ys, flags)
    if flaw:
        return _reading(channel, None, None, coverage, flags | {flaw})
    total = [0.0]
    for step in steps:
        total.append(total[-1] + step)
    joules = _at(xs, total, window.end_s) - _at(xs, total, window.start_s)
    if joules <= 0:
        # A powered component always uses energy: a counter that never moved told nothing.
        stood = xs[-1] - xs[0] > STALL_PERIODS * channel.update_period_s
        return _reading(channel, None, None, 0.0, flags | ({"stalled"} if stood else {"no_data"}) | {"partial"})
    mean_watts = joules / window.duration_s
    still_s = _still(channel, xs, steps, window, mean_watts)
    if still_s > 0:
        flags.add("stalled")
        coverage = max(0.0, coverage - still_s / window.duration_s)

    first_watts, last_watts = _end_watts(channel, xs, total, window)
    terms = [
        # Each end is rounded to the resolution, and is as old as up to one update.
        channel.resolution / math.sqrt(6),
        channel.update_period_s / math.sqrt(3) * math.hypot(first_watts, last_watts),
        (channel.accuracy_relative or 0.0) * joules,
        # A counter keeps what a gap hides, but not what the ends miss or a stall loses.
        _end_distance(xs, window.start_s) / math.sqrt(3) * first_watts,
        _end_distance(xs, window.end_s) / math.sqrt(3) * last_watts,
        still_s / math.sqrt(3) * mean_watts,
    ]
    return _reading(channel, joules, math.hypot(*terms), coverage, flags)


def _steps(channel: Channel, xs: list[float], ys: list[float], flags: set[str]) -> tuple[list[float], str | None]:
    """Joules between neighbouring samples with wraps undone, and the flag that makes the counter invalid, if any."""
    # Without a stated bound, twice the steepest rise must do to tell how soon the counter may wrap.
    bound_watts = channel.max_watts or 2 * max(
        (b - a) / max(u - t, channel.update_period_s) for (t, a), (u, b) in pairwise(zip(xs, ys, strict=True))
    )
    steps = []
    for i in range(1, len(xs)):
        step, wait_s = ys[i] - ys[i - 1], xs[i] - xs[i - 1]
        if channel.wrap_joules is not None and bound_watts * wait_s >= channel.wrap_joules:
            return [], "wrap_ambiguous"
        if step < 0:
            if not channel.wraps:
                return [], "reset"
            if channel.wrap_joules is None:
                return [], "wrap_unreadable"
            step += channel.wrap_joules
            flags.add("wrapped")
            limit = _IMPLAUSIBLE * (channel.max_watts or math.inf) * (wait_s + channel.update_period_s)
            if not 0 <= step <= limit + channel.resolution:
                flags.discard("wrapped")
                return [], "reset"
        steps.append(step)
    return steps, None


def _still(channel: Channel, xs: list[float], steps: list[float], window: Window, mean_watts: float) -> float:
    """Seconds of the window in stretches that are too long for a counter that works to stand still."""
    quantum_s = channel.resolution / mean_watts
    allowed_s = max(STALL_PERIODS * max(channel.update_period_s, window.sample_period_s), 3 * quantum_s)
    still_s, since = 0.0, None
    for i, step in enumerate([*steps, math.inf]):
        if step <= 0:
            since = i if since is None else since
        elif since is not None:
            inside_s = min(xs[i], window.end_s) - max(xs[since], window.start_s)
            still_s += inside_s if inside_s > allowed_s else 0.0
            since = None
    return still_s


def _power(
    channel: Channel, xs: list[float], ys: list[float], window: Window, cover: _Cover, flags: set[str]
) -> Reading:
    coverage = cover.covered_s / window.duration_s
    inner = [i for i, x in enumerate(xs) if window.start_s < x < window.end_s]
    ts = [window.start_s, *(xs[i] for i in inner), window.end_s]
    ps = [_at(xs, ys, window.start_s, flat=True), *(ys[i] for i in inner), _at(xs, ys, window.end_s, flat=True)]
    joules = math.fsum((b - a) * (p + q) / 2 for (a, p), (b, q) in pairwise(zip(ts, ps, strict=True)))
    if joules < 0:
        # Power that flows in, as a battery's does while it charges, is no energy used.
        return _reading(channel, None, None, coverage, flags | {"charging"})
    if not any(ps):
        return _reading(channel, None, None, 0.0, flags | {"stalled", "partial"})
    uncovered_s = max(0.0, window.duration_s - cover.covered_s)
    mean_watts = joules / window.duration_s
    spread_watts = math.sqrt(math.fsum((p - mean_watts) ** 2 for p in ps) / len(ps))
    # Half the mean square of successive differences: the scatter between samples, blind to slow drift.
    jumps = [q - p for p, q in pairwise(ps)]
    scatter_watts = math.sqrt(math.fsum(jump * jump for jump in jumps) / (2 * len(jumps)))
    terms = [
        channel.resolution / math.sqrt(12) * window.duration_s,
        channel.update_period_s / math.sqrt(3) * math.hypot(ps[0], ps[-1]),
        (channel.accuracy_relative or 0.0) * joules,
        scatter_watts * math.sqrt(math.fsum((b - a) ** 2 for a, b in pairwise(ts))),
        spread_watts * uncovered_s,
    ]
    return _reading(channel, joules, math.hypot(*terms), coverage, flags)


def _at(xs: Sequence[float], ys: Sequence[float], t_s: float, *, flat: bool = False) -> float:
    """The value at `t_s`, linear between samples; beyond the last one linear on, or (`flat`) the same."""
    i = min(max(bisect_left(xs, t_s), 1), len(xs) - 1)
    if flat and not xs[0] <= t_s <= xs[-1]:
        return ys[0] if t_s < xs[0] else ys[-1]
    if xs[i] == t_s:
        return ys[i]
    if xs[i] == xs[i - 1]:
        return ys[i - 1]
    return ys[i - 1] + (ys[i] - ys[i - 1]) * (t_s - xs[i - 1]) / (xs[i] - xs[i - 1])


def _end_distance(xs: Sequence[float], t_s: float) -> float:
    """Seconds from a window's end to the nearest sample; 0 where the recorder marked it."""
    i = bisect_left(xs, t_s)
    return min(abs(x - t_s) for x in xs[max(0, i - 1) : i + 1])


def _end_watts(channel: Channel, xs: list[float], total: list[float], window: Window) -> tuple[float, float]:
    """Power just inside the two ends, over so many updates that a step of the counter does not pass for a surge."""
    span_s = min(window.duration_s, _END_PERIODS * max(channel.update_period_s, window.sample_period_s))

    def watts(from_s: float) -> float:
        return max(0.0, _at(xs, total, from_s + span_s) - _at(xs, total, from_s)) / span_s

    return watts(window.start_s), watts(window.end_s - span_s)


def _reading(
    channel: Channel, joules: float | None, uncertainty_joules: float | None, coverage: float, flags: set[str]
) -> Reading:
    coverage = min(max(coverage, 0.0), 1.0)
    if coverage < COVERAGE_NEEDED:
        flags = flags | {"partial"}
    return Reading(
        joules=joules, uncertainty_joules=uncertainty_joules, provenance=channel.provenance, boundary=channel.boundary,
        source=channel.source, update_period_s=channel.update_period_s, coverage=round(coverage, 6),
        flags=tuple(sorted(flags)),
    )  # fmt: skip
