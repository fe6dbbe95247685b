"""What stands beside an energy figure: the table of heat, and meters side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

import report_database
from edgecarbon.report import story, tables
from edgecarbon.vocabulary import FLAG_LABELS


@pytest.fixture
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        report_database.create_schema(connection)
        yield connection


def add_run(connection: duckdb.DuckDBPyConnection, repeat: int = 1, **facts: Any) -> str:
    run_id = f"w/d/r{repeat}"
    usual = {"workload": "w", "device": "d", "role": "edge", "provenance": "measured", "boundary": "wall"}
    report_database.insert_named(
        connection, "runs", run_id=run_id, repeat=repeat, record_kind="measured", parameters=1, precision="fp32",
        **{**usual, **facts},
    )  # fmt: skip
    return run_id


def add_heat(connection: duckdb.DuckDBPyConnection, repeat: int = 1, **facts: Any) -> None:
    usual = {"split": "half", "split_s": 5.0}
    report_database.insert_named(connection, "run_heat", run_id=add_run(connection, repeat), **{**usual, **facts})


def heat_rows(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    ((workload, found),) = story.heat(connection)
    assert workload == "w"
    return found


def test_a_throttled_device_is_told_with_its_evidence_and_its_price(database: duckdb.DuckDBPyConnection) -> None:
    add_heat(
        database, temperature_component="cpu", temperature_start_celsius=60.2, temperature_highest_celsius=95.0,
        temperature_end_celsius=94.0, frequency_component="cpu", frequency_start_mhz=3000.0, frequency_lowest_mhz=2000.0,
        frequency_end_mhz=2100.0, throttled_s=30.0, throttled_relative=0.3, evidence="frequency_falls+throttle_reasons",
        split="throttling", before_joules_per_token=0.010, before_uncertainty_joules=0.001, after_joules_per_token=0.012,
        after_uncertainty_joules=0.001, background_utilisation=0.031,
    )  # fmt: skip
    (row,) = heat_rows(database)
    assert (row["temperature"], row["clock"]) == ("60 / 95 / 94", "3,000 / 2,000 / 2,100")
    assert (row["throttled"], row["why"]) == ("30 s (30 %)", "by its clock and its heat, by its driver's word")
    assert (row["before"], row["before_interval"], row["after"]) == ("10.0 mJ", "8.0–12.0", "12.0 mJ")
    assert (row["parts"], row["change"], row["others"]) == (("before it", "from then on"), "+20 %", "3.1 %")


def test_what_no_sensor_told_is_not_known_and_never_none(database: duckdb.DuckDBPyConnection) -> None:
    add_heat(database)
    (row,) = heat_rows(database)
    assert (row["temperature"], row["clock"], row["throttled"]) == ("", "", "not known")
    assert (row["before"], row["change"], row["others"]) == ("–", "", "–")


def test_repeats_are_one_row_a_way_of_parting_their_steps(database: duckdb.DuckDBPyConnection) -> None:
    for repeat in (1, 2):
        add_heat(database, repeat, throttled_s=0.0, throttled_relative=0.0, evidence="throttle_reasons")
    add_heat(
        database, 3, throttled_s=9.0, throttled_relative=0.1, evidence="throttle_reasons", split="throttling",
        temperature_start_celsius=50.0, temperature_highest_celsius=88.0, temperature_end_celsius=80.0,
    )  # fmt: skip
    half, throttled = heat_rows(database)
    assert (half["runs"], half["throttled"], half["why"]) == (2, "none", "by its driver's word")
    assert (throttled["runs"], throttled["throttled"], throttled["temperature"]) == (1, "9.0 s (10 %)", "50 / 88 / 80")


def add_total(connection: duckdb.DuckDBPyConnection, run_id: str, boundary: str, joules: float, **facts: Any) -> None:
    usual = {
        "window": "train", "meters": ["m"], "missing": [], "uncertainty_joules": 10.0, "low_joules": joules - 19.6,
        "high_joules": joules + 19.6, "mean_watts": joules / 10, "provenance": "measured", "status": "complete",
        "flags": [], "is_headline": False,
    }  # fmt: skip
    report_database.insert_named(
        connection, "run_totals", run_id=run_id, boundary=boundary, joules=joules, **{**usual, **facts}
    )


def test_the_whole_device_stands_beside_its_parts(database: duckdb.DuckDBPyConnection) -> None:
    run_id = add_run(database)
    add_total(
        database, run_id, "cpu_package+dram", 300.0, difference_joules=-700.0, difference_relative=-0.7,
        status="partial", missing=["gpu_board"], flags=["short"],
    )  # fmt: skip
    add_total(database, run_id, "wall", 1000.0, is_headline=True)
    ((_, (wall, part)),) = story.side_by_side(database)
    assert (wall["energy"], wall["energy_interval"], wall["difference"]) == ("1.000 kJ", "0.980–1.020", "the headline")
    assert (part["boundary_words"], part["difference"], part["difference_percent"]) == (
        "CPU package + memory", "−700 J", "−70 %",
    )  # fmt: skip
    assert (part["energy_status"], part["lacks"], part["flag_words"]) == ("partial", "GPU board", ["short window"])


def test_one_meter_has_nothing_beside_it(database: duckdb.DuckDBPyConnection) -> None:
    add_total(database, add_run(database), "wall", 1000.0, is_headline=True)
    assert story.side_by_side(database) == []


@pytest.mark.parametrize("flag", FLAG_LABELS)
def test_every_flag_stands_in_words_beside_the_figure(database: duckdb.DuckDBPyConnection, flag: str) -> None:
    add_run(database, flags=[flag])
    (row,) = tables.devices(database)
    assert row["flag_words"] == [FLAG_LABELS[flag]]
    ((label, reason),) = tables.flags_explained([row])
    assert label == FLAG_LABELS[flag]
    assert len(reason) > 30


def test_a_test_of_meters_is_told_by_device_beside_the_whole(database: duckdb.DuckDBPyConnection) -> None:
    usual = {
        "device": "d", "meter": "rapl", "component": "package-0", "channel": "rapl/package-0/energy", "flags": ["short"],
        "boundary": "cpu_package", "provenance": "measured", "measured_unix_s": 86400.0 * 365, "uncertainty_watts": 1.0,
    }  # fmt: skip
    report_database.insert_named(
        database, "meter_validation", **usual, window="load_50", watts=47.0, reference="shelly/device/energy",
        reference_watts=60.0, difference_relative=-13 / 60, rise_difference_relative=-0.1,
    )  # fmt: skip
    for name in ("idle_after", "load_100", "idle_before"):
        report_database.insert_named(database, "meter_validation", **{**usual, "boundary": None}, window=name)
    ((device, found),) = story.validation(database)
    assert device == "d"
    idle, busy, again, half = found  # what others are held against comes first
    assert (busy["load"], again["load"]) == ("100 % busy", "idle again")
    assert (half["load"], half["power"], half["power_interval"], half["whole"]) == (
        "50 % busy",
        "47.0 W",
        "45.0–49.0",
        "60.0 W",
    )
    assert (half["difference"], half["rise_difference"], half["day"]) == ("−21.7 %", "−10.0 %", "1971-01-01")
    assert (idle["load"], idle["whole"], idle["difference"], idle["covers"]) == (
        "idle",
        "",
        "",
        "a part that no total holds",
    )
    assert half["flag_words"] == [FLAG_LABELS["short"]]
