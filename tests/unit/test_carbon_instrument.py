"""The page's arithmetic over the parts of table `instrument`, held to the whole carbon model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from carbon_cases import INPUTS, facts, literal, run, scenario

from edgecarbon.carbon import instrument
from edgecarbon.carbon.breakeven import energy_and_break_even
from edgecarbon.carbon.draws import Draws, Plan
from edgecarbon.carbon.evaluation import evaluate
from edgecarbon.carbon.instrument import instrument_rows
from edgecarbon.carbon.sensitivity import center_ratio, turn
from edgecarbon.carbon.verdicts import ratio_quantiles
from edgecarbon.config.assumptions import Electricity
from edgecarbon.report.instrument import Part, Settings, recompute

SET = {
    "cloud_grid_g_per_kwh": 56.0,
    "edge_grid_g_per_kwh": 615.0,
    "lifetime_years": 7.5,
    "utilisation": 0.43,
    "charger": 2.2,
    "energy_ratio": 0.8,
}
GERMANY = {"zone": "DEU", "year": 2024, "profile": "germany-2020"}
CHANGES = {
    "cloud__grid": {**GERMANY, "hours": {"from": 22, "to": 6}},
    "edge__grid": {**GERMANY, "hours": {"choose": "greenest", "per_day": 8}},
    "cloud__idle_share": literal(0.2, low=0.1, high=0.3),
    "edge__coordinator": literal(0.5, "W", 0.1, 2.0),
    "edge__life_lost_per_hour": literal(0.01, "h/h", 0.0, 0.05),
    "edge__practice": {"churn": literal(1.1, low=1.0, high=1.3), "availability": literal(0.5, low=0.3, high=0.9)},
    "counterfactual": {"cloud_hardware_avoided": literal(0.7, low=0.2, high=1.0)},
    "traffic__weights_every_steps": 1,
}


@pytest.fixture(scope="module", params=["default", "every switch"])
def result(request, tmp_path_factory):
    settled = scenario(tmp_path_factory.mktemp("s"), **(CHANGES if request.param == "every switch" else {}))
    runs = [
        run("cloud", "cloud", boundary="gpu_board", energy_low_joules=2e6, energy_high_joules=5e6, tokens=40_000),
        run(
            "edge", "edge", 2.1e6, 5.0, boundary="battery", energy_low_joules=1e6, energy_high_joules=6e6, tokens=30_000
        ),
    ]
    devices = {
        "cloud": facts("cloud", embodied="nvidia-rtx-a5000"),
        "edge": facts("edge", embodied="snapdragon-888-phone", battery=True),
    }
    return evaluate(settled, INPUTS, devices, runs)


def sides(result):
    found: dict[str, dict[str, Part]] = {"cloud": {}, "edge": {}}
    for row in instrument_rows(result.judge, result.pairs):
        found[row["role"]][row["part"]] = Part(row["center"], np.array(row["draws"]))
    return found["cloud"], found["edge"]


def with_settings(pair, settings):
    """The pair under the whole model, its assumptions replaced by what the sliders say."""

    def stated(one, value):
        return replace(one, name=f"set/{one.name}", value=value, low=value, high=value)

    cloud, edge = pair.cloud.arm, pair.edge.arm
    if "cloud_grid_g_per_kwh" in settings:
        grid = settings["cloud_grid_g_per_kwh"]
        cloud = replace(cloud, grid=Electricity(stated(cloud.grid.mean, grid)))
        if edge.coordinator:
            edge = replace(edge, coordinator=(*edge.coordinator[:2], cloud.grid))
    if "edge_grid_g_per_kwh" in settings:
        edge = replace(edge, grid=Electricity(stated(edge.grid.mean, settings["edge_grid_g_per_kwh"])))
    if "lifetime_years" in settings:
        edge = replace(edge, lifetime=stated(edge.lifetime, settings["lifetime_years"]))
    if "utilisation" in settings:
        edge = replace(edge, utilisation=stated(edge.utilisation, settings["utilisation"]))
    if "charger" in settings:
        edge = replace(edge, side=replace(edge.side, site_factor=stated(edge.side.site_factor, settings["charger"])))
    return replace(pair, cloud=replace(pair.cloud, arm=cloud), edge=replace(pair.edge, arm=edge))


@pytest.mark.parametrize("name", [None, *(name for name in SET if name != "energy_ratio"), "all"])
def test_the_pages_arithmetic_is_the_whole_models(result, name):
    given = {} if name is None else {key: SET[key] for key in SET if key != "energy_ratio" and name in (key, "all")}
    cloud, edge = sides(result)
    pair, judge = with_settings(result.pairs[0], given), result.judge
    quantiles = ratio_quantiles(pair.ratio(judge, judge.draws))
    centers = center_ratio(judge, pair)
    ratio, even = energy_and_break_even(judge, pair, Plan(1))
    for row, attribution in enumerate(judge.scenario.settings.attributions):
        outcome = recompute(cloud, edge, attribution, Settings(**given))
        median, low, high, probability = quantiles[row]
        assert (outcome.ratio, outcome.low, outcome.high) == pytest.approx((median, low, high), rel=1e-9)
        assert outcome.probability == pytest.approx(probability, abs=1e-9)
        assert outcome.ratio_default == pytest.approx(centers[row], rel=1e-9)
        assert outcome.energy_ratio == pytest.approx(ratio[0], rel=1e-9)
        assert outcome.break_even == pytest.approx(even[row, 0], rel=1e-9)


def test_a_page_gets_no_more_draws_than_it_can_carry(result, monkeypatch):
    monkeypatch.setattr(instrument, "MOST_DRAWS", 500)
    cloud, edge = sides(result)
    assert {part.draws.size for part in (*cloud.values(), *edge.values())} - {1} == {500}
    (pair,), judge = result.pairs, result.judge
    fewer = ratio_quantiles(pair.ratio(judge, Draws(judge.scenario.settings.seed, 500)))
    for row, (attribution, all_of_them) in enumerate(
        zip(judge.scenario.settings.attributions, ratio_quantiles(pair.ratio(judge, judge.draws)), strict=True)
    ):
        outcome = recompute(cloud, edge, attribution)
        found = outcome.ratio, outcome.low, outcome.high, outcome.probability
        assert found == pytest.approx(fewer[row], rel=1e-9)
        assert found == pytest.approx(all_of_them, rel=0.15, abs=0.03)


def test_an_energy_ratio_takes_time_with_energy(result):
    """At r times less energy than the cloud, for as much less time: the run itself, made so."""
    cloud, edge = sides(result)
    pair, judge = result.pairs[0], result.judge
    (ratio, *_), _ = energy_and_break_even(judge, pair, Plan(1))
    scale = ratio / SET["energy_ratio"]
    mean = {**pair.edge.mean, "duration_s": pair.edge.mean["duration_s"] * scale}
    mean["energy_joules"] = pair.edge.mean["energy_joules"] * scale
    interval = tuple(part * scale for part in pair.edge.interval)
    scaled = replace(pair, edge=replace(pair.edge, mean=mean, interval=interval))
    for row, attribution in enumerate(judge.scenario.settings.attributions):
        outcome = recompute(cloud, edge, attribution, Settings(energy_ratio=SET["energy_ratio"]))
        assert outcome.ratio_default == pytest.approx(center_ratio(judge, scaled)[row], rel=1e-9)
        assert outcome.energy_ratio == pytest.approx(SET["energy_ratio"])


def test_slider_map_and_reversal_set_the_edges_energy_alike(result):
    """The run was measured, and its time goes with an energy that is set all the same."""
    cloud, edge = sides(result)
    pair, judge = result.pairs[0], result.judge
    (one,) = (one for one in pair.inputs(judge) if one.name == "energy/edge")
    (ratio, *_), needed = energy_and_break_even(judge, pair, Plan(1))
    drawn_ratio, _ = energy_and_break_even(judge, pair, judge.draws)
    joules = pair.edge.drawn(judge)[0][0] * 1e6 / pair.edge.mean["tokens"] * drawn_ratio / SET["energy_ratio"]
    drawn = ratio_quantiles(pair.ratio(judge, Draws(judge.scenario.settings.seed, len(joules), {one.name: joules})))
    mapped = pair.ratio(judge, Plan(1, fixed={one.name: one.value * ratio / SET["energy_ratio"]}))
    turned = turn(judge, pair, one)
    for row, attribution in enumerate(judge.scenario.settings.attributions):
        outcome = recompute(cloud, edge, attribution, Settings(energy_ratio=SET["energy_ratio"]))
        assert outcome.ratio_default == pytest.approx(mapped[row, 0], rel=1e-9)
        assert (outcome.ratio, outcome.low, outcome.high) == pytest.approx(drawn[row][:3], rel=1e-9)
        assert turned[row].value == pytest.approx(one.value * ratio / needed[row, 0], rel=1e-3)


def test_at_the_break_even_ratio_both_emit_the_same(result):
    cloud, edge = sides(result)
    for attribution in result.judge.scenario.settings.attributions:
        even = recompute(cloud, edge, attribution).break_even
        assert recompute(cloud, edge, attribution, Settings(energy_ratio=even)).ratio_default == pytest.approx(1.0)
