"""One run measured: the device taken, the payload run on it, what comes back checked, archived and recorded."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from edgecarbon import records
from edgecarbon.dispatch import Job, device_lock, open_transport
from edgecarbon.errors import UserError
from edgecarbon.plan import Project, Run
from edgecarbon.progress import ProgressLine


def measure_run(
    project: Project, run: Run, payload: Path, model: Path, tokens: Path, log: Path, attempts_root: Path, record: Path
) -> None:
    """Measure `run` and write its record.

    Args:
        payload: the zipapp that runs on the device.
        model: resolved architecture, JSON.
        tokens: token blocks; their description lies beside them with the ending `.json`.
        attempts_root: where the attempt's directory is made.

    Raises:
        UserError: the device was busy past the deadline, or what came back was refused; the attempt is kept.
    """
    device = project.devices[run.device]
    transport = open_transport(device)
    progress = ProgressLine(run.run_id)
    sidecar = json.loads(tokens.with_suffix(".json").read_text(encoding="utf-8"))
    core = spec_core(project, run, payload, json.loads(model.read_text(encoding="utf-8")), sidecar)
    attempts = attempts_root / run.run_id

    def tell_waiting(holder: str) -> None:
        print(f"{run.run_id}: waiting for the device, held by {holder}", file=sys.stderr, flush=True)

    with device_lock(transport.lock_key(), project.experiment.deadline_s, tell_waiting):
        attempt = records.finished_attempt(attempts, core)
        if attempt is not None:
            print(f"{run.run_id}: taking up {attempt}, measured to its end before the host stopped", file=sys.stderr)
        else:
            attempt, nonce = records.new_attempt(attempts)
            spec = {**core, "nonce": nonce, "deadline_s": project.experiment.deadline_s}
            records.write_atomically(attempt / "spec.json", json.dumps(spec, indent=1, sort_keys=True) + "\n")
            job = Job(payload, "run", {"tokens.bin": tokens}, attempt, project.experiment.deadline_s, log, progress)
            outcome = transport.run(job)
            if not (attempt / "result.json").exists():
                raise UserError(f"{run.run_id}: no result came back ({outcome.reason}); see {log} and {attempt}.")
        records.register(attempt, make_record(project, run, attempt, sidecar), record)


def spec_core(
    project: Project, run: Run, payload: Path, model: dict[str, Any], tokens: dict[str, Any]
) -> dict[str, Any]:
    """Everything of a payload's spec that decides its result: the spec without nonce and deadline."""
    settings = project.run_settings(run.workload, run.device)
    training, device = settings["training"], settings["device"]
    return {
        "schema": "edgecarbon.spec/1",
        "run_id": run.run_id,
        "payload_sha256": records.file_sha256(payload),
        "model": {
            "name": model["name"],
            "config": model["config"],
            "weights": settings["weights"],
            "revision": settings["revision"],
        },
        "training": {**training, "seed": training["seed"] + run.repeat - 1},
        "data": {
            "path": "tokens.bin",
            "sha256": tokens["sha256"],
            "blocks": tokens["blocks"],
            "sequence_length": tokens["sequence_length"],
        },
        "device": {"accelerator": device["accelerator"], "peak_tflops": device["peak_tflops"]},
        "measurement": {**settings["measurement"], "meters": device["meters"], "estimate": device["estimate"]},
    }


def make_record(project: Project, run: Run, attempt: Path, tokens: dict[str, Any]) -> dict[str, Any]:
    """The record of a finished attempt.

    Raises:
        UserError: what the device brought back is refused.
    """
    spec = json.loads((attempt / "spec.json").read_text(encoding="utf-8"))
    return {
        "schema": records.RECORD_SCHEMA,
        "run_id": run.run_id,
        "workload": run.workload,
        "device": run.device,
        "repeat": run.repeat,
        "role": project.devices[run.device].carbon.role,
        "provenance": "measured",
        "attempt": str(attempt),
        "attempt_files": records.attempt_files(attempt),
        "data": tokens,
        "spec": spec,
        "result": records.check_attempt(attempt, spec),
    }
