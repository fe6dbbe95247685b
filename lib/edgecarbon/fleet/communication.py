"""What a step's communication costs over a slow, unequal network, and which placement of the devices makes it least.

The cost model is DT-FM's (Yuan et al. 2022, "Decentralized Training of Foundation Models in Heterogeneous Environments",
arXiv 2206.01288, section 3). Devices fall into data-parallel groups of equal size, one group a pipeline stage:

- data parallel: the slowest member over all groups, a member paying Σ 2·(α + 8·c_grad/(D·β)) over its group's others;
- a hop between two groups: the bottleneck of the best perfect matching on edges α + 8·c_act/β;
- pipeline: the shortest open path through all groups over the hops, walked forward and back;
- total = data parallel + 2 × pipeline, in seconds a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from edgecarbon.errors import UserError

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
Partition = Sequence[Sequence[int]]

BITS_PER_BYTE = 8
EXACT_PATH_GROUPS = 12
"""Up to so many groups the pipeline's order is exact: Held-Karp holds 2^groups × groups states."""

WITHIN = 1e-9
"""Costs that differ by so small a share are the same cost, summed in another order."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Devices, the links between them, and what is sent over them.

    `delay_s` and `bandwidth_gbps` are (n, n), symmetric, in seconds and Gbit/s; their diagonals are not read. Every device
    is placed: n = `groups` × `group_size`. Sizes are in gigabytes (1e9 bytes): `gradient_gigabytes` of a stage,
    `activation_gigabytes` of a boundary between two stages, for one device. Raises UserError for what does not fit.
    """

    delay_s: Floats
    bandwidth_gbps: Floats
    groups: int
    group_size: int
    gradient_gigabytes: float
    activation_gigabytes: float

    def __post_init__(self) -> None:
        for field in ("groups", "group_size"):
            if getattr(self, field) < 1:
                raise UserError(f"{field}: must be at least 1, is {getattr(self, field)}.")
        for field in ("gradient_gigabytes", "activation_gigabytes"):
            if not (np.isfinite(getattr(self, field)) and getattr(self, field) >= 0):
                raise UserError(f"{field}: must be a finite size of 0 or more, is {getattr(self, field)}.")
        for field in ("delay_s", "bandwidth_gbps"):
            object.__setattr__(self, field, _checked_links(field, getattr(self, field)))
        if self.delay_s.shape != self.bandwidth_gbps.shape:
            raise UserError(
                f"bandwidth_gbps: is {self.bandwidth_gbps.shape}, but delay_s is {self.delay_s.shape}; both list every device."
            )
        if len(self.delay_s) != self.groups * self.group_size:
            raise UserError(
                f"groups, group_size: {self.groups} × {self.group_size} places for {len(self.delay_s)} devices; "
                "every device takes one place."
            )

    @cached_property
    def gradient_edge_s(self) -> Floats:
        """(n, n): 2·(α + 8·c_grad/(D·β)), what a pair in one group adds to both its members; 0 on the diagonal."""
        share = BITS_PER_BYTE * self.gradient_gigabytes / self.group_size
        return _without_diagonal(2 * (self.delay_s + share / self.bandwidth_gbps))

    @cached_property
    def activation_edge_s(self) -> Floats:
        """(n, n): α + 8·c_act/β, one boundary's activations over a link; 0 on the diagonal."""
        return _without_diagonal(self.delay_s + BITS_PER_BYTE * self.activation_gigabytes / self.bandwidth_gbps)


def _checked_links(field: str, given: Floats) -> Floats:
    """A link matrix as floats, with a diagonal that divides and adds without harm."""
    links = np.array(given, dtype=np.float64)
    if links.ndim != 2 or links.shape[0] != links.shape[1]:
        raise UserError(f"{field}: must be a square matrix, one row and one column a device; is {links.shape}.")
    np.fill_diagonal(links, 1.0)
    if not np.isfinite(links).all():
        raise UserError(f"{field}: every link needs a finite number.")
    if (links < 0).any() or (field == "bandwidth_gbps" and (links == 0).any()):
        least = "more than 0" if field == "bandwidth_gbps" else "0 or more"
        raise UserError(f"{field}: every link must be {least}.")
    if not np.allclose(links, links.T, rtol=1e-9, atol=0):
        raise UserError(f"{field}: must be symmetric; a link has one figure for both directions.")
    return links


def _without_diagonal(edges: Floats) -> Floats:
    np.fill_diagonal(edges, 0.0)
    return edges


def _checked_partition(problem: Problem, partition: Partition) -> Integers:
    """(groups, group_size) device ids. Raises UserError unless every device is in exactly one group of the right size."""
    if [len(group) for group in partition] != [problem.group_size] * problem.groups:
        raise UserError(f"partition: must be {problem.groups} groups of {problem.group_size} devices.")
    members = np.array(partition, dtype=np.intp)
    if not np.array_equal(np.sort(members, axis=None), np.arange(len(problem.delay_s))):
        raise UserError("partition: every device must be in exactly one group.")
    return members


# --- the cost -------------------------------------------------------------------------------------------------------


def data_parallel_cost_s(problem: Problem, partition: Partition) -> float:
    """Seconds of the slowest member's gradient exchange: max over groups and members of Σ 2·(α + 8·c_grad/(D·β))."""
    members = _checked_partition(problem, partition)
    return float(problem.gradient_edge_s[members[:, :, None], members[:, None, :]].sum(axis=2).max())


def pipeline_cost(problem: Problem, partition: Partition) -> tuple[tuple[int, ...], float]:
    """The groups' best order, and the seconds of one way through them (training walks it twice).

    Exact up to EXACT_PATH_GROUPS groups; beyond, each hop is exact and the order is found by local search.
    """
    order, cost_s, _ = pipeline_of(problem, _checked_partition(problem, partition))
    return order, cost_s


def total_cost_s(problem: Problem, partition: Partition) -> float:
    """Seconds a step: data parallel + 2 × pipeline."""
    return data_parallel_cost_s(problem, partition) + 2 * pipeline_cost(problem, partition)[1]


def pipeline_of(problem: Problem, members: Integers) -> tuple[tuple[int, ...], float, Integers]:
    """Order, one-way seconds, and the grid (groups, group_size): rows in that order, matched devices in one column."""
    groups, size = members.shape
    if groups == 1:
        return (0,), 0.0, members
    first, second = np.array(list(combinations(range(groups), 2)), dtype=np.intp).T
    edges = problem.activation_edge_s[members[first][:, :, None], members[second][:, None, :]]
    cost, match = bottleneck_matching(edges)
    hop = np.zeros((groups, groups))
    hop[first, second] = hop[second, first] = cost
    pair = np.zeros((groups, groups), dtype=np.intp)
    pair[first, second] = np.arange(len(first))
    order = open_path(hop)
    grid = np.empty_like(members)
    column = np.arange(size)
    grid[0] = members[order[0]]
    for step, (left, right) in enumerate(pairwise(order), start=1):
        forward = match[pair[left, right]] if left < right else np.argsort(match[pair[right, left]])
        column = forward[column]
        grid[step] = members[right][column]
    return order, float(sum(hop[left, right] for left, right in pairwise(order))), grid


def bottleneck_matching(costs: Floats) -> tuple[Floats, Integers]:
    """Perfect matchings whose dearest edge is cheapest, of many square cost matrices at once.

    `costs` is (m, d, d). Returns (m,) bottlenecks and (m, d) the column of each row. Rows join one by one along the path
    whose dearest new edge is cheapest: the Hungarian method with maximum in place of sum (Gross 1959; Burkard et al.,
    "Assignment Problems", section 6.2).
    """
    many, size, _ = costs.shape
    every = np.arange(many)
    floor = np.maximum(costs.min(axis=2).max(axis=1), costs.min(axis=1).max(axis=1))
    # No matching is cheaper than `floor`, so what lies below it need not be told apart: paths get shorter.
    costs = np.maximum(costs, floor[:, None, None])
    row_of = np.full((many, size + 1), -1, dtype=np.intp)
    for row in range(size):
        reach = costs[:, row].copy()
        source = np.full((many, size), size, dtype=np.intp)
        closed = np.zeros((many, size), dtype=bool)
        row_of[:, size] = row
        goal = np.full(many, -1, dtype=np.intp)
        while True:
            # Among equally near columns a free one ends the path.
            near = np.where(closed, np.inf, reach)
            best = near.min(axis=1, keepdims=True)
            column = np.argmax((near == best) * (1 + (row_of[:, :size] < 0)), axis=1)
            free = row_of[every, column] < 0
            goal = np.where((goal < 0) & free, column, goal)
            if (goal >= 0).all():
                break
            closed[every, column] = True
            through = np.maximum(best, costs[every, row_of[every, column]])
            better = (through < reach) & ~closed & (goal < 0)[:, None]
            reach = np.where(better, through, reach)
            source = np.where(better, column[:, None], source)
        moving = every
        while len(moving):
            came = source[moving, goal[moving]]
            row_of[moving, goal[moving]] = row_of[moving, came]
            goal[moving] = came
            moving = moving[came < size]
    match = np.argsort(row_of[:, :size], axis=1)
    return costs[every[:, None], np.arange(size), match].max(axis=1), match


@lru_cache(maxsize=4)
def _subsets(groups: int) -> tuple[tuple[Integers, Integers], ...]:
    """Per size from 2 up: the subsets of so many groups as bit masks (m,), and their members (m, size)."""
    levels = []
    for size in range(2, groups + 1):
        members = np.array(list(combinations(range(groups), size)), dtype=np.intp)
        levels.append(((1 << members).sum(axis=1), members))
    return tuple(levels)


def open_path(hop: Floats) -> tuple[int, ...]:
    """The shortest path that visits every group once, from any start; `hop` is (groups, groups), symmetric."""
    groups = len(hop)
    if groups > EXACT_PATH_GROUPS:
        return _long_path(hop)
    cost = np.full((1 << groups, groups), np.inf)
    cost[1 << np.arange(groups), np.arange(groups)] = 0.0
    before = np.zeros((1 << groups, groups), dtype=np.intp)
    for masks, members in _subsets(groups):
        # Held and Karp 1962: the best path over a subset that ends at one of its members.
        shorter = masks[:, None] ^ (1 << members)
        ways = cost[shorter] + hop[members]
        previous = ways.argmin(axis=2)
        cost[masks[:, None], members] = np.take_along_axis(ways, previous[:, :, None], axis=2)[:, :, 0]
        before[masks[:, None], members] = previous
    mask = (1 << groups) - 1
    path = [int(cost[mask].argmin())]
    while mask := mask ^ (1 << path[-1]):
        path.append(int(before[mask ^ (1 << path[-1]), path[-1]]))
    return tuple(path)


def _long_path(hop: Floats) -> tuple[int, ...]:
    """Nearest neighbour from every start, the best few mended by reversing and moving stretches until none helps."""
    groups = len(hop)
    starts = []
    for start in range(groups):
        path = [start]
        left = np.ones(groups, dtype=bool)
        left[start] = False
        while len(path) < groups:
            path.append(int(np.where(left, hop[path[-1]], np.inf).argmin()))
            left[path[-1]] = False
        starts.append(path)

    def length(path: list[int]) -> float:
        return float(hop[path[:-1], path[1:]].sum())

    starts.sort(key=length)
    # A place that is free to reach from everywhere closes the open path into a tour, so that its ends are no special case.
    free = np.pad(hop, (0, 1)).tolist()
    mended = [_mended_path(free, path) for path in starts[:4]]
    best: list[int] = min(mended, key=length)
    return tuple(best)


def _mended_path(hop: list[list[float]], path: list[int]) -> list[int]:
    """2-opt with Or-opt: cut out a stretch, put it back elsewhere, either way round, while that shortens the path."""
    groups = len(path)
    while True:
        for start, end in combinations(range(groups + 1), 2):
            stretch, rest = path[start:end], [groups, *path[:start], *path[end:], groups]
            head, tail, before, after = stretch[0], stretch[-1], rest[start], rest[start + 1]
            now = hop[before][head] + hop[tail][after] - hop[before][after]
            for place in range(len(rest) - 1) if end - start <= 3 else (start,):
                one, other = rest[place], rest[place + 1]
                straight = hop[one][head] + hop[tail][other] - hop[one][other]
                turned = hop[one][tail] + hop[head][other] - hop[one][other]
                if min(straight, turned) < now - 1e-12:
                    piece = stretch if straight <= turned else stretch[::-1]
                    path = [*rest[1 : place + 1], *piece, *rest[place + 1 : -1]]
                    break
            else:
                continue
            break
        else:
            return path


# --- the least it can cost ------------------------------------------------------------------------------------------


def lower_bound_s(problem: Problem) -> float:
    """Seconds that no placement can go below.

    Data parallel: a device's group costs it at least its D − 1 cheapest links. Pipeline: k hops of at most t seconds join
    the devices into D·k links that close no circle, so that k ≤ (n − components of the links up to t) / D; and they touch
    (k + 1)·D devices or more, each with a link of at most t. The hops above t are then at least groups − 1 − k, and the
    pipeline is the sum of that count over all t.
    """
    groups, size = problem.groups, problem.group_size
    devices = groups * size
    gradient = np.sort(without_self(problem.gradient_edge_s), axis=1)
    data_parallel = float(gradient[:, : size - 1].sum(axis=1).max())
    if groups == 1:
        return data_parallel
    # Only the spanning tree's edges change the components, and every device's cheapest link is in it.
    edge = problem.activation_edge_s
    first, second = np.triu_indices(devices, 1)
    sort = np.argsort(edge[first, second], kind="stable")
    levels, start = np.unique(edge[first, second][sort], return_index=True)
    nearest = np.sort(without_self(edge).min(axis=1))
    joined = _joined_by_level(first[sort], second[sort], start, devices)
    touched = np.searchsorted(nearest, levels, side="right")
    cheap = np.minimum(np.minimum(joined // size, touched // size - 1), groups - 1)
    above = groups - 1 - np.maximum(cheap, 0)
    pipeline = (groups - 1) * float(levels[0]) + float((above[:-1] * np.diff(levels)).sum())
    return data_parallel + 2 * pipeline


def without_self(edges: Floats) -> Floats:
    return edges + np.diag(np.full(len(edges), np.inf))


def _joined_by_level(first: Integers, second: Integers, start: Integers, devices: int) -> Integers:
    """Devices − components once the links of each level and of all cheaper ones are there (Kruskal's count)."""
    parent = list(range(devices))
    joins = np.zeros(len(first), dtype=np.intp)
    for index, (one, other) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        while parent[other] != other:
            parent[other] = parent[parent[other]]
            other = parent[other]
        if one != other:
            parent[one] = other
            joins[index] = 1
    return np.add.reduceat(joins, start).cumsum()
