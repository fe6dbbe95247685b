"""Who wins: each cloud device against each edge device of a workload, for equal tokens, all ranges drawn at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from edgecarbon.carbon.draws import Array
from edgecarbon.carbon.pairs import Average, Pair
from edgecarbon.carbon.work import Judge, Run, charged_energy

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


def verdict_rows(judge: Judge, pairs: Sequence[Pair]) -> list[Row]:
    """One row for each workload, pair of devices and attribution."""
    return [row for pair in pairs for row in _pair_rows(judge, pair)]


def _pair_rows(judge: Judge, pair: Pair) -> Iterator[Row]:
    attributions = judge.scenario.settings.attributions
    comparable, caveat = _caveat(judge, pair)
    found = (
        ratio_quantiles(pair.ratio(judge, judge.draws))
        if pair.known
        else [(None, None, None, None)] * len(attributions)
    )
    edge_wins = {median > 1 for median, *_ in found if median is not None}
    for variant, (median, low, high, probability) in zip(attributions, found, strict=True):
        yield {
            "scenario": judge.scenario.name,
            "workload": pair.workload,
            "cloud_device": pair.cloud.arm.device,
            "edge_device": pair.edge.arm.device,
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


def ratio_quantiles(ratios: Array) -> list[tuple[float | None, ...]]:
    """(median, 5 %, 95 %, P(edge wins)) of cloud over edge, by row; None where it is not a number."""
    # A tie is half a win; so is nothing against nothing.
    probabilities = np.mean((ratios > 1) + 0.5 * ((ratios == 1) | np.isnan(ratios)), axis=1)
    with np.errstate(invalid="ignore"):
        quantiles = np.quantile(ratios, (0.5, 1 - SURE, SURE), axis=1)
    return [
        (*(float(one) if np.isfinite(one) else None for one in quantiles[:, row]), float(probabilities[row]))
        for row in range(len(ratios))
    ]


def _winner(probability: float | None) -> str:
    if probability is None or 1 - SURE <= probability <= SURE:
        return "unclear"
    return "edge" if probability > SURE else "cloud"


def _caveat(judge: Judge, pair: Pair) -> tuple[bool, str | None]:
    """Whether the two figures may be set side by side as they are, and what to know about them."""
    faults: list[str] = []
    notes: list[str] = []
    cloud, edge = pair.cloud, pair.edge
    for side in (cloud, edge):
        for fault in _faults(side):
            faults.append(f"{side.arm.device}: {fault}")
        if any(run["record_kind"] == "modelled" for run in side.runs):
            notes.append(f"{side.arm.device} is modelled from its data sheet, not measured")
        if charged_energy(judge.scenario, side.arm) == "net":
            _net_notes(side, faults, notes)
    here, there = (sorted({str(run["boundary"]) for run in side.runs}) for side in (cloud, edge))
    if here != there:
        faults.append(f"boundaries differ ({'/'.join(here)} against {'/'.join(there)}): factors bring both to the plug")
    for name in ("parameters", "sequence_length"):
        if {run[name] for run in cloud.runs} != {run[name] for run in edge.runs}:
            faults.append(f"the work differs in {name}")
    return not faults, "; ".join(faults + notes) or None


def _faults(side: Average) -> Iterator[str]:
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


def _net_notes(side: Average, faults: list[str], notes: list[str]) -> None:
    if any(run["net_energy_joules"] is None for run in side.runs):
        faults.append(f"{side.arm.device}: no idle was measured, gross energy is charged")
    if any("idle_drift" in (run["flags"] or ()) for run in side.runs):
        notes.append(f"{side.arm.device}: idle drifted by more than 5 %")
