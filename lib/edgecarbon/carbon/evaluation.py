"""A scenario applied to runs: carbon of every run under every attribution, and who wins each pair of devices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from edgecarbon.carbon.arms import Arm, build_arm
from edgecarbon.carbon.draws import HIGH, LOW, Array, Draws, quantiles
from edgecarbon.carbon.formulas import sci
from edgecarbon.carbon.pairs import TOKENS_PER_UNIT, Pair, pairs_of
from edgecarbon.carbon.verdicts import verdict_rows
from edgecarbon.carbon.work import Judge, Run, charged_energy, drawn_energy, energy, model_of, value, work_of
from edgecarbon.config.assumptions import Assumption, ResolvedScenario
from edgecarbon.config.base import nearest
from edgecarbon.config.inputs import Inputs
from edgecarbon.errors import UserError

# Figures (runs × draws) in one array: large enough that numpy pays, small enough for any machine.
FIGURES_AT_ONCE = 2**20

Row = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """Rows of the tables `carbon`, `verdicts` and `assumptions` for one scenario, and the pairs that they are about."""

    carbon: list[Row]
    verdicts: list[Row]
    assumptions: list[Row]
    judge: Judge = field(compare=False)
    pairs: list[Pair] = field(compare=False)


def evaluate(
    scenario: ResolvedScenario,
    inputs: Inputs,
    devices: Mapping[str, Mapping[str, Any]],
    runs: Sequence[Run],
) -> Result:
    """Judge runs under a scenario. Equal arguments give equal rows.

    Args:
        devices: by name: role, embodied (exact key), and optionally lifetime_years, owner_utilisation, grid_zone,
            battery, host_embodied and lifetime (keys).
        runs: rows of the table `runs`.

    Raises:
        UserError: a device that the fleet lacks, an inexact key, a run without tokens, steps or time, or one that
            lasts longer than its device lives.
    """
    by_device: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if run["device"] not in devices:
            raise UserError(
                f"run {run['run_id']}: device '{run['device']}' is unknown; {nearest(run['device'], list(devices))}"
            )
        _check(run)
        by_device[run["device"]].append(run)
    arms = {name: build_arm(name, devices[name], scenario, inputs) for name in sorted(by_device)}
    judge = Judge(scenario, Draws(scenario.settings.seed, scenario.settings.draws), arms)
    carbon: list[Row] = []
    for name, arm in arms.items():
        try:
            carbon += _carbon_rows(judge, arm, by_device[name])
        except ValueError as error:
            raise UserError(f"{scenario.file}: device '{name}': {error}") from None
    # Stable: attributions and functional units keep their order within a run.
    carbon.sort(key=lambda row: (row["workload"], row["device"], row["repeat"]))
    pairs = list(pairs_of(judge, runs))
    return Result(carbon, verdict_rows(judge, pairs), _assumption_rows(judge, by_device), judge, pairs)


def _carbon_rows(judge: Judge, arm: Arm, runs: Sequence[Run]) -> Iterator[Row]:
    by_boundary: dict[str | None, list[Run]] = defaultdict(list)
    for run in runs:
        by_boundary[run["boundary"]].append(run)
    for boundary, alike in by_boundary.items():
        at_once = max(1, FIGURES_AT_ONCE // judge.draws.count)
        for start in range(0, len(alike), at_once):
            yield from _rows_of(judge, arm, boundary, alike[start : start + at_once])


def _rows_of(judge: Judge, arm: Arm, boundary: str | None, runs: Sequence[Run]) -> Iterator[Row]:
    """Rows of runs of one device on one boundary."""
    settings, scenario = judge.scenario.settings, judge.scenario
    kind = charged_energy(scenario, arm)
    intervals = [energy(run, kind) for run in runs]
    point = np.array([[one[0] or 0.0] for one in intervals], np.float64)
    look = judge.draws.of
    default = work_of(judge, arm, runs, point, value)
    joules, longer = drawn_energy(judge, arm, runs, intervals)
    drawn = work_of(judge, arm, runs, joules, look, longer)
    used = arm.operational(drawn, boundary, look) + arm.network(drawn, look)
    columns: dict[str, tuple[Array, Array, Array]] = {}
    for variant in settings.attributions:
        charged = arm.attribution(variant)
        if charged not in columns:
            total = used + arm.charged(drawn, boundary, variant, look)
            low, high = quantiles(np.broadcast_to(total, (len(runs), judge.draws.count)), (LOW, HIGH))
            columns[charged] = (_flat(arm.charged(default, boundary, variant, value), len(runs)), low, high)
    shared = {
        "boundary": boundary,
        "overhead_factor": float(arm.overhead(boundary, value)),
        "intensity_g_per_kwh": float(arm.grid.intensity(value)),
        "embodied_key": arm.embodied_key,
    }
    operational = _flat(arm.operational(default, boundary, value), len(runs))
    network = _flat(arm.network(default, value), len(runs))
    for variant in settings.attributions:
        attribution = arm.attribution(variant)
        embodied, low, high = columns[attribution]
        parts = {
            "operational_grams": operational,
            "embodied_grams": embodied,
            "network_grams": network,
            "total_low_grams": low,
            "total_high_grams": high,
            "energy_joules": point[:, 0],
        }
        unknown = {"operational_grams", "total_grams", "total_low_grams", "total_high_grams", "energy_joules"}
        # Wear is reckoned from energy; time and bytes are known without it.
        unknown |= {"embodied_grams"} if attribution == "marginal_wear" else set()
        for row, index in _unit_rows(runs, parts):
            gaps = dict.fromkeys(unknown) if intervals[index][0] is None else {}
            yield {"scenario": scenario.name, "attribution": variant, **row, **gaps, **shared}


def _unit_rows(runs: Sequence[Run], parts: Mapping[str, Array]) -> Iterator[tuple[Row, int]]:
    """One row a run and functional unit, with the index of the run."""
    steps, tokens = (np.array([run[name] for run in runs], np.float64) for name in ("steps", "tokens"))
    for unit, count in (("run", np.ones_like(steps)), ("step", steps), ("million_tokens", tokens / TOKENS_PER_UNIT)):
        grams = {name: (part / count).tolist() for name, part in parts.items()}
        used = parts["operational_grams"] + parts["network_grams"]
        grams["total_grams"] = sci(used, parts["embodied_grams"], count).tolist()
        for index, run in enumerate(runs):
            facts = {key: run[key] for key in ("run_id", "workload", "device", "repeat", "role", "provenance")}
            yield {**facts, "functional_unit": unit, **{name: part[index] for name, part in grams.items()}}, index


def _assumption_rows(judge: Judge, by_device: Mapping[str, Sequence[Run]]) -> list[Row]:
    scenario = judge.scenario
    used_by: dict[Assumption, set[str]] = defaultdict(set)
    for name, arm in judge.arms.items():
        boundaries = {run["boundary"] for run in by_device[name]}
        found = [*arm.assumptions(boundaries), scenario.bytes_per_token]
        if scenario.settings.traffic.weights_every_steps is not None:
            found += [scenario.bytes_per_parameter]
        if scenario.prices is not None and arm.role == "edge":
            found += [scenario.prices.tariff]
            found += [scenario.prices.battery] if scenario.prices.battery and arm.battery else []
            found += [scenario.prices.charger] if any(map(arm.site_factor, boundaries)) else []
        model = model_of(arm, by_device[name][0])
        found += [] if model is None else model.assumptions
        for assumption in found:
            used_by[assumption].add(name)
    ordered = sorted(used_by, key=lambda assumption: assumption.name)
    return [
        {"scenario": scenario.name, **asdict(assumption), "used_by": ", ".join(sorted(used_by[assumption]))}
        for assumption in ordered
    ]


def _check(run: Run) -> None:
    """A functional unit of zero would make every figure per unit meaningless."""
    for name in ("tokens", "steps", "duration_s"):
        if not run[name] or run[name] < 0:
            raise UserError(f"run {run['run_id']}: {name}: expected more than none, found {run[name]}")


def _flat(values: Any, count: int) -> Array:
    return np.broadcast_to(np.asarray(values, np.float64), (count, 1))[:, 0]
