"""Who wins: each cloud device against each edge device of a workload, for equal tokens, all ranges drawn at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from edgecarbon.carbon.draws import Array, quantiles
from edgecarbon.carbon.labels import label
from edgecarbon.carbon.pairs import Average, Pair
from edgecarbon.carbon.work import Judge, Run, charged_energy
from edgecarbon.config.assumptions import Assumption
from edgecarbon.vocabulary import boundary_words, flag_words

SURE = 0.95
# Flags of readings after which a figure is no fair match, and that no range accounts for; `partial` is told in more words.
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
    comparable, bridged_by, caveat = _caveat(judge, pair)
    found = (
        ratio_quantiles(pair.ratio(judge, judge.draws))
        if pair.known
        else [(None, None, None, None)] * len(attributions)
    )
    # By the draws: a ratio over an edge that emits nothing has no median.
    edge_wins = {probability > 0.5 for *_, probability in found if probability is not None and probability != 0.5}
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
            "bridged_by": bridged_by,
        }


def ratio_quantiles(ratios: Array) -> list[tuple[float | None, ...]]:
    """(median, 5 %, 95 %, P(edge wins)) of cloud over edge, by row; None where it is not a number."""
    # A tie is half a win; so is nothing against nothing.
    wins, losses = (np.count_nonzero(side, axis=1) for side in (ratios > 1, ratios < 1))
    ties = ratios.shape[1] - wins - losses
    probabilities = (wins + 0.5 * ties) / ratios.shape[1]
    with np.errstate(invalid="ignore"):
        found = quantiles(ratios, (0.5, 1 - SURE, SURE))
    return [
        (*(float(one) if np.isfinite(one) else None for one in found[:, row]), float(probabilities[row]))
        for row in range(len(ratios))
    ]


def _winner(probability: float | None) -> str:
    if probability is None or 1 - SURE <= probability <= SURE:
        return "unclear"
    return "edge" if probability > SURE else "cloud"


def _caveat(judge: Judge, pair: Pair) -> tuple[bool, list[str], str | None]:
    """Whether the two figures may be set side by side, by which assumed factors, and what to know about them.

    Other boundaries are no fault: factors bring both to the plug, and their ranges are in the interval. A fault is what
    no range accounts for.
    """
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
        if side.arm.grid != side.arm.side.grid:
            notes.append(
                f"{side.arm.device} has the electricity of its own zone (“{label(side.arm.grid.mean)}”), not the scenario's"
            )
    bridges = _bridges(pair)
    if bridges is not None:
        notes.insert(0, _apart(pair, bridges))
    for name in ("parameters", "sequence_length"):
        if {run[name] for run in cloud.runs} != {run[name] for run in edge.runs}:
            faults.append(f"the work differs in {name.replace('_', ' ')}")
    assumed = [name for name, (_, measured) in (bridges or {}).items() if not measured]
    return not faults, assumed, "; ".join(faults + notes) or None


def _bridges(pair: Pair) -> dict[str, tuple[Assumption, bool]] | None:
    """The factors from what each meter saw to the plug, by name, and whether each was measured; None where both sides
    were measured alike. PUE is none of them: a data centre has it whatever its meter sees."""
    if pair.cloud.boundaries == pair.edge.boundaries:
        return None
    found = {}
    for side in (pair.cloud, pair.edge):
        arm, boundary = side.arm, side.mean["boundary"]
        measured = boundary in arm.measured_boundaries
        charger = arm.site_factor(boundary) if arm.role == "edge" else None
        for one in (arm.boundary_factor(boundary), charger):
            if one is not None and not one.low == one.value == one.high == 1.0:
                found[one.name] = (one, measured)
    return found


def _apart(pair: Pair, bridges: Mapping[str, tuple[Assumption, bool]]) -> str:
    """That the sides were measured differently, and what lies between them."""
    here, there = (" or ".join(boundary_words(name) for name in side.boundaries) for side in (pair.cloud, pair.edge))
    told = [f"“{label(one)}” × {one.value:g}{', measured' if measured else ''}" for one, measured in bridges.values()]
    how = f"brought to the plug by {' and '.join(told)}" if told else "nothing is assumed to lie between them"
    return f"boundaries differ ({here} against {there}): {how}"


def _faults(side: Average) -> Iterator[str]:
    runs = side.runs
    absent = [run["run_id"] for run in runs if run["energy_joules"] is None]
    if absent:
        yield "no energy" if len(absent) == len(runs) else f"no energy in {', '.join(absent)}, left out of the average"
    part = [run for run in runs if run["energy_status"] == "partial"]
    # A board without its host is what the host's factor is for.
    if not all(run["boundary"] == "gpu_board" and _covered(run) for run in part):
        yield "energy is partial"
    if any(run["provenance"] == "estimated" for run in runs):
        yield "energy is estimated, no sensor was read"
    if any(run["boundary"] is None for run in runs if run["energy_joules"] is not None):
        yield "what its energy covers is not known"
    if len({run["boundary"] for run in runs}) > 1:
        yield "repeats were measured on different boundaries"
    flags = sorted({flag for run in runs for flag in run["flags"] or ()} & SUSPECT_FLAGS)
    if flags:
        yield f"flagged {', '.join(flag_words(flags))}"
    if side.arm.role == "edge" and side.arm.battery is None and "battery" in side.boundaries:
        yield "its meter read a battery, but “carbon.battery” is not set for it"


def _covered(run: Run) -> bool:
    return run["coverage"] is None or run["coverage"] >= WHOLE_COVERAGE


def _net_notes(side: Average, faults: list[str], notes: list[str]) -> None:
    found = [run["net_energy_joules"] for run in side.runs]
    if None in found:
        faults.append(f"{side.arm.device}: no idle was measured, gross energy is charged")
    if any(joules is not None and joules <= 0 for joules in found):
        faults.append(f"{side.arm.device}: idle drew as much as training, nothing is left above it")
    if any("idle_drift" in (run["flags"] or ()) for run in side.runs):
        notes.append(f"{side.arm.device}: idle drifted by more than 5 %")
