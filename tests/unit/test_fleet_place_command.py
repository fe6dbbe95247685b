"""`python -m edgecarbon.fleet.place`: what it writes, and what it says of a bad input."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import edgecarbon.fleet
from edgecarbon.fleet import place

NETWORKS = Path(edgecarbon.fleet.__file__).parent / "networks"
FOUR = {
    # 0–1 and 2–3 are near: 1 ms and 10 Gbit/s, the rest 10 ms and 1 Gbit/s.
    "name": "two pairs",
    "delay_ms": [[0, 1, 10, 10], [1, 0, 10, 10], [10, 10, 0, 1], [10, 10, 1, 0]],
    "bandwidth_gbps": [[0, 10, 1, 1], [10, 0, 1, 1], [1, 1, 0, 10], [1, 1, 10, 0]],
    "groups": 2,
    "group_size": 2,
    "gradient_gigabytes": 1.0,
    "activation_gigabytes": 0.5,
}
DEVICE = {
    "flops_per_s": 1e11,
    "memory_gigabytes": 4,
    "busy_watts": 30,
    "idle_watts": 5,
    "radio_joules_per_megabyte": 0.05,
    "grams_per_kwh": 400,
    "embodied_grams_per_hour": 0.5,
}
EDGE = FOUR | {
    "devices": [DEVICE | {"name": f"laptop {index}"} for index in range(3)]
    + [DEVICE | {"name": "phone", "flops_per_s": 1e7}],
    "model": {
        "layers": 12,
        "width": 768,
        "ffn": 3072,
        "vocabulary": 50272,
        "positions": 2050,
        "sequence_length": 128,
        "tied": True,
    },
    "batch_size": 8,
}


@pytest.fixture
def asked(tmp_path, capsys):
    """Runs the command on a network; returns its exit code, what it wrote, and what it said."""

    def ask(network, *words):
        path, output = tmp_path / "network.json", tmp_path / "placement.json"
        path.write_text(network if isinstance(network, str) else json.dumps(network))
        try:
            code = place.main([str(path), "-o", str(output), *words])
        except SystemExit as stopped:
            code = stopped.code
        said = capsys.readouterr()
        assert said.out == ""
        return code, json.loads(output.read_text()) if output.exists() else None, said.err

    return ask


def test_communication_of_two_pairs(asked):
    code, found, said = asked(FOUR)
    assert (code, said) == (0, "")
    assert sorted(map(sorted, found["partition"])) in ([[0, 1], [2, 3]], [[0, 2], [1, 3]], [[0, 3], [1, 2]])
    # {0,2},{1,3} keeps the pipelines on the fast links, which costs as much as the other way round: 8.822 s.
    assert found["total_cost_s"] == pytest.approx(8.822)
    assert found["total_cost_s"] == pytest.approx(found["data_parallel_cost_s"] + found["pipeline_cost_s"])
    assert sorted(found["pipeline_order"]) == [0, 1]
    assert found["lower_bound_s"] <= found["total_cost_s"]
    assert isinstance(found["optimal"], bool)


def test_communication_of_a_published_network(asked):
    code, found, _ = asked((NETWORKS / "data_centre.json").read_text(), "--objective", "communication", "--seed", "1")
    assert code == 0
    assert sorted(device for group in found["partition"] for device in group) == list(range(64))
    assert [len(group) for group in found["partition"]] == [8] * 8
    assert found["total_cost_s"] == pytest.approx(3.4398, abs=1e-3)


@pytest.mark.parametrize(("objective", "unit"), [("time", "s"), ("energy", "joules"), ("carbon", "grams")])
def test_edge_objectives(asked, objective, unit):
    code, found, said = asked(EDGE, "--objective", objective)
    assert (code, said) == (0, "")
    assert found["left_out"][-1] == "phone"
    devices = [device for row in found["grid"] for device in row]
    assert len(devices) == len(set(devices)) == 4 - len(found["left_out"])
    assert sum(found["layers"]) == 12
    assert len(found["layers"]) == len(found["grid"][0])
    assert len(found["grid"]) * found["micro_batches"] * found["sequences"] == 8
    assert found["order"] in ("gpipe", "1f1b", "eager-1f1b")
    value = found[{"time": "step_s", "energy": "energy_joules", "carbon": "carbon_grams"}[objective]]
    assert found["optimal"]
    assert found[f"lower_bound_{unit}"] == pytest.approx(value)
    assert min(found["step_s"], found["energy_joules"], found["carbon_grams"]) > 0


def test_given_micro_batches_are_kept_to(asked):
    _, found, _ = asked(EDGE | {"micro_batches": [2]}, "--objective", "time")
    assert found["micro_batches"] == 2


def test_same_seed_same_file(asked):
    assert asked(EDGE, "--objective", "time", "--seed", "4") == asked(EDGE, "--objective", "time", "--seed", "4")


def changed(network, where, value):
    """A copy with the field at `where` set, or left out where the value is `del`."""
    network = copy.deepcopy(network)
    inner = network
    for step in where[:-1]:
        inner = inner[step]
    if value is del_:
        del inner[where[-1]]
    else:
        inner[where[-1]] = value
    return network


del_ = object()


@pytest.mark.parametrize(
    ("where", "value", "says"),
    [
        (["delay_ms"], del_, "delay_ms: is missing"),
        (["bandwidth_gbps"], del_, "bandwidth_gbps: is missing"),
        (["groups"], del_, "groups: is missing"),
        (["gradient_gigabytes"], del_, "gradient_gigabytes: is missing"),
        (["delay_ms"], 3, "delay_ms: must be a list"),
        (["delay_ms"], [], "delay_ms: is empty"),
        (["delay_ms", 2], [1, 2], "delay_ms[2]: must be a list of 4 numbers, one a device, is 2 numbers"),
        (["delay_ms", 0, 1], -1, "delay_ms[0][1]: must be a finite number of at least 0, is -1"),
        (["delay_ms", 0, 1], float("nan"), "delay_ms[0][1]: must be a finite number of at least 0, is NaN"),
        (["delay_ms", 0, 1], 2, "delay_ms[1][0]: is 1, but [0][1] is 2; a link has one figure"),
        (["delay_ms", 0, 1], "fast", "delay_ms[0][1]: must be a finite number"),
        (["delay_ms", 0, 1], True, "delay_ms[0][1]: must be a finite number"),
        (["bandwidth_gbps", 1, 0], 0, "bandwidth_gbps[1][0]: must be a finite number above 0, is 0"),
        (["bandwidth_gbps", 1, 0], float("inf"), "bandwidth_gbps[1][0]: must be a finite number above 0, is Infinity"),
        (["bandwidth_gbps"], [[0]], "bandwidth_gbps: has 1 rows, but delay_ms has 4"),
        (["groups"], 3, "groups, group_size: 3 × 2 places, but delay_ms has 4 devices"),
        (["groups"], 2.0, "groups: must be a whole number of at least 1, is 2.0"),
        (["group_size"], 0, "group_size: must be a whole number of at least 1, is 0"),
        (["gradient_gigabytes"], -1, "gradient_gigabytes: must be a finite number of at least 0, is -1"),
        (["activation_gigabytes"], 10**400, "activation_gigabytes: must be a finite number"),
        (["name"], 7, "name: must be a text"),
    ],
)
def test_bad_network(asked, where, value, says):
    _is_one_line(asked(changed(FOUR, where, value)), says)


@pytest.mark.parametrize(
    ("where", "value", "says"),
    [
        (["devices"], del_, "devices: is missing"),
        (["devices"], [], "devices: has 0, but delay_ms has 4 rows"),
        (["devices", 1], 5, "devices[1]: must be a JSON object"),
        (["devices", 1, "busy_watts"], del_, "devices[1].busy_watts: is missing"),
        (["devices", 1, "busy_watts"], -1, "devices[1].busy_watts: must be a finite number of at least 0, is -1"),
        (["devices", 1, "flops_per_s"], 0, "devices[1].flops_per_s: must be above 0"),
        (["devices", 1, "memory_gigabytes"], 0, "devices[1].memory_gigabytes: must be above 0"),
        (["devices", 1, "name"], "laptop 0", "devices[1].name: 'laptop 0' is also devices[0]"),
        (["model"], del_, "model: is missing"),
        (["model"], [], "model: must be a JSON object"),
        (["model", "layers"], 1.5, "model.layers: must be a whole number"),
        (["model", "layers"], 10**6, "model.layers: must be at most 1000"),
        (["model", "tied"], "yes", "model.tied: must be true or false"),
        (["batch_size"], del_, "batch_size: is missing"),
        (["batch_size"], 10**6, "batch_size: must be at most 4096"),
        (["micro_batches"], 4, "micro_batches: must be a list"),
        (["micro_batches"], [], "micro_batches: is empty"),
        (["micro_batches"], [2, 0], "micro_batches[1]: must be a whole number of at least 1, is 0"),
        (["micro_batches"], [3], "micro_batches: none of them divides the batch of 8"),
        (["model", "width"], 8192, "GB short"),
    ],
)
def test_bad_devices_or_model(asked, where, value, says):
    _is_one_line(asked(changed(EDGE, where, value), "--objective", "time"), says)


def _is_one_line(answer, says):
    code, found, said = answer
    assert code == 1
    assert found is None
    assert said.startswith("error: ")
    assert "network.json: " in said
    assert says in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null", "\udcff", "[" * 100_000])
def test_not_json(tmp_path, capsys, text):
    path = tmp_path / "network.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert place.main([str(path), "-o", str(tmp_path / "out.json")]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {path}: ")
    assert said.count("\n") == 1


def test_files_that_cannot_be_used(tmp_path, capsys):
    assert place.main([str(tmp_path / "absent.json"), "-o", str(tmp_path / "out.json")]) == 1
    assert "absent.json: cannot be read (No such file or directory)" in capsys.readouterr().err
    (tmp_path / "network.json").write_text(json.dumps(FOUR))
    assert place.main([str(tmp_path / "network.json"), "-o", str(tmp_path / "no/such/out.json")]) == 1
    assert "out.json: cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--objective", "beauty"], ["--seconds", "0"], ["--seconds", "nan"], ["--seed", "-1"], ["--seed", "x"]]
)
def test_bad_options(asked, words):
    code, found, said = asked(FOUR, *words)
    assert (code, found) == (2, None)
    assert f"argument {words[0]}" in said


def test_run_as_a_module(tmp_path):
    (tmp_path / "network.json").write_text(json.dumps(changed(FOUR, ["groups"], -2)))
    words = [sys.executable, "-m", "edgecarbon.fleet.place", "network.json", "-o", "placement.json"]
    done = subprocess.run(words, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "error: network.json: groups: must be a whole number of at least 1, is -2.\n"
