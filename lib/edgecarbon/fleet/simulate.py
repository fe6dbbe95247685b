"""A fleet's step by discrete events, as the engine does it: passes in schedule order, transfers beside them.

What `edgecarbon.worker.pipeline.engine` does member by member: receives are posted ahead and sends are not waited for; after
a stage's passes and its own sends come the all-reduce over replicas, the tied weight's exchange, the norm, the optimiser.

Left out: the time of encoding and encryption, TCP's slow start, loss and retries, cooling while a machine waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import cast

from edgecarbon.errors import UserError
from edgecarbon.fleet.fluid import Clock, Cores, Flow, Links
from edgecarbon.fleet.model import (
    BYTES_PER_VALUE,
    WIRE_OVERHEAD,
    Machine,
    MachineStep,
    ModelShape,
    Network,
    Plan,
    SimulatedSpan,
    SimulatedStep,
)
from edgecarbon.worker.pipeline.schedule import ORDERS, Order, Pass, passes

OPTIMIZER_BYTES = 16
"""Memory that AdamW touches for a parameter, fp32: weight, gradient, two moments."""
OPTIMIZER_BYTES_PER_S = 5e9
"""What a phone's or a laptop's memory does for AdamW where nothing was measured."""
_JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True)
class PassCosts:
    """Measured seconds of a machine that is cool: a pass of one micro-batch, and one optimiser step (None: worked out)."""

    forward_s: float
    backward_s: float
    optimizer_s: float | None = None


def transfer_s(payload_bytes: float, bytes_per_s: float, delay_s: float, overhead: float = WIRE_OVERHEAD) -> float:
    """A transfer on a link of its own: τ = α + h·a/β (Hockney 1994)."""
    return delay_s + overhead * payload_bytes / bytes_per_s


def ring_s(
    payload_bytes: float, replicas: int, bytes_per_s: float, delay_s: float, overhead: float = WIRE_OVERHEAD
) -> float:
    """All-reduce of `payload_bytes` round a ring: 2(D−1) rounds of 1/D (Patarasuk & Yuan 2009)."""
    return 2 * (replicas - 1) * transfer_s(payload_bytes / replicas, bytes_per_s, delay_s, overhead)


def closed_form_step_s(
    stages: int, micro_batches: int, forward_s: float, backward_s: float, transfer_s: float,
    exchange_s: float = 0.0, optimizer_s: float = 0.0,
) -> float:  # fmt: skip
    """GPipe on equal stages, where transfers hide behind compute: N·c + (N−1)·τ + (M−1)·max(c, τ), there and back.

    The slower of compute and link sets the pace (Huang et al. 2019, with transfers as stages of their own). It is what full
    overlap can reach at best; one stage alone has no transfers.

    Args:
        forward_s, backward_s: c of one micro-batch at one stage, s.
        transfer_s: τ of one boundary message, s.
        exchange_s: all that follows the passes but the optimiser: all-reduce, tie, norm.
    """

    def one_way_s(compute_s: float) -> float:
        pace_s = max(compute_s, transfer_s) if stages > 1 else compute_s
        return stages * compute_s + (stages - 1) * transfer_s + (micro_batches - 1) * pace_s

    return one_way_s(forward_s) + one_way_s(backward_s) + exchange_s + optimizer_s


def simulate(
    shape: ModelShape,
    machines: Sequence[Machine],
    network: Network,
    plan: Plan,
    *,
    started_s: float = 0.0,
    costs: Sequence[PassCosts | None] | None = None,
    shared_cores: int | None = None,
    core_slowdown: float = 1.0,
    transport_s: tuple[float, float] = (0.0, 0.0),
    wire_overhead: float = WIRE_OVERHEAD,
    delay_blocks: bool = True,
    burst_bytes: float = 0.0,
    clipped: bool = True,
    keep_spans: bool = True,
) -> SimulatedStep:
    """One step of the fleet.

    With `local_steps` of L, the all-reduce's delays and bytes are 1/L of one's own: an average step.

    Args:
        machines: those that the plan's grid and the network count, in their order.
        started_s: busy seconds that every machine has behind it, for its temperature.
        costs: one a machine, where measured; None works them out from FLOPs and memory speed.
        shared_cores: all machines are virtual hosts of one computer: at most so many compute at full speed at once, and more
            share equally. Heat counts the seconds at full speed.
        core_slowdown: with `shared_cores`, a pass's time while all cores are busy over that alone.
        transport_s: with `shared_cores`, processor time at each of a message's two ends, for it and for each byte: TLS, copies.
        delay_blocks: a pair's next message starts after the delay of the one before, as the closed form has it; False lets
            it follow at once, as a TCP connection does.
        burst_bytes: what each machine's link lets through at once after a rest, as the limits of virtual hosts do.
        clipped: gradients are clipped by the norm of them all, which passes down the pipeline and up again.

    Returns:
        the step; machines in order of replica, then stage. Of a machine's time, `exchange_s` is from its last pass (and its
        messages' departure) to its optimiser, waits for others included, and `wait_s` the rest that is not compute.
    """
    _check(shape, machines, network, plan, costs)
    fleet = _Fleet(
        shape,
        machines,
        network,
        plan,
        started_s,
        costs,
        shared_cores,
        core_slowdown,
        transport_s,
        wire_overhead,
        clipped,
    )
    fleet.links = Links(fleet.clock, network, delay_blocks, fleet.transferred if keep_spans else None, burst_bytes)
    fleet.spans = [] if keep_spans else None
    members = [
        [_Member(fleet, machine, replica, stage) for stage, machine in enumerate(row)]
        for replica, row in enumerate(plan.grid)
    ]
    for row in members:
        for before, after in pairwise(row):
            before.after, after.before = after, before
    for stage in range(plan.stages):
        ring = _Ring(fleet, [row[stage] for row in members])
        for member in ring.members:
            member.ring = ring
            member.tie = members[member.replica][plan.stages - 1 - stage]
            member.proceed()
    fleet.clock.run([fleet.links.settle, fleet.cores.settle])
    step_s = max(member.end_s for row in members for member in row)
    rows = tuple(member.summary(step_s) for row in members for member in row)
    return SimulatedStep(step_s, rows, tuple(sorted(fleet.spans or (), key=lambda span: (span.start_s, span.machine))))


def _check(
    shape: ModelShape,
    machines: Sequence[Machine],
    network: Network,
    plan: Plan,
    costs: Sequence[PassCosts | None] | None,
) -> None:
    used = [machine for row in plan.grid for machine in row]
    if not used or any(len(row) != plan.stages for row in plan.grid):
        raise UserError(f"plan: grid: expected rows of {plan.stages} machines, one for each of `layers`")
    if len(set(used)) < len(used):
        raise UserError("plan: grid: a machine stands there twice; each has one stage of one replica")
    if min(used) < 0 or max(used) >= min(len(machines), len(network.delay_s)):
        raise UserError(f"plan: grid: there are {len(machines)} machines, and {len(network.delay_s)} in the network")
    if sum(plan.layers) != shape.layers:
        raise UserError(f"plan: layers: {sum(plan.layers)} in all; the model has {shape.layers}")
    if plan.order not in ORDERS:
        raise UserError(f"plan: order: {plan.order!r} is none of {', '.join(ORDERS)}")
    for name, value in (("boundary", plan.boundary), ("gradients", plan.gradients)):
        if value not in BYTES_PER_VALUE:
            raise UserError(f"plan: {name}: {value!r} is none of {', '.join(BYTES_PER_VALUE)}")
    if plan.micro_batches < 1 or plan.local_steps < 1:
        raise UserError("plan: micro_batches and local_steps: each must be at least 1")
    if costs is not None and len(costs) != len(machines):
        raise UserError(f"costs: {len(costs)} for {len(machines)} machines; give one for each")


@dataclass(eq=False)
class _Fleet:
    """What all members know."""

    shape: ModelShape
    machines: Sequence[Machine]
    network: Network
    plan: Plan
    started_s: float
    costs: Sequence[PassCosts | None] | None
    shared_cores: int | None
    core_slowdown: float
    transport_s: tuple[float, float]
    overhead: float
    clipped: bool
    clock: Clock = field(default_factory=Clock)
    links: Links = field(init=False)
    spans: list[SimulatedSpan] | None = None

    def __post_init__(self) -> None:
        self.cores = Cores(self.clock, self.shared_cores, self.core_slowdown)
        values = self.shape.activation_values(self.plan.sequences) * self.plan.keep_boundary
        self.boundary_bytes = values * BYTES_PER_VALUE[self.plan.boundary]

    def costs_of(self, machine: int, stage: int) -> tuple[float, float, float]:
        """Seconds of a forward pass, of a backward pass and of the optimiser, cool and with a core of its own."""
        plan, last = self.plan, stage == self.plan.stages - 1
        parameters = self.shape.stage_parameters(plan.layers[stage], stage == 0, last)
        optimizer_s = parameters * OPTIMIZER_BYTES / OPTIMIZER_BYTES_PER_S
        given = self.costs[machine] if self.costs is not None else None
        if given is not None:
            return given.forward_s, given.backward_s, optimizer_s if given.optimizer_s is None else given.optimizer_s
        forward, backward = self.shape.stage_flops(plan.layers[stage], last, plan.sequences)
        speed = self.machines[machine].flops_per_s
        return forward / speed, backward / speed, optimizer_s

    def carry(self, payload: float) -> None:
        """Processor time for a message, both ends, beside the passes and for the most part while it is under way."""
        work_s = self.transport_s[0] + payload * self.transport_s[1]
        if self.shared_cores is not None and work_s:
            for _ in range(2):
                self.cores.run(work_s, lambda: None)

    def transferred(self, flow: Flow) -> None:
        assert self.spans is not None
        span = SimulatedSpan(flow.source, "transfer", flow.label, flow.start_s, flow.end_s, flow.target)
        self.spans.append(span)


class _Ring:
    """A stage's all-reduce over the replicas.

    Its rounds wait for each other, so that the slowest hop sets the pace: all rounds of a hop are one transfer, and the ring
    is done when the last is.
    """

    def __init__(self, fleet: _Fleet, members: list[_Member]) -> None:
        self.fleet, self.members = fleet, members
        self.missing = self.under_way = len(members)

    def join(self) -> None:
        self.missing -= 1
        if self.missing:
            return
        plan, replicas, stage = self.fleet.plan, len(self.members), self.members[0].stage
        parameters = self.fleet.shape.stage_parameters(plan.layers[stage], stage == 0, stage == plan.stages - 1)
        rounds = 2 * (replicas - 1) / plan.local_steps
        payload = rounds * parameters * BYTES_PER_VALUE[plan.gradients] / replicas
        for place, member in enumerate(self.members):
            following = self.members[(place + 1) % replicas]
            delay_s = rounds * float(self.fleet.network.delay_s[member.machine, following.machine])
            member.send(following, payload, self._arrived, None, delay_s)

    def _arrived(self) -> None:
        self.under_way -= 1
        if not self.under_way:
            for member in self.members:
                member.reduced()


class _Member:
    """A machine at its stage."""

    ring: _Ring
    tie: _Member

    def __init__(self, fleet: _Fleet, machine: int, replica: int, stage: int) -> None:
        self.fleet, self.machine, self.replica, self.stage = fleet, machine, replica, stage
        self.before: _Member | None = None
        self.after: _Member | None = None
        plan = fleet.plan
        order = cast(Order, plan.order)
        self.left: list[Pass] = list(passes(order, stage, plan.stages, plan.micro_batches))[::-1]
        self.forward_s, self.backward_s, self.optimizer_s = fleet.costs_of(machine, stage)
        self.arrived = {"F": 0, "B": 0}
        self.computing, self.departing = False, 0
        self.worked_s = self.busy_s = self.end_s = 0.0
        self.sent_bytes = self.received_bytes = 0.0
        self.exchange_from_s = self.exchange_to_s = self.tie_from_s = 0.0
        self.in_passes, self.tie_open = True, 2
        self.norm_open = 1 if stage == 0 else 2

    def send(
        self,
        to: _Member,
        payload: float,
        arrived: Callable[[], None],
        label: int | None = None,
        delay_s: float | None = None,
    ) -> None:
        self.departing += 1
        self.sent_bytes += payload
        to.received_bytes += payload
        wire_bytes = payload * self.fleet.overhead
        self.fleet.carry(payload)
        self.fleet.links.send(self.machine, to.machine, wire_bytes, self._departed, arrived, label, delay_s)

    def _departed(self) -> None:
        self.departing -= 1
        if self.in_passes:
            self.proceed()

    def compute(self, kind: str, micro_batch: int | None, work_s: float, done: Callable[[], None]) -> None:
        machine, work = self.fleet.machines[self.machine], work_s
        if machine.throttle_after_s is not None:
            cool_s = machine.throttle_after_s - self.fleet.started_s - self.worked_s
            hot_s = work_s - min(work_s, max(0.0, cool_s))
            work += hot_s / machine.throttle_factor - hot_s
        self.worked_s += work
        self.computing = True
        self.fleet.cores.run(work, partial(self._computed, kind, micro_batch, self.fleet.clock.now_s, done))

    def _computed(self, kind: str, micro_batch: int | None, start_s: float, done: Callable[[], None]) -> None:
        self.computing = False
        self.busy_s += self.fleet.clock.now_s - start_s
        self._span(kind, micro_batch, start_s)
        done()

    def _span(self, kind: str, micro_batch: int | None, start_s: float) -> None:
        if self.fleet.spans is not None:
            end_s = self.fleet.clock.now_s
            self.fleet.spans.append(SimulatedSpan(self.machine, kind, micro_batch, start_s, end_s))

    # -- passes -------------------------------------------------------------------------------------------------------

    def proceed(self) -> None:
        """Begin the next pass, if what it needs is there; after the last, and its messages, the exchanges."""
        if self.computing:
            return
        if not self.left:
            if not self.departing:
                self.in_passes = False
                self._exchange()
            return
        kind, index = self.left[-1]
        needed = self.before if kind == "F" else self.after
        if needed is not None and self.arrived[kind] <= index:
            return
        self.left.pop()
        name, work_s = ("forward", self.forward_s) if kind == "F" else ("backward", self.backward_s)
        self.compute(name, index, work_s, partial(self._passed, kind, index))

    def _passed(self, kind: str, index: int) -> None:
        to = self.after if kind == "F" else self.before
        if to is not None:
            self.send(to, self.fleet.boundary_bytes, partial(to._received, kind), index)
        self.proceed()

    def _received(self, kind: str) -> None:
        self.arrived[kind] += 1  # a pair's messages come in order
        self.proceed()

    # -- exchanges ----------------------------------------------------------------------------------------------------

    def _exchange(self) -> None:
        self.exchange_from_s = self.fleet.clock.now_s
        if self.fleet.plan.replicas > 1:
            self.ring.join()
        else:
            self._exchange_tie()

    def reduced(self) -> None:
        self._span("reduce", None, self.exchange_from_s)
        self._exchange_tie()

    def _exchange_tie(self) -> None:
        stages, shape = self.fleet.plan.stages, self.fleet.shape
        if not (shape.tied and stages > 1 and self.stage in (0, stages - 1)):
            self._norm()
            return
        self.tie_from_s = self.fleet.clock.now_s
        self.send(self.tie, BYTES_PER_VALUE[self.fleet.plan.gradients] * shape.embedding_parameters, self._tie_both)

    def _tie_both(self) -> None:
        # Called when this member's own part is over there; the peer's may have come long before.
        for member in (self, self.tie):
            member.tie_open -= 1
        for member in (self, self.tie):
            if not member.tie_open:
                member._span("tie", None, member.tie_from_s)
                member._norm()

    def _norm(self) -> None:
        """Hear from the stage before, tell the next; the last turns it round. 8 bytes: the delay is all it takes."""
        if not self.fleet.clipped:
            self._optimize()
            return
        self.norm_open -= 1
        if self.norm_open:
            return
        if self.after is not None:
            self._tell(self.after, self.after._norm)
        else:
            self._norm_back()

    def _norm_back(self) -> None:
        if self.before is not None:
            self._tell(self.before, self.before._norm_back)
        self._optimize()

    def _tell(self, to: _Member, call: Callable[[], None]) -> None:
        delay_s = float(self.fleet.network.delay_s[self.machine, to.machine])
        self.fleet.clock.at(self.fleet.clock.now_s + delay_s, call)

    def _optimize(self) -> None:
        self.exchange_to_s = self.fleet.clock.now_s
        self.compute("optimizer", None, self.optimizer_s, self._end)

    def _end(self) -> None:
        self.end_s = self.fleet.clock.now_s

    def summary(self, step_s: float) -> MachineStep:
        """Times, bytes, energy and carbon of a step of `step_s`."""
        machine = self.fleet.machines[self.machine]
        exchange_s = self.exchange_to_s - self.exchange_from_s
        wire_bytes = (self.sent_bytes + self.received_bytes) * self.fleet.overhead
        compute = machine.busy_watts * self.busy_s
        idle = machine.idle_watts * (step_s - self.busy_s)
        radio = machine.radio_joules_per_byte * wire_bytes
        return MachineStep(
            machine=self.machine, stage=self.stage, replica=self.replica, layers=self.fleet.plan.layers[self.stage],
            busy_s=self.busy_s, wait_s=step_s - self.busy_s - exchange_s, exchange_s=exchange_s,
            sent_bytes=self.sent_bytes, received_bytes=self.received_bytes,
            compute_joules=compute, idle_joules=idle, radio_joules=radio,
            operational_grams=(compute + idle + radio) * machine.grams_per_kwh / _JOULES_PER_KWH,
            embodied_grams=machine.embodied_grams_per_s * step_s,
        )  # fmt: skip
