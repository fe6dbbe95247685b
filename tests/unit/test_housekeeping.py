"""A stale lock is told from a live one by the kernel, not by guessing."""

import os
import signal
import subprocess
import sys
import time

import pytest

from edgecarbon import housekeeping

HOLDER = """
import sys, time
from pathlib import Path
from edgecarbon import housekeeping
print(housekeeping.clear_stale_lock(Path(sys.argv[1])), flush=True)
time.sleep(float(sys.argv[2]))
"""


def start(state, seconds):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(state), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    cleared = process.stdout.readline().strip()
    if not seconds:
        process.wait()  # it shares the lock until it has ended
    return process, cleared


@pytest.fixture
def state(tmp_path):
    (tmp_path / ".snakemake/locks").mkdir(parents=True)
    return tmp_path / ".snakemake"


def leave_lock(state):
    (state / "locks").mkdir(exist_ok=True)
    (state / "locks/0.output.lock").write_text("results/report.html\n")


def test_lock_of_a_killed_process_is_cleared(state):
    killed, cleared = start(state, 60)
    assert cleared == "False"
    leave_lock(state)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    _, cleared = start(state, 0)
    assert cleared == "True"
    assert not (state / "locks").exists()


def test_lock_of_a_live_process_stays(state):
    live, _ = start(state, 60)
    try:
        leave_lock(state)
        _, cleared = start(state, 0)
        assert cleared == "False"
        assert (state / "locks/0.output.lock").exists()
    finally:
        live.kill()


def test_a_second_process_keeps_the_first_ones_lock_safe_from_a_third(state):
    first, _ = start(state, 60)
    leave_lock(state)
    second, _ = start(state, 60)
    try:
        first.kill()
        first.wait()
        _, cleared = start(state, 0)
        assert cleared == "False", "the second process lives, and the lock may be its own"
    finally:
        second.kill()
        second.wait()
    _, cleared = start(state, 0)
    assert cleared == "True"


def test_what_a_cache_keeps_goes_once_nobody_has_used_it_for_a_month(tmp_path):
    housekeeping.forget_unused(tmp_path / "none")
    (tmp_path / "folder").mkdir()
    for name, days in (("old.js", 31), ("folder/old.json", 31), ("folder/used.json", 29), ("folder", 31)):
        if "." in name:
            (tmp_path / name).write_text("{}")
        os.utime(tmp_path / name, (time.time() - 86400 * days,) * 2)
    housekeeping.forget_unused(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "used.json"]
