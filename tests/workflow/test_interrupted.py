"""Killed at any stage, the same command goes on: nothing measured is lost or counts twice, nothing is left running."""

import json
import os
import signal
import time

import duckdb
import psutil
import pytest

import peers

MEASURED = 2
RUNS = 3


@pytest.fixture
def fresh(fresh):
    """Two runs that are measured, and one that is modelled."""
    fresh.write_config(lambda config: config.update(reference_devices=config["reference_devices"][:1]))
    return fresh


def wait_for(checkout, pattern, process, seconds=240):
    """Until a file appears; polled fast, so that the kill comes at that very moment."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if next(checkout.path.glob(pattern), None):
            return
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.002)
    raise AssertionError(f"{pattern} never came")


def kill_everything(process):
    tree = psutil.Process(process.pid)
    for member in [*tree.children(recursive=True), tree]:
        try:
            member.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    process.communicate()


def left_running(checkout):
    here = str(checkout.path)
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "status"]):
        if process.info["status"] != psutil.STATUS_ZOMBIE and process.info["cwd"] == here:
            found.append(process.info["cmdline"])
    return found


def finished_results(checkout):
    """Attempts that were measured to their end."""
    results = [path / "result.json" for path in checkout.attempts()]
    return [path.parent for path in results if path.exists() and json.loads(path.read_bytes())["status"] == "ok"]


def assert_complete(checkout):
    records = [json.loads(path.read_bytes()) for path in checkout.records()]
    assert len(records) == RUNS
    used = [checkout.path / record["attempt"] for record in records if record["attempt"]]
    assert sorted(used) == sorted(finished_results(checkout)), "each finished measurement is used, and used once"
    assert len(used) == MEASURED
    with duckdb.connect(str(checkout.path / "results/edgecarbon.duckdb"), read_only=True) as database:
        assert database.execute("SELECT count(*), count(DISTINCT run_id) FROM runs").fetchone() == (RUNS, RUNS)
    assert (checkout.path / "results/report.html").exists()


REPORT = "results/report.html"
STAGES = {
    "while it measures": "results/attempts/tiny/local/*/*/samples.jsonl.gz",
    "as the result is written": "results/attempts/tiny/local/*/*/result.json",
    "between measurements and analysis": "results/parquet/tiny/local/*/run.parquet",
    "while the database is built": "results/edgecarbon.duckdb",
}
if int(os.environ.get("EDGECARBON_ROUNDS", "1")) > 1:  # as in test_orphans
    STAGES |= {
        "before the first measurement": "results/payload.pyz",
        "as the record is written": "results/runs/tiny/local/*/record.json",
        "as the report is written": "results/report.html",
    }


@pytest.mark.parametrize("stage", STAGES)
def test_killed_and_started_again(fresh, stage):
    process = fresh.start(REPORT)
    wait_for(fresh, STAGES[stage], process)
    kill_everything(process)
    kept = finished_results(fresh)
    again = fresh.run(REPORT)
    assert again.returncode == 0, again.output
    assert "Cleared the lock" in again.output
    assert set(kept) <= set(finished_results(fresh))
    assert_complete(fresh)
    assert fresh.run_well(REPORT) == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_hand_in_the_middle(fresh, number):
    process = fresh.start(REPORT)
    wait_for(fresh, "results/attempts/tiny/local/*/*/samples.jsonl.gz", process)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does on Ctrl-C
    else:
        process.send_signal(number)
    output, _ = process.communicate(timeout=240)
    assert process.returncode != 0
    assert "Traceback" not in output
    peers.wait_for(lambda: not left_running(fresh), "everything to be gone", 60)
    again = fresh.run(REPORT)
    assert again.returncode == 0, again.output
    assert_complete(fresh)


def test_second_start_beside_a_live_one_is_refused_and_harms_nothing(fresh):
    process = fresh.start(REPORT)
    wait_for(fresh, "results/attempts/tiny/local/*/*/samples.jsonl.gz", process)
    second = fresh.run(REPORT)
    assert second.returncode != 0
    assert "lock" in second.output.lower()
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert_complete(fresh)
