"""Devices that were measured elsewhere: what one lab measured, another can stand beside its own.

`ship` writes the measured records of a device to `config/inputs/measured/NAME.json`, less what names the machine and the
people that they are from. An experiment that lists NAME under `measured_devices` takes from that file the runs that did
the same `Work`; of a workload that the file has no run of, it says so.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from edgecarbon import records
from edgecarbon.config.base import Section, validate
from edgecarbon.config.devices import DeviceCarbon
from edgecarbon.config.workload import Workload
from edgecarbon.errors import DeviceTrouble, UserError
from edgecarbon.order import Run

FOLDER = Path("config/inputs/measured")
SCHEMA = "edgecarbon.measured/1"
UNMATCHED = "unmatched"
"""The kind of a missing run of which the file has none. No start finds it otherwise, as long as file and workload stay."""
_WAY_OUT = "Get the file anew from whoever shipped it; `snakemake ship_device_NAME` writes such files."

# What a device's owner says of it holds elsewhere; what place and use it has there is the reader's to say.
_CARBON = {"role", "embodied", "lifetime_years", "battery"}
_CONDITION = (
    "model", "android", "unix_s", "load", "battery_percent", "battery_status", "charger_connected", "zones_celsius",
    "hottest_celsius", "throttled", "throttle_count",
)  # fmt: skip
# The attempt and the clock of the host's meters say something only where the samples are.
_LEFT_OUT = ("content_sha256", "beside", "attempt", "attempt_files", "condition")

_PART = r"[^\s/'\",;()]+"
_PATH = re.compile(rf"(?<![\w./~-])(?:file://)?(?:~[\w.-]*(?:/{_PART})+|(?:/{_PART}){{2,}})/?")
_OF_THE_SYSTEM = ("/sys/", "/proc/", "/dev/")
_UUID = re.compile(r",?\s*\b(?:GPU|MIG)(?:-GPU)?-[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?:/\d+)*")
_ADDRESS = re.compile(r"(?<=://)[^\s/]+")


@dataclass(frozen=True)
class Work:
    """What a run computes. Runs that agree in all of it stand beside each other; energy a token follows from each field.

    All else that a workload says is either how a device does it (micro-batch, compilation, threads), which belongs to what
    was measured, or changes no arithmetic (text, tokenizer, seed, learning rate, warm-up).

    Attributes:
        model: its name; of one in a local file, the file's.
        precision: as it was asked for: `auto`, `fp32` or `bf16`.
    """

    model: str
    weights: str
    batch_size: int
    sequence_length: int
    steps: int
    precision: str
    activation_checkpointing: bool

    @classmethod
    def of(cls, workload: Workload) -> Work:
        fields = workload.model_dump(include=set(cls.__dataclass_fields__))
        return cls(**{**fields, "model": _bare(workload.model)})

    def __str__(self) -> str:
        again = ", activations recomputed" if self.activation_checkpointing else ""
        return (
            f"{self.model} with {self.weights} weights, {self.steps} steps of {self.batch_size} × {self.sequence_length} "
            f"tokens, precision {self.precision}{again}"
        )


class _Part(Section):
    """What is read of a section that holds more."""

    model_config = ConfigDict(extra="ignore")


class _Training(_Part):
    batch_size: int
    sequence_length: int
    steps: int
    precision: str
    activation_checkpointing: bool


class _Model(_Part):
    name: str
    weights: str


class _Spec(_Part):
    model: _Model
    training: _Training


class _Trained(_Part):
    parameters: int
    precision: str


class _Result(_Part):
    training: _Trained


class _Record(_Part):
    schema_: Annotated[Literal["edgecarbon.record/1"], Field(alias="schema")]
    provenance: Literal["measured"]
    workload: str
    spec: _Spec
    result: _Result


class _File(Section):
    schema_: Annotated[Literal["edgecarbon.measured/1"], Field(alias="schema")]
    name: str
    written: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    carbon: DeviceCarbon
    runs: Annotated[list[dict[str, Any]], Field(min_length=1)]


class Arm(Section):
    """What the graph must know of a shipped device: file, carbon facts, and how often it has each workload (1: missing)."""

    file: str
    carbon: DeviceCarbon
    repeats: dict[str, int]


@dataclass(frozen=True)
class Measured:
    """A run in a file: its record, the work that it did, and the precision and parameters that it did it in."""

    record: dict[str, Any]
    workload: str
    work: Work
    precision: str
    parameters: int

    def did(self, work: Work) -> bool:
        """Whether this run is of that work. `auto` is a precision that the device chose: only its own `auto` is that."""
        agrees = work.precision == (self.work.precision if work.precision == "auto" else self.precision)
        return agrees and replace(work, precision=self.work.precision) == self.work


@dataclass(frozen=True)
class Shipped:
    """A file, checked."""

    path: Path
    carbon: DeviceCarbon
    written: str
    runs: list[Measured]

    def runs_of(self, workload: str, work: Work) -> list[Measured]:
        """The repeats of this work. Where several of the file's workloads did it, those of one: of this name, or the first."""
        found = [run for run in self.runs if run.did(work)]
        names = {run.workload for run in found}
        chosen = workload if workload in names else next((run.workload for run in found), None)
        return [run for run in found if run.workload == chosen]


def read(path: Path) -> Shipped:
    """Read and check a file.

    Raises:
        UserError: it is missing or malformed; names file, field and way out.
    """
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}). {_WAY_OUT}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error}). {_WAY_OUT}") from None
    try:
        file = validate(_File, data, str(path))
        runs = [_measured(record, f"{path}: runs.{index}") for index, record in enumerate(file.runs)]
    except UserError as error:
        raise UserError(f"{error}\n{path}: {_WAY_OUT}") from None
    return Shipped(path, file.carbon, file.written, runs)


def _measured(record: dict[str, Any], where: str) -> Measured:
    try:
        intact = record.get("content_sha256") == records.canonical_sha256(record)
    except ValueError:
        intact = False  # a number that is not finite
    if not intact:
        raise UserError(f"{where}: its content does not match its content_sha256")
    told = validate(_Record, record, where)
    try:
        records.check_numbers(record["result"], Path(where), trains=True)
    except DeviceTrouble as trouble:
        raise UserError(trouble.reason) from None
    spec, trained = told.spec, told.result.training
    work = Work(model=_bare(spec.model.name), weights=spec.model.weights, **spec.training.model_dump())
    return Measured(record, told.workload, work, trained.precision, trained.parameters)


def load_arm(folder: Path, name: str, workloads: Mapping[str, Workload]) -> Arm:
    """What the graph must know of a shipped device. Errors as `read`.

    Args:
        folder: of the project.
    """
    file = FOLDER / f"{name}.json"
    shipped = read(folder / file)
    found = {key: shipped.runs_of(key, Work.of(workload)) for key, workload in workloads.items()}
    return Arm(file=str(file), carbon=shipped.carbon, repeats={key: max(1, len(runs)) for key, runs in found.items()})


def record_of(path: Path, run: Run, workload: Workload, model: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a run, from the file; where the file has no such run, one that says so. Not sealed yet.

    Args:
        run: the workload and the device as they are called here.
        model: the workload's resolved model: name and parameters.

    Raises:
        UserError: as `read`.
    """
    shipped, work = read(path), Work.of(workload)
    repeats = shipped.runs_of(run.workload, work)
    names = {
        "run_id": run.run_id, "workload": run.workload, "device": run.device, "repeat": run.repeat,
        "role": shipped.carbon.role,
        "shipped": {"file": str(path), "sha256": records.file_sha256(path), "written": shipped.written},
    }  # fmt: skip
    if not repeats:
        there = "; ".join(dict.fromkeys(str(one.work) for one in shipped.runs))
        return _missing(names, f"{path} has no run of this work: {work}. What it has: {there}.")
    found = repeats[run.repeat - 1]
    if found.parameters != model["parameters"]:
        reason = f"{path} has {found.work.model} with {found.parameters:,} parameters, not {model['parameters']:,}."
        return _missing(names, reason)
    return {**found.record, **names}


def _missing(names: Mapping[str, Any], reason: str) -> dict[str, Any]:
    remedy = "Ask for a work that the file has, or measure the device with this one."
    return {
        "schema": records.RECORD_SCHEMA, **names, "provenance": "absent", "attempt": None, "attempt_files": {},
        "missing": {"kind": UNMATCHED, "reason": reason, "remedy": remedy, "unix_s": time.time()},
        "data": None, "spec": None, "result": None,
    }  # fmt: skip


def measured(name: str, paths: Sequence[Path]) -> list[dict[str, Any]]:
    """The records of a device that can be shipped.

    Args:
        paths: its records in the present experiment, of which some may not be there.

    Raises:
        UserError: nothing was measured, a record is damaged, or the device is a virtual host.
    """
    found = [record for path in paths if path.exists() if (record := records.read_record(path)).get("result")]
    if not found:
        raise UserError(
            f"{name}: no run of it in this experiment has been measured. List it under `devices` and start snakemake first."
        )
    if any((record["spec"].get("device") or {}).get("virtual") for record in found):
        raise UserError(f"{name}: a virtual host is no device, and its energy nobody else's. Ship a real device.")
    return found


def ship(name: str, carbon: Mapping[str, Any], found: Sequence[Mapping[str, Any]], folder: Path = FOLDER) -> Shipped:
    """Write a device's measured runs to a file that others can use. Equal runs leave an earlier file as it is.

    Args:
        carbon: the device's `carbon`.
        found: what `measured` found.
    """
    content = {
        "schema": SCHEMA,
        "name": name,
        "carbon": {key: value for key, value in carbon.items() if key in _CARBON},
        "runs": [portable(record) for record in found],
    }
    path = folder / f"{name}.json"
    if _content(path) != content:
        today = time.strftime("%Y-%m-%d", time.gmtime())
        records.write_atomically(path, json.dumps({**content, "written": today}, indent=1, sort_keys=True) + "\n")
    return read(path)


def _content(path: Path) -> dict[str, Any] | None:
    """What an earlier file holds, but for its date."""
    try:
        return {key: value for key, value in json.loads(path.read_bytes()).items() if key != "written"}
    except (OSError, ValueError, AttributeError):
        return None


def portable(record: Mapping[str, Any]) -> dict[str, Any]:
    """A measured record without what names a machine, a person or a place, sealed anew.

    Left out: where the attempt is and what files it has, the host's clock, of the condition all but charge and heat. Paths
    outside of /sys, /proc and /dev are cut to their last part, and so are the addresses of wall meters and the UUIDs of GPUs.
    """
    kept = {key: value for key, value in record.items() if key not in _LEFT_OUT}
    told = record.get("condition")
    spec, data = record["spec"], record.get("data")
    kept |= {
        "attempt": None,
        "attempt_files": {},
        "origin_sha256": record["content_sha256"],
        "condition": None if told is None else {key: told[key] for key in _CONDITION if told.get(key) is not None},
        "spec": {**spec, "model": {**spec["model"], "name": _bare(spec["model"]["name"])}},
        "data": None if data is None else {**data, "dataset": _bare(data["dataset"])},
    }
    cleaned: dict[str, Any] = _cleaned(kept)
    return {**cleaned, "content_sha256": records.canonical_sha256(cleaned)}


def _cleaned(part: Any) -> Any:
    """A part of a record with its texts free of names. A sensor's own source may hold its address; a cited one is kept."""
    if isinstance(part, str):
        return _UUID.sub("", _PATH.sub(_last, part))
    if isinstance(part, list):
        return [_cleaned(one) for one in part]
    if not isinstance(part, dict):
        return part
    cleaned = {key: _cleaned(value) for key, value in part.items()}
    if part.get("provenance") == "measured" and isinstance(part.get("source"), str):
        cleaned["source"] = _cleaned(_ADDRESS.sub("address", part["source"]))
    return cleaned


def _last(path: re.Match[str]) -> str:
    text = path.group().removeprefix("file://")
    return text if text.startswith(_OF_THE_SYSTEM) else Path(text).name


def _bare(name: str) -> str:
    """A name, or the last part of a path."""
    return Path(name).name if name.startswith((".", "/", "~")) or name.endswith((".json", ".jsonl", ".txt")) else name
