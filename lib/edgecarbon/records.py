"""Run records and attempts: what was measured is written once, checked by content, and never deleted.

`results/attempts/RUN/TIME-NONCE/` holds what one attempt brought back, whatever became of it.
`results/runs/RUN/record.json` is the one record of a run that the analysis reads. A rerun replaces the record and adds
an attempt.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
import time
from pathlib import Path
from typing import Any

from edgecarbon.errors import DeviceTrouble, TroubleKind, UserError

RECORD_SCHEMA = "edgecarbon.record/1"
RESULT_SCHEMA = "edgecarbon.result/1"
SPEC_SCHEMA = "edgecarbon.spec/1"
ATTEMPT_FILES = (
    "spec.json", "result.json", "steps.jsonl", "samples.jsonl.gz", "progress.jsonl", "host.json", "host_samples.jsonl.gz",
)  # fmt: skip
CLOSED = "closed"
"""Marks an attempt without a result of which nothing more can come."""
USED = "used"
"""Marks an attempt whose record the analysis has read; until then a start that was cut short takes it up again."""
MAXIMUM_RESULT_BYTES = 64 * 2**20
_WORKER_TROUBLE: dict[str, TroubleKind] = {"busy": "busy", "interrupted": "lost"}
"""What a failure that the worker reports is for the run, where it is not simply `failed`."""


def canonical_sha256(record: dict[str, Any]) -> str:
    """SHA-256 of a record's canonical JSON, leaving out the hash itself."""
    body = {key: value for key, value in record.items() if key != "content_sha256"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader sees either all of it or nothing, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Seal a record with its content hash and write it."""
    sealed = {**record, "content_sha256": canonical_sha256(record)}
    write_atomically(path, json.dumps(sealed, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_record(path: Path) -> dict[str, Any]:
    """Read a record and check its content hash.

    Raises:
        UserError: the file is missing, damaged, or of another schema.
    """
    problem = damage(path)
    if problem:
        raise UserError(f"{path}: {problem}. Start again: it is then set aside, and this run measured anew.")
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def damage(path: Path) -> str | None:
    """What is wrong with a record file, or None."""
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        return "there is no such record"
    except (OSError, ValueError) as error:
        return f"the record cannot be read ({error})"
    if not isinstance(record, dict) or record.get("schema") != RECORD_SCHEMA:
        return f"the record is not of schema {RECORD_SCHEMA}"
    try:
        intact = record.get("content_sha256") == canonical_sha256(record)
    except ValueError as error:
        return f"the record holds a number that is not finite ({error})"
    return None if intact else "the record's content does not match its hash"


def set_aside_damaged(records: list[Path], quarantine: Path) -> list[tuple[Path, Path, str]]:
    """Move damaged records out of the way, so that the workflow measures those runs, and only those, again.

    A record whose attempt has lost a file or had one cut short counts as damaged: its samples could not be read.

    Returns:
        (record, where it was moved to, what was wrong) of each.
    """
    moved = []
    for path in records:
        if not path.exists():
            continue
        problem = damage(path) or _attempt_damage(json.loads(path.read_bytes()))
        if problem:
            quarantine.mkdir(parents=True, exist_ok=True)
            target = quarantine / f"{'--'.join(path.parts[-4:-1])}--{_timestamp()}-{secrets.token_hex(2)}.json"
            path.rename(target)
            moved.append((path, target, problem))
    return moved


def _attempt_damage(record: dict[str, Any]) -> str | None:
    if not record.get("attempt"):
        return None
    for name, facts in record["attempt_files"].items():
        path = Path(record["attempt"]) / name
        size = path.stat().st_size if path.exists() else None
        if size != facts["bytes"]:
            found = "is missing" if size is None else f"has {size} bytes"
            return f"{path} {found}, {facts['bytes']} were recorded"
    return None


def new_attempt(attempts: Path) -> tuple[Path, str]:
    """Make the directory of a new attempt.

    Returns:
        the directory and the attempt's nonce.
    """
    nonce = secrets.token_hex(16)
    path = attempts / f"{_timestamp()}-{nonce[:8]}"
    path.mkdir(parents=True)
    return path, nonce


def finished_attempt(attempts: Path, core: dict[str, Any]) -> Path | None:
    """An attempt of this spec that was measured to its end, but whose host died before anything came of it.

    Args:
        attempts: directory of a run's attempts.
        core: the spec without nonce and deadline, which differ between attempts.

    Attempts that the analysis has read are left alone: then a new measurement was asked for.
    """
    for path in sorted(attempts.glob("*/")):
        if (path / USED).exists() or not (path / "result.json").exists():
            continue
        if _is_of(path, core):
            try:
                check_attempt(path, json.loads((path / "spec.json").read_bytes()))
            except DeviceTrouble:
                continue
            return path
    return None


def open_attempts(attempts: Path, core: dict[str, Any]) -> list[Path]:
    """Attempts of this spec without a result, of which one may yet come: the device may have finished it."""
    return [
        path
        for path in sorted(attempts.glob("*/"))
        if not (path / "result.json").exists() and not (path / CLOSED).exists() and _is_of(path, core)
    ]


def close_attempt(attempt: Path) -> None:
    """Say that nothing more will come of an attempt than what is there."""
    (attempt / CLOSED).touch()


def _is_of(attempt: Path, core: dict[str, Any]) -> bool:
    try:
        spec = json.loads((attempt / "spec.json").read_bytes())
    except (OSError, ValueError):
        return False
    return core == {key: value for key, value in spec.items() if key not in ("nonce", "deadline_s")}


def read_missing(path: Path) -> dict[str, Any] | None:
    """What a record says about a run that is missing; None where there is no record, or a measurement."""
    try:
        missing = json.loads(path.read_bytes()).get("missing")
    except (OSError, ValueError, AttributeError):
        return None
    return missing if isinstance(missing, dict) else None


def check_attempt(attempt: Path, spec: dict[str, Any]) -> dict[str, Any]:
    """Check what came back from a device, which is not trusted, and return its result.

    Raises:
        DeviceTrouble: with the reason why it is refused, or what failed on the device.
    """
    path = attempt / "result.json"
    if not path.exists():
        raise DeviceTrouble("failed", f"the device gave no result.json; its last words are in {attempt} and the log.")
    if path.stat().st_size > MAXIMUM_RESULT_BYTES:
        raise _refused(path, f"larger than {MAXIMUM_RESULT_BYTES} bytes")
    try:
        result = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"not plain JSON ({error})") from None
    if not isinstance(result, dict) or result.get("schema") != RESULT_SCHEMA:
        raise _refused(path, f"schema: expected {RESULT_SCHEMA}")
    for field in ("nonce", "run_id"):
        if result.get(field) != spec[field]:
            raise _refused(path, f"{field}: belongs to another run than the one asked for")
    if result.get("status") != "ok":
        cause = result.get("error")
        cause = cause if isinstance(cause, dict) else {}
        kind, message = str(cause.get("kind"))[:100], str(cause.get("message"))[:2000]
        raise DeviceTrouble(_WORKER_TROUBLE.get(kind, "failed"), f"failed on the device ({kind}): {message}")
    trains = spec["schema"] == SPEC_SCHEMA and (spec.get("fleet") or {}).get("mode") != "network"
    check_numbers(result, path, trains)
    return result


def check_numbers(result: dict[str, Any], path: Path, trains: bool) -> None:
    """No negative energy or time, no window that ends before it starts; else raises DeviceTrouble (`refused`)."""
    try:
        for window in result["windows"]:
            if not 0 <= window["start_s"] <= window["end_s"]:
                raise _refused(path, f"windows.{window['name']}: ends before it starts")
        for reading in result["readings"]:
            for field in ("joules", "uncertainty_joules"):
                value = reading[field]
                if value is not None and not (math.isfinite(value) and value >= 0):
                    raise _refused(path, f"readings.{reading['component']}.{field}: {value} is no energy")
        training = result["training"]
        if trains and not (0 < training["duration_s"] < math.inf and training["tokens"] > 0):
            raise _refused(path, "training: no time or no tokens")
    except (KeyError, TypeError, OverflowError) as error:
        raise _refused(path, f"a field is missing or of the wrong type ({error})") from None


def _refused(path: Path, reason: str) -> DeviceTrouble:
    return DeviceTrouble("refused", f"{path}: refused, {reason}.")


def attempt_files(attempt: Path) -> dict[str, dict[str, Any]]:
    """Size and hash of each file of an attempt."""
    present = [attempt / name for name in ATTEMPT_FILES if (attempt / name).exists()]
    return {path.name: {"sha256": file_sha256(path), "bytes": path.stat().st_size} for path in present}


def register(attempt: Path, record: dict[str, Any], path: Path) -> None:
    """Make an attempt the record of its run, and its files read-only."""
    write_record(path, record)
    for name in ATTEMPT_FILES:
        if (attempt / name).exists():
            (attempt / name).chmod(0o444)


def mark_used(attempt: Path) -> None:
    """Say that the analysis has read an attempt: from now on, measuring its run again means a new attempt."""
    (attempt / USED).touch()


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _timestamp() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
