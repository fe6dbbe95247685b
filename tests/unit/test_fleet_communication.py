"""The communication cost and the placement, against published figures and against every partition tried."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations, pairwise, permutations
from pathlib import Path

import numpy as np
import pytest

import edgecarbon.fleet
from edgecarbon.errors import UserError
from edgecarbon.fleet.communication import (
    EXACT_PATH_GROUPS,
    Problem,
    bottleneck_matching,
    data_parallel_cost_s,
    lower_bound_s,
    open_path,
    pipeline_cost,
    total_cost_s,
)
from edgecarbon.fleet.communication_search import place

NETWORKS = Path(edgecarbon.fleet.__file__).parent / "networks"
CONSECUTIVE_S = {
    "data_centre": 16.981,
    "spot_instances": 49.504,
    "two_universities": 17.648,
    "four_us_regions": 39.241,
    "eight_world_regions": 59.437,
}
BEST_KNOWN_S = {
    "data_centre": 3.4398,
    "spot_instances": 31.6343,
    "two_universities": 16.0868,
    "four_us_regions": 34.8020,
    "eight_world_regions": 49.2184,
}


def published(name):
    network = json.loads((NETWORKS / f"{name}.json").read_text())
    return Problem(
        np.array(network["delay_ms"]) / 1000,
        np.array(network["bandwidth_gbps"]),
        network["groups"],
        network["group_size"],
        network["gradient_gigabytes"],
        network["activation_gigabytes"],
    )


def shuffled(problem, seed):
    order = np.random.default_rng(seed).permutation(len(problem.delay_s))
    order = np.ix_(order, order)
    return replace(problem, delay_s=problem.delay_s[order], bandwidth_gbps=problem.bandwidth_gbps[order])


def drawn(seed, groups, group_size):
    """Links that differ by orders of magnitude, and sizes that make now one part dear and now the other."""
    random = np.random.default_rng(seed)
    shape = (groups * group_size,) * 2
    bandwidth, delay = random.lognormal(0, 1.5, shape), random.uniform(0, 0.1, shape)
    sizes = random.uniform(0.01, 2, 2)
    return Problem(np.maximum(delay, delay.T), np.minimum(bandwidth, bandwidth.T), groups, group_size, *sizes)


def four_nodes():
    near = np.kron(np.eye(2), np.ones((2, 2))).astype(bool)
    return Problem(np.where(near, 0.001, 0.01), np.where(near, 10.0, 1.0), 2, 2, 1.0, 0.5)


def every_partition(devices, size):
    if not devices:
        yield []
        return
    first, *others = devices
    for mates in combinations(others, size - 1):
        rest = [device for device in others if device not in mates]
        for partition in every_partition(rest, size):
            yield [(first, *mates), *partition]


def plain_total_s(problem, partition):
    """The cost straight from its definition, by trying every matching and every order."""
    delay, bandwidth, size = problem.delay_s, problem.bandwidth_gbps, problem.group_size

    def hop(one, other):
        edges = delay + 8 * problem.activation_gigabytes / bandwidth
        return min(max(edges[pair] for pair in zip(one, mates, strict=True)) for mates in permutations(other))

    exchange = 2 * (delay + 8 * problem.gradient_gigabytes / (size * bandwidth))
    paid = max(sum(exchange[one, other] for other in group if other != one) for group in partition for one in group)
    hops = {pair: hop(*pair) for pair in permutations([tuple(group) for group in partition], 2)}
    orders = permutations([tuple(group) for group in partition])
    return paid + 2 * min(sum(hops[pair] for pair in pairwise(order)) for order in orders)


def test_four_nodes_cost_what_the_formula_says():
    near, far = [[0, 1], [2, 3]], [[0, 2], [1, 3]]
    assert data_parallel_cost_s(four_nodes(), near) == pytest.approx(0.802)
    assert 2 * pipeline_cost(four_nodes(), near)[1] == pytest.approx(8.020)
    assert total_cost_s(four_nodes(), near) == pytest.approx(8.822)
    assert data_parallel_cost_s(four_nodes(), far) == pytest.approx(8.020)
    assert 2 * pipeline_cost(four_nodes(), far)[1] == pytest.approx(0.802)
    assert total_cost_s(four_nodes(), far) == pytest.approx(8.822)


@pytest.mark.parametrize("name", CONSECUTIVE_S)
def test_groups_of_consecutive_devices_cost_what_is_published(name):
    assert total_cost_s(published(name), np.arange(64).reshape(8, 8).tolist()) == pytest.approx(
        CONSECUTIVE_S[name], abs=5e-4
    )


@pytest.mark.parametrize(("seed", "name"), list(enumerate(BEST_KNOWN_S)))
def test_published_networks_reach_the_best_known_in_any_order_of_devices(name, seed):
    problem = shuffled(published(name), seed)
    placement = place(problem, seed=seed)
    assert placement.total_cost_s <= BEST_KNOWN_S[name] + 5e-5
    assert placement.lower_bound_s <= placement.total_cost_s
    assert placement.optimal == (name == "spot_instances")


@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (2, 2), (3, 2), (2, 3), (4, 2), (2, 4)], ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_small_cases_are_the_best_of_every_partition(shape, seed):
    problem = drawn(seed, *shape)
    devices = list(range(len(problem.delay_s)))
    costs = [plain_total_s(problem, partition) for partition in every_partition(devices, problem.group_size)]
    placement = place(problem, seed=seed)
    assert placement.total_cost_s == pytest.approx(min(costs), rel=1e-9)
    assert lower_bound_s(problem) <= min(costs) * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_a_partition_costs_what_its_definition_says(seed):
    problem = drawn(seed, 4, 3)
    partition = np.random.default_rng(seed).permutation(12).reshape(4, 3).tolist()
    assert total_cost_s(problem, partition) == pytest.approx(plain_total_s(problem, partition))


def test_a_placement_says_what_it_costs():
    problem = drawn(7, 5, 4)
    placement = place(problem)
    assert sorted(device for group in placement.partition for device in group) == list(range(20))
    assert sorted(placement.pipeline_order) == list(range(5))
    order, one_way_s = pipeline_cost(problem, placement.partition)
    assert placement.pipeline_order == order
    assert placement.pipeline_cost_s == 2 * one_way_s
    assert placement.data_parallel_cost_s == data_parallel_cost_s(problem, placement.partition)
    assert placement.total_cost_s == placement.data_parallel_cost_s + placement.pipeline_cost_s


def test_the_same_seed_gives_the_same_placement():
    problem = drawn(3, 4, 4)
    assert place(problem, seed=5) == place(problem, seed=5)
    # More time than it needs changes nothing: the search has a fixed length.
    assert place(problem, seconds=60, seed=5) == place(problem, seed=5)


def test_no_time_still_gives_a_placement():
    placement = place(drawn(3, 4, 4), seconds=0)
    assert sorted(device for group in placement.partition for device in group) == list(range(16))


@pytest.mark.parametrize("seed", range(10))
def test_no_partition_is_below_the_bound(seed):
    problem = drawn(seed, 5, 3)
    random = np.random.default_rng(seed)
    costs = [total_cost_s(problem, random.permutation(15).reshape(5, 3).tolist()) for _ in range(30)]
    assert lower_bound_s(problem) <= min(*costs, place(problem).total_cost_s)


def test_bottleneck_matchings_are_perfect_and_the_best():
    costs = np.random.default_rng(0).integers(0, 9, (60, 5, 5)).astype(float)
    bottleneck, match = bottleneck_matching(costs)
    for cost, best, columns in zip(costs, bottleneck, match, strict=True):
        assert sorted(columns) == list(range(5))
        assert best == min(max(cost[range(5), order]) for order in permutations(range(5)))
        assert cost[range(5), columns].max() == best


@pytest.mark.parametrize("groups", [1, 2, 3, 7])
def test_short_paths_are_exact(groups):
    hop = np.random.default_rng(groups).random((groups, groups))
    hop += hop.T

    def length(path):
        return sum(hop[pair] for pair in pairwise(path))

    assert length(open_path(hop)) == pytest.approx(min(length(path) for path in permutations(range(groups))))


def test_long_paths_visit_every_group_and_find_a_line():
    groups = EXACT_PATH_GROUPS + 8
    place_on_line = np.random.default_rng(0).permutation(groups).astype(float)
    path = open_path(np.abs(np.subtract.outer(place_on_line, place_on_line)))
    assert sorted(path) == list(range(groups))
    assert sum(abs(place_on_line[one] - place_on_line[other]) for one, other in pairwise(path)) == groups - 1


def with_link(matrix, value, both=True):
    changed = matrix.copy()
    changed[0, 1] = value
    if both:
        changed[1, 0] = value
    return changed


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (lambda good: {"delay_s": good.delay_s[:3]}, "delay_s"),
        (lambda good: {"delay_s": good.delay_s[:3, :3]}, "bandwidth_gbps"),
        (lambda good: {"delay_s": with_link(good.delay_s, np.nan)}, "delay_s"),
        (lambda good: {"delay_s": with_link(good.delay_s, -0.001)}, "delay_s"),
        (lambda good: {"delay_s": with_link(good.delay_s, 0.5, both=False)}, "delay_s"),
        (lambda good: {"bandwidth_gbps": with_link(good.bandwidth_gbps, 0.0)}, "bandwidth_gbps"),
        (lambda good: {"bandwidth_gbps": with_link(good.bandwidth_gbps, np.inf)}, "bandwidth_gbps"),
        (lambda good: {"bandwidth_gbps": with_link(good.bandwidth_gbps, 3.0, both=False)}, "bandwidth_gbps"),
        (lambda good: {"groups": 0}, "groups"),
        (lambda good: {"group_size": -2}, "group_size"),
        (lambda good: {"groups": 3}, "groups"),
        (lambda good: {"groups": 1}, "groups"),
        (lambda good: {"gradient_gigabytes": -1.0}, "gradient_gigabytes"),
        (lambda good: {"activation_gigabytes": np.nan}, "activation_gigabytes"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(changes, named):
    good = four_nodes()
    with pytest.raises(UserError, match=named):
        replace(good, **changes(good))


@pytest.mark.parametrize("partition", [[[0, 1, 2, 3]], [[0, 1], [2, 2]], [[0, 1], [2, 4]], [[0, 1, 2], [3]]])
def test_a_partition_places_every_device_once(partition):
    with pytest.raises(UserError, match="partition"):
        total_cost_s(four_nodes(), partition)
