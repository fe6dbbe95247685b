"""The local transport with real processes: progress, deadlines, and nothing left behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from edgecarbon.dispatch import Job, Outcome, device_lock, process
from edgecarbon.dispatch import local as local_module
from edgecarbon.dispatch.local import LocalTransport
from edgecarbon.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def job(tmp_path, code, deadline_s=60.0, on_event=lambda event: None):
    """A job whose payload is a small Python program of the test's own."""
    payload = tmp_path / "payload.py"
    payload.write_text(textwrap.dedent(code))
    out = tmp_path / "attempt"
    out.mkdir()
    (out / "spec.json").write_text("{}")
    tokens = tmp_path / "blocks.bin"
    tokens.write_bytes(b"1234")
    return Job("key", "run", payload, {"tokens.bin": tokens}, out, deadline_s, 0.0, tmp_path / "log", on_event)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:  # gone since, or a system without /proc
        return not Path("/proc/self").exists()


def wait_gone(pid, seconds=30.0):
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not alive(pid)


def test_progress_is_streamed_and_kept(tmp_path):
    events = []
    outcome = LocalTransport(None).run(
        job(
            tmp_path,
            """
            import os, sys
            print('{"event": "note", "message": "hello"}', flush=True)
            print("no json", flush=True)
            print("[1]", flush=True)
            out = sys.argv[sys.argv.index("--out") + 1]
            assert open(os.path.join(out, "tokens.bin")).read() == "1234"
            print("words for the log", file=sys.stderr)
            """,
            on_event=events.append,
        )
    )
    assert outcome == Outcome("exit code 0")
    assert events == [{"event": "note", "message": "hello"}]
    assert (tmp_path / "attempt/progress.jsonl").read_text().splitlines()[1:] == ["no json", "[1]"]
    assert (tmp_path / "log").read_text() == "words for the log\n"
    assert not (tmp_path / "attempt/tokens.bin").exists(), "staged inputs are taken away again"


def test_deadline_ends_a_job_that_ignores_everything(tmp_path, monkeypatch):
    monkeypatch.setattr(local_module, "END_S", 0.5)
    monkeypatch.setattr(process, "END_S", 0.5)
    pids = []
    outcome = LocalTransport(None).run(
        job(
            tmp_path,
            """
            import json, os, signal, subprocess, time
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            child = subprocess.Popen(["sleep", "600"])
            print(json.dumps({"event": "pids", "pids": [os.getpid(), child.pid]}), flush=True)
            while True:
                time.sleep(1)
            """,
            deadline_s=5.5,
            on_event=lambda event: pids.extend(event["pids"]),
        )
    )
    assert "its deadline of 6 s had passed" in outcome.reason
    assert len(pids) == 2
    assert all(wait_gone(pid) for pid in pids)


def test_endless_output_without_a_line_end_is_no_trouble(tmp_path):
    outcome = LocalTransport(None).run(
        job(tmp_path, "import sys\nfor _ in range(200): sys.stdout.write('x' * 65536)", deadline_s=30)
    )
    assert outcome == Outcome("exit code 0")
    assert (tmp_path / "attempt/progress.jsonl").stat().st_size <= 200 * 65536


def test_missing_python_is_told(tmp_path):
    with pytest.raises(UserError, match="/nowhere/python cannot be started"):
        LocalTransport("/nowhere/python").run(job(tmp_path, ""))


HOST = """
import sys
from pathlib import Path
from edgecarbon.dispatch import Job
from edgecarbon.dispatch.local import LocalTransport
root = Path(sys.argv[1])
LocalTransport(None).run(Job("key", "run", root / "payload.py", {}, root / "attempt", 600, 0.0, root / "log",
                             lambda event: print(event["pid"], flush=True)))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_job_ends_when_its_host_does(tmp_path, number):
    """The payload's own guard is tested with the worker; this one ends with its input as that does."""
    job(
        tmp_path,
        """
        import json, os, sys
        print(json.dumps({"event": "pid", "pid": os.getpid()}), flush=True)
        sys.stdin.read()
        """,
    )
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        # A test run started in the background ignores Ctrl-C, and its children would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    pid = int(host.stdout.readline())
    assert alive(pid)
    host.send_signal(number)
    host.wait(30)
    assert wait_gone(pid)


def test_device_is_used_by_one_at_a_time():
    key = f"test-{os.getpid()}"
    code = f"""
import time
from edgecarbon.dispatch import device_lock
with device_lock({key!r}, 5):
    print("held", flush=True)
    time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    waited = []
    with pytest.raises(UserError, match=f"busy.*process {holder.pid}"), device_lock(key, 0.2, waited.append):
        pass
    assert len(waited) == 1
    holder.kill()
    holder.wait()
    with device_lock(key, 0.2):
        pass
