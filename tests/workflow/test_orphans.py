"""However a start ends, at a random moment: nothing is left on the devices, nothing measured is lost or counts twice.

`EDGECARBON_ROUNDS=20 pytest tests/workflow/test_orphans.py -s` repeats each ending, and tells how often which stage was hit.
A single round leaves out the endings that differ from another one only in who hears of it first.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter

import duckdb
import psutil
import pytest
import yaml
from test_devices import fleet
from test_interrupted import kill_everything

ROUNDS = int(os.environ.get("EDGECARBON_ROUNDS", "1"))
ENDINGS = ["ctrl-c", "kill", "ssh silent", "adb silent", "adb server dies"]
if ROUNDS > 1:
    ENDINGS += ["term", "kill of snakemake alone", "ssh cut"]
# A device that is away is waited for, and each of these tests takes one away.
LIMITS = {"wait_s": 20.0, "silence_s": 6.0}
LONGEST_S = 11.0
"""A whole start takes about so long; the ending comes somewhere inside it."""


def left_running(folder):
    """Processes that were started for a job on a device: they stand in its folder or name it."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "status"]):
        words = [process.info["cwd"] or "", *(process.info["cmdline"] or [])]
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(str(folder) in word for word in words):
            found.append((process.pid, words))
    return found


def wait_until_nothing_runs(folder, seconds):
    end = time.monotonic() + seconds
    while (left := left_running(folder)) and time.monotonic() < end:
        time.sleep(0.2)
    assert left == []


def end(process, how, sshd, adbd):
    """Let a start end, and mend what was broken."""
    match how:
        case "ctrl-c":
            os.killpg(process.pid, signal.SIGINT)
        case "term":
            process.send_signal(signal.SIGTERM)
        case "kill":
            kill_everything(process)
        case "kill of snakemake alone":
            process.kill()
        case "ssh cut":
            sshd.cut()
        case "ssh silent":
            sshd.freeze()
        case "adb server dies":
            adbd.kill_server()
        case "adb silent":
            adbd.daemon().suspend()
    try:
        process.communicate(timeout=900)
    finally:
        # What was broken is mended, as a person would plug a cable in again; and other tests need it, too.
        if how == "ssh silent":
            sshd.cut()
        elif how == "adb silent":
            adbd.daemon().resume()
        elif how == "adb server dies":
            adbd.start_server()


def finished(checkout):
    results = [path / "result.json" for path in checkout.attempts()]
    return {path.parent for path in results if path.exists() and json.loads(path.read_bytes())["status"] == "ok"}


@pytest.mark.parametrize("how", ENDINGS)
@pytest.mark.timeout(7200)
def test_nothing_is_left_behind_lost_or_doubled(fresh, sshd, adbd, tmp_path, how):
    devices = {name: entry for name, entry in fleet(sshd, adbd, tmp_path / "devices").items() if name != "local"}
    for entry in devices.values():
        entry["limits"] = LIMITS
    fresh.environment |= adbd.environment
    (fresh.path / "config/devices.yaml").write_text(yaml.safe_dump({"devices": devices}))
    moments, dice = Counter(), random.Random(how)
    for round_number in range(1, ROUNDS + 1):
        # Two new runs a round, one over each transport.
        fresh.write_config(lambda config, n=round_number: config.update(devices=["laptop", "phone"], repeats=n))
        targets = ["results/edgecarbon.duckdb"]
        targets += [
            f"results/runs/tiny/{name}/r{n}/record.json" for name in devices for n in range(1, round_number + 1)
        ]
        process = fresh.start(*targets)
        time.sleep(dice.uniform(1.0, LONGEST_S))
        before = finished(fresh)
        ran_to_its_end = process.poll() is not None
        if not ran_to_its_end:
            end(process, how, sshd, adbd)
        process.communicate(timeout=900)
        wait_until_nothing_runs(tmp_path / "devices", 60)
        moments[
            "after its end" if ran_to_its_end else f"with {len(before) - 2 * (round_number - 1)} of 2 finished"
        ] += 1
        again = fresh.run(*targets)
        assert again.returncode == 0, again.output
        assert before <= finished(fresh), "a finished measurement was lost"
        assert_complete(fresh, round_number)
        wait_until_nothing_runs(tmp_path / "devices", 60)
        for name in devices:
            assert list((tmp_path / "devices" / name / "attempts").iterdir()) == [], "left on the device"
    print(f"\n{how}: {ROUNDS} rounds, {dict(moments)}")


def assert_complete(checkout, repeats):
    records = [json.loads(path.read_bytes()) for path in checkout.records()]
    measured = [record for record in records if record["provenance"] == "measured"]
    assert len(measured) == 2 * repeats, [record.get("missing") for record in records]
    used = {checkout.path / record["attempt"] for record in measured}
    assert used == finished(checkout), "each finished measurement is used, and used once"
    with duckdb.connect(str(checkout.path / "results/edgecarbon.duckdb"), read_only=True) as database:
        counts = database.execute(
            "SELECT count(*), count(DISTINCT run_id) FROM runs WHERE record_kind = 'measured'"
        ).fetchone()
    assert counts == (2 * repeats, 2 * repeats)
