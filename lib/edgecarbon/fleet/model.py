"""What a fleet is to the planner and the simulator: the model that is cut, the machines, the network, the plan.

Pure functions of numbers. Formulas: GPipe (Huang et al. 2019) and PipeDream-Flush (Narayanan et al. 2021) for memory in
flight, Kaplan et al. 2020 for FLOPs, 16 bytes a parameter for fp32 AdamW (weight, gradient, two moments).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecarbon.errors import UserError

Matrix = NDArray[np.float64]

STATE_BYTES = 16
"""A parameter's weight, gradient and AdamW moments, fp32, bytes."""
WIRE_OVERHEAD = 1.046
"""Bytes on the wire for each byte of payload: Ethernet, IP, TCP and TLS headers at 1,500 bytes a frame."""
BYTES_PER_VALUE = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "int8": 1.0}
"""How values travel; int8 has a scale of 4 bytes a row besides, which is left out."""


@dataclass(frozen=True)
class ModelShape:
    """A decoder as far as its cost goes. Widths in elements.

    Attributes:
        tied: embedding and head share their weight.
        gated: the feed-forward has three matrices, and nothing has biases, as in Llama.
        kv_width: width of keys and of values, where fewer heads have them; None is `width`.
        qkv_biases: queries, keys and values have biases though nothing else does, as in Qwen2.
    """

    layers: int
    width: int
    ffn: int
    vocabulary: int
    positions: int
    sequence_length: int
    tied: bool = True
    gated: bool = False
    kv_width: int | None = None
    qkv_biases: bool = False

    @property
    def layer_parameters(self) -> int:
        """Of one layer: four attention matrices, two of the feed-forward (three where gated), biases and two norms."""
        kv_width = self.kv_width or self.width
        matrices = 2 * self.width * (self.width + kv_width) + (3 if self.gated else 2) * self.width * self.ffn
        biases = (self.width + 2 * kv_width) * self.qkv_biases
        return matrices + biases + (2 * self.width if self.gated else 9 * self.width + self.ffn)

    @property
    def last_norm_parameters(self) -> int:
        return self.width if self.gated else 2 * self.width

    @property
    def embedding_parameters(self) -> int:
        return self.vocabulary * self.width

    @property
    def parameters(self) -> int:
        """Of the whole model, a tied weight once."""
        ends = (
            self.embedding_parameters * (1 if self.tied else 2)
            + self.positions * self.width
            + self.last_norm_parameters
        )
        return self.layers * self.layer_parameters + ends

    def stage_parameters(self, layers: int, first: bool, last: bool) -> int:
        """Of a stage: both ends have a copy of a tied weight, unless they are one."""
        count = layers * self.layer_parameters
        count += (self.embedding_parameters + self.positions * self.width) * first
        copies = last and not (first and self.tied)
        return count + self.embedding_parameters * copies + self.last_norm_parameters * last

    def stage_flops(self, layers: int, last: bool, sequences: float) -> tuple[float, float]:
        """FLOPs of one forward and one backward pass of a stage over `sequences`; the head's own run with the forward pass.

        Forward: 2 a parameter and token, and 4·T·width a token for the attention's products, half of them causal
        (Kaplan et al. 2020). Backward twice that. The head's loss and gradients are made where its logits are.
        """
        tokens = sequences * self.sequence_length
        body = layers * tokens * (2.0 * self.layer_parameters + 2.0 * self.sequence_length * self.width)
        head = 2.0 * self.embedding_parameters * tokens * last
        return body + 3 * head, 2 * body

    def activation_values(self, sequences: float) -> float:
        """Values of the hidden states at a boundary."""
        return sequences * self.sequence_length * self.width

    def held_bytes(self, layers: int, sequences: float) -> float:
        """Activations that a stage keeps for one micro-batch's backward pass, fp32: about 16·width + 2·ffn values a token."""
        return 4.0 * layers * sequences * self.sequence_length * (16 * self.width + 2 * self.ffn)


def shape_of(model: Mapping[str, Any], sequence_length: int) -> ModelShape:
    """The cost side of an architecture, from its transformers config.

    Raises:
        UserError: a family whose sizes are not known here.
    """
    config = model["config"]
    kind = config["model_type"]
    tied = bool(config.get("tie_word_embeddings", kind in ("opt", "gpt2")))
    common = {"vocabulary": config["vocab_size"], "sequence_length": sequence_length, "tied": tied}
    if kind == "opt":
        return ModelShape(
            config["num_hidden_layers"], config["hidden_size"], config["ffn_dim"],
            positions=config["max_position_embeddings"] + 2, **common,
        )  # fmt: skip
    if kind == "gpt2":
        width = config["n_embd"]
        return ModelShape(
            config["n_layer"], width, config.get("n_inner") or 4 * width, positions=config["n_positions"], **common
        )
    if kind in ("llama", "mistral", "qwen2"):
        width, heads = config["hidden_size"], config["num_attention_heads"]
        head_width = config.get("head_dim") or width // heads
        return ModelShape(
            config["num_hidden_layers"], width, config["intermediate_size"], positions=0, gated=True,
            kv_width=(config.get("num_key_value_heads") or heads) * head_width, qkv_biases=kind == "qwen2", **common,
        )  # fmt: skip
    raise UserError(f"{model['name']}: models of type {kind} cannot be cut into stages yet; opt, gpt2 and llama can")


@dataclass(frozen=True)
class Machine:
    """A device.

    Attributes:
        flops_per_s: what it sustains in training (model FLOPs, forward and backward).
        memory_bytes: free for training.
        busy_watts, idle_watts: draw while computing, and while waiting.
        radio_joules_per_byte: of its radio, for each byte sent or received; 0 where the watts cover it.
        grams_per_kwh: carbon intensity of its electricity.
        embodied_grams_per_s: what a second of its use is charged with.
        throttle_after_s: busy seconds after which it is hot; None never. Then it runs at `throttle_factor` of its speed.
    """

    name: str
    flops_per_s: float
    memory_bytes: float = float("inf")
    busy_watts: float = 0.0
    idle_watts: float = 0.0
    radio_joules_per_byte: float = 0.0
    grams_per_kwh: float = 0.0
    embodied_grams_per_s: float = 0.0
    throttle_after_s: float | None = None
    throttle_factor: float = 1.0


@dataclass(frozen=True)
class Network:
    """Links between n machines.

    Attributes:
        delay_s: (n, n), one way.
        bytes_per_s: (n, n), of the pair's own link; inf where only the ends limit it.
        up_bytes_per_s, down_bytes_per_s: (n,), what a machine can send and receive in all, shared by what is under way.
        access_point: (n,), the number of the shared medium that a machine is on, -1 for none.
        airtime_bytes_per_s: (media,), what each shared medium carries in all. A transfer between two of its machines crosses
            it twice, one that leaves it once.
    """

    delay_s: Matrix
    bytes_per_s: Matrix
    up_bytes_per_s: Matrix
    down_bytes_per_s: Matrix
    access_point: NDArray[np.int64]
    airtime_bytes_per_s: Matrix

    def __post_init__(self) -> None:
        count = len(self.delay_s)
        for name in ("delay_s", "bytes_per_s"):
            value = getattr(self, name)
            if value.shape != (count, count) or np.isnan(value).any() or (value < 0).any():
                raise UserError(f"network: {name}: expected {count} × {count} numbers of at least 0")
        off = ~np.eye(count, dtype=bool)
        if (self.bytes_per_s[off] <= 0).any() or (self.up_bytes_per_s <= 0).any() or (self.down_bytes_per_s <= 0).any():
            raise UserError("network: every bandwidth must be above 0")

    def pair_bytes_per_s(self) -> Matrix:
        """(n, n): what a single transfer gets when nothing else is under way."""
        rate = np.minimum(self.bytes_per_s, np.minimum.outer(self.up_bytes_per_s, self.down_bytes_per_s))
        for medium, airtime in enumerate(self.airtime_bytes_per_s):
            on = self.access_point == medium
            crossings = on[:, None].astype(float) + on[None, :]
            with np.errstate(divide="ignore"):
                rate = np.minimum(rate, np.where(crossings > 0, airtime / np.maximum(crossings, 1), np.inf))
        return rate


def even_network(count: int, bytes_per_s: float, delay_s: float, airtime_bytes_per_s: float | None = None) -> Network:
    """`count` machines, each with that bandwidth up and down; with `airtime_bytes_per_s`, all on one access point."""
    return Network(
        delay_s=np.full((count, count), delay_s) * (1 - np.eye(count)),
        bytes_per_s=np.full((count, count), np.inf),
        up_bytes_per_s=np.full(count, bytes_per_s),
        down_bytes_per_s=np.full(count, bytes_per_s),
        access_point=np.full(count, -1 if airtime_bytes_per_s is None else 0),
        airtime_bytes_per_s=np.array([] if airtime_bytes_per_s is None else [airtime_bytes_per_s]),
    )


@dataclass(frozen=True)
class Plan:
    """Who does what.

    Attributes:
        grid: `grid[replica][stage]` is a machine's index; machines that are not in it are left out.
        layers: how many layers each stage has.
        micro_batches: of each replica, a step.
        sequences: of one micro-batch.
        order: gpipe, 1f1b or eager-1f1b.
        boundary, gradients: how hidden states and gradients travel (`BYTES_PER_VALUE`).
        local_steps: optimiser steps between two exchanges of gradients over the replicas; 1 exchanges in every step.
        keep_boundary: with compression such as top-k, the share of values that travel at all.
    """

    grid: tuple[tuple[int, ...], ...]
    layers: tuple[int, ...]
    micro_batches: int
    sequences: float
    order: str = "1f1b"
    boundary: str = "fp32"
    gradients: str = "fp32"
    local_steps: int = 1
    keep_boundary: float = 1.0

    @property
    def stages(self) -> int:
        return len(self.layers)

    @property
    def replicas(self) -> int:
        return len(self.grid)


@dataclass(frozen=True)
class MachineStep:
    """What a machine does in one step: times add up to the step's; energy by cause, J; carbon, g."""

    machine: int
    stage: int
    replica: int
    layers: int
    busy_s: float
    wait_s: float
    exchange_s: float
    sent_bytes: float
    received_bytes: float
    compute_joules: float
    idle_joules: float
    radio_joules: float
    operational_grams: float
    embodied_grams: float


@dataclass(frozen=True)
class SimulatedSpan:
    """`kind`: forward, backward, optimizer, reduce, tie, or transfer (micro_batch of the message, to `peer`)."""

    machine: int
    kind: str
    micro_batch: int | None
    start_s: float
    end_s: float
    peer: int | None = None


@dataclass(frozen=True)
class SimulatedStep:
    """One step of a fleet, from the first pass to the last optimiser's end."""

    step_s: float
    machines: tuple[MachineStep, ...]
    spans: tuple[SimulatedSpan, ...] = field(repr=False)

    @property
    def energy_joules(self) -> float:
        return sum(one.compute_joules + one.idle_joules + one.radio_joules for one in self.machines)

    @property
    def carbon_grams(self) -> float:
        return sum(one.operational_grams + one.embodied_grams for one in self.machines)


def memory_bytes(shape: ModelShape, plan: Plan, stage: int, in_flight: int) -> float:
    """What a stage needs: parameters with their state, activations in flight, boundary buffers, and the head's logits.

    The head's chunked loss holds at most 256 MiB of logits at a time.
    """
    first, last = stage == 0, stage == plan.stages - 1
    state = STATE_BYTES * shape.stage_parameters(plan.layers[stage], first, last)
    held = in_flight * shape.held_bytes(plan.layers[stage], plan.sequences)
    buffers = 4.0 * in_flight * shape.activation_values(plan.sequences) * ((not first) + (not last))
    logits = min(4.0 * plan.sequences * shape.sequence_length * shape.vocabulary, 2.0**28) * last
    return state + held + buffers + logits
