"""Carbon of runs: what each is charged under a scenario, and what is refused."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from carbon_cases import DEFAULT, INPUTS, KWH, facts, literal, run, scenario, total, verdict

from edgecarbon.carbon.evaluation import evaluate
from edgecarbon.errors import UserError
from edgecarbon.store.fleets import write_tables
from edgecarbon.store.schema_scenarios import ASSUMPTIONS, CARBON, VERDICTS

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
    # What the battery gives is more than the chip inside it takes.
    chip = evaluate(scenario(tmp_path), INPUTS, devices, [run("phone", "edge", 17.0 * 3600, boundary="soc")])
    assert total(chip, "phone", "marginal_wear")["embodied_grams"] == pytest.approx(1.2 * 50_000 * 0.03 / 500)
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


@pytest.mark.parametrize(
    ("first", "host", "made_kg"),
    [
        pytest.param(True, "server-share-a100-node", 188 + 312.5, id="device"),
        pytest.param(False, "server-share-a100-node", 188 + 381, id="scenario"),
        pytest.param(False, literal(800, "kgCO2e"), 188 + 800, id="scenario-literal"),
        pytest.param(True, None, 188, id="none"),
        pytest.param(False, None, 188, id="none-scenario"),
    ],
)
def test_whose_server_stands_around_a_board(tmp_path, first, host, made_kg):
    changes = {"device_facts_first": first, "cloud__host_embodied": host}
    devices = {"d": facts("cloud", host_embodied="server-share-bloom")}
    result = evaluate(scenario(tmp_path, **changes), INPUTS, devices, [run("d", "cloud")])
    assert total(result, "d")["embodied_grams"] == pytest.approx(made_kg * 1000 / (5 * 8760 * 0.6))


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
    gigabytes = 100 / 30 * 2 * 4  # an exchange every 30 of 100 steps, there and back, four bytes a parameter
    expected = gigabytes * 2 * 0.00265 * 383.5492
    assert total(result, "d")["network_grams"] == pytest.approx(expected)


def test_a_run_shorter_than_an_exchange_bears_its_part_of_one(tmp_path):
    changes = {"traffic__weights_every_steps": 100, "edge__data_path": [], "edge__weights_path": ["fixed-network"]}
    short, long = (
        total(
            evaluate(scenario(tmp_path, **changes), INPUTS, {"d": facts("edge")}, [run("d", "edge", steps=steps)]), "d"
        )
        for steps in (8, 800)
    )
    assert 0 < short["network_grams"] == pytest.approx(long["network_grams"] / 100)


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
    tables = (CARBON, VERDICTS, ASSUMPTIONS)
    for name, mine in (("full", runs), ("empty", [])):
        result = evaluate(scenario(tmp_path), INPUTS, devices, mine)
        write_tables({table.name: getattr(result, table.name) for table in tables}, tmp_path / name, tables)
    result = evaluate(scenario(tmp_path), INPUTS, devices, runs)
    for table in tables:
        some, none = (tmp_path / name / f"{table.name}.parquet" for name in ("full", "empty"))
        assert pq.read_schema(some).names == pq.read_schema(none).names == table.column_names
        assert pq.read_table(some).num_rows > pq.read_table(none).num_rows == 0
        rows = getattr(result, table.name)
        assert {key for row in rows for key in row} == set(table.column_names)
        assert pq.read_table(some).to_pylist() == [{name: row[name] for name in table.column_names} for row in rows]
    assert pq.read_schema(tmp_path / "full/verdicts.parquet").field("bridged_by").type == pa.list_(pa.string())
    names = ["assumptions.parquet", "carbon.parquet", "verdicts.parquet"]
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == names


def test_a_row_that_does_not_fit_its_table_is_told_in_words(tmp_path):
    with pytest.raises(UserError, match=r"verdicts\.parquet: "):
        write_tables({"verdicts": [{"ratio_low": "low"}]}, tmp_path, (VERDICTS,))
    assert list(tmp_path.iterdir()) == []
