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
# Reads this share of an update apart are of two updates: they jitter.
_APART = 0.75

# Seconds that a look stands for, and its watts.
_Look = tuple[float, float]


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
                slow = _as_slow_as_seen(channel, times, column, window)
                kinds[quantity] = (channel, integrate(slow, times, column, window))
    batteries = {(one.meter, one.component) for one in channels if one.quantity == "discharging"}
    charged = _charged(channels, times, columns, window)
    out = []
    for key, kinds in found.items():
        flags = _disagreement([reading for _, reading in kinds.values()])
        for channel, reading in kinds.values():
            if key in charged or (key in batteries and "reset" in reading.flags):
                # Its charge rose, or it said itself that it was not being drained: no energy of the device is in that.
                kept = {*reading.flags} - {"reset"}
                reading = replace(reading, joules=None, uncertainty_joules=None, flags=(*kept, "charging"))
            told = replace(reading, flags=tuple(sorted({*reading.flags, *flags}))).to_json()
            out.append({"window": name, "meter": key[0], "component": key[1], "channel": channel.id, **told})
    return out


def _as_slow_as_seen(
    channel: Channel, times: Sequence[float], values: Sequence[float | None], window: Window
) -> Channel:
    """A counter that stands still in most samples moves as seldom as it is seen to, whatever its source states.

    A phone's gauge steps by a whole milliampere-hour, which takes longer the less it draws.
    """
    if channel.quantity != "energy":
        return channel
    xs, ys = _around(times, values, window)
    moves = sum(1 for a, b in pairwise(ys) if b != a)
    if moves == 0 or moves * 2 >= len(xs) - 1:
        return channel
    return replace(channel, update_period_s=max(channel.update_period_s, (xs[-1] - xs[0]) / moves))


def _charged(
    channels: Sequence[Channel], times: Sequence[float], columns: Sequence[Sequence[float | None]], window: Window
) -> set[tuple[str, str]]:
    """(meter, component) of the batteries that were not being drained throughout the window."""
    first, last = bisect_left(times, window.start_s), bisect_right(times, window.end_s)
    return {
        (channel.meter, channel.component)
        for channel, column in zip(channels, columns, strict=True)
        if channel.quantity == "discharging" and any(value == 0 for value in column[first:last])
    }


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
    first_watts, last_watts = _end_watts(channel, xs, total, window)
    seen_s, seen_to_s = max(window.start_s, xs[0]), min(window.end_s, xs[-1])
    joules = _at(xs, total, seen_to_s) - _at(xs, total, seen_s)
    # Beyond the samples it goes on as it did just inside of them.
    joules += first_watts * (seen_s - window.start_s) + last_watts * (window.end_s - seen_to_s)
    if joules <= 0:
        # A powered component always uses energy: a counter that never moved told nothing.
        stood = xs[-1] - xs[0] > STALL_PERIODS * channel.update_period_s
        return _reading(channel, None, None, 0.0, flags | ({"stalled"} if stood else {"no_data"}) | {"partial"})
    still_s, lost_joules, usual_watts = _still(channel, xs, steps, window, joules)
    if still_s > 0:
        flags.add("stalled")
        coverage = max(0.0, coverage - lost_joules / usual_watts / window.duration_s)

    terms = [
        # Each end is rounded to the resolution, and is as old as up to one update.
        channel.resolution / math.sqrt(6),
        channel.update_period_s / math.sqrt(3) * math.hypot(first_watts, last_watts),
        (channel.accuracy_relative or 0.0) * joules,
        # A counter keeps what a gap hides, but not what the ends miss or a stall loses.
        _end_distance(xs, window.start_s) / math.sqrt(3) * first_watts,
        _end_distance(xs, window.end_s) / math.sqrt(3) * last_watts,
        lost_joules / math.sqrt(3),
        _unseen(_looks(channel, xs, steps), 1 - (channel.duty or 1.0)),
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


def _still(
    channel: Channel, xs: list[float], steps: list[float], window: Window, joules: float
) -> tuple[float, float, float]:
    """Stretches of the window that are too long for a counter that works to stand still.

    Returns:
        their seconds; the joules that they may have lost, which is what power as usual would have drawn in them, less
        the step that ended each, by which a counter that was only late makes up for it; that power.
    """
    quantum_s = channel.resolution * window.duration_s / joules
    allowed_s = max(STALL_PERIODS * max(channel.update_period_s, window.sample_period_s), 3 * quantum_s)
    stalls, since = [], None
    for i, step in enumerate([*steps, math.inf]):
        if step <= 0:
            since = i if since is None else since
        elif since is not None:
            inside_s = min(xs[i], window.end_s) - max(xs[since], window.start_s)
            if inside_s > allowed_s:
                ended = i < len(steps) and xs[i + 1] <= window.end_s
                stalls.append((inside_s, xs[i + 1] - xs[i] if ended else 0.0, step if ended else 0.0))
            since = None
    apart_s = window.duration_s - math.fsum(inside_s + step_s for inside_s, step_s, _ in stalls)
    apart_joules = joules - math.fsum(step for *_, step in stalls)
    usual_watts = apart_joules / apart_s if apart_s > 0 and apart_joules > 0 else joules / window.duration_s
    lost = (min(usual_watts * inside_s, usual_watts * (inside_s + dt) - step) for inside_s, dt, step in stalls)
    lost_joules = math.fsum(max(0.0, joules) for joules in lost)
    return math.fsum(inside_s for inside_s, *_ in stalls), lost_joules, usual_watts


def _power(
    channel: Channel, xs: list[float], ys: list[float], window: Window, cover: _Cover, flags: set[str]
) -> Reading:
    coverage = cover.covered_s / window.duration_s
    inner = [i for i, x in enumerate(xs) if window.start_s < x < window.end_s]
    ts = [window.start_s, *(xs[i] for i in inner), window.end_s]
    ps = [_at(xs, ys, window.start_s, flat=True), *(ys[i] for i in inner), _at(xs, ys, window.end_s, flat=True)]
    joules = math.fsum((b - a) * (p + q) / 2 for (a, p), (b, q) in pairwise(zip(ts, ps, strict=True)))
    if not any(ps):
        return _reading(channel, None, None, 0.0, flags | {"stalled", "partial"})
    if joules <= 0:
        # Power that flows in, as a battery's does while it charges, is no energy used.
        return _reading(channel, None, None, coverage, flags | {"charging"})
    uncovered_s = max(0.0, window.duration_s - cover.covered_s)
    mean_watts = joules / window.duration_s
    spread_watts = math.sqrt(math.fsum((p - mean_watts) ** 2 for p in ps) / len(ps))
    looks = _apart(ts, ps, channel.update_period_s)
    # A reading between two updates cuts the one short and draws the other out.
    read_share = min(1.0, window.sample_period_s / channel.update_period_s) ** 2 / 6
    ends_watts = math.hypot(ps[-1] - ps[0], math.sqrt(2) * _scatter(looks))
    terms = [
        # Nobody says whether it rounds or cuts off.
        channel.resolution / math.sqrt(3) * window.duration_s,
        # What is shown is up to one update old, and was made known up to one update late.
        channel.update_period_s * math.sqrt(7 / 6) * ends_watts,
        (channel.accuracy_relative or 0.0) * joules,
        _unseen(looks, min(1.0, 1 - (channel.duty or 0.0) + read_share)),
        spread_watts * uncovered_s,
        # Beyond the samples the power was taken to go on.
        max(0.0, xs[0] - window.start_s) / math.sqrt(3) * ps[0],
        max(0.0, window.end_s - xs[-1]) / math.sqrt(3) * ps[-1],
    ]
    return _reading(channel, joules, math.hypot(*terms), coverage, flags)


def _looks(channel: Channel, xs: list[float], steps: list[float]) -> list[_Look]:
    """The steps of a counter whose sensor looks only now and then, as (seconds, watts) of whole updates; else none.

    Read at about its own pace, a counter now and then shows no update in one step and, some steps on, two in another,
    which is the steepest before the next step without any.
    """
    if channel.duty is None or channel.duty >= 1:
        return []
    seen: list[list[float]] = []
    since, owed_s = 0, 0.0
    for i, step in enumerate([*steps, 0.0]):
        if step > 0:
            seen.append([xs[i + 1] - xs[i], step])
            continue
        if since < len(seen):
            max(seen[since:], key=lambda look: look[1] / max(look[0], channel.update_period_s))[0] += owed_s
            since, owed_s = len(seen), 0.0
        owed_s += xs[i + 1] - xs[i] if i < len(steps) else 0.0
    whole = [(max(1, round(wait_s / channel.update_period_s)) * channel.update_period_s, step) for wait_s, step in seen]
    return [(look_s, step / look_s) for look_s, step in whole]


def _apart(ts: list[float], ps: list[float], period_s: float) -> list[_Look]:
    """Samples of power that are about one update or more apart, as (seconds since the one before, watts)."""
    looks = [(0.0, ps[0])]
    last_s = ts[0]
    for t, p in zip(ts, ps, strict=True):
        if t - last_s >= _APART * period_s:
            looks.append((t - last_s, p))
            last_s = t
    return looks


def _scatter(looks: Sequence[_Look]) -> float:
    """Watts between looks, blind to slow drift: the root of half the mean square of successive differences."""
    jumps = [q - p for (_, p), (_, q) in pairwise(looks)]
    return math.sqrt(math.fsum(jump * jump for jump in jumps) / (2 * len(jumps))) if jumps else 0.0


def _unseen(looks: Sequence[_Look], share: float) -> float:
    """Joules between looks that see 1 − `share` of the time, each look off independently by what they scatter."""
    return _scatter(looks) * math.sqrt(share * math.fsum(look_s * look_s for look_s, _ in looks))


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
    start_s, end_s = max(window.start_s, xs[0]), min(window.end_s, xs[-1])
    span_s = min(end_s - start_s, _END_PERIODS * max(channel.update_period_s, window.sample_period_s))

    def watts(from_s: float) -> float:
        return max(0.0, _at(xs, total, from_s + span_s) - _at(xs, total, from_s)) / span_s if span_s > 0 else 0.0

    return watts(start_s), watts(end_s - span_s)


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
