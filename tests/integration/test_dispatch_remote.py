"""Both transports to another machine, against a real sshd and a real adbd: staging, running, fetching, clearing up."""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgecarbon.dispatch import base, process, quoting
from edgecarbon.dispatch.adb import AdbLink
from edgecarbon.dispatch.base import RESULT_FILES
from edgecarbon.dispatch.remote import BUSY, under_guard
from edgecarbon.dispatch.shell import ask
from edgecarbon.dispatch.ssh import SshLink
from edgecarbon.errors import DeviceTrouble
from remote_bench import SILENCE_S

TEXTS = st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=60)
WORKS = """
import json, os, sys
print(json.dumps({"event": "note", "message": "hello", "arguments": sys.argv}), flush=True)
print("no json", flush=True)
print("words for the log", file=sys.stderr)
assert open("tokens.bin").read() == "1234" * 1000
open("steps.jsonl", "w").write("{}\\n")
open("evil.sh", "w").write("never fetched")
open("result.json", "w").write('{"ok": true}')
"""


def left_on_device(bench):
    return sorted(path.name for path in (bench.folder / "attempts").iterdir())


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_gone(pid, seconds=30.0):
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not alive(pid)


def test_a_job_runs_and_leaves_nothing_but_the_blobs(bench):
    events = []
    job = bench.job(WORKS, on_event=events.append)
    outcome = bench.transport().run(job)
    assert (outcome.reason, outcome.lost) == ("exit code 0", False)
    assert json.loads((job.out / "result.json").read_text()) == {"ok": True}
    assert sorted(path.name for path in job.out.iterdir()) == [
        "progress.jsonl",
        "result.json",
        "spec.json",
        "steps.jsonl",
    ]
    assert events[0]["message"] == "hello"
    assert events[0]["arguments"][1:] == [
        "run", "--spec", "spec.json", "--out", ".", "--guard", "--silence", "6", "--lock-wait", "1",
    ]  # fmt: skip
    assert "no json" in (job.out / "progress.jsonl").read_text()
    assert (bench.host / "log").read_text() == "words for the log\n"
    assert left_on_device(bench) == []


def test_second_run_sends_nothing_but_the_spec(bench):
    first = bench.job(WORKS)
    transport = bench.transport()
    transport.run(first)
    assert transport.sent_bytes == first.payload.stat().st_size + 4000 + 2
    again = bench.transport()
    again.run(bench.job(WORKS))
    assert again.sent_bytes == 2


def test_a_blob_that_was_damaged_is_sent_again(bench):
    bench.transport().run(bench.job(WORKS))
    for blob in (bench.folder / "blobs").iterdir():
        blob.write_bytes(b"damaged")
    again = bench.transport()
    assert again.run(bench.job(WORKS)).reason == "exit code 0"
    assert again.sent_bytes > 4000


def test_exit_code_is_handed_on_and_no_result_is_told(bench):
    job = bench.job("import sys; sys.exit(7)")
    assert bench.transport().run(job) == base.Outcome("exit code 7", lost=False)
    assert not (job.out / "result.json").exists()
    assert left_on_device(bench) == []


def test_python_that_is_not_there_is_told(bench):
    job = bench.job()
    outcome = bench.transport(python="/no where/py'thon").run(job)
    assert outcome.reason.startswith("exit code 127: ")
    assert not outcome.lost
    assert "/no where/py'thon" in (bench.host / "log").read_text()


def test_deadline_holds_on_the_host_for_a_job_that_ignores_its_own(bench, monkeypatch):
    monkeypatch.setattr("edgecarbon.dispatch.remote.END_S", 1.0)
    pids = []
    job = bench.job(
        """
        import json, os, sys, time
        os.setsid()
        print(json.dumps({"event": "pid", "pid": os.getpid()}), flush=True)
        sys.stdin.read()  # ends as the payload's guard does
        """,
        deadline_s=8.0,  # shell and interpreter begin within it, however slow the machine
        on_event=lambda event: pids.append(event["pid"]),
    )
    outcome = bench.transport().run(job)
    assert "deadline of 10 s had passed" in outcome.reason
    assert wait_gone(pids[0])


def test_device_that_falls_silent_is_given_up(bench, monkeypatch):
    monkeypatch.setattr(process, "END_S", 1.0)
    job = bench.job("import sys, time; sys.stdin.read()", deadline_s=600)
    outcome = bench.transport(silence_s=2.0).run(job)
    assert "nothing was heard from the device for 3 s" in outcome.reason


def test_own_trainer_under_the_guard_of_plain_shell(bench):
    job = bench.job()
    trainer = ["sh", "-c", 'cp "$1" "$2/result.json"; echo "$3"', "trainer", "{spec}", "{out}", "it's $(never) `run`\n"]
    outcome = bench.transport(command=trainer).run(job)
    assert outcome.reason == "exit code 0"
    assert (job.out / "result.json").read_text() == "{}"
    assert "it's $(never) `run`" in (job.out / "progress.jsonl").read_text()


def test_own_trainer_ends_at_its_deadline_with_its_children(bench):
    job = bench.job(deadline_s=2.0)
    outcome = bench.transport(command=["sh", "-c", "sleep 987654 & echo $!; wait"]).run(job)
    assert "exit code 143: ended on the device: its deadline of 2 s had passed" in outcome.reason
    pid = int((job.out / "progress.jsonl").read_text().split()[0])
    assert wait_gone(pid)


HOLDS = """
import fcntl, os, sys, tempfile, time  # {mark}
file = open(tempfile.gettempdir() + "/edgecarbon-device.lock", "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


def test_own_trainer_takes_the_lock_that_the_worker_takes(bench):
    mark = secrets.token_hex(8)
    code = quoting.word(HOLDS.replace("{mark}", mark))
    holder = subprocess.Popen(bench.link.words(f"exec {sys.executable} -c {code}"), stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    holders = [one for one in psutil.process_iter(["cmdline"]) if mark in "".join(one.info["cmdline"] or [])]
    with pytest.raises(
        DeviceTrouble, match=r"used by another: .*edgecarbon-device\.lock is held; waited 1 s"
    ) as trouble:
        bench.transport(command=["true"]).run(bench.job())
    assert trouble.value.kind == "busy"
    assert left_on_device(bench) == []
    for one in holders:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(holders, timeout=30)
    holder.wait()
    assert bench.transport(command=["true"]).run(bench.job()).reason == "exit code 0"


def test_lock_without_the_flock_tool_is_a_folder_and_a_dead_holders_is_taken_over(bench, tmp_path):
    """As on macOS: the same shell text, on a path where the tool is not."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "cat", "mkdir", "rm", "sleep", "setsid", "true"):
        (tools / name).symlink_to(shutil.which(name))

    def run(patience):
        text = f"export PATH={tools} TMPDIR={tmp_path}; {under_guard(['true'], 30, 30, patience)}"
        with subprocess.Popen(["sh", "-c", text], cwd=tmp_path, stdin=subprocess.PIPE) as guarded:  # the host is there
            return guarded.wait(30)

    lock = tmp_path / "edgecarbon-device.lock.d"
    assert run(0) == 0
    assert not lock.exists()
    lock.mkdir()
    (lock / "holder").write_text(str(os.getpid()))
    assert run(1) == BUSY
    dead = subprocess.Popen(["true"])
    dead.wait()
    (lock / "holder").write_text(str(dead.pid))
    assert run(0) == 0
    assert not lock.exists()


@given(text=TEXTS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_termux_gets_the_script_through_run_as_unchanged(tmp_path, text):
    """A stand-in for `run-as`, which runs its words as the app would; the quoting is the real one, in two layers."""
    home = tmp_path / "termux"
    if not home.exists():
        (home / "usr/bin").mkdir(parents=True)
        (home / "usr/bin/sh").symlink_to("/bin/sh")
        (tmp_path / "run-as").write_text('#!/bin/sh\n[ "$1" = com.termux ] || exit 9\nshift\nexec "$@"\n')
        (tmp_path / "run-as").chmod(0o755)
    script = AdbLink("phone", termux=True).words(f"printf '%s|%s' \"$PREFIX\" {quoting.word(text)}")[-1]
    script = script.replace("/data/data/com.termux/files", str(home)).replace(" LD_PRELOAD=", " NOT_HERE=")
    path = f"{tmp_path}:/usr/bin:/bin"
    ended = subprocess.run(["sh", "-c", script], env={"PATH": path}, capture_output=True, check=True)
    assert ended.stdout.decode() == f"{home}/usr|{text}"


HOST = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from remote_bench import Bench
from edgecarbon.dispatch.adb import AdbLink
from edgecarbon.dispatch.ssh import SshLink
link = {link}
bench = Bench(link, Path({folder!r}), Path({host!r}))
command = {command!r}
job = bench.job({code!r}, deadline_s=600, on_event=lambda event: print(event["pid"], flush=True) if "pid" in event else None)
bench.transport(command=command).run(job)
"""
SLEEPS = """
import json, os, sys, threading
os.setsid()
print(json.dumps({"event": "pid", "pid": os.getpid()}), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("trainer", ["worker", "own"])
def test_job_ends_when_its_host_is_killed(bench, trainer):
    """Also where nobody is left on the host to end it: the pipe's end is what ends it."""
    here = os.path.dirname(__file__)
    link = (
        f"SshLink('peer', {bench.link._choice[1]!r}, 6.0)" if hasattr(bench.link, "host")
        else f"AdbLink({bench.link.serial!r}, False, {dict(word.split('=', 1) for word in bench.link._prefix[1:])!r}, "
        f"{bench.link._temporary!r})"
    )  # fmt: skip
    own = ["sh", "-c", "sleep 987654 & echo '{\"pid\": '$!'}'; wait"] if trainer == "own" else None
    code = HOST.format(
        tests=os.path.dirname(here), link=link, folder=str(bench.folder), host=str(bench.host), code=SLEEPS,
        command=own,
    )  # fmt: skip
    host = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(host.stdout.readline())
    assert alive(pid)
    host.kill()
    host.wait()
    assert wait_gone(pid)


def test_link_cut_in_the_middle_is_lost_and_not_success(bench, adbd, sshd, request):
    """`adb shell` exits 0 then: what counts is the result that came back."""
    started = []

    def cut(event):
        if "pid" in event and not started:
            started.append(event["pid"])
            if "ssh" in request.node.name:
                sshd.cut()
            else:
                adbd.kill_server()

    job = bench.job(SLEEPS, deadline_s=60, on_event=cut)
    try:
        outcome = bench.transport(wait_s=1.0).run(job)
    finally:
        if "adb" in request.node.name:
            adbd.start_server()
    assert outcome.lost
    assert not (job.out / "result.json").exists()
    assert wait_gone(started[0])


def test_adb_shell_exits_0_when_its_server_dies(adbd):
    """The reason for that rule, shown on the real thing."""
    client = subprocess.Popen(
        ["adb", "-s", adbd.serial, "shell", "-T", "echo begun; sleep 600"],
        env={**os.environ, **adbd.environment}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert client.stdout.readline() == "begun\n"
    try:
        adbd.kill_server()
        assert client.wait(60) == 0
    finally:
        adbd.start_server()


def test_result_of_a_job_whose_host_was_gone_is_recovered(bench):
    job = bench.job()
    (bench.folder / "attempts" / job.key).mkdir(parents=True)
    (bench.folder / "attempts" / job.key / "result.json").write_text("{}")
    bench.transport().recover(job)
    assert (job.out / "result.json").read_text() == "{}"
    assert left_on_device(bench) == []
    bench.transport().recover(bench.job())  # of which nothing is there


def test_device_that_is_not_there_is_told_with_the_way_out(tmp_path, sshd, adbd):
    config = tmp_path / "config"
    config.write_text(sshd.config.read_text().replace(f"Port {sshd.port}", "Port 1"))
    with pytest.raises(DeviceTrouble, match="refused") as trouble:
        ask(SshLink("peer", str(config), SILENCE_S), "true")
    assert (trouble.value.kind, "start sshd" in trouble.value.remedy) == ("unreachable", True)
    with pytest.raises(DeviceTrouble, match="not found") as trouble:
        ask(AdbLink("nobody", False, adbd.environment), "true")
    assert (trouble.value.kind, "adb devices" in trouble.value.remedy) == ("unreachable", True)


def test_unknown_host_key_is_refused_whatever_the_configuration_says(tmp_path, sshd):
    config = tmp_path / "config"
    (tmp_path / "known").touch()
    text = sshd.config.read_text().replace(str(sshd.folder / "known_hosts"), str(tmp_path / "known"))
    text = text.replace("HostName 127.0.0.1", "HostName localhost")  # not over the connection that others share
    config.write_text(text + "  StrictHostKeyChecking no\n")
    with pytest.raises(DeviceTrouble, match="Host key verification failed") as trouble:
        ask(SshLink("peer", str(config), SILENCE_S), "true")
    assert "ssh -F" in trouble.value.remedy


# --- what a device that means harm brings back ---


def test_too_large_a_file_is_refused_before_it_is_fetched(bench):
    job = bench.job(f"open('result.json', 'wb').truncate({RESULT_FILES['result.json'] + 1})")
    with pytest.raises(DeviceTrouble, match=r"result\.json has 67108865 bytes, more than"):
        bench.transport().run(job)
    assert not (job.out / "result.json").exists()
    assert left_on_device(bench) == []


@pytest.mark.parametrize(
    "said", ["result.json ² x", "result.json -1 x", "result.json " + "9" * 5000 + " x", "../x 1 x", "\0"]
)
def test_sizes_that_are_none_are_not_believed(bench, said):
    assert bench.transport()._announced(said) == {}


def test_endless_output_ends_the_job(bench, monkeypatch):
    monkeypatch.setattr(process, "MAXIMUM_OUTPUT_BYTES", 2**20)
    pids = []
    job = bench.job(
        """
        import json, os, sys, threading
        os.setsid()
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
        print(json.dumps({"event": "pid", "pid": os.getpid()}), flush=True)
        while True:
            sys.stdout.write("x" * 65536)
        """,
        on_event=lambda event: pids.append(event["pid"]),
    )
    outcome = bench.transport(wait_s=0.0).run(job)
    assert "printed more than 1048576 bytes" in outcome.reason
    assert (job.out / "progress.jsonl").stat().st_size < 2**21
    assert wait_gone(pids[0])


def test_links_to_elsewhere_and_folders_with_a_results_name_do_no_harm(bench):
    job = bench.job(
        """
        import os
        os.mkdir("steps.jsonl")
        os.symlink("/etc/hostname", "samples.jsonl.gz")
        open("result.json", "w").write("{}")
        """
    )
    bench.transport().run(job)
    assert not (job.out / "steps.jsonl").exists()
    # The link leads to a file of the device's, and what comes back is a plain file of its content.
    assert not (job.out / "samples.jsonl.gz").is_symlink()


def test_answers_that_never_end_are_cut(bench, monkeypatch):
    monkeypatch.setattr("edgecarbon.dispatch.shell.MAXIMUM_ANSWER_BYTES", 2**16)
    with pytest.raises(DeviceTrouble, match="printed more than"):
        ask(bench.link, "yes")
    with pytest.raises(DeviceTrouble, match="no answer within 1 s"):
        ask(bench.link, "sleep 100", timeout_s=1.0)


@given(TEXTS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_becomes_code(bench, text):
    """Names and paths with blanks, quotes, `$(...)`, newlines: what the device's shell sees is the text itself."""
    said, code = ask(bench.link, f"printf %s {quoting.word(text)}")
    assert (said, code) == (text, 0)
    said, code = ask(bench.link, f"printf %s {quoting.path('~/' + text)}")
    assert (said.endswith("/" + text), code) == (True, 0)


@pytest.mark.parametrize(
    "text", ["$(touch pwned)", "`touch pwned`", "'; touch pwned; '", "\n touch pwned\n", "-n", "a b", "\\", "!x"]
)
def test_known_injections_are_only_text(bench, text):
    assert ask(bench.link, f"printf '%s' {quoting.word(text)}") == (text, 0)
