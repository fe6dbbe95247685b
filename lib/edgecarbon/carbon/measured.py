"""What the runs themselves say of a device, in place of an assumption: its whole machine's factor, its idle draw."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgecarbon.config.assumptions import Assumption

Row = Mapping[str, Any]
WHOLE = "wall"
BATTERY = "battery"
COVERED = 0.95
METERED = ("measured", "modelled")
"""Of a sensor, or of what a vendor or a kernel models from one; the second is the weaker."""


def measured_facts(runs: Sequence[Row], totals: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """By device, the facts that go before a scenario's assumptions: `measured_boundaries` and `idle_watts`.

    A factor from a meter's boundary to the whole machine is measured where a wall meter saw the same training windows,
    both all of them; the spread of the runs is its range. A battery has none: beside a wall meter it is charged or
    drained, and no part of what that sees.

    Args:
        runs: rows of table `runs`.
        totals: rows of table `run_totals` of the same runs.
    """
    devices = {run["run_id"]: run["device"] for run in runs if run["record_kind"] == "measured"}
    factors: dict[tuple[str, str], list[float]] = defaultdict(list)
    known_as: dict[tuple[str, str], set[str]] = defaultdict(set)
    seen: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in totals:
        if row["run_id"] in devices and row["window"] == "train" and row["joules"] and _sound(row):
            seen[row["run_id"]][row["boundary"]] = row
    for run_id, by_boundary in seen.items():
        for boundary, row in by_boundary.items():
            if boundary not in (WHOLE, BATTERY) and WHOLE in by_boundary:
                factors[devices[run_id], boundary].append(by_boundary[WHOLE]["joules"] / row["joules"])
                known_as[devices[run_id], boundary] |= {row["provenance"], by_boundary[WHOLE]["provenance"]}
    facts: dict[str, dict[str, Any]] = defaultdict(dict)
    for (device, boundary), ratios in sorted(factors.items()):
        name, what = f"device/{device}/whole machine over {boundary}", "wall meter over the narrower one"
        facts[device].setdefault("measured_boundaries", {})[boundary] = _measured(
            name, ratios, "1", what, device, known_as[device, boundary]
        )
    idle: dict[str, list[Row]] = defaultdict(list)
    for run in runs:
        # An estimate of idle is an assumption itself, and goes before none.
        if run["record_kind"] == "measured" and run["idle_watts"] and run["provenance"] in METERED:
            idle[run["device"]].append(run)
    for device, mine in sorted(idle.items()):
        watts, known = [run["idle_watts"] for run in mine], {run["provenance"] for run in mine}
        facts[device]["idle_watts"] = _measured(f"device/{device}/idle", watts, "W", "idle windows", device, known)
    return dict(facts)


def _sound(row: Row) -> bool:
    """Whether a meter, and no assumption, saw all of the window. A board's total is partial by its boundary alone."""
    whole = row["status"] == "complete" if row["boundary"] == WHOLE else (row["coverage"] or 0.0) >= COVERED
    return bool(whole and row["provenance"] in METERED)


def _measured(
    name: str, values: Sequence[float], unit: str, what: str, device: str, provenances: set[str]
) -> Assumption:
    runs = f"{len(values)} run" + ("s" if len(values) > 1 else "")
    mean = float(np.clip(np.mean(values), min(values), max(values)))  # rounding must not take it out of its range
    return Assumption(
        name, mean, min(values), max(values), unit, f"{what}, in {runs} of this experiment",
        None, device, "this project's data", max(provenances, key=METERED.index),
    )  # fmt: skip
