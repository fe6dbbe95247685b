"""Placement on unequal devices, against every plan tried by a second, slow cost model written here."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import combinations, pairwise, permutations

import numpy as np
import pytest

from edgecarbon.errors import UserError
from edgecarbon.fleet import edge, edge_exhaustive
from edgecarbon.fleet.cost import FleetCost, estimate
from edgecarbon.fleet.edge import pareto, place_edge
from edgecarbon.fleet.model import STATE_BYTES, Machine, ModelShape, Network, Plan, even_network, memory_bytes
from edgecarbon.fleet.simulate import simulate
from edgecarbon.worker.pipeline.schedule import in_flight, passes

SMALL = ModelShape(layers=5, width=64, ffn=256, vocabulary=500, positions=64, sequence_length=32)
OPT_1B = ModelShape(layers=24, width=2048, ffn=8192, vocabulary=50272, positions=2050, sequence_length=512)
VALUES = {"time": "step_s", "energy": "energy_joules", "carbon": "carbon_grams"}
ORDERS = ("gpipe", "1f1b", "eager-1f1b")


def fleet(count, seed, speed=1e9, memory=1e12, rate=1e6):
    """Machines whose figures spread widely, and links that differ by pair and direction."""
    random = np.random.default_rng(seed)
    machines = [
        Machine(
            name=f"device {index}",
            flops_per_s=speed * float(10 ** random.uniform(-0.5, 0.5)),
            memory_bytes=memory * float(random.uniform(0.7, 1.3)),
            busy_watts=float(random.uniform(5, 60)),
            idle_watts=float(random.uniform(0.5, 5)),
            radio_joules_per_byte=float(random.uniform(0, 1e-6)),
            grams_per_kwh=float(random.uniform(20, 700)),
            embodied_grams_per_s=float(random.uniform(0, 1e-5)),
        )
        for index in range(count)
    ]
    ends = rate * 10 ** random.uniform(-0.5, 0.5, (2, count))
    network = Network(
        delay_s=random.uniform(0.001, 0.02, (count, count)) * (1 - np.eye(count)),
        bytes_per_s=rate * 10 ** random.uniform(-0.5, 0.5, (count, count)),
        up_bytes_per_s=ends[0],
        down_bytes_per_s=ends[1],
        access_point=np.full(count, -1),
        airtime_bytes_per_s=np.array([]),
    )
    return machines, network


def slow_cost(shape, machines, network, plan):
    """Time, joules, grams of a step, pass by pass and machine by machine."""
    count, stages, replicas = plan.micro_batches, plan.stages, plan.replicas
    rate = network.pair_bytes_per_s()
    message = 4 * plan.sequences * shape.sequence_length * shape.width
    parameters = [shape.stage_parameters(n, stage == 0, stage == stages - 1) for stage, n in enumerate(plan.layers)]

    def hop(one, other, size):
        return network.delay_s[one, other] + 1.046 * size / rate[one, other]

    busy = {}

    def ready(row, stage_asked):
        costs = []
        for stage, machine in enumerate(row):
            flops = shape.stage_flops(plan.layers[stage], stage == stages - 1, plan.sequences)
            costs.append([one / machines[machine].flops_per_s for one in flops])
            busy[machine] = count * sum(costs[-1]) + parameters[stage] * 16 / 5e9
        todo = [[(one.kind, one.micro_batch) for one in passes(plan.order, s, stages, count)] for s in range(stages)]

        @cache
        def arrival(kind, stage, index):
            source = stage - 1 if kind == "F" else stage + 1
            if not 0 <= source < stages:
                return 0.0
            sent = end(kind, source, index)
            before = arrival(kind, stage, index - 1) if index else 0.0
            return max(sent, before) + hop(row[source], row[stage], message)

        @cache
        def end(kind, stage, index):
            at = todo[stage].index((kind, index))
            before = end(todo[stage][at - 1][0], stage, todo[stage][at - 1][1]) if at else 0.0
            return max(before, arrival(kind, stage, index)) + costs[stage][kind == "B"]

        return end("B", stage_asked, count - 1)

    finish = {}
    for stage in range(stages):
        column = [row[stage] for row in plan.grid]
        end = [ready(row, stage) for row in plan.grid]
        if replicas > 1:
            slowest = max(hop(a, b, 4 * parameters[stage] / replicas) for a, b in pairwise([*column, column[0]]))
            end = [max(end) + 2 * (replicas - 1) * slowest] * replicas
        finish |= dict(zip(column, end, strict=True))
    tied = 4 * shape.vocabulary * shape.width
    for row in plan.grid:
        if stages > 1 and shape.tied:
            one, other = row[0], row[-1]
            both = max(finish[one], finish[other]) + max(hop(one, other, tied), hop(other, one, tied))
            finish[one] = finish[other] = both
    step = max(finish[machine] + parameters[s] * 16 / 5e9 for row in plan.grid for s, machine in enumerate(row))
    joules = grams = 0.0
    for row in plan.grid:
        for stage, index in enumerate(row):
            machine = machines[index]
            sent = count * message * ((stage > 0) + (stage < stages - 1))
            sent += 8 * parameters[stage] * (replicas - 1) / replicas
            sent += tied * (stages > 1 and shape.tied and stage in (0, stages - 1))
            spent = machine.busy_watts * busy[index] + machine.idle_watts * (step - busy[index])
            spent += machine.radio_joules_per_byte * 2 * 1.046 * sent
            joules += spent
            grams += spent * machine.grams_per_kwh / 3.6e6 + machine.embodied_grams_per_s * step
    return {"time": step, "energy": joules, "carbon": grams}


def fits(shape, machines, plan):
    return all(
        memory_bytes(shape, plan, stage, in_flight(plan.order, stage, plan.stages, plan.micro_batches))
        <= machines[index].memory_bytes * (1 + 1e-12)
        for row in plan.grid
        for stage, index in enumerate(row)
    )


def every_plan(shape, count, batch):
    for replicas in (one for one in range(1, count + 1) if batch % one == 0):
        for stages in range(1, min(shape.layers, count // replicas) + 1):
            splits = [
                tuple(b - a for a, b in pairwise((0, *cuts, shape.layers)))
                for cuts in combinations(range(1, shape.layers), stages - 1)
            ]
            for line in permutations(range(count), replicas * stages):
                grid = tuple(line[at : at + stages] for at in range(0, len(line), stages))
                for micro in (one for one in range(1, batch + 1) if batch // replicas % one == 0):
                    for order in ORDERS:
                        for layers in splits:
                            yield Plan(grid, layers, micro, batch / replicas / micro, order)


def need(shape):
    return STATE_BYTES * shape.parameters


@pytest.mark.parametrize(
    ("count", "layers", "memory", "rate"),
    [(2, 5, 1e12, 1e6), (3, 5, 1e12, 1e6), (3, 4, 0.55, 1e7), (3, 5, 0.45, 1e6), (3, 5, 1e12, 1e4), (4, 4, 0.45, 3e6)],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_no_plan_of_a_small_fleet_is_better(count, layers, memory, rate, seed):
    shape = replace(SMALL, layers=layers)
    machines, network = fleet(count, seed, memory=memory if memory > 1 else memory * need(shape), rate=rate)
    least = dict.fromkeys(VALUES, float("inf"))
    for plan in every_plan(shape, count, batch=4):
        if fits(shape, machines, plan):
            for name, value in slow_cost(shape, machines, network, plan).items():
                least[name] = min(least[name], value)
    for name, field in VALUES.items():
        if least[name] == float("inf"):
            with pytest.raises(UserError, match=r"[GM]B short"):
                place_edge(shape, machines, network, 4, name)
            continue
        found = place_edge(shape, machines, network, 4, name)
        assert getattr(found, field) == pytest.approx(least[name], rel=1e-9)
        assert found.optimal
        assert found.lower_bound == pytest.approx(least[name], rel=1e-9)
        assert fits(shape, machines, found.plan)


@pytest.mark.parametrize("batch", [3, 4])
def test_alike_machines_stand_for_each_other(batch):
    """Two kinds on an even network: arrangements are skipped, the optimum is not."""
    one, other = fleet(2, 9, memory=0.7 * need(SMALL))[0]
    machines = [one, other, replace(one, name="one more"), replace(other, name="and another")]
    network = even_network(4, 1e6, 0.003)
    plans = [plan for plan in every_plan(SMALL, 4, batch) if fits(SMALL, machines, plan)]
    assert plans
    costs = [slow_cost(SMALL, machines, network, plan) for plan in plans]
    for name, field in VALUES.items():
        found = place_edge(SMALL, machines, network, batch, name)
        assert getattr(found, field) == pytest.approx(min(cost[name] for cost in costs), rel=1e-9)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("tied", [True, False])
def test_estimate_adds_up_to_the_slow_cost(order, tied):
    shape = replace(SMALL, layers=6, tied=tied)
    machines, network = fleet(6, 3)
    plan = Plan(((4, 1, 0), (2, 5, 3)), (1, 3, 2), 4, 2, order)
    found, slow = estimate(shape, machines, network, plan), slow_cost(shape, machines, network, plan)
    assert found.step_s == pytest.approx(slow["time"])
    assert found.energy_joules == pytest.approx(slow["energy"])
    assert found.carbon_grams == pytest.approx(slow["carbon"])
    for machine in found.machines:
        assert machine.busy_s + machine.wait_s + machine.exchange_s == pytest.approx(found.step_s)


def test_uniform_pipeline_meets_the_closed_form():
    """T = N·c + (N − 1)·τ + (M − 1)·max(c, τ) each way; no tie, no replicas, and equal stages but for a tiny head."""
    shape = ModelShape(8, 64, 256, 1, 32, 32, tied=False)
    machines, network = [Machine("m", 1e8)] * 4, even_network(4, 1e6, 0.002)
    plan = Plan(((0, 1, 2, 3),), (2, 2, 2, 2), 8, 1, "gpipe")
    hop = 0.002 + 1.046 * 4 * 32 * 64 / 1e6
    one, two = (part / 1e8 for part in shape.stage_flops(2, False, 1))
    expected = sum(4 * c + 3 * hop + 7 * max(c, hop) for c in (one, two))
    assert estimate(shape, machines, network, plan).step_s == pytest.approx(expected, rel=2e-3)


def test_bounds_lie_below_the_step():
    random = np.random.default_rng(5)
    machines, network = fleet(8, 5, rate=3e5)
    cost = FleetCost(replace(SMALL, layers=8), machines, network)
    for order in ORDERS:
        for replicas, stages, micro in ((1, 4, 8), (2, 4, 2), (2, 3, 4), (8, 1, 1), (1, 8, 4)):
            grids = np.stack([random.permutation(8)[: replicas * stages] for _ in range(50)])
            grids = grids.reshape(-1, replicas, stages)
            layers = 1 + random.multinomial(8 - stages, np.full(stages, 1 / stages), size=50)
            load = cost.load(grids, layers, micro, 1)
            step = cost.step_s(load, order, micro)
            assert (cost.bound_s(load, order, micro) <= step * (1 + 1e-9)).all()


def test_estimate_is_the_simulated_step_where_no_transfers_meet():
    machines, network = [replace(one, flops_per_s=1e8) for one in fleet(4, 1)[0]], even_network(4, 1e7, 1e-5)
    plan = Plan(((0, 1, 2, 3),), (2, 1, 1, 1), 4, 1, "1f1b")
    one, two = estimate(SMALL, machines, network, plan), simulate(SMALL, machines, network, plan)
    assert one.step_s == pytest.approx(two.step_s, rel=0.02)
    assert one.energy_joules == pytest.approx(two.energy_joules, rel=0.02)


@pytest.mark.parametrize("count", [5, 15])
def test_each_objective_is_least_by_its_own_plan(count, monkeypatch):
    monkeypatch.setattr(edge, "THOROUGH", (4, 60))
    machines, network = fleet(count, 2, speed=1e12, memory=4.0 * need(OPT_1B) / count, rate=1e7)
    found = {name: place_edge(OPT_1B, machines, network, 16, name) for name in VALUES}
    for name, field in VALUES.items():
        for other in found.values():
            assert getattr(found[name], field) <= getattr(other, field) * (1 + 1e-9)
        assert 0 < found[name].lower_bound <= getattr(found[name], field) * (1 + 1e-9)
        assert fits(OPT_1B, machines, found[name].plan)
        step = estimate(OPT_1B, machines, network, found[name].plan)
        assert (step.step_s, step.energy_joules, step.carbon_grams) == pytest.approx(
            (found[name].step_s, found[name].energy_joules, found[name].carbon_grams)
        )
        used = {machine for row in found[name].plan.grid for machine in row}
        assert set(found[name].left_out) == {machines[index].name for index in range(count) if index not in used}
        assert sum(found[name].plan.layers) == OPT_1B.layers


@pytest.mark.parametrize("objective", VALUES)
def test_bound_of_a_large_fleet_lies_below_the_exact_optimum(objective, monkeypatch):
    for seed in range(4):
        machines, network = fleet(4, seed, memory=0.6 * need(SMALL), rate=1e6)
        exact = place_edge(SMALL, machines, network, 4, objective)
        with monkeypatch.context() as patch:
            patch.setattr(edge_exhaustive, "MOST_GRIDS", 0)
            found = place_edge(SMALL, machines, network, 4, objective)
        value, least = getattr(found, VALUES[objective]), getattr(exact, VALUES[objective])
        assert found.lower_bound <= least * (1 + 1e-9)
        assert least * (1 - 1e-9) <= value <= least * 1.02
        assert found.optimal or "lower bound" in found.statement


def test_same_seed_same_placement(monkeypatch):
    monkeypatch.setattr(edge, "THOROUGH", (4, 60))
    machines, network = fleet(12, 4, speed=1e11, memory=0.3 * need(OPT_1B), rate=1e7)
    assert place_edge(OPT_1B, machines, network, 16, seed=3) == place_edge(OPT_1B, machines, network, 16, seed=3)


def test_devices_order_does_not_matter_to_the_optimum():
    machines, network = fleet(4, 6)
    order = np.array([2, 0, 3, 1])
    both = np.ix_(order, order)
    turned = replace(
        network,
        delay_s=network.delay_s[both],
        bytes_per_s=network.bytes_per_s[both],
        up_bytes_per_s=network.up_bytes_per_s[order],
        down_bytes_per_s=network.down_bytes_per_s[order],
    )
    one = place_edge(SMALL, machines, network, 4)
    other = place_edge(SMALL, [machines[index] for index in order], turned, 4)
    assert one.step_s == pytest.approx(other.step_s, rel=1e-9)
    assert sorted(one.left_out) == sorted(other.left_out)


def test_hopelessly_slow_phone_is_left_out():
    laptop = Machine("laptop", 1e12, 12e9, 40, 5, grams_per_kwh=400, embodied_grams_per_s=1e-5)
    machines = [
        *(replace(laptop, name=f"laptop {index}") for index in range(3)),
        replace(laptop, name="phone", flops_per_s=1e7),
    ]
    for objective in VALUES:
        found = place_edge(OPT_1B, machines, even_network(4, 1e8, 0.002), 16, objective)
        assert "phone" in found.left_out
        assert found.optimal


def test_faster_device_has_more_layers():
    machines = [Machine("slow", 1e11, 16e9), Machine("fast", 4e11, 20e9)]
    found = place_edge(OPT_1B, machines, even_network(2, 1e9, 0.0), 16, replicas=[1], stages=[2])
    by_name = dict(zip((machines[index].name for index in found.plan.grid[0]), found.plan.layers, strict=True))
    assert by_name["fast"] > by_name["slow"]


def test_memory_is_short_by_so_much():
    machines = [Machine(f"laptop {index}", 1e12, 4e9) for index in range(4)]
    with pytest.raises(UserError, match=r"need 21\.\d\d GB, the fleet has 16\.00 GB: 5\.\d\d GB short"):
        place_edge(OPT_1B, machines, even_network(4, 1e7, 0.005), 16)


def test_activations_count_besides_the_state():
    machines = [Machine(f"laptop {index}", 1e11, 5.4e9) for index in range(4)]
    with pytest.raises(UserError, match=r"activations in flight .* layers at most: \d+\.\d\d GB short"):
        place_edge(OPT_1B, machines, even_network(4, 1e7, 0.005), 16)


def test_more_pipelines_than_devices():
    machines, network = fleet(3, 0)
    with pytest.raises(UserError, match=r"too few devices.* need 4 devices, the fleet has 3: 1 short"):
        place_edge(SMALL, machines, network, 4, replicas=[2], stages=[2])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"objective": "beauty"}, "objective: is 'beauty'"),
        ({"orders": ["zero-bubble"]}, "orders: are zero-bubble"),
        ({"micro_batches": [3]}, "none of them divides the batch of 4"),
        ({"micro_batches": [0]}, "micro_batches: must be whole numbers"),
        ({"stages": [9]}, "too few devices"),
        ({"boundary": "fp8"}, "boundary: is 'fp8'"),
        ({"batch": 0}, "batch: must be at least 1"),
        ({"machines": []}, "1 short"),
        ({"network": even_network(5, 1e6, 0.0)}, "network: has 5 devices, but 3"),
    ],
)
def test_what_cannot_be_asked(change, says):
    machines, network = fleet(3, 0)
    asked = {"machines": machines, "network": network, "batch": 4} | change
    with pytest.raises(UserError, match=says):
        place_edge(SMALL, **asked)


def test_pareto_has_the_best_of_each_and_nothing_that_is_beaten():
    machines, network = fleet(4, 8, memory=0.7 * need(SMALL))
    front = pareto(SMALL, machines, network, 4)
    costs = np.array([[getattr(one, field) for field in VALUES.values()] for one in front])
    for one in costs:
        assert not ((costs <= one).all(axis=1) & (costs < one).any(axis=1)).any()
    assert (np.diff(costs[:, 0]) >= 0).all()
    for column, (name, field) in enumerate(VALUES.items()):
        exact = place_edge(SMALL, machines, network, 4, name)
        assert costs[:, column].min() == pytest.approx(getattr(exact, field))
    assert all(fits(SMALL, machines, one.plan) for one in front)
