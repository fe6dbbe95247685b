"""Who wins: each cloud device against each edge device of a workload, for equal tokens, all ranges drawn at once."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecarbon.carbon.arms import Arm
from edgecarbon.carbon.draws import Array
from edgecarbon.carbon.work import Judge, Run, drawn_energy, energy, work_of
from edgecarbon.config.scenario import Attribution

SURE = 0.95
# Flags of readings after which a figure is no fair match; `partial` is told in more words.
SUSPECT_FLAGS = {
    "charging",
    "counter_power_disagree",
    "gap",
    "mig_whole_board",
    "no_data",
    "reset",
    "short",
    "stalled",
    "wrap_ambiguous",
    "wrap_unreadable",
}
WHOLE_COVERAGE = 0.95

Row = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """A device's average run of a workload."""

    arm: Arm
    runs: Sequence[Run]
    grams_per_token: Array | None
    """Draws, shape (attributions, draws); None where no run has an energy."""


def verdict_rows(judge: Judge, runs: Sequence[Run]) -> list[Row]:
    """One row for each workload, pair of devices and attribution."""
    grouped: dict[str, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        grouped[run["workload"]][run["device"]].append(run)
    rows: list[Row] = []
    for workload in sorted(grouped):
        sides = [_side(judge, device, mine) for device, mine in sorted(grouped[workload].items())]
        for cloud in (side for side in sides if side.arm.role == "cloud"):
            for edge in (side for side in sides if side.arm.role == "edge"):
                rows += _pair_rows(judge, workload, cloud, edge)
    return rows


def _side(judge: Judge, device: str, runs: Sequence[Run]) -> Side:
    arm, settings = judge.arms[device], judge.scenario.settings
    known = [run for run in runs if run["energy_joules"] is not None]
    if not known:
        return Side(arm, runs, None)
    average = _average(known)
    intervals = [energy(run, settings.energy) for run in known]
    joules, low, high = (float(np.mean([one[part] or 0.0 for one in intervals])) for part in range(3))
    drawn = drawn_energy(judge, device, [(joules, low, high)])
    drawn = np.maximum(drawn + _scatter(judge, average, [one[0] or 0.0 for one in intervals]), 0.0)
    look, boundary = judge.draws.of, average["boundary"]
    work = work_of(judge, [average], drawn, look)
    used = arm.operational(work, boundary, look) + arm.network(work, look)
    totals = [used + arm.charged(work, boundary, variant, look) for variant in settings.attributions]
    return Side(arm, runs, np.concatenate(totals) / average["tokens"])


def _average(runs: Sequence[Run]) -> dict[str, Any]:
    """The mean of repeats, as a row of `runs`. Repeats on different boundaries have a boundary that nobody knows."""
    boundaries = {run["boundary"] for run in runs}
    numbers = ("energy_joules", "duration_s", "tokens", "steps", "parameters")
    means = {name: float(np.mean([run[name] or 0.0 for run in runs])) for name in numbers}
    return {
        **runs[0],
        **means,
        # Of the average, work_of needs the default alone; the interval is drawn beside it.
        "energy_low_joules": means["energy_joules"],
        "energy_high_joules": means["energy_joules"],
        "boundary": boundaries.pop() if len(boundaries) == 1 else None,
    }


def _scatter(judge: Judge, average: Run, joules: Sequence[float]) -> Any:
    """Draws of the mean's error from the spread of repeats: Student-t, on top of what the meter may be off by."""
    if len(joules) < 2:
        return 0.0
    standard_error = float(np.std(joules, ddof=1)) / math.sqrt(len(joules))
    return standard_error * judge.draws.student(f"repeats/{average['workload']}/{average['device']}", len(joules) - 1)


def _pair_rows(judge: Judge, workload: str, cloud: Side, edge: Side) -> Iterator[Row]:
    attributions = judge.scenario.settings.attributions
    comparable, caveat = _caveat(judge, cloud, edge)
    found = _ratios(cloud, edge, attributions)
    edge_wins = {median > 1 for median, *_ in found.values() if median is not None}
    for variant in attributions:
        median, low, high, probability = found[variant]
        yield {
            "scenario": judge.scenario.name,
            "workload": workload,
            "cloud_device": cloud.arm.device,
            "edge_device": edge.arm.device,
            "attribution": variant,
            "ratio_cloud_over_edge": median,
            "ratio_low": low,
            "ratio_high": high,
            "probability_edge_wins": probability,
            "winner": _winner(probability),
            "flips": len(edge_wins) > 1,
            "comparable": comparable,
            "caveat": caveat,
        }


def _ratios(cloud: Side, edge: Side, variants: Sequence[Attribution]) -> dict[Attribution, tuple[float | None, ...]]:
    """(median, 5 %, 95 %, P(edge wins)) of cloud over edge, by attribution; None where it is not a number."""
    if cloud.grams_per_token is None or edge.grams_per_token is None:
        return dict.fromkeys(variants, (None, None, None, None))
    ours, theirs = cloud.grams_per_token, edge.grams_per_token
    # A tie is half a win.
    probabilities = np.mean((ours > theirs) + 0.5 * (ours == theirs), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        quantiles = np.quantile(ours / theirs, (0.5, 1 - SURE, SURE), axis=1)
    return {
        variant: (*(float(one) if np.isfinite(one) else None for one in quantiles[:, row]), float(probabilities[row]))
        for row, variant in enumerate(variants)
    }


def _winner(probability: float | None) -> str:
    if probability is None or 1 - SURE <= probability <= SURE:
        return "unclear"
    return "edge" if probability > SURE else "cloud"


def _caveat(judge: Judge, cloud: Side, edge: Side) -> tuple[bool, str | None]:
    """Whether the two figures may be set side by side as they are, and what to know about them."""
    faults: list[str] = []
    notes: list[str] = []
    for side in (cloud, edge):
        for fault in _faults(side):
            faults.append(f"{side.arm.device}: {fault}")
        if any(run["record_kind"] == "modelled" for run in side.runs):
            notes.append(f"{side.arm.device} is modelled from its data sheet, not measured")
        if judge.scenario.settings.energy == "net":
            _net_notes(side, faults, notes)
    here, there = (sorted({str(run["boundary"]) for run in side.runs}) for side in (cloud, edge))
    if here != there:
        faults.append(f"boundaries differ ({'/'.join(here)} against {'/'.join(there)}): factors bring both to the plug")
    for name in ("parameters", "sequence_length"):
        if {run[name] for run in cloud.runs} != {run[name] for run in edge.runs}:
            faults.append(f"the work differs in {name}")
    return not faults, "; ".join(faults + notes) or None


def _faults(side: Side) -> Iterator[str]:
    runs = side.runs
    absent = [run["run_id"] for run in runs if run["energy_joules"] is None]
    if absent:
        yield "no energy" if len(absent) == len(runs) else f"no energy in {', '.join(absent)}, left out of the average"
    part = [run for run in runs if run["energy_status"] == "partial"]
    if part and all(run["boundary"] == "gpu_board" and _covered(run) for run in part):
        yield "only the GPU board is in the energy, a factor adds its host"
    elif part:
        yield "energy is partial"
    if any(run["provenance"] == "estimated" for run in runs):
        yield "energy is estimated, no sensor was read"
    if any(run["boundary"] is None for run in runs if run["energy_joules"] is not None):
        yield "what its energy covers is not known"
    if len({run["boundary"] for run in runs}) > 1:
        yield "repeats were measured on different boundaries"
    flags = sorted({flag for run in runs for flag in run["flags"] or ()} & SUSPECT_FLAGS)
    if flags:
        yield f"flagged {', '.join(flags)}"


def _covered(run: Run) -> bool:
    return run["coverage"] is None or run["coverage"] >= WHOLE_COVERAGE


def _net_notes(side: Side, faults: list[str], notes: list[str]) -> None:
    if any(run["net_energy_joules"] is None for run in side.runs):
        faults.append(f"{side.arm.device}: no idle was measured, gross energy is charged")
    if any("idle_drift" in (run["flags"] or ()) for run in side.runs):
        notes.append(f"{side.arm.device}: idle drifted by more than 5 %")
