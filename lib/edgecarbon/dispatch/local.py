"""The machine that the workflow runs on."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from edgecarbon.dispatch.base import Job, Outcome
from edgecarbon.dispatch.process import END_S, Sinks, answer, stream
from edgecarbon.errors import DeviceTrouble


class LocalTransport:
    """Runs the payload as a process group of its own, which ends with its standard input: when this process dies."""

    def __init__(self, python: str | None) -> None:
        self.python = python or sys.executable
        self.directory = str(Path.cwd())

    def lock_key(self) -> str:
        return "this-machine"

    def ask(self, script: str, timeout_s: float = 60.0) -> str:
        printed = bytearray()
        ended = answer(["sh", "-c", script], None, timeout_s, printed.extend, 2**20)
        if ended.stopped:
            raise DeviceTrouble("unreachable", f"this machine's shell: {ended.stopped}.")
        return printed.decode(errors="replace")

    def run(self, job: Job) -> Outcome:
        staged = [_stage(source, job.out / name) for name, source in job.inputs.items()]
        staged += [_keep_private(job.out / name, content) for name, content in job.private.items()]
        folder = str(job.out)
        command = [self.python, str(job.payload), "run", "--spec", f"{folder}/spec.json", "--out", folder]
        try:
            ended = stream(
                [*command, "--guard", "--lock-wait", f"{job.wait_s:g}"],
                Sinks(job.out / "progress.jsonl", job.log, job.on_event),
                limit_s=job.deadline_s + job.wait_s + END_S,
                silence_s=None,
            )
        finally:
            for path in staged:
                path.unlink(missing_ok=True)
        return Outcome(ended.stopped or f"exit code {ended.returncode}")

    def end(self, job: Job) -> None:
        # The spec's path is this attempt's alone.
        self.ask(f"pkill -KILL -f -- {shlex.quote(str(job.out))}/spec.json")

    def recover(self, job: Job) -> None:
        pass  # what it wrote is here already, and it died with its host

    def probe_words(self, payload: Path) -> list[str]:
        return [self.python, str(payload), "probe", "--clock"]


def _stage(source: Path, target: Path) -> Path:
    target.symlink_to(source.resolve())
    return target


def _keep_private(target: Path, content: bytes) -> Path:
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    return target
