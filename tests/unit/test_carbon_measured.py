"""Factors that the runs themselves measured: found where a wall meter saw them, and taken before any assumption."""

from __future__ import annotations

from typing import Any

import pytest
from carbon_cases import INPUTS, KWH, certain, facts, literal, run, scenario, total

import synthetic
from edgecarbon.carbon.evaluation import evaluate
from edgecarbon.carbon.measured import measured_facts
from edgecarbon.store import build_database, connect, read_runs, read_runs_and_totals


def of_run(repeat: int, boundary: str, joules: float | None, device: str = "c", **changes: Any) -> dict[str, Any]:
    """A row of `run_totals`."""
    row = {
        "run_id": f"w/{device}/r{repeat}", "window": "train", "boundary": boundary, "joules": joules,
        "provenance": "measured", "status": "complete" if boundary == "wall" else "partial", "coverage": 1.0,
    }  # fmt: skip
    return {**row, **changes}


def gpu_run(repeat: int = 1, **changes: Any) -> dict[str, Any]:
    return run("c", "cloud", repeat=repeat, boundary="gpu_board", **{"idle_watts": None, **changes})


RUNS = [gpu_run(1), gpu_run(2)]
TOTALS = [
    of_run(1, "gpu_board", 100.0), of_run(1, "wall", 150.0), of_run(1, "cpu_package", 20.0),
    of_run(2, "wall", 170.0), of_run(2, "gpu_board", 100.0),
]  # fmt: skip


def test_a_wall_meter_beside_a_board_measures_the_factor():
    found = measured_facts(RUNS, TOTALS)
    assert list(found) == ["c"]
    board = found["c"]["measured_boundaries"]["gpu_board"]
    assert (board.value, board.low, board.high) == pytest.approx((1.6, 1.5, 1.7))
    assert (board.unit, board.provenance, board.name) == ("1", "measured", "device/c/whole machine over gpu_board")
    assert "in 2 runs of this experiment" in board.source
    package = found["c"]["measured_boundaries"]["cpu_package"]
    assert (package.value, package.low, package.high) == (7.5, 7.5, 7.5)
    assert "in 1 run of" in package.source
    assert "idle_watts" not in found["c"]


@pytest.mark.parametrize(
    "spoilt",
    [
        [of_run(1, "gpu_board", 100.0)],
        [of_run(1, "gpu_board", 100.0), of_run(2, "wall", 150.0)],
        [of_run(1, "gpu_board", 100.0), of_run(1, "wall", None)],
        [of_run(1, "gpu_board", 0.0), of_run(1, "wall", 150.0)],
        [of_run(1, "gpu_board", 100.0), of_run(1, "wall", 150.0, status="partial")],
        [of_run(1, "gpu_board", 100.0), of_run(1, "wall", 150.0, provenance="estimated")],
        [of_run(1, "gpu_board", 100.0, provenance="estimated"), of_run(1, "wall", 150.0)],
        [of_run(1, "gpu_board", 100.0, coverage=0.9), of_run(1, "wall", 150.0)],
        [of_run(1, "gpu_board", 100.0, coverage=None), of_run(1, "wall", 150.0)],
        [of_run(1, "gpu_board", 100.0, window="idle_before"), of_run(1, "wall", 150.0)],
        # A battery beside a wall meter is charged or drained.
        [of_run(1, "battery", 100.0), of_run(1, "wall", 150.0)],
        [of_run(9, "gpu_board", 100.0), of_run(9, "wall", 150.0)],
    ],
)
def test_what_is_no_measurement_of_both_is_left_out(spoilt):
    assert measured_facts(RUNS, spoilt) == {}


def test_a_modelled_record_measures_nothing():
    modelled = [gpu_run(repeat, record_kind="modelled", idle_watts=30.0) for repeat in (1, 2)]
    assert measured_facts(modelled, TOTALS) == {}


def test_what_follows_from_a_model_is_known_as_modelled_and_an_estimate_as_nothing():
    totals = [of_run(1, "cpu_package", 20.0, provenance="modelled"), of_run(1, "wall", 50.0)]
    assert measured_facts(RUNS, totals)["c"]["measured_boundaries"]["cpu_package"].provenance == "modelled"
    idle = [gpu_run(1, idle_watts=60.0), gpu_run(2, idle_watts=90.0, provenance="modelled")]
    assert measured_facts(idle, [])["c"]["idle_watts"].provenance == "modelled"
    assert measured_facts([gpu_run(1, idle_watts=60.0, provenance="estimated")], []) == {}


def test_idle_draw_is_the_runs_own():
    idle = measured_facts([gpu_run(1, idle_watts=60.0), gpu_run(2, idle_watts=90.0), gpu_run(3)], [])["c"]["idle_watts"]
    assert (idle.value, idle.low, idle.high, idle.unit, idle.provenance) == (75.0, 60.0, 90.0, "W", "measured")


def test_the_mean_of_equal_runs_is_no_range():
    """Three times 0.1 add up to more than 0.3."""
    idle = measured_facts([gpu_run(repeat, idle_watts=0.1) for repeat in (1, 2, 3)], [])["c"]["idle_watts"]
    assert idle.low == idle.value == idle.high


def test_a_measured_factor_goes_before_the_assumed_one_and_is_named(tmp_path):
    devices = {"c": facts("cloud"), "d": facts("cloud")}
    devices["c"] |= measured_facts(RUNS, TOTALS)["c"]
    runs = [*RUNS, run("d", "cloud", boundary="gpu_board")]
    result = evaluate(scenario(tmp_path, **certain()), INPUTS, devices, runs)
    row = total(result, "c", "sunk")
    assert row["overhead_factor"] == pytest.approx(1.6 * 1.1)
    assert row["operational_grams"] == pytest.approx(1.6 * 1.1 * 400)
    # Another device's machine is not known by it.
    assert total(result, "d", "sunk")["overhead_factor"] == pytest.approx(1.3 * 1.1)
    named = {row["name"]: row for row in result.assumptions}
    factor = named["device/c/whole machine over gpu_board"]
    assert (factor["used_by"], factor["provenance"]) == ("c", "measured")
    assert named["boundary_factor/around-gpu-board"]["used_by"] == "d"


def test_a_factor_to_the_plug_has_the_charger_inside(tmp_path):
    """A laptop: what a wall meter saw of a chip's energy has been through the charger already."""
    laptop = run("l", "edge", boundary="soc", idle_watts=None)
    totals = [of_run(1, "soc", 100.0, "l"), of_run(1, "wall", 140.0, "l")]
    plain = facts("edge", battery=True)
    found = {"l": {**plain, **measured_facts([laptop], totals)["l"]}}
    known, assumed = (
        evaluate(scenario(tmp_path, **certain()), INPUTS, devices, [laptop]) for devices in (found, {"l": plain})
    )
    assert total(known, "l")["overhead_factor"] == pytest.approx(1.4)
    assert total(assumed, "l")["overhead_factor"] == pytest.approx(1.2 * 1.15)
    assert "charger_factor/marginal" not in {row["name"] for row in known.assumptions}


def test_measured_idle_is_what_empty_hours_draw(tmp_path):
    runs = [gpu_run(1, joules=KWH, hours=2.0, idle_watts=50.0)]
    devices = {"c": {**facts("cloud"), **measured_facts(runs, [])["c"]}}
    charged = certain(cloud__idle_share=literal(0.9))
    result = evaluate(scenario(tmp_path, **charged), INPUTS, devices, runs)
    assert total(result, "c")["operational_grams"] == pytest.approx((1 + 0.05 * 2) * 1.3 * 1.1 * 400)


def test_runs_and_totals_come_from_their_files_as_the_database_has_them(tmp_path):
    names = ("b", "a")
    paths = [synthetic.write_run(tmp_path, synthetic.record(f"synthetic-opt/{name}/r1")) for name in names]
    build_database(tmp_path / "x.duckdb", paths)
    with connect(tmp_path / "x.duckdb") as connection:
        wanted = connection.sql(
            'SELECT run_id, "window", boundary, joules, provenance, status, coverage FROM run_totals ORDER BY run_id'
        )
        expected = [dict(zip(wanted.columns, row, strict=True)) for row in wanted.fetchall()]
    runs, totals = read_runs_and_totals(paths)
    assert runs == read_runs(paths)
    assert [run["device"] for run in runs] == ["a", "b"]
    assert len(expected) == 2
    assert sorted(totals, key=str) == sorted(expected, key=str)
    assert [row["run_id"] for row in totals] == [row["run_id"] for row in expected]
    assert read_runs_and_totals([]) == ([], [])
