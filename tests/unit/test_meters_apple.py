"""Apple Silicon: what the package zeus-apple-silicon tells, replayed; and its own face, made of the names it has.

Attributes and units are those of AppleEnergyMetrics (millijoules, None where the chip has no such channel); the figures
are made up.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from meters_fakes.machine import energies, watch

from edgecarbon.meters import MeterUnavailable, Options, apple
from edgecarbon.meters.access import Replayed

START = {"cpu": 100.0, "gpu": 200.0, "ane": 7.0, "dram": 50.0, "gpu_sram": 3.0}
TIMES = [float(t) for t in range(121)]


def told(t_s: float, answer: dict[str, float] | None, error: str | None = None) -> dict[str, Any]:
    return {"t_s": t_s, "call": "apple cumulative energy", "answer": answer, **({"error": error} if error else {})}


def running(start: dict[str, float], watts: dict[str, float]) -> Replayed:
    return Replayed(
        [told(t, {name: joules + watts.get(name, 0.0) * t for name, joules in start.items()}) for t in TIMES]
    )


def opened(machine: Replayed) -> apple.AppleMeter:
    return apple.open_meter(Options(access=machine))


def test_the_soc_is_the_sum_of_what_the_chip_tells() -> None:
    machine = running(START, {"cpu": 4.0, "gpu": 10.0, "dram": 1.5, "gpu_sram": 0.25})
    meter = opened(machine)
    assert [(c.component, c.boundary, c.provenance) for c in meter.channels()] == [
        ("soc", "soc", "modelled"),
        *((part, None, "modelled") for part in ("cpu", "gpu", "ane", "dram", "gpu_sram")),
    ]
    reading = energies(meter, TIMES, watch(meter, machine, TIMES))
    assert reading["apple/soc/energy"]["joules"] == pytest.approx(15.5 * 120)
    assert reading["apple/gpu/energy"]["joules"] == pytest.approx(10 * 120)
    # A neural engine that nobody used is no 0 J, and lacks nothing in the sum.
    assert reading["apple/ane/energy"]["joules"] is None
    assert "stalled" in reading["apple/ane/energy"]["flags"]
    assert reading["apple/soc/energy"]["flags"] == []


def test_a_chip_without_a_part_is_summed_without_it_and_says_so() -> None:
    meter = opened(running({"cpu": 1.0, "gpu": 2.0}, {}))
    assert [channel.component for channel in meter.channels()] == ["soc", "cpu", "gpu"]
    assert meter.channels()[0].source == "IOReport, Energy Model: cpu + gpu"
    assert meter.channels()[0].resolution == pytest.approx(0.002)


def test_a_call_that_fails_and_a_part_that_is_lost_are_none() -> None:
    lost = {name: value for name, value in START.items() if name != "dram"}
    machine = Replayed([told(0, START), told(1, None, "IOReport went away"), told(2, lost), told(3, START)])
    soc, cpu, _, _, dram, _ = watch(opened(machine), machine, [0.0, 1.0, 2.0, 3.0])
    assert soc == [357.0, None, None, 357.0]
    assert cpu == [100.0, None, 100.0, 100.0]
    assert dram == [50.0, None, None, 50.0]


@pytest.mark.parametrize(
    ("answer", "why"),
    [({"cpu": 1.0}, "the energy of the gpu on this chip"), ({}, "of the cpu and gpu on this chip")],
)
def test_a_chip_that_the_package_does_not_know_is_refused(answer: dict[str, float], why: str) -> None:
    with pytest.raises(MeterUnavailable, match=why):
        opened(Replayed([told(0, answer)]))


class Package:
    """Stands for the module: one monitor, millijoules, and a part that this chip has not."""

    def __init__(self, error: str | None = None) -> None:
        self.error, self.made = error, 0

    def AppleEnergyMonitor(self) -> Any:
        self.made += 1
        if self.error:
            raise RuntimeError(self.error)
        metrics = SimpleNamespace(cpu_total_mj=1_500, gpu_mj=2_000, ane_mj=0, dram_mj=None, gpu_sram_mj=1)
        return SimpleNamespace(get_cumulative_energy=lambda: metrics)


def test_the_package_is_asked_in_millijoules_through_one_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    package = Package()
    monkeypatch.setitem(sys.modules, "zeus_apple_silicon", package)
    meter = apple.open_meter(Options())
    assert [channel.component for channel in meter.channels()] == ["soc", "cpu", "gpu", "ane", "gpu_sram"]
    assert meter.read() == meter.read() == pytest.approx([3.5, 1.5, 2.0, 0.0, 0.001])
    assert package.made == 1
    meter.close()


def test_a_monitor_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeus_apple_silicon", Package("Failed to create IOReport subscription."))
    with pytest.raises(MeterUnavailable, match="no energy from IOReport: Failed to create IOReport subscription"):
        apple.open_meter(Options())


def test_without_the_package_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeus_apple_silicon", None)
    with pytest.raises(MeterUnavailable, match="pip install zeus-apple-silicon"):
        apple.open_meter(Options())
