"""The thermal story on known answers: a constant machine, a ramp, a real throttle, noise, idle, and other load."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from edgecarbon.meters.base import Channel
from edgecarbon.meters.heat import Heat, Series, Step, says_heat, tell

# The training window of all tests: 300 s from second 20, a second a step and a sample.
TRAIN = (20.0, 320.0)
WINDOWS = {"idle_before": (0.0, 20.0), "train": TRAIN, "idle_after": (320.0, 340.0)}
STEPS = [Step(20.0 + n, 21.0 + n, 100) for n in range(300)]
MIDDLE_S = 170.0


def series(name: str, value: Callable[[float], float | None], unit: str = "", quantity: str = "") -> Series:
    meter, component, called = name.split("/")
    channel = Channel(
        id=name, meter=meter, component=component, quantity=quantity or called, unit=unit, boundary="wall",
        provenance="measured", source="test", update_period_s=1.0, resolution=1e-3,
    )  # type: ignore[arg-type] # fmt: skip
    times = [float(t) for t in range(341)]
    return Series(channel, times, [value(t) for t in times])


def constant(name: str, value: float) -> Series:
    return series(name, lambda _: value)


def halves(name: str, early: float, late: float) -> Series:
    return series(name, lambda t: early if t < MIDDLE_S else late)


def told(*found: Series, headline: tuple[str, ...] = (), **more: Any) -> Heat:
    return tell(found, more.get("windows", WINDOWS), STEPS, headline)


def test_a_constant_machine_is_not_throttled_and_costs_the_same_throughout() -> None:
    heat = told(
        constant("thermal/cpu/temperature", 75.0), constant("thermal/cpu/frequency", 3000.0),
        series("wall/plug/energy", lambda t: 50.0 * t), headline=("wall/plug/energy",),
    )  # fmt: skip
    assert (heat.temperature_start_celsius, heat.temperature_highest_celsius, heat.temperature_end_celsius) == (
        75,
        75,
        75,
    )
    assert (heat.frequency_start_mhz, heat.frequency_lowest_mhz, heat.frequency_end_mhz) == (3000, 3000, 3000)
    assert (heat.throttled_s, heat.throttling_began_s, heat.evidence) == (0.0, None, "frequency_falls")
    assert (heat.split, heat.split_s, heat.flags, heat.stretches) == ("half", MIDDLE_S, (), ())
    assert heat.before is not None
    assert heat.after is not None
    assert (heat.before.joules, heat.after.joules) == pytest.approx((0.5, 0.5))


def test_a_clock_that_falls_in_the_heat_is_throttled_and_dearer_after() -> None:
    # From half-way on the clock falls from 3000 to 2000 MHz at 95 °C, and power from 60 to 45 W, at half the pace.
    energy = series("wall/plug/energy", lambda t: 60.0 * t if t < MIDDLE_S else 60.0 * MIDDLE_S + 45.0 * (t - MIDDLE_S))
    slower = [Step(20.0 + n, 21.0 + n, 100) for n in range(150)] + [
        Step(170.0 + 2 * n, 172.0 + 2 * n, 100) for n in range(75)
    ]
    clock, degrees = halves("thermal/cpu/frequency", 3000.0, 2000.0), halves("thermal/cpu/temperature", 93.0, 95.0)
    heat = tell([clock, degrees, energy], WINDOWS, slower, ["wall/plug/energy"])
    assert heat.throttled_s == pytest.approx(150, abs=5)
    assert heat.throttling_began_s == pytest.approx(MIDDLE_S, abs=5)
    assert (heat.evidence, heat.split, heat.flags) == ("frequency_falls", "throttling", ("thermal_throttling",))
    assert (heat.frequency_start_mhz, heat.frequency_lowest_mhz, heat.frequency_end_mhz) == (3000, 2000, 2000)
    assert heat.temperature_highest_celsius == 95
    assert heat.before is not None
    assert heat.after is not None
    assert (heat.before.joules, heat.after.joules) == pytest.approx((0.6, 0.9), rel=0.05)
    assert heat.before.uncertainty_joules > 0


@pytest.mark.parametrize(
    ("clock", "degrees", "work"),
    [
        (halves("a/cpu/frequency", 3000, 2000), constant("a/cpu/temperature", 45), None),  # a cool machine
        (halves("a/cpu/frequency", 3000, 2000), halves("a/cpu/temperature", 95, 70), None),  # it cooled down
        (halves("a/cpu/frequency", 3000, 2000), constant("a/cpu/temperature", 90), halves("a/cpu/utilisation", 1, 0.4)),
        (halves("a/cpu/frequency", 3000, 2750), constant("a/cpu/temperature", 95), None),  # 8 % is not 10 %
        (constant("a/cpu/frequency", 800), constant("a/cpu/temperature", 35), constant("a/cpu/utilisation", 0.0)),
        (
            series("a/cpu/frequency", lambda t: 2000 if t % 60 < 4 else 3000),
            constant("a/cpu/temperature", 90),
            None,
        ),  # short pauses
    ],
    ids=["cool", "cooled", "less-work", "small-fall", "idle", "pauses"],
)  # fmt: skip
def test_what_is_no_throttling(clock: Series, degrees: Series, work: Series | None) -> None:
    heat = told(clock, degrees, *([work] if work else []))
    assert (heat.throttled_s, heat.evidence, heat.flags) == (0.0, "frequency_falls", ())


@pytest.mark.parametrize("seed", range(20))
def test_a_noisy_clock_and_a_ramp_of_heat_are_no_throttling(seed: int) -> None:
    noise = random.Random(seed)
    clock = series("a/cpu/frequency", lambda _: noise.gauss(3000, 210))
    heat = told(clock, series("a/cpu/temperature", lambda t: min(92.0, 40 + t / 2)))
    assert heat.throttled_s == 0.0
    assert (heat.temperature_start_celsius, heat.temperature_end_celsius) == (50, 92)


def test_a_phone_is_judged_by_its_skin_and_a_chip_is_not() -> None:
    clock = halves("phone/cpu/frequency", 2400, 1500)
    for body in ("phone/battery/temperature", "battery/BAT0/temperature", "phone/skin/temperature"):
        assert told(clock, constant(body, 41)).throttled_s == pytest.approx(150, abs=5)
    assert told(clock, constant("phone/cpu/temperature", 41)).throttled_s == 0.0


@pytest.mark.parametrize(
    ("bits", "heat"),
    [(0x0, False), (0x1, False), (0x4, False), (0x8, True), (0x88, False), (0x80, False), (0x20, True), (0x40, True),
     (0x24, True), (0xC8, True), (0x100, False)],
)  # fmt: skip
def test_which_reasons_of_nvml_are_heat(bits: int, heat: bool) -> None:
    assert says_heat(bits) is heat


def test_a_driver_that_names_heat_is_believed_to_the_sample() -> None:
    reasons = series("nvml/gpu0/throttle", lambda t: 0x20 if 100 <= t < 110 else 0x4)
    heat = told(reasons, constant("nvml/gpu0/temperature", 84), halves("nvml/gpu0/frequency", 1980, 1200))
    assert (heat.throttled_s, heat.throttling_began_s, heat.evidence) == (10.0, 100.0, "throttle_reasons")
    assert [(one.start_s, one.end_s, one.component) for one in heat.stretches] == [(100.0, 110.0, "gpu0")]
    assert heat.flags == ("thermal_throttling",)


def test_a_clock_under_a_power_cap_is_not_throttled_for_heat() -> None:
    cap = series("nvml/gpu0/throttle", lambda t: 0x4 if t > MIDDLE_S else 0x0)
    gpu = (constant("nvml/gpu0/temperature", 84), halves("nvml/gpu0/frequency", 1980, 1200))
    assert (told(cap, *gpu).throttled_s, told(cap, *gpu).evidence) == (0.0, "throttle_reasons")
    # A driver that never names any reason, but that the GPU is idle, may know none: then the clock speaks.
    for bits in (0x0, 0x1):
        silent = told(constant("nvml/gpu0/throttle", bits), *gpu)
        assert (silent.throttled_s, silent.evidence) == (pytest.approx(150, abs=5), "frequency_falls")


def test_one_percent_of_the_window_is_the_limit_and_windows_bound_the_stretches() -> None:
    at_most = told(series("nvml/gpu0/throttle", lambda t: 0x40 if 100 <= t < 103 else 0x0))
    assert (at_most.throttled_s, at_most.flags) == (3.0, ())
    over = told(series("nvml/gpu0/throttle", lambda t: 0x40 if 100 <= t < 104 else 0x0))
    assert (over.throttled_s, over.flags) == (4.0, ("thermal_throttling",))
    beyond = told(series("nvml/gpu0/throttle", lambda t: 0x40 if t < 30 or t > 310 else 0x0))
    assert [(one.start_s, one.end_s) for one in beyond.stretches] == [(20.0, 30.0), (311.0, 320.0)]
    cut = told(series("nvml/gpu0/throttle", lambda t: 0x40 if t < 30 else 0x0), windows={"train": (20.5, 300.0)})
    assert [(one.start_s, one.end_s) for one in cut.stretches] == [(20.5, 30.0)]


def test_a_gap_is_not_all_throttled() -> None:
    # The driver falls silent at second 100, for good: its last word holds for three periods.
    gone = told(series("nvml/gpu0/throttle", lambda t: None if t > 100 else 0x40))
    assert gone.throttled_s == 83.0


def test_components_that_are_throttled_together_count_once() -> None:
    boards = [series(f"nvml/gpu{n}/throttle", lambda t, n=n: 0x20 if 100 + n <= t < 110 + n else 0x0) for n in (0, 5)]
    heat = told(*boards)
    assert (heat.throttled_s, len(heat.stretches)) == (15.0, 2)


def test_nothing_read_is_unknown_and_never_zero() -> None:
    heat = told()
    assert (heat.throttled_s, heat.evidence, heat.temperature_highest_celsius, heat.before, heat.flags) == (
        None, None, None, None, (),
    )  # fmt: skip
    failed = told(series("a/cpu/frequency", lambda _: None), series("a/cpu/temperature", lambda _: None))
    assert (failed.throttled_s, failed.frequency_start_mhz, failed.temperature_component) == (None, None, None)
    # Ten medians over 5 s are the least that a clock is judged by.
    short = {"train": (20.0, 65.0)}
    pair = (halves("a/cpu/frequency", 3000, 2000), constant("a/cpu/temperature", 95))
    assert told(*pair, windows=short).throttled_s is None


def test_a_sensor_that_is_read_seldom_still_judges() -> None:
    degrees = series("a/cpu/temperature", lambda t: 95 if t % 10 == 0 else None)
    assert told(halves("a/cpu/frequency", 3000, 2000), degrees).throttled_s == pytest.approx(150, abs=21)


def test_a_window_that_cannot_be_costs_no_memory() -> None:
    pair = (constant("a/cpu/frequency", 3000), constant("a/cpu/temperature", 95))
    assert told(*pair, windows={"train": (20.0, 1e300)}).throttled_s == 0.0


def test_joules_per_token_need_every_channel_of_the_headline_and_its_samples() -> None:
    plug = series("wall/plug/energy", lambda t: 50.0 * t)
    assert told(plug, headline=("wall/plug/energy", "wall/other/energy")).before is None
    half_read = series("wall/plug/energy", lambda t: 50.0 * t if t < MIDDLE_S else None)
    heat = told(half_read, headline=("wall/plug/energy",))
    assert heat.before is not None
    assert heat.after is None
    hidden = series("wall/plug/energy", lambda t: None if 100 < t < 160 else 50.0 * t)
    assert told(hidden, headline=("wall/plug/energy",)).before is None
    both = told(plug, constant("dram/dram/power", 10.0), headline=("wall/plug/energy", "dram/dram/power"))
    assert both.before is not None
    assert both.before.joules == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("busy", "idle", "flags"),
    [(0.04, 0.05, ()), (0.06, 0.0, ("background_load",)), (0.0, 0.06, ("background_load",))],
)
def test_other_processes(busy: float, idle: float, flags: tuple[str, ...]) -> None:
    load = series("load/others/utilisation", lambda t: busy if 20 <= t <= 320 else idle)
    heat = told(load)
    assert heat.background_utilisation == pytest.approx(busy)
    assert heat.background_idle_utilisation == pytest.approx(idle, abs=0.01)
    assert heat.flags == flags


def test_the_hottest_component_is_told_with_its_clock() -> None:
    found = (
        constant("nvml/gpu0/temperature", 70), constant("nvml/gpu0/frequency", 1980),
        constant("thermal/cpu/temperature", 80), constant("thermal/cpu/frequency", 3000),
    )  # fmt: skip
    assert (told(*found).temperature_component, told(*found).frequency_start_mhz) == ("cpu", 3000)
    throttled = told(*found, series("nvml/gpu0/throttle", lambda t: 0x20 if t > 100 else 0x0))
    assert (throttled.temperature_component, throttled.frequency_component) == ("cpu", "gpu0")
