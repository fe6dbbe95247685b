"""Meters put to the test on one device: idle, loads that are held for a while, idle again, all meters read at once.

A load is a share of the time in which the accelerator multiplies matrices. Its bursts are of random length, so that no
sensor that looks now and then falls into step with them.
"""

from __future__ import annotations

import random
import time

import torch

from .accelerator import Accelerator
from .awake import awake
from .facts import device_facts, versions
from .progress import Progress
from .result import Outcome
from .run import open_recorder, select_accelerator
from .spec import ValidationSpec

BURST_S = 0.05
"""Work between two pauses, s, on average."""
_SIDE = {"cpu": 1024}
_SIDE_ELSEWHERE = 4096


def validate(spec: ValidationSpec, outcome: Outcome, progress: Progress) -> None:
    """Do all of `spec`; what is found goes into `outcome`. Raises WorkerError for a known failure."""
    outcome.versions = versions()
    accelerator = select_accelerator(spec.device, threads=None)
    outcome.device_facts = device_facts(accelerator)
    outcome.minimum_window_s = spec.measurement.minimum_window_s
    recorder = open_recorder(spec.measurement, accelerator, outcome)
    with awake() as held, recorder:
        outcome.device_facts["awake"] = held
        _window("idle_before", 0.0, spec, outcome, progress, accelerator)
        for load in spec.loads:
            _window(window_name(load), load, spec, outcome, progress, accelerator)
        _window("idle_after", 0.0, spec, outcome, progress, accelerator)


def window_name(load: float) -> str:
    return f"load_{round(load * 100)}"


def _window(
    name: str, load: float, spec: ValidationSpec, outcome: Outcome, progress: Progress, accelerator: Accelerator
) -> None:
    progress.emit("phase", phase=name, seconds=spec.settle_s + spec.window_s)
    work = _Work(accelerator, load)
    work.until(outcome.now_s() + spec.settle_s, outcome)
    work.until(outcome.open_window(name) + spec.window_s, outcome)
    accelerator.synchronize()
    outcome.close_window()


class _Work:
    """Keeps the accelerator busy for a share of the time."""

    def __init__(self, accelerator: Accelerator, load: float) -> None:
        self._accelerator, self._load, self._random = accelerator, load, random.Random(0)
        if load > 0:
            side = _SIDE.get(accelerator.kind, _SIDE_ELSEWHERE)
            self._matrix = torch.full((side, side), 1.0 / side, device=accelerator.device)

    def until(self, end_s: float, outcome: Outcome) -> None:
        while (left_s := end_s - outcome.now_s()) > 0:
            if self._load == 0:
                time.sleep(left_s)
                continue
            worked_s = self._burst(min(left_s, BURST_S * self._random.uniform(0.5, 1.5)))
            pause_s = worked_s * (1 / self._load - 1)
            time.sleep(min(pause_s, max(0.0, end_s - outcome.now_s())))

    def _burst(self, seconds: float) -> float:
        start_s = time.monotonic()
        while time.monotonic() - start_s < seconds:
            self._matrix = self._matrix @ self._matrix  # stays what it is: every entry 1/side
            self._accelerator.synchronize()
        return time.monotonic() - start_s
