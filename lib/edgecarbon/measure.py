"""One run measured: the device taken, the payload run on it, what comes back checked, archived and recorded."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from edgecarbon import records
from edgecarbon.dispatch import Job, Transport, device_lock, open_transport
from edgecarbon.dispatch.condition import wait_until_fit
from edgecarbon.errors import DeviceTrouble
from edgecarbon.order import Order
from edgecarbon.progress import ProgressLine, printable

START = "EDGECARBON_START"
"""Environment variable with the time at which this start of the workflow began, Unix seconds."""


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
    measurement = _Measurement(order, payload, model, tokens, log, attempts_root / order.run.run_id)
    try:
        measurement.make(record, _wait_s(order, record))
    except DeviceTrouble as trouble:
        records.write_record(record, measurement.missing(trouble))
        print(f"{order.run.run_id}: MISSING ({trouble.kind}): {printable(str(trouble))}", file=sys.stderr)


class _Measurement:
    """One run's way from its order to its record."""

    def __init__(self, order: Order, payload: Path, model: Path, tokens: Path, log: Path, attempts: Path) -> None:
        self.order, self.run, self.attempts, self.log = order, order.run, attempts, log
        self.payload, self.tokens = payload, tokens
        self.sidecar = json.loads(tokens.with_suffix(".json").read_text(encoding="utf-8"))
        self.core = spec_core(order, payload, json.loads(model.read_text(encoding="utf-8")), self.sidecar)
        self.attempt: Path | None = None

    def make(self, record: Path, wait_s: float) -> None:
        transport = open_transport(self.run.device, self.order.device)
        with device_lock(transport.lock_key(), max(wait_s, self.order.deadline_s), self._tell):
            condition = wait_until_fit(transport, self.order.device["limits"], wait_s, self._tell)
            self._recover(transport)
            self.attempt = records.finished_attempt(self.attempts, self.core)
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
        for path in records.open_attempts(self.attempts, self.core):
            transport.recover(self._job(path))
            records.close_attempt(path)

    def _run(self, transport: Transport) -> Path:
        attempt, nonce = records.new_attempt(self.attempts)
        self.attempt = attempt
        spec = {**self.core, "nonce": nonce, "deadline_s": self.order.deadline_s}
        records.write_atomically(attempt / "spec.json", json.dumps(spec, indent=1, sort_keys=True) + "\n")
        outcome = transport.run(self._job(attempt))
        if outcome.lost and not (attempt / "result.json").exists():
            raise DeviceTrouble("lost", f"the link broke in the middle: {outcome.reason}.", f"The log is {self.log}.")
        if not (attempt / "result.json").exists():
            raise DeviceTrouble("failed", f"no result came back ({outcome.reason}).", f"See {self.log} and {attempt}.")
        return attempt

    def _job(self, attempt: Path) -> Job:
        return Job(
            key=json.loads((attempt / "spec.json").read_text(encoding="utf-8"))["nonce"],
            label=self.run.run_id.replace("/", "--"),
            payload=self.payload,
            inputs={"tokens.bin": self.tokens},
            out=attempt,
            deadline_s=self.order.deadline_s,
            wait_s=self.order.device["limits"]["wait_s"],
            log=self.log,
            on_event=ProgressLine(self.run.run_id),
        )

    def _record(self, attempt: Path) -> dict[str, Any]:
        """The record of a finished attempt. Raises DeviceTrouble where what the device brought back is refused."""
        spec = json.loads((attempt / "spec.json").read_text(encoding="utf-8"))
        result = records.check_attempt(attempt, spec)
        return {**self._facts("measured", attempt), "data": self.sidecar, "spec": spec, "result": result}

    def _facts(self, provenance: str, attempt: Path | None) -> dict[str, Any]:
        return {
            "schema": records.RECORD_SCHEMA,
            "run_id": self.run.run_id,
            "workload": self.run.workload,
            "device": self.run.device,
            "repeat": self.run.repeat,
            "role": self.order.device["carbon"]["role"],
            "provenance": provenance,
            "attempt": None if attempt is None else str(attempt),
            "attempt_files": {} if attempt is None else records.attempt_files(attempt),
        }

    def _tell(self, message: str) -> None:
        print(f"{self.run.run_id}: {printable(message)}", file=sys.stderr, flush=True)


def spec_core(order: Order, payload: Path, model: dict[str, Any], tokens: dict[str, Any]) -> dict[str, Any]:
    """Everything of a payload's spec that decides its result: the spec without nonce and deadline."""
    settings = order.settings
    training, device = settings["training"], settings["device"]
    return {
        "schema": "edgecarbon.spec/1",
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
