"""A scenario applied to runs: the worked example end to end, intervals, verdicts, caveats, and what is refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecarbon.carbon import draws, tables
from edgecarbon.carbon.evaluation import evaluate
from edgecarbon.config.inputs import load_inputs
from edgecarbon.config.scenario import Assumption, load_scenario
from edgecarbon.errors import UserError

CONFIG = Path(__file__).resolve().parents[2] / "config"
INPUTS = load_inputs(CONFIG / "inputs")
DEFAULT = yaml.safe_load((CONFIG / "scenarios/default.yaml").read_text(encoding="utf-8"))
KWH = 3.6e6


def literal(value: float, unit: str = "1", low: float | None = None, high: float | None = None) -> dict[str, Any]:
    text = {"source": "made for a test", "boundary": "made for a test", "licence": "made for a test"}
    ends = {"low": value if low is None else low, "high": value if high is None else high}
    return {"value": float(value), "unit": unit, **ends, "year": 2025, "provenance": "modelled", **text}


def scenario(folder: Path, **changes: Any):
    """The default scenario with fields replaced; `cloud__pue` is the field `pue` of the section `cloud`."""
    data = copy.deepcopy(DEFAULT)
    for name, value in changes.items():
        *sections, field = name.split("__")
        target = data
        for section in sections:
            target = target[section]
        target[field] = value
    path = folder / "test.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return load_scenario(path, INPUTS)


def run(device: str, role: str, joules: float | None = KWH, hours: float = 1.0, **changes: Any) -> dict[str, Any]:
    row = {
        "workload": "w", "device": device, "repeat": 1, "role": role, "record_kind": "measured",
        "provenance": "measured", "boundary": "wall", "energy_joules": joules, "energy_uncertainty_joules": None, "energy_low_joules": joules,
        "energy_high_joules": joules, "energy_status": "absent" if joules is None else "complete",
        "net_energy_joules": None, "net_uncertainty_joules": None, "flags": [], "coverage": 1.0,
        "duration_s": hours * 3600, "steps": 100, "tokens": 1_000_000, "parameters": 1000, "sequence_length": 512,
        **changes,
    }  # fmt: skip
    return {**row, "run_id": f"{row['workload']}/{device}/r{row['repeat']}"}


def facts(role: str, **changes: Any) -> dict[str, Any]:
    embodied = "nvidia-rtx-a5000" if role == "cloud" else "raspberry-pi"
    return {"role": role, "embodied": embodied, "lifetime_years": None, "battery": False, **changes}


def total(result, device: str, attribution: str = "time_share", unit: str = "run", repeat: int = 1) -> dict[str, Any]:
    (row,) = (
        row
        for row in result.carbon
        if (row["device"], row["attribution"], row["functional_unit"], row["repeat"])
        == (device, attribution, unit, repeat)
    )
    return row


def verdict(result, attribution: str = "time_share") -> dict[str, Any]:
    (row,) = (row for row in result.verdicts if row["attribution"] == attribution)
    return row


# --- the worked example: 1 kWh at a GPU board against a phone, every number given as a literal

EXAMPLE = {
    "cloud__grid": literal(400, "gCO2e/kWh"),
    "edge__grid": literal(400, "gCO2e/kWh"),
    "boundaries__gpu_board": literal(1.3),
    "cloud__pue": literal(1.1),
    "cloud__lifetime": literal(5, "years"),
    "cloud__utilisation": literal(0.6),
    "cloud__host_embodied": None,
    "cloud__data_path": [],
    "edge__charger": literal(1.2),
    "edge__lifetime": literal(3, "years"),
    "edge__utilisation": literal(0.2),
    "edge__data_path": ["test-network"],
    "traffic__bytes_per_token": literal(10_000, "B/token"),
}


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    folder = tmp_path_factory.mktemp("example")
    inputs = folder / "inputs"
    inputs.mkdir()
    for path in (CONFIG / "inputs").iterdir():
        (inputs / path.name).write_bytes(path.read_bytes())
    for name, section, key, entry in (
        ("network.yaml", "segments", "test-network", literal(0.005, "kWh/GB")),
        (
            "embodied.yaml",
            "embodied",
            "test-phone",
            literal(67, "kgCO2e") | {"lifetime": "phone", "boundary": "whole_device"},
        ),
        (
            "embodied.yaml",
            "embodied",
            "test-board",
            literal(188, "kgCO2e") | {"lifetime": "cloud-gpu", "boundary": "gpu_board"},
        ),
    ):
        data = yaml.safe_load((inputs / name).read_text(encoding="utf-8"))
        data[section][key] = entry
        (inputs / name).write_text(yaml.safe_dump(data), encoding="utf-8")
    loaded = load_inputs(inputs)
    data = copy.deepcopy(DEFAULT)
    for name, value in EXAMPLE.items():
        section, field = name.split("__")
        data[section][field] = value
    (folder / "example.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    runs = [
        run("gpu", "cloud", KWH, 5.0, boundary="gpu_board"),
        run("phone", "edge", KWH / 2.5, 80.0, boundary="battery"),
    ]
    devices = {
        "gpu": facts("cloud", embodied="test-board"),
        "phone": facts("edge", embodied="test-phone", battery=True),
    }
    return evaluate(load_scenario(folder / "example.yaml", loaded), loaded, devices, runs)


def test_example_totals(example):
    cloud, phone = total(example, "gpu"), total(example, "phone")
    assert cloud["total_grams"] == pytest.approx(607.77, abs=5e-3)
    assert cloud["overhead_factor"] == pytest.approx(1.43)
    assert phone["operational_grams"] + phone["network_grams"] == pytest.approx(212.0, abs=0.05)
    assert phone["network_grams"] == pytest.approx(20.0)
    assert phone["embodied_grams"] == pytest.approx(203.96, abs=5e-3)
    for row in (cloud, phone):
        # Nothing has a range here, so the interval is the figure.
        assert row["total_low_grams"] == pytest.approx(row["total_grams"])
        assert row["total_high_grams"] == pytest.approx(row["total_grams"])


@pytest.mark.parametrize(
    ("attribution", "ratio", "winner"),
    [("sunk", 2.867, "edge"), ("time_share", 1.461, "edge"), ("used_hours", 0.493, "cloud")],
)
def test_example_verdicts_flip_with_the_attribution(example, attribution, ratio, winner):
    row = verdict(example, attribution)
    assert row["ratio_cloud_over_edge"] == pytest.approx(ratio, abs=5e-4)
    assert row["winner"] == winner
    assert row["probability_edge_wins"] == (1.0 if winner == "edge" else 0.0)
    assert row["flips"] is True


def test_example_names_every_assumption(example):
    rows = {row["name"]: row for row in example.assumptions}
    assert rows["embodied/test-board"]["used_by"] == "gpu"
    # The same literal on both sides is one grid.
    assert rows["scenario/cloud.grid"]["used_by"] == "gpu, phone"
    assert "scenario/edge.grid" not in rows
    assert all(row["source"] and row["low"] <= row["value"] <= row["high"] for row in example.assumptions)


# --- overhead by boundary


@pytest.mark.parametrize(
    ("role", "battery", "boundary", "expected"),
    [
        ("cloud", False, "gpu_board", 1.3 * 1.1),
        ("cloud", False, "cpu_package", 1.5 * 1.1),
        ("cloud", False, "cpu_package+dram", 1.35 * 1.1),
        ("cloud", False, "wall", 1.1),
        ("cloud", True, "battery", 1.1),
        ("edge", False, "gpu_board", 1.3),
        ("edge", False, "wall", 1.0),
        ("edge", True, "wall", 1.0),
        ("edge", True, "battery", 1.15),
        ("edge", True, "soc", 1.2 * 1.15),
        ("edge", False, "soc", 1.2),
        ("edge", False, None, 1.0),
    ],
)
def test_overhead_factor(tmp_path, role, battery, boundary, expected):
    result = evaluate(
        scenario(tmp_path), INPUTS, {"d": facts(role, battery=battery)}, [run("d", role, boundary=boundary)]
    )
    row = total(result, "d", "sunk")
    assert row["overhead_factor"] == pytest.approx(expected)
    assert row["operational_grams"] == pytest.approx(expected * row["intensity_g_per_kwh"])


def test_the_average_charger_costs_more_than_the_marginal(tmp_path):
    devices, runs = {"d": facts("edge", battery=True)}, [run("d", "edge", boundary="battery")]
    marginal, average = (
        total(evaluate(scenario(tmp_path, edge__charger=mode), INPUTS, devices, runs), "d")["overhead_factor"]
        for mode in ("marginal", "average")
    )
    assert (marginal, average) == pytest.approx((1.15, 3.19))


# --- attribution and embodied


def test_cloud_hardware_is_charged_by_used_hours_under_every_attribution(tmp_path):
    runs, devices = [run("d", "cloud")], {"d": facts("cloud", host_embodied="server-share-bloom")}
    charged = {
        row["embodied_grams"]
        for row in evaluate(scenario(tmp_path), INPUTS, devices, runs).carbon
        if row["functional_unit"] == "run"
    }
    assert list(charged) == [pytest.approx((188 + 312.5) * 1000 / (5 * 8760 * 0.6))]
    result = evaluate(scenario(tmp_path, cloud__attribution="as_edge"), INPUTS, devices, runs)
    by_name = {name: total(result, "d", name)["embodied_grams"] for name in DEFAULT["attributions"]}
    assert by_name["sunk"] == by_name["marginal_wear"] == 0
    assert by_name["time_share"] == pytest.approx(0.6 * by_name["used_hours"])


def test_a_whole_device_gets_no_server_around_it(tmp_path):
    result = evaluate(
        scenario(tmp_path), INPUTS, {"d": facts("cloud", embodied="generic-computer")}, [run("d", "cloud")]
    )
    assert [row["name"] for row in result.assumptions if row["name"].startswith("embodied/")] == [
        "embodied/generic-computer"
    ]


def test_marginal_wear_is_the_batterys(tmp_path):
    devices = {
        "phone": facts("edge", embodied="snapdragon-888-phone", battery=True),
        "board": facts("edge"),
    }
    runs = [run("phone", "edge", 17.0 * 3600, boundary="battery"), run("board", "edge")]
    result = evaluate(scenario(tmp_path), INPUTS, devices, runs)
    assert total(result, "phone", "marginal_wear")["embodied_grams"] == pytest.approx(50_000 * 0.03 / 500)
    assert total(result, "board", "marginal_wear")["embodied_grams"] == 0
    worn = evaluate(scenario(tmp_path, edge__life_lost_per_hour=literal(0.5, "h/h")), INPUTS, devices, runs)
    assert total(worn, "board", "marginal_wear")["embodied_grams"] == pytest.approx(5_000 * 0.5 / (5 * 8760))


def test_a_devices_own_facts_go_first_unless_the_scenario_says_otherwise(tmp_path):
    device = facts("edge", lifetime_years=2.0, owner_utilisation=0.5, grid_zone="FRA")
    changes = {"edge__lifetime": literal(4, "years")}
    runs = [run("d", "edge")]
    own = evaluate(scenario(tmp_path, **changes), INPUTS, {"d": device}, runs)
    forced = evaluate(scenario(tmp_path, device_facts_first=False, **changes), INPUTS, {"d": device}, runs)
    assert total(own, "d")["intensity_g_per_kwh"] == pytest.approx(44.179, abs=1e-3)
    assert total(own, "d", "used_hours")["embodied_grams"] == pytest.approx(5000 / (2 * 8760 * 0.5))
    assert total(forced, "d")["intensity_g_per_kwh"] == pytest.approx(383.549, abs=1e-3)
    assert total(forced, "d", "used_hours")["embodied_grams"] == pytest.approx(5000 / (4 * 8760 * 0.2))
    names = {row["name"] for row in own.assumptions}
    assert {"device/d/lifetime", "device/d/utilisation", "grid/FRA/2024"} <= names


def test_a_scenarios_lifetime_holds_for_devices_that_state_none(tmp_path):
    runs, devices = [run("d", "edge")], {"d": facts("edge", lifetime="phone")}
    usual, asked = (
        total(evaluate(scenario(tmp_path, **changes), INPUTS, devices, runs), "d")["embodied_grams"]
        for changes in ({}, {"edge__lifetime": literal(2, "years")})
    )
    assert (usual, asked) == pytest.approx((5000 / (3 * 8760), 5000 / (2 * 8760)))


# --- functional units, network, net energy


def test_functional_units_divide_the_run(tmp_path):
    result = evaluate(scenario(tmp_path), INPUTS, {"d": facts("edge")}, [run("d", "edge", tokens=4_000_000)])
    per_run, per_step, per_million = (total(result, "d", unit=unit) for unit in ("run", "step", "million_tokens"))
    for field in (
        "operational_grams",
        "embodied_grams",
        "network_grams",
        "total_grams",
        "total_high_grams",
        "energy_joules",
    ):
        assert per_step[field] == pytest.approx(per_run[field] / 100)
        assert per_million[field] == pytest.approx(per_run[field] / 4)
    parts = per_run["operational_grams"] + per_run["embodied_grams"] + per_run["network_grams"]
    assert per_run["total_grams"] == pytest.approx(parts)


def test_weights_are_moved_both_ways_over_every_segment(tmp_path):
    changes = {"traffic__weights_every_steps": 30, "edge__data_path": [], "edge__weights_path": ["fixed-network"] * 2}
    result = evaluate(scenario(tmp_path, **changes), INPUTS, {"d": facts("edge")}, [run("d", "edge", parameters=10**9)])
    gigabytes = 3 * 2 * 4  # three exchanges in 100 steps, there and back, four bytes a parameter
    expected = gigabytes * 2 * 0.00265 * 383.5492
    assert total(result, "d")["network_grams"] == pytest.approx(expected)


def test_net_energy_is_charged_when_asked(tmp_path):
    with_idle = run("d", "edge", net_energy_joules=KWH / 4, net_uncertainty_joules=KWH / 100)
    result = evaluate(scenario(tmp_path, energy="net"), INPUTS, {"d": facts("edge")}, [with_idle])
    row = total(result, "d", "sunk")
    assert row["operational_grams"] == pytest.approx(383.5492 / 4)
    assert row["energy_joules"] == KWH / 4


def test_net_energy_falls_back_to_gross_only_with_a_caveat(tmp_path):
    runs = [run("c", "cloud"), run("e", "edge", net_energy_joules=1.0, net_uncertainty_joules=0.1)]
    result = evaluate(scenario(tmp_path, energy="net"), INPUTS, {"c": facts("cloud"), "e": facts("edge")}, runs)
    assert total(result, "c", "sunk")["energy_joules"] == KWH
    assert verdict(result)["comparable"] is False
    assert "c: no idle was measured, gross energy is charged" in verdict(result)["caveat"]


# --- intervals


def test_equal_arguments_give_equal_rows_and_a_seed_moves_them_little(tmp_path):
    devices = {"c": facts("cloud"), "e": facts("edge")}
    runs = [run("c", "cloud", boundary="gpu_board"), run("e", "edge")]
    once, again = (evaluate(scenario(tmp_path), INPUTS, devices, runs) for _ in range(2))
    assert once == again
    other = evaluate(scenario(tmp_path, seed=7), INPUTS, devices, runs)
    assert other != once
    assert verdict(other)["ratio_cloud_over_edge"] == pytest.approx(verdict(once)["ratio_cloud_over_edge"], rel=0.03)


def test_another_device_moves_no_draw(tmp_path):
    devices = {"c": facts("cloud"), "e": facts("edge"), "f": facts("edge")}
    runs = [run("c", "cloud"), run("e", "edge"), run("f", "edge", 2 * KWH)]
    alone = evaluate(scenario(tmp_path), INPUTS, devices, runs[:2])
    together = evaluate(scenario(tmp_path), INPUTS, devices, runs)
    assert [row for row in together.carbon if row["device"] != "f"] == alone.carbon
    assert [row for row in together.verdicts if row["edge_device"] != "f"] == alone.verdicts


def test_a_shared_grid_cancels_in_the_ratio(tmp_path):
    """Same machine on both sides, everything certain but the grid: the ratio has no width, the totals do."""
    certain = {
        "cloud__pue": "none", "cloud__data_path": [], "edge__data_path": [], "attributions": ["sunk"],
        "cloud__attribution": "as_edge",
    }  # fmt: skip
    runs = [run("c", "cloud", 2 * KWH), run("e", "edge")]
    result = evaluate(scenario(tmp_path, **certain), INPUTS, {"c": facts("cloud"), "e": facts("edge")}, runs)
    row = verdict(result, "sunk")
    assert (row["ratio_low"], row["ratio_high"]) == pytest.approx((2.0, 2.0))
    wide = total(result, "e", "sunk")
    assert wide["total_low_grams"] < 0.93 * wide["total_grams"] < 1.07 * wide["total_grams"] < wide["total_high_grams"]
    apart = evaluate(
        scenario(tmp_path, **certain, edge__grid={"zone": "GBR", "year": 2024}),
        INPUTS, {"c": facts("cloud"), "e": facts("edge")}, runs,
    )  # fmt: skip
    row = verdict(apart, "sunk")
    assert row["ratio_low"] < 0.95 * row["ratio_cloud_over_edge"]


def test_the_energys_interval_reaches_the_total(tmp_path):
    sure = run("d", "edge", net_energy_joules=None)
    unsure = run("d", "edge", energy_low_joules=KWH / 2, energy_high_joules=2 * KWH)
    rows = [total(evaluate(scenario(tmp_path), INPUTS, {"d": facts("edge")}, [one]), "d") for one in (sure, unsure)]
    widths = [row["total_high_grams"] - row["total_low_grams"] for row in rows]
    assert rows[0]["total_grams"] == rows[1]["total_grams"]
    assert widths[1] > 3 * widths[0]


def test_a_missing_interval_follows_from_the_uncertainty(tmp_path):
    plain = {"energy_low_joules": None, "energy_high_joules": None}
    stated = run("d", "edge", energy_low_joules=0.804 * KWH, energy_high_joules=1.196 * KWH)
    derived = run("d", "edge", energy_uncertainty_joules=0.1 * KWH, **plain)
    low, high = (
        [
            total(evaluate(scenario(tmp_path), INPUTS, {"d": facts("edge")}, [one]), "d")[f"total_{end}_grams"]
            for one in (stated, derived)
        ]
        for end in ("low", "high")
    )
    assert low[0] == pytest.approx(low[1], rel=1e-3)
    assert high[0] == pytest.approx(high[1], rel=1e-3)


def test_scatter_of_repeats_widens_the_verdict(tmp_path):
    devices, cloud = {"c": facts("cloud"), "e": facts("edge")}, run("c", "cloud")
    steady = [run("e", "edge", repeat=number) for number in (1, 2, 3, 4)]
    shaky = [run("e", "edge", KWH * factor, repeat=number) for number, factor in enumerate((0.4, 0.8, 1.2, 1.6), 1)]
    calm, wild = (verdict(evaluate(scenario(tmp_path), INPUTS, devices, [cloud, *edge])) for edge in (steady, shaky))
    assert wild["ratio_high"] / wild["ratio_low"] > 1.3 * calm["ratio_high"] / calm["ratio_low"]


@given(st.floats(0.001, 100), st.floats(0.1, 1.0), st.floats(1.0, 10.0))
@settings(max_examples=50, deadline=None)
def test_the_default_is_the_median_of_its_prior_wherever_it_lies(value, below, above):
    uniform = (np.arange(1000) + 0.5) / 1000
    drawn = draws.split_log_uniform(uniform, value * below, value, value * above)
    assert np.median(drawn) == pytest.approx(value, rel=0.01)
    assert drawn.min() >= value * below * (1 - 1e-12)
    assert drawn.max() <= value * above * (1 + 1e-12)
    assert (np.diff(drawn) >= 0).all()


@pytest.mark.parametrize(("low", "value", "high"), [(0.0, 0.0, 5.0), (0.0, 2.0, 5.0), (0.0, 0.0, 0.0)])
def test_a_range_from_zero_is_drawn_too(low, value, high):
    drawn = draws.split_log_uniform((np.arange(1000) + 0.5) / 1000, low, value, high)
    assert np.median(drawn) == pytest.approx(value, abs=0.01)
    assert drawn.min() >= low
    assert drawn.max() <= high


@pytest.mark.parametrize(("value", "low", "high"), [(100.0, 50.0, 400.0), (100.0, 99.0, 101.0), (10.0, 0.0, 40.0)])
def test_energy_draws_have_the_interval_that_was_stated(value, low, high):
    normal = draws.Draws(1, 20_000).normal("test")
    drawn = draws.interval_draws(normal, *(np.array([one]) for one in (value, low, high)))
    assert drawn.shape == (1, 20_000)
    assert np.quantile(drawn[0], (0.025, 0.5, 0.975)) == pytest.approx((low, value, high), rel=0.01, abs=0.05)
    assert drawn.min() >= 0


def test_draws_by_name():
    one, other = draws.Draws(1, 500), draws.Draws(1, 500)
    assumption = Assumption("a", 2.0, 1.0, 4.0, "1", "s", 2025, "b", "l", "modelled")
    other.uniform("something else")
    assert np.array_equal(one.of(assumption), other.of(assumption))
    assert one.of(assumption) is one.of(assumption)
    assert not np.array_equal(one.uniform("a"), one.uniform("b"))
    assert np.array_equal(np.sort(np.floor(one.uniform("a") * 500)), np.arange(500))


# --- properties of the whole


@given(st.floats(0.0, 900.0), st.floats(0.0, 900.0))
@settings(max_examples=20, deadline=None)
def test_a_dirtier_grid_never_lowers_a_total(tmp_path_factory, one, other):
    folder = tmp_path_factory.mktemp("grid")
    totals = [
        total(
            evaluate(
                scenario(folder, draws=100, edge__grid=literal(intensity, "gCO2e/kWh")),
                INPUTS, {"d": facts("edge")}, [run("d", "edge")],
            ),
            "d",
        )["total_grams"]
        for intensity in sorted((one, other))
    ]  # fmt: skip
    assert totals[0] <= totals[1]


@given(st.floats(0.5, 2000.0), st.floats(0.05, 1.0))
@settings(max_examples=20, deadline=None)
def test_attributions_are_in_order(tmp_path_factory, hours, used):
    folder = tmp_path_factory.mktemp("order")
    result = evaluate(
        scenario(folder, draws=100, edge__utilisation=literal(used)),
        INPUTS,
        {"d": facts("edge")},
        [run("d", "edge", hours=hours)],
    )
    sunk, time_share, used_hours = (
        total(result, "d", name)["total_grams"] for name in ("sunk", "time_share", "used_hours")
    )
    assert sunk <= time_share <= used_hours


def test_the_verdict_is_for_equal_work_and_does_not_change_with_its_amount(tmp_path):
    devices = {"c": facts("cloud"), "e": facts("edge")}
    same = evaluate(scenario(tmp_path), INPUTS, devices, [run("c", "cloud"), run("e", "edge")])
    tenfold = run("e", "edge", 10 * KWH, 10.0, tokens=10_000_000, steps=1000)
    more = evaluate(scenario(tmp_path), INPUTS, devices, [run("c", "cloud"), tenfold])
    for name in DEFAULT["attributions"]:
        assert verdict(more, name)["ratio_cloud_over_edge"] == pytest.approx(
            verdict(same, name)["ratio_cloud_over_edge"]
        )


# --- verdicts and caveats


@pytest.mark.parametrize(
    ("cloud", "edge", "says"),
    [
        ({"energy_status": "partial"}, {}, "c: energy is partial"),
        ({}, {"energy_status": "partial", "coverage": 0.5}, "e: energy is partial"),
        ({"boundary": "gpu_board", "energy_status": "partial", "flags": ["partial"]}, {"boundary": "gpu_board"},
         "c: only the GPU board is in the energy, a factor adds its host"),
        ({"boundary": "gpu_board"}, {}, "boundaries differ (gpu_board against wall): factors bring both to the plug"),
        ({}, {"provenance": "estimated"}, "e: energy is estimated, no sensor was read"),
        ({}, {"flags": ["short", "wrapped"]}, "e: flagged short"),
        ({"boundary": None}, {"boundary": None}, "c: what its energy covers is not known"),
        ({}, {"parameters": 2000}, "the work differs in parameters"),
        ({}, {"energy_joules": None, "energy_status": "absent"}, "e: no energy"),
    ],
)  # fmt: skip
def test_a_doubtful_pair_is_compared_and_marked(tmp_path, cloud, edge, says):
    runs = [run("c", "cloud", **cloud), run("e", "edge", **edge)]
    row = verdict(evaluate(scenario(tmp_path), INPUTS, {"c": facts("cloud"), "e": facts("edge")}, runs))
    assert row["comparable"] is False
    assert says in row["caveat"]


def test_a_sound_pair_needs_no_caveat(tmp_path):
    result = evaluate(
        scenario(tmp_path), INPUTS, {"c": facts("cloud"), "e": facts("edge")}, [run("c", "cloud"), run("e", "edge")]
    )
    assert (verdict(result)["comparable"], verdict(result)["caveat"]) == (True, None)


def test_a_modelled_device_is_noted_and_still_comparable(tmp_path):
    runs = [run("c", "cloud", record_kind="modelled", provenance="modelled"), run("e", "edge")]
    row = verdict(evaluate(scenario(tmp_path), INPUTS, {"c": facts("cloud"), "e": facts("edge")}, runs))
    assert (row["comparable"], row["caveat"]) == (True, "c is modelled from its data sheet, not measured")


def test_an_absent_energy_leaves_gaps_and_no_winner(tmp_path):
    runs = [run("c", "cloud"), run("e", "edge", None)]
    result = evaluate(scenario(tmp_path), INPUTS, {"c": facts("cloud"), "e": facts("edge")}, runs)
    row = total(result, "e")
    assert row["operational_grams"] is row["total_grams"] is row["total_low_grams"] is row["energy_joules"] is None
    assert row["embodied_grams"] == pytest.approx(5000 / (5 * 8760))
    assert total(result, "e", "marginal_wear")["embodied_grams"] is None
    assert (verdict(result)["winner"], verdict(result)["probability_edge_wins"]) == ("unclear", None)
    assert verdict(result)["flips"] is False


def test_one_absent_repeat_is_told_and_left_out(tmp_path):
    runs = [run("c", "cloud"), run("e", "edge"), run("e", "edge", None, repeat=2)]
    row = verdict(evaluate(scenario(tmp_path), INPUTS, {"c": facts("cloud"), "e": facts("edge")}, runs))
    assert "e: no energy in w/e/r2, left out of the average" in row["caveat"]
    assert row["ratio_cloud_over_edge"] > 0


def test_every_cloud_device_meets_every_edge_device_of_its_workload(tmp_path):
    devices = {name: facts("cloud" if name < "c" else "edge") for name in "abxy"}
    runs = [run(name, devices[name]["role"]) for name in "abxy"] + [run("a", "cloud", workload="v")]
    result = evaluate(scenario(tmp_path), INPUTS, devices, runs)
    pairs = {(row["workload"], row["cloud_device"], row["edge_device"]) for row in result.verdicts}
    assert pairs == {("w", cloud, edge) for cloud in "ab" for edge in "xy"}
    assert len(result.verdicts) == 4 * 4
    assert len(result.carbon) == 5 * 4 * 3


def test_nothing_emitted_on_either_side_is_no_ratio(tmp_path):
    clean = literal(0, "gCO2e/kWh")
    changes = {"cloud__grid": clean, "edge__grid": clean, "cloud__attribution": "as_edge", "attributions": ["sunk"]}
    result = evaluate(
        scenario(tmp_path, **changes),
        INPUTS,
        {"c": facts("cloud"), "e": facts("edge")},
        [run("c", "cloud"), run("e", "edge")],
    )
    row = verdict(result, "sunk")
    assert (row["ratio_cloud_over_edge"], row["probability_edge_wins"], row["winner"]) == (None, 0.5, "unclear")


# --- what is refused


@pytest.mark.parametrize(
    ("changes", "device", "says"),
    [
        ({"tokens": 0}, {}, "run w/d/r1: tokens: expected more than none, found 0"),
        ({"steps": None}, {}, "run w/d/r1: steps: expected more than none, found None"),
        ({"hours": 9e4}, {}, "device 'd': used_hours_for_run: 90000 h is longer than the lifetime of"),
        ({}, {"embodied": "raspberry"}, "device 'd': embodied: 'raspberry' is not in"),
        ({}, {"grid_zone": "US"}, "device 'd': grid_zone: zone 'US' is not in"),
        ({}, {"role": "fog"}, "device 'd': role: expected 'cloud' or 'edge', found 'fog'"),
    ],
)
def test_a_bad_run_or_device_is_named(tmp_path, changes, device, says):
    with pytest.raises(UserError) as caught:
        evaluate(scenario(tmp_path), INPUTS, {"d": {**facts("edge"), **device}}, [run("d", "edge", **changes)])
    assert says in str(caught.value)


def test_a_device_that_the_fleet_lacks_is_named(tmp_path):
    with pytest.raises(UserError, match=r"run w/lapto/r1: device 'lapto' is unknown; did you mean 'laptop'\?"):
        evaluate(scenario(tmp_path), INPUTS, {"laptop": facts("edge")}, [run("lapto", "edge")])


# --- tables


def test_tables_have_their_schemas_with_and_without_rows(tmp_path):
    devices, runs = {"c": facts("cloud"), "e": facts("edge")}, [run("c", "cloud"), run("e", "edge", None)]
    full = tables.write_result(evaluate(scenario(tmp_path), INPUTS, devices, runs), tmp_path / "full")
    empty = tables.write_result(evaluate(scenario(tmp_path), INPUTS, devices, []), tmp_path / "empty")
    schemas = (tables.CARBON, tables.VERDICTS, tables.ASSUMPTIONS)
    for schema, some, none in zip(schemas, full, empty, strict=True):
        assert pq.read_schema(some).names == pq.read_schema(none).names == schema.names
        assert pq.read_table(some).num_rows > pq.read_table(none).num_rows == 0
    assert [path.name for path in full] == ["carbon.parquet", "verdicts.parquet", "assumptions.parquet"]
    assert [path.name for path in (tmp_path / "full").iterdir() if path.name.startswith(".")] == []
    result = evaluate(scenario(tmp_path), INPUTS, devices, runs)
    assert pq.read_table(full[0]).to_pylist() == [
        {name: row[name] for name in tables.CARBON.names} for row in result.carbon
    ]
    assert {key for row in result.verdicts for key in row} == set(tables.VERDICTS.names)
    assert {key for row in result.assumptions for key in row} == set(tables.ASSUMPTIONS.names)
    assert {key for row in result.carbon for key in row} == set(tables.CARBON.names)
