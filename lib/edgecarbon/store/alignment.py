"""Whether the times of a log fit a run's: the log's power against what the run itself says of its power over time.

Both become means over equal cells, and are correlated (Pearson, over the cells that both have) for every shift within
± 120 s. Under power = a + b·reference(t − shift) + noise, the deviance between two shifts is
n·ln((1 − r₂²)/(1 − r₁²)), r being the correlation; n is the number of cells less what the residuals' own correlation ρ
takes off it, cells·(1 − ρ)/(1 + ρ). Shifts within a deviance of 1 of the best are its standard uncertainty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SEARCH_S = 120.0
TOLERANCE_PERIODS, TOLERANCE_S = 2.0, 2.0
"""Times that are off by more than so many periods of the log and so many seconds are misaligned."""
CLEAR_DEVIANCE = 20.0
"""From here on a shift is clearly better than another, or than none: 1 in 10⁵ by chance, and some 500 shifts are tried."""
RELATED, TRUSTED = 0.5, 0.8
"""Correlation from which log and run are taken to be of one device, and from which a shift is put right."""

_MOST_CELLS, _LEAST_CELL_S, _FEWEST_CELLS = 500_000, 0.05, 10
_GAP_PERIODS = 3.0

Cells = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Course:
    """How something went over the time of the run: `means(edges)` are its means between the edges, NaN where unknown."""

    name: str
    start_s: float
    end_s: float
    means: Callable[[Cells], Cells]


@dataclass(frozen=True)
class Alignment:
    """What was found: `shift_s` is to be taken off the log's times; its standard uncertainty includes what was left on.

    `seen_s` is the best shift where log and reference belong together, whether or not it was taken; else None, and
    `uncertainty_s` is that of a clock that may be off by anything within the search.
    """

    shift_s: float
    uncertainty_s: float
    seen_s: float | None = None
    correlation: float | None = None
    reference: str | None = None
    misaligned: bool = False

    @property
    def trusted(self) -> bool:
        """Whether the log's times, put right where they were off, can be relied on."""
        return not self.misaligned or (self.correlation or 0.0) > TRUSTED


UNKNOWN = Alignment(0.0, SEARCH_S / math.sqrt(3))
"""Nothing tells: any shift within the search is as good as another."""


def of_power(name: str, times: Sequence[float], watts: Sequence[float | None], period_s: float) -> Course | None:
    """The course of a power or a share, linear between samples; unknown across a gap of more than three periods."""
    ts, ps = _valid(times, watts)
    if ts.size < 2:
        return None
    total = np.concatenate([[0.0], np.cumsum(np.diff(ts) * (ps[1:] + ps[:-1]) / 2)])
    return _course(name, ts, total, _GAP_PERIODS * period_s)


def of_counter(name: str, times: Sequence[float], joules: Sequence[float | None], period_s: float) -> Course | None:
    """The course of a counter's power, even between two of its moves. Where it falls nothing is counted."""
    ts, values = _valid(times, joules)
    moved = np.concatenate([[True], np.diff(values) != 0]) if ts.size else np.zeros(0, bool)
    if np.count_nonzero(moved) < 2:
        return None
    total = np.concatenate([[0.0], np.cumsum(np.maximum(np.diff(values), 0.0))])
    gaps_s = np.diff(ts)
    longest_s = max(_GAP_PERIODS * period_s, _GAP_PERIODS * float(np.median(gaps_s)))
    # A stretch without a move is one of little power; one without samples is unknown.
    return _course(name, ts[moved], total[moved], math.inf if gaps_s.max() <= longest_s else longest_s)


def of_windows(windows: Sequence[tuple[str, float, float]]) -> Course | None:
    """Idle or at work, as the run's windows (name, start, end) have it; between windows unknown."""
    at_work = [float(not name.startswith("idle")) for name, _, _ in windows]
    if len(set(at_work)) < 2:
        return None

    def means(edges: Cells) -> Cells:
        found = np.full(edges.size - 1, np.nan)
        for (_, start_s, end_s), value in zip(windows, at_work, strict=True):
            found[(edges[:-1] >= start_s) & (edges[1:] <= end_s)] = value
        return found

    return Course("idle and work", min(start for _, start, _ in windows), max(end for _, _, end in windows), means)


def total_of(courses: Sequence[Course], name: str) -> Course:
    """The sum of several courses, where all are known."""
    start_s, end_s = max(one.start_s for one in courses), min(one.end_s for one in courses)
    return Course(name, start_s, end_s, lambda edges: np.asarray(sum(one.means(edges) for one in courses)))


def align(log: Course, references: Sequence[Course], period_s: float) -> Alignment:
    """Find how far a log's times are off, by the first reference that the log's power follows.

    Args:
        log: the log's power, by its own clock, on the run's time.
        references: what the run says of its own power, the best first.
        period_s: the log's spacing.
    """
    return next((found for one in references if (found := _against(log, one, period_s))), UNKNOWN)


def _against(log: Course, reference: Course, period_s: float) -> Alignment | None:
    length_s = reference.end_s - reference.start_s
    if length_s <= 0:
        return None
    cell_s = max(period_s / 2, _LEAST_CELL_S, (length_s + 2 * SEARCH_S) / _MOST_CELLS)
    reach = math.ceil(SEARCH_S / cell_s)
    count = math.ceil(length_s / cell_s)
    edges: Cells = reference.start_s + cell_s * np.arange(-reach, count + reach + 1, dtype=float)
    watts, told = log.means(edges), reference.means(edges[reach : reach + count + 1])
    correlations = _correlations(watts, told)
    if not np.any(correlations > 0):
        return None
    best = int(np.argmax(correlations))
    n = _independent(watts[best : best + count], told)
    unexplained: Cells = np.log(np.clip(1 - np.maximum(correlations, 0.0) ** 2, 1e-9, 1.0))
    correlation = float(correlations[best])
    if correlation < RELATED or -n * unexplained[best] < CLEAR_DEVIANCE:
        return None
    deviance = n * (unexplained - unexplained[best])
    likely = np.flatnonzero(deviance < 1)
    seen_s = (best - reach + _vertex(unexplained, best)) * cell_s
    # A cell, and what part of its period a row of the log stands for, are limits beside the width of the likely shifts.
    unsure_s = math.hypot((likely[-1] - likely[0]) / 2 * cell_s, math.hypot(cell_s, period_s) / math.sqrt(12))
    clear = bool(deviance[reach] > CLEAR_DEVIANCE)
    misaligned = clear and abs(seen_s) > max(TOLERANCE_PERIODS * period_s, TOLERANCE_S)
    taken = clear and correlation > TRUSTED
    return Alignment(
        shift_s=seen_s if taken else 0.0,
        uncertainty_s=unsure_s if taken else math.hypot(unsure_s, seen_s),
        seen_s=seen_s,
        correlation=correlation,
        reference=reference.name,
        misaligned=misaligned,
    )


def _correlations(log: Cells, reference: Cells) -> Cells:
    """Pearson's r at each place of `reference` along `log`, over the cells that both have; 0 where these are too few."""
    has_a, has_b = np.isfinite(log), np.isfinite(reference)
    places = log.size - reference.size + 1
    if not _varies(log[has_a]) or not _varies(reference[has_b]):
        return np.zeros(places)
    # Centred and scaled, so that the transforms' rounding is small beside the variances.
    a = np.where(has_a, log - np.mean(log[has_a]), 0.0) / np.std(log[has_a])
    b = np.where(has_b, reference - np.mean(reference[has_b]), 0.0) / np.std(reference[has_b])
    n, sum_a, sum_b = _slid(has_a, has_b), _slid(a, has_b), _slid(has_a, b)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread_a = _slid(a * a, has_b) - sum_a**2 / n
        spread_b = _slid(has_a, b * b) - sum_b**2 / n
        found = (_slid(a, b) - sum_a * sum_b / n) / np.sqrt(spread_a * spread_b)
    enough = (n >= _FEWEST_CELLS) & (n >= n.max() / 2) & (spread_a > 1e-6 * n) & (spread_b > 1e-6 * n)
    return np.where(enough & np.isfinite(found), np.clip(found, -1.0, 1.0), 0.0)


def _varies(values: Cells) -> bool:
    """Whether there is more to see than the rounding of a constant."""
    return values.size > 0 and bool(np.std(values) > 1e-6 * np.max(np.abs(values)))


def _slid(a: Any, b: Any) -> Cells:
    """Σ a[place + k]·b[k] for each place at which `b` lies within `a`, by Fourier transform."""
    size = 1 << (a.size + b.size).bit_length()
    product = np.fft.rfft(a.astype(float), size) * np.conj(np.fft.rfft(b.astype(float), size))
    found: Cells = np.fft.irfft(product, size)[: a.size - b.size + 1]
    return found


def _independent(watts: Cells, told: Cells) -> float:
    """How many independent cells the residuals of a fit of `watts` on `told` are worth (Bartlett)."""
    both = np.isfinite(watts) & np.isfinite(told)
    slope, level = np.polyfit(told[both], watts[both], 1)
    residuals = np.where(both, watts - slope * told - level, 0.0)
    variance = float(np.sum(residuals**2))
    rho = float(np.sum(residuals[1:] * residuals[:-1])) / variance if variance > 0 else 0.0
    rho = min(max(rho, 0.0), 0.99)
    return float(np.count_nonzero(both)) * (1 - rho) / (1 + rho)


def _vertex(heights: Cells, lowest: int) -> float:
    """How far, in cells, the lowest point of the parabola through three neighbours lies from the middle one."""
    if not 0 < lowest < heights.size - 1:
        return 0.0
    before, here, after = heights[lowest - 1 : lowest + 2]
    bend = before - 2 * here + after
    return float(np.clip((before - after) / (2 * bend), -0.5, 0.5)) if bend > 0 else 0.0


def _course(name: str, ts: Cells, total: Cells, longest_gap_s: float) -> Course:
    def means(edges: Cells) -> Cells:
        found = np.diff(np.interp(edges, ts, total, left=np.nan, right=np.nan)) / np.diff(edges)
        middles = (edges[1:] + edges[:-1]) / 2
        after = np.clip(np.searchsorted(ts, middles), 1, ts.size - 1)
        return np.where(ts[after] - ts[after - 1] > longest_gap_s, np.nan, found)

    return Course(name, float(ts[0]), float(ts[-1]), means)


def _valid(times: Sequence[float], values: Sequence[float | None]) -> tuple[Cells, Cells]:
    """Samples that can be had, one a time."""
    ts, ys = np.asarray(times, dtype=float), np.asarray(values, dtype=float)
    keep = np.isfinite(ys) & np.concatenate([np.diff(ts) > 0, [True]])[: ts.size]
    return ts[keep], ys[keep]
