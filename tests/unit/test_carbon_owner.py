"""The owner's view by hand: electricity at the plug, wear of the battery, and what a kilogram saved has to be paid."""

from __future__ import annotations

from typing import Any

import pytest
from carbon_cases import INPUTS, certain, facts, literal, run, scenario, total

from edgecarbon.carbon.evaluation import evaluate
from edgecarbon.carbon.owner import owner_rows

PRICES = {"currency": "USD", "tariff": literal(0.3, "USD/kWh"), "battery_price": literal(40, "USD")}
DEVICES = {"c": facts("cloud"), "e": facts("edge", embodied="snapdragon-888-phone", battery=True)}
TEN_CHARGES_J = 10 * 17.0 * 3600


def asked(folder, edge: dict[str, Any] | None = None, devices: dict[str, Any] = DEVICES, **changes: Any):
    phone = {"joules": TEN_CHARGES_J, "hours": 40.0, "boundary": "battery", **(edge or {})}
    runs = [run("c", "cloud", 3.6e6, 2.0), run("e", "edge", **phone)]
    settings = certain(**{"owner": PRICES, "edge__charger": literal(1.2), **changes})
    result = evaluate(scenario(folder, **settings), INPUTS, devices, runs)
    return result, {row["attribution"]: row for row in owner_rows(result.judge, result.pairs[0])}


def test_costs_by_hand(tmp_path):
    result, rows = asked(tmp_path)
    assert list(rows) == ["sunk", "time_share", "used_hours", "marginal_wear"]
    for name, row in rows.items():
        assert row["energy_kwh"] == pytest.approx(0.17 * 1.2)
        assert row["hours"] == pytest.approx(40)
        assert row["electricity_cost"] == pytest.approx(0.17 * 1.2 * 0.3)
        assert row["full_cycles"] == pytest.approx(10)
        assert row["battery_cost"] == pytest.approx(40 * 10 / 500)
        assert row["cost"] == pytest.approx(0.0612 + 0.8)
        assert (row["tariff_per_kwh"], row["currency"]) == (0.3, "USD")
        saved = total(result, "c", name)["total_grams"] - total(result, "e", name)["total_grams"]
        assert row["saved_grams"] == pytest.approx(saved)
        assert row["cost_per_kg_saved"] == pytest.approx(0.8612 / saved * 1000)
        assert row["saved_low_grams"] < row["saved_grams"] < row["saved_high_grams"]
    # Cycles and capacity of the battery have a range; the cloud's making has one too.
    assert rows["sunk"]["cost_low"] < 0.8612 < rows["sunk"]["cost_high"]
    assert rows["sunk"]["saved_grams"] > rows["time_share"]["saved_grams"] > rows["used_hours"]["saved_grams"]


def test_the_cloud_does_the_same_work(tmp_path):
    _, once = asked(tmp_path)
    result, rows = asked(tmp_path, {"tokens": 3_000_000})
    saved = 3 * total(result, "c", "sunk")["total_grams"] - total(result, "e", "sunk")["total_grams"]
    assert rows["sunk"]["saved_grams"] == pytest.approx(saved)
    assert rows["sunk"]["cost"] == once["sunk"]["cost"]


def test_nothing_saved_has_no_price(tmp_path):
    _, rows = asked(tmp_path, {"joules": 100 * TEN_CHARGES_J})
    assert rows["sunk"]["saved_grams"] < 0
    assert rows["sunk"]["cost_per_kg_saved"] is None


def test_practice_is_paid_for(tmp_path):
    practice = {"replication": literal(2), "availability": literal(0.5)}
    _, rows = asked(tmp_path, edge__practice=practice)
    row = rows["sunk"]
    assert (row["energy_kwh"], row["hours"], row["full_cycles"]) == pytest.approx((2 * 0.204, 2 * 40 / 0.5, 20))


def test_the_bill_is_that_of_one_more_charge(tmp_path):
    """Idle chargers are in the grams of mode `average`, and not in what the run costs."""
    (one_more, marginal), (idle_too, average) = (
        asked(tmp_path, edge__charger=mode) for mode in ("marginal", "average")
    )
    for name in ("energy_kwh", "electricity_cost", "cost", "cost_low", "cost_high"):
        assert average["sunk"][name] == marginal["sunk"][name]
    assert average["sunk"]["energy_kwh"] == pytest.approx(0.17 * 1.15)
    more = total(idle_too, "e", "sunk")["total_grams"] - total(one_more, "e", "sunk")["total_grams"]
    assert marginal["sunk"]["saved_grams"] - average["sunk"]["saved_grams"] == pytest.approx(more)
    assert more == pytest.approx(0.17 * 400 * (3.19 - 1.15))
    used_by = {row["name"]: row["used_by"] for row in idle_too.assumptions}
    assert used_by["charger_factor/marginal"] == used_by["charger_factor/average"] == "e"


def test_a_device_without_a_battery_wears_none(tmp_path):
    plugged = {"c": facts("cloud"), "e": facts("edge")}
    row = asked(tmp_path, {"boundary": "wall"}, plugged)[1]["sunk"]
    assert (row["full_cycles"], row["battery_cost"]) == (0, 0)
    # Nothing that the cost rests on has a range.
    assert row["cost"] == row["cost_low"] == row["cost_high"] == pytest.approx(0.17 * 0.3)


def test_wear_without_a_price_costs_nothing(tmp_path):
    row = asked(tmp_path, owner={**PRICES, "battery_price": None})[1]["sunk"]
    assert (row["full_cycles"], row["battery_cost"]) == (pytest.approx(10), 0)


def test_the_tariffs_range_is_the_costs(tmp_path):
    tariff = literal(0.3, "USD/kWh", 0.1, 0.6) | {"distribution": "uniform"}
    row = asked(tmp_path, owner={"currency": "USD", "tariff": tariff}, draws=2000)[1]["sunk"]
    assert (row["cost_low"], row["cost"], row["cost_high"]) == pytest.approx(
        (0.204 * 0.125, 0.204 * 0.3, 0.204 * 0.575), rel=0.01
    )


def test_prices_stand_among_the_assumptions(tmp_path):
    result, _ = asked(tmp_path)
    used_by = {row["name"]: row["used_by"] for row in result.assumptions}
    assert used_by["scenario/owner.tariff"] == used_by["scenario/owner.battery_price"] == "e"
    plugged = {"c": facts("cloud"), "e": facts("edge")}
    names = {row["name"] for row in asked(tmp_path, devices=plugged)[0].assumptions}
    assert {name for name in names if "owner" in name} == {"scenario/owner.tariff"}


def test_without_prices_or_an_energy_there_is_no_owners_view(tmp_path):
    assert asked(tmp_path, owner=None)[1] == {}
    assert asked(tmp_path, {"joules": None})[1] == {}
