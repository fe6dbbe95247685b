"""From runs of lone devices and data sheets to machines, plans, and the account of a fleet's step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgecarbon import forecast
from edgecarbon.config.fleet import Fleet, Links
from edgecarbon.errors import UserError
from edgecarbon.fleet.model import ModelShape, even_network, shape_of
from edgecarbon.models import resolve_model
from edgecarbon.store.fleets import fleet_rows, total_joules, weakest

SHAPE = ModelShape(layers=4, width=64, ffn=256, vocabulary=512, positions=130, sequence_length=128)


def run(device: str = "one", **changes: Any) -> dict[str, Any]:
    return {
        "workload": "w", "device": device, "record_kind": "measured", "provenance": "measured", "batch_size": 8, "steps": 10,
        "duration_s": 20.0, "energy_joules": 400.0, "idle_watts": 5.0, "boundary": "wall", **changes,
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", ["facebook/opt-125m", "facebook/opt-1.3b", "gpt2", "edgecarbon/tiny-llama", "edgecarbon/small-opt"]
)
def test_shapes_have_the_parameters_of_the_architecture(name: str) -> None:
    model = resolve_model(name)
    assert shape_of(model, 64).parameters == model["parameters"]


def test_a_qwen2_has_the_parameters_that_its_makers_count() -> None:
    # Qwen2-0.5B: https://huggingface.co/Qwen/Qwen2-0.5B/blob/main/config.json, 494,032,768 parameters.
    config = {
        "model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
        "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151_936, "tie_word_embeddings": True,
    }  # fmt: skip
    assert shape_of({"name": "x", "config": config}, 64).parameters == 494_032_768


def test_a_family_that_cannot_be_cut_is_named() -> None:
    with pytest.raises(UserError, match="models of type bloom cannot be cut"):
        shape_of({"name": "x", "config": {"model_type": "bloom", "vocab_size": 5}}, 8)


def test_a_machine_does_again_what_its_own_run_did() -> None:
    machine = forecast.measured_machine(
        "one", [run(), run(duration_s=22.0), run(duration_s=18.0)], {"w": SHAPE}, Fleet(devices=["one"]), 8e9
    )
    assert forecast.step_flops(SHAPE, 8) / machine.flops_per_s == pytest.approx(2.0)  # seconds a step
    assert machine.busy_watts == pytest.approx(20.0)
    assert machine.idle_watts == 5.0
    assert machine.memory_bytes == pytest.approx(6.4e9)


def test_a_machine_without_a_run_of_its_own_is_named() -> None:
    with pytest.raises(UserError, match="one: none of its own runs came about"):
        forecast.measured_machine("one", [], {"w": SHAPE}, Fleet(devices=["one"]), None)


def test_networks_from_values_file_and_measurement(tmp_path: Path) -> None:
    rates = {"two": {"up_mbyte_per_s": 2.0, "down_mbyte_per_s": 4.0}}
    given = forecast.network_of(Links(devices=rates), ["one", "two"], None)
    assert given.pair_bytes_per_s()[1, 0] == 2e6
    assert given.pair_bytes_per_s()[0, 1] == 4e6
    shared = forecast.network_of(Links(shared_medium_mbyte_per_s=12.0), ["one", "two"], None)
    assert shared.pair_bytes_per_s()[0, 1] == 6e6  # every transfer crosses the access point's air twice
    (tmp_path / "n.json").write_text(json.dumps({"delay_ms": [[0, 3], [3, 0]], "bandwidth_gbps": [[1, 0.8], [0.8, 1]]}))
    filed = forecast.network_of(Links(file="n.json"), ["one", "two"], None, tmp_path)
    assert filed.pair_bytes_per_s()[0, 1] == pytest.approx(1e8)
    assert filed.delay_s[0, 1] == pytest.approx(0.003)
    with pytest.raises(UserError, match=r"n\.json: has .* the fleet has 3 members"):
        forecast.network_of(Links(file="n.json"), ["one", "two", "three"], None, tmp_path)
    links = {"one": [("two", 0.001, 9e6)], "two": [("one", 0.002, 1e6)]}
    record = {
        "members": [
            {
                "name": name,
                "result": {"fleet": {"links": [{"to": to, "delay_s": d, "bytes_per_s": b} for to, d, b in rows]}},
            }
            for name, rows in links.items()
        ]
    }
    measured = forecast.network_of(Links(source="measured"), ["one", "two"], record)
    assert measured.pair_bytes_per_s()[0, 1] == 9e6
    assert measured.pair_bytes_per_s()[1, 0] == 1e6
    record["members"].pop()
    with pytest.raises(UserError, match="lacks a pair"):
        forecast.network_of(Links(source="measured"), ["one", "two"], record)


def test_a_plan_of_ones_own_must_fit_the_model() -> None:
    fleet = Fleet(devices=["one", "two"], plan={"grid": [["one", "two"]], "layers": [1, 2]})
    with pytest.raises(UserError, match=r"plan\.layers: 3 layers in all, and the model has 4"):
        forecast.own_plan(fleet, SHAPE, 8)
    fitting = Fleet(devices=["one", "two", "three"], plan={"grid": [["one", "two"]], "layers": [1, 3]})
    assert forecast.own_plan(fitting, SHAPE, 8)["left_out"] == ["three"]


def test_simulated_fleet_gives_back_the_plan() -> None:
    fleet = Fleet(devices=["one", "two"])
    machines = [forecast.measured_machine(name, [run(name)], {"w": SHAPE}, fleet, None) for name in ("one", "two")]
    network = even_network(2, 1e9, 0.0)
    plan = {"grid": [["two", "one"]], "layers": [2, 2], "micro_batches": 4, "order": "gpipe"}
    step = forecast.simulate_fleet(fleet, SHAPE, machines, network, 8, plan, None)
    rows = forecast.simulation_rows(step, machines)
    assert [row["member"] for row in rows["members"]] == ["two", "one"]
    assert sum(row["busy_s"] for row in rows["members"]) == pytest.approx(2.0, rel=0.01)  # the work of one step alone
    assert rows["step_s"] < 2.0


def fleet_record(joules: float | None, idle: float | None) -> dict[str, Any]:
    """A run of one member: 10 steps in 20 s, of which it computed 12 s and exchanged 3 s."""

    def reading(window: str, value: float | None) -> dict[str, Any]:
        return {
            "window": window, "meter": "rapl", "component": "package-0", "joules": value,
            "uncertainty_joules": None if value is None else 0.0, "provenance": "absent" if value is None else "measured",
            "boundary": "cpu_package", "source": "x", "update_period_s": 0.1, "coverage": 1.0, "flags": [], "channel": "c",
        }  # fmt: skip

    windows = [
        {"name": name, "start_s": s, "end_s": e}
        for name, s, e in (("idle_before", 0, 10), ("train", 10, 30), ("idle_after", 30, 40))
    ]
    idles = [reading(name, None if idle is None else idle * 10) for name in ("idle_before", "idle_after")]
    result = {
        "training": {"steps": 10, "duration_s": 20.0, "loss_first": 2.0, "loss_last": 1.5}, "windows": windows,
        "readings": [*idles, reading("train", joules)], "device_facts": {"accelerator": {"kind": "cpu"}},
        "fleet": {
            "rank": 0, "stage": 0, "replica": 0, "layers": 4, "busy_s": 12.0, "wait_s": 8.0, "spent_s": {"reduce": 3.0},
            "sent_bytes": 1000, "received_bytes": 3000, "origin_s": 100.0, "clock_offset_s": 2.0,
            "last_step": {"spans": [["forward", 0, 5.0, 5.5]], "transfers": [["receive", "two", 8, 5.1, 5.2]]},
        },
    }  # fmt: skip
    member = {"name": "one", "rank": 0, "result": result}
    return {
        "run_id": "w/f/r1", "repeat": 1, "members": [member], "fleet": {"link": "tls"}, "content_sha256": "0" * 64,
    }  # fmt: skip


FORECAST = {
    "steps": 10, "tokens_per_step": 1024, "boundary": "fp32", "gradients": "fp32", "radio_joules_per_byte": 5e-8,
    "virtual": False,
    "plan": {
        "grid": [["one"]], "layers": [4], "micro_batches": 2, "order": "1f1b", "left_out": [], "statement": "s",
    },
}  # fmt: skip


def test_a_members_energy_is_split_by_its_idle_draw() -> None:
    rows = fleet_rows("w/f", [fleet_record(500.0, 4.0)], FORECAST)
    [member], [span, transfer] = rows["fleet_members"], rows["fleet_spans"]
    assert (member["busy_s"], member["exchange_s"], member["wait_s"]) == pytest.approx((1.2, 0.3, 0.5))
    assert member["idle_joules"] == pytest.approx(4.0 * 0.8)
    assert member["compute_joules"] + member["idle_joules"] == pytest.approx(50.0)
    assert member["radio_joules"] == pytest.approx(400 * 1.046 * 5e-8)
    assert rows["fleet_runs"][0]["energy_joules_per_step"] == pytest.approx(50.0 + member["radio_joules"])
    assert (span["start_s"], span["end_s"]) == pytest.approx((0.0, 0.5))
    assert transfer["start_s"] == pytest.approx(0.1)


def test_energy_that_is_absent_stays_absent() -> None:
    rows = fleet_rows("w/f", [fleet_record(None, None)], FORECAST)
    assert rows["fleet_members"][0]["compute_joules"] is None
    assert rows["fleet_runs"][0]["energy_joules_per_step"] is None
    assert rows["fleet_runs"][0]["provenance"] == "absent"


def test_a_draw_that_nobody_knows_is_not_zero_in_the_simulation() -> None:
    member = {
        "machine": 0, "member": "one", "stage": 0, "replica": 0, "layers": 4, "busy_s": 1.0, "wait_s": 0.0, "exchange_s": 0.0,
        "sent_bytes": 0.0, "received_bytes": 0.0, "compute_joules": 0.0, "idle_joules": 0.0, "radio_joules": 0.0,
    }  # fmt: skip
    simulation = {"step_s": 1.0, "members": [member], "spans": []}
    told = {**FORECAST, "simulation": simulation, "kinds": {"one": "one"}, "boundaries": {"one": None}}
    [absent] = fleet_rows("w/f", [], {**told, "provenance": "absent"})["fleet_runs"]
    assert absent["energy_joules_per_step"] is None
    [known] = fleet_rows("w/f", [], {**told, "provenance": "estimated"})["fleet_runs"]
    assert known["energy_joules_per_step"] == 0.0


def test_sums_know_their_weakest_part() -> None:
    part = {"compute_joules": 1.0, "idle_joules": 2.0, "radio_joules": 0.5, "provenance": "measured"}
    assert total_joules([part, part]) == 7.0
    assert weakest([part, {**part, "provenance": "estimated"}]) == "estimated"
    assert total_joules([part, {**part, "idle_joules": None}]) is None


def test_a_missing_run_has_its_reason_and_no_figure() -> None:
    record = {
        "run_id": "w/f/r1",
        "repeat": 1,
        "members": [],
        "missing": {"reason": "cyd: it fell \ud800"},
        "content_sha256": None,
    }
    [row] = fleet_rows("w/f", [record], FORECAST)["fleet_runs"]
    assert row["record_kind"] == "missing"
    assert row["missing_reason"] == "cyd: it fell ?"
    assert row.get("step_s") is None
