"""In which order a stage does the forward and backward passes of a step's micro-batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, get_args

Order = Literal["gpipe", "1f1b", "eager-1f1b"]
ORDERS: tuple[str, ...] = get_args(Order)


class Pass(NamedTuple):
    """One micro-batch through one stage: `kind` is F (forward) or B (backward)."""

    kind: Literal["F", "B"]
    micro_batch: int


def passes(order: Order, stage: int, stages: int, micro_batches: int) -> Iterator[Pass]:
    """The passes of one step at `stage` (from 0) of `stages`, in order.

    - gpipe (Huang et al. 2019): all forward passes, then all backward passes.
    - 1f1b (Narayanan et al. 2019, PipeDream-Flush): as few micro-batches in flight as keep every stage busy where links
      cost nothing, `stages - stage`.
    - eager-1f1b (Zhuang et al. 2022): nearly twice as many in flight, so that a transfer each way hides behind a pass.
    """
    ahead = in_flight(order, stage, stages, micro_batches) - 1
    for index in range(ahead):
        yield Pass("F", index)
    for index in range(ahead, micro_batches):
        yield Pass("F", index)
        yield Pass("B", index - ahead)
    for index in range(micro_batches - ahead, micro_batches):
        yield Pass("B", index)


def in_flight(order: Order, stage: int, stages: int, micro_batches: int) -> int:
    """How many micro-batches a stage holds activations of at most."""
    wanted = {"gpipe": micro_batches, "1f1b": stages - stage, "eager-1f1b": 2 * (stages - stage) - 1}[order]
    return min(wanted, micro_batches)
