"""Carbon of fleets: what members are charged with, what crosses the network, and how sure the ratio to a cloud is."""

from __future__ import annotations

import pytest
from carbon_cases import INPUTS, KWH, certain, facts, literal, run, scenario, total, verdict

from edgecarbon.carbon.evaluation import Result, evaluate
from edgecarbon.carbon.fleets import fleet_carbon_rows
from edgecarbon.errors import UserError
from edgecarbon.store.schema_fleets import FLEET_CARBON

GRID = 400.0
STEPS, TOKENS = 100, 10_000
CLOUD = {"c": facts("cloud")}


def member(device: str = "e", **changes):
    """A member that computes for 36 s of a step, with 0.01 kWh: of 100 steps an hour and 1 kWh, as `carbon_cases.run`."""
    return {
        "fleet_run": "w/f/r1", "device": device, "stage": 0, "replica": 0, "busy_s": 36.0, "wait_s": 0.0, "exchange_s": 0.0,
        "sent_bytes": 0.0, "received_bytes": 0.0, "compute_joules": KWH / STEPS, "idle_joules": 0.0, "radio_joules": 0.0,
        "boundary": "wall", **changes,
    }  # fmt: skip


def judged(result: Result, devices, members, runs=(), one_network=(), **changes):
    """Rows of `fleet_carbon` of a fleet with these members."""
    fleet = {
        "fleet_run": "w/f/r1", "workload": "w", "fleet": "f", "record_kind": "measured", "provenance": "measured",
        "steps": STEPS, "tokens_per_step": TOKENS, "step_s": 36.0, "energy_joules_per_step": 1.0,
        "stages": len(members), "replicas": 1, **changes,
    }  # fmt: skip
    tables = {"fleet_runs": [fleet], "fleet_members": members}
    rows = fleet_carbon_rows(result.judge, INPUTS, devices, tables, runs, one_network)
    assert {key for row in rows for key in row} <= set(FLEET_CARBON.column_names)
    return {row["attribution"]: row for row in rows}


def alone(folder, devices, runs=(), **changes):
    return evaluate(scenario(folder, **certain(**changes)), INPUTS, devices, runs)


# --- network


@pytest.mark.parametrize(
    ("one_network", "crossings"), [((), 2), (("another",), 2), (("f",), 0)], ids=["apart", "others", "one-access-point"]
)
def test_a_byte_crosses_the_path_once_and_radios_are_in_the_energy(tmp_path, one_network, crossings):
    path = ["wifi-half-watt", "fixed-network", "fixed-network", "wifi-half-watt"]
    result = alone(tmp_path, {}, edge__weights_path=path)
    devices = {"a": facts("edge"), "b": facts("edge")}
    members = [
        member("a", sent_bytes=3e9, received_bytes=1e9),
        member("b", stage=1, sent_bytes=1e9, received_bytes=3e9),
    ]
    row = judged(result, devices, members, one_network=one_network)["sunk"]
    assert row["network_grams"] == pytest.approx(4 * STEPS * crossings * 0.00265 * GRID)
    assert row["total_grams"] == pytest.approx(row["operational_grams"] + row["embodied_grams"] + row["network_grams"])
    assert row["operational_grams"] == pytest.approx(2 * GRID)


def test_each_end_of_a_link_is_on_its_own_grid(tmp_path):
    result = alone(tmp_path, {}, edge__weights_path=["fixed-network"] * 2)
    devices = {"a": facts("edge"), "b": facts("edge", grid_zone="FRA")}
    members = [member("a", sent_bytes=1e9), member("b", stage=1, received_bytes=1e9)]
    grids = (GRID + INPUTS.grid.find("FRA", None, "").value) / 2
    assert judged(result, devices, members)["sunk"]["network_grams"] == pytest.approx(STEPS * 2 * 0.00265 * grids)


def test_tokens_are_moved_to_the_first_and_the_last_stage_of_every_replica(tmp_path):
    token = {"traffic__bytes_per_token": literal(1e3, "B/token"), "edge__data_path": ["fixed-network"]}
    result = alone(tmp_path, {}, **token)
    members = [member(stage=stage, replica=replica) for replica in range(2) for stage in range(3)]
    row = judged(result, {"e": facts("edge")}, members, one_network=["f"], stages=3, replicas=2)["sunk"]
    once = STEPS * TOKENS * 1e3 / 1e9 * 0.00265 * GRID
    assert row["network_grams"] == pytest.approx(2 * once)
    single = judged(result, {"e": facts("edge")}, [member()])["sunk"]
    assert single["network_grams"] == pytest.approx(once)


# --- how sure it is


def test_a_fleet_of_one_has_the_range_of_the_same_device_alone(tmp_path):
    devices, runs = {"e": facts("edge")}, [run("e", "edge", energy_low_joules=0.7 * KWH, energy_high_joules=1.6 * KWH)]
    result = alone(tmp_path, devices, runs)
    row, mine = judged(result, devices, [member()], runs)["time_share"], total(result, "e")
    for name in ("total_grams", "total_low_grams", "total_high_grams"):
        assert row[name] == pytest.approx(mine[name])
    assert row["total_high_grams"] > 1.2 * row["total_grams"]
    # Of a workload that it did not do alone, nothing is known.
    other = judged(result, devices, [member()], [{**runs[0], "workload": "v"}])["sunk"]
    assert other["total_low_grams"] == pytest.approx(other["total_high_grams"])


def test_a_fleet_of_one_beside_a_cloud_is_judged_as_the_pair_is(tmp_path):
    devices = {"e": facts("edge"), **CLOUD}
    runs = [
        *(run("e", "edge", share * KWH, repeat=number) for number, share in enumerate((0.8, 1.0, 1.2), 1)),
        run("c", "cloud", 0.9 * KWH, energy_low_joules=0.7 * KWH, energy_high_joules=1.5 * KWH, boundary="gpu_board"),
    ]
    result = alone(tmp_path, devices, runs)
    rows = judged(result, devices, [member()], runs)
    for attribution, row in rows.items():
        pair = verdict(result, attribution)
        assert row["ratio_low"] == pytest.approx(pair["ratio_low"])
        assert row["ratio_high"] == pytest.approx(pair["ratio_high"])
        assert row["probability_fleet_wins"] == pytest.approx(pair["probability_edge_wins"])
    assert 0 < rows["used_hours"]["ratio_low"] < 0.9 * rows["used_hours"]["ratio_high"]


@pytest.mark.parametrize("with_runs", [True, False], ids=["with-runs", "without"])
def test_a_modelled_member_has_its_data_sheets_range(tmp_path, with_runs):
    name = "macbook-pro-14-m2-pro"
    devices = {name: INPUTS.reference_devices.entries[name].carbon_facts()}
    runs = [run(name, "edge", record_kind="modelled", boundary="battery")]
    single = alone(tmp_path, devices, runs)
    members, kind = [member(name, boundary="battery")], {"record_kind": "simulated", "provenance": "modelled"}
    rows = judged(single, devices, members, runs if with_runs else (), **kind)
    for attribution, row in rows.items():
        mine = total(single, name, attribution)
        for end in ("total_grams", "total_low_grams", "total_high_grams"):
            assert row[end] == pytest.approx(mine[end])
    # It waits for as long as before, whatever its rate.
    waits = [member(name, boundary="battery", busy_s=0.0, compute_joules=0.0, idle_joules=KWH / STEPS)]
    idle = judged(single, devices, waits, runs if with_runs else (), **kind)["sunk"]
    assert 1 < idle["total_high_grams"] / idle["total_grams"] < 0.9 * row["total_high_grams"] / row["total_grams"]


def test_what_both_sides_share_is_no_part_of_the_ratio(tmp_path):
    changes = {"cloud__grid": {"zone": "USA", "year": 2024}, "edge__grid": {"zone": "USA", "year": 2024}}
    devices = {"e": facts("edge"), **CLOUD}
    boundary = {"boundaries__wall": literal(1.0, low=0.8, high=1.3)}
    runs = [run("c", "cloud", 1.2 * KWH, boundary="wall")]
    result = alone(tmp_path, CLOUD, runs, **changes, **boundary, cloud__attribution="as_edge")
    row = judged(result, devices, [member()], runs)["sunk"]
    assert row["cloud_device"] == "c"
    assert row["cloud_total_grams"] == pytest.approx(total(result, "c", "sunk")["total_grams"])
    assert (row["cloud_energy_joules"], row["cloud_duration_s"]) == (1.2 * KWH, 3600)
    assert row["total_high_grams"] > 1.1 * row["total_grams"]
    assert [row[name] for name in ("ratio_low", "ratio_cloud_over_fleet", "ratio_high")] == pytest.approx(
        [1.2 * 1.1] * 3
    )
    assert row["probability_fleet_wins"] == 1


def test_without_a_cloud_device_a_fleet_stands_alone(tmp_path):
    (row,) = judged(alone(tmp_path, {}, attributions=["sunk"]), {"e": facts("edge")}, [member()]).values()
    assert "cloud_device" not in row


# --- net of idle


@pytest.mark.parametrize(
    "changes", [{"energy": "net"}, {"counterfactual": {"edge_already_on": True}}], ids=["net", "already-on"]
)
def test_above_idle_neither_waiting_nor_the_idle_draw_while_computing_is_charged(tmp_path, changes):
    # It draws 1 kW computing and 200 W waiting, for 18 s each.
    half = {"busy_s": 18.0, "wait_s": 12.0, "exchange_s": 6.0, "radio_joules": 50.0}
    members = [member(compute_joules=18_000.0, idle_joules=3_600.0, **half)]
    gross = judged(alone(tmp_path, {}), {"e": facts("edge")}, members)["sunk"]
    net = judged(alone(tmp_path, {}, **changes), {"e": facts("edge")}, members)["sunk"]
    names = ("compute_joules", "idle_joules", "radio_joules", "energy_joules")
    assert [gross[name] / STEPS for name in names] == pytest.approx([18_000, 3_600, 50, 21_650])
    assert [net[name] / STEPS for name in names] == pytest.approx([14_400, 0, 50, 14_450])
    for row in (gross, net):
        assert row["operational_grams"] == pytest.approx(row["energy_joules"] / KWH * GRID)
    # One without a known idle draw shows none while it waits, and neither does one that never waits.
    for unknown in (member(**half), member()):
        row = judged(alone(tmp_path, {}, **changes), {"e": facts("edge")}, [unknown])["sunk"]
        assert row["compute_joules"] == pytest.approx(KWH)


def test_a_meter_is_off_by_its_share_of_what_it_saw_and_not_of_the_little_above_idle(tmp_path):
    devices = {"e": facts("edge")}
    seen = {"energy_low_joules": 0.9 * KWH, "energy_high_joules": 1.1 * KWH}
    runs = [run("e", "edge", **seen, net_energy_joules=0.01 * KWH, net_uncertainty_joules=0.05 * KWH)]
    # It never waits, so that its idle draw is not known, and all of its energy is charged.
    net, gross = (
        judged(alone(tmp_path, devices, runs, energy=kind), devices, [member()], runs)["sunk"]
        for kind in ("net", "gross")
    )
    assert net == gross
    assert 0.9 * GRID < net["total_low_grams"] < 0.95 * GRID


# --- what is refused


def test_a_fleet_that_outlasts_a_member_is_named(tmp_path):
    result = alone(tmp_path, {}, edge__lifetime=literal(0.001, "years"))
    with pytest.raises(UserError, match=r"test\.yaml: fleet 'w/f/r1': .* longer than the lifetime") as caught:
        judged(result, {"e": facts("edge")}, [member()], step_s=360.0)
    assert "10 h" in str(caught.value)
