"""The headline energy of a run, as columns of `runs`: a total of one boundary, its interval, and the net of idle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from edgecarbon.meters.totals import Total, headline, net

# Standard uncertainties to a 95 % interval, for a normal distribution.
NORMAL_975 = 1.96


def headline_columns(record: Mapping[str, Any]) -> dict[str, Any]:
    """Energy columns of `runs` from a record's readings and windows.

    A measured energy gets the interval ± 1.96 standard uncertainties, and no less than 0; a modelled one the range that
    its record states.

    Raises:
        KeyError, TypeError, ValueError: the record lacks a field or has a wrong one.
    """
    result = record["result"]
    readings = result["readings"]
    kind = _accelerator_kind(result)
    total = headline(readings, "train", kind)
    seconds = {window["name"]: window["end_s"] - window["start_s"] for window in result["windows"]}
    before, after = (
        (headline(readings, name, kind), seconds[name]) if name in seconds else None
        for name in ("idle_before", "idle_after")
    )
    above_idle = net(total, seconds["train"], before, after)
    low, high = _stated_range(readings, total) if record["provenance"] == "modelled" else _interval(total)
    return {
        "provenance": total.provenance,
        "boundary": total.boundary,
        "energy_joules": total.joules,
        "energy_uncertainty_joules": total.uncertainty_joules,
        "energy_low_joules": low,
        "energy_high_joules": high,
        "energy_status": total.status,
        "net_energy_joules": above_idle.joules,
        "net_uncertainty_joules": above_idle.uncertainty_joules,
        "idle_watts": above_idle.idle_watts,
        "idle_drift_relative": above_idle.idle_drift_relative,
        "flags": sorted({*total.flags, *above_idle.flags}),
        "coverage": total.coverage,
    }


def _accelerator_kind(result: Mapping[str, Any]) -> str:
    """What did the work. A modelled record may not say; then a figure of a GPU board is one of a GPU."""
    accelerator = (result.get("device_facts") or {}).get("accelerator") or {}
    if accelerator.get("kind"):
        return str(accelerator["kind"])
    return "cuda" if any(reading["boundary"] == "gpu_board" for reading in result["readings"]) else "cpu"


def _interval(total: Total) -> tuple[float | None, float | None]:
    if total.joules is None or total.uncertainty_joules is None:
        return None, None
    half = NORMAL_975 * total.uncertainty_joules
    return max(0.0, total.joules - half), total.joules + half


def _stated_range(readings: list[Mapping[str, Any]], total: Total) -> tuple[float | None, float | None]:
    if total.joules is None:
        return None, None
    train = [reading for reading in readings if reading["window"] == "train"]
    counted = [reading for reading in train if reading["component"] in total.components]
    return math.fsum(r["low_joules"] for r in counted), math.fsum(r["high_joules"] for r in counted)
