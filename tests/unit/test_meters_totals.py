"""The headline total and net energy: what is summed, what is missing, what idle takes off."""

from __future__ import annotations

from typing import Any

import pytest

from edgecarbon.meters.totals import Total, headline, net, net_joules, totals


def reading(meter: str, component: str, boundary: str, joules: float | None, **more: Any) -> dict[str, Any]:
    return {
        "window": "train", "meter": meter, "component": component, "boundary": boundary, "joules": joules,
        "uncertainty_joules": None if joules is None else 0.01 * joules, "provenance": "measured", "source": "test",
        "update_period_s": 0.1, "coverage": 1.0, "flags": [], **more,
    }  # fmt: skip


GPU = reading("nvml", "gpu0", "gpu_board", 1000.0)
PACKAGES = [reading("rapl", f"package-{n}", "cpu_package", 300.0) for n in (0, 1)]
DRAM = reading("rapl", "dram-0", "dram", 40.0)
ESTIMATE = reading("estimate", "cpu", "cpu_package", 500.0, provenance="estimated")


def test_components_of_one_boundary_are_summed_with_their_uncertainties() -> None:
    total = headline(PACKAGES, "train", "cpu")
    assert (total.joules, total.boundary, total.status) == (600, "cpu_package", "complete")
    assert total.uncertainty_joules == pytest.approx(3 * 2**0.5)
    assert total.components == ("package-0", "package-1")


def test_packages_and_memory_are_one_set_and_its_name_says_so() -> None:
    total = headline([*PACKAGES, DRAM], "train", "cpu")
    assert (total.joules, total.boundary) == (640, "cpu_package+dram")


def test_a_memory_counter_that_never_moves_leaves_the_packages_complete() -> None:
    dead = reading("rapl", "dram-0", "dram", None, flags=["partial", "stalled"], coverage=0.0)
    total = headline([*PACKAGES, dead], "train", "cpu")
    assert (total.joules, total.boundary, total.status) == (600, "cpu_package", "complete")


def test_a_gpu_whose_cpu_is_absent_is_partial() -> None:
    total = headline([GPU], "train", "cuda")
    assert (total.joules, total.boundary, total.status) == (1000, "gpu_board", "partial")
    assert total.missing == ("cpu_package",)
    assert headline([GPU, ESTIMATE], "train", "cuda").status == "complete"


def test_a_cpu_figure_never_stands_for_a_gpus_run() -> None:
    total = headline(PACKAGES, "train", "cuda")
    assert (total.joules, total.boundary, total.status) == (600, "cpu_package", "partial")
    assert headline([GPU], "train", "cpu").status == "absent"


def test_a_boundary_is_not_mixed_with_another() -> None:
    assert headline([GPU, *PACKAGES], "train", "cuda").joules == 1000
    wall = reading("wall", "plug", "wall", 2500.0)
    assert headline([GPU, *PACKAGES, wall], "train", "cuda").boundary == "wall"
    assert headline([wall], "train", "cpu").status == "complete"


def test_a_component_with_counter_and_power_counts_once_and_the_counter_wins() -> None:
    power = reading("nvml", "gpu0", "gpu_board", 1080.0)
    assert headline([GPU, power, ESTIMATE], "train", "cuda").joules == 1000
    lost = {**GPU, "joules": None, "uncertainty_joules": None, "flags": ["reset"]}
    assert headline([lost, power, ESTIMATE], "train", "cuda").joules == 1080


def test_a_counter_that_stood_still_yields_to_power_that_was_read_throughout() -> None:
    stood = reading("nvml", "gpu0", "gpu_board", 5000.0, flags=["partial", "stalled"], coverage=0.8)
    power = reading("nvml", "gpu0", "gpu_board", 6000.0)
    assert headline([stood, power, ESTIMATE], "train", "cuda").joules == 6000
    # One that was only late has lost nothing, and power that is no better does not take its place.
    assert headline([{**stood, "flags": ["stalled"]}, power, ESTIMATE], "train", "cuda").joules == 5000
    assert headline([stood, {**power, "joules": None}, ESTIMATE], "train", "cuda").joules == 5000


def test_four_ranks_on_one_node_count_its_cpu_once() -> None:
    gpus = [reading("nvml", f"gpu{rank}", "gpu_board", 1000.0) for rank in range(4)]
    ranks = [{**one, "host": "node1"} for rank in range(4) for one in (*PACKAGES, gpus[rank])]
    assert headline(ranks, "train", "cpu").joules == 600
    assert headline(ranks, "train", "cuda").joules == 4000
    two_nodes = [*ranks, *({**one, "host": "node2"} for one in ranks)]
    assert headline(two_nodes, "train", "cpu").joules == 1200


def test_a_component_without_joules_makes_the_total_partial() -> None:
    broken = reading("rapl", "package-1", "cpu_package", None, flags=["reset"])
    total = headline([PACKAGES[0], broken], "train", "cpu")
    assert (total.joules, total.status, total.missing) == (300, "partial", ("package-1",))
    assert {"reset", "partial"} <= {*total.flags}


def test_a_partly_covered_component_makes_the_total_partial() -> None:
    thin = reading("rapl", "package-0", "cpu_package", 300.0, flags=["partial"], coverage=0.8)
    total = headline([thin], "train", "cpu")
    assert (total.status, total.coverage) == ("partial", 0.8)


def test_the_measured_meter_wins_over_the_estimate_and_the_two_are_never_added() -> None:
    total = headline([ESTIMATE, *PACKAGES], "train", "cpu")
    assert (total.joules, total.provenance) == (600, "measured")
    unread = [reading("rapl", "package-0", "cpu_package", None)]
    assert headline([ESTIMATE, *unread], "train", "cpu").provenance == "estimated"


def test_a_total_is_as_strong_as_its_weakest_component() -> None:
    modelled = reading("rapl", "dram-0", "dram", 40.0, provenance="modelled")
    assert headline([*PACKAGES, modelled], "train", "cpu").provenance == "modelled"


def test_nothing_read_is_absent_and_not_zero() -> None:
    for readings in ([], [reading("rapl", "package-0", "cpu_package", None, flags=["stalled"])]):
        total = headline(readings, "train", "cpu")
        assert (total.joules, total.status, total.provenance) == (None, "absent", "absent")
    assert headline([PACKAGES[0]], "idle_before", "cpu").status == "absent"


def test_an_unknown_accelerator_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of cuda, mps, cpu"):
        headline([GPU], "train", "tpu")


def test_net_energy_carries_the_uncertainty_of_idle() -> None:
    assert net_joules(10_000, 0, 100, 30, 1) == (7000, 100)
    with pytest.raises(ValueError, match="duration_s"):
        net_joules(10_000, 0, 0, 30, 1)


def idle(watts: float, uncertainty_watts: float, boundary: str = "cpu_package") -> tuple[Total, float]:
    return Total(60 * watts, 60 * uncertainty_watts, boundary, "measured", "complete", 1.0), 60.0


GROSS = Total(10_000, 0.0, "cpu_package", "measured", "complete", 1.0)


def test_net_of_an_idle_that_did_not_drift() -> None:
    told = net(GROSS, 100, idle(30, 1), idle(30, 1))
    assert (told.joules, told.uncertainty_joules) == pytest.approx((7000, 100))
    assert (told.idle_watts, told.idle_drift_relative, told.flags) == (30, 0, ())


@pytest.mark.parametrize(("after_watts", "drifted"), [(31.4, False), (31.6, True), (28.6, False), (28.4, True)])
def test_idle_that_drifts_by_more_than_5_per_cent_is_flagged(after_watts: float, drifted: bool) -> None:
    told = net(GROSS, 100, idle(30, 1), idle(after_watts, 1))
    assert told.idle_drift_relative == pytest.approx(after_watts / 30 - 1)
    assert ("idle_drift" in told.flags) is drifted
    assert (told.uncertainty_joules or 0) > 100


def test_idle_on_another_boundary_or_none_gives_no_net() -> None:
    assert net(GROSS, 100, None, None).joules is None
    assert net(GROSS, 100, idle(30, 1, "wall"), None).joules is None
    only_before = net(GROSS, 100, idle(30, 1), None)
    assert (only_before.joules, only_before.idle_drift_relative) == (7000, None)


def test_no_gross_gives_idle_but_no_net() -> None:
    told = net(Total(None, None, "cpu_package", "absent", "absent", 0.0), 100, idle(30, 1), idle(30, 1))
    assert (told.joules, told.idle_watts) == (None, 30)


def test_every_boundary_has_a_total_and_the_headline_is_the_first() -> None:
    plug = reading("shelly", "plug", "wall", 2500.0)
    found = totals([GPU, *PACKAGES, DRAM, plug], "train", "cuda")
    assert [(one.boundary, one.joules, one.status) for one in found] == [
        ("wall", 2500, "complete"), ("gpu_board", 1000, "complete"), ("cpu_package+dram", 640, "complete"),
    ]  # fmt: skip
    assert found[0] == headline([GPU, *PACKAGES, DRAM, plug], "train", "cuda")
    assert [one.meters for one in found] == [("shelly",), ("nvml",), ("rapl",)]


def test_a_meter_that_read_nothing_gives_no_total() -> None:
    silent = reading("shelly", "plug", "wall", None, flags=["no_data", "partial"])
    assert [one.boundary for one in totals([GPU, silent], "train", "cuda")] == ["gpu_board"]
    assert totals([silent], "train", "cpu") == totals([GPU], "idle_before", "cuda") == []
    with pytest.raises(ValueError, match="accelerator_kind"):
        totals([GPU], "train", "tpu")


def test_a_total_names_the_channels_that_were_counted() -> None:
    counter = reading("rapl", "package-0", "cpu_package", None, channel="rapl/package-0/energy", flags=["reset"])
    power = reading("rapl", "package-0", "cpu_package", 300.0, channel="rapl/package-0/power")
    memory = reading("rapl", "dram-0", "dram", 40.0, channel="rapl/dram-0/energy")
    absent = reading("rapl", "package-1", "cpu_package", None, channel="rapl/package-1/energy", flags=["reset"])
    assert headline([counter, power, memory, absent], "train", "cpu").channels == (
        "rapl/package-0/power",
        "rapl/dram-0/energy",
    )
