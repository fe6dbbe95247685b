"""A fleet's simulated step: against closed forms, published figures, cases worked by hand, and the laws of sharing."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecarbon.errors import UserError
from edgecarbon.fleet.fluid import Clock, Cores, Links
from edgecarbon.fleet.model import WIRE_OVERHEAD, Machine, ModelShape, Network, Plan, SimulatedStep, even_network
from edgecarbon.fleet.scaling import VARIANTS, Variant, even_layers, fewest_stages, scaling
from edgecarbon.fleet.simulate import PassCosts, closed_form_step_s, ring_s, simulate, transfer_s

OPT_125M = ModelShape(12, 768, 3072, 50_272, 2050, 512)
OPT_1_3B = ModelShape(24, 2048, 8192, 50_272, 2050, 512)
TINY = ModelShape(layers=4, width=64, ffn=256, vocabulary=1000, positions=32, sequence_length=32, tied=False)
TINY_BYTES = 4 * 32 * 64
MACHINE = Machine("m", flops_per_s=1e12)


def pairs(count: int, bytes_per_s: float | np.ndarray, delay_s: float | np.ndarray = 0.0) -> Network:
    """Links of each pair's own, and nothing shared."""
    free = np.full(count, np.inf)
    wide, long = (np.broadcast_to(value, (count, count)).astype(float) for value in (bytes_per_s, delay_s))
    return Network(long, wide, free, free, np.full(count, -1), np.array([]))


def grid(replicas: int, stages: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(range(row * stages, (row + 1) * stages)) for row in range(replicas))


def chain(
    stages: int,
    micro_batches: int,
    cost: PassCosts,
    network: Network,
    replicas: int = 1,
    order: str = "gpipe",
    **more: Any,
) -> SimulatedStep:
    """Equal stages of one tiny layer each."""
    plan = Plan(grid(replicas, stages), (1,) * stages, micro_batches, 1.0, order)
    count = stages * replicas
    return simulate(replace(TINY, layers=stages), [MACHINE] * count, network, plan, costs=[cost] * count, **more)


# -- times ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stages", [1, 2, 4, 7])
@pytest.mark.parametrize("micro_batches", [1, 2, 8])
@pytest.mark.parametrize(("forward_s", "backward_s"), [(0.05, 0.1), (0.01, 0.3), (1.0, 2.0), (0.0, 0.0)])
@pytest.mark.parametrize("delay_s", [0.0, 0.02])
def test_gpipe_equals_the_closed_form(
    stages: int, micro_batches: int, forward_s: float, backward_s: float, delay_s: float
) -> None:
    step = chain(stages, micro_batches, PassCosts(forward_s, backward_s, 0.25), pairs(stages, 1e5, delay_s))
    message_s = transfer_s(TINY_BYTES, 1e5, delay_s)
    norm_s = 2 * (stages - 1) * delay_s
    expected = closed_form_step_s(stages, micro_batches, forward_s, backward_s, message_s, norm_s, 0.25)
    assert step.step_s == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("micro_batches", "megabytes", "forward_s", "backward_s", "published_s"),
    [(8, 0.5, 0.05, 0.1, 1.98), (8, 1, 0.05, 0.1, 2.69), (16, 0.5, 0.1, 0.1, 4.11), (8, 2, 0.02, 0.04, 4.42)],
)
def test_four_stages_at_80_mbit(
    micro_batches: int, megabytes: float, forward_s: float, backward_s: float, published_s: float
) -> None:
    closed = closed_form_step_s(4, micro_batches, forward_s, backward_s, transfer_s(megabytes * 1e6, 1e7, 0))
    plan = Plan(grid(1, 4), (1,) * 4, micro_batches, megabytes * 1e6 / TINY_BYTES, "gpipe")
    cost = PassCosts(forward_s, backward_s, 0.0)
    step = simulate(TINY, [MACHINE] * 4, pairs(4, 1e7), plan, costs=[cost] * 4)
    assert step.step_s == pytest.approx(closed, rel=1e-9)
    assert step.step_s == pytest.approx(published_s, abs=0.005)


@pytest.mark.parametrize(("stages", "micro_batches"), [(2, 4), (4, 8), (5, 5)])
def test_1f1b_on_free_links(stages: int, micro_batches: int) -> None:
    step = chain(stages, micro_batches, PassCosts(1.0, 2.0, 0.0), pairs(stages, np.inf), order="1f1b")
    assert step.step_s == pytest.approx(3.0 * (micro_batches + stages - 1))


def test_delays_that_overlap() -> None:
    """Of 8 messages in a row, only the last one's delay shows at each hop."""
    network, cost = pairs(2, 1e5, 1.0), PassCosts(0.0, 0.0, 0.0)
    message_s = WIRE_OVERHEAD * TINY_BYTES / 1e5
    blocking = chain(2, 8, cost, network, clipped=False)
    following = chain(2, 8, cost, network, clipped=False, delay_blocks=False)
    assert blocking.step_s == pytest.approx(16 * (1.0 + message_s))
    assert following.step_s == pytest.approx(2 * (1.0 + 8 * message_s))


@pytest.mark.parametrize("replicas", [2, 3, 8])
def test_all_reduce(replicas: int) -> None:
    parameters = TINY.parameters
    plan = Plan(grid(replicas, 1), (4,), 1, 1.0)
    network = pairs(replicas, 1e6, 0.01)
    costs = [PassCosts(0.0, 0.0, 0.0)] * replicas
    step = simulate(TINY, [MACHINE] * replicas, network, plan, costs=costs)
    expected = 2 * (replicas - 1) * (0.01 + 4 * parameters * WIRE_OVERHEAD / (replicas * 1e6))
    assert step.step_s == pytest.approx(expected)
    assert step.step_s == pytest.approx(ring_s(4 * parameters, replicas, 1e6, 0.01))
    seldom = simulate(TINY, [MACHINE] * replicas, network, replace(plan, local_steps=16), costs=costs)
    assert seldom.step_s == pytest.approx(expected / 16)
    assert seldom.machines[0].sent_bytes == pytest.approx(step.machines[0].sent_bytes / 16)
    # One slow hop sets the pace of all.
    slow = network.bytes_per_s.copy()
    slow[0, 1] = 5e5
    halved = simulate(TINY, [MACHINE] * replicas, replace(network, bytes_per_s=slow), plan, costs=costs)
    assert halved.step_s == pytest.approx(ring_s(4 * parameters, replicas, 5e5, 0.01))


def test_tie_norm_and_optimizer_follow() -> None:
    shape = replace(TINY, tied=True)
    plan = Plan(grid(1, 4), (1,) * 4, 1, 1.0)
    step = simulate(shape, [MACHINE] * 4, pairs(4, 1e6, 0.5), plan, costs=[PassCosts(0.0, 0.0, 2.0)] * 4)
    passes_s = 6 * transfer_s(TINY_BYTES, 1e6, 0.5)
    tie_s = transfer_s(4 * shape.embedding_parameters, 1e6, 0.5)
    assert step.step_s == pytest.approx(passes_s + tie_s + 6 * 0.5 + 2.0)
    ties = [span for span in step.spans if span.kind == "tie"]
    assert [span.machine for span in sorted(ties, key=lambda span: span.machine)] == [0, 3]


def test_work_from_flops_and_memory_speed() -> None:
    plan = Plan(((0,),), (4,), 2, 3.0)
    step = simulate(TINY, [Machine("m", 1e9)], pairs(1, 1.0), plan)
    forward, backward = TINY.stage_flops(4, True, 3.0)
    expected = 2 * (forward + backward) / 1e9 + TINY.stage_parameters(4, True, True) * 16 / 5e9
    assert step.step_s == pytest.approx(expected)


def test_heat_slows() -> None:
    plan = Plan(((0,),), (4,), 4, 1.0)
    hot = replace(MACHINE, throttle_after_s=6.0, throttle_factor=0.5)
    costs = [PassCosts(1.0, 2.0, 0.5)]  # 12.5 s where cool
    times = [
        simulate(TINY, [machine], pairs(1, 1.0), plan, costs=costs, started_s=before).step_s
        for machine, before in [(MACHINE, 0.0), (hot, 0.0), (hot, 4.0), (hot, 100.0)]
    ]
    assert times == pytest.approx([12.5, 6 + 2 * 6.5, 2 + 2 * 10.5, 25.0])


# -- sharing ----------------------------------------------------------------------------------------------------------


def test_a_shared_medium() -> None:
    """On one access point a message crosses twice, and two pipelines at once get half each."""
    cost, forth_and_back_s = PassCosts(0.0, 0.0, 0.0), 2 * WIRE_OVERHEAD * TINY_BYTES / 1e6
    alone = chain(2, 1, cost, even_network(2, 1e6, 0.0))
    airtime = chain(2, 1, cost, even_network(2, 1e6, 0.0, airtime_bytes_per_s=1e6))
    assert alone.step_s == pytest.approx(forth_and_back_s)
    assert airtime.step_s == pytest.approx(2 * forth_and_back_s)
    both = chain(2, 1, cost, even_network(4, 1e6, 0.0, airtime_bytes_per_s=1e6), replicas=2)
    rings_s = 2 * 2 * WIRE_OVERHEAD * 4 * sum(replace(TINY, layers=2).stage_parameters(1, *ends) for ends in ENDS) / 1e6
    assert both.step_s == pytest.approx(4 * forth_and_back_s + rings_s)
    # Two access points: a message between them crosses each once.
    apart = replace(even_network(2, 1e6, 0.0), access_point=np.array([0, 1]), airtime_bytes_per_s=np.array([1e6, 1e6]))
    assert chain(2, 1, cost, apart).step_s == pytest.approx(forth_and_back_s)


ENDS = ((True, False), (False, True))


def test_one_computer_for_all() -> None:
    """Two pipelines' passes at once on one core take twice as long; on two cores they do not."""
    cost, network = PassCosts(1.0, 2.0, 0.5), pairs(2, np.inf)
    plan = Plan(grid(2, 1), (4,), 3, 1.0)
    one, two, free = (
        simulate(TINY, [MACHINE] * 2, network, plan, costs=[cost] * 2, shared_cores=cores) for cores in (1, 2, None)
    )
    assert two.step_s == free.step_s == pytest.approx(9.5)
    assert one.step_s == pytest.approx(19.0)
    assert one.machines[0].busy_s == pytest.approx(19.0)


@pytest.mark.parametrize(
    ("cores", "work_s", "ends_s"),
    [(1, [1, 2], [2, 3]), (2, [1, 1, 1], [1.5, 1.5, 1.5]), (2, [1, 2, 4], [1.5, 2.5, 4.5]), (None, [1, 2], [1, 2])],
)
def test_cores_are_shared(cores: int | None, work_s: list[float], ends_s: list[float]) -> None:
    clock, ended = Clock(), dict[int, float]()
    shared = Cores(clock, cores)
    for index, work in enumerate(work_s):
        shared.run(work, lambda index=index: ended.update({index: clock.now_s}))
    clock.run([shared.settle])
    assert [ended[index] for index in range(len(work_s))] == pytest.approx(ends_s)


@st.composite
def traffic(draw: st.DrawFn) -> tuple[Network, list[tuple[float, int, int, float]]]:
    count = draw(st.integers(2, 7))
    speed = st.sampled_from([1.0, 2.0, 3.0, 5.0, 8.0, np.inf])
    media = draw(st.integers(0, 2))
    network = Network(
        np.zeros((count, count)),
        np.array(draw(st.lists(speed, min_size=count**2, max_size=count**2))).reshape(count, count),
        *(np.array(draw(st.lists(speed, min_size=count, max_size=count))) for _ in range(2)),
        np.array(draw(st.lists(st.integers(-1, media - 1), min_size=count, max_size=count))),
        np.array(draw(st.lists(speed, min_size=media, max_size=media)), dtype=float),
    )
    machine = st.integers(0, count - 1)
    message = st.tuples(st.floats(0, 5), machine, machine, st.floats(0.1, 10))
    return network, [one for one in draw(st.lists(message, max_size=25)) if one[1] != one[2]]


@settings(max_examples=150, deadline=None)
@given(traffic())
def test_rates_are_max_min_fair(case: tuple[Network, list[tuple[float, int, int, float]]]) -> None:
    """At every moment each transfer has its cap, or a full resource where none is faster; all bytes arrive."""
    network, messages = case
    clock = Clock()
    links, arrived = Links(clock, network), []

    def check() -> None:
        rates = {flow: flow.rate for on in links._on.values() for flow in on}
        used = {r: sum(n * rates[flow] for flow, n in on.items()) for r, on in links._on.items()}
        assert all(used[r] <= links._capacity[r] * (1 + 1e-6) for r in used)
        for flow, rate in rates.items():
            full = [r for r, _ in flow.uses if used[r] >= links._capacity[r] * (1 - 1e-6)]
            fair = any(rate >= max(rates[other] for other in links._on[r]) * (1 - 1e-6) for r in full)
            assert fair or rate == pytest.approx(flow.cap)

    for start_s, source, target, size in messages:
        clock.at(start_s, links.send, source, target, size, lambda: None, lambda: arrived.append(1))
    clock.run([links.settle, check])
    assert len(arrived) == len(messages)
    assert not any(links._on.values())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["gpipe", "1f1b", "eager-1f1b"]))
def test_more_bandwidth_never_slows(seed: int, order: str) -> None:
    """Where nothing is shared: each pass begins at a maximum of ends of others. (Shared links may have anomalies.)"""
    rng = np.random.default_rng(seed)
    plan = Plan(grid(2, 3), (1, 2, 1), 4, 1.0, order)
    costs = [PassCosts(*rng.exponential(0.1, 2)) for _ in range(6)]
    rates, delays = rng.lognormal(11, 1, (6, 6)), rng.exponential(0.01, (6, 6))
    wider = rates * (1 + rng.exponential(1.0, (6, 6)) * rng.integers(0, 2, (6, 6)))
    before, after = (
        simulate(TINY, [MACHINE] * 6, pairs(6, pace, delays), plan, costs=costs).step_s for pace in (rates, wider)
    )
    assert after <= before * (1 + 1e-12)


# -- bytes, energy, carbon --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "step_s", "joules"), [(4, 20.13, 20.13), (15, 93.95, 93.95)])
def test_the_papers_radio(count: int, step_s: float, joules: float) -> None:
    """10 MB/s at 0.5 W, both ends: 2(n−1) transfers of 16 × 512 × 2,048 values in fp16, one after the other."""
    shape, radio = replace(OPT_1_3B, tied=False), Machine("phone", 1.0, radio_joules_per_byte=0.5 / 1e7)
    plan = Plan(grid(1, count), even_layers(shape, count), 1, 16.0, boundary="fp16")
    idle = [PassCosts(0.0, 0.0, 0.0)] * count
    step = simulate(shape, [radio] * count, pairs(count, 1e7), plan, costs=idle, wire_overhead=1.0)
    assert step.step_s == pytest.approx(step_s, abs=0.005)
    assert step.energy_joules == pytest.approx(joules, abs=0.005)
    assert step.energy_joules == pytest.approx(2 * 2 * (count - 1) * 16 * 512 * 2048 * 2 * 0.05e-6)


@pytest.mark.parametrize(("shape", "megabytes", "at_10_mb_s"), [(OPT_125M, 751, 75), (OPT_1_3B, 7895, 790)])
def test_the_full_models_all_reduce(shape: ModelShape, megabytes: float, at_10_mb_s: float) -> None:
    plan = Plan(grid(4, 1), (shape.layers,), 1, 4.0)
    step = simulate(shape, [MACHINE] * 4, pairs(4, 1e7), plan, costs=[PassCosts(0.0, 0.0, 0.0)] * 4, wire_overhead=1.0)
    assert step.machines[0].sent_bytes / 1e6 == pytest.approx(megabytes, rel=1e-3)
    assert step.step_s == pytest.approx(at_10_mb_s, rel=5e-3)


@pytest.mark.parametrize("order", ["gpipe", "1f1b", "eager-1f1b"])
def test_bytes_energy_and_times_add_up(order: str) -> None:
    shape = replace(TINY, tied=True)
    machine = Machine(
        "m", 1e9, busy_watts=10, idle_watts=3, radio_joules_per_byte=1e-6, grams_per_kwh=360, embodied_grams_per_s=0.1
    )
    plan = Plan(grid(3, 4), (1,) * 4, 5, 2.0, order)
    step = simulate(shape, [machine] * 12, even_network(12, 1e6, 0.003), plan)
    assert [(one.replica, one.stage) for one in step.machines] == [(r, s) for r in range(3) for s in range(4)]
    for one in step.machines:
        parameters = shape.stage_parameters(1, one.stage == 0, one.stage == 3)
        neighbours = (one.stage < 3) + (one.stage > 0)
        tie = 4 * shape.embedding_parameters * (one.stage in (0, 3))
        sent = 5 * 2 * TINY_BYTES * neighbours + 8 * parameters * 2 / 3 + tie
        assert one.sent_bytes == one.received_bytes == pytest.approx(sent)
        assert one.busy_s + one.wait_s + one.exchange_s == pytest.approx(step.step_s)
        assert min(one.busy_s, one.wait_s + 1e-9, one.exchange_s) >= 0
        own = [span for span in step.spans if span.machine == one.machine]
        busy = sorted((s.start_s, s.end_s) for s in own if s.kind in ("forward", "backward", "optimizer"))
        assert sum(end - start for start, end in busy) == pytest.approx(one.busy_s)
        assert all(start >= end - 1e-12 for (_, end), (start, _) in pairwise(busy))
        assert one.compute_joules == pytest.approx(10 * one.busy_s)
        assert one.idle_joules == pytest.approx(3 * (step.step_s - one.busy_s))
        assert one.radio_joules == pytest.approx(2e-6 * sent * WIRE_OVERHEAD)
        joules = one.compute_joules + one.idle_joules + one.radio_joules
        assert one.operational_grams == pytest.approx(joules / 1e4)
        assert one.embodied_grams == pytest.approx(0.1 * step.step_s)
    transfers = [span for span in step.spans if span.kind == "transfer"]
    assert len(transfers) == 3 * 2 * 3 * 5 + 3 * 4 + 3 * 2  # boundaries, hops of the rings, ties
    for pair in {(span.machine, span.peer) for span in transfers}:
        times = sorted((span.start_s, span.end_s) for span in transfers if (span.machine, span.peer) == pair)
        assert all(start >= end - 1e-12 for (_, end), (start, _) in pairwise(times))
    assert step.energy_joules == pytest.approx(
        sum(o.compute_joules + o.idle_joules + o.radio_joules for o in step.machines)
    )
    assert (
        simulate(shape, [machine] * 12, even_network(12, 1e6, 0.003), plan, keep_spans=False).machines == step.machines
    )


# -- many machines ----------------------------------------------------------------------------------------------------


def test_a_thousand_machines() -> None:
    plan = Plan(grid(250, 4), even_layers(OPT_1_3B, 4), 32, 1.0)
    network = even_network(1000, 1e7, 0.005)
    step = simulate(OPT_1_3B, [MACHINE] * 1000, network, plan, keep_spans=False)
    assert len(step.machines) == 1000
    # Every replica does the same at the same time, so that 2 of them take as long but for the ring.
    few = simulate(OPT_1_3B, [MACHINE] * 8, even_network(8, 1e7, 0.005), replace(plan, grid=grid(2, 4)))
    assert {round(one.busy_s, 6) for one in step.machines} == {round(one.busy_s, 6) for one in few.machines}


def test_scaling() -> None:
    laptop = Machine("laptop", 1e12, 8e9, busy_watts=30, idle_watts=8, radio_joules_per_byte=5e-8)
    variants = [variant for variant in VARIANTS if variant.local_steps in (1, 64)]
    rows = scaling(OPT_1_3B, laptop, [2, 4, 16, 50], 1e7, 0.005, variants)
    layers = fewest_stages(OPT_1_3B, laptop, 50, 8)
    assert layers is not None
    assert sum(layers) == 24
    stages = len(layers)
    assert [row.machines for row in rows[:: len(variants)]] == [count for count in (2, 4, 16, 50) if count >= stages]
    by_name = {(row.machines, row.variant): row for row in rows}
    for row in rows:
        assert (row.stages, row.replicas) == (stages, row.machines // stages)
        assert row.tokens_per_s == pytest.approx(row.replicas * 8 * 512 / row.step_s)
        assert row.radio_joules_per_token == pytest.approx(
            row.communication_bytes_per_token * 2 * 5e-8 * WIRE_OVERHEAD, rel=1e-9
        )
        assert row.joules_per_token > row.radio_joules_per_token
    largest = {name: by_name[50, name] for name in ("fp32", "fp16", "int8, fp16 gradients", "fp32, 64 local steps")}
    assert largest["fp32"].step_s > largest["fp16"].step_s > largest["int8, fp16 gradients"].step_s
    assert largest["fp32, 64 local steps"].joules_per_token < largest["fp32"].joules_per_token
    replicas = largest["fp32"].replicas
    everything = sum(OPT_1_3B.stage_parameters(count, s == 0, s == stages - 1) for s, count in enumerate(layers))
    values = 2 * (stages - 1) * 2048 * 4 + 8 * everything * (replicas - 1) / (replicas * 8 * 512)
    values += 2 * 4 * OPT_1_3B.embedding_parameters * (stages > 1) / (8 * 512)
    assert largest["fp32"].communication_bytes_per_token == pytest.approx(values)
    assert scaling(OPT_1_3B, replace(laptop, memory_bytes=1e6), [2, 8], 1e7, 0.0, [Variant("x", "fp32", "fp32")]) == []


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"grid": ((0, 1),)}, "rows of 4 machines"),
        ({"grid": ()}, "rows of 4 machines"),
        ({"grid": ((0, 1, 2, 2),)}, "twice"),
        ({"grid": ((0, 1, 2, 9),)}, "there are 4 machines"),
        ({"layers": (1, 1, 1, 2)}, "the model has 4"),
        ({"order": "zigzag"}, "zigzag"),
        ({"boundary": "fp4"}, "boundary: 'fp4'"),
        ({"local_steps": 0}, "at least 1"),
    ],
)
def test_what_is_refused(change: dict[str, Any], words: str) -> None:
    plan = replace(Plan(grid(1, 4), (1,) * 4, 2, 1.0), **change)
    with pytest.raises(UserError, match=words):
        simulate(TINY, [MACHINE] * 4, pairs(4, 1e6), plan)


def test_a_cost_for_each_machine() -> None:
    plan = Plan(grid(1, 4), (1,) * 4, 2, 1.0)
    with pytest.raises(UserError, match="1 for 4 machines"):
        simulate(TINY, [MACHINE] * 4, pairs(4, 1e6), plan, costs=[None])


def test_torch_stays_out() -> None:
    check = "import sys, edgecarbon.fleet.scaling; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
