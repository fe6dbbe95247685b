"""When each step ended and what its loss was, found out without holding the device up."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from .accelerator import Accelerator


class StepLog:
    """The steps of one phase. Times are seconds on the run's clock, `origin` being its zero on `time.monotonic()`.

    On CUDA a step's end is an event in the stream and its loss a copy to pinned memory, both read once they are there;
    elsewhere every step is waited for.
    """

    def __init__(self, accelerator: Accelerator, phase: str, steps: int, tokens_per_step: int, origin: float) -> None:
        self._accelerator, self._origin = accelerator, origin
        self.phase, self.steps, self.tokens_per_step = phase, steps, tokens_per_step
        self.start_s = 0.0
        self._ends_s: list[float] = []
        self._losses = torch.zeros(steps, dtype=torch.float32, pin_memory=accelerator.kind == "cuda")
        self._events: list[Any] = []

    def begin(self, start_s: float) -> None:
        """The device is idle, the time is `start_s`, and the first step comes next."""
        self.start_s = start_s
        self._event()

    def add(self, loss: Tensor) -> None:
        """A step was given to the device; `loss` is its mean loss, on the device."""
        index = len(self._events) - 1 if self._events else len(self._ends_s)
        if self._events:
            self._losses[index].copy_(loss.detach(), non_blocking=True)
            self._event()
        else:
            self._losses[index] = loss.item()
            self._ends_s.append(time.monotonic() - self._origin)

    def done(self) -> int:
        """How many steps are known to have ended."""
        while len(self._ends_s) + 1 < len(self._events) and self._events[len(self._ends_s) + 1].query():
            elapsed_ms = self._events[0].elapsed_time(self._events[len(self._ends_s) + 1])
            self._ends_s.append(self.start_s + elapsed_ms / 1000)
        return len(self._ends_s)

    def last_loss(self) -> float:
        """The loss of the last step that has ended; there must be one."""
        return float(self._losses[self.done() - 1])

    def tokens_per_second(self) -> float | None:
        """Over all steps that have ended."""
        done = self.done()
        elapsed_s = self._ends_s[done - 1] - self.start_s if done else 0.0
        return done * self.tokens_per_step / elapsed_s if elapsed_s > 0 else None

    def rows(self) -> list[dict[str, Any]]:
        """One row a step that has ended, as steps.jsonl has them."""
        starts_s = [self.start_s, *self._ends_s]
        return [
            {
                "step": index + 1,
                "phase": self.phase,
                "start_s": round(starts_s[index], 6),
                "duration_s": round(starts_s[index + 1] - starts_s[index], 6),
                "loss": float(self._losses[index]),
                "tokens": self.tokens_per_step,
            }
            for index in range(self.done())
        ]

    def _event(self) -> None:
        if self._accelerator.kind == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._events.append(event)
