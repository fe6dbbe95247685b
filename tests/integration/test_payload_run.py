"""The payload as a process: what it writes, what it refuses, and how it ends."""

import ast
import gzip
import itertools
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

from edgecarbon.payload import _MAIN, build_payload
from payload_job import result_of, run_payload, write_job


def lines_of(spec, name):
    opened = gzip.open if name.endswith(".gz") else open
    with opened(spec.parent / "out" / name) as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    spec = write_job(tmp_path_factory.mktemp("payload") / "job")
    run = run_payload(sys.executable, spec)
    assert run.returncode == 0, run.stderr
    return spec, run


def test_windows_follow_each_other_and_hold_the_steps(finished):
    spec, _ = finished
    windows = {window["name"]: window for window in result_of(spec)["windows"]}
    ordered = [windows[name] for name in ("idle_before", "warmup", "train", "idle_after")]
    for before, after in itertools.pairwise(ordered):
        assert before["start_s"] <= before["end_s"] <= after["start_s"]
    steps = lines_of(spec, "steps.jsonl")
    assert [(step["phase"], step["step"]) for step in steps] == [
        ("warmup", 1),
        ("train", 1),
        ("train", 2),
        ("train", 3),
    ]
    for step in steps:
        window = windows[step["phase"]]
        assert window["start_s"] - 1e-3 <= step["start_s"]
        assert step["start_s"] + step["duration_s"] <= window["end_s"] + 1e-3
        assert step["tokens"] == 64


def test_samples_have_a_column_a_channel(finished):
    spec, _ = finished
    header, *ticks = lines_of(spec, "samples.jsonl.gz")
    assert header["schema"] == "edgecarbon.samples/1"
    assert header["channels"] == [channel["id"] for channel in result_of(spec)["channels"]]
    assert len(ticks) >= 8
    assert all(len(tick) == 1 + len(header["channels"]) for tick in ticks)
    times = [tick[0] for tick in ticks]
    assert times == sorted(times)


def test_progress_is_json_lines(finished):
    _, run = finished
    events = [json.loads(line) for line in run.stdout.splitlines()]
    assert [event["phase"] for event in events if event["event"] == "phase"][-2:] == ["train", "idle_after"]
    assert {key: events[-1][key] for key in ("event", "status")} == {"event": "done", "status": "ok"}
    times = [event["t_s"] for event in events]
    assert times[0] > 0
    assert times == sorted(times)  # by which the host sets its clock beside this one
    assert run.stderr == ""


def test_nothing_private_is_recorded(finished):
    spec, _ = finished
    text = (spec.parent / "out/result.json").read_text()
    name = os.uname().nodename
    if name not in platform.platform():  # a machine that is called "linux" cannot be told from its system
        assert re.search(rf"\b{re.escape(name)}\b", text) is None
    assert str(spec.parent) not in text


def test_same_seed_same_losses(finished, tmp_path):
    spec, _ = finished
    again, other = write_job(tmp_path / "again"), write_job(tmp_path / "other", training={"seed": 8})
    for job in (again, other):
        assert run_payload(sys.executable, job).returncode == 0
    losses = [[step["loss"] for step in lines_of(job, "steps.jsonl")] for job in (spec, again, other)]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_payload_is_the_same_bytes_each_time(tmp_path):
    first, second = build_payload(tmp_path / "a.pyz"), build_payload(tmp_path / "b.pyz")
    assert first == second
    assert (tmp_path / "a.pyz").read_bytes() == (tmp_path / "b.pyz").read_bytes()


BAD = {
    "unknown field": ({"training": {"batchsize": 4}}, "batchsize"),
    "negative steps": ({"training": {"steps": -1}}, "steps"),
    "words for a number": ({"training": {"learning_rate": "high"}}, "learning_rate"),
    "wrong schema": ({"schema": "edgecarbon.spec/9"}, "schema"),
    "unknown meter": ({"measurement": {"meters": ["rappl"]}}, "rapl"),
    "unknown accelerator": ({"device": {"accelerator": "tpu"}}, "accelerator"),
    "other tokens": ({"data": {"sha256": "0" * 64}}, "SHA-256"),
    "too few blocks": ({"data": {"blocks": 99}}, "blocks"),
    "another payload": ({"payload_sha256": "0" * 64}, "payload_sha256"),
    "unknown model type": ({"model": {"config": {"model_type": "optt"}}}, "optt"),
    "ids beyond the vocabulary": ({"model": {"config": {**{"model_type": "opt"}, "vocab_size": 100, "hidden_size": 32,
                                   "word_embed_proj_dim": 32, "num_attention_heads": 2}}}, "vocab"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_spec_is_one_clear_line(tmp_path, case):
    changes, word = BAD[case]
    spec = write_job(tmp_path / "job", **changes)
    run = run_payload(sys.executable, spec)
    assert run.returncode in (1, 2)
    assert word in run.stderr
    assert "Traceback" not in run.stderr
    result = result_of(spec)
    assert result["status"] == "failed"
    assert word in result["error"]["message"]


def start_guarded(spec, *arguments):
    """The payload as a transport starts it, on a machine that is its own."""
    command = [sys.executable, str(spec.parent / "payload.pyz"), "run", "--spec", str(spec)]
    return subprocess.Popen(
        [*command, "--out", str(spec.parent / "out"), "--guard", *arguments],
        cwd=spec.parent,
        env={**os.environ, "TMPDIR": str(spec.parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def until(process, phase):
    for line in process.stdout:
        if json.loads(line).get("phase") == phase:
            return
    raise AssertionError(process.stderr.read())


def group_gone(leader, seconds=30.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        living = [p for p in psutil.process_iter(["status"]) if p.info["status"] != psutil.STATUS_ZOMBIE]
        if not any(_group(p.pid) == leader for p in living):
            return True
        time.sleep(0.05)
    return False


def _group(pid):
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


@pytest.mark.parametrize("phase", ["prepare", "idle_before", "train"])
def test_host_gone_ends_the_group_and_keeps_what_was_measured(tmp_path, phase):
    # More steps than are done before the host is gone, however slow this test is.
    spec = write_job(tmp_path / "job", training={"steps": 20_000}, measurement={"idle_before_s": 1.0})
    process = start_guarded(spec)
    until(process, phase)
    process.stdin.close()
    process.wait(60)
    assert group_gone(process.pid)
    result = result_of(spec)
    assert (result["status"], result["error"]["kind"]) == ("failed", "interrupted")
    assert "Traceback" not in process.stderr.read()


def test_signal_and_closing_pipe_together_end_in_one_clear_line(tmp_path):
    spec = write_job(tmp_path / "job", measurement={"idle_before_s": 30})
    process = start_guarded(spec)
    until(process, "idle_before")
    process.send_signal(signal.SIGTERM)
    process.stdin.close()
    process.wait(60)
    assert group_gone(process.pid)
    assert result_of(spec)["error"]["kind"] == "interrupted"
    words = process.stderr.read()
    assert "Traceback" not in words
    assert words.count("\n") == 1


def test_deadline_ends_the_run(tmp_path):
    spec = write_job(tmp_path / "job", deadline_s=6, measurement={"idle_before_s": 60})
    process = start_guarded(spec)
    process.wait(60)
    assert group_gone(process.pid)
    assert result_of(spec)["error"]["kind"] == "deadline"


def test_a_host_that_falls_silent_ends_the_run_and_one_that_speaks_is_answered(tmp_path):
    spec = write_job(tmp_path, measurement={"idle_before_s": 60.0})
    process = start_guarded(spec, "--silence", "6")
    for _ in range(3):
        process.stdin.write("\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["event"] in ("alive", "phase")
        time.sleep(2.4)
    assert process.poll() is None, "three words in 7.2 s are no silence of 6 s"
    process.stdout.read()
    assert process.wait(60) != 0
    error = result_of(spec)["error"]
    assert error == {"kind": "interrupted", "message": "nothing was heard from the host for 6 s: the link is gone"}


def test_a_second_run_on_the_machine_waits_and_is_then_refused(tmp_path):
    first = write_job(tmp_path / "first", measurement={"idle_before_s": 60.0})
    second = write_job(tmp_path / "second")
    holder = start_guarded(first)
    until(holder, "idle_before")
    environment = {"TMPDIR": str(tmp_path / "first")}
    ended = run_payload(sys.executable, second, "--lock-wait", "0.5", environment=environment)
    assert ended.returncode == 1
    assert "waiting for the device, held by process" in ended.stdout
    assert result_of(second)["error"]["kind"] == "busy"
    holder.stdin.close()
    holder.wait(60)
    assert run_payload(sys.executable, second, environment=environment).returncode == 0


def test_probe_tells_the_time_for_each_line(tmp_path):
    write_job(tmp_path)
    ended = subprocess.run(
        [sys.executable, str(tmp_path / "payload.pyz"), "probe", "--clock"], input="\n\n", capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    facts, *times = [json.loads(line) for line in ended.stdout.splitlines()]
    assert facts["schema"] == "edgecarbon.probe/1"
    assert len(times) == 2
    assert all(abs(one["unix_s"] - time.time()) < 60 for one in times)


def test_an_old_python_is_told_in_words(tmp_path):
    """The payload's first lines must run on any Python 3, and so hold no syntax that an old one does not know."""
    ended = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.version_info = (3, 8, 1)\n{_MAIN}"], capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert "edgecarbon needs Python 3.11 or later; this is 3.8" in ended.stderr
    ast.parse(_MAIN, feature_version=(3, 4))


def test_without_torch_the_probe_runs_and_a_run_says_what_to_install(tmp_path):
    spec = write_job(tmp_path)
    bare = [sys.executable, "-S", str(tmp_path / "payload.pyz")]  # no site packages
    ended = subprocess.run([*bare, "probe"], capture_output=True, text=True, check=True, timeout=60)
    facts = json.loads(ended.stdout)
    assert facts["torch"] is None
    assert [problem["what"].split()[0] for problem in facts["problems"]] == ["torch", "transformers"]
    words = [*bare, "run", "--spec", str(spec), "--out", str(tmp_path / "out")]
    ended = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert ended.returncode == 2
    assert "pip install torch transformers" in result_of(spec)["error"]["message"]
