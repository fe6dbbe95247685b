"""Meters held against each other: what the table says of known powers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgecarbon import records
from edgecarbon.validation import show, table
from synthetic import reading

WINDOWS = {"idle_before": 10.0, "load_50": 60.0, "load_100": 110.0, "idle_after": 10.0}
SECONDS = 60.0
COMPONENT = {"idle_before": 2.0, "load_50": 47.0, "load_100": 92.0, "idle_after": 2.0}


def record(*meters: tuple[str, str, dict[str, float | None]], missing: dict[str, Any] | None = None) -> dict[str, Any]:
    """A record in which each meter, (channel, boundary, watts by window), told these."""
    told = [
        reading(None if watts[name] is None else watts[name] * SECONDS, channel, boundary, name)
        for name in WINDOWS
        for channel, boundary, watts in meters
    ]
    windows = [{"name": name, "start_s": i * SECONDS, "end_s": (i + 1) * SECONDS} for i, name in enumerate(WINDOWS)]
    body = {
        "schema": records.RECORD_SCHEMA, "device": "bench", "missing": missing,
        "result": None if missing else {"windows": windows, "readings": told, "started_unix_s": 1.0},
    }  # fmt: skip
    return {**body, "content_sha256": records.canonical_sha256(body)}


def rows(*meters: tuple[str, str, Any], window: str = "load_100") -> dict[str, dict[str, Any]]:
    return {row["channel"]: row for row in table(record(*meters)) if row["window"] == window}


def test_a_component_is_held_against_the_rise_of_the_whole() -> None:
    told = rows(("rapl/package-0/energy", "cpu_package", COMPONENT), ("shelly/device/energy", "wall", WINDOWS))
    mine = told["rapl/package-0/energy"]
    assert (mine["watts"], mine["reference"], mine["reference_watts"]) == (92.0, "shelly/device/energy", 110.0)
    assert mine["difference_relative"] == pytest.approx(-18 / 110)
    assert (mine["rise_watts"], mine["reference_rise_watts"]) == (90.0, 100.0)
    assert mine["rise_difference_relative"] == pytest.approx(-0.1)
    wall = told["shelly/device/energy"]
    assert (wall["reference"], wall["difference_relative"], wall["rise_watts"]) == (None, None, 100.0)


def test_a_wall_meter_stands_before_a_battery_and_one_that_failed_behind_it() -> None:
    battery = ("battery/BAT0/energy", "battery", {name: watts * 0.9 for name, watts in WINDOWS.items()})
    told = rows(("rapl/package-0/energy", "cpu_package", COMPONENT), battery, ("shelly/device/energy", "wall", WINDOWS))
    assert told["rapl/package-0/energy"]["reference"] == "shelly/device/energy"
    failed = ("shelly/device/energy", "wall", {**WINDOWS, "load_50": None})
    told = rows(("rapl/package-0/energy", "cpu_package", COMPONENT), battery, failed)
    assert told["rapl/package-0/energy"]["reference"] == "battery/BAT0/energy"


def test_without_a_whole_there_is_no_reference_and_no_rise_of_idle() -> None:
    told = rows(("rapl/package-0/energy", "cpu_package", COMPONENT), window="idle_after")
    assert told["rapl/package-0/energy"]["reference"] is None
    assert told["rapl/package-0/energy"]["rise_watts"] is None


def test_it_is_shown_in_words(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    meters = (("rapl/package-0/energy", "cpu_package", COMPONENT), ("shelly/device/energy", "wall", WINDOWS))
    path.write_text(json.dumps(record(*meters)))
    text = show(path)
    assert text.startswith("bench: beside shelly/device/energy\n")
    [line] = [line for line in text.splitlines() if "load_100" in line and "rapl" in line]
    assert line.split() == ["load_100", "rapl/package-0/energy", "92.00", "0.00", "-16.4", "%", "-10.0", "%"]
    path.write_text(
        json.dumps(record(missing={"kind": "unreachable", "reason": "It is off.", "remedy": "Switch it on."}))
    )
    assert show(path) == "bench: its meters were not tested: It is off. Switch it on."
