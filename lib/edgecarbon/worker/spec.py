"""The work order that a host sends: read, checked field by field, and never guessed at."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from .errors import WorkerError

SCHEMA = "edgecarbon.spec/1"
VALIDATION_SCHEMA = "edgecarbon.validation/1"


@dataclass(frozen=True)
class ModelSpec:
    """Which model: a transformers config as a dictionary, and where its weights come from."""

    name: str
    config: dict[str, Any]
    weights: str
    revision: str | None


@dataclass(frozen=True)
class TrainingSpec:
    """How to train. `batch_size` is the effective batch in sequences; `micro_batch_size` the largest to try first."""

    batch_size: int
    sequence_length: int
    steps: int
    warmup_steps: int
    learning_rate: float
    weight_decay: float
    max_grad_norm: float | None
    precision: str
    seed: int
    micro_batch_size: int | None
    activation_checkpointing: bool
    compile: str | bool
    threads: int | None


@dataclass(frozen=True)
class DataSpec:
    """Token blocks: little-endian int32, C order, shape (blocks, sequence_length)."""

    path: Path
    sha256: str
    blocks: int
    sequence_length: int


@dataclass(frozen=True)
class Peak:
    """A device's peak throughput in TFLOP/s at one precision, and where the figure was published."""

    tflops: float
    precision: str
    source: str


@dataclass(frozen=True)
class DeviceSpec:
    """Which accelerator to use: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`."""

    accelerator: str
    peak: Peak | None


@dataclass(frozen=True)
class MeasurementSpec:
    """Which windows to measure, in seconds, and with which meters."""

    idle_before_s: float
    idle_after_s: float
    sample_period_s: float
    minimum_window_s: float
    meters: list[str]
    estimate: dict[str, Any] | None


@dataclass(frozen=True)
class Spec:
    """One run, wholly described."""

    nonce: str
    run_id: str
    payload_sha256: str | None
    deadline_s: float
    model: ModelSpec
    training: TrainingSpec
    data: DataSpec
    device: DeviceSpec
    measurement: MeasurementSpec
    fleet: dict[str, Any] | None = None
    """A fleet's run, as `pipeline.plan.parse_plan` reads it; None trains alone."""


@dataclass(frozen=True)
class ValidationSpec:
    """Meters put to the test: idle, then each of `loads`, shares of the time above 0 and at most 1, then idle again."""

    nonce: str
    run_id: str
    payload_sha256: str | None
    deadline_s: float
    device: DeviceSpec
    measurement: MeasurementSpec
    window_s: float
    settle_s: float
    loads: list[float]


class Fields:
    """Takes the fields of one JSON object one by one, so that every message names the field and what was expected."""

    def __init__(self, data: Any, where: str) -> None:
        if not isinstance(data, dict):
            raise WorkerError("bad_spec", f"spec: {where or 'top level'}: expected an object, got {_show(data)}")
        self.data, self.where, self.seen = data, where, set[str]()

    def fail(self, name: str, expected: str) -> WorkerError:
        found = _show(self.data[name]) if name in self.data else "nothing"
        return WorkerError("bad_spec", f"spec: {self.path(name)}: expected {expected}, got {found}")

    def path(self, name: str) -> str:
        return f"{self.where}.{name}" if self.where else name

    def take(self, name: str) -> Any:
        self.seen.add(name)
        return self.data.get(name)

    def text(self, name: str, pattern: str = r"(?s).+", expected: str = "a text that is not empty") -> str:
        value = self.take(name)
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise self.fail(name, expected)
        return value

    def choice(self, name: str, choices: tuple[str | bool, ...]) -> Any:
        value = self.take(name)
        if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
            raise self.fail(name, "one of " + ", ".join(json.dumps(choice) for choice in choices))
        return value

    def integer(self, name: str, minimum: int) -> int:
        value = self.take(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise self.fail(name, f"a whole number of at least {minimum}")
        return value

    def number(self, name: str, *, minimum: float = 0.0, above: bool = False) -> float:
        value = self.take(name)
        good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not good or value < minimum or (above and value == minimum):
            raise self.fail(name, f"a number {'above' if above else 'of at least'} {minimum:g}")
        return float(value)

    def mapping(self, name: str) -> dict[str, Any]:
        value = self.take(name)
        if not isinstance(value, dict):
            raise self.fail(name, "an object")
        return value

    def part(self, name: str) -> Fields:
        return Fields(self.take(name), self.path(name))

    def absent(self, name: str) -> bool:
        """True where the field is null or missing; the field then counts as seen."""
        return self.take(name) is None

    def done(self) -> None:
        """Refuse what nobody asked for: a misspelt field must not be a silent default."""
        for name in self.data:
            if name not in self.seen:
                near = get_close_matches(str(name), self.seen, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise WorkerError("bad_spec", f"spec: {self.path(str(name))}: no such field{hint}")


def _show(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def load(path: Path) -> Any:
    """The spec file's JSON, not yet checked. Raises WorkerError(bad_spec) where it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WorkerError("bad_spec", f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise WorkerError("bad_spec", f"{path}: is not JSON: {error}") from error


def parse(data: Any, folder: Path) -> Spec | ValidationSpec:
    """Check the whole spec; `folder` is what a relative data path is relative to. Raises WorkerError(bad_spec)."""
    top = Fields(data, "")
    if top.data.get("schema") == VALIDATION_SCHEMA:
        return _validation(top)
    if top.take("schema") != SCHEMA:
        raise top.fail("schema", json.dumps(SCHEMA))
    spec = Spec(
        **_identity(top),
        model=_model(top.part("model")),
        training=_training(top.part("training")),
        data=_data(top.part("data"), folder),
        device=_device(top.part("device")),
        measurement=_measurement(top.part("measurement")),
        fleet=None if top.absent("fleet") else top.mapping("fleet"),
    )
    top.done()
    if spec.data.sequence_length != spec.training.sequence_length:
        raise top.part("data").fail("sequence_length", f"training.sequence_length, {spec.training.sequence_length}")
    return spec


def _validation(top: Fields) -> ValidationSpec:
    top.take("schema")
    loads = top.take("loads")
    if not isinstance(loads, list) or not loads or not all(isinstance(x, float | int) and 0 < x <= 1 for x in loads):
        raise top.fail("loads", "a list of numbers above 0, at most 1")
    spec = ValidationSpec(
        **_identity(top),
        device=_device(top.part("device")),
        measurement=_measurement(top.part("measurement")),
        window_s=top.number("window_s", above=True),
        settle_s=top.number("settle_s"),
        loads=[float(load) for load in loads],
    )
    top.done()
    return spec


def _identity(top: Fields) -> dict[str, Any]:
    """What names a job, and when it ends."""
    return {
        "nonce": top.text("nonce", r"[0-9a-f]{32}", "32 hexadecimal digits"),
        "run_id": top.text("run_id"),
        "payload_sha256": None if top.absent("payload_sha256") else _sha256(top, "payload_sha256"),
        "deadline_s": top.number("deadline_s", above=True),
    }


def _sha256(fields: Fields, name: str) -> str:
    return fields.text(name, r"[0-9a-f]{64}", "a SHA-256 of 64 hexadecimal digits")


def _model(fields: Fields) -> ModelSpec:
    model = ModelSpec(
        name=fields.text("name"),
        config=fields.mapping("config"),
        weights=fields.choice("weights", ("random", "pretrained")),
        revision=None if fields.absent("revision") else fields.text("revision"),
    )
    fields.done()
    Fields(model.config, "model.config").text("model_type")
    return model


def _training(fields: Fields) -> TrainingSpec:
    training = TrainingSpec(
        batch_size=fields.integer("batch_size", 1),
        sequence_length=fields.integer("sequence_length", 2),
        steps=fields.integer("steps", 1),
        warmup_steps=fields.integer("warmup_steps", 1),
        learning_rate=fields.number("learning_rate", above=True),
        weight_decay=fields.number("weight_decay"),
        max_grad_norm=None if fields.absent("max_grad_norm") else fields.number("max_grad_norm", above=True),
        precision=fields.choice("precision", ("auto", "fp32", "bf16")),
        seed=fields.integer("seed", 0),
        micro_batch_size=None if fields.absent("micro_batch_size") else fields.integer("micro_batch_size", 1),
        activation_checkpointing=fields.choice("activation_checkpointing", (True, False)),
        compile=fields.choice("compile", ("auto", True, False)),
        threads=None if fields.absent("threads") else fields.integer("threads", 1),
    )
    fields.done()
    if training.micro_batch_size is not None and training.micro_batch_size > training.batch_size:
        raise fields.fail("micro_batch_size", f"at most batch_size, {training.batch_size}")
    return training


def _data(fields: Fields, folder: Path) -> DataSpec:
    data = DataSpec(
        path=folder / fields.text("path"),
        sha256=_sha256(fields, "sha256"),
        blocks=fields.integer("blocks", 1),
        sequence_length=fields.integer("sequence_length", 2),
    )
    fields.done()
    return data


def _device(fields: Fields) -> DeviceSpec:
    accelerator = fields.text("accelerator", r"auto|cpu|mps|cuda(:\d+)?", "auto, cpu, cuda, cuda:N or mps")
    peak = None
    if not fields.absent("peak_tflops"):
        part = fields.part("peak_tflops")
        peak = Peak(part.number("value", above=True), part.choice("precision", ("fp32", "bf16")), part.text("source"))
        part.done()
    # For the record only: a virtual host's figures are this machine's.
    if not fields.absent("virtual") and not isinstance(fields.take("virtual"), bool):
        raise fields.fail("virtual", "true or false")
    fields.done()
    return DeviceSpec(accelerator, peak)


def _measurement(fields: Fields) -> MeasurementSpec:
    meters = fields.take("meters")
    if not isinstance(meters, list) or not meters or not all(isinstance(name, str) and name for name in meters):
        raise fields.fail("meters", 'a list of meter names such as ["auto"]')
    measurement = MeasurementSpec(
        idle_before_s=fields.number("idle_before_s"),
        idle_after_s=fields.number("idle_after_s"),
        sample_period_s=fields.number("sample_period_s", above=True),
        minimum_window_s=fields.number("minimum_window_s"),
        meters=meters,
        estimate=None if fields.absent("estimate") else _estimate(fields.part("estimate")),
    )
    fields.done()
    return measurement


def _estimate(fields: Fields) -> dict[str, Any]:
    idle_watts = fields.number("idle_watts")
    busy_watts = None if fields.absent("busy_watts") else fields.number("busy_watts")
    estimate = {
        "idle_watts": idle_watts,
        "busy_watts": busy_watts,
        "relative_uncertainty": fields.number("relative_uncertainty", above=True),
        "source": fields.text("source"),
    }
    fields.done()
    if busy_watts is not None and busy_watts < idle_watts:
        raise fields.fail("busy_watts", f"at least idle_watts, {idle_watts:g}")
    return estimate
