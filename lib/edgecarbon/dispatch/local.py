"""The machine that the workflow runs on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from edgecarbon.dispatch.base import EventHandler, Job, Outcome

GRACE_S = 10.0
"""How much longer than its own deadline a job may take before the host ends it, and how long it may take to end."""
MAXIMUM_LINE_BYTES = 65536


class LocalTransport:
    """Runs the payload as a process group of its own, which ends with its standard input: when this process dies."""

    def __init__(self, python: str | None) -> None:
        self.python = python or sys.executable

    def lock_key(self) -> str:
        return "this-machine"

    def run(self, job: Job) -> Outcome:
        staged = [_stage(source, job.out / name) for name, source in job.inputs.items()]
        command = [self.python, str(job.payload), job.verb, "--spec", str(job.out / "spec.json"), "--out", str(job.out)]
        try:
            with job.log.open("ab") as log:
                return _run_guarded([*command, "--guard"], job, log.fileno())
        finally:
            for path in staged:
                path.unlink(missing_ok=True)


def _stage(source: Path, target: Path) -> Path:
    target.symlink_to(source.resolve())
    return target


def _run_guarded(command: list[str], job: Job, log: int) -> Outcome:
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
    except OSError as error:
        return Outcome(None, f"{command[0]} cannot be started: {error}")
    overdue = threading.Event()

    def end_overdue() -> None:
        overdue.set()
        _end_group(process)

    timer = threading.Timer(job.deadline_s + GRACE_S, end_overdue)
    timer.daemon = True
    timer.start()
    try:
        _stream(process, job.out / "progress.jsonl", job.on_event)
        returncode = process.wait()
    finally:
        timer.cancel()
        _end_group(process)
    if overdue.is_set():
        return Outcome(returncode, f"ended by the host: the deadline of {job.deadline_s:.0f} s had passed")
    return Outcome(returncode, f"exit code {returncode}")


def _stream(process: subprocess.Popen[bytes], path: Path, on_event: EventHandler) -> None:
    """Keep every line that the job prints, and hand on those that are progress."""
    assert process.stdout is not None
    with path.open("ab") as kept:
        while line := process.stdout.readline(MAXIMUM_LINE_BYTES):
            kept.write(line)
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict):
                    on_event(event)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the job and whatever it started: politely, then for good."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
