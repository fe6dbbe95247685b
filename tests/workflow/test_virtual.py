"""The workflow on virtual hosts: they start and end with it, and their energy is told as what it is."""

from __future__ import annotations

import os
import signal
import subprocess

import duckdb
import psutil
import pytest

import peers


@pytest.fixture
def virtual(fresh):
    """A checkout with the fleet that ships, and little to do."""
    subprocess.run([peers.ROOT / "tools/adbd"], check=True, stdout=subprocess.DEVNULL)
    (fresh.path / ".cache").mkdir(exist_ok=True)
    if (peers.ROOT / ".cache/adbd").exists():
        (fresh.path / ".cache/adbd").symlink_to(peers.ROOT / ".cache/adbd")
    small = {"idle_before_s": 0.3, "idle_after_s": 0.3}
    work = {
        "model": "edgecarbon/tiny-opt", "batch_size": 4, "sequence_length": 64, "steps": 40, "warmup_steps": 2, "threads": 1,
        "data": {"tokenizer": "byte-level"},
    }  # fmt: skip
    fresh.write_config(
        lambda config: config.update(repeats=1, measurement=small, workloads={"tiny-opt": work}, fleets=[]),
        "config/virtual-fleet.yaml",
    )
    return fresh


COMMAND = ("--configfile", "config/virtual-fleet.yaml")


def processes_of(checkout):
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        if process.info["status"] != psutil.STATUS_ZOMBIE and f"{checkout.path}/.fleet" in " ".join(
            process.info["cmdline"] or []
        ):
            found.append(process.info["cmdline"])
    return found


def test_whole_graph_on_virtual_hosts(virtual):
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, check=True).stdout
    finished = virtual.run(*COMMAND)
    assert finished.returncode == 0, finished.output
    with duckdb.connect(str(virtual.path / "results/edgecarbon.duckdb"), read_only=True) as database:
        found = database.execute(
            "SELECT device, provenance, virtual_host FROM runs WHERE record_kind = 'measured' ORDER BY 1"
        ).fetchall()
        sources = database.execute("SELECT DISTINCT source FROM readings WHERE run_id LIKE '%desk%'").fetchall()
        assert database.execute("SELECT * FROM missing_runs").fetchall() == []
    assert found == [(name, "estimated", True) for name in ("desk", "laptop", "old-laptop", "phone")]
    assert all("estimate for the host machine that carries the virtual hosts" in source for (source,) in sources)
    assert "virtual hosts on one machine" in (virtual.path / "results/report.html").read_text()
    assert not (virtual.path / ".fleet").exists()
    assert processes_of(virtual) == []
    assert subprocess.run(["ip", "-o", "link"], capture_output=True, check=True).stdout == links
    assert virtual.run(*COMMAND).jobs == {}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_virtual_hosts_end_with_a_workflow_that_is_ended(virtual, number):
    process = virtual.start(*COMMAND)
    peers.wait_for(
        lambda: list(virtual.path.glob("results/attempts/tiny-opt/*/r1/*/progress.jsonl")), "a run to begin", 240
    )
    assert processes_of(virtual)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.kill()
    process.communicate(timeout=400)
    peers.wait_for(lambda: not processes_of(virtual), "the virtual hosts to be gone")


def pair_of(virtual):
    """A fleet of one host behind ssh and one behind adb; what they do alone has one layer each."""
    fleet = {
        "devices": ["desk", "phone"], "links": {"source": "measured"}, "micro_batches": 2, "order": "1f1b", "join_s": 60,
        "plan": {"grid": [["desk", "phone"]], "layers": [1, 1]},
    }  # fmt: skip
    virtual.write_config(lambda data: data.update(fleets={"pair": fleet}), "config/virtual-devices.yaml")
    virtual.write_config(
        lambda config: config.update(
            devices=["desk", "phone"], fleets=["pair"], scaling={"device": "snapdragon-888-phone", "counts": [2, 8]}
        ),
        "config/virtual-fleet.yaml",
    )
    return virtual


def test_a_fleet_of_ssh_and_adb_trains_together_and_is_judged(virtual):
    pair = pair_of(virtual)
    finished = pair.run(*COMMAND)
    assert finished.returncode == 0, finished.output
    assert {name: finished.jobs[name] for name in finished.jobs if name.startswith("fleet")} == {
        "fleet_network": 1, "fleet_plan": 1, "fleet_forecast": 1, "fleet_measure": 1, "fleet_tables": 1, "fleet_scaling": 1,
    }  # fmt: skip
    with duckdb.connect(str(pair.path / "results/edgecarbon.duckdb"), read_only=True) as database:
        kinds = database.execute("SELECT record_kind, provenance, virtual_host FROM fleet_runs ORDER BY 1").fetchall()
        members = database.execute(
            "SELECT member, layers, sent_bytes, received_bytes FROM fleet_members WHERE fleet_run LIKE '%r1' ORDER BY rank"
        ).fetchall()
        losses = database.execute("SELECT loss_first FROM fleet_runs WHERE record_kind = 'measured'").fetchall()
        alone = database.execute("SELECT loss_first FROM runs WHERE device = 'desk'").fetchall()
        carbon = database.execute("SELECT count(*), min(total_grams) FROM fleet_carbon").fetchall()
        spans = database.execute("SELECT count(DISTINCT member) FROM fleet_spans WHERE fleet_run LIKE '%r1'").fetchall()
        sizes = database.execute("SELECT DISTINCT devices FROM fleet_scaling ORDER BY 1").fetchall()
    assert kinds == [("measured", "estimated", True), ("simulated", "estimated", True)]
    assert [row[:2] for row in members] == [("desk", 1), ("phone", 1)]
    assert members[0][2] == pytest.approx(members[1][3], rel=0.01)
    assert losses[0][0] == pytest.approx(
        alone[0][0], rel=2e-3
    )  # the same model on the same words; alone it warmed up alike
    assert carbon[0][0] > 0
    assert carbon[0][1] > 0
    assert spans == [(2,)]
    assert sizes == [(8,)] or sizes == [(2,), (8,)]
    assert "Training together" in (pair.path / "results/report.html").read_text()
    assert "PRIVATE KEY" not in "".join(
        path.read_text(errors="replace") for path in pair.path.glob("results/**/*.json")
    )
    assert processes_of(pair) == []
    # An assumption of the analysis measures nothing again; the fleet's own plan does.
    pair.write_config(lambda data: data["fleets"]["pair"].update(radio={"watts": 0.8}), "config/virtual-devices.yaml")
    jobs = pair.run(*COMMAND, "--", "results/edgecarbon.duckdb").jobs
    assert "fleet_measure" not in jobs
    assert jobs["fleet_forecast"] == 1


def test_a_fleet_whose_member_is_not_measured_alone_is_refused(virtual):
    pair = pair_of(virtual)
    pair.write_config(lambda config: config.update(devices=["desk"]), "config/virtual-fleet.yaml")
    refused = pair.run(*COMMAND)
    assert refused.returncode != 0
    assert "devices: 'phone' is a member of fleet 'pair', which is planned from its own runs; add it" in refused.output


def test_a_real_meter_is_no_meter_of_a_virtual_host(virtual):
    text = (virtual.path / "config/virtual-devices.yaml").read_text()
    (virtual.path / "config/virtual-devices.yaml").write_text(text.replace("meters: [estimate]", "meters: [rapl]", 1))
    refused = virtual.run(*COMMAND)
    assert refused.returncode != 0
    assert "config/virtual-devices.yaml: devices.desk: a virtual host has no energy of its own" in refused.output
