"""Who does what in a fleet: the part of the spec that all members share, and this member's place in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from ..errors import WorkerError
from ..spec import Fields
from .codec import CODECS, Codec
from .mesh import Member
from .schedule import ORDERS, Order

LINKS = ("tls", "gloo")
GRADIENT_CODECS = tuple(codec for codec in CODECS if codec != "int8")
MODES = ("train", "network")


@dataclass(frozen=True)
class FleetPlan:
    """A fleet's run, as every member knows it.

    Attributes:
        mode: `train`, or `network`, which measures the links and trains nothing.
        run: a name that never comes again, in the certificates.
        rank: this member's place in `members`.
        layers: how many layers each stage has, from the first.
        grid: `grid[replica][stage]` is the rank that has it; every rank once.
        micro_batches: of each replica, a step.
        link: `tls` or `gloo`, which meets at `port` of rank 0.
        boundary, gradients: how hidden states and gradients travel.
        join_s: how long the members wait for each other at the start.
        silence_s: a member from which nothing is heard for so long is lost.
        probe_bytes: sent over each link in `network` mode.
    """

    mode: str
    run: str
    rank: int
    members: list[Member]
    layers: list[int]
    grid: list[list[int]]
    micro_batches: int
    order: Order
    link: str
    port: int
    boundary: Codec
    gradients: Codec
    join_s: float
    silence_s: float
    probe_bytes: int

    @property
    def stages(self) -> int:
        return len(self.layers)

    @property
    def replica(self) -> int:
        return next(index for index, row in enumerate(self.grid) if self.rank in row)

    @property
    def stage(self) -> int:
        return self.grid[self.replica].index(self.rank)

    @property
    def own_layers(self) -> range:
        start = sum(self.layers[: self.stage])
        return range(start, start + self.layers[self.stage])

    @property
    def before(self) -> int | None:
        """The rank of the stage before this one, in this replica."""
        return self.grid[self.replica][self.stage - 1] if self.stage else None

    @property
    def after(self) -> int | None:
        return self.grid[self.replica][self.stage + 1] if self.stage + 1 < self.stages else None

    @property
    def ring(self) -> list[int]:
        """The ranks that hold this stage, over all replicas."""
        return [row[self.stage] for row in self.grid]

    @property
    def tie_peer(self) -> int | None:
        """Who holds the other copy of a tied embedding, where there are two."""
        row = self.grid[self.replica]
        return None if self.stages == 1 else {0: row[-1], self.stages - 1: row[0]}.get(self.stage)

    def peers(self) -> set[int]:
        """Every rank that this member exchanges messages with."""
        if self.mode == "network":
            return set(range(len(self.members))) - {self.rank}
        ring, place = self.ring, self.replica
        found = {self.before, self.after, self.tie_peer, ring[(place + 1) % len(ring)], ring[place - 1]}
        return {rank for rank in found if rank is not None} - {self.rank}


def parse_plan(fields: Fields) -> FleetPlan:
    """Check the spec's part `fleet`. Raises WorkerError(bad_spec)."""
    members = [_member(Fields(entry, f"fleet.members[{i}]")) for i, entry in enumerate(_list(fields, "members"))]
    plan = FleetPlan(
        mode=fields.choice("mode", MODES),
        run=fields.text("run", r"[0-9a-f]{8,32}", "8 to 32 hexadecimal digits"),
        rank=fields.integer("rank", 0),
        members=members,
        layers=_numbers(fields, "layers", 1),
        grid=[[int(rank) for rank in row] for row in _list(fields, "grid")],
        micro_batches=fields.integer("micro_batches", 1),
        order=cast(Order, fields.choice("order", ORDERS)),
        link=fields.choice("link", LINKS),
        port=fields.integer("port", 1),
        boundary=cast(Codec, fields.choice("boundary", CODECS)),
        gradients=cast(Codec, fields.choice("gradients", GRADIENT_CODECS)),
        join_s=fields.number("join_s", above=True),
        silence_s=fields.number("silence_s", above=True),
        probe_bytes=fields.integer("probe_bytes", 1),
    )
    fields.done()
    everyone = sorted(rank for row in plan.grid for rank in row)
    if everyone != list(range(len(members))) or any(len(row) != plan.stages for row in plan.grid):
        raise fields.fail("grid", f"each of the {len(members)} ranks once, {plan.stages} in a row")
    if plan.rank >= len(members):
        raise fields.fail("rank", f"at most {len(members) - 1}")
    return plan


def sequences_each(plan: FleetPlan, batch_size: int) -> int:
    """Sequences of one micro-batch. Raises WorkerError(bad_spec) where the batch does not divide evenly."""
    parts = plan.micro_batches * len(plan.grid)
    if batch_size % parts:
        raise WorkerError(
            "bad_spec", f"spec: training.batch_size: {batch_size} sequences do not divide into {len(plan.grid)} replicas × "
            f"{plan.micro_batches} micro-batches; take a multiple of {parts}",
        )  # fmt: skip
    return batch_size // parts


def _member(fields: Fields) -> Member:
    member = Member(fields.text("name"), fields.text("address"), fields.integer("port", 1))
    fields.done()
    return member


def _list(fields: Fields, name: str) -> list[Any]:
    value = fields.take(name)
    if not isinstance(value, list) or not value:
        raise fields.fail(name, "a list that is not empty")
    return value


def _numbers(fields: Fields, name: str, minimum: int) -> list[int]:
    values = _list(fields, name)
    if not all(isinstance(value, int) and value >= minimum for value in values):
        raise fields.fail(name, f"whole numbers of at least {minimum}")
    return values
