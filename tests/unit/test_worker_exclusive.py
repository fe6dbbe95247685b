"""One run at a time on a machine: a kernel lock, which no dead process holds."""

import os
import signal
import subprocess
import sys

import pytest

from edgecarbon.worker.errors import WorkerError
from edgecarbon.worker.exclusive import take_machine

HOLDER = """
import subprocess, sys, time
from edgecarbon.worker.exclusive import take_machine
take_machine("run w/d/r1", 5.0, print)
child = subprocess.Popen(["sleep", "60"])
print("held", child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path, monkeypatch):
    """A process that holds the machine, with a child that outlives it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    process = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True)
    held, child = process.stdout.readline().split()
    assert held == "held"
    yield process
    os.kill(int(child), signal.SIGKILL)
    process.kill()
    process.wait()


def test_second_is_told_who_holds_it_and_gives_up_in_time(holder):
    told = []
    with pytest.raises(WorkerError, match=r"held by run w/d/r1; waited 0\.2 s") as error:
        take_machine("run w/d/r2", 0.2, told.append)
    assert error.value.kind == "busy"
    assert told == ["run w/d/r1"]


def test_no_dead_process_holds_it_though_its_children_live(holder):
    holder.kill()
    holder.wait()
    waited = []
    take_machine("run w/d/r2", 0.0, waited.append)
    assert waited == []


def test_lock_file_is_for_every_user(holder, tmp_path):
    assert (tmp_path / "edgecarbon-device.lock").stat().st_mode & 0o777 == 0o666
