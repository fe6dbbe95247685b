"""Who wins: the worked example end to end, pairs, caveats, and properties of the whole."""

from __future__ import annotations

import pytest
from carbon_cases import DEFAULT, INPUTS, KWH, facts, literal, run, scenario, total, verdict, worked_example
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecarbon.carbon.evaluation import evaluate
from edgecarbon.carbon.verdicts import SUSPECT_FLAGS
from edgecarbon.config.assumptions import Assumption
from edgecarbon.config.quantities import Factor
from edgecarbon.vocabulary import flag_words

# --- the worked example: 1 kWh at a GPU board against a phone, every number given as a literal


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return worked_example(tmp_path_factory.mktemp("example"))


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


SIDES = {"c": facts("cloud"), "e": facts("edge")}


def with_all_on(folder, **changes):
    """What both sides emit and the ratio, with whatever a scenario can switch on switched on."""
    switched_on = {
        "draws": 100, "cloud__idle_share": literal(0.3, low=0.1, high=0.5), "edge__coordinator": literal(1, "W"),
        "edge__practice": {"churn": literal(1.2, low=1.0, high=1.5), "availability": literal(0.5, low=0.2, high=0.9)},
        "traffic__weights_every_steps": 10,
    }  # fmt: skip
    work = changes.pop("work", 1.0)
    count = {"tokens": int(1e6 * work), "steps": int(100 * work)}
    runs = [run("c", "cloud", 2 * KWH * work, work, **count), run("e", "edge", KWH * work, 20 * work, **count)]
    return evaluate(scenario(folder, **(switched_on | changes)), INPUTS, SIDES, runs)


@given(st.floats(0.0, 900.0), st.floats(0.0, 900.0), st.sampled_from(["cloud", "edge"]))
@settings(max_examples=15, deadline=None)
def test_a_dirtier_grid_never_lowers_what_its_side_emits(tmp_path_factory, one, other, side):
    folder = tmp_path_factory.getbasetemp()
    cleaner, dirtier = (
        with_all_on(folder, **{f"{side}__grid": literal(intensity, "gCO2e/kWh")}) for intensity in sorted((one, other))
    )
    for name in ("operational_grams", "network_grams", "total_grams", "total_low_grams", "total_high_grams"):
        assert total(cleaner, side[0])[name] <= total(dirtier, side[0])[name]
    for attribution in DEFAULT["attributions"]:
        before, after = (verdict(result, attribution) for result in (cleaner, dirtier))
        # The dirtier edge loses against the same cloud. A coordinator is on the cloud's grid, so that moves both.
        if side == "edge":
            assert after["ratio_cloud_over_edge"] <= before["ratio_cloud_over_edge"] * (1 + 1e-12)
            assert after["probability_edge_wins"] <= before["probability_edge_wins"]


@given(st.integers(2, 40))
@settings(max_examples=10, deadline=None)
def test_scaling_the_work_scales_the_total_and_no_verdict(tmp_path_factory, factor):
    folder = tmp_path_factory.getbasetemp()
    once, more = with_all_on(folder), with_all_on(folder, work=float(factor))
    for attribution in DEFAULT["attributions"]:
        for device in "ce":
            small, large = (total(result, device, attribution) for result in (once, more))
            for name in ("operational_grams", "embodied_grams", "network_grams", "total_grams", "total_high_grams"):
                assert large[name] == pytest.approx(factor * small[name], rel=1e-9)
        for name in ("ratio_cloud_over_edge", "ratio_low", "ratio_high", "probability_edge_wins"):
            assert verdict(more, attribution)[name] == pytest.approx(verdict(once, attribution)[name], rel=1e-9)


@given(st.floats(0.02, 1.0), st.floats(0.5, 200.0))
@settings(max_examples=15, deadline=None)
def test_the_edge_wins_less_the_more_it_answers_for(tmp_path_factory, used, hours):
    result = evaluate(
        scenario(tmp_path_factory.getbasetemp(), draws=100, edge__utilisation=literal(used)),
        INPUTS, SIDES, [run("c", "cloud", 2 * KWH), run("e", "edge", hours=hours)],
    )  # fmt: skip
    rows = [verdict(result, name) for name in ("sunk", "time_share", "used_hours")]
    for name in ("ratio_cloud_over_edge", "ratio_low", "ratio_high", "probability_edge_wins"):
        assert rows[0][name] >= rows[1][name] >= rows[2][name]


# --- verdicts and caveats


@pytest.mark.parametrize(
    ("cloud", "edge", "says"),
    [
        ({"energy_status": "partial"}, {}, "c: energy is partial"),
        ({}, {"energy_status": "partial", "coverage": 0.5}, "e: energy is partial"),
        ({"boundary": "gpu_board", "energy_status": "partial", "coverage": 0.5}, {}, "c: energy is partial"),
        ({"boundary": "cpu_package", "energy_status": "partial"}, {"boundary": "cpu_package"}, "c: energy is partial"),
        ({}, {"provenance": "estimated"}, "e: energy is estimated, no sensor was read"),
        ({}, {"flags": ["short", "wrapped"]}, "e: flagged short window"),
        ({"boundary": None}, {"boundary": None}, "c: what its energy covers is not known"),
        ({}, {"parameters": 2000}, "the work differs in parameters"),
        ({}, {"sequence_length": 8}, "the work differs in sequence length"),
        ({}, {"energy_joules": None, "energy_status": "absent"}, "e: no energy"),
        ({}, {"boundary": "battery"}, "e: its meter read a battery, but “carbon.battery” is not set for it"),
    ],
)  # fmt: skip
def test_a_doubtful_pair_is_compared_and_marked(tmp_path, cloud, edge, says):
    runs = [run("c", "cloud", **cloud), run("e", "edge", **edge)]
    row = verdict(evaluate(scenario(tmp_path), INPUTS, {"c": facts("cloud"), "e": facts("edge")}, runs))
    assert row["comparable"] is False
    assert says in row["caveat"]


@pytest.mark.parametrize("left", [0.0, -5.0])
@pytest.mark.parametrize(
    "changes", [{"energy": "net"}, {"counterfactual": {"edge_already_on": True}}], ids=["net", "on"]
)
def test_training_that_drew_no_more_than_idle_is_not_free(tmp_path, left, changes):
    runs = [run("c", "cloud", net_energy_joules=KWH), run("e", "edge", net_energy_joules=left)]
    runs.append(run("e", "edge", net_energy_joules=KWH, repeat=2))
    row = verdict(evaluate(scenario(tmp_path, draws=100, **changes), INPUTS, SIDES, runs))
    assert row["comparable"] is False
    assert row["caveat"] == "e: idle drew as much as training, nothing is left above it"


# A board's sensor without its host's is partial by what it is; the host's factor is for that.
BOARD = {"boundary": "gpu_board", "energy_status": "partial", "flags": ["partial"]}
HOST, CHARGER = "boundary_factor/around-gpu-board", "charger_factor/marginal"


@pytest.mark.parametrize(
    ("cloud", "edge", "bridged_by", "says"),
    [
        (BOARD, {"boundary": "battery"}, [HOST, CHARGER],
         "boundaries differ (GPU board against whole device, from its battery): brought to the plug by "
         "“whole machine, around gpu board” × 1.3 and “charger, marginal” × 1.15"),
        (BOARD, {}, [HOST], "boundaries differ (GPU board against whole device, at the wall): brought to the plug by "
         "“whole machine, around gpu board” × 1.3"),
        ({}, {"boundary": "battery"}, [CHARGER], "boundaries differ (whole device, at the wall against whole device, "
         "from its battery): brought to the plug by “charger, marginal” × 1.15"),
        (BOARD, BOARD, [], None),
        ({}, {}, [], None),
    ],
)  # fmt: skip
def test_other_boundaries_are_brought_to_the_plug_by_named_factors(tmp_path, cloud, edge, bridged_by, says):
    devices = {"c": facts("cloud"), "e": facts("edge", battery=True, embodied="snapdragon-888-phone")}
    result = evaluate(scenario(tmp_path), INPUTS, devices, [run("c", "cloud", **cloud), run("e", "edge", **edge)])
    row = verdict(result)
    assert (row["comparable"], row["bridged_by"], row["caveat"]) == (True, bridged_by, says)
    assert set(bridged_by) <= {one["name"] for one in result.assumptions}


def test_a_measured_factor_is_no_assumption(tmp_path):
    factor = Assumption.of("device/c/whole machine over gpu_board", Factor(**literal(1.42, low=1.4, high=1.45)))
    devices = {"c": facts("cloud", measured_boundaries={"gpu_board": factor}), "e": facts("edge")}
    row = verdict(evaluate(scenario(tmp_path), INPUTS, devices, [run("c", "cloud", **BOARD), run("e", "edge")]))
    assert (row["comparable"], row["bridged_by"]) == (True, [])
    assert row["caveat"].endswith("brought to the plug by “c whole machine over gpu board (its own)” × 1.42, measured")


def test_a_caveat_holds_no_code(tmp_path):
    devices = {"c": facts("cloud"), "e": facts("edge")}
    for boundary in ("gpu_board", "cpu_package", "cpu_package+dram", "soc", None):
        runs = [run("c", "cloud", boundary=boundary, flags=sorted(SUSPECT_FLAGS)), run("e", "edge", sequence_length=8)]
        caveat = verdict(evaluate(scenario(tmp_path, draws=100), INPUTS, devices, runs))["caveat"]
        assert "_" not in caveat
        assert all(label in caveat for label in flag_words(SUSPECT_FLAGS))


def test_a_sound_pair_needs_no_caveat(tmp_path):
    result = evaluate(
        scenario(tmp_path), INPUTS, {"c": facts("cloud"), "e": facts("edge")}, [run("c", "cloud"), run("e", "edge")]
    )
    assert (verdict(result)["comparable"], verdict(result)["caveat"]) == (True, None)


def test_a_modelled_device_is_noted_and_still_comparable(tmp_path):
    runs = [run("c", "cloud", record_kind="modelled", provenance="modelled"), run("e", "edge")]
    row = verdict(evaluate(scenario(tmp_path), INPUTS, {"c": facts("cloud"), "e": facts("edge")}, runs))
    assert (row["comparable"], row["caveat"]) == (True, "c is modelled from its data sheet, not measured")


def test_a_zone_that_goes_before_the_scenarios_grid_is_noted(tmp_path):
    runs, own = [run("c", "cloud"), run("e", "edge")], {"c": facts("cloud"), "e": facts("edge", grid_zone="FRA")}
    row = verdict(evaluate(scenario(tmp_path), INPUTS, own, runs))
    assert row["comparable"] is True
    assert row["caveat"] == "e has the electricity of its own zone (“grid intensity, FRA 2024”), not the scenario's"
    same = {"c": facts("cloud"), "e": facts("edge", grid_zone="USA")}
    for devices, first in ((own, False), (same, True)):
        assert verdict(evaluate(scenario(tmp_path, device_facts_first=first), INPUTS, devices, runs))["caveat"] is None


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


def test_an_edge_that_emits_nothing_hides_no_flip(tmp_path):
    clean = {
        "edge__grid": literal(0, "gCO2e/kWh"),
        "edge__utilisation": literal(0.01),
        "attributions": ["sunk", "used_hours"],
    }
    runs = [run("c", "cloud"), run("e", "edge", hours=300.0)]
    result = evaluate(scenario(tmp_path, draws=100, **clean), INPUTS, SIDES, runs)
    sunk, used = verdict(result, "sunk"), verdict(result, "used_hours")
    assert (sunk["ratio_cloud_over_edge"], sunk["probability_edge_wins"], sunk["winner"]) == (None, 1.0, "edge")
    assert used["winner"] == "cloud"
    assert sunk["flips"] is used["flips"] is True


def test_nothing_emitted_on_either_side_is_no_ratio(tmp_path):
    clean = literal(0, "gCO2e/kWh")
    changes = {"cloud__grid": clean, "edge__grid": clean, "cloud__attribution": "as_edge"}
    result = evaluate(
        scenario(tmp_path, **changes),
        INPUTS,
        {"c": facts("cloud"), "e": facts("edge")},
        [run("c", "cloud"), run("e", "edge")],
    )
    row = verdict(result, "sunk")
    assert (row["ratio_cloud_over_edge"], row["probability_edge_wins"], row["winner"]) == (None, 0.5, "unclear")
    assert verdict(result, "used_hours")["winner"] == "edge"
    assert row["flips"] is False
