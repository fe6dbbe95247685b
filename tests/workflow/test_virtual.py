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
    fresh.write_config(lambda config: config.update(repeats=1, measurement=small), "config/virtual-fleet.yaml")
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_virtual_hosts_end_with_a_workflow_that_is_ended(virtual, number):
    process = virtual.start(*COMMAND)
    peers.wait_for(
        lambda: list(virtual.path.glob("results/attempts/tiny-opt/*/r1/*/progress.jsonl")), "a run to begin", 90
    )
    assert processes_of(virtual)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.kill()
    process.communicate(timeout=60)
    peers.wait_for(lambda: not processes_of(virtual), "the virtual hosts to be gone", 30)


def test_a_real_meter_is_no_meter_of_a_virtual_host(virtual):
    text = (virtual.path / "config/virtual-devices.yaml").read_text()
    (virtual.path / "config/virtual-devices.yaml").write_text(text.replace("meters: [estimate]", "meters: [rapl]", 1))
    refused = virtual.run(*COMMAND)
    assert refused.returncode != 0
    assert "config/virtual-devices.yaml: devices.desk: a virtual host has no energy of its own" in refused.output
