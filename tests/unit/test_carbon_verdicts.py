"""Who wins: the worked example end to end, pairs, caveats, and properties of the whole."""

from __future__ import annotations

import copy
import shutil

import pytest
import yaml
from carbon_cases import CONFIG, DEFAULT, INPUTS, KWH, facts, literal, run, scenario, total, verdict
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecarbon.carbon.evaluation import evaluate
from edgecarbon.config.inputs import load_inputs
from edgecarbon.config.scenario import load_scenario

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
    shutil.copytree(CONFIG / "inputs", inputs)
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
