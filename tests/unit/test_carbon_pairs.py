"""Pairs of devices: their parts for a token, the energy ratio that breaks even, and the worked example through both."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from carbon_cases import INPUTS, KWH, certain, facts, literal, run, scenario, worked_example
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from edgecarbon import carbon
from edgecarbon.carbon import draws as draws_module
from edgecarbon.carbon.breakeven import energy_and_break_even
from edgecarbon.carbon.draws import Column, Draws, Plan, interval_draws, quantile
from edgecarbon.carbon.evaluation import evaluate
from edgecarbon.carbon.pairs import Pair, parts
from edgecarbon.carbon.plans import sobol_plan
from edgecarbon.config.assumptions import Assumption

CENTER = Plan(1)
TOKENS = 1_000_000
ATTRIBUTIONS = ["sunk", "time_share", "used_hours"]
WEAR_FREE = {"attributions": ATTRIBUTIONS}


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    # Two literals that differ are two grids, so that each can be moved by itself.
    grid = literal(400, "gCO2e/kWh") | {"boundary": "the phone's electricity"}
    return worked_example(tmp_path_factory.mktemp("pairs"), **WEAR_FREE, edge__grid=grid)


# --- the worked example


def test_the_worked_example_by_part(example):
    (pair,), judge = example.pairs, example.judge
    cloud, phone = (parts(judge, side, CENTER) for side in (pair.cloud, pair.edge))
    assert cloud.total[:, 0] * TOKENS == pytest.approx([607.77] * 3, abs=5e-3)
    assert cloud.meter_kwh * TOKENS == pytest.approx([1.0])
    assert cloud.own * TOKENS == pytest.approx([1.3 * 1.1 * 400])
    assert phone.meter_kwh * TOKENS == pytest.approx([0.4])
    assert phone.own * TOKENS == pytest.approx([192.0])
    assert phone.network * TOKENS == pytest.approx([20.0])
    assert phone.making[:, 0] * TOKENS == pytest.approx([0.0, 203.957, 5 * 203.957], abs=5e-3)
    assert pair.ratio(judge, CENTER)[:, 0] == pytest.approx([2.867, 1.461, 0.493], abs=5e-4)
    # Nothing else has a range; no attribution here asks for the battery.
    assert {one.name.split("/")[0] for one in pair.inputs(judge)} == {"batteries"}


EXAMPLE = {
    "edge_overhead_factor": 1.2,
    "edge_intensity_g_per_kwh": 400.0,
    "edge_embodied_kg": 67.0,
    "edge_lifetime_years": 3.0,
    "edge_watts": 5.0,
    "cloud_host_factor": 1.3,
    "cloud_pue": 1.1,
    "cloud_intensity_g_per_kwh": 400.0,
    "cloud_embodied_g_per_kwh": 188e3 / (5 * 8760 * 0.6) * 5,
    "network_g_per_kwh": 20.0,
}


def by_formula(used_share: float, **changes: float) -> list[float]:
    known = {**EXAMPLE, **changes}
    weights = zip(ATTRIBUTIONS, (0.0, 1.0, 1.0), (1.0, 1.0, used_share), strict=True)
    return [
        carbon.break_even_energy_ratio(**known, edge_attribution_weight=weight, edge_used_share=used)
        for _, weight, used in weights
    ]


def test_the_worked_examples_break_even(example):
    energy_ratio, needed = energy_and_break_even(example.judge, example.pairs[0], CENTER)
    assert energy_ratio == pytest.approx([2.5])
    assert needed[:, 0] == pytest.approx(by_formula(0.2))
    # What the phone spends and bears, over what is left of the cloud's once the network is paid, times 2.5.
    assert needed[:, 0] == pytest.approx([0.8166, 1.684, 5.154], rel=1e-3)


# --- break-even, whatever the inputs


@st.composite
def anything(draw: Any) -> dict[str, float]:
    return {
        "pue": draw(st.floats(1.0, 2.0)), "host": draw(st.floats(1.0, 2.5)), "charger": draw(st.floats(1.0, 4.0)),
        "cloud_grid": draw(st.floats(20.0, 900.0)), "edge_grid": draw(st.just(0.0) | st.floats(1.0, 900.0)),
        "made_kg": draw(st.floats(1.0, 300.0)), "years": draw(st.floats(1.0, 8.0)), "used": draw(st.floats(0.05, 1.0)),
        "network_kwh_per_gb": draw(st.floats(0.0, 0.06)), "watts": draw(st.floats(1.0, 50.0)),
    }  # fmt: skip


def plan_of(inputs: dict[str, float]) -> Plan:
    """The example with these numbers in place of its own: by name, as the break-even maps move them."""
    return Plan(1, fixed={
        "scenario/cloud.pue": inputs["pue"], "scenario/boundaries.gpu_board": inputs["host"],
        "scenario/edge.charger": inputs["charger"], "scenario/cloud.grid": inputs["cloud_grid"],
        "scenario/edge.grid": inputs["edge_grid"], "embodied/test-phone": inputs["made_kg"],
        "scenario/edge.lifetime": inputs["years"], "scenario/edge.utilisation": inputs["used"],
        "segments/test-network": inputs["network_kwh_per_gb"],
    })  # fmt: skip


def drawing(pair: Pair, watts: float) -> Pair:
    """The pair with a phone of another draw in its 80 h for a million tokens."""
    joules = watts * 80 * 3600
    return replace(pair, edge=replace(pair.edge, interval=(joules, joules, joules)))


@given(anything())
@settings(max_examples=100, deadline=None)
def test_break_even_is_the_published_formula(example, inputs):
    pair, plan = drawing(example.pairs[0], inputs["watts"]), plan_of(inputs)
    energy_ratio, needed = energy_and_break_even(example.judge, pair, plan)
    expected = by_formula(
        inputs["used"],
        edge_overhead_factor=inputs["charger"],
        edge_intensity_g_per_kwh=inputs["edge_grid"],
        edge_embodied_kg=inputs["made_kg"],
        edge_lifetime_years=inputs["years"],
        edge_watts=inputs["watts"],
        cloud_host_factor=inputs["host"],
        cloud_pue=inputs["pue"],
        cloud_intensity_g_per_kwh=inputs["cloud_grid"],
        network_g_per_kwh=10 * inputs["network_kwh_per_gb"] * inputs["edge_grid"],
    )
    assert energy_ratio == pytest.approx([1000 / (inputs["watts"] * 80)])
    assert needed[:, 0] == pytest.approx(expected, rel=1e-9)
    # The edge wins exactly where its energy ratio is the larger.
    ratio = pair.ratio(example.judge, plan)[:, 0]
    clear = np.abs(np.log(ratio)) > 1e-9
    assert ((ratio > 1) == (energy_ratio > needed[:, 0]))[clear].all()


@given(anything(), st.sampled_from(range(3)))
@settings(max_examples=50, deadline=None)
def test_at_the_break_even_ratio_both_sides_emit_the_same(example, inputs, row):
    pair, plan = drawing(example.pairs[0], inputs["watts"]), plan_of(inputs)
    energy_ratio, needed = energy_and_break_even(example.judge, pair, plan)
    assume(0 < needed[row, 0] < np.inf)
    scale = float(energy_ratio[0] / needed[row, 0])
    assume(80 * scale < 0.99 * inputs["years"] * 8760)
    # As it is by a run of so much energy and time, so by an energy that is set: its time goes with it.
    joules = inputs["watts"] * 80 * 3600 * scale
    slower = replace(
        drawing(pair, inputs["watts"] * scale).edge, mean={**pair.edge.mean, "duration_s": 80 * scale * 3600}
    )
    stated = Plan(1, fixed={**plan.fixed, "energy/phone": joules})
    for asked, draws in ((replace(pair, edge=slower), plan), (pair, stated)):
        assert asked.ratio(example.judge, draws)[row, 0] == pytest.approx(1.0, rel=1e-9)


def test_no_energy_ratio_makes_up_for_a_network_that_emits_more_than_the_cloud(example):
    plan = Plan(2, fixed={"segments/test-network": np.array([0.1, 0.16])})  # 400 and 640 g beside 607.77
    _, needed = energy_and_break_even(example.judge, example.pairs[0], plan)
    assert np.isfinite(needed[:, 0]).all()
    assert np.isinf(needed[:, 1]).all()


def test_empty_hours_and_a_coordinator_have_their_part_in_it(tmp_path):
    """Whatever a scenario switches on: a device with r*-fold less energy, and time, comes out even."""
    changes = certain(
        **WEAR_FREE, cloud__idle_share=literal(0.4), edge__coordinator=literal(2, "W"),
        edge__practice={"availability": literal(0.5), "churn": literal(1.2)}, cloud__data_path=["data-centre-core"],
        edge__data_path=["fixed-network"],
    )  # fmt: skip
    runs = [run("c", "cloud", 3 * KWH, 2.0), run("e", "edge", KWH, 30.0)]
    result = evaluate(scenario(tmp_path, **changes), INPUTS, {"c": facts("cloud"), "e": facts("edge")}, runs)
    energy_ratio, needed = energy_and_break_even(result.judge, result.pairs[0], CENTER)
    assert energy_ratio == pytest.approx([3 / 1.2])
    for row, ratio in enumerate(needed[:, 0]):
        scale = float(energy_ratio[0] / ratio)
        even = [runs[0], run("e", "edge", KWH * scale, 30.0 * scale)]
        other = evaluate(result.judge.scenario, INPUTS, {"c": facts("cloud"), "e": facts("edge")}, even)
        assert other.pairs[0].ratio(other.judge, CENTER)[row, 0] == pytest.approx(1.0)


# --- averages


def averaged(folder, runs: list[dict[str, Any]], **changes: Any):
    result = evaluate(scenario(folder, **certain(**changes)), INPUTS, {"c": facts("cloud"), "e": facts("edge")}, runs)
    return result.pairs[0], result.judge


def test_an_average_is_the_mean_of_what_is_known(tmp_path):
    repeats = [run("e", "edge", KWH * factor, factor, repeat=number) for number, factor in enumerate((1, 2, 3), 1)]
    pair, judge = averaged(tmp_path, [run("c", "cloud"), *repeats, run("e", "edge", None, 50.0, repeat=4)])
    assert (pair.edge.mean["energy_joules"], pair.edge.mean["duration_s"]) == pytest.approx((2 * KWH, 2 * 3600))
    assert pair.edge.known == 3
    assert pair.edge.standard_error == pytest.approx(KWH / 3**0.5)
    drawn = pair.edge.drawn(judge)[0][0]
    assert np.median(drawn) == pytest.approx(2 * KWH, rel=0.01)
    assert np.quantile(drawn, 0.9) == pytest.approx(2 * KWH * math.exp(student.ppf(0.9, 2) / 2 / 3**0.5), rel=0.02)


def test_repeats_scatter_about_an_energy_that_is_given_too(tmp_path):
    repeats = [run("e", "edge", KWH * factor, repeat=number) for number, factor in enumerate((0.9, 1.1), 1)]
    pair, judge = averaged(tmp_path, [run("c", "cloud"), *repeats])
    plan = Plan(3, {"repeats/w/e": np.array([0.25, 0.5, 0.75])}, {"energy/e": np.full(3, 5e6)})
    joules = pair.edge.drawn(replace(judge, draws=plan))[0][0]
    # A standard error of a tenth of the mean, as a factor.
    spread = math.exp(0.1 * student.ppf(0.75, 1))
    assert joules == pytest.approx([5e6 / spread, 5e6, 5e6 * spread])


def test_where_nothing_is_left_above_idle_a_set_energy_leaves_the_time(tmp_path):
    pair, judge = averaged(tmp_path, [run("c", "cloud"), run("e", "edge", hours=2.0)])
    idle = replace(pair.edge, interval=(0.0, 0.0, KWH))
    work = idle.work(replace(judge, draws=Plan(1, fixed={"energy/e": 5e6})))
    assert (work.energy_kwh, work.hours) == (pytest.approx(5e6 / KWH), pytest.approx(2.0))


def test_what_has_a_range_is_an_input(tmp_path):
    wide = {"energy_low_joules": KWH / 2, "energy_high_joules": 2 * KWH, "tokens": 4_000_000}
    runs = [run("c", "cloud"), run("e", "edge", **wide), run("e", "edge", repeat=2, **wide)]
    pair, judge = averaged(
        tmp_path, runs, edge__charger=literal(1.2, low=1.1, high=1.4), edge__data_path=["fixed-network"]
    )
    names = [one.name for one in pair.inputs(judge)]
    # Equal repeats have no scatter, and a device without a battery no charger.
    assert names == ["embodied/nvidia-rtx-a5000", "embodied/raspberry-pi", "energy/e", "segments/fixed-network"]
    (energy,) = (one for one in pair.inputs(judge) if one.name == "energy/e")
    assert (energy.value, energy.low, energy.high) == pytest.approx((KWH / 4, KWH / 8, KWH / 2))
    assert energy.unit == "J/million tokens"


@pytest.mark.parametrize(("low", "prior"), [(0.5, "lognormal"), (0.0, "normal")])
def test_an_energys_prior_is_the_one_that_it_is_drawn_by(tmp_path, low, prior):
    pair, judge = averaged(
        tmp_path, [run("c", "cloud"), run("e", "edge", energy_low_joules=low * KWH, energy_high_joules=3 * KWH)]
    )
    (energy,) = (one for one in pair.inputs(judge) if one.name == "energy/e")
    assert energy.distribution == prior
    uniform = Draws(1, 1000).uniform("any")
    normal = Draws(1, 1000).normal("any")
    drawn = interval_draws(normal, *(np.array([one]) for one in (energy.value, energy.low, energy.high)))[0]
    stated = quantile(energy, uniform)
    rising = uniform > 0.5  # below, a prior that reaches zero is cut there, and squeezed to keep its median
    assert stated[rising] == pytest.approx(drawn[rising])
    if low > 0:
        assert stated == pytest.approx(drawn)


def test_draws_take_a_value_that_is_fixed_in_place_of_their_own():
    wide = Assumption("a", 2.0, 1.0, 4.0, "1", "s", 2025, "b", "l", "modelled")
    sure = replace(wide, name="b", low=2.0, high=2.0)
    held = Draws(1, 50, {"a": 3.0, "b": 5.0})
    assert (held.of(wide), held.of(sure)) == (3.0, 5.0)
    plan = Plan(2, {"a": np.array([0.5, 0.75])})
    assert plan.of(wide) == pytest.approx([2.0, 2.0 * 2**0.5])
    assert plan.of(replace(wide, name="c")) == 2.0
    assert plan.normal("c") == pytest.approx([0.0])


def test_a_very_great_many_draws_are_worked_out_in_blocks_and_give_the_same(tmp_path, monkeypatch):
    repeats = [run("e", "edge", KWH * factor, repeat=number) for number, factor in enumerate((0.9, 1.1), 1)]
    devices = {"c": facts("cloud"), "e": facts("edge")}
    result = evaluate(scenario(tmp_path), INPUTS, devices, [run("c", "cloud"), *repeats])
    (pair,), judge, count = result.pairs, result.judge, result.judge.draws.count
    names = [one.name for one in pair.inputs(judge)]
    fixed = {"grid/USA/2024": np.linspace(300.0, 500.0, count), "pue/gcp": np.array([1.2])}
    asked = [judge.draws, sobol_plan(names, 128, 1), Plan(count, fixed=fixed)]
    whole = [pair.ratio(judge, draws) for draws in asked]
    monkeypatch.setattr(draws_module, "KEPT_DRAWS", 100)
    monkeypatch.setattr(draws_module, "BLOCK", 700)
    again = [pair.ratio(judge, draws) for draws in (Draws(judge.scenario.settings.seed, count), *asked[1:])]
    assert all(len(list(draws.blocks())) == -(-draws.count // 700) > 2 for draws in asked)
    for one, other in zip(whole, again, strict=True):
        assert other.shape[1] == one.shape[1] > 700
        assert np.ptp(one[0]) > 0
        assert other == pytest.approx(one, rel=1e-13)


def test_quantiles_that_a_plan_repeats_are_looked_up_once_and_give_the_same():
    wide = Assumption("a", 2.0, 1.0, 4.0, "1", "s", 2025, "b", "l", "modelled")
    levels, places = np.array([0.1, 0.5, 0.95]), np.array([2, 0, 0, 1, 2])
    short, long = Plan(5, {"a": Column(levels, places)}), Plan(5, {"a": levels[places]})
    for ask in (lambda plan: plan.of(wide), lambda plan: plan.normal("a"), lambda plan: plan.student("a", 3)):
        assert ask(short).tolist() == ask(long).tolist()
        assert len(set(ask(short))) == 3


def test_the_scatter_of_two_repeats_ends_somewhere(tmp_path):
    """Student's t of one degree of freedom has no mean: a factor of it would be 0 or infinite at its ends."""
    repeats = [run("e", "edge", KWH * factor, repeat=number) for number, factor in enumerate((0.1, 1.9), 1)]
    pair, judge = averaged(tmp_path, [run("c", "cloud"), *repeats])
    plan = Plan(2, {"repeats/w/e": np.array([1e-9, 1 - 1e-9])})
    assert pair.edge.drawn(replace(judge, draws=plan))[0][0] == pytest.approx([KWH / 100, KWH * 100])


def test_parts_that_are_kept_are_those_of_the_question(tmp_path):
    """The same devices and draws under another scenario, or the same scenario over other draws, share nothing."""
    pair, judge = averaged(tmp_path, [run("c", "cloud"), run("e", "edge")])
    once = parts(judge, pair.edge, judge.draws)
    heavier = replace(
        judge.scenario, bytes_per_token=replace(judge.scenario.bytes_per_token, value=400.0, low=400.0, high=400.0)
    )
    moved = averaged(tmp_path, [run("c", "cloud"), run("e", "edge")], edge__data_path=["fixed-network"])[0].edge
    light, heavy = (parts(replace(judge, scenario=one), moved, judge.draws) for one in (judge.scenario, heavier))
    assert heavy.network == pytest.approx(100 * light.network)
    assert once.making.shape[1] == judge.draws.count
    assert parts(judge, pair.edge, CENTER).making.shape[1] == 1
