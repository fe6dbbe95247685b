"""Intervals: what is drawn once, how ranges and energies are drawn, and what of it reaches the totals."""

from __future__ import annotations

import numpy as np
import pytest
from carbon_cases import INPUTS, KWH, facts, literal, run, scenario, total, verdict
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecarbon.carbon import draws
from edgecarbon.carbon.evaluation import evaluate
from edgecarbon.config.assumptions import Assumption

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


def test_a_meter_that_errs_makes_no_run_longer(tmp_path):
    """What is charged by time has no range from an energy's, however wide that is."""
    certain = {"edge__grid": literal(0, "gCO2e/kWh"), "edge__lifetime": literal(4, "years"), "edge__data_path": []}
    wide = {"energy_low_joules": KWH / 3, "energy_high_joules": 3 * KWH}
    sure, unsure = (
        total(evaluate(scenario(tmp_path, **certain), INPUTS, {"d": facts("edge")}, [run("d", "edge", **ends)]), "d")
        for ends in ({}, wide)
    )
    assert unsure == sure
    assert sure["total_grams"] == pytest.approx(5000 / (4 * 8760))


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


def test_what_was_worked_out_about_an_object_is_kept_while_there_is_room():
    drawn, made = draws.Draws(1, draws.KEPT_DRAWS // 4), []
    things = [[number] for number in range(5)]

    def ask(thing, what="size", of=drawn):
        return of.kept((thing,), what, lambda: made.append(what) or len(made))

    assert [ask(thing) for thing in things[:4]] * 2 == [ask(thing) for _ in range(2) for thing in things[:4]]
    assert ask(things[0], "weight") == 5  # another question; there is room for four, so the oldest goes
    assert ask(things[1]) == 2
    assert ask(things[0]) == 6
    very_many = draws.Draws(1, draws.KEPT_DRAWS)
    assert ask(things[0], of=very_many) != ask(things[0], of=very_many)


def test_scenarios_of_equal_seed_share_what_they_have_in_common():
    assumption = Assumption("a", 2.0, 1.0, 4.0, "1", "s", 2025, "b", "l", "modelled")
    wider = Assumption("a", 2.0, 1.0, 5.0, "1", "s", 2025, "b", "l", "modelled")
    one, other = draws.Draws(1, 500), draws.Draws(1, 500)
    assert one.of(assumption) is other.of(assumption)
    assert not np.array_equal(other.of(assumption), draws.Draws(1, 500).of(wider))
    with pytest.raises(ValueError, match="read-only"):
        one.of(assumption)[0] = 1.0


@pytest.mark.parametrize("count", [1, 2, 7, 4000])
def test_quantiles_are_numpys_to_the_last_bit(count):
    rows = np.random.default_rng(1).lognormal(size=(5, count))
    rows[1, -1], rows[2, 0], rows[3, :] = np.inf, np.nan, 0.25
    ranks = (0.5, 0.05, 0.95, 0.0, 1.0, 0.123)
    with np.errstate(invalid="ignore"):
        ours, theirs = draws.quantiles(rows, ranks), np.quantile(rows, ranks, axis=1)
    assert np.array_equal(ours, theirs, equal_nan=True)
    assert np.isnan(ours[:, 2]).all()
