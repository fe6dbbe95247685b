"""One optimiser step of a fleet, as one member does it: its passes in schedule order, with every transfer beside them.

All receives of a step are posted before its first pass, and sends are not waited for, so that links work while the
processor does: a transfer costs time only where there is nothing to compute.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..accelerator import Accelerator
from ..loss import ChunkedHead
from ..spec import TrainingSpec
from ..training import make_optimizer
from . import codec
from .link import Key, Link, exchange_sum, ring_all_reduce
from .mesh import Transfer
from .plan import FleetPlan, sequences_each
from .schedule import passes
from .stage import Stage

FORWARD, BACKWARD, REDUCE, TIE, NORM, NORM_BACK = range(1, 7)
"""Channels: what a message between two members is."""


@dataclass(frozen=True)
class Span:
    """What this member did from when to when, on `time.monotonic()`: compute, or a wait for others.

    `kind` is forward, backward, optimizer (compute), wait (for a neighbour's tensor), reduce, tie or norm (exchanges).
    """

    kind: str
    micro_batch: int | None
    start_s: float
    end_s: float


COMPUTE = ("forward", "backward", "optimizer")


class FleetEngine:
    """This member's stage with its optimiser and its links."""

    def __init__(
        self,
        stage: Stage,
        plan: FleetPlan,
        link: Link,
        training: TrainingSpec,
        accelerator: Accelerator,
        precision: str,
    ) -> None:
        self.stage, self.plan, self.link, self.training = stage, plan, link, training
        self.accelerator, self.precision = accelerator, precision
        self.sequences = sequences_each(plan, training.batch_size)
        if training.activation_checkpointing:
            stage.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self.gradients = flatten_gradients(stage.model, accelerator.device)
        self.optimizer = make_optimizer(stage.model, training.learning_rate, training.weight_decay)
        self.head = None
        if stage.head is not None:
            dtype = torch.bfloat16 if precision == "bf16" else torch.float32
            self.head = ChunkedHead(stage.head.weight, stage.head.bias, dtype)
        self.shape = torch.Size((self.sequences, training.sequence_length, stage.width))
        self.spans: list[Span] = []
        self.steps = 0
        self._rooms: dict[tuple[int, int], Tensor] = {}
        self._sent: list[tuple[Transfer, Tensor]] = []
        self._scale = 1.0

    def warm_up(self, batches: Iterator[Tensor]) -> Iterator[Tensor]:
        """Train for the warm-up steps; yields each step's loss."""
        for _ in range(self.training.warmup_steps):
            yield self.step(next(batches))

    def step(self, batch: Tensor) -> Tensor:
        """One optimiser step on the fleet's whole batch (batch_size, length) int32, of which this replica takes its share.

        Returns:
            this replica's part of the mean loss at its last stage; NaN at the others, which do not know it.
        """
        self.spans = []
        loss = self.accumulate(batch)
        self.exchange()
        with self._span("optimizer"):
            self.optimizer.step()
            self.gradients.zero_()
        self.steps += 1
        return loss

    def accumulate(self, batch: Tensor) -> Tensor:
        """Forward and backward passes of all of this replica's micro-batches; the gradients add up in `gradients`."""
        plan, first, count = self.plan, self.plan.replica * self.plan.micro_batches, self.sequences
        own = batch[first * count : (first + plan.micro_batches) * count].to(self.accelerator.device).long()
        words = own.split(count)
        arriving = self._post(FORWARD, plan.before)
        returning = self._post(BACKWARD, plan.after)
        held: dict[int, tuple[Tensor | None, Tensor, Tensor | None]] = {}
        weight = self.head.cast_weight() if self.head else None
        self._scale = 1.0 / (batch.shape[0] * (batch.shape[1] - 1))
        loss = torch.zeros((), device=self.accelerator.device)
        for kind, index in passes(plan.order, plan.stage, plan.stages, plan.micro_batches):
            if kind == "F":
                inputs = None if plan.before is None else self._arrived(FORWARD, index, arriving)
                with self._span("forward", index):
                    output, gradient, part = self._forward(inputs, words[index], weight)
                held[index] = (inputs, output, gradient)
                loss = loss if part is None else loss + part
                if plan.after is not None:
                    self._send(plan.after, FORWARD, index, output)
            else:
                inputs, output, gradient = held.pop(index)
                if plan.after is not None:
                    gradient = self._arrived(BACKWARD, index, returning)
                with self._span("backward", index):
                    output.backward(gradient if gradient is None else gradient.to(output.dtype))
                if plan.before is not None and inputs is not None:
                    assert inputs.grad is not None
                    self._send(plan.before, BACKWARD, index, inputs.grad)
        self._settle()
        return loss * self._scale if self.head else torch.full((), float("nan"))

    def exchange(self) -> None:
        """Make the gradients those of the whole batch, on every member: over replicas, the tied weight, then clipping."""
        plan = self.plan
        if len(plan.ring) > 1:
            with self._span("reduce"):
                ring_all_reduce(self.link, plan.ring, plan.replica, self.gradients, REDUCE, self.steps, plan.gradients)
        if self.stage.tied is not None and plan.tie_peer is not None:
            with self._span("tie"):
                own = self.stage.tied.grad
                assert own is not None
                own.copy_(exchange_sum(self.link, plan.tie_peer, own, TIE, self.steps, plan.gradients, plan.stage == 0))
        if self.training.max_grad_norm is not None:
            with self._span("norm"):
                norm = self.total_norm()
                if norm > self.training.max_grad_norm:
                    self.gradients.mul_(self.training.max_grad_norm / (norm + 1e-6))

    def total_norm(self) -> float:
        """The norm of the whole model's gradients: partial sums pass down the pipeline, and the total comes back up."""
        plan = self.plan
        squares = float(self.gradients.double().square().sum())
        if self.stage.tied is not None and plan.stage != 0:
            assert self.stage.tied.grad is not None
            squares -= float(self.stage.tied.grad.double().square().sum())  # the first stage counts it
        if plan.before is not None:
            squares += self._hear(plan.before, NORM)
        if plan.after is not None:
            self._say(plan.after, NORM, squares)
            squares = self._hear(plan.after, NORM_BACK)
        if plan.before is not None:
            self._say(plan.before, NORM_BACK, squares)
        self._settle()
        return float(max(0.0, squares) ** 0.5)

    def _forward(
        self, inputs: Tensor | None, words: Tensor, weight: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Output of this stage; at the last one also its gradient and the sum of the losses."""
        with self._autocast():
            output = self.stage.forward(words if inputs is None else inputs)
        if self.head is None or weight is None:
            return output, None, None
        targets = words[:, 1:].flatten()
        loss, inner = self.head.loss_and_gradient(output.detach()[:, :-1].flatten(0, 1), targets, self._scale, weight)
        gradient = torch.zeros_like(output)  # the last position of a sequence predicts nothing
        gradient[:, :-1] = inner.view(words.shape[0], words.shape[1] - 1, -1)
        return output, gradient, loss

    # -- transfers ----------------------------------------------------------------------------------------------------

    def _post(self, channel: int, peer: int | None) -> list[Transfer]:
        if peer is None:
            return []
        return [
            self.link.receive(peer, Key(channel, index, self.steps), self._room(channel, index))
            for index in range(self.plan.micro_batches)
        ]

    def _room(self, channel: int, index: int) -> Tensor:
        """Memory for a micro-batch's tensor as it travels, the same in every step."""
        if (channel, index) not in self._rooms:
            self._rooms[channel, index] = codec.empty(self.shape, self.plan.boundary)
        return self._rooms[channel, index]

    def _arrived(self, channel: int, index: int, transfers: list[Transfer]) -> Tensor:
        with self._span("wait", index):
            self.link.wait(transfers[index])
        wire = self._room(channel, index)
        tensor = codec.decode(wire, self.shape, self.plan.boundary, self.accelerator.device)
        return tensor.requires_grad_() if channel == FORWARD else tensor

    def _send(self, peer: int, channel: int, index: int, tensor: Tensor) -> None:
        wire = codec.encode(tensor.float(), self.plan.boundary)
        self._sent.append((self.link.send(peer, Key(channel, index, self.steps), wire), wire))

    def _say(self, peer: int, channel: int, value: float) -> None:
        wire = torch.tensor([value], dtype=torch.float64)
        self._sent.append((self.link.send(peer, Key(channel, 0, self.steps), wire.view(torch.uint8)), wire))

    def _hear(self, peer: int, channel: int) -> float:
        room = torch.empty(1, dtype=torch.float64)
        self.link.wait(self.link.receive(peer, Key(channel, 0, self.steps), room.view(torch.uint8)))
        return float(room)

    def _settle(self) -> None:
        """Wait for this member's own sends, whose memory is used again afterwards."""
        with self._span("wait"):
            for transfer, _ in self._sent:
                self.link.wait(transfer)
        self._sent = []

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.accelerator.kind, dtype=torch.bfloat16)

    @contextmanager
    def _span(self, kind: str, micro_batch: int | None = None) -> Iterator[None]:
        start_s = time.monotonic()
        yield
        if kind in COMPUTE:
            self.accelerator.synchronize()
        self.spans.append(Span(kind, micro_batch, start_s, time.monotonic()))


def flatten_gradients(model: Any, device: torch.device) -> Tensor:
    """One tensor (parameters,) fp32 of zeros, of which every parameter's gradient becomes a part: one all-reduce for all."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    flat = torch.zeros(sum(parameter.numel() for parameter in parameters), device=device)
    start = 0
    for parameter in parameters:
        parameter.grad = flat[start : start + parameter.numel()].view_as(parameter)
        start += parameter.numel()
    return flat
