"""One run measured: the device taken, the payload run on it, what comes back checked, archived and recorded."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecarbon import records
from edgecarbon.beside import Clock, heard_by, meters_beside, with_readings
from edgecarbon.dispatch import Job, Transport, device_lock, open_transport
from edgecarbon.dispatch.condition import wait_until_fit
from edgecarbon.errors import DeviceTrouble
from edgecarbon.order import Order
from edgecarbon.progress import ProgressLine, printable

START = "EDGECARBON_START"
"""Environment variable with the time at which this start of the workflow began, Unix seconds."""


@dataclass(frozen=True)
class Task:
    """What is asked of one device.

    Attributes:
        run_id: how the result and people name it.
        name: the device's.
        device: its entry.
        core: the payload's spec without nonce and deadline: all that decides the result.
        inputs: files that it needs beside its spec, by the name that the spec calls them.
        deadline_s: a job that takes longer is ended.
        facts: what the record says of it beside what came back.
    """

    run_id: str
    name: str
    device: dict[str, Any]
    core: dict[str, Any]
    inputs: dict[str, Path]
    deadline_s: float
    facts: dict[str, Any]


def measure_run(
    order: Order, payload: Path, model: Path, tokens: Path, log: Path, attempts_root: Path, record: Path
) -> None:
    """Measure a run and write its record; where the device does not do it, a record that says why the run is missing.

    Args:
        payload: the zipapp that runs on the device.
        model: resolved architecture, JSON.
        tokens: token blocks; their description lies beside them with the ending `.json`.
        attempts_root: where the attempt's directory is made.

    Raises:
        UserError: something on this host is wrong.
    """
    run, sidecar = order.run, json.loads(tokens.with_suffix(".json").read_text(encoding="utf-8"))
    task = Task(
        run_id=run.run_id,
        name=run.device,
        device=order.device,
        core=spec_core(order, payload, json.loads(model.read_text(encoding="utf-8")), sidecar),
        inputs={"tokens.bin": tokens},
        deadline_s=order.deadline_s,
        facts={
            "workload": run.workload, "device": run.device, "repeat": run.repeat,
            "role": order.device["carbon"]["role"], "data": sidecar,
        },
    )  # fmt: skip
    do(task, payload, log, attempts_root / run.run_id, record, _wait_s(order, record))


def do(task: Task, payload: Path, log: Path, attempts: Path, record: Path, wait_s: float) -> None:
    """Have a task done and write its record; where the device does not do it, one that says why it is missing.

    Args:
        attempts: where the attempt's directory is made.
        wait_s: how long to wait for a device that is away, unfit or used by another.

    Raises:
        UserError: something on this host is wrong.
    """
    measurement = _Measurement(task, payload, log, attempts)
    try:
        measurement.make(record, wait_s)
    except DeviceTrouble as trouble:
        records.write_record(record, measurement.missing(trouble))
        print(f"{task.run_id}: MISSING ({trouble.kind}): {printable(str(trouble))}", file=sys.stderr)


class _Measurement:
    """A task's way to its record."""

    def __init__(self, task: Task, payload: Path, log: Path, attempts: Path) -> None:
        self.task, self.payload, self.log, self.attempts = task, payload, log, attempts
        self.attempt: Path | None = None

    def make(self, record: Path, wait_s: float) -> None:
        task = self.task
        transport = open_transport(task.name, task.device)
        with device_lock(transport.lock_key(), max(wait_s, task.deadline_s), self._tell):
            condition = wait_until_fit(transport, task.device["limits"], wait_s, self._tell)
            self._recover(transport)
            self.attempt = records.finished_attempt(self.attempts, task.core)
            if self.attempt is not None:
                self._tell(f"taking up {self.attempt}, measured to its end before the host or the link was gone")
            else:
                self.attempt = self._run(transport)
            records.register(self.attempt, {**self._record(self.attempt), "condition": condition}, record)

    def missing(self, trouble: DeviceTrouble) -> dict[str, Any]:
        """The record of a run that did not come about."""
        return {
            **self._facts("absent", self.attempt),
            "missing": {
                "kind": trouble.kind, "reason": trouble.reason, "remedy": trouble.remedy, "unix_s": time.time(),
            },
            "data": None, "spec": None, "result": None,
        }  # fmt: skip

    def _recover(self, transport: Transport) -> None:
        """Fetch what earlier jobs of this run may have finished after their host or link was gone."""
        for path in records.open_attempts(self.attempts, self.task.core):
            transport.recover(self._job(path))
            records.close_attempt(path)

    def _run(self, transport: Transport) -> Path:
        attempt, nonce = records.new_attempt(self.attempts)
        self.attempt = attempt
        spec = {**self.task.core, "nonce": nonce, "deadline_s": self.task.deadline_s}
        records.write_atomically(attempt / "spec.json", json.dumps(spec, indent=1, sort_keys=True) + "\n")
        with meters_beside(self.task.device, attempt) as clock:
            outcome = transport.run(self._job(attempt, clock))
        if outcome.lost and not (attempt / "result.json").exists():
            raise DeviceTrouble("lost", f"the link broke in the middle: {outcome.reason}.", f"The log is {self.log}.")
        if not (attempt / "result.json").exists():
            raise DeviceTrouble("failed", f"no result came back ({outcome.reason}).", f"See {self.log} and {attempt}.")
        return attempt

    def _job(self, attempt: Path, clock: Clock | None = None) -> Job:
        return Job(
            key=json.loads((attempt / "spec.json").read_text(encoding="utf-8"))["nonce"],
            label=self.task.run_id.replace("/", "--"),
            payload=self.payload,
            inputs=self.task.inputs,
            out=attempt,
            deadline_s=self.task.deadline_s,
            wait_s=self.task.device["limits"]["wait_s"],
            log=self.log,
            on_event=heard_by(clock, ProgressLine(self.task.run_id)),
        )

    def _record(self, attempt: Path) -> dict[str, Any]:
        """The record of a finished attempt. Raises DeviceTrouble where what the device brought back is refused."""
        spec = json.loads((attempt / "spec.json").read_text(encoding="utf-8"))
        result = records.check_attempt(attempt, spec)
        result, beside = with_readings(attempt, result, spec["measurement"]["minimum_window_s"])
        return {**self._facts("measured", attempt), "spec": spec, "result": result, "beside": beside}

    def _facts(self, provenance: str, attempt: Path | None) -> dict[str, Any]:
        return {
            "schema": records.RECORD_SCHEMA,
            "run_id": self.task.run_id,
            **self.task.facts,
            "provenance": provenance,
            "attempt": None if attempt is None else str(attempt),
            "attempt_files": {} if attempt is None else records.attempt_files(attempt),
        }

    def _tell(self, message: str) -> None:
        print(f"{self.task.run_id}: {printable(message)}", file=sys.stderr, flush=True)


def spec_core(order: Order, payload: Path, model: dict[str, Any], tokens: dict[str, Any]) -> dict[str, Any]:
    """Everything of a payload's spec that decides its result: the spec without nonce and deadline."""
    settings = order.settings
    training, device = settings["training"], settings["device"]
    return {
        "schema": records.SPEC_SCHEMA,
        "run_id": order.run.run_id,
        "payload_sha256": records.file_sha256(payload),
        "model": {
            "name": model["name"],
            "config": model["config"],
            "weights": settings["weights"],
            "revision": settings["revision"],
        },
        "training": {**training, "seed": training["seed"] + order.run.repeat - 1},
        "data": {
            "path": "tokens.bin",
            "sha256": tokens["sha256"],
            "blocks": tokens["blocks"],
            "sequence_length": tokens["sequence_length"],
        },
        "device": {
            "accelerator": device["accelerator"],
            "peak_tflops": device["peak_tflops"],
            "virtual": bool(device.get("virtual")),
        },
        "measurement": {**settings["measurement"], "meters": device["meters"], "estimate": device["estimate"]},
    }


def _wait_s(order: Order, record: Path) -> float:
    """How long to wait for the device: once in a start of the workflow is enough for all of its runs."""
    began = float(os.environ.get(START, "inf"))
    for path in record.parents[3].glob(f"*/{order.run.device}/*/record.json"):
        missing = records.read_missing(path)
        if missing and missing["kind"] in ("unreachable", "unfit", "busy") and missing["unix_s"] >= began:
            return 0.0
    wait_s: float = order.device["limits"]["wait_s"]
    return wait_s
