"""What decides a verdict: indices against SALib and by analysis, ends of ranges and turning points by evaluating anew."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from carbon_cases import INPUTS, KWH, certain, facts, literal, run, scenario
from SALib.analyze import morris, sobol
from SALib.sample.morris import sample as morris_sample
from scipy.stats import t as student

from edgecarbon.carbon import sensitivity
from edgecarbon.carbon.draws import Plan, quantile
from edgecarbon.carbon.evaluation import evaluate
from edgecarbon.carbon.sensitivity import (
    SCREENED,
    center_ratio,
    log_ratio,
    morris_measures,
    sensitivity_rows,
    sobol_indices,
    sobol_plan,
    turn,
    turns,
)
from edgecarbon.config.assumptions import Electricity

DEVICES = {"c": facts("cloud"), "e": facts("edge")}
PAIR = [run("c", "cloud", 2 * KWH), run("e", "edge", KWH, 200.0)]
QUICK = {"sensitivity": {"sobol_samples": 64, "morris_trajectories": 4}}


def log_uniform(value: float, low: float, high: float, unit: str = "1") -> dict[str, Any]:
    return literal(value, unit, low, high) | {"distribution": "log_uniform"}


def asked(folder, runs: list[dict[str, Any]] = PAIR, **changes: Any):
    """Judge, pair, and rows of sensitivity by input and attribution."""
    result = evaluate(scenario(folder, **{**QUICK, **changes}), INPUTS, DEVICES, runs)
    (pair,), judge = result.pairs, result.judge
    return judge, pair, {(row["input"], row["attribution"]): row for row in sensitivity_rows(judge, pair)}


# --- Sobol's indices


def of_plan(names: list[str], samples: int, seed: int = 1) -> np.ndarray:
    """Quantiles of the plan, shape (experiments, inputs)."""
    plan = sobol_plan(names, samples, seed)
    return np.stack([plan.uniform(name) for name in names], axis=1)


def ishigami(unit: np.ndarray) -> np.ndarray:
    one, two, three = (math.pi * (2 * unit[:, column] - 1) for column in range(3))
    return np.sin(one) + 7 * np.sin(two) ** 2 + 0.1 * three**4 * np.sin(one)


def product(unit: np.ndarray) -> np.ndarray:
    return np.prod(1 + unit * np.arange(1, unit.shape[1] + 1), axis=1)


@pytest.mark.parametrize(("function", "count"), [(ishigami, 3), (product, 5)])
def test_indices_are_salibs(function, count):
    names = [f"x{number}" for number in range(count)]
    outputs = function(of_plan(names, 256))
    problem = {"num_vars": count, "names": names, "bounds": [[0, 1]] * count}
    theirs = sobol.analyze(problem, outputs, calc_second_order=False, num_resamples=100, seed=1)
    # A second output beside it changes nothing.
    ours = sobol_indices(np.stack([outputs, outputs[::-1]]), count, 1)
    for name in ("S1", "ST"):
        assert ours[name].shape == (2, count)
        assert ours[name][0] == pytest.approx(theirs[name], abs=1e-9)
        assert ours[f"{name}_conf"][0] == pytest.approx(theirs[f"{name}_conf"], rel=0.4)


def test_indices_of_the_ishigami_function():
    found = sobol_indices(ishigami(of_plan(["a", "b", "c"], 4096))[None], 3, 1)
    assert found["S1"][0] == pytest.approx([0.3139, 0.4424, 0.0], abs=0.02)
    assert found["ST"][0] == pytest.approx([0.5576, 0.4424, 0.2437], abs=0.02)


@pytest.mark.parametrize("outputs", [np.zeros(160), np.full(160, 0.7) + 1e-16 * np.arange(160), np.full(160, np.inf)])
def test_what_never_moves_or_is_not_finite_has_no_indices(outputs):
    found = sobol_indices(outputs[None], 3, 1)
    assert all(np.isnan(values).all() for values in found.values())


@pytest.mark.parametrize(("function", "count"), [(ishigami, 3), (product, 5)])
def test_elementary_effects_are_salibs(function, count):
    names = [f"x{number}" for number in range(count)]
    problem = {"num_vars": count, "names": names, "bounds": [[0, 1]] * count}
    unit = morris_sample(problem, 10, num_levels=4, seed=1)
    theirs = morris.analyze(problem, unit, function(unit), num_levels=4, num_resamples=2, seed=1)
    ours = morris_measures(np.stack([function(unit), function(unit[::-1])]), unit)
    for name in ("mu_star", "sigma"):
        assert ours[name].shape == (2, count)
        assert ours[name][0] == pytest.approx(np.asarray(theirs[name]), abs=1e-9)


PRODUCT = {
    "attributions": ["sunk"], "cloud__attribution": "as_edge",
    "cloud__grid": log_uniform(400, 200, 800, "gCO2e/kWh"), "edge__grid": log_uniform(300, 250, 900, "gCO2e/kWh"),
    "cloud__pue": log_uniform(1.2, 1.1, 1.7),
}  # fmt: skip
WIDTHS = {
    "scenario/cloud.grid": math.log(800 / 200),
    "scenario/edge.grid": math.log(900 / 250),
    "scenario/cloud.pue": math.log(1.7 / 1.1),
}


def test_a_product_of_log_uniform_inputs_shares_its_variance_by_theirs(tmp_path):
    """ln(cloud/edge) is then a sum: first and total order are both the share of the width squared, and an elementary
    effect is the width itself."""
    changes = certain(**PRODUCT) | {"sensitivity": {"sobol_samples": 1024, "morris_trajectories": 4}}
    _, _, rows = asked(tmp_path, **changes)
    whole = sum(width**2 for width in WIDTHS.values())
    assert WIDTHS.keys() < {name for name, _ in rows}
    for (name, _), row in rows.items():
        width = WIDTHS.get(name, 0.0)
        assert row["sobol_first"] == pytest.approx(width**2 / whole, abs=0.01)
        assert row["sobol_total"] == pytest.approx(width**2 / whole, abs=0.01)
        assert row["morris_mu_star"] == pytest.approx((SCREENED[1] - SCREENED[0]) * width, abs=1e-9)
        assert row["morris_sigma"] == pytest.approx(0, abs=1e-9)


def test_an_input_without_effect_has_none(tmp_path):
    """Bought for its owner: what making the device took, and how long it lives, decide nothing."""
    _, _, rows = asked(tmp_path)
    for name in ("embodied/raspberry-pi", "lifetimes/single-board"):
        row = rows[name, "sunk"]
        assert row["morris_mu_star"] == row["morris_sigma"] == row["sobol_total"] == 0
        assert abs(row["sobol_first"]) < 1e-9
        assert row["ratio_at_low"] == row["ratio_at_high"]
        assert row["reversal_value"] is row["reversal_distance"] is None
        assert rows[name, "time_share"]["sobol_total"] > 1e-4
        assert rows[name, "time_share"]["ratio_at_low"] != rows[name, "time_share"]["ratio_at_high"]


def test_a_common_grid_cancels(tmp_path):
    zone = {"zone": "USA", "year": 2024}
    changes = certain(**PRODUCT) | {"cloud__grid": zone, "edge__grid": zone}
    _, _, rows = asked(tmp_path, **QUICK, **changes)
    row = rows["grid/USA/2024", "sunk"]
    assert row["morris_mu_star"] == pytest.approx(0, abs=1e-12)
    assert row["sobol_first"] == pytest.approx(0, abs=1e-9)
    assert row["sobol_total"] == pytest.approx(0, abs=1e-9)
    assert row["ratio_at_low"] == pytest.approx(row["ratio_at_high"])
    assert row["reversal_value"] is None
    # All that is left is the building's.
    assert rows["scenario/cloud.pue", "sunk"]["sobol_first"] == pytest.approx(1, abs=0.1)


# --- ends of the ranges


def test_the_tornado_is_one_evaluation_after_another(tmp_path):
    wide = {"energy_low_joules": KWH / 2, "energy_high_joules": 3 * KWH}
    runs = [
        PAIR[0],
        *(run("e", "edge", KWH * factor, repeat=number, **wide) for number, factor in enumerate((0.8, 1.2))),
    ]
    judge, pair, rows = asked(tmp_path, runs)
    assert {"energy/e", "grid/USA/2024", "repeats/w/e", "pue/gcp", "utilisation/owner"} <= {name for name, _ in rows}
    for one in pair.inputs(judge):
        for end, share in (("low", 0.05), ("high", 0.95)):
            changed, plan = pair, Plan(1, fixed={one.name: quantile(one, np.array([share]))})
            if one.name in ("energy/e", "repeats/w/e"):
                # Other readings of the same hours. The scatter is a standard error of a fifth of the mean, times
                # Student's t of one degree of freedom, as a factor.
                scattered = KWH * math.exp(0.2 * student.ppf(share, 1))
                joules = scattered if one.name == "repeats/w/e" else plan.fixed["energy/e"][0]
                changed, plan = replace(pair, edge=replace(pair.edge, interval=(joules,) * 3)), Plan(1)
            expected = np.exp(log_ratio(judge, changed, plan))[:, 0]
            for row, variant in enumerate(judge.scenario.settings.attributions):
                assert rows[one.name, variant][f"ratio_at_{end}"] == pytest.approx(expected[row])


def test_the_tornado_is_the_scenario_with_that_number_in_it(tmp_path):
    _, _, rows = asked(tmp_path, edge__utilisation=log_uniform(0.3, 0.1, 0.9))
    for end, share in (("low", 0.05), ("high", 0.95)):
        used = 0.1 * 9**share
        judge, pair, _ = asked(tmp_path, edge__utilisation=literal(used))
        for row, variant in enumerate(judge.scenario.settings.attributions):
            told = rows["scenario/edge.utilisation", variant][f"ratio_at_{end}"]
            assert told == pytest.approx(center_ratio(judge, pair)[row])


# --- what turns the verdict


def test_at_the_value_found_both_sides_emit_the_same(tmp_path):
    judge, pair, _ = asked(tmp_path)
    found = 0
    for one in pair.inputs(judge):
        for row, turned in enumerate(turn(judge, pair, one)):
            if turned is None:
                continue
            found += 1
            ratio = np.exp(log_ratio(judge, pair, Plan(1, fixed={one.name: turned.value})))[row, 0]
            assert ratio == pytest.approx(1.0, abs=1e-3)
            beyond = turned.value / one.high if turned.value >= one.value else one.low / turned.value
            assert turned.distance == pytest.approx(beyond)
    assert found >= 4
    # All at once find what each by itself does.
    assert turns(judge, pair, pair.inputs(judge)) == [turn(judge, pair, one) for one in pair.inputs(judge)]


def test_a_turning_point_by_hand(tmp_path):
    """Operational carbon alone, 2 kWh x PUE 1.2 x 400 against 1 kWh x 300: a ratio of 3.2."""
    _, _, rows = asked(tmp_path, **certain(**PRODUCT), **QUICK)
    cloud, edge = rows["scenario/cloud.grid", "sunk"], rows["scenario/edge.grid", "sunk"]
    assert cloud["reversal_value"] == pytest.approx(400 / 3.2, rel=1e-3)
    assert cloud["reversal_distance"] == pytest.approx(200 / (400 / 3.2), rel=1e-3)
    assert edge["reversal_value"] == pytest.approx(300 * 3.2, rel=1e-3)
    assert edge["reversal_distance"] == pytest.approx(300 * 3.2 / 900, rel=1e-3)
    # A building cannot use less than its machines.
    assert rows["scenario/cloud.pue", "sunk"]["reversal_value"] is None


def test_a_turning_point_within_the_range_is_no_distance_away(tmp_path):
    _, _, rows = asked(
        tmp_path, **certain(**{**PRODUCT, "edge__grid": log_uniform(300, 250, 1200, "gCO2e/kWh")}), **QUICK
    )
    assert rows["scenario/edge.grid", "sunk"]["reversal_distance"] == pytest.approx(960 / 1200, rel=1e-3)


def test_of_two_values_within_the_range_the_nearer_to_the_default_is_told(tmp_path, monkeypatch):
    judge, pair, _ = asked(tmp_path)
    (used,) = (one for one in pair.inputs(judge) if one.name == "utilisation/owner")
    used = replace(used, low=0.0, high=1.0)

    def twice_zero(judge, pair, plan):
        off = np.log(plan.fixed[used.name] / used.value)
        return np.tile((off - 0.1) * (off + 0.5), (4, 1))

    monkeypatch.setattr(sensitivity, "log_ratio", twice_zero)
    assert [turned.value for turned in turn(judge, pair, used)] == pytest.approx(
        [used.value * math.exp(0.1)] * 4, rel=1e-3
    )


def test_a_verdict_that_nothing_turns(tmp_path):
    judge, pair, rows = asked(tmp_path, [run("c", "cloud", 1e7 * KWH), PAIR[1]])
    assert {row["reversal_value"] for row in rows.values()} == {None}
    assert all(turn(judge, pair, one) == [None] * 4 for one in pair.inputs(judge))


def test_a_share_turns_within_what_a_share_can_be(tmp_path):
    """After ten times the hours, the device would have to be in use three times as long as it lives."""
    made = {"cloud__attribution": "as_edge", "edge__grid": literal(0, "gCO2e/kWh"), "attributions": ["used_hours"]}
    used = literal(0.5, low=0.4, high=0.6)
    for hours, expected in ((1000.0, True), (10_000.0, False)):
        runs = [run("c", "cloud", KWH, boundary="wall"), run("e", "edge", KWH, hours)]
        judge, pair, _ = asked(tmp_path, runs, **certain(**made, edge__utilisation=used), **QUICK)
        (one,) = (one for one in pair.inputs(judge) if one.name == "scenario/edge.utilisation")
        (turned,) = turn(judge, pair, one)
        needed = 0.5 / center_ratio(judge, pair)[0]
        assert bool(needed < 1) is expected
        assert turned is None if not expected else turned.value == pytest.approx(needed, rel=1e-3)


def test_a_life_is_not_looked_for_that_is_shorter_than_the_run(tmp_path):
    """A hundredth of the default would end before the run does: what lies before that is looked through all the same."""
    changes = certain(
        edge__grid=literal(10, "gCO2e/kWh"), edge__lifetime=literal(4, "years", 3, 5), attributions=["time_share"]
    )
    judge, pair, _ = asked(tmp_path, [run("c", "cloud"), run("e", "edge", hours=1000.0)], **changes, **QUICK)
    (one,) = (one for one in pair.inputs(judge) if one.unit == "years")
    (turned,) = turn(judge, pair, one)
    assert turned.value > 1000 / 8760
    assert np.exp(log_ratio(judge, pair, Plan(1, fixed={one.name: turned.value})))[0, 0] == pytest.approx(1, abs=1e-3)


def test_where_a_hundredfold_outlasts_the_device_less_is_looked_through(tmp_path):
    """A hundredth of the availability would hold the device for longer than it lives."""
    changes = certain(
        edge__grid=literal(10, "gCO2e/kWh"), edge__practice={"availability": literal(0.5, low=0.4, high=0.6)},
        attributions=["time_share"],
    )  # fmt: skip
    judge, pair, rows = asked(tmp_path, [run("c", "cloud"), run("e", "edge", hours=1000.0)], **changes, **QUICK)
    turned = rows["scenario/edge.practice.availability", "time_share"]["reversal_value"]
    plan = Plan(1, fixed={"scenario/edge.practice.availability": turned})
    assert np.exp(log_ratio(judge, pair, plan))[0, 0] == pytest.approx(1, abs=1e-3)


# --- the rows


def test_equal_seeds_give_equal_rows(tmp_path):
    once, again, other = (asked(tmp_path, seed=seed)[2] for seed in (3, 3, 4))
    assert once == again
    key = ("embodied/nvidia-rtx-a5000", "time_share")
    assert once[key]["sobol_total"] != other[key]["sobol_total"]
    assert once[key]["ratio_at_low"] == other[key]["ratio_at_low"]


def test_rows_name_priors_and_energies_for_a_million_tokens(tmp_path):
    ends = {"energy_low_joules": KWH / 2, "energy_high_joules": 2 * KWH, "tokens": 4_000_000}
    repeats = [run("e", "edge", KWH * factor, repeat=number, **ends) for number, factor in enumerate((0.8, 1.2))]
    cloud = run("c", "cloud", 2 * KWH, energy_low_joules=KWH, energy_high_joules=3 * KWH)
    _, _, rows = asked(tmp_path, [cloud, *repeats])
    for name, value, low, high in (("energy/e", 0.25, 0.125, 0.5), ("energy/c", 2, 1, 3)):
        row = rows[name, "sunk"]
        assert (row["value"], row["low"], row["high"]) == pytest.approx((value * KWH, low * KWH, high * KWH))
        assert (row["unit"], row["distribution"]) == ("J/million tokens", "lognormal")
        assert row["label"] == f"energy of {name[-1]}"
    scatter = rows["repeats/w/e", "sunk"]
    assert (scatter["unit"], scatter["distribution"], scatter["reversal_value"]) == ("J", "student_t", None)
    assert scatter["sobol_total"] > 0.05
    grid = rows["grid/USA/2024", "sunk"]
    assert (grid["label"], grid["unit"], grid["distribution"]) == (
        "grid intensity, USA 2024",
        "gCO2e/kWh",
        "split_log_uniform",
    )


def test_there_is_nothing_to_ask_without_an_energy_or_a_range(tmp_path):
    assert asked(tmp_path, [PAIR[0], run("e", "edge", None)])[2] == {}
    judge, pair, _ = asked(tmp_path)
    sure = replace(pair, cloud=sure_side(pair.cloud), edge=sure_side(pair.edge))
    assert sure.inputs(judge) == []
    assert sensitivity_rows(judge, sure) == []


def sure_side(side):
    """A side nothing of which has a range."""

    def certain_one(one):
        return replace(one, low=one.value, high=one.value)

    arm = side.arm
    return replace(side, arm=replace(
        arm, grid=Electricity(certain_one(arm.grid.mean)), embodied=tuple(map(certain_one, arm.embodied)),
        lifetime=certain_one(arm.lifetime), utilisation=certain_one(arm.utilisation),
        side=replace(arm.side, site_factor=certain_one(arm.side.site_factor), data_path=(), weights_path=()),
    ))  # fmt: skip
