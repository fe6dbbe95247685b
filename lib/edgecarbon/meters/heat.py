"""The thermal story of a run, and who else was at work: from its samples, pure functions on the training window.

A device is throttled for heat by one of two kinds of evidence, each taken for one component:

- `throttle_reasons`: the driver says so, in NVML's bits (NVML reference, NvmlClocksEventReasons), whatever the meter.
- `frequency_falls`, where no driver tells any reason: the clock stays at least 10 % below what it was early in the
  window, while the component is hot and as busy as before. What was throttled before the window began is not seen so, and
  a limit of power that sets in with heat looks the same.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from edgecarbon.meters.base import Channel, Quantity
from edgecarbon.meters.integrate import COVERAGE_NEEDED, GAP_PERIODS, readings

Evidence = Literal["throttle_reasons", "frequency_falls"]

THROTTLED_SHARE = 0.01
"""A run that was throttled for more than this share of its training window is flagged `thermal_throttling`."""
BACKGROUND_SHARE = 0.05
"""Other processes on more than this share of all cores, in the training or an idle window: flagged `background_load`."""
OTHERS = "others"
"""The component whose utilisation is that of all processes but the worker's own."""

# Early is the first tenth of a window. The clock is judged by medians over some 5 s (longer where a sensor is read more
# seldom than twice in that time), and two of them must agree, so that neither the noise of a clock nor one pause passes for
# throttling; of a window with fewer than ten nothing is said.
_EARLY = 0.1
_PART_S, _PARTS_AT_LEAST, _PARTS_IN_A_ROW, _SAMPLES_A_PART = 5.0, 10, 2, 2
_FALL, _STILL_BUSY = 0.9, 0.9
# Hot: within 5 °C of the window's highest, and warm enough at all for a chip, or for a sensor under a device's skin, to be
# a reason. Chips throttle near 80 to 100 °C, phones by their skin near 40 °C; these are lower on purpose.
_NEAR_HIGHEST_C, _HOT_CHIP_C, _HOT_BODY_C = 5.0, 60.0, 38.0
_BODY = ("battery", "skin")

_HW_SLOWDOWN, _SW_THERMAL, _HW_THERMAL, _HW_POWER_BRAKE = 0x8, 0x20, 0x40, 0x80
_GPU_IDLE = 0x1


def says_heat(bits: int) -> bool:
    """Whether reasons, in NVML's bits, name heat. A hardware slowdown is heat's unless the power brake is its reason."""
    if bits & (_SW_THERMAL | _HW_THERMAL):
        return True
    return bool(bits & _HW_SLOWDOWN) and not bits & _HW_POWER_BRAKE


@dataclass(frozen=True)
class Series:
    """A channel's samples: seconds on the run's clock, increasing, and values, NaN or None for a failed read.

    All series of one meter have the same times.
    """

    channel: Channel
    times: Sequence[float]
    values: Sequence[float | None]

    def within(self, start_s: float, end_s: float) -> list[tuple[float, float]]:
        """(time, value) of the valid samples of [start_s, end_s]."""
        first, last = bisect_left(self.times, start_s), bisect_right(self.times, end_s)
        found = ((self.times[i], self.values[i]) for i in range(first, last))
        return [(t_s, value) for t_s, value in found if value is not None and math.isfinite(value)]


class Step(NamedTuple):
    """An optimizer step of the training window."""

    start_s: float
    end_s: float
    tokens: int


class Stretch(NamedTuple):
    """A time in which a component was throttled for heat."""

    start_s: float
    end_s: float
    component: str
    evidence: Evidence


class PerToken(NamedTuple):
    """Joules a token over some steps, and one standard uncertainty."""

    joules: float
    uncertainty_joules: float


@dataclass(frozen=True)
class Heat:
    """What happened over the training window. None is unknown, never 0; times are on the run's clock.

    `evidence` is what `throttled_s` rests on, also where it is 0; None where nothing would have told. `before` and `after`
    part the steps at `split_s`: where throttling began, else at half of the window.
    """

    temperature_component: str | None
    temperature_start_celsius: float | None
    temperature_highest_celsius: float | None
    temperature_end_celsius: float | None
    frequency_component: str | None
    frequency_start_mhz: float | None
    frequency_lowest_mhz: float | None
    frequency_end_mhz: float | None
    throttled_s: float | None
    throttling_began_s: float | None
    evidence: str | None
    split: Literal["throttling", "half"]
    split_s: float
    before: PerToken | None
    after: PerToken | None
    background_utilisation: float | None
    background_idle_utilisation: float | None
    stretches: tuple[Stretch, ...]
    flags: tuple[str, ...]


def tell(
    series: Sequence[Series],
    windows: Mapping[str, tuple[float, float]],
    steps: Sequence[Step],
    headline_channels: Sequence[str],
) -> Heat:
    """The story of a run.

    Args:
        series: of any channels; those of temperature, frequency, throttle and utilisation are read, and the headline's.
        windows: (start_s, end_s) by name; "train" must be there.
        steps: of the training window, in order.
        headline_channels: ids of the channels that the headline energy is the sum of.

    Raises:
        KeyError: no training window.
    """
    train = windows["train"]
    hottest = max(_of(series, "temperature"), key=lambda one: _highest(one, train), default=None)
    stretches, judged = _throttled(series, train)
    throttled_s = _union_s(stretches) if judged else None
    clock = _clock_to_tell(series, hottest, stretches)
    degrees = [] if hottest is None else [value for _, value in hottest.within(*train)]
    clocks = (
        [] if clock is None else [value for value in _medians(clock, train, _parts(train, clock)) if value is not None]
    )
    began_s = min((one.start_s for one in stretches), default=None)
    split_s = began_s if began_s is not None else (train[0] + train[1]) / 2
    earlier = [step for step in steps if (step.start_s + step.end_s) / 2 < split_s]
    before, after = (_per_token(series, headline_channels, part) for part in (earlier, steps[len(earlier) :]))
    busy, idle_busy = _others(series, windows)
    flags = {
        "background_load": max(busy or 0.0, idle_busy or 0.0) > BACKGROUND_SHARE,
        "thermal_throttling": (throttled_s or 0.0) > THROTTLED_SHARE * (train[1] - train[0]),
    }
    return Heat(
        temperature_component=hottest.channel.component if hottest and degrees else None,
        temperature_start_celsius=degrees[0] if degrees else None,
        temperature_highest_celsius=max(degrees, default=None),
        temperature_end_celsius=degrees[-1] if degrees else None,
        frequency_component=clock.channel.component if clock and clocks else None,
        frequency_start_mhz=_early(clock, train) if clock else None,
        frequency_lowest_mhz=min(clocks, default=None),
        frequency_end_mhz=_early(clock, train, late=True) if clock else None,
        throttled_s=throttled_s,
        throttling_began_s=began_s,
        evidence="+".join(sorted({one.evidence for one in stretches} or judged)) or None,
        split="half" if began_s is None else "throttling",
        split_s=split_s,
        before=before,
        after=after,
        background_utilisation=busy,
        background_idle_utilisation=idle_busy,
        stretches=tuple(stretches),
        flags=tuple(flag for flag, is_set in flags.items() if is_set),
    )


def _throttled(series: Sequence[Series], window: tuple[float, float]) -> tuple[list[Stretch], set[Evidence]]:
    """The stretches of all components, in order of time, and by what kinds of evidence any component was judged."""
    stretches: list[Stretch] = []
    judged: set[Evidence] = set()
    clocks = {one.channel.component: one for one in reversed(_of(series, "frequency"))}
    reasons = {one.channel.component: one for one in _of(series, "throttle")}
    for component in sorted({*clocks, *reasons}):
        told = reasons.get(component)
        evidence: Evidence
        if told is not None and _tells_reasons(told, window):
            evidence, found = "throttle_reasons", _told(told, window)
        elif component in clocks and (falls := _falls(series, clocks, component, window)) is not None:
            evidence, found = "frequency_falls", falls
        elif told is not None and told.within(*window):
            evidence, found = "throttle_reasons", []
        else:
            continue
        judged.add(evidence)
        stretches += [Stretch(start_s, end_s, component, evidence) for start_s, end_s in found]
    return sorted(stretches), judged


def _tells_reasons(told: Series, window: tuple[float, float]) -> bool:
    """Whether the channel ever names a reason: one that always says none may be a driver that does not know."""
    return any(int(value) & ~_GPU_IDLE for _, value in told.within(*window))


def _told(told: Series, window: tuple[float, float]) -> list[tuple[float, float]]:
    """When the driver named heat. A sample holds until the next one, and over a gap no longer than 3 periods."""
    before = max(bisect_right(told.times, window[0]) - 1, 0)
    samples = told.within(told.times[before], window[1])
    gaps_s = [b - a for (a, _), (b, _) in pairwise(samples)]
    period_s = max(told.channel.update_period_s, statistics.median(gaps_s) if gaps_s else 0.0)
    ends = [t_s for t_s, _ in samples[1:]] + [window[1]]
    held = [
        (max(t_s, window[0]), min(end_s, t_s + GAP_PERIODS * period_s, window[1]))
        for (t_s, value), end_s in zip(samples, ends, strict=True)
        if says_heat(int(value))
    ]
    return _joined(span for span in held if span[1] > span[0])


def _falls(
    series: Sequence[Series], clocks: Mapping[str, Series], component: str, window: tuple[float, float]
) -> list[tuple[float, float]] | None:
    """When a component's clock lay low while it was hot and busy; None where that cannot be judged."""
    warmth = [one for one in _of(series, "temperature") if one.channel.component == component]
    # A chip without a sensor of its own is judged by what has no clock of its own, such as the device's skin.
    warmth = warmth or [one for one in _of(series, "temperature") if one.channel.component not in clocks]
    warm = max(warmth, key=lambda one: _highest(one, window), default=None)
    if warm is None:
        return None
    parts = _parts(window, clocks[component], warm)
    early, highest = _early(clocks[component], window), _highest(warm, window)
    if early is None or parts < _PARTS_AT_LEAST:
        return None
    work = next((one for one in _of(series, "utilisation") if one.channel.component == component), None)
    early_work = None if work is None else _early(work, window)
    floor = _HOT_BODY_C if any(name in warm.channel.id for name in _BODY) else _HOT_CHIP_C
    hot = max(highest - _NEAR_HIGHEST_C, floor)
    clock, degrees = _medians(clocks[component], window, parts), _medians(warm, window, parts)
    busy = [None] * parts if work is None else _medians(work, window, parts)
    low = [
        f is not None and f <= _FALL * early and c is not None and c >= hot
        and (u is None or early_work is None or u >= _STILL_BUSY * early_work)
        for f, c, u in zip(clock, degrees, busy, strict=True)
    ]  # fmt: skip
    width_s = (window[1] - window[0]) / parts
    spans = _joined((window[0] + i * width_s, window[0] + (i + 1) * width_s) for i, is_low in enumerate(low) if is_low)
    return [span for span in spans if span[1] - span[0] > (_PARTS_IN_A_ROW - 0.5) * width_s]


def _others(series: Sequence[Series], windows: Mapping[str, tuple[float, float]]) -> tuple[float | None, float | None]:
    """The mean share of all cores that other processes used: in the training window, and in the busier idle window."""
    others = next((one for one in _of(series, "utilisation") if one.channel.component == OTHERS), None)
    if others is None:
        return None, None
    idle = [_mean(others, window) for name, window in windows.items() if name.startswith("idle_")]
    return _mean(others, windows["train"]), max((share for share in idle if share is not None), default=None)


def _clock_to_tell(series: Sequence[Series], hottest: Series | None, stretches: Sequence[Stretch]) -> Series | None:
    """The clock of what was throttled longest; else of what was hottest; else the first."""
    lengths_s: dict[str, float] = {}
    for one in stretches:
        lengths_s[one.component] = lengths_s.get(one.component, 0.0) + one.end_s - one.start_s
    wanted = sorted(lengths_s, key=lambda name: -lengths_s[name])
    wanted += [hottest.channel.component] if hottest is not None else []
    clocks = _of(series, "frequency")
    found = (one for name in wanted for one in clocks if one.channel.component == name)
    return next(found, clocks[0] if clocks else None)


def _per_token(series: Sequence[Series], headline_channels: Sequence[str], steps: Sequence[Step]) -> PerToken | None:
    """Joules a token over consecutive steps; None where a channel does not cover them, or there are none."""
    tokens = sum(step.tokens for step in steps)
    if not tokens or not headline_channels:
        return None
    joules, uncertainties = [], []
    for name in headline_channels:
        reading = _reading(series, name, steps[0].start_s, steps[-1].end_s)
        if reading is None or reading["joules"] is None or reading["coverage"] < COVERAGE_NEEDED:
            return None
        joules.append(reading["joules"])
        uncertainties.append(reading["uncertainty_joules"] or 0.0)
    return PerToken(math.fsum(joules) / tokens, math.hypot(*uncertainties) / tokens)


def _reading(series: Sequence[Series], name: str, start_s: float, end_s: float) -> dict[str, Any] | None:
    """The reading of the channel `name` over [start_s, end_s], from all that its meter says of its component."""
    of = {(one.channel.meter, one.channel.component): one for one in series if one.channel.id == name}
    for (meter, component), named in of.items():
        beside = [one for one in series if (one.channel.meter, one.channel.component) == (meter, component)]
        first, last = bisect_left(named.times, start_s), bisect_right(named.times, end_s)
        gaps_s = [b - a for a, b in pairwise(named.times[first:last])]
        if not gaps_s or not statistics.median(gaps_s) > 0 or not end_s > start_s:
            return None
        found = readings(
            [one.channel for one in beside], named.times, [one.values for one in beside], "part", start_s, end_s,
            sample_period_s=statistics.median(gaps_s),
        )  # fmt: skip
        return next((reading for reading in found if reading["channel"] == name), None)
    return None


def _of(series: Sequence[Series], quantity: Quantity) -> list[Series]:
    return [one for one in series if one.channel.quantity == quantity]


def _highest(one: Series, window: tuple[float, float]) -> float:
    return max((value for _, value in one.within(*window)), default=-math.inf)


def _mean(one: Series, window: tuple[float, float]) -> float | None:
    values = [value for _, value in one.within(*window)]
    return statistics.fmean(values) if values else None


def _early(one: Series, window: tuple[float, float], *, late: bool = False) -> float | None:
    """The median of the window's first tenth, or (`late`) of its last."""
    tenth_s = _EARLY * (window[1] - window[0])
    ends = (window[1] - tenth_s, window[1]) if late else (window[0], window[0] + tenth_s)
    values = [value for _, value in one.within(*ends)]
    return statistics.median(values) if values else None


def _parts(window: tuple[float, float], *found: Series) -> int:
    """Into how many equal parts a window is cut: of 5 s, or so long that each series has two samples in them."""
    fewest = min(len(one.within(*window)) for one in found)
    return max(1, int(min((window[1] - window[0]) / _PART_S, fewest / _SAMPLES_A_PART)))


def _medians(one: Series, window: tuple[float, float], parts: int) -> list[float | None]:
    """The median of each of so many parts of the window; None for one without a sample."""
    length_s = window[1] - window[0]
    found: list[list[float]] = [[] for _ in range(parts)]
    for t_s, value in one.within(*window):
        found[min(int((t_s - window[0]) / length_s * parts), parts - 1)].append(value)
    return [statistics.median(part) if part else None for part in found]


def _joined(spans: Iterator[tuple[float, float]]) -> list[tuple[float, float]]:
    """Spans in order of their starts, those that touch or overlap made one."""
    found: list[tuple[float, float]] = []
    for start_s, end_s in spans:
        if found and start_s <= found[-1][1] * (1 + 1e-12):
            found[-1] = (found[-1][0], max(found[-1][1], end_s))
        else:
            found.append((start_s, end_s))
    return found


def _union_s(stretches: Sequence[Stretch]) -> float:
    return math.fsum(end_s - start_s for start_s, end_s in _joined((one.start_s, one.end_s) for one in stretches))
