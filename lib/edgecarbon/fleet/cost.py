"""What one step of a plan costs on unequal machines, fast enough to weigh thousands of plans: time, energy, carbon.

The schedule's own recurrences, over many plans at once. A transfer takes τ = α + h·bytes/β, one at a time a direction:

    A[s,i] = max(F[s−1,i], A[s,i−1]) + τ_s        F[s,i] = max(what stage s did before, A[s,i]) + c_s

with A the arrival and F the end of micro-batch i at stage s, backward mirrored; "before" is the order of
`schedule.passes` (GPipe: Huang et al. 2019; 1F1B: Narayanan et al. 2019; eager 1F1B: Zhuang et al. 2022). Then each stage's
replicas sum their gradients in a ring, 2(D−1)·(α + h·P/(D·β)) over its slowest hop (Patarasuk and Yuan 2009), the two
ends exchange a tied weight's gradient, and the optimiser runs. Every transfer has its link to itself: where some compete
for one access point, or for a machine's own bandwidth, the simulator's step takes longer than this estimate.

Shapes: k plans, r replicas, s stages. Seconds, bytes, joules and grams of CO2e.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from edgecarbon.fleet.model import (
    BYTES_PER_VALUE,
    WIRE_OVERHEAD,
    Machine,
    MachineStep,
    ModelShape,
    Network,
    Plan,
    SimulatedStep,
)
from edgecarbon.fleet.simulate import OPTIMIZER_BYTES, OPTIMIZER_BYTES_PER_S
from edgecarbon.worker.pipeline.schedule import Order, in_flight, passes

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

JOULES_PER_KWH = 3.6e6
OPTIMIZER_S = OPTIMIZER_BYTES / OPTIMIZER_BYTES_PER_S
"""Of AdamW, a parameter: memory sets its pace, as in the simulator."""
COLUMNS = 4096
"""Pipelines that are timed at once: what fits into the caches."""


class Weights(NamedTuple):
    """An objective: what a second, a joule and a gram count for."""

    second: float
    joule: float
    gram: float


TIME, ENERGY, CARBON = Weights(1, 0, 0), Weights(0, 1, 0), Weights(0, 0, 1)


@dataclass(frozen=True)
class Estimates:
    """Of k plans: `step_s`, `energy_joules` and `carbon_grams` (k,), `score` (k,), their sum by the weights."""

    step_s: Floats
    energy_joules: Floats
    carbon_grams: Floats
    score: Floats


class Load(NamedTuple):
    """What k plans ask of each machine, before anything waits.

    `forward_s`, `backward_s` (k, r, s): compute of one micro-batch. `there_s`, `back_s` (k, r, s − 1): transfer of one
    micro-batch's hidden states to the next stage, and of their gradients from it. `ring_s` (k, s), `tie_s` (k, r),
    `optimizer_s` (k, r, s). `busy_s` (k, r, s): computing in all. `traffic_bytes` (k, s): payload that each machine of the
    stage sends, and receives as much, a step.
    """

    forward_s: Floats
    backward_s: Floats
    there_s: Floats
    back_s: Floats
    ring_s: Floats
    tie_s: Floats
    optimizer_s: Floats
    busy_s: Floats
    traffic_bytes: Floats


class FleetCost:
    """The cost of any plan of one model on given machines. `speed` (n,) is in FLOP/s, sustained.

    A machine that gets hot is counted at its hot speed throughout, as training lasts longer than a phone stays cool.
    """

    def __init__(
        self,
        shape: ModelShape,
        machines: Sequence[Machine],
        network: Network,
        *,
        boundary: str = "fp32",
        gradients: str = "fp32",
        local_steps: int = 1,
        keep_boundary: float = 1.0,
    ) -> None:
        self.shape, self.local_steps = shape, local_steps
        self.boundary, self.gradients, self.keep_boundary = boundary, gradients, keep_boundary
        self.speed = np.array(
            [m.flops_per_s * (1 if m.throttle_after_s is None else m.throttle_factor) for m in machines]
        )
        self.delay_s = network.delay_s
        self.s_per_byte = WIRE_OVERHEAD / network.pair_bytes_per_s()
        np.fill_diagonal(self.s_per_byte, 0.0)
        self.busy_watts = np.array([m.busy_watts for m in machines])
        self.idle_watts = np.array([m.idle_watts for m in machines])
        self.joules_per_byte = WIRE_OVERHEAD * np.array([m.radio_joules_per_byte for m in machines])
        self.grams_per_joule = np.array([m.grams_per_kwh for m in machines]) / JOULES_PER_KWH
        self.embodied = np.array([m.embodied_grams_per_s for m in machines])

    def load(self, grids: Integers, layers: Integers, micro_batches: int, sequences: float) -> Load:
        """Of plans with machines `grids` (k, r, s) and `layers` (k, s)."""
        replicas, stages = grids.shape[1:]
        shape, value = self.shape, BYTES_PER_VALUE[self.gradients]
        inverse = 1 / self.speed[grids]
        forward, backward = shape.stage_flops(1, False, sequences)
        head = shape.stage_flops(0, True, sequences)[0] * (np.arange(stages) == stages - 1)
        forward_s = (layers * forward + head)[:, None] * inverse
        backward_s = (layers * backward)[:, None] * inverse
        message = shape.activation_values(sequences) * self.keep_boundary * BYTES_PER_VALUE[self.boundary]
        left, right = grids[:, :, :-1], grids[:, :, 1:]
        ends = [shape.stage_parameters(0, stage == 0, stage == stages - 1) for stage in range(stages)]
        parameters = layers * float(shape.layer_parameters) + np.array(ends, dtype=float)
        traffic = 2.0 * micro_batches * message * np.ones(stages)
        traffic[[0, -1]] -= micro_batches * message
        ring_s = np.zeros(layers.shape)
        traffic_bytes = np.broadcast_to(traffic * (stages > 1), layers.shape)
        if replicas > 1:
            share = value * parameters / replicas
            ring_s = 2 * (replicas - 1) * self._hop(grids, np.roll(grids, -1, axis=1), share[:, None]).max(axis=1)
            ring_s = ring_s / self.local_steps
            traffic_bytes = traffic_bytes + 2 * (replicas - 1) * share / self.local_steps
        tie_s = np.zeros(grids.shape[:2])
        if stages > 1 and shape.tied:
            first, last, weight = grids[:, :, 0], grids[:, :, -1], value * shape.embedding_parameters
            tie_s = np.maximum(self._hop(first, last, weight), self._hop(last, first, weight))
            traffic_bytes = traffic_bytes + weight * np.isin(np.arange(stages), (0, stages - 1))
        optimizer_s = np.repeat(OPTIMIZER_S * parameters[:, None], replicas, axis=1)
        busy_s = micro_batches * (forward_s + backward_s) + optimizer_s
        there_s, back_s = self._hop(left, right, message), self._hop(right, left, message)
        return Load(forward_s, backward_s, there_s, back_s, ring_s, tie_s, optimizer_s, busy_s, traffic_bytes)

    def _hop(self, sender: Integers, receiver: Integers, size: Floats | float) -> Floats:
        seconds: Floats = self.delay_s[sender, receiver] + size * self.s_per_byte[sender, receiver]
        return seconds

    def step_s(self, load: Load, order: str, micro_batches: int) -> Floats:
        """(k,): from the first pass to the last optimiser's end."""
        plans, replicas, stages = load.forward_s.shape
        flat = [part.reshape(plans * replicas, -1).T for part in load[:4]]
        ready = np.hstack(
            [
                pipeline_s(order, micro_batches, *(part[:, at : at + COLUMNS] for part in flat))
                for at in range(0, plans * replicas, COLUMNS)
            ]
        )
        ready = ready.T.reshape(plans, replicas, stages)
        if replicas > 1:
            ready = np.repeat((ready.max(axis=1) + load.ring_s)[:, None], replicas, axis=1)
        tied = np.maximum(ready[:, :, 0], ready[:, :, -1]) + load.tie_s
        ready[:, :, 0] = ready[:, :, -1] = tied
        finish: Floats = (ready + load.optimizer_s).max(axis=(1, 2))
        return finish

    def evaluate(
        self,
        grids: Integers,
        layers: Integers,
        micro_batches: int,
        sequences: float,
        order: str,
        weights: Weights = TIME,
    ) -> Estimates:
        """Time, energy and carbon of a step of k plans: `grids` (k, r, s) of machines, `layers` (k, s)."""
        load = self.load(grids, layers, micro_batches, sequences)
        step_s = self.step_s(load, order, micro_batches)
        joules = self.rate(grids, ENERGY) * step_s + self.fixed(grids, load, ENERGY)
        grams = self.rate(grids, CARBON) * step_s + self.fixed(grids, load, CARBON)
        score = weights.second * step_s + weights.joule * joules + weights.gram * grams
        return Estimates(step_s, joules, grams, score)

    # An objective is linear in the step's time: score = rate · step_s + fixed, where `fixed` knows of no waiting.

    def rate(self, grids: Integers, weights: Weights) -> Floats:
        """(k,): what a second more of the step costs: every machine of the plan idles on, and ages."""
        watts = weights.joule + weights.gram * self.grams_per_joule
        a_second = self.idle_watts * watts + weights.gram * self.embodied
        total: Floats = weights.second + a_second[grids].sum(axis=(1, 2))
        return total

    def busy_rate(self, weights: Weights) -> Floats:
        """(n,): what a second of computing costs above a second of waiting."""
        extra: Floats = (self.busy_watts - self.idle_watts) * (weights.joule + weights.gram * self.grams_per_joule)
        return extra

    def fixed(self, grids: Integers, load: Load, weights: Weights) -> Floats:
        """(k,): what computing and sending cost, however long the step takes."""
        a_byte = self.joules_per_byte * (weights.joule + weights.gram * self.grams_per_joule)
        total: Floats = (
            self.busy_rate(weights)[grids] * load.busy_s + a_byte[grids] * 2 * load.traffic_bytes[:, None]
        ).sum(axis=(1, 2))
        return total

    def bound_s(self, load: Load, order: str, micro_batches: int) -> Floats:
        """(k,): seconds that no step of these plans goes below, without running the schedule.

        A stage starts once the first micro-batch has reached it, computes all of them, and the last one's gradient then goes
        back to the first stage. No stage and no link is faster than its own work. With k in flight (`schedule.in_flight`),
        micro-batch i starts when i − k has come back.
        """
        passes_s = load.forward_s + load.backward_s
        stages = passes_s.shape[2]
        reach_s = _before(load.forward_s[:, :, :-1] + load.there_s)
        fill_s = reach_s + _before(load.backward_s[:, :, :-1] + load.back_s)
        path_s = (fill_s + passes_s)[:, :, -1:]
        slowest = np.maximum(load.forward_s, load.backward_s).max(axis=2)
        if stages > 1:
            slowest = np.maximum(slowest, np.maximum(load.there_s, load.back_s).max(axis=2))
        held = np.array([in_flight(cast(Order, order), stage, stages, micro_batches) for stage in range(stages)])
        rounds = 1 + (micro_batches - 1) // held
        pipe_s = np.maximum(fill_s + micro_batches * passes_s, fill_s + (path_s - fill_s) * rounds).max(axis=2)
        pipe_s = np.maximum(pipe_s, path_s[:, :, 0] + (micro_batches - 1) * slowest)
        after_s = load.ring_s[:, None] + load.optimizer_s
        after_s[:, :, 0] += load.tie_s
        if stages > 1:
            after_s[:, :, -1] += load.tie_s
        own_s = (reach_s + micro_batches * passes_s + after_s).max(axis=2)
        bound: Floats = np.maximum(pipe_s + after_s[:, :, 0], own_s).max(axis=1)
        return bound


def _before(hops_s: Floats) -> Floats:
    """(…, s) sums of what lies before each stage, of hops (…, s − 1)."""
    return np.concatenate([np.zeros((*hops_s.shape[:-1], 1)), hops_s.cumsum(axis=-1)], axis=-1)


class _Wave(NamedTuple):
    """Passes that depend on none of each other: their stages, and rows of the tables in `pipeline_s`."""

    stage: Integers
    cost: Integers
    source: Integers
    link: Integers
    own: Integers


@lru_cache(maxsize=512)
def _waves(order: str, stages: int, micro_batches: int) -> tuple[_Wave, ...]:
    """The passes of a step, each as soon as what it waits for is done.

    Row 1 + (kind · stages + stage) · micro_batches + i of the table of ends is a pass's own; row 0 is the step's start. Link
    2 · stage + kind carries what the stage receives; the last one is no link.
    """

    def row(kind: int, stage: int, index: int) -> int:
        return 1 + (kind * stages + stage) * micro_batches + index

    plan = [list(passes(cast(Order, order), stage, stages, micro_batches)) for stage in range(stages)]
    done, level, waves = [0] * stages, {0: 0}, dict[int, list[tuple[int, int, int, int, int]]]()
    while any(done[stage] < 2 * micro_batches for stage in range(stages)):
        for stage in range(stages):
            while done[stage] < 2 * micro_batches:
                one = plan[stage][done[stage]]
                kind = int(one.kind == "B")
                peer = stage + 1 if kind else stage - 1
                link = 2 * stage + kind if 0 <= peer < stages else 2 * stages
                source = row(kind, peer, one.micro_batch) if 0 <= peer < stages else 0
                if source not in level:
                    break
                own = row(kind, stage, one.micro_batch)
                before = plan[stage][done[stage] - 1] if done[stage] else None
                last = level[row(int(before.kind == "B"), stage, before.micro_batch)] if before else 0
                level[own] = 1 + max(level[source], last)
                waves.setdefault(level[own], []).append((stage, kind * stages + stage, source, link, own))
                done[stage] += 1
    return tuple(_Wave(*np.array(waves[one], dtype=np.intp).T) for one in sorted(waves))


def pipeline_s(
    order: str, micro_batches: int, forward_s: Floats, backward_s: Floats, there_s: Floats, back_s: Floats
) -> Floats:
    """(s, x): when each stage of x pipelines has done its last backward pass; costs (s, x), transfers (s − 1, x)."""
    stages, many = forward_s.shape
    cost = np.concatenate([forward_s, backward_s])
    transfer = np.zeros((2 * stages + 1, many))
    transfer[2 : 2 * stages : 2] = there_s
    transfer[1 : 2 * stages - 2 : 2] = back_s
    end = np.zeros((1 + 2 * stages * micro_batches, many))
    arrived = np.zeros((2 * stages + 1, many))
    clock = np.zeros((stages, many))
    for wave in _waves(order, stages, micro_batches):
        arrival = np.maximum(end[wave.source], arrived[wave.link]) + transfer[wave.link]
        arrived[wave.link] = arrival
        ended = np.maximum(clock[wave.stage], arrival) + cost[wave.cost]
        clock[wave.stage] = ended
        end[wave.own] = ended
    return clock


def estimate(shape: ModelShape, machines: Sequence[Machine], network: Network, plan: Plan) -> SimulatedStep:
    """One step of a plan by the closed form, machine by machine; it has no spans."""
    cost = FleetCost(
        shape,
        machines,
        network,
        boundary=plan.boundary,
        gradients=plan.gradients,
        local_steps=plan.local_steps,
        keep_boundary=plan.keep_boundary,
    )
    grid = np.array(plan.grid, dtype=np.intp)[None]
    load = cost.load(grid, np.array([plan.layers], dtype=np.intp), plan.micro_batches, plan.sequences)
    step_s = float(cost.step_s(load, plan.order, plan.micro_batches)[0])
    steps = []
    for replica, row in enumerate(plan.grid):
        for stage, index in enumerate(row):
            machine, busy_s = machines[index], float(load.busy_s[0, replica, stage])
            exchange_s = float(load.ring_s[0, stage])
            if stage in (0, plan.stages - 1):
                exchange_s += float(load.tie_s[0, replica])
            traffic = float(load.traffic_bytes[0, stage])
            compute = machine.busy_watts * busy_s
            idle = machine.idle_watts * (step_s - busy_s)
            radio = float(cost.joules_per_byte[index]) * 2 * traffic
            steps.append(
                MachineStep(
                    machine=index,
                    stage=stage,
                    replica=replica,
                    layers=plan.layers[stage],
                    busy_s=busy_s,
                    wait_s=step_s - busy_s - exchange_s,
                    exchange_s=exchange_s,
                    sent_bytes=traffic,
                    received_bytes=traffic,
                    compute_joules=compute,
                    idle_joules=idle,
                    radio_joules=radio,
                    operational_grams=(compute + idle + radio) * float(cost.grams_per_joule[index]),
                    embodied_grams=machine.embodied_grams_per_s * step_s,
                )
            )
    return SimulatedStep(step_s, tuple(steps), ())
