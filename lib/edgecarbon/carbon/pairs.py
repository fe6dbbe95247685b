"""A cloud device beside an edge device: their average runs of a workload, and what each emits for a token of it.

Everything that is asked of a pair (its verdict, what decides it, where it turns) is one evaluation of `Pair.grams` over
other draws: random ones, a plan of experiments, or one input moved along its range.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgecarbon.carbon.arms import Arm, Work
from edgecarbon.carbon.draws import Array, Draws
from edgecarbon.carbon.work import Judge, Run, charged_energy, drawn_energy, energy, model_of, work_of
from edgecarbon.config.assumptions import Assumption

TOKENS_PER_UNIT = 1e6
WIDEST = math.log(100.0)


@dataclass(frozen=True)
class Average:
    """A device's average run of a workload."""

    arm: Arm
    runs: Sequence[Run]
    mean: Mapping[str, Any]
    """The average as a row of `runs`."""
    interval: tuple[float, float, float] | None
    """Its energy; None where no run has one."""
    standard_error: float
    """Of the mean energy, from the spread of repeats, J; 0 for a single run."""

    @property
    def known(self) -> int:
        """Runs with an energy."""
        return sum(run["energy_joules"] is not None for run in self.runs)

    @property
    def boundaries(self) -> list[str | None]:
        """What its runs' meters saw."""
        return sorted({run["boundary"] for run in self.runs}, key=str)

    @property
    def energy_name(self) -> str:
        return f"energy/{self.arm.device}"

    @property
    def repeats_name(self) -> str:
        return f"repeats/{self.mean['workload']}/{self.arm.device}"

    def drawn(self, judge: Judge) -> tuple[Array, Any]:
        """Charged energy of the average run, J, shape (1, 1) or (1, draws), and how many times longer it then takes.

        An energy that is set by its name takes the time with it, measured or modelled: the device keeps its draw.
        """
        assert self.interval is not None
        joules, longer = drawn_energy(judge, self.arm, [self.mean], [self.interval])
        fixed = judge.draws.fixed.get(self.energy_name)
        if fixed is not None:
            stated = np.atleast_2d(np.asarray(fixed, np.float64) * self.mean["tokens"] / TOKENS_PER_UNIT)
            with np.errstate(divide="ignore", invalid="ignore"):
                longer = longer * np.where(joules > 0, stated / joules, 1.0)
            joules = stated
        if self.standard_error and self.interval[0] > 0:
            # Student-t, on top of what the meter may be off by; as a factor, since no run takes less than nothing, and
            # cut at a hundredfold, where two repeats alone would reach without end.
            error = self.standard_error / self.interval[0] * judge.draws.student(self.repeats_name, self.known - 1)
            joules = joules * np.exp(np.clip(error, -WIDEST, WIDEST))
        return joules, longer

    def work(self, judge: Judge) -> Work:
        """The average run's work, over the judge's draws."""
        joules, longer = self.drawn(judge)
        return work_of(judge, self.arm, [self.mean], joules, judge.draws.of, longer)

    def assumptions(self) -> list[Assumption]:
        """Everything that its grams rest on; among them its energy (for a million tokens), or what that is modelled from."""
        found = self.arm.assumptions({self.mean["boundary"]})
        model = model_of(self.arm, self.mean)
        if model is not None:
            return [*found, *model.assumptions]
        assert self.interval is not None
        joules, low, high = (part * TOKENS_PER_UNIT / self.mean["tokens"] for part in self.interval)
        figure = Assumption(
            self.energy_name, joules, min(low, joules), max(high, joules), "J/million tokens", "the runs themselves",
            None, str(self.mean["boundary"]), "this project's data", str(self.mean["provenance"]),
            "lognormal" if low > 0 else "normal",
        )  # fmt: skip
        return [*found, figure]


@dataclass(frozen=True)
class Parts:
    """Grams for a token by part, shape (draws,) or (1,); `making` has one for each attribution."""

    meter_kwh: Array
    own: Array
    """Electricity of the device and of what coordinates it."""
    network: Array
    making: Array
    """Shape (attributions, draws)."""

    @property
    def total(self) -> Array:
        """Shape (attributions, draws)."""
        return np.asarray(self.own + self.network + self.making)


@dataclass(frozen=True)
class Pair:
    """A cloud and an edge device that did the same workload."""

    workload: str
    cloud: Average
    edge: Average

    @property
    def known(self) -> bool:
        """Whether both sides have an energy."""
        return self.cloud.interval is not None and self.edge.interval is not None

    def ratio(self, judge: Judge, draws: Draws) -> Array:
        """Cloud's grams over the edge's, shape (attributions, draws); infinite or NaN where the edge emits none."""
        if draws.keeps:
            return self._ratio(judge, draws)
        found = np.empty((len(judge.scenario.settings.attributions), draws.count))
        for part, block in draws.blocks():
            found[:, part] = self._ratio(judge, block)
        return found

    def _ratio(self, judge: Judge, draws: Draws) -> Array:
        cloud, edge = (parts(judge, side, draws).total for side in (self.cloud, self.edge))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(cloud / edge)

    def inputs(self, judge: Judge) -> list[Assumption]:
        """What has a range and a part in this pair's ratio, by name; measured energies among them."""
        scenario = judge.scenario
        found = [*self.cloud.assumptions(), *self.edge.assumptions(), scenario.bytes_per_token]
        if scenario.settings.traffic.weights_every_steps is not None:
            found.append(scenario.bytes_per_parameter)
        ranged = {one.name: one for one in found if one.low < one.high}
        for side in (self.cloud, self.edge):
            if side.standard_error:
                ranged[side.repeats_name] = _scatter(side)
        return [ranged[name] for name in sorted(ranged)]


def _scatter(side: Average) -> Assumption:
    """The spread of repeats as an input: it has no value of its own that could be moved, only a share of the variance."""
    return Assumption(
        side.repeats_name, 0.0, 0.0, 0.0, "J", "spread of repeats, Student's t", None, str(side.mean["boundary"]),
        "this project's data", str(side.mean["provenance"]), "student_t",
    )  # fmt: skip


def pairs_of(judge: Judge, runs: Sequence[Run]) -> Iterator[Pair]:
    """Every pair of a cloud and an edge device with runs of the same workload, in order of their names."""
    grouped: dict[str, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        grouped[run["workload"]][run["device"]].append(run)
    for workload in sorted(grouped):
        sides = [average(judge, device, mine) for device, mine in sorted(grouped[workload].items())]
        for cloud in (side for side in sides if side.arm.role == "cloud"):
            for edge in (side for side in sides if side.arm.role == "edge"):
                yield Pair(workload, cloud, edge)


def average(judge: Judge, device: str, runs: Sequence[Run]) -> Average:
    """The mean of a device's repeats. Repeats on different boundaries have a boundary that nobody knows."""
    arm = judge.arms[device]
    known = [run for run in runs if run["energy_joules"] is not None]
    numbers = ("energy_joules", "duration_s", "tokens", "steps", "parameters")
    means = {name: float(np.mean([run[name] or 0.0 for run in known or runs])) for name in numbers}
    boundaries = {run["boundary"] for run in known or runs}
    mean = {
        **runs[0],
        **means,
        # The interval stands beside it.
        "energy_low_joules": means["energy_joules"],
        "energy_high_joules": means["energy_joules"],
        "boundary": boundaries.pop() if len(boundaries) == 1 else None,
    }
    if not known:
        return Average(arm, runs, mean, None, 0.0)
    kind = charged_energy(judge.scenario, arm)
    intervals = [energy(run, kind) for run in known]
    interval = tuple(float(np.mean([one[part] or 0.0 for one in intervals])) for part in range(3))
    joules = [one[0] or 0.0 for one in intervals]
    error = float(np.std(joules, ddof=1)) / math.sqrt(len(joules)) if len(joules) > 1 else 0.0
    return Average(arm, runs, mean, (interval[0], interval[1], interval[2]), error)


def parts(judge: Judge, side: Average, draws: Draws) -> Parts:
    """What a side's average run emits for a token, by part, over any draws."""
    return draws.kept((side, judge.scenario), "parts", lambda: _parts(replace(judge, draws=draws), side, draws))


def _parts(judge: Judge, side: Average, draws: Draws) -> Parts:
    arm, look, boundary, tokens = side.arm, draws.of, side.mean["boundary"], side.mean["tokens"]
    work = side.work(judge)
    own, network = arm.operational(work, boundary, look), arm.network(work, look)
    by_kind: dict[str, Array] = {}
    for variant in judge.scenario.settings.attributions:
        kind = arm.attribution(variant)
        if kind not in by_kind:
            by_kind[kind] = _flat(arm.charged(work, boundary, variant, look))
    variants = judge.scenario.settings.attributions
    making = np.stack(np.broadcast_arrays(*(by_kind[arm.attribution(variant)] for variant in variants)))
    return Parts(
        meter_kwh=_flat(work.energy_kwh) / tokens,
        own=_flat(own) / tokens,
        network=_flat(network) / tokens,
        making=making / tokens,
    )


def _flat(values: Any) -> Array:
    """Shape (draws,), or (1,) of what has no range."""
    return np.asarray(values, np.float64).reshape(-1)
