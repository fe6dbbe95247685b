"""DT-FM's placement: a genetic algorithm over partitions, as its paper tells it, for a benchmark to stand beside.

Yuan et al. 2022, arXiv 2206.01288, section 3.3. A population of 100 random balanced partitions; 4,900 trials. A trial draws
two parents, carries five devices' groups from one into the other, and improves the child by cyclic moves after Kang and
Moon ("A hybrid genetic algorithm for multiway graph partitioning", GECCO 2000): a chain of moves, each taking the device
with its group's fastest inner link to the group that it is farthest from on the mean, so that fast links come free for the
pipeline. The child replaces the worse of its parents, unless it is worse than both. The method and its figures are theirs,
the code is ours; only the arithmetic is vectorised.
"""

from __future__ import annotations

import numpy as np

from edgecarbon.fleet.communication import total_cost_s

CROSSOVER_POINTS = 5


def genetic_placement(problem, trials=4900, population=100, seed=0):
    """The best partition found, as groups of device ids, and its total cost in seconds a step."""
    random = np.random.default_rng(seed)
    devices = problem.groups * problem.group_size
    equal = np.repeat(np.arange(problem.groups), problem.group_size)
    parents = [random.permutation(equal) for _ in range(population)]
    costs = [total_cost_s(problem, groups_of(labels, problem.groups)) for labels in parents]
    for _ in range(trials):
        one, other = random.integers(population, size=2)
        child = crossed(parents[one], parents[other], random.permutation(devices)[:CROSSOVER_POINTS], problem)
        child = improved(child, problem.activation_edge_s, problem.groups)
        cost = total_cost_s(problem, groups_of(child, problem.groups))
        worse = one if costs[one] > costs[other] else other
        if cost <= costs[worse]:
            parents[worse], costs[worse] = child, cost
    best = int(np.argmin(costs))
    return groups_of(parents[best], problem.groups), costs[best]


def groups_of(labels, groups):
    """(groups, group_size) device ids from (devices,) group labels of equal count."""
    return np.argsort(labels, kind="stable").reshape(groups, -1)


def crossed(giver, taker, points, problem):
    """The taker's labels with the giver's at some devices; groups too large then give to those with room."""
    child = taker.copy()
    child[points] = giver[points]
    sizes = np.bincount(child, minlength=problem.groups)
    for device, label in enumerate(child):
        if sizes[label] > problem.group_size:
            room = int(np.argmax(sizes < problem.group_size))
            sizes[label] -= 1
            sizes[room] += 1
            child[device] = room
    return child


def heads(labels, locked, link_s, groups):
    """Each group's next device to move, and its gain by target: mean link there minus its fastest link here.

    `link_s` is (n, n) with an endless diagonal. Returns devices (groups,), gains (groups, groups) with −∞ for no move.
    """
    members = labels == np.arange(groups)[:, None]
    inner = np.where(members[labels], link_s, np.inf).min(axis=1)
    inner[locked] = np.inf
    inner_of_group = np.where(members, inner, np.inf)
    device = inner_of_group.argmin(axis=1)
    fastest = inner_of_group[np.arange(groups), device]
    outer = np.where(np.isinf(link_s[device]), 0.0, link_s[device])
    gains = outer @ members.T / np.maximum(members.sum(axis=1), 1) - fastest[:, None]
    np.fill_diagonal(gains, -np.inf)
    return device, gains


def improved(labels, activation_edge_s, groups):
    """Cyclic partitioning: chains of moves from group to group, closed where they gain most; the best few are kept."""
    link_s = activation_edge_s + np.diag(np.full(len(labels), np.inf))
    locked = np.zeros(len(labels), dtype=bool)
    visited = np.zeros(groups, dtype=bool)
    states, gained = [labels], [0.0]
    for _ in range(groups):
        after, gain = one_cycle(states[-1], locked, visited, link_s, groups)
        states.append(after)
        gained.append(gained[-1] + gain)
        if visited.all():
            break
    return states[int(np.argmax(gained))]


def one_cycle(labels, locked, visited, link_s, groups):
    """One chain from the group with the best gain; marks what it moved in `locked` and where it came in `visited`."""
    current = labels.copy()
    device, gains = heads(current, locked, link_s, groups)
    start = group = int(gains.max(axis=1).argmax())
    moves, steps, closings = [], [], []
    while True:
        target = int(gains[group].argmax())
        if np.isneginf(gains[group, target]):
            break
        moved = int(device[group])
        moves.append((moved, group))
        steps.append(gains[group, target])
        closings.append(gains[group, start])
        current[moved] = target
        locked[moved] = visited[target] = True
        group = target
        if group == start:
            break
        device, gains = heads(current, locked, link_s, groups)
    # A chain may be closed after any move but the first: the device then goes to the start instead of onward.
    worth = np.cumsum([0.0, *steps])[: len(closings)] + closings
    if len(moves) < 2 or worth[1:].max() <= 0:
        return labels.copy(), 0.0
    last = 1 + int(worth[1:].argmax())
    for moved, origin in moves[last + 1 :]:
        current[moved] = origin
    current[moves[last][0]] = start
    return current, float(worth[last])
