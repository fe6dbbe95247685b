"""The views: intervals over repeats with their known answers, and power from counters that wrap, stand and fail."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import synthetic
from edgecarbon.store import build_database, connect

GPU = synthetic.channel("nvml/gpu0/energy", "gpu_board")


def device_energy(tmp_path: Path, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the view for these records."""
    paths = [synthetic.write_run(tmp_path, record) for record in records]
    build_database(tmp_path / "x.duckdb", paths)
    return query(tmp_path, "SELECT * FROM device_energy ORDER BY device, boundary NULLS LAST, energy_status")


def query(tmp_path: Path, sql: str) -> list[dict[str, Any]]:
    with connect(tmp_path / "x.duckdb") as connection:
        cursor = connection.execute(sql)
        names = [column[0] for column in cursor.description or []]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def repeats(joules: list[float | None], **extra: Any) -> list[dict[str, Any]]:
    """Records of one device with these energies, of a single step each."""
    return [
        synthetic.record(
            f"synthetic-opt/synthetic-gpu/r{number}", steps=1, readings=[synthetic.reading(energy, **extra)]
        )
        for number, energy in enumerate(joules, 1)
    ]


def test_known_answer_of_student_t(tmp_path: Path) -> None:
    (row,) = device_energy(tmp_path, repeats([100.0, 102.0, 98.0, 101.0, 99.0]))
    assert row["repeats"] == 5
    assert row["joules_per_step"] == row["energy_joules"] == 100.0
    assert row["joules_per_step_low"] == pytest.approx(100 - 1.96, abs=0.005)
    assert row["joules_per_step_high"] == pytest.approx(100 + 1.96, abs=0.005)
    per_million = 1e6 / (16 * 512)
    assert row["joules_per_million_tokens_high"] == pytest.approx(row["energy_high_joules"] * per_million)


def test_what_the_meter_errs_does_not_shrink_with_repeats(tmp_path: Path) -> None:
    (row,) = device_energy(tmp_path, repeats([100.0, 102.0, 98.0, 101.0, 99.0], uncertainty_joules=5.0))
    assert row["energy_high_joules"] - 100 == pytest.approx(math.hypot(1.9632, 1.96 * 5), abs=1e-3)


def test_equal_repeats_keep_the_meters_uncertainty(tmp_path: Path) -> None:
    (row,) = device_energy(tmp_path, repeats([100.0] * 3, uncertainty_joules=2.0))
    assert (row["energy_low_joules"], row["energy_high_joules"]) == pytest.approx((100 - 3.92, 100 + 3.92))


def test_one_repeat_has_its_own_interval(tmp_path: Path) -> None:
    (row,) = device_energy(tmp_path, repeats([100.0], uncertainty_joules=2.0))
    assert (row["energy_low_joules"], row["energy_high_joules"]) == pytest.approx((96.08, 103.92))


def test_an_interval_stops_at_zero(tmp_path: Path) -> None:
    (row,) = device_energy(tmp_path, repeats([10.0, 30.0]))  # t of one degree of freedom is 12.7
    assert row["energy_low_joules"] == row["joules_per_step_low"] == 0.0


def test_modelled_device_keeps_the_range_of_its_record(tmp_path: Path) -> None:
    (row,) = device_energy(
        tmp_path, [synthetic.modelled_record("synthetic-opt/synthetic-phone/r1", 600.0, 440.0, 770.0)]
    )
    assert (row["record_kind"], row["provenance"]) == ("modelled", "modelled")
    assert (row["energy_low_joules"], row["energy_joules"], row["energy_high_joules"]) == (440.0, 600.0, 770.0)
    assert (row["joules_per_step_low"], row["joules_per_step_high"]) == (44.0, 77.0)


def test_absent_energy_stays_null_in_a_row_of_its_own(tmp_path: Path) -> None:
    rows = device_energy(tmp_path, repeats([100.0, None, 102.0]))
    assert [(row["energy_status"], row["repeats"], row["energy_joules"]) for row in rows] == [
        ("absent", 1, None),
        ("complete", 2, 101.0),
    ]
    assert rows[0]["joules_per_million_tokens_low"] is None
    assert rows[0]["flags"] == ["no_data", "partial"]


def test_figures_of_different_boundaries_or_precisions_are_not_averaged(tmp_path: Path) -> None:
    records = repeats([100.0, 200.0, 300.0])
    records[1]["result"]["readings"][0]["boundary"] = "battery"
    records[2]["result"]["training"]["precision"] = "bf16"
    rows = device_energy(tmp_path, records)
    found = {(row["boundary"], row["precision"], row["energy_joules"]) for row in rows}
    assert found == {("wall", "fp32", 100.0), ("battery", "fp32", 200.0), ("wall", "bf16", 300.0)}


def test_flags_are_united(tmp_path: Path) -> None:
    records = repeats([100.0, 100.0])
    records[0]["result"]["readings"][0]["flags"] = ["short", "wrapped"]
    records[1]["result"]["readings"][0]["flags"] = ["short", "gap"]
    (row,) = device_energy(tmp_path, records)
    assert row["flags"] == ["gap", "short", "wrapped"]


def power(
    tmp_path: Path, channels: list[dict[str, Any]], values: list[list[float | None]]
) -> list[tuple[str, float, float, float | None]]:
    """(component, t_s, watts, interval_s) of the view for one run's samples."""
    path = synthetic.write_run(tmp_path, synthetic.record(channels=channels), values)
    build_database(tmp_path / "x.duckdb", [path])
    rows = query(tmp_path, "SELECT component, t_s, watts, interval_s FROM power ORDER BY component, t_s")
    return [tuple(row.values()) for row in rows]  # type: ignore[misc]


def test_power_is_the_counters_rise(tmp_path: Path) -> None:
    assert power(tmp_path, [GPU], [[0, 1000.0], [1, 1060.0], [2, 1360.0]]) == [
        ("gpu0", 0.5, 60.0, 1.0),
        ("gpu0", 1.5, 300.0, 1.0),
    ]


def test_power_of_a_counter_that_wraps(tmp_path: Path) -> None:
    """150 J before its maximum, then 50 J after it: 200 J in two seconds."""
    channel = synthetic.channel(
        "rapl/package-0/energy", "cpu_package", wraps=True, wrap_joules=262_143.0, max_watts=300.0
    )
    assert power(tmp_path, [channel], [[0, 261_993.0], [2, 50.0]]) == [("package-0", 1.0, 100.0, 2.0)]


@pytest.mark.parametrize(
    ("limits", "values", "why"),
    [
        ({}, [[0, 500.0], [1, 20.0]], "a counter that does not wrap was reset"),
        ({"wraps": True}, [[0, 500.0], [1, 20.0]], "its maximum is unknown"),
        ({"wraps": True, "wrap_joules": 1000.0, "max_watts": 100.0}, [[0, 500.0], [1, 20.0]], "520 W is a reset"),
        ({"wraps": True, "wrap_joules": 1000.0, "max_watts": 100.0}, [[0, 100.0], [10, 300.0]], "it may have wrapped"),
    ],
)
def test_what_a_counter_cannot_tell_has_no_power(
    tmp_path: Path, limits: dict[str, Any], values: list[list[float | None]], why: str
) -> None:
    assert power(tmp_path, [synthetic.channel("a/b/energy", "wall", **limits)], values) == [], why


def test_failed_reads_neither_drop_to_zero_nor_jump(tmp_path: Path) -> None:
    values: list[list[float | None]] = [[0, 100.0], [1, 200.0], [2, None], [3, None], [4, 500.0], [5, 600.0]]
    rows = power(tmp_path, [GPU], values)
    assert [watts for _, _, watts, _ in rows] == [100.0, 100.0, 100.0]
    assert sum(watts * (interval or 0) for _, _, watts, interval in rows) == 500.0


def test_counter_read_faster_than_it_moves(tmp_path: Path) -> None:
    values: list[list[float | None]] = [[tick / 10, 100.0 + 10 * (tick // 5)] for tick in range(21)]
    rows = power(tmp_path, [GPU], values)
    assert [watts for _, _, watts, _ in rows] == pytest.approx([20.0] * 4)


def test_counter_that_never_moves_shows_no_power(tmp_path: Path) -> None:
    assert power(tmp_path, [GPU], [[0, 7.0], [1, 7.0], [2, 7.0]]) == []


def test_counter_before_power_and_power_where_alone(tmp_path: Path) -> None:
    channels = [
        synthetic.channel("nvml/gpu0/power", "gpu_board", "W"),
        GPU,
        synthetic.channel("hwmon/board/power", "wall", "W"),
        synthetic.channel("nvml/gpu0/temperature", None, "C"),
    ]
    values: list[list[float | None]] = [[0, 90.0, 0.0, 150.0, 50.0], [1, 91.0, 100.0, None, 51.0]]
    assert power(tmp_path, channels, values) == [("board", 0.0, 150.0, None), ("gpu0", 0.5, 100.0, 1.0)]


def test_runs_do_not_run_into_each_other(tmp_path: Path) -> None:
    """Two runs with the same channel: the second's first reading is no difference to the first's last."""
    values: list[list[float | None]] = [[0, 1000.0], [1, 1100.0]]
    records = [synthetic.record(f"synthetic-opt/synthetic-gpu/r{number}", channels=[GPU]) for number in (1, 2)]
    build_database(tmp_path / "x.duckdb", [synthetic.write_run(tmp_path, record, values) for record in records])
    rows = query(tmp_path, "SELECT run_id, watts FROM power ORDER BY run_id")
    assert [row["watts"] for row in rows] == [100.0, 100.0]


def test_meters_side_by_side_over_the_repeats(tmp_path: Path) -> None:
    records = [
        synthetic.record(
            f"synthetic-opt/synthetic-gpu/r{number}",
            kind="cuda",
            readings=[
                synthetic.reading(1000.0 + number, uncertainty_joules=10.0),
                synthetic.reading(600.0, "nvml/gpu0/energy", "gpu_board", uncertainty_joules=5.0, flags=["short"]),
            ],
        )
        for number in (0, 2)
    ]
    device_energy(tmp_path, records)
    wall, board = query(tmp_path, "SELECT * FROM device_totals ORDER BY is_headline DESC")
    assert (wall["boundary"], wall["repeats"], wall["energy_joules"], wall["energy_status"]) == (
        "wall",
        2,
        1001.0,
        "complete",
    )
    assert (wall["difference_joules"], wall["difference_relative"]) == (None, None)
    scatter = 12.706 * math.sqrt(2) / math.sqrt(2)
    assert wall["energy_high_joules"] - 1001 == pytest.approx(math.hypot(scatter, 19.6), abs=1e-2)
    assert (board["boundary"], board["energy_status"], board["missing"]) == ("gpu_board", "partial", ["cpu_package"])
    assert board["difference_joules"] == pytest.approx(-401.0)
    assert board["difference_relative"] == pytest.approx((-400 / 1000 - 402 / 1002) / 2)
    assert board["mean_watts"] == pytest.approx(6.0)
    assert (board["meters"], board["flags"]) == (["nvml"], ["partial", "short"])
