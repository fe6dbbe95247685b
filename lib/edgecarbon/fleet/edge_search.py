"""The search behind `edge.place_edge`: what fits, how layers are split, and annealing for fleets too large to try all.

A plan is a shape (replicas, stages, micro-batches, order), an arrangement of the machines of which the first
replicas × stages are used, and layers a stage. All plans are weighed by `cost.FleetCost`; a batch of k plans of one shape
is grids (k, r, s) and layers (k, s).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, cast

import numpy as np
from scipy.optimize import linear_sum_assignment

from edgecarbon.fleet.cost import OPTIMIZER_S, FleetCost, Floats, Integers, Weights
from edgecarbon.fleet.model import Machine, Plan, memory_bytes
from edgecarbon.worker.pipeline.schedule import Order, in_flight

NEIGHBOURS = 48
HOT, COLD = 0.05, 0.001
BRIEF, THOROUGH = (3, 60), (12, 300)
"""The local search: plans a round, its heats as shares of the score; shapes it starts from and rounds from each, for a
first good plan, and where no more is done."""

SLACK = 1 - 1e-12
"""A plan is better when its score is below this share of the best one's: rounding is no gain."""


class Shape(NamedTuple):
    replicas: int
    stages: int
    micro_batches: int
    order: str


@dataclass(frozen=True)
class Found:
    """A plan with what it costs: grid (r, s), layers (s,), time s, energy J, carbon g, and the weighted score."""

    shape: Shape
    grid: Integers
    layers: Integers
    costs: tuple[float, float, float]
    score: float


@dataclass(frozen=True)
class Task:
    """What is asked: the machines' cost, sequences a step, the objective, and what a plan may be."""

    cost: FleetCost
    machines: Sequence[Machine]
    batch: int
    weights: Weights
    orders: tuple[str, ...]
    micro_batches: tuple[int, ...] | None = None
    replicas: tuple[int, ...] | None = None
    stages: tuple[int, ...] | None = None
    _capacities: dict[Shape, Integers] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def shapes(self) -> list[Shape]:
        """Every shape that the machines' number, the layers and the batch allow."""
        return [
            Shape(replicas, stages, count, order)
            for replicas in self.replicas or range(1, min(len(self.machines), self.batch) + 1)
            if self.batch % replicas == 0
            for stages in self.stages or range(1, self.cost.shape.layers + 1)
            if stages <= self.cost.shape.layers and replicas * stages <= len(self.machines)
            for count in self.micro_batches or range(1, self.batch // replicas + 1)
            if self.batch // replicas % count == 0
            for order in (self.orders if stages > 1 and count > 1 else self.least_memory_order)
        ]

    @property
    def least_memory_order(self) -> tuple[str, ...]:
        """One order, of those asked for, that holds least; with one micro-batch or stage they all do the same passes."""
        return (min(self.orders, key=["1f1b", "eager-1f1b", "gpipe"].index),)

    def sequences(self, shape: Shape) -> float:
        return self.batch / (shape.replicas * shape.micro_batches)

    def memory(self, shape: Shape) -> tuple[Floats, Floats]:
        """(s,) and (s,): bytes that a stage needs without layers, and for each layer (`model.memory_bytes`)."""
        needs = np.empty((2, shape.stages))
        for layers in (0, 1):
            plan = Plan(
                ((0,) * shape.stages,),
                (layers,) * shape.stages,
                shape.micro_batches,
                self.sequences(shape),
                shape.order,
            )
            for stage in range(shape.stages):
                held = in_flight(cast(Order, shape.order), stage, shape.stages, shape.micro_batches)
                needs[layers, stage] = memory_bytes(self.cost.shape, plan, stage, held)
        return needs[0], needs[1] - needs[0]

    def capacity(self, shape: Shape) -> Integers:
        """(n, s): layers that fit on each machine, were it that stage; 0 where not even one."""
        if shape not in self._capacities:
            base, layer = self.memory(shape)
            free = np.array([machine.memory_bytes for machine in self.machines])[:, None]
            # A rounding error must not cost a layer that fits exactly.
            fits = np.floor(np.minimum((free - base) / layer, self.cost.shape.layers) + 1e-9)
            self._capacities[shape] = np.maximum(fits, 0).astype(np.intp)
        return self._capacities[shape]

    def room(self, shape: Shape, grids: Integers) -> Integers:
        """(k, s): layers that fit on every machine of a stage."""
        room: Integers = self.capacity(shape)[grids, np.arange(shape.stages)].min(axis=1)
        return room

    def layer_costs(self, shape: Shape, grids: Integers) -> tuple[Floats, Floats, Floats]:
        """(k, s) each: busy seconds of a stage's slowest machine, per layer and without layers, and score per layer."""
        flops = sum(self.cost.shape.stage_flops(1, False, self.sequences(shape)))
        head = self.cost.shape.stage_flops(0, True, self.sequences(shape))[0] * (
            np.arange(shape.stages) == shape.stages - 1
        )
        inverse = 1 / self.cost.speed[grids]
        seconds = shape.micro_batches * flops * inverse
        optimizer = OPTIMIZER_S * self.cost.shape.layer_parameters
        score = self.cost.busy_rate(self.weights)[grids] * (seconds + optimizer)
        slowest = inverse.max(axis=1)
        return shape.micro_batches * flops * slowest, shape.micro_batches * head * slowest, score.sum(axis=1)

    def split(self, shape: Shape, grids: Integers) -> Integers:
        """(k, s) layers: one at a time to the stage where it costs least, rate · slowest stage + its own cost.

        For the least time alone that makes the slowest stage as fast as can be, as all layers are alike. Rows of zeros
        where the model does not fit.
        """
        room = self.room(shape, grids)
        each, base, own = self.layer_costs(shape, grids)
        rate = self.cost.rate(grids, self.weights)[:, None]
        every = np.arange(len(grids))
        layers = np.ones(room.shape, dtype=np.intp)
        slowest = (base + each).max(axis=1, keepdims=True)
        for _ in range(self.cost.shape.layers - shape.stages):
            after = base + each * (layers + 1)
            price = np.where(layers < room, rate * (np.maximum(slowest, after) + 1e-6 * after) + own, np.inf)
            stage = price.argmin(axis=1)
            layers[every, stage] += 1
            slowest = np.maximum(slowest, after[every, stage][:, None])
        layers[(layers > room).any(axis=1)] = 0
        return layers

    def roomiest(self, shape: Shape) -> tuple[Integers, int]:
        """A grid (1, s) of one pipeline on which most layers fit, and how many: an assignment problem, exact."""
        capacity = self.capacity(shape)
        value = np.where(capacity > 0, capacity, -1e6)
        machine, stage = linear_sum_assignment(-value)
        return machine[np.argsort(stage)][None], int(value[machine, stage].sum())


class Search:
    """Weighs plans and keeps the best, and with `archive` all that none beats in time, energy and carbon at once."""

    def __init__(self, task: Task, stop_at: float, archive: list[Found] | None = None) -> None:
        self.task, self.stop_at, self.archive = task, stop_at, archive
        self.best: Found | None = None

    def late(self) -> bool:
        return time.monotonic() > self.stop_at

    def weigh(self, shape: Shape, grids: Integers, layers: Integers) -> Floats:
        """(k,) scores; inf where the layers do not fit."""
        task = self.task
        score = np.full(len(grids), np.inf)
        fits = np.flatnonzero(np.all((layers >= 1) & (layers <= task.room(shape, grids)), axis=1))
        if len(fits) == 0:
            return score
        grids, layers = grids[fits], layers[fits]
        done = task.cost.evaluate(grids, layers, shape.micro_batches, task.sequences(shape), shape.order, task.weights)
        score[fits] = done.score
        costs = np.stack([done.step_s, done.energy_joules, done.carbon_grams], axis=1)

        def found(index: int) -> Found:
            time_s, joules, grams = costs[index].tolist()
            return Found(shape, grids[index].copy(), layers[index].copy(), (time_s, joules, grams), done.score[index])

        least = int(done.score.argmin())
        if self.best is None or done.score[least] < self.best.score * SLACK:
            self.best = found(least)
        if self.archive is not None:
            new = np.arange(len(costs))
            if self.archive:
                kept = np.array([one.costs for one in self.archive])
                new = new[~np.any(np.all(kept[None] <= costs[:, None], axis=2), axis=1)]
            while len(new):
                one = new[np.lexsort(costs[new].T[::-1])[0]]
                self.archive[:] = [old for old in self.archive if not (costs[one] <= np.array(old.costs)).all()]
                self.archive.append(found(int(one)))
                new = new[~(costs[one] <= costs[new]).all(axis=1)]
        return score


# --- local search ---------------------------------------------------------------------------------------------------


def local_search(search: Search, seed: int, effort: tuple[int, int]) -> None:
    """Anneals from the best shapes: machines swap, move and leave, layers move, shapes change. `effort`: starts, rounds."""
    random = np.random.default_rng(seed)
    starts: dict[tuple[int, int], Found] = {}
    for shape in search.task.shapes:
        if search.late():
            break
        grids = _first_grids(search.task, shape)
        layers = search.task.split(shape, grids)
        score = search.weigh(shape, grids, layers)
        least = int(score.argmin())
        before = starts.get(shape[:2])
        if np.isfinite(score[least]) and (before is None or score[least] < before.score):
            starts[shape[:2]] = Found(shape, grids[least], layers[least], (0, 0, 0), float(score[least]))
    for start in sorted(starts.values(), key=lambda one: one.score)[: effort[0]]:
        _anneal(search, start, effort[1], random)


def _first_grids(task: Task, shape: Shape) -> Integers:
    """(k, r, s) sensible arrangements: the fastest, thriftiest, roomiest or nearest machines, in rows or in columns."""
    cost, every = task.cost, np.arange(len(task.machines))
    used = shape.replicas * shape.stages
    one = every[:, None, None]
    price = (cost.rate(one, task.weights) + cost.busy_rate(task.weights)) / cost.speed
    chain = _chain(cost)
    place = np.argsort(chain)
    memory = np.array([machine.memory_bytes for machine in task.machines])
    grids = []
    for rank in (np.argsort(-cost.speed, kind="stable"), np.argsort(price, kind="stable"), chain):
        chosen = rank[:used]
        for order in (chosen, chosen[np.argsort(place[chosen])], chosen[np.argsort(-memory[chosen], kind="stable")]):
            grids += [order.reshape(shape.replicas, shape.stages), order.reshape(shape.stages, shape.replicas).T]
    rank = np.argsort(-memory, kind="stable")[:used]
    grids.append(rank.reshape(shape.stages, shape.replicas).T)
    if shape.replicas == 1:
        grids.append(task.roomiest(shape)[0])
    return np.unique(np.stack(grids), axis=0)


def _chain(cost: FleetCost) -> Integers:
    """(n,): from the best connected machine always on to the nearest one that is left, by a megabyte's time."""
    hop = cost.delay_s + 1e6 * cost.s_per_byte
    hop = hop + hop.T
    path = [int(hop.sum(axis=1).argmin())]
    left = np.ones(len(hop), dtype=bool)
    while len(path) < len(hop):
        left[path[-1]] = False
        path.append(int(np.where(left, hop[path[-1]], np.inf).argmin()))
    return np.array(path, dtype=np.intp)


def _anneal(search: Search, start: Found, rounds: int, random: np.random.Generator) -> None:
    task, machines = search.task, len(search.task.machines)
    shape, layers, score = start.shape, start.layers, start.score
    line = np.concatenate([start.grid.ravel(), np.setdiff1d(np.arange(machines), start.grid)])
    for turn in range(rounds):
        if search.late():
            return
        lines = np.stack([_moved(line, shape, random) for _ in range(NEIGHBOURS // 2)])
        near = lines[:, : shape.replicas * shape.stages].reshape(-1, shape.replicas, shape.stages)
        here = np.repeat(near[:1] * 0 + line[: near[0].size].reshape(near[0].shape), NEIGHBOURS // 2, axis=0)
        kept = np.repeat(layers[None], NEIGHBOURS // 2, axis=0)
        grids = np.concatenate([near, near, here])
        splits = np.concatenate([task.split(shape, near), kept, _shifted(kept, random)])
        scores = search.weigh(shape, grids, splits)
        best = int(scores.argmin())
        heat = score * HOT * (COLD / HOT) ** (turn / rounds)
        if scores[best] < score or random.random() < np.exp(-(scores[best] - score) / max(abs(heat), 1e-300)):
            score, layers = float(scores[best]), splits[best]
            line = line if best >= 2 * len(near) else lines[best % len(near)]
        if turn % 12 == 0:
            for other, changed in _reshaped(task, shape, line):
                used = other.replicas * other.stages
                grids = changed[:, :used].reshape(-1, other.replicas, other.stages)
                splits = task.split(other, grids)
                scores = search.weigh(other, grids, splits)
                best = int(scores.argmin())
                if scores[best] < score:
                    score, shape, layers, line = float(scores[best]), other, splits[best], changed[best]


def _moved(line: Integers, shape: Shape, random: np.random.Generator) -> Integers:
    """The line of machines after a swap, a move, a stretch turned round, or two stages swapped."""
    used, count = shape.replicas * shape.stages, len(line)
    line = line.copy()
    move = random.integers(4)
    one, other = int(random.integers(used)), int(random.integers(count if move == 0 else used))
    low, high = min(one, other), max(one, other)
    if move == 0:
        line[[one, other]] = line[[other, one]]
    elif move == 1:
        line[low : high + 1] = np.roll(line[low : high + 1], 1 if random.random() < 0.5 else -1)
    elif move == 2:
        line[low : high + 1] = line[low : high + 1][::-1].copy()
    else:
        grid = line[:used].reshape(shape.replicas, shape.stages)
        left, right = one % shape.stages, other % shape.stages
        grid[:, [left, right]] = grid[:, [right, left]]
    return line


def _shifted(layers: Integers, random: np.random.Generator) -> Integers:
    """(k, s): each with one layer moved to another stage; rows that would lose their only layer do not fit."""
    layers = layers.copy()
    every = np.arange(len(layers))
    layers[every, random.integers(layers.shape[1], size=len(layers))] -= 1
    layers[every, random.integers(layers.shape[1], size=len(layers))] += 1
    return layers


def _reshaped(task: Task, shape: Shape, line: Integers) -> Iterator[tuple[Shape, Integers]]:
    """Shapes beside this one, with lines (k, n): other micro-batches and order, a stage less, a stage more."""
    used = shape.replicas * shape.stages
    grid, rest = line[:used].reshape(shape.replicas, shape.stages), line[used:]
    for other in task.shapes:
        if other.replicas != shape.replicas:
            continue
        if other.stages == shape.stages and other != shape:
            yield other, line[None]
        elif (other.micro_batches, other.order) != (shape.micro_batches, shape.order):
            continue
        elif other.stages == shape.stages - 1:
            fewer = [
                np.concatenate([np.delete(grid, stage, axis=1).ravel(), grid[:, stage], rest])
                for stage in range(shape.stages)
            ]
            yield other, np.stack(fewer)
        elif other.stages == shape.stages + 1:
            tail = rest[shape.replicas :]
            more = [
                np.concatenate([np.insert(grid, stage, rest[: shape.replicas], axis=1).ravel(), tail])
                for stage in range(shape.stages + 1)
            ]
            yield other, np.stack(more)
