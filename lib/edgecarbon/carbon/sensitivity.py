"""Which assumption decides: Morris screen, Sobol indices, tornado, and the value of each input that turns the verdict.

All of it is about ln(cloud/edge) of a pair of devices: Morris's elementary effects (Technometrics 33(2), 1991), Sobol's
first and total order (A. Saltelli et al., Computer Physics Communications 181(2), 2010). Attribution is no random input:
each has indices of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecarbon.carbon.draws import NORMAL_975, Array, Draws, Plan, quantile
from edgecarbon.carbon.formulas import HOURS_PER_YEAR
from edgecarbon.carbon.labels import label
from edgecarbon.carbon.pairs import Average, Pair, parts
from edgecarbon.carbon.plans import morris_sample, plan_of, sobol_plan
from edgecarbon.carbon.work import Judge
from edgecarbon.config.assumptions import Assumption

TORNADO = (0.05, 0.95)
# The Morris screen steps over the whole range; of a prior without ends, over the middle 95 % of it.
SCREENED = (0.025, 0.975)
RESAMPLES = 100
# Logarithms of ratios that differ by no more than this are equal.
ROUNDING = 1e-12
# How far from its default a value is looked for that turns the verdict, and in how many steps.
SPANS = (100.0, 10.0, 3.0)
STEPS = 401

Row = dict[str, Any]
Indices = Mapping[str, Array]


@dataclass(frozen=True)
class Turn:
    """Where an input turns the verdict: its value, and how many times beyond its range that lies (1 or less: within)."""

    value: float
    distance: float


def sensitivity_rows(judge: Judge, pair: Pair) -> list[Row]:
    """Rows of `sensitivity` for a pair: one an attribution and input. None where an energy is not known."""
    inputs = pair.inputs(judge) if pair.known else []
    if not inputs:
        return []
    attributions = judge.scenario.settings.attributions
    morris, sobol = _morris(judge, pair, inputs), _sobol(judge, pair, inputs)
    low, high = _tornado(judge, pair, inputs)
    turned_by = turns(judge, pair, inputs)
    rows = []
    for row, variant in enumerate(attributions):
        for column, one in enumerate(inputs):
            turned = turned_by[column][row]
            rows.append({
                **identity(judge, pair), "attribution": variant, "input": one.name, "label": label(one),
                "value": one.value, "low": one.low, "high": one.high, "unit": one.unit,
                "distribution": one.distribution,
                "morris_mu_star": finite(morris["mu_star"][row, column]),
                "morris_sigma": finite(morris["sigma"][row, column]),
                "sobol_first": finite(sobol["S1"][row, column]),
                "sobol_first_confidence": finite(sobol["S1_conf"][row, column]),
                "sobol_total": finite(sobol["ST"][row, column]),
                "sobol_total_confidence": finite(sobol["ST_conf"][row, column]),
                "ratio_at_low": finite(low[row, column]), "ratio_at_high": finite(high[row, column]),
                "reversal_value": turned.value if turned else None,
                "reversal_distance": turned.distance if turned else None,
            })  # fmt: skip
    return rows


def identity(judge: Judge, pair: Pair) -> Row:
    """What every row about a pair begins with."""
    return {
        "scenario": judge.scenario.name,
        "workload": pair.workload,
        "cloud_device": pair.cloud.arm.device,
        "edge_device": pair.edge.arm.device,
    }


def log_ratio(judge: Judge, pair: Pair, draws: Draws) -> Array:
    """ln(cloud/edge), shape (attributions, draws); not finite where a side emits nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(np.broadcast_to(pair.ratio(judge, draws), (_variants(judge), draws.count)))


def sobol_indices(logs: Array, inputs: int, seed: int) -> Indices:
    """Sobol's indices with 95 % bootstrap half-widths, from evaluations in the order of Sobol's plan.

    The estimators are those of `SALib.analyze.sobol` (first order: A. Saltelli et al. 2010; total: M. Jansen 1999). It
    draws each resample anew for each input; here one product of matrices holds all resamples of all inputs at once.

    Args:
        logs: shape (outputs, samples × (inputs + 2)).

    Returns:
        S1, S1_conf, ST and ST_conf, shape (outputs, inputs) each; NaN where an output is not finite or never moves.
    """
    samples = logs.shape[1] // (inputs + 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = logs.std(axis=1, keepdims=True)
        spread[spread < ROUNDING] = np.nan
        scaled = (logs - logs.mean(axis=1, keepdims=True)) / spread
        blocks = scaled.reshape(len(logs), samples, inputs + 2)
        one, mixed, other = blocks[:, :, :1], blocks[:, :, 1:-1], blocks[:, :, -1:]
        weights = _resampled(samples, seed)
        variance = weights @ ((one**2 + other**2) / 2) - (weights @ ((one + other) / 2)) ** 2
        first = weights @ (other * (mixed - one)) / variance
        total = weights @ ((one - mixed) ** 2) / 2 / variance
    wide = NORMAL_975
    return {
        "S1": first[:, 0], "S1_conf": wide * first[:, 1:].std(axis=1, ddof=1),
        "ST": total[:, 0], "ST_conf": wide * total[:, 1:].std(axis=1, ddof=1),
    }  # fmt: skip


@cache
def _resampled(samples: int, seed: int) -> Array:
    """Weights of the samples, shape (1 + RESAMPLES, samples): in the first row the samples themselves."""
    counts = np.random.default_rng(seed).multinomial(samples, np.full(samples, 1.0 / samples), RESAMPLES)
    return np.asarray(np.vstack([np.ones(samples), counts]) / samples, np.float64)


def _sobol(judge: Judge, pair: Pair, inputs: Sequence[Assumption]) -> Indices:
    settings = judge.scenario.settings
    plan = sobol_plan([one.name for one in inputs], settings.sensitivity.sobol_samples, settings.seed, judge.plans)
    return sobol_indices(log_ratio(judge, pair, plan), len(inputs), settings.seed)


def _morris(judge: Judge, pair: Pair, inputs: Sequence[Assumption]) -> Indices:
    settings, names = judge.scenario.settings, [one.name for one in inputs]
    unit = morris_sample(len(names), settings.sensitivity.morris_trajectories, settings.seed, judge.plans)
    logs = log_ratio(judge, pair, plan_of(names, SCREENED[0] + (SCREENED[1] - SCREENED[0]) * unit))
    return morris_measures(logs, unit)


def morris_measures(logs: Array, unit: Array) -> Indices:
    """Morris's mu* and sigma, as `SALib.analyze.morris` has them, for all outputs at once.

    Args:
        logs: shape (outputs, trajectories × (inputs + 1)).
        unit: the experiments in the unit cube, shape (trajectories × (inputs + 1), inputs).

    Returns:
        mu_star and sigma, shape (outputs, inputs) each.
    """
    inputs = unit.shape[1]
    steps = np.diff(unit.reshape(-1, inputs + 1, inputs), axis=1)
    moved = np.abs(steps).argmax(axis=2)  # each step moves one input
    with np.errstate(invalid="ignore"):
        slopes = np.diff(logs.reshape(len(logs), -1, inputs + 1), axis=2) / steps.sum(axis=2)
        effects = np.take_along_axis(slopes, moved.argsort(axis=1)[None], axis=2)
        return {"mu_star": np.abs(effects).mean(axis=1), "sigma": effects.std(axis=1, ddof=1)}


def _tornado(judge: Judge, pair: Pair, inputs: Sequence[Assumption]) -> tuple[Array, Array]:
    """Cloud over edge with each input alone at either end, shape (attributions, inputs) each."""
    count = 2 * len(inputs)
    # What the runs themselves leave unsure is drawn and not set: a run whose meter erred was no longer for it.
    of_runs = {name for side in (pair.cloud, pair.edge) for name in (side.energy_name, side.repeats_name)}
    fixed: dict[str, Array] = {}
    moved: dict[str, Array] = {}
    for column, one in enumerate(inputs):
        ends = slice(2 * column, 2 * column + 2)
        if one.name in of_runs:
            moved[one.name] = np.full(count, 0.5)
            moved[one.name][ends] = TORNADO
        else:
            fixed[one.name] = np.full(count, one.value)
            fixed[one.name][ends] = quantile(one, np.array(TORNADO))
    ratios = np.exp(log_ratio(judge, pair, Plan(count, moved, fixed)))
    return ratios[:, 0::2], ratios[:, 1::2]


def turn(judge: Judge, pair: Pair, one: Assumption) -> list[Turn | None]:
    """By attribution, the value of an input nearest its range that turns the verdict, all others at their defaults.

    Looked for up to a hundred times above and below the default, within what the quantity can be at all: a share stays at
    most 1, a multiplier at least 1, a life longer than the run.
    """
    return turns(judge, pair, [one])[0]


def turns(judge: Judge, pair: Pair, inputs: Sequence[Assumption]) -> list[list[Turn | None]]:
    """`turn` of each input."""
    found: list[list[Turn | None]] = [[None] * _variants(judge) for _ in inputs]
    asked = [index for index, one in enumerate(inputs) if one.unit != "J" and one.value > 0]
    for index, turned in zip(asked, _turns(judge, pair, [inputs[index] for index in asked], SPANS), strict=True):
        found[index] = turned
    return found


def _turns(judge: Judge, pair: Pair, inputs: Sequence[Assumption], spans: Sequence[float]) -> list[list[Turn | None]]:
    """All inputs in one evaluation. Where it fails, each by itself, and one that fails by itself over a shorter span."""
    if not inputs or not spans:
        return [[None] * _variants(judge) for _ in inputs]
    ranges = [_steps(*_reach(judge, pair, one, spans[0])) for one in inputs]
    fixed = {one.name: np.full(STEPS * len(inputs), one.value) for one in inputs}
    for index, (one, values) in enumerate(zip(inputs, ranges, strict=True)):
        fixed[one.name][STEPS * index : STEPS * (index + 1)] = values
    try:
        logs = log_ratio(judge, pair, Plan(STEPS * len(inputs), fixed=fixed))
    except ValueError:  # a run longer than the lifetime, this far out
        if len(inputs) > 1:
            return [_turns(judge, pair, [one], spans)[0] for one in inputs]
        return _turns(judge, pair, inputs, spans[1:])
    rows = logs.reshape(len(logs), len(inputs), STEPS)
    here, after = rows[:, :, :-1], rows[:, :, 1:]
    with np.errstate(invalid="ignore"):
        crossed = np.isfinite(here) & np.isfinite(after) & (here * after <= 0)
    return [
        [_nearest_turn(one, values, rows[row, index], np.flatnonzero(crossed[row, index])) for row in range(len(rows))]
        for index, (one, values) in enumerate(zip(inputs, ranges, strict=True))
    ]


@lru_cache(maxsize=256)
def _steps(low: float, high: float) -> Array:
    """Values by equal ratios; pairs have most inputs in common."""
    return np.geomspace(low, high, STEPS)


def _reach(judge: Judge, pair: Pair, one: Assumption, span: float) -> tuple[float, float]:
    low, high = one.value / span, one.value * span
    if one.unit == "1" and one.low >= 1:
        low = 1.0
    if one.unit == "1" and one.high <= 1:
        high = 1.0
    if one.unit == "years":
        held = (
            longest_hours(judge, side, judge.center) for side in (pair.cloud, pair.edge) if side.arm.lifetime == one
        )
        low = max([low, *(1.001 * hours / HOURS_PER_YEAR for hours in held)])
    return min(low, one.value), max(high, one.value)


def longest_hours(judge: Judge, side: Average, draws: Draws) -> float:
    """The longest time that a side's average run holds its device, h."""
    about = side, judge.scenario
    return draws.kept(about, "hours", lambda: float(np.max(side.work(replace(judge, draws=draws)).hours)))


def _nearest_turn(one: Assumption, values: Array, logs: Array, before: NDArray[np.intp]) -> Turn | None:
    """The crossing of zero that ranks first by `nearness`, by a straight line between steps.

    Args:
        before: the steps after which `logs` crosses zero.
    """
    found = []
    for index in before:
        start, end = logs[index], logs[index + 1]
        if start == end:
            continue  # both at zero: the input plays no part
        share = start / (start - end)
        value = math.exp(math.log(values[index]) + share * math.log(values[index + 1] / values[index]))
        found.append(Turn(value, value / one.high if value >= one.value else one.low / value))
    return min(found, key=lambda turned: nearness(turned.distance, turned.value, one.value), default=None)


def nearness(distance: float, value: float, default: float) -> tuple[float, float]:
    """What turns are ranked by: how far beyond the range; within it all are as near, so how many times off the default."""
    return max(distance, 1.0), abs(math.log(value / default))


def center_ratio(judge: Judge, pair: Pair) -> Array:
    """Cloud over edge with every input at its default, shape (attributions,)."""
    cloud, edge = (parts(judge, side, judge.center).total for side in (pair.cloud, pair.edge))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((cloud / edge)[:, 0])


def _variants(judge: Judge) -> int:
    return len(judge.scenario.settings.attributions)


def finite(value: Any) -> float | None:
    """A float, or None for what is no number."""
    return float(value) if np.isfinite(value) else None
