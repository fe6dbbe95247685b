"""Holding the machine awake: by the tool that is there, never longer than the run, and never at its cost."""

import os
import signal
import subprocess
import sys
import time

import pytest

import peers
from edgecarbon.worker import awake as module
from edgecarbon.worker.awake import awake

HOLDS = '#!/bin/sh\necho $$ > "$(dirname "$0")/pid"\nwhile [ "$1" != sh ]; do shift; done\nexec "$@"\n'


def tool(folder, name, text):
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """A PATH with the shell's own tools and nothing that holds machines awake."""
    for name in ("sh", "cat", "dirname"):
        (tmp_path / name).symlink_to(f"/bin/{name}" if os.path.exists(f"/bin/{name}") else f"/usr/bin/{name}")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def holder_of(tools):
    """Process number of the tool that holds the machine awake, once it has begun."""
    told = tools / "pid"
    peers.wait_for(lambda: told.exists() and told.read_text().endswith("\n"), "the holder to begin")
    return int(told.read_text())


def gone(pid):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("name", ["caffeinate", "systemd-inhibit"])
def test_holder_lives_as_long_as_the_run(tools, name):
    tool(tools, name, HOLDS)
    with awake() as held:
        assert held == {"held_by": name, "reason": None}
        pid = holder_of(tools)
        os.kill(pid, 0)
    assert gone(pid)


def test_holder_goes_with_a_run_that_is_killed(tools):
    tool(tools, "caffeinate", HOLDS)
    code = "import time\nfrom edgecarbon.worker.awake import awake\nwith awake() as held: print(held, flush=True); time.sleep(60)"
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert "caffeinate" in run.stdout.readline()
    pid = holder_of(tools)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert gone(pid)


def test_refusal_and_absence_are_told_and_cost_nothing(tools, monkeypatch):
    with awake() as held:
        assert held["held_by"] is None
        assert "none of caffeinate, systemd-inhibit" in held["reason"]
    monkeypatch.setattr(module, "_SETTLE_S", 60.0)  # it is waited for no longer than it takes
    tool(tools, "systemd-inhibit", "#!/bin/sh\necho 'Failed to inhibit: Access denied' >&2\nexit 1\n")
    with awake() as held:
        assert held == {"held_by": None, "reason": "systemd-inhibit: Failed to inhibit: Access denied"}


def test_termux_lock_is_taken_and_given_back(tools):
    for name in ("termux-wake-lock", "termux-wake-unlock"):
        tool(tools, name, '#!/bin/sh\necho "$0" >> "${0%/*}/said"\n')
    with awake() as held:
        assert held["held_by"] == "termux-wake-lock"
    assert [line.rsplit("/", 1)[1] for line in (tools / "said").read_text().splitlines()] == [
        "termux-wake-lock",
        "termux-wake-unlock",
    ]
