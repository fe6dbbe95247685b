"""The placement of devices that makes communication least: a search over grids, seeded and of a fixed length.

It does not work on partitions. It lays the devices on a grid of groups × pipelines, where a row is a group and
a column a pipeline. The grid's cost needs no matching and no path, so that changes are cheap to weigh, and its least value
is the same, because the best matching and path of any partition can be written as a grid.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage
from scipy.spatial.distance import squareform

from edgecarbon.fleet.communication import (
    WITHIN,
    Floats,
    Integers,
    Problem,
    data_parallel_cost_s,
    lower_bound_s,
    pipeline_cost,
    pipeline_of,
    without_self,
)

NEAR_DEVICES = 12
"""How many of its nearest devices a device may be brought beside."""

STEPS_PER_DEVICE, FEWEST_STEPS = 72, 300
ROUND_HEATS, COLD = (0.01, 0.004, 0.004), 0.0002
BLURS = (0.05, 0.2, 0.5, 1.5)
"""A round's length, the heat that each round starts from and ends at, as shares of the total, and the share of means in
the score, one of these in turn over the grids: tuned on noisy copies of the published networks."""


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
        self.near = np.argsort(without_self(problem.activation_edge_s), axis=1)[
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
    redone = np.stack([pipeline_of(problem, grid)[2] for grid in grids])
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
