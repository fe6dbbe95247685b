"""One run: model, meters, idle, warm-up, the measured training window, idle again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Protocol

import torch
import transformers
from torch import Tensor

from edgecarbon.meters import Recorder, open_meters

from .accelerator import Accelerator, choose_precision, select
from .attention import unpadded_causal_attention
from .awake import awake
from .errors import WorkerError
from .facts import device_facts, versions
from .flops import PeakRate, find_peak, flops_per_step
from .memory import keep_freed_memory, limit_to_free_memory
from .model import LoadedModel, load
from .progress import Progress
from .result import Outcome
from .spec import DeviceSpec, MeasurementSpec, Spec
from .steps import StepLog
from .tokens import batches, open_blocks
from .training import Engine


def train(spec: Spec, outcome: Outcome, progress: Progress) -> None:
    """Do all of `spec`; what is found goes into `outcome`. Raises WorkerError for a known failure."""
    outcome.versions = versions()
    accelerator = select_accelerator(spec.device, spec.training.threads)
    outcome.device_facts = device_facts(accelerator)
    outcome.minimum_window_s = spec.measurement.minimum_window_s
    precision = choose_precision(spec.training.precision, accelerator)
    recorder = open_recorder(spec.measurement, accelerator, outcome)

    progress.emit("phase", phase="prepare", seconds=None)
    loaded = load(spec.model, accelerator.device, spec.training.sequence_length, spec.training.seed)
    blocks = open_blocks(spec.data, loaded.vocabulary_size)
    peak = find_peak(accelerator, precision, spec.device.peak)
    if peak is None:
        progress.note(f"no peak FLOP/s is known for {accelerator.name()} at {precision}: MFU is left out")
    with awake() as held, unpadded_causal_attention():
        outcome.device_facts["awake"] = held
        engine = Engine(loaded, spec.training, accelerator, precision, progress.note)
        accelerator.synchronize()
        with recorder:
            run = Windows(
                spec, outcome, progress, engine, batches(blocks, spec.training.batch_size, spec.training.seed)
            )
            run.idle("idle_before", spec.measurement.idle_before_s)
            torch.manual_seed(spec.training.seed)  # dropout; building the model has used the generator
            run.warm_up()
            run.window()
            run.idle("idle_after", spec.measurement.idle_after_s)
    assert outcome.training is not None
    outcome.training |= _facts_of_training(spec, loaded, engine, precision, peak, outcome.training)


def select_accelerator(device: DeviceSpec, threads: int | None) -> Accelerator:
    """What to work on, with this process made ready for it."""
    if threads is not None:
        torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    accelerator = select(device.accelerator)
    if accelerator.kind == "cpu":
        keep_freed_memory()
        limit_to_free_memory()
    return accelerator


def open_recorder(measurement: MeasurementSpec, accelerator: Accelerator, outcome: Outcome) -> Recorder:
    assert outcome.device_facts is not None
    # Which meters there were none of, and why: beside a figure, an absence is a finding too.
    absent: dict[str, str] = outcome.device_facts.setdefault("meters_absent", {})
    try:
        meters = open_meters(
            measurement.meters, measurement.estimate, on_absent=absent.__setitem__, cuda_devices=accelerator.uuids()
        )
    except ValueError as error:
        raise WorkerError("bad_spec", f"spec: measurement.meters: {error}") from error
    outcome.recorder = Recorder(
        meters, measurement.sample_period_s, origin=outcome.origin, spool=outcome.out / "samples.jsonl.gz"
    )
    return outcome.recorder


class Trains(Protocol):
    """What trains: the engine of a lone device, or of a member of a fleet."""

    accelerator: Accelerator

    def warm_up(self, batches: Iterator[Tensor]) -> Iterator[Tensor]: ...

    def step(self, batch: Tensor) -> Tensor: ...


class Windows:
    """The windows of one run, one after the other, each with synchronised ends."""

    def __init__(
        self, spec: Spec, outcome: Outcome, progress: Progress, engine: Trains, source: Iterator[Tensor]
    ) -> None:
        self.spec, self.outcome, self.progress, self.engine, self.batches = spec, outcome, progress, engine, source
        self.accelerator = engine.accelerator

    def idle(self, name: str, seconds: float) -> None:
        """Do nothing for `seconds`, measured."""
        if seconds == 0:
            return
        self.progress.emit("phase", phase=name, seconds=seconds)
        end_s = self.outcome.open_window(name) + seconds
        while (left_s := end_s - self.outcome.now_s()) > 0:
            time.sleep(left_s)
        self.outcome.close_window()

    def warm_up(self) -> None:
        training = self.spec.training
        self.progress.emit("phase", phase="warmup", seconds=None)
        log = self._log("warmup", training.warmup_steps)
        self._begin(log)
        for loss in self.engine.warm_up(self.batches):
            log.add(loss)
            self._show(log)
        self.accelerator.synchronize()
        self.outcome.close_window()

    def window(self) -> None:
        """The measured training window."""
        training = self.spec.training
        self.progress.emit("phase", phase="train", seconds=None)
        log = self._log("train", training.steps)
        self.accelerator.reset_peak_memory()
        start_s = self._begin(log)
        for _ in range(training.steps):
            log.add(self.step())
            self._show(log)
        self.accelerator.synchronize()
        end_s = self.outcome.close_window()
        rows = log.rows()
        self.outcome.training = {
            "duration_s": end_s - start_s,
            "loss_first": rows[0]["loss"],
            "loss_last": rows[-1]["loss"],
            "peak_memory_bytes": self.accelerator.peak_memory_bytes(),
        }

    def step(self) -> Tensor:
        """One step of the measured window. Returns its loss."""
        return self.engine.step(next(self.batches))

    def _log(self, phase: str, steps: int) -> StepLog:
        training = self.spec.training
        tokens = training.batch_size * training.sequence_length
        log = StepLog(self.accelerator, phase, steps, tokens, self.outcome.origin)
        self.outcome.logs.append(log)
        return log

    def _begin(self, log: StepLog) -> float:
        self.accelerator.synchronize()
        start_s = self.outcome.open_window(log.phase)
        log.begin(start_s)
        return start_s

    def _show(self, log: StepLog) -> None:
        done = log.done()
        if not done or not (done == log.steps or self.progress.due()):
            return
        speed = log.tokens_per_second()
        watts = self.outcome.recorder.watts() if self.outcome.recorder else None
        self.progress.emit(
            "step",
            phase=log.phase,
            step=done,
            steps=log.steps,
            loss=log.last_loss(),
            tokens_per_second=speed,
            watts=watts and round(watts[0], 2),
            watts_provenance=watts and watts[1],
            remaining_s=self._remaining_s(log, done, speed),
        )

    def _remaining_s(self, log: StepLog, done: int, speed: float | None) -> float | None:
        if speed is None:
            return None
        steps = log.steps - done + (self.spec.training.steps if log.phase == "warmup" else 0)
        return round(steps * log.tokens_per_step / speed + self.spec.measurement.idle_after_s, 1)


def _facts_of_training(
    spec: Spec, loaded: LoadedModel, engine: Engine, precision: str, peak: PeakRate | None, measured: dict[str, Any]
) -> dict[str, Any]:
    training = spec.training
    tokens = training.steps * training.batch_size * training.sequence_length
    flops = flops_per_step(loaded.parameters, training.batch_size, training.sequence_length)
    achieved = flops * training.steps / measured["duration_s"]
    return {
        "parameters": loaded.parameters,
        "steps": training.steps,
        "batch_size": training.batch_size,
        "sequence_length": training.sequence_length,
        "tokens": tokens,
        "tokens_per_second": tokens / measured["duration_s"],
        "flops_per_step": flops,
        "model_flops_per_second": achieved,
        "peak_flops_per_second": peak.flops_per_second if peak else None,
        "peak_source": peak.source if peak else None,
        "mfu": achieved / peak.flops_per_second if peak else None,
        "precision": precision,
        "micro_batch_size": engine.micro_batch_size,
        "accumulation_steps": engine.accumulation_steps,
        "out_of_memory": engine.out_of_memory,
        "attention": loaded.attention,
        "activation_checkpointing": training.activation_checkpointing,
        "compiled": engine.compiled,
    }
