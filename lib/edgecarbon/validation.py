"""Meters of a device held against each other, and against a wall meter where there is one: idle, loads, idle again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgecarbon import records
from edgecarbon.measure import Task, do

SCHEMA = "edgecarbon.validation/1"
WHOLE = ("wall", "battery")
"""Boundaries that hold a whole device, the better reference first."""
IDLE = "idle_before"
_LINE = "  {:<12} {:<34} {:>9} {:>9} {:>11} {:>12}  {}"


def validate_device(
    name: str, device: dict[str, Any], settings: Mapping[str, Any], payload: Path, log: Path, record: Path
) -> None:
    """Put a device's meters to the test and write the record, or one that says why it is missing.

    Args:
        device: its validated entry, field for field.
        settings: `Project.validation_settings` of it.

    Raises:
        UserError: something on this host is wrong.
    """
    chosen, measured_by = settings["validation"], settings["device"]
    seconds = (chosen["window_s"] + chosen["settle_s"]) * (len(chosen["loads"]) + 2)
    task = Task(
        run_id=f"validation/{name}",
        name=name,
        device=device,
        core={
            "schema": SCHEMA,
            "run_id": f"validation/{name}",
            "payload_sha256": records.file_sha256(payload),
            "device": {key: measured_by[key] for key in ("accelerator", "peak_tflops")},
            "measurement": {
                **settings["measurement"], "meters": measured_by["meters"], "estimate": measured_by["estimate"],
            },
            **chosen,
        },
        inputs={},
        # What starting the payload, and waiting for a slow link, may take beside the windows.
        deadline_s=2 * seconds + 300,
        facts={"device": name},
    )  # fmt: skip
    do(task, payload, log, record.parent / "attempts", record, device["limits"]["wait_s"])


def table(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of `meter_validation`: what each meter told in each window, beside the reference.

    The reference of a window is the wall meter, failing that the battery; a device with neither has none. Meters of a
    part are compared by how much they rise above idle, as the whole does: what they leave out draws about the same.
    """
    if record.get("missing") is not None:
        return []
    result = record["result"]
    seconds = {window["name"]: window["end_s"] - window["start_s"] for window in result["windows"]}
    readings = result["readings"]
    watts = {(one["window"], one["channel"]): _watts(one, seconds[one["window"]]) for one in readings}
    reference = next(
        (
            one["channel"]
            for boundary in WHOLE
            for one in readings
            if one["boundary"] == boundary and all(watts.get((window, one["channel"])) for window in seconds)
        ),
        None,
    )
    rows = []
    for one in readings:
        mine, idle = watts[one["window"], one["channel"]], watts.get((IDLE, one["channel"]))
        theirs = watts.get((one["window"], reference)) if reference not in (None, one["channel"]) else None
        their_idle = watts.get((IDLE, reference)) if theirs else None
        rise, their_rise = _rise(mine, idle, one["window"]), _rise(theirs, their_idle, one["window"])
        rows.append(
            {
                **{
                    key: one[key]
                    for key in ("window", "meter", "component", "channel", "boundary", "provenance", "flags")
                },
                "device": record["device"],
                "duration_s": seconds[one["window"]],
                "watts": mine,
                "uncertainty_watts": (one["uncertainty_joules"] or 0.0) / seconds[one["window"]] if mine else None,
                "reference": reference if theirs else None,
                "reference_watts": theirs,
                "difference_relative": _relative(mine, theirs),
                "rise_watts": rise,
                "reference_rise_watts": their_rise,
                "rise_difference_relative": _relative(rise, their_rise),
                "measured_unix_s": result["started_unix_s"],
                "record_sha256": record["content_sha256"],
            }
        )
    return rows


def _watts(reading: Mapping[str, Any], seconds: float) -> float | None:
    return None if reading["joules"] is None or seconds <= 0 else reading["joules"] / seconds


def _rise(watts: float | None, idle_watts: float | None, window: str) -> float | None:
    """How far a load's power lies above idle; None for an idle window."""
    if window.startswith("idle") or watts is None or idle_watts is None:
        return None
    return watts - idle_watts


def _relative(mine: float | None, theirs: float | None) -> float | None:
    return None if mine is None or not theirs else (mine - theirs) / theirs


def show(path: Path) -> str:
    """A record's table for a terminal, with what it says in words."""
    record = records.read_record(path)
    device, missing = record["device"], record.get("missing")
    if missing is not None:
        return f"{device}: its meters were not tested: {missing['reason']} {missing.get('remedy') or ''}".rstrip()
    rows = table(record)
    reference = next((row["reference"] for row in rows if row["reference"]), None)
    beside = (
        f"beside {reference}" if reference else "no meter of the whole device (wall meter, battery) stands beside them"
    )
    lines = [
        f"{device}: {beside}",
        _LINE.format("window", "channel", "W", "± (95 %)", "difference", "of the rise", "flags"),
    ]
    for row in rows:
        watts, u = row["watts"], row["uncertainty_watts"]
        lines.append(
            _LINE.format(
                row["window"], row["channel"], "-" if watts is None else f"{watts:.2f}",
                "-" if watts is None else f"{1.96 * u:.2f}", _percent(row["difference_relative"]),
                _percent(row["rise_difference_relative"]), " ".join(row["flags"]),
            ).rstrip()
        )  # fmt: skip
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:+.1f} %"
