"""What fleets of two to a thousand machines do in a second, and what a token costs them, by how their messages travel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from edgecarbon.fleet.model import Machine, ModelShape, Plan, even_network, memory_bytes
from edgecarbon.fleet.simulate import simulate
from edgecarbon.worker.pipeline.schedule import Order, in_flight


@dataclass(frozen=True)
class Variant:
    """How hidden states (`boundary`) and gradients travel, and how many steps a replica does between two all-reduces."""

    name: str
    boundary: str
    gradients: str
    local_steps: int = 1


VARIANTS = tuple(
    Variant(f"{name}, {steps} local steps" if steps > 1 else name, boundary, gradients, steps)
    for (name, boundary, gradients), steps in product(
        [("fp32", "fp32", "fp32"), ("fp16", "fp16", "fp16"), ("int8, fp16 gradients", "int8", "fp16")], (1, 16, 64)
    )
)


@dataclass(frozen=True)
class ScalingRow:
    """A fleet's average step. Sums over its machines; each transfer's bytes are counted once, its energy at both ends.

    `used` machines are stages × replicas; the others are left out, with their energy. Payload bytes, without headers.
    """

    machines: int
    variant: str
    stages: int
    replicas: int
    used: int
    step_s: float
    tokens_per_s: float
    communication_bytes_per_token: float
    radio_joules_per_token: float
    joules_per_token: float
    busy_share: float


def even_layers(shape: ModelShape, stages: int) -> tuple[int, ...]:
    """Layers for each of `stages` equal machines: one by one to the stage that then has least FLOPs, the head counted."""
    layers = [1] * stages
    for _ in range(shape.layers - stages):
        flops = [sum(shape.stage_flops(count + 1, i == stages - 1, 1.0)) for i, count in enumerate(layers)]
        layers[flops.index(min(flops))] += 1
    return tuple(layers)


def fewest_stages(
    shape: ModelShape, machine: Machine, most: int, micro_batches: int, sequences: float = 1.0, order: Order = "1f1b"
) -> tuple[int, ...] | None:
    """Layers of the fewest stages, at most `most`, that each fit such a machine's memory; None where none do."""
    for stages in range(1, min(most, shape.layers) + 1):
        layers = even_layers(shape, stages)
        plan = Plan((tuple(range(stages)),), layers, micro_batches, sequences, order)
        needs = (
            memory_bytes(shape, plan, stage, in_flight(order, stage, stages, micro_batches)) for stage in range(stages)
        )
        if all(need <= machine.memory_bytes for need in needs):
            return layers
    return None


def scaling(
    shape: ModelShape,
    machine: Machine,
    counts: Sequence[int],
    link_bytes_per_s: float,
    delay_s: float,
    variants: Sequence[Variant] = VARIANTS,
    *,
    micro_batches: int = 8,
    sequences: float = 1.0,
    order: Order = "1f1b",
) -> list[ScalingRow]:
    """Fleets of identical machines, each with that bandwidth up and down.

    As few stages as memory allows, all other machines in replicas of them. A replica has `micro_batches` × `sequences` of
    work whatever their number, so that the batch grows with the fleet. A fleet that cannot hold the model has no row.
    """
    rows = []
    for count in counts:
        layers = fewest_stages(shape, machine, count, micro_batches, sequences, order)
        if layers is None:
            continue
        stages, replicas = len(layers), count // len(layers)
        grid = tuple(tuple(range(row * stages, (row + 1) * stages)) for row in range(replicas))
        network = even_network(stages * replicas, link_bytes_per_s, delay_s)
        machines = [machine] * (stages * replicas)
        tokens = replicas * micro_batches * sequences * shape.sequence_length
        for variant in variants:
            plan = Plan(
                grid, layers, micro_batches, sequences, order, variant.boundary, variant.gradients, variant.local_steps
            )
            step = simulate(shape, machines, network, plan, delay_blocks=False, keep_spans=False)
            rows.append(
                ScalingRow(
                    machines=count,
                    variant=variant.name,
                    stages=stages,
                    replicas=replicas,
                    used=stages * replicas,
                    step_s=step.step_s,
                    tokens_per_s=tokens / step.step_s,
                    communication_bytes_per_token=sum(one.sent_bytes for one in step.machines) / tokens,
                    radio_joules_per_token=sum(one.radio_joules for one in step.machines) / tokens,
                    joules_per_token=step.energy_joules / tokens,
                    busy_share=sum(one.busy_s for one in step.machines) / (len(step.machines) * step.step_s),
                )
            )
    return rows
