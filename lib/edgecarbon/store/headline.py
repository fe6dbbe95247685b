"""A run's totals: the headline as columns of `runs`, with its interval and net of idle, and all of them side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from edgecarbon.meters.totals import Total, headline, net, totals

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
        "flags": sorted({*total.flags, *above_idle.flags, *_of_a_log(readings)}),
        "coverage": total.coverage,
    }


def headline_channels(result: Mapping[str, Any]) -> tuple[str, ...]:
    """Ids of the channels that the headline energy of the training window is the sum of."""
    return headline(result["readings"], "train", _accelerator_kind(result)).channels


def totals_rows(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of `run_totals`, less the run id. Errors as `headline_columns`."""
    result = record["result"]
    readings, kind = result["readings"], _accelerator_kind(result)
    rows = []
    for window in result["windows"]:
        found = totals(readings, window["name"], kind)
        for total in found:
            of_a_range = record["provenance"] == "modelled" and window["name"] == "train"
            low, high = _stated_range(readings, total) if of_a_range else _interval(total)
            rows.append({
                "window": window["name"], "boundary": total.boundary, "meters": total.meters,
                "components": total.components, "missing": total.missing, "joules": total.joules,
                "uncertainty_joules": total.uncertainty_joules, "low_joules": low, "high_joules": high,
                "mean_watts": (total.joules or 0.0) / (window["end_s"] - window["start_s"]),
                "provenance": total.provenance, "status": total.status, "coverage": total.coverage,
                "flags": total.flags, **_difference(total, found[0]),
            })  # fmt: skip
    return rows


def _of_a_log(readings: list[Mapping[str, Any]]) -> set[str]:
    """What is wrong with an external meter's log, which is told also where the headline is another meter's."""
    flags = {flag for reading in readings if reading["window"] == "train" for flag in reading["flags"]}
    return flags & {"log_misaligned", "log_partial"}


def _difference(total: Total, first: Total) -> dict[str, Any]:
    if total is first:
        return {"is_headline": True, "difference_joules": None, "difference_relative": None}
    difference = (total.joules or 0.0) - (first.joules or 0.0)
    relative = difference / first.joules if first.joules else None
    return {"is_headline": False, "difference_joules": difference, "difference_relative": relative}


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
