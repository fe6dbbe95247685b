"""What a step's communication costs over a slow, unequal network, and which placement of the devices makes it least.

The cost model is DT-FM's (Yuan et al. 2022, "Decentralized Training of Foundation Models in Heterogeneous Environments",
arXiv 2206.01288, section 3). Devices fall into data-parallel groups of equal size, one group a pipeline stage:

- data parallel: the slowest member over all groups, a member paying Σ 2·(α + 8·c_grad/(D·β)) over its group's others;
- a hop between two groups: the bottleneck of the best perfect matching on edges α + 8·c_act/β;
- pipeline: the shortest open path through all groups over the hops, walked forward and back;
- total = data parallel + 2 × pipeline, in seconds a step.

The search does not work on partitions. It lays the devices on a grid of groups × pipelines, where a row is a group and
a column a pipeline. The grid's cost needs no matching and no path, so that changes are cheap to weigh, and its least value
is the same, because the best matching and path of any partition can be written as a grid.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations, pairwise, product

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage
from scipy.spatial.distance import squareform

from edgecarbon.errors import UserError

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
Partition = Sequence[Sequence[int]]

BITS_PER_BYTE = 8
EXACT_PATH_GROUPS = 12
"""Up to so many groups the pipeline's order is exact: Held-Karp holds 2^groups × groups states."""

WITHIN = 1e-9
"""Costs that differ by so small a share are the same cost, summed in another order."""

NEAR_DEVICES = 12
"""How many of its nearest devices a device may be brought beside."""

STEPS_PER_DEVICE, FEWEST_STEPS = 36, 300
ROUND_HEATS, COLD = (0.01, 0.004, 0.004), 0.0002
BLURS = (0.05, 0.2, 0.5, 1.5)
"""A round's length, the heat that each round starts from and ends at, as shares of the total, and the share of means in
the score, one of these in turn over the grids: tuned on noisy copies of the published networks."""


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
    order, cost_s, _ = _pipeline(problem, _checked_partition(problem, partition))
    return order, cost_s


def total_cost_s(problem: Problem, partition: Partition) -> float:
    """Seconds a step: data parallel + 2 × pipeline."""
    return data_parallel_cost_s(problem, partition) + 2 * pipeline_cost(problem, partition)[1]


def _pipeline(problem: Problem, members: Integers) -> tuple[tuple[int, ...], float, Integers]:
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
    gradient = np.sort(_without_self(problem.gradient_edge_s), axis=1)
    data_parallel = float(gradient[:, : size - 1].sum(axis=1).max())
    if groups == 1:
        return data_parallel
    # Only the spanning tree's edges change the components, and every device's cheapest link is in it.
    edge = problem.activation_edge_s
    first, second = np.triu_indices(devices, 1)
    sort = np.argsort(edge[first, second], kind="stable")
    levels, start = np.unique(edge[first, second][sort], return_index=True)
    nearest = np.sort(_without_self(edge).min(axis=1))
    joined = _joined_by_level(first[sort], second[sort], start, devices)
    touched = np.searchsorted(nearest, levels, side="right")
    cheap = np.minimum(np.minimum(joined // size, touched // size - 1), groups - 1)
    above = groups - 1 - np.maximum(cheap, 0)
    pipeline = (groups - 1) * float(levels[0]) + float((above[:-1] * np.diff(levels)).sum())
    return data_parallel + 2 * pipeline


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


# --- the search -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Placement:
    """A partition with its cost a step. `pipeline_order` lists indices of `partition`; `pipeline_cost_s` is both ways."""

    partition: tuple[tuple[int, ...], ...]
    pipeline_order: tuple[int, ...]
    data_parallel_cost_s: float
    pipeline_cost_s: float
    total_cost_s: float
    lower_bound_s: float
    optimal: bool


def _placement(problem: Problem, members: Integers, bound_s: float) -> Placement:
    partition = tuple(tuple(sorted(int(device) for device in group)) for group in members)
    order, one_way_s = pipeline_cost(problem, partition)
    data_parallel_s = data_parallel_cost_s(problem, partition)
    total_s = data_parallel_s + 2 * one_way_s
    optimal = total_s <= bound_s * (1 + WITHIN)
    return Placement(partition, order, data_parallel_s, 2 * one_way_s, total_s, min(bound_s, total_s), optimal)


class _Herd:
    """Many grids at once, changed side by side: simulated annealing with numpy in place of a loop over grids.

    `grid` is (k, groups + 2, group_size); its first and last row are a device that does not exist, with free links, so that
    the ends are no special case. `row` (k, groups + 2) is the slowest member of each row, `hop` (k, groups + 1) the slowest
    column between two rows, `row_mean` and `hop_mean` their means, all in seconds.
    """

    def __init__(self, problem: Problem, random: np.random.Generator) -> None:
        self.random, self.devices = random, problem.groups * problem.group_size
        self.gradient = np.pad(problem.gradient_edge_s, (0, 1)).ravel()
        self.activation = np.pad(problem.activation_edge_s, (0, 1)).ravel()
        self.near = np.argsort(_without_self(problem.activation_edge_s), axis=1)[
            :, : min(NEAR_DEVICES, self.devices - 1)
        ]

    def load(self, grids: Integers) -> None:
        """Takes over grids (k, groups, group_size)."""
        self.grid = np.pad(grids, ((0, 0), (1, 1), (0, 0)), constant_values=self.devices)
        self.every = np.arange(len(grids))
        self.row, self.row_mean = self._rows(self.grid)
        self.hop, self.hop_mean = self._hops(self.grid[:, :-1], self.grid[:, 1:])

    def _rows(self, rows: Integers) -> tuple[Floats, Floats]:
        """The slowest and the mean member of rows (…, group_size)."""
        paid = self.gradient.take(rows[..., :, None] * (self.devices + 1) + rows[..., None, :]).sum(axis=-1)
        return paid.max(axis=-1), paid.sum(axis=-1) / paid.shape[-1]

    def _hops(self, upper: Integers, lower: Integers) -> tuple[Floats, Floats]:
        edges = self.activation.take(upper * (self.devices + 1) + lower)
        return edges.max(axis=-1), edges.sum(axis=-1) / edges.shape[-1]

    def cost_s(self) -> Floats:
        """(k,) seconds a step if rows stay in this order and columns as they are."""
        cost: Floats = self.row.max(axis=1) + 2 * self.hop.sum(axis=1)
        return cost

    def _score(self, row: Floats, row_mean: Floats, hop: Floats, hop_mean: Floats, blur: Floats) -> Floats:
        """The cost with a share of means: a maximum alone is flat almost everywhere and shows no way down."""
        mean = (row.sum(axis=1) + row_mean.sum(axis=1)) / (row.shape[1] - 2) + 2 * hop_mean.sum(axis=1)
        score: Floats = row.max(axis=1) + 2 * hop.sum(axis=1) + blur * mean
        return score

    def step(self, heat_s: float, blur: Floats) -> None:
        """One change tried in each grid, and kept by Metropolis' rule; `blur` is (k,)."""
        every = self.every[:, None]
        before = self.grid.copy()
        first, second = self._change()
        touched = np.stack([first, second], axis=1)
        around = np.stack([first - 1, first, second - 1, second], axis=1)
        row, row_mean, hop, hop_mean = self.row.copy(), self.row_mean.copy(), self.hop.copy(), self.hop_mean.copy()
        row[every, touched], row_mean[every, touched] = self._rows(self.grid[every, touched])
        hop[every, around], hop_mean[every, around] = self._hops(self.grid[every, around], self.grid[every, around + 1])
        now = self._score(self.row, self.row_mean, self.hop, self.hop_mean, blur)
        rise = self._score(row, row_mean, hop, hop_mean, blur) - now
        keep = rise <= heat_s * self.random.standard_exponential(len(now))
        self.grid[~keep] = before[~keep]
        self.row[keep], self.row_mean[keep] = row[keep], row_mean[keep]
        self.hop[keep], self.hop_mean[keep] = hop[keep], hop_mean[keep]

    def _change(self) -> tuple[Integers, Integers]:
        """Changes every grid in place, in one way drawn for all; returns the two rows (k,) touched in each."""
        grid, every, random = self.grid, self.every, self.random
        rows, size = grid.shape[1] - 2, grid.shape[2]
        first = random.integers(1, rows + 1, len(every))
        second = (first + random.integers(1, rows, len(every)) - 1) % rows + 1
        one, other = random.integers(size, size=(2, len(every)))
        way = random.random()
        if way < 0.1:  # two rows change places in some columns, or in all
            cells = np.flatnonzero(random.random((len(every), size)) < (0.25, 0.5, 1.0)[random.integers(3)])
            at, column = cells // size, cells % size
            upper, lower = grid[at, first[at], column], grid[at, second[at], column]
            grid[at, first[at], column], grid[at, second[at], column] = lower, upper
            return first, second
        if way < 0.3:  # two devices of a row change columns
            second = first
        elif way < 0.7:  # a device comes below or above one that it is near to, most often one of the nearest
            beside = np.where((first == rows) | ((first > 1) & (random.random(len(every)) < 0.5)), first - 1, first + 1)
            rank = (random.random(len(every)) ** 2 * self.near.shape[1]).astype(np.intp)
            guest = self.near[grid[every, beside, one], rank]
            place = (grid[:, 1:-1].reshape(len(every), -1) == guest[:, None]).argmax(axis=1)
            second, other = place // size + 1, place % size
        upper, lower = grid[every, first, one], grid[every, second, other]
        grid[every, first, one], grid[every, second, other] = lower, upper
        return first, second

    def compete(self, heat_s: float) -> None:
        """Grids meet in pairs; the worse may become a copy of the better, the more likely the further apart they are."""
        pairs = self.random.permutation(len(self.every) // 2 * 2).reshape(-1, 2)
        gap = np.diff(self.cost_s()[pairs], axis=1)[:, 0]
        beaten = self.random.random(len(pairs)) < 0.5 * -np.expm1(-np.abs(gap) / heat_s)
        winner = np.where(gap > 0, pairs[:, 0], pairs[:, 1])[beaten]
        loser = np.where(gap > 0, pairs[:, 1], pairs[:, 0])[beaten]
        for state in (self.grid, self.row, self.row_mean, self.hop, self.hop_mean):
            state[loser] = state[winner]


def _without_self(edges: Floats) -> Floats:
    return edges + np.diag(np.full(len(edges), np.inf))


def _device_orders(problem: Problem) -> list[Integers]:
    """Orders (n,) in which devices that are near to each other are neighbours, and one from well to badly connected."""
    edges = problem.activation_edge_s
    trees = [linkage(squareform(edges, checks=False), method) for method in ("average", "single", "complete")]
    orders: list[Integers] = [leaves_list(tree).astype(np.intp) for tree in trees]
    # Clusters of one size fit together on a grid, so that they also come sorted by size, cut where the tree's gaps are widest.
    position = np.argsort(orders[0])
    height = trees[0][:, 2]
    for gap in np.argsort(height[:-1] - height[1:], kind="stable")[:4]:
        cluster = fcluster(trees[0], height[gap] * (1 + 1e-9), "distance")
        start = np.full(cluster.max() + 1, len(edges))
        np.minimum.at(start, cluster, position)
        orders.append(np.lexsort((position, start[cluster], -np.bincount(cluster)[cluster])))
    return [*orders, np.argsort(edges.mean(axis=1), kind="stable")]


def _tilings(rows: int, columns: int) -> Integers:
    """(tilings, rows, columns) ranks: every way to fill the grid tile by tile, tiles and cells along rows or columns."""

    def count(high: int, wide: int, along_rows: bool) -> Integers:
        return (
            np.arange(high * wide).reshape(high, wide) if along_rows else np.arange(high * wide).reshape(wide, high).T
        )

    tilings = [
        np.kron(count(rows // high, columns // wide, outer) * high * wide, np.ones((high, wide), dtype=np.intp))
        + np.tile(count(high, wide, inner), (rows // high, columns // wide))
        for high, wide, inner, outer in product(range(1, rows + 1), range(1, columns + 1), (True, False), (True, False))
        if rows % high == 0 and columns % wide == 0
    ]
    return np.unique(np.stack(tilings), axis=0)


def _exact(problem: Problem, grids: Integers) -> tuple[Floats, Integers]:
    """Grids (k, groups, group_size) with each partition's best order and matchings, and their cost (k,), cheapest first."""
    redone = np.stack([_pipeline(problem, grid)[2] for grid in grids])
    paid = problem.gradient_edge_s[redone[..., :, None], redone[..., None, :]].sum(axis=-1).max(axis=(1, 2))
    cost = paid + 2 * problem.activation_edge_s[redone[:, :-1], redone[:, 1:]].max(axis=2).sum(axis=1)
    rank = np.argsort(cost, kind="stable")
    return cost[rank], redone[rank]


def _first_grids(problem: Problem, herd: _Herd, count: int) -> Integers:
    """(count, groups, group_size): half the cheapest tilings of the device orders, half random, to start from."""
    tilings = _tilings(problem.groups, problem.group_size)
    grids, costs = [], []
    for order in _device_orders(problem):
        herd.load(order[tilings])
        best = np.argsort(herd.cost_s(), kind="stable")[:count]
        grids.append(order[tilings][best])
        costs.append(herd.cost_s()[best])
    best = np.argsort(np.concatenate(costs), kind="stable")[: count // 2]
    chosen = np.concatenate(grids)[best]
    shape = (problem.groups, problem.group_size)
    free = [herd.random.permutation(herd.devices).reshape(shape) for _ in range(count - len(chosen))]
    return np.concatenate([chosen, np.stack(free)])


def place(problem: Problem, seconds: float = 4.0, seed: int = 0) -> Placement:
    """The cheapest placement that the search finds; the same one for the same problem and seed.

    The search is of a fixed length that grows with the devices. `seconds` is a ceiling for up to 64 devices, and in
    proportion for more; on a machine so slow that it is reached, the best so far is returned.
    """
    bound = lower_bound_s(problem)
    if problem.groups == 1 or len(problem.delay_s) <= 2:
        return _placement(problem, np.arange(len(problem.delay_s)).reshape(problem.groups, -1), bound)
    devices = len(problem.delay_s)
    stop_at = time.monotonic() + seconds * max(1.0, devices / 64)
    herd = _Herd(problem, np.random.default_rng(seed))
    count = 64 if devices <= 128 else 32
    costs, grids = _exact(problem, _first_grids(problem, herd, count))
    best_s, best = costs[0], grids[0]
    for hot in ROUND_HEATS:
        if best_s <= bound * (1 + WITHIN) or time.monotonic() > stop_at:
            break
        herd.load(grids)
        _anneal(herd, best_s, hot, max(FEWEST_STEPS, STEPS_PER_DEVICE * devices), stop_at)
        costs, grids = _exact(problem, herd.grid[:, 1:-1])
        if costs[0] < best_s:
            best_s, best = costs[0], grids[0]
        # The next round starts from the best and the better quarter.
        grids = np.concatenate([best[None], *[grids[: count // 4]] * 4])[:count]
    return _placement(problem, best, bound)


def _anneal(herd: _Herd, scale_s: float, hot: float, steps: int, stop_at: float) -> None:
    """Cools the herd from `hot` to COLD shares of `scale_s`; the means lose their say towards the end."""
    blur = np.resize(BLURS, len(herd.every))
    for step in range(steps):
        heat_s = scale_s * hot * (COLD / hot) ** (step / steps)
        herd.step(heat_s, blur * (1 - step / steps))
        if step % 50 == 49:
            herd.compete(10 * heat_s)
            if time.monotonic() > stop_at:
                return
