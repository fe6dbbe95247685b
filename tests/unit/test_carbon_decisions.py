"""What is asked of pairs beside their verdict: kept by content, and the standard table and maps against the model."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from carbon_cases import INPUTS, KWH, certain, facts, literal, run, scenario, verdict

from edgecarbon import kept
from edgecarbon.carbon import decisions
from edgecarbon.carbon.breakeven import MAP_CELLS, break_even_map, break_even_rows, map_rows
from edgecarbon.carbon.decisions import PER_PAIR, decision_rows, fingerprint
from edgecarbon.carbon.draws import Plan
from edgecarbon.carbon.evaluation import evaluate
from edgecarbon.carbon.sensitivity import center_ratio, sensitivity_rows
from edgecarbon.carbon.standard import standard_rows
from edgecarbon.errors import UserError
from edgecarbon.store.schema import SCENARIO_TABLES

DEVICES = {"c": facts("cloud"), "e": facts("edge")}
RUNS = [run("c", "cloud", 2 * KWH), run("e", "edge", KWH, 200.0)]
QUICK = {"draws": 200, "sensitivity": {"sobol_samples": 16, "morris_trajectories": 4}}
PRICES = {"currency": "USD", "tariff": literal(0.3, "USD/kWh"), "battery_price": literal(40, "USD")}


def judged(folder: Path, runs: list[dict[str, Any]] = RUNS, devices: dict[str, Any] = DEVICES, **changes: Any):
    return evaluate(scenario(folder, **{**QUICK, **changes}), INPUTS, devices, runs)


def decided(folder: Path, cache: Path | None, code: str = "one", runs: list[dict[str, Any]] = RUNS, **changes: Any):
    result = judged(folder, runs, **changes)
    return decision_rows(result.judge, result.pairs, [], cache, code)


# --- the cache


def test_equal_questions_are_worked_out_once(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    fresh = decided(tmp_path, None, owner=PRICES)
    assert not cache.exists()
    first = decided(tmp_path, cache, owner=PRICES)
    (file,) = cache.iterdir()
    assert json.loads(kept.read(file)).keys() == set(PER_PAIR)
    monkeypatch.setattr(decisions, "sensitivity_rows", lambda *_: pytest.fail("it was worked out again"))
    again = decided(tmp_path, cache, owner=PRICES)
    assert fresh == first == again
    assert all(fresh[name] for name in PER_PAIR)
    assert [path.name for path in cache.iterdir()] == [file.name]


@pytest.mark.parametrize(
    "change",
    [
        {"code": "two"},
        {"seed": 2},
        {"draws": 300},
        {"runs": [RUNS[0], run("e", "edge", 1.01 * KWH, 200.0)]},
        {"runs": [RUNS[0], run("e", "edge", KWH, 201.0)]},
        {"runs": [RUNS[0], run("e", "edge", KWH, 200.0, tokens=1_000_001)]},
        {"runs": [*RUNS, run("e", "edge", KWH, 200.0, repeat=2)]},
        {"edge__utilisation": literal(0.2, low=0.05, high=0.6)},
        {"cloud__pue": literal(1.1)},
        {"boundaries__wall": literal(1.0, high=1.01)},
        {"cloud__idle_share": literal(0.3)},
        {"edge__practice": {"churn": literal(1.1)}},
        {"edge__life_lost_per_hour": literal(0.1, "h/h")},
        {"traffic__bytes_per_token": literal(2, "B/token")},
        {"traffic__weights_every_steps": 10},
        {"counterfactual": {"edge_already_on": True}},
        {"counterfactual": {"cloud_hardware_avoided": literal(0.5)}},
        {"owner": PRICES},
        {"owner": {**PRICES, "tariff": literal(0.31, "USD/kWh")}, "told": {"owner": PRICES}},
        {"attributions": ["sunk"]},
        {"energy": "net"},
        {"sensitivity": {"sobol_samples": 32, "morris_trajectories": 4}},
        {"cloud__attribution": "as_edge"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_counts_makes_another_file(tmp_path, change):
    code, runs = change.get("code", "one"), change.get("runs", RUNS)
    others = {name: value for name, value in change.items() if name not in ("code", "runs", "told")}
    before, after = judged(tmp_path, **change.get("told", {})), judged(tmp_path, runs, **others)
    prints = fingerprint(before.judge, before.pairs[0], "one"), fingerprint(after.judge, after.pairs[0], code)
    assert prints[0] != prints[1]


def test_what_plays_no_part_leaves_the_file_as_it_is(tmp_path):
    """A prior of something that no device here is made of, another device, the words of the scenario."""
    entries = INPUTS.embodied.entries
    phone = entries["snapdragon-888-phone"]
    changed = {**entries, "snapdragon-888-phone": phone.model_copy(update={"value": phone.value + 1})}
    others = replace(INPUTS, embodied=replace(INPUTS.embodied, entries=changed))
    first = judged(tmp_path)
    second = evaluate(scenario(tmp_path, **QUICK, title="Other words"), others, DEVICES, RUNS)
    third = judged(tmp_path, [*RUNS, run("f", "edge")], {**DEVICES, "f": facts("edge")})
    prints = {fingerprint(one.judge, one.pairs[0], "one") for one in (first, second, third)}
    assert len(prints) == 1
    assert len({fingerprint(third.judge, pair, "one") for pair in third.pairs}) == 2


@pytest.mark.parametrize("name", ["numpy", "scipy", "SALib"])
def test_another_version_of_a_library_makes_another_file(tmp_path, monkeypatch, name):
    result = judged(tmp_path)
    before = fingerprint(result.judge, result.pairs[0], "one")
    assert decisions.LIBRARIES[name] == version(name)
    monkeypatch.setitem(decisions.LIBRARIES, name, "0.0")
    assert fingerprint(result.judge, result.pairs[0], "one") != before


def test_a_damaged_file_is_worked_out_anew(tmp_path):
    cache = tmp_path / "cache"
    once = decided(tmp_path, cache)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    assert decided(tmp_path, cache) == once
    assert file.read_bytes() == whole


def test_rows_have_the_columns_of_their_tables(tmp_path):
    rows = decided(tmp_path, None, owner=PRICES)
    schemas = {table.name: table.arrow_schema() for table in SCENARIO_TABLES if table.name in PER_PAIR}
    assert schemas.keys() == set(PER_PAIR)
    for name, schema in schemas.items():
        assert {column for row in rows[name] for column in row} == set(schema.names)
        assert pa.Table.from_pylist(rows[name], schema).num_rows == len(rows[name])


def test_a_run_without_an_energy_has_no_decisions(tmp_path):
    rows = decided(tmp_path, tmp_path / "cache", runs=[RUNS[0], run("e", "edge", None)], owner=PRICES)
    assert all(rows[name] == [] for name in PER_PAIR)


def test_a_run_that_outlives_its_device_at_the_end_of_a_range_is_told(tmp_path):
    """No draw of the verdict has the longest run and the shortest life at once; a corner of a map has."""
    changes = certain(
        edge__lifetime=literal(4, "years", 1, 8), edge__grid=literal(10, "gCO2e/kWh"),
        edge__practice={"availability": literal(1, low=0.25)},
    )  # fmt: skip
    with pytest.raises(
        UserError, match=r"test\.yaml: 'c' beside 'e', workload 'w': used_hours_for_run: .* longer than"
    ):
        decided(tmp_path, None, runs=[RUNS[0], run("e", "edge", KWH, 1.02 * 8760 / 4)], **changes)


# --- the standard table


def test_the_standard_table_is_the_scenario_with_those_numbers(tmp_path):
    told = judged(tmp_path)
    rows = standard_rows(told.judge, told.pairs[0])
    assert len(rows) == 4 * 4
    for years in (2.0, 4.0):
        for used in (0.2, 0.8):
            changes = {"edge__lifetime": literal(years, "years"), "edge__utilisation": literal(used)}
            alone = judged(tmp_path, **changes)
            for row in (one for one in rows if (one["lifetime_years"], one["utilisation"]) == (years, used)):
                found = verdict(alone, row["attribution"])
                for name in ("ratio_cloud_over_edge", "ratio_low", "ratio_high", "probability_edge_wins"):
                    assert row[name] == pytest.approx(found[name], rel=1e-12)


def test_a_run_longer_than_a_conventions_lifetime_has_no_figure_there(tmp_path):
    told = judged(tmp_path, [RUNS[0], run("e", "edge", hours=3 * 8760.0)], **certain())
    rows = standard_rows(told.judge, told.pairs[0])
    assert {row["lifetime_years"] for row in rows if row["ratio_cloud_over_edge"] is None} == {2.0}
    assert {row["lifetime_years"] for row in rows if row["ratio_cloud_over_edge"] is not None} == {4.0}
    assert all(row["probability_edge_wins"] is None for row in rows if row["lifetime_years"] == 2.0)


# --- break-even and maps


def test_the_deciding_input_is_the_one_nearest_to_its_range(tmp_path):
    told = judged(tmp_path)
    (pair,), judge = told.pairs, told.judge
    sensitivity = sensitivity_rows(judge, pair)
    for index, row in enumerate(break_even_rows(judge, pair, sensitivity)):
        assert row["ratio_default"] == pytest.approx(center_ratio(judge, pair)[index])
        assert row["energy_ratio"] == pytest.approx(2.0)
        assert row["break_even_low"] < row["break_even_ratio"] < row["break_even_high"]
        assert (row["ratio_default"] > 1) == (row["energy_ratio"] > row["break_even_ratio"])
        turning = {
            one["input"]: one
            for one in sensitivity
            if one["attribution"] == row["attribution"] and one["reversal_distance"] is not None
        }
        beyond = {name: max(one["reversal_distance"], 1) for name, one in turning.items()}
        assert (row["deciding_input"] is None) is (not turning)
        if turning:
            assert row["deciding_distance"] == turning[row["deciding_input"]]["reversal_distance"]
            assert beyond[row["deciding_input"]] == min(beyond.values())
    assert any(row["deciding_input"] for row in break_even_rows(judge, pair, sensitivity))


def test_of_inputs_that_turn_it_within_their_range_the_one_nearest_to_its_default_decides(tmp_path):
    """What may be nothing at all is no nearer for it: it would have to fall to a fiftieth, a life by a twentieth."""
    told = judged(tmp_path)
    row = {"attribution": "time_share", "unit": "1"}
    sensitivity = [
        {**row, "input": "share", "value": 0.5, "reversal_value": 0.01, "reversal_distance": 0.0},
        {**row, "input": "life", "value": 4.0, "reversal_value": 3.8, "reversal_distance": 0.8},
        {**row, "input": "grid", "value": 400.0, "reversal_value": 404.0, "reversal_distance": 1.005},
    ]
    for members, expected in ((sensitivity, "life"), (sensitivity[::2], "share"), (sensitivity[2:], "grid")):
        rows = break_even_rows(told.judge, told.pairs[0], members)
        (decided_by,) = (one["deciding_input"] for one in rows if one["attribution"] == "time_share")
        assert decided_by == expected


def test_a_map_is_one_evaluation_a_cell(tmp_path):
    told = judged(tmp_path)
    (pair,), judge = told.pairs, told.judge
    by_name = {one.name: one for one in pair.inputs(judge)}
    across, up = by_name["utilisation/owner"], by_name["embodied/raspberry-pi"]
    found = break_even_map(judge, pair, (across, np.array([0.1, 0.4])), (up, np.array([3.0, 5.0, 9.0])))
    assert found.shape == (4, 3, 2)
    for row, made_kg in enumerate((3.0, 5.0, 9.0)):
        for column, used in enumerate((0.1, 0.4)):
            plan = Plan(1, fixed={"utilisation/owner": used, "embodied/raspberry-pi": made_kg})
            assert found[:, row, column] == pytest.approx(pair.ratio(judge, plan)[:, 0])


def test_maps_span_the_two_inputs_that_decide_most(tmp_path):
    told = judged(tmp_path)
    (pair,), judge = told.pairs, told.judge
    sensitivity = sensitivity_rows(judge, pair)
    maps = {row["attribution"]: row for row in map_rows(judge, pair, sensitivity)}
    assert list(maps) == judge.scenario.settings.attributions
    for variant, row in maps.items():
        mine = [one for one in sensitivity if one["attribution"] == variant]
        ranked = sorted(mine, key=lambda one: -one["sobol_total"])
        assert [row["x_input"], row["y_input"]] == [one["input"] for one in ranked[:2]]
        assert len(row["x_values"]) == len(row["y_values"]) == MAP_CELLS
        assert len(row["ratios"]) == MAP_CELLS**2
        assert (row["x_values"][0], row["x_values"][-1]) == pytest.approx((ranked[0]["low"], ranked[0]["high"]))
        # Row after row: the last of the first row is the far end of x beside the near end of y.
        plan = Plan(1, fixed={row["x_input"]: row["x_values"][-1], row["y_input"]: row["y_values"][0]})
        index = judge.scenario.settings.attributions.index(variant)
        assert row["ratios"][MAP_CELLS - 1] == pytest.approx(pair.ratio(judge, plan)[index, 0])
