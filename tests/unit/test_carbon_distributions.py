"""A value, a range or a distribution: what a scenario may say of a number, and what is drawn of it."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from carbon_cases import INPUTS, facts, literal, run, scenario, total
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from edgecarbon.carbon.draws import Draws, quantile
from edgecarbon.carbon.evaluation import evaluate
from edgecarbon.config.assumptions import Assumption
from edgecarbon.config.quantities import Distribution
from edgecarbon.errors import UserError

PRIORS = get_args(Distribution)
GRID = (np.arange(20_000) + 0.5) / 20_000
POINTS = (0.025, 0.5, 0.975)
Z = stats.norm.ppf(0.975)


def assumption(prior: str, value: float, low: float, high: float, unit: str = "kgCO2e") -> Assumption:
    return Assumption("a", value, low, high, unit, "s", 2025, "b", "l", "modelled", prior)


def drawn(prior: str, value: float, low: float, high: float, unit: str = "kgCO2e") -> Any:
    return quantile(assumption(prior, value, low, high, unit), GRID)


# --- what is drawn


@pytest.mark.parametrize(
    ("prior", "value", "textbook"),
    [
        ("log_uniform", 5, stats.loguniform(4, 9)),
        ("uniform", 5, stats.uniform(4, 5)),
        ("triangular", 5, stats.triang(0.2, 4, 5)),
        ("normal", 6.5, stats.norm(6.5, 2.5 / Z)),
        ("lognormal", 6, stats.lognorm(np.log(1.5) / Z, scale=6)),
    ],
)
def test_each_prior_is_the_textbooks_own(prior, value, textbook):
    # The normal one is cut at zero, five deviations down.
    np.testing.assert_allclose(
        drawn(prior, value, 4.0, 9.0), textbook.ppf(GRID), rtol=2e-3 if prior == "normal" else 1e-9
    )


def test_log_uniform_halves_meet_at_the_value():
    found = drawn("split_log_uniform", 3.0, 2.0, 8.0)
    halves = np.concatenate([stats.loguniform(2, 3).ppf(GRID[::2]), stats.loguniform(3, 8).ppf(GRID[1::2])])
    np.testing.assert_allclose(found, halves, rtol=1e-4)


@pytest.mark.parametrize("prior", ["normal", "lognormal"])
@pytest.mark.parametrize(("value", "low", "high"), [(100.0, 60.0, 400.0), (100.0, 60.0, 101.0)])
def test_a_normal_priors_range_is_its_95_percent_interval_though_lopsided(prior, value, low, high):
    found = np.quantile(drawn(prior, value, low, high), POINTS)
    assert found == pytest.approx((low, value, high), rel=2e-3)
    assert np.mean(drawn(prior, value, low, high) > high) == pytest.approx(0.025, abs=1e-3)


priors = st.sampled_from(PRIORS)
ranges = st.tuples(st.floats(0.001, 1), st.floats(0, 1), st.floats(0, 1)).map(
    lambda one: (one[0], one[0] * (1 - 0.99 * one[1]), one[0] + (1 - one[0]) * one[2])
)


@given(priors, ranges, st.sampled_from(["1", "kgCO2e"]))
@settings(max_examples=120, deadline=None)
def test_draws_rise_with_the_uniform_and_stay_within_their_limits(prior, ends, unit):
    value, low, high = ends
    uniform = GRID[::100]
    found = quantile(assumption(prior, value, low, high, unit), uniform)
    assert found.shape == uniform.shape
    assert (np.diff(found) >= -1e-12).all()
    assert found.min() > 0
    if unit == "1":
        assert found.max() <= 1
    if prior in ("split_log_uniform", "log_uniform", "uniform", "triangular"):
        assert low * (1 - 1e-12) <= found.min() <= found.max() <= high * (1 + 1e-12)
    if prior in ("split_log_uniform", "normal", "lognormal"):
        assert np.median(found) == pytest.approx(value, rel=0.05)


@pytest.mark.parametrize(
    ("value", "low", "high", "unit", "least", "greatest"),
    [
        (0.9, 0.5, 0.99, "1", 0.0, 1.0),  # a share
        (1.05, 1.01, 1.3, "1", 1.0, np.inf),  # a multiplier
        (1.0, 0.8, 1.2, "1", 0.0, np.inf),  # a factor either way
        (3.0, 0.0, 9.0, "kgCO2e", 0.0, np.inf),
        (0.9, 0.5, 0.99, "kgCO2e", 0.0, np.inf),
    ],
)
def test_a_normal_prior_is_cut_where_the_number_would_make_no_sense(value, low, high, unit, least, greatest):
    found = drawn("normal", value, low, high, unit)
    assert np.median(found) == pytest.approx(value, rel=1e-3)
    assert found.min() >= least
    assert found.max() <= greatest
    # Cut, and not heaped up at the limit; where nothing is cut, the tail passes the range.
    assert np.mean(found == least) == np.mean(found == greatest) == 0
    assert found.max() > high
    assert found.min() < low or low == 0


def test_a_lognormal_share_stays_below_one():
    found = drawn("lognormal", 0.9, 0.5, 0.99, "1")
    assert 0.99 < found.max() <= 1
    assert np.median(found) == pytest.approx(0.9, rel=1e-3)


@pytest.mark.parametrize("prior", PRIORS)
def test_without_a_range_there_is_one_value(prior):
    assert (quantile(assumption(prior, 3.0, 3.0, 3.0), GRID) == 3.0).all()
    assert Draws(1, 100).of(assumption(prior, 3.0, 3.0, 3.0)) == 3.0


def test_draws_follow_their_uniforms():
    draws = Draws(3, 1000)
    for prior in PRIORS:
        one = assumption(prior, 3.0, 2.0, 8.0)
        assert np.array_equal(Draws(3, 1000).of(one), quantile(one, draws.uniform("a")))
    with pytest.raises(ValueError, match="a: distribution: no prior is called 'gauss'"):
        drawn("gauss", 3.0, 2.0, 8.0)


# --- what a scenario may say


def without(data: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in names}


FIXED = without(literal(1.2), "low", "high")
RANGED = literal(1.2, low=1.1, high=1.5)


def test_a_value_a_range_or_a_distribution(tmp_path):
    found = scenario(tmp_path, cloud__pue=FIXED).cloud.site_factor
    assert (found.low, found.value, found.high) == (1.2, 1.2, 1.2)
    found = scenario(tmp_path, cloud__pue=RANGED).cloud.site_factor
    assert (found.low, found.high, found.distribution) == (1.1, 1.5, "split_log_uniform")
    found = scenario(tmp_path, cloud__pue={**RANGED, "distribution": "normal"}).cloud.site_factor
    assert (found.low, found.high, found.distribution) == (1.1, 1.5, "normal")
    grid = without(literal(300.0, "gCO2e/kWh"), "low", "high")
    assert scenario(tmp_path, cloud__grid=grid, edge__grid=grid).cloud.grid.mean.high == 300


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without(RANGED, "high"), "cloud.pue: low is given alone: give both low and high, or neither"),
        (without(RANGED, "low"), "cloud.pue: high is given alone: give both low and high, or neither"),
        ({**FIXED, "distribution": "normal"}, "cloud.pue: a distribution is given without its range"),
        ({**RANGED, "distribution": "gauss"}, "cloud.pue.distribution: Input should be 'split_log_uniform'"),
        ({**RANGED, "low": 0.0, "distribution": "lognormal"}, "a lognormal prior has no logarithm of 0"),
        ({**RANGED, "low": 0.0, "distribution": "log_uniform"}, "a log_uniform prior has no logarithm of 0"),
        ({**RANGED, "low": 2.0, "distribution": "normal"}, "the range is upside down: low 2 is above high 1.5"),
        (without(FIXED, "value"), "cloud.pue.value: required, and not given"),
        ({**FIXED, "value": "1.2"}, "cloud.pue.value: Input should be a valid number"),
    ],
)
def test_a_spoilt_range_is_told(tmp_path, change, says):
    with pytest.raises(UserError) as caught:
        scenario(tmp_path, cloud__pue=change)
    assert says in str(caught.value)


def test_the_prior_reaches_the_totals_and_the_table_of_assumptions(tmp_path):
    """One number is uncertain and the total is in proportion to it, so the total's 5 % is the prior's."""
    runs, devices = [run("e", "edge")], {"e": facts("edge")}
    certain = {"attributions": ["sunk"], "edge__data_path": [], "draws": 2000}
    for prior in PRIORS:
        grid = {**literal(300.0, "gCO2e/kWh", 100.0, 1000.0), "distribution": prior}
        result = evaluate(scenario(tmp_path, **certain, edge__grid=grid), INPUTS, devices, runs)
        row = total(result, "e", "sunk")
        expected = np.quantile(drawn(prior, 300.0, 100.0, 1000.0), (0.05, 0.95))
        assert (row["total_low_grams"], row["total_high_grams"]) == pytest.approx(expected, rel=0.01), prior
        (told,) = (one for one in result.assumptions if one["name"] == "scenario/edge.grid")
        assert told["distribution"] == prior
