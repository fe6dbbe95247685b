"""Every plan of a small fleet: bounds first, then the schedule's recurrences for those that could still be the best.

Branch and bound (Land and Doig 1960) over shapes, arrangements and splits. Machines that are alike stand for each other, so
that a fleet of equal laptops has few arrangements.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import comb

import numpy as np

from edgecarbon.fleet.cost import Integers
from edgecarbon.fleet.edge_search import SLACK, Search, Shape, Task

MOST_GRIDS, MOST_SPLITS, MOST_BOUNDED, MOST_WEIGHED = 20_000, 120_000, 4_000_000_000, 3_000_000
"""Up to where every plan is looked at: arrangements, splits of the layers, plans bounded, plans weighed."""
FLUSH = 16_384
"""Plans that are weighed together: a better one found early spares the next ones."""


def exhaustive(search: Search) -> bool:
    """Weighs every plan that could beat the best one so far. False where there are too many, or where time was up."""
    task = search.task
    kinds = _kinds(task)
    families = sorted({shape[:3] for shape in task.shapes})
    bounded = weighed = 0
    grids_of: dict[tuple[int, int], Integers] = {}
    for replicas, stages, _ in families:
        splits = comb(task.cost.shape.layers - 1, stages - 1)
        if (replicas, stages) not in grids_of:
            grids = _all_grids(kinds, replicas, stages)
            if grids is None or splits > MOST_SPLITS:
                return False
            grids_of[replicas, stages] = grids
        bounded += len(grids_of[replicas, stages]) * splits
    if bounded > MOST_BOUNDED:
        return False
    for replicas, stages, micro_batches in families:
        shapes = [shape for shape in task.shapes if shape[:3] == (replicas, stages, micro_batches)]
        grids, splits_of = grids_of[replicas, stages], _compositions(task.cost.shape.layers, stages)
        for plans, layers in _promising(search, shapes, grids, splits_of):
            for shape in shapes:
                weighed += _weigh_promising(search, shape, plans, layers)
            if weighed > MOST_WEIGHED or search.late():
                return False
    return not search.late()


def _weigh_promising(search: Search, shape: Shape, grids: Integers, layers: Integers) -> int:
    """Those of (k, r, s) and (k, s) whose bound with this order is below the best, most promising first; how many."""
    task = search.task
    fits = (layers <= task.room(shape, grids)).all(axis=1)
    grids, layers = grids[fits], layers[fits]
    load = task.cost.load(grids, layers, shape.micro_batches, task.sequences(shape))
    bound = task.cost.rate(grids, task.weights) * task.cost.bound_s(load, shape.order, shape.micro_batches)
    bound = bound + task.cost.fixed(grids, load, task.weights)
    rank, count = np.argsort(bound, kind="stable"), 0
    while count < len(rank):
        some = rank[count : count + (256 if count == 0 else 2048)]
        if search.best is not None and bound[some[0]] >= search.best.score * SLACK:
            break
        search.weigh(shape, grids[some], layers[some])
        count += len(some)
    return count


def _promising(
    search: Search, shapes: list[Shape], grids: Integers, splits: Integers
) -> Iterator[tuple[Integers, Integers]]:
    """Batches of (k, r, s) and (k, s), of all `grids` × `splits` (c, s), whose quick bound is below the best so far."""
    task, cost, stages = search.task, search.task.cost, splits.shape[1]
    micro_batches = shapes[0].micro_batches
    ones = np.ones((len(grids), stages), dtype=np.intp)
    load = cost.load(grids, ones, micro_batches, task.sequences(shapes[0]))
    rate, fixed = cost.rate(grids, task.weights), cost.fixed(grids, load, task.weights)
    each, base, own = task.layer_costs(shapes[0], grids)
    hops = (load.forward_s + load.backward_s)[:, :, :-1] + load.there_s + load.back_s
    fill = np.concatenate([np.zeros((*hops.shape[:2], 1)), hops.cumsum(axis=2)], axis=2).min(axis=1)
    after = load.ring_s[:, 0] + load.tie_s.min(axis=1) + load.optimizer_s[:, :, 0].max(axis=1)
    base = base + fill + after[:, None]
    fixed = fixed - own.sum(axis=1)
    room = np.max([task.room(shape, grids) for shape in shapes], axis=0)
    layers = int(splits[0].sum())
    buffer: list[tuple[Integers, Integers]] = []
    waiting = 0
    for index in range(len(grids)):
        if search.late():
            return
        most, goal = room[index], search.best.score * SLACK if search.best else np.inf
        if rate[index] > 0 and np.isfinite(goal):
            # The step may take so long at most; a stage has no more layers than it does in that time.
            longest = (goal - fixed[index] - layers * own[index].min()) / rate[index]
            most = np.minimum(most, np.clip(np.floor((longest - base[index]) / each[index] + 1e-9), 0, layers))
        if most.min() < 1 or most.sum() < layers:
            continue
        some = (splits <= most).all(axis=1).nonzero()[0]
        bound = rate[index] * (splits[some] * each[index] + base[index]).max(axis=1, initial=0)
        some = some[bound + fixed[index] + splits[some] @ own[index] < goal]
        buffer.append((np.full(len(some), index), some))
        waiting += len(some)
        if waiting > FLUSH:
            yield _batch(grids, splits, buffer)
            buffer, waiting = [], 0
    if waiting:
        yield _batch(grids, splits, buffer)


def _batch(grids: Integers, splits: Integers, buffer: list[tuple[Integers, Integers]]) -> tuple[Integers, Integers]:
    return grids[np.concatenate([one for one, _ in buffer])], splits[np.concatenate([other for _, other in buffer])]


def _compositions(layers: int, stages: int) -> Integers:
    """(c, s): every way to give each stage at least one layer."""
    cuts = np.array(list(combinations(range(1, layers), stages - 1)), dtype=np.intp).reshape(
        comb(layers - 1, stages - 1), stages - 1
    )
    edges = np.pad(np.pad(cuts, ((0, 0), (1, 0))), ((0, 0), (0, 1)), constant_values=layers)
    return edges[:, 1:] - edges[:, :-1]


def _kinds(task: Task) -> list[list[int]]:
    """Machines that can stand for each other: alike, and exchanging two of them changes no link."""
    kinds: list[list[int]] = []
    for one, machine in enumerate(task.machines):
        for kind in kinds:
            other = kind[0]
            order = np.arange(len(task.machines))
            order[[one, other]] = other, one
            swap = np.ix_(order, order)
            links = (task.cost.delay_s, task.cost.s_per_byte)
            numbers = [{**vars(m), "name": ""} for m in (machine, task.machines[other])]
            if numbers[0] == numbers[1] and all((link[swap] == link).all() for link in links):
                kind.append(one)
                break
        else:
            kinds.append([one])
    return kinds


def _all_grids(kinds: list[list[int]], replicas: int, stages: int) -> Integers | None:
    """(k, r, s): every arrangement, of those that differ by alike machines or by the ring's start only one. None: too many."""
    found: list[list[int]] = []

    def extend(chosen: list[int], used: list[int]) -> bool:
        if len(chosen) == replicas * stages:
            rows = [tuple(chosen[at : at + stages]) for at in range(0, len(chosen), stages)]
            if rows == min(rows[turn:] + rows[:turn] for turn in range(replicas)):
                found.append([kinds[kind][chosen[:at].count(kind)] for at, kind in enumerate(chosen)])
            return len(found) <= MOST_GRIDS
        for kind, members in enumerate(kinds):
            if used[kind] < len(members):
                used[kind] += 1
                going_on = extend([*chosen, kind], used)
                used[kind] -= 1
                if not going_on:
                    return False
        return True

    if not extend([], [0] * len(kinds)):
        return None
    return np.array(found, dtype=np.intp).reshape(-1, replicas, stages)
