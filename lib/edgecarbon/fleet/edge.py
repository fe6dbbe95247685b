"""Where to train on a fleet of unequal devices: which take part, in what order, with how many layers and micro-batches.

DT-FM (Yuan et al. 2022) places equal stages on equal machines for the least communication. Here machines differ in speed,
memory, power and their grid's carbon, the layers of a stage are free, and a device that costs more than it brings
is left out. The objective is a step's time, its energy or its carbon, by the estimate of `cost`; memory is a limit.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edgecarbon.errors import UserError
from edgecarbon.fleet.cost import CARBON, ENERGY, TIME, FleetCost, Floats, Weights
from edgecarbon.fleet.edge_exhaustive import exhaustive
from edgecarbon.fleet.edge_search import BRIEF, THOROUGH, Found, Search, Shape, Task, local_search
from edgecarbon.fleet.model import BYTES_PER_VALUE, STATE_BYTES, Machine, ModelShape, Network, Plan
from edgecarbon.worker.pipeline.schedule import ORDERS

OBJECTIVES = {"time": TIME, "energy": ENERGY, "carbon": CARBON}
TRADE_OFF = "trade-off"
MIXES = [Weights(a, b, 4 - a - b) for a in range(5) for b in range(5 - a) if max(a, b, 4 - a - b) < 4]
"""Weights between the three objectives that `pareto` tries, each in units of its own best value."""


@dataclass(frozen=True)
class EdgePlacement:
    """A plan with its cost a step, by the estimate of `cost`.

    Attributes:
        objective: time, energy, carbon, or "trade-off" for a plan of `pareto` that is the best in none of them.
        lower_bound: no plan's objective is below; in its unit, s, J or g. 0 for a trade-off.
        optimal: no plan is better, among those with whole sequences and the micro-batches and orders allowed.
        statement: that, or how far from the bound, in words.
        left_out: names of the machines that take no part.
    """

    objective: str
    plan: Plan
    step_s: float
    energy_joules: float
    carbon_grams: float
    lower_bound: float
    optimal: bool
    statement: str
    left_out: tuple[str, ...]


def place_edge(
    shape: ModelShape,
    machines: Sequence[Machine],
    network: Network,
    batch: int,
    objective: str = "time",
    *,
    seconds: float = 30.0,
    seed: int = 0,
    micro_batches: Iterable[int] | None = None,
    orders: Sequence[str] = ORDERS,
    replicas: Iterable[int] | None = None,
    stages: Iterable[int] | None = None,
    boundary: str = "fp32",
    gradients: str = "fp32",
) -> EdgePlacement:
    """The plan of least time, energy or carbon for a step of `batch` sequences.

    Small fleets are searched through; larger ones by a local search of a fixed length, the same for the same seed.
    `seconds` is a ceiling only. `micro_batches` (of one replica), `orders`, `replicas` and `stages` restrict the
    plans; those that do not divide the batch are passed over. Raises UserError where no plan fits.
    """
    if objective not in OBJECTIVES:
        raise UserError(f"objective: is '{objective}', must be one of {', '.join(OBJECTIVES)}.")
    cost = _cost(shape, machines, network, boundary, gradients)
    task = _task(cost, machines, batch, OBJECTIVES[objective], orders, micro_batches, replicas, stages)
    found, complete = _search(Search(task, time.monotonic() + seconds), seed)
    return _placement(task, found, objective, complete)


def pareto(
    shape: ModelShape,
    machines: Sequence[Machine],
    network: Network,
    batch: int,
    *,
    seconds: float = 60.0,
    seed: int = 0,
    micro_batches: Iterable[int] | None = None,
    orders: Sequence[str] = ORDERS,
    replicas: Iterable[int] | None = None,
    stages: Iterable[int] | None = None,
    boundary: str = "fp32",
    gradients: str = "fp32",
) -> list[EdgePlacement]:
    """Plans that no plan found beats in time, energy and carbon at once, fastest first.

    The best for each objective, for weighted sums of them, and all that the searches passed on their way. A plan
    between two of them that no weighted sum favours may be missing.
    """
    cost = _cost(shape, machines, network, boundary, gradients)
    limits = [None if one is None else tuple(one) for one in (micro_batches, replicas, stages)]
    stop_at = time.monotonic() + seconds
    archive: list[Found] = []
    bests: dict[str, EdgePlacement] = {}
    for name, weights in OBJECTIVES.items():
        task = _task(cost, machines, batch, weights, orders, *limits)
        found, complete = _search(Search(task, stop_at, archive), seed)
        bests[name] = _placement(task, found, name, complete)
    scale = [
        max(best, 1e-300)
        for best in (bests["time"].step_s, bests["energy"].energy_joules, bests["carbon"].carbon_grams)
    ]
    for mix in MIXES:
        weights = Weights(*(share / unit for share, unit in zip(mix, scale, strict=True)))
        task = _task(cost, machines, batch, weights, orders, *limits)
        _search(Search(task, stop_at, archive), seed, BRIEF)
    front = sorted(archive, key=lambda one: one.costs)
    least = np.min([one.costs for one in front], axis=0)
    placements = []
    for one in front:
        names = [name for name, value, best in zip(OBJECTIVES, one.costs, least, strict=True) if value <= best]
        if not names:
            placements.append(_placement(task, one, TRADE_OFF, False))
            continue
        proven = bests[names[0]]
        placements.append(_placement(task, one, names[0], proven.optimal, proven.lower_bound))
    return placements


def _cost(shape: ModelShape, machines: Sequence[Machine], network: Network, boundary: str, gradients: str) -> FleetCost:
    if not machines:
        raise UserError("devices: there are none; a plan needs at least 1 device: 1 short.")
    if len(network.delay_s) != len(machines):
        raise UserError(
            f"network: has {len(network.delay_s)} devices, but {len(machines)} are described; name each once."
        )
    for name, value in (("boundary", boundary), ("gradients", gradients)):
        if value not in BYTES_PER_VALUE:
            raise UserError(f"{name}: is '{value}', must be one of {', '.join(BYTES_PER_VALUE)}.")
    for machine in machines:
        if not (np.isfinite(machine.flops_per_s) and machine.flops_per_s > 0):
            raise UserError(
                f"{machine.name}: flops_per_s: must be above 0, is {machine.flops_per_s}; leave the device out."
            )
    return FleetCost(shape, machines, network, boundary=boundary, gradients=gradients)


def _task(
    cost: FleetCost,
    machines: Sequence[Machine],
    batch: int,
    weights: Weights,
    orders: Sequence[str],
    micro_batches: Iterable[int] | None,
    replicas: Iterable[int] | None,
    stages: Iterable[int] | None,
) -> Task:
    if batch < 1:
        raise UserError(f"batch: must be at least 1 sequence, is {batch}.")
    if not orders or set(orders) - set(ORDERS):
        raise UserError(f"orders: are {', '.join(orders) or 'none'}, must be of {', '.join(ORDERS)}.")
    limits = [None if one is None else tuple(sorted(set(one))) for one in (micro_batches, replicas, stages)]
    for name, limit in zip(("micro_batches", "replicas", "stages"), limits, strict=True):
        if limit is not None and (not limit or limit[0] < 1):
            raise UserError(f"{name}: must be whole numbers of at least 1, are {list(limit)}.")
    return Task(cost, machines, batch, weights, tuple(orders), *limits)


def _search(search: Search, seed: int, effort: tuple[int, int] | None = None) -> tuple[Found, bool]:
    """The best plan, and whether all were weighed. `effort` is the local search's where they are too many."""
    if not search.task.shapes:
        raise UserError(_too_few(search.task))
    local_search(search, seed, BRIEF)
    complete = exhaustive(search)
    if search.best is None:
        raise UserError(_too_little_memory(search.task))
    if not complete and effort != BRIEF:
        local_search(search, seed + 1, effort or THOROUGH)
    return search.best, complete


def _placement(task: Task, found: Found, objective: str, complete: bool, bound: float | None = None) -> EdgePlacement:
    shape = found.shape
    plan = Plan(
        grid=tuple(tuple(row) for row in found.grid.tolist()),
        layers=tuple(found.layers.tolist()),
        micro_batches=shape.micro_batches,
        sequences=task.sequences(shape),
        order=shape.order,
        boundary=task.cost.boundary,
        gradients=task.cost.gradients,
    )
    used = set(found.grid.ravel().tolist())
    left_out = tuple(machine.name for index, machine in enumerate(task.machines) if index not in used)
    if objective == TRADE_OFF:
        return EdgePlacement(
            objective, plan, *found.costs, 0.0, False, "no plan found is better in all three", left_out
        )
    value = found.costs[list(OBJECTIVES).index(objective)]
    least = value if complete else min(value, _lower_bound(task, objective) if bound is None else bound)
    if complete or value <= least * (1 + 1e-9):
        statement = "optimal: every plan was weighed or ruled out" if complete else "optimal: it meets the lower bound"
        return EdgePlacement(objective, plan, *found.costs, least, True, statement, left_out)
    share = f"{value / least:.3g} times the lower bound" if least > 0 else "with no lower bound above 0"
    return EdgePlacement(objective, plan, *found.costs, least, False, f"the best of a local search, {share}", left_out)


# --- bounds -----------------------------------------------------------------------------------------------------------


def _lower_bound(task: Task, objective: str) -> float:
    """What no plan's step goes below: seconds, joules or grams; the least over all shapes.

    The step's time is charged twice over, and the larger counts: every machine of the plan waits through the whole step
    and computing costs its extra; or only the machine that computes is charged, and the others not at all.
    """
    if objective == "time":
        return min(_time_bound_s(task, shape) for shape in _lightest(task))
    cost, weights = task.cost, OBJECTIVES[objective]
    a_joule = weights.joule + weights.gram * cost.grams_per_joule
    wait = cost.idle_watts * a_joule + weights.gram * cost.embodied
    extra = np.maximum(cost.busy_rate(weights), 0)
    # Where waiting draws more than computing, computing is charged with what it draws and waiting with no more.
    wait = wait + np.minimum(cost.busy_rate(weights), 0)
    per_byte = float((cost.joules_per_byte * a_joule).min())
    least = np.inf
    for shape in _lightest(task):
        waits = float(np.sort(wait)[: shape.replicas * shape.stages].sum())
        together = _time_bound_s(task, shape) * waits + _spent_bound(task, shape, extra / cost.speed, per_byte)
        least = min(least, max(together, _spent_bound(task, shape, (wait + extra) / cost.speed, per_byte)))
    return least


def _time_bound_s(task: Task, shape: Shape) -> float:
    """Seconds no step of a shape goes below.

    Stage s computes for T − 2·s·τ at most, as the first micro-batch comes late and the last one's gradient has as far to go:
    Σ speed·(T − 2·s·τ) must reach the step's FLOPs, with the fastest machines in front and τ the fastest link's transfer.
    Then the first stage sums its gradients. T is the least over prefixes, as later stages could also stay idle. And a
    machine does no more than the layers that it can hold.
    """
    cost, model = task.cost, task.cost.shape
    sequences = task.sequences(shape)
    fastest = (
        np.sort(cost.speed)[::-1][: shape.replicas * shape.stages].reshape(shape.stages, shape.replicas).sum(axis=1)
    )
    hop_s = [0.0]
    if len(task.machines) > 1:
        message = model.activation_values(sequences) * cost.keep_boundary * BYTES_PER_VALUE[cost.boundary]
        off = ~np.eye(len(task.machines), dtype=bool)
        value = BYTES_PER_VALUE[cost.gradients]
        first = value * model.stage_parameters(model.layers if shape.stages == 1 else 1, True, shape.stages == 1)
        sizes = (message, first / shape.replicas, value * model.embedding_parameters)
        hop_s = [float((cost.delay_s + size * cost.s_per_byte)[off].min()) for size in sizes]
    fill_s = 2 * hop_s[0] * np.arange(shape.stages)
    whole = sum(model.stage_flops(model.layers, True, sequences))
    work = whole * shape.micro_batches * shape.replicas
    pipe_s = float(((work + (fastest * fill_s).cumsum()) / fastest.cumsum()).min())
    pipe_s = max(
        pipe_s,
        whole / float(cost.speed.max()) + float(fill_s[-1]) + (shape.stages > 1) * (shape.micro_batches - 1) * hop_s[0],
    )
    held = np.minimum(task.capacity(shape).max(axis=1), model.layers - shape.stages + 1)
    most = held * sum(model.stage_flops(1, False, sequences)) * shape.micro_batches
    body = sum(model.stage_flops(model.layers, False, sequences)) * shape.micro_batches * shape.replicas
    pipe_s = max(pipe_s, _shared_s(cost.speed, most, body))
    if shape.replicas > 1:
        pipe_s += 2 * (shape.replicas - 1) * hop_s[1] / cost.local_steps
    return pipe_s + (hop_s[2] if shape.stages > 1 and model.tied else 0.0)


def _shared_s(speed: Floats, most: Floats, work: float) -> float:
    """The least T with Σ min(speed·T, most) ≥ work, machines (n,); inf where `most` is too little."""
    if most.sum() < work * (1 - 1e-9):
        return float("inf")
    full_s = most / speed
    rank = np.argsort(full_s, kind="stable")
    # Between two machines' ends all that are not full share what is left.
    full = most[rank].cumsum() - most[rank]
    running = speed[rank][::-1].cumsum()[::-1]
    return float(((work - full) / running).max())


def _lightest(task: Task) -> list[Shape]:
    """Of each number of stages, replicas and micro-batches, the order that holds least."""
    order = task.least_memory_order[0]
    return [shape for shape in task.shapes if shape.order == order]


def _spent_bound(task: Task, shape: Shape, per_flop: Floats, per_byte: float) -> float:
    """Joules or grams no step of a shape goes below: the layers on the thriftiest machines, up to what each can hold.

    The head's FLOPs and every byte are charged at the thriftiest machine's rate.
    """
    model, sequences = task.cost.shape, task.sequences(shape)
    rank = np.argsort(per_flop, kind="stable")
    held = task.capacity(shape).max(axis=1)[rank].astype(float)
    # Σ layers over all machines of all replicas; no machine has more than leaves one for each other stage.
    held = np.minimum(held, model.layers - shape.stages + 1)
    goal = float(shape.replicas * model.layers)
    taken = np.clip(goal - (held.cumsum() - held), 0, held)
    if taken.sum() < goal:
        return float("inf")
    layer = sum(model.stage_flops(1, False, sequences)) * shape.micro_batches
    head = model.stage_flops(0, True, sequences)[0] * shape.micro_batches * shape.replicas
    message = model.activation_values(sequences) * task.cost.keep_boundary * BYTES_PER_VALUE[task.cost.boundary]
    sent = 2 * message * (shape.stages - 1) * shape.micro_batches * shape.replicas
    if shape.stages > 1 and model.tied:
        sent += 2 * shape.replicas * BYTES_PER_VALUE[task.cost.gradients] * model.embedding_parameters
    return float(layer * (taken * per_flop[rank]).sum() + head * per_flop.min() + 2 * sent * per_byte)


# --- what does not fit --------------------------------------------------------------------------------------------------


def _too_few(task: Task) -> str:
    """Why there is no shape at all."""
    devices = len(task.machines)
    least = min(task.replicas or (1,)) * min(task.stages or (1,))
    if least > devices:
        return (
            f"too few devices: {min(task.replicas or (1,))} pipelines of {min(task.stages or (1,))} stages need {least} "
            f"devices, the fleet has {devices}: {least - devices} short. Add devices, or ask for fewer."
        )
    if task.stages and min(task.stages) > task.cost.shape.layers:
        return f"stages: at least {min(task.stages)}, but the model has {task.cost.shape.layers} layers; ask for fewer."
    return (
        f"micro_batches: none of them divides the batch of {task.batch} sequences among "
        f"{' or '.join(map(str, task.replicas or ('any number of',)))} pipelines of whole sequences. Choose divisors of it."
    )


def _too_little_memory(task: Task) -> str:
    """How much memory is missing: for the parameters' state alone, or for the layers that the best arrangement cannot hold."""
    model = task.cost.shape
    free = [machine.memory_bytes for machine in task.machines]
    need, have = STATE_BYTES * model.parameters, sum(free)
    way_out = "Add devices or memory, or train a smaller model."
    if need > have:
        return (
            f"memory: the model's parameters with their training state need {_size(need)}, the fleet has {_size(have)}: "
            f"{_size(need - have)} short. {way_out}"
        )
    singles = [shape for shape in _lightest(task) if shape.replicas == 1]
    held, shape = max(((task.roomiest(shape)[1], shape) for shape in singles), default=(0, task.shapes[0]))
    if held >= model.layers or not singles:
        return (
            f"memory: no plan found with {' or '.join(map(str, task.replicas or (1,)))} pipelines fits; the state alone of each "
            f"needs {_size(need)}, the fleet has {_size(have)}. Ask for fewer pipelines. {way_out}"
        )
    layer = float(task.memory(shape)[1].max())
    if held < 1:
        base = float((task.memory(shape)[0] + task.memory(shape)[1]).max())
        return (
            f"memory: one layer at an end of the model with what it holds in flight needs {_size(base)}, the largest device "
            f"has {_size(max(free))}: {_size(base - max(free))} short. {way_out}"
        )
    missing = model.layers - held
    return (
        f"memory: with activations in flight the fleet's {_size(have)} hold {held} of {model.layers} layers at most: "
        f"{_size(missing * layer)} short on the devices that take part ({missing} layers of {_size(layer)}). {way_out}"
    )


def _size(count: float) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.3g} MB"
