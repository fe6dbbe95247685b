"""The integrator: the known answers of measuring energy, its flags and each term of its uncertainty."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from edgecarbon.meters.base import Channel, Reading
from edgecarbon.meters.integrate import Window, integrate, readings

COUNTER = Channel(
    id="rapl/package-0/energy", meter="rapl", component="package-0", quantity="energy", unit="J",
    boundary="cpu_package", provenance="measured", source="energy_uj", update_period_s=0.001, resolution=0.0,
)  # fmt: skip
WRAPPING = replace(COUNTER, wraps=True, wrap_joules=262_143.0, max_watts=1000.0)
POWER = replace(COUNTER, id="rapl/package-0/power", quantity="power", unit="W")


def read(
    channel: Channel, times: Sequence[float], values: Sequence[float | None], start_s: float, end_s: float
) -> Reading:
    return integrate(channel, times, values, Window(start_s, end_s, sample_period_s=1.0))


def seconds(count: int) -> list[float]:
    return [float(second) for second in range(count + 1)]


# Known answers.


@pytest.mark.parametrize(("channel", "values"), [(POWER, [100.0] * 61), (COUNTER, [100.0 * s for s in range(61)])])
def test_100_watts_for_60_seconds_are_6000_joules(channel: Channel, values: list[float]) -> None:
    reading = read(channel, seconds(60), values, 0, 60)
    assert reading.joules == pytest.approx(6000)
    assert reading.coverage == 1.0
    assert reading.flags == ()


def test_a_ramp_is_integrated_by_the_trapezoid() -> None:
    assert read(POWER, seconds(100), seconds(100), 0, 100).joules == pytest.approx(5000)


def test_a_counter_is_last_minus_first_and_not_the_last_power() -> None:
    total = [1_000.0 + 60 * min(s, 5) + 300 * max(0, s - 5) for s in range(61)]
    assert read(COUNTER, seconds(60), total, 0, 60).joules == pytest.approx(16_800)


def test_a_wrap_adds_what_lies_before_and_after_the_maximum() -> None:
    reading = read(WRAPPING, [0.0, 1.0], [262_143.0 - 150, 50.0], 0, 1)
    assert reading.joules == pytest.approx(200)
    assert "wrapped" in reading.flags


def test_a_wrap_whose_maximum_is_unreadable_is_no_figure() -> None:
    reading = read(replace(WRAPPING, wrap_joules=None), [0.0, 1.0, 2.0], [900.0, 1000.0, 50.0], 0, 2)
    assert reading.joules is None
    assert "wrap_unreadable" in reading.flags


@pytest.mark.parametrize("lost", [0, 1, 30, 60])
@pytest.mark.parametrize(("channel", "values"), [(POWER, [100.0] * 61), (COUNTER, [100.0 * s for s in range(61)])])
def test_one_failed_read_lowers_the_coverage_and_not_the_joules(
    channel: Channel, values: list[float], lost: int
) -> None:
    broken: list[float | None] = [None if s == lost else value for s, value in enumerate(values)]
    reading = read(channel, seconds(60), broken, 0, 60)
    assert reading.joules == pytest.approx(6000)
    assert reading.coverage == pytest.approx(59 / 60)
    assert "partial" not in reading.flags


# Rules.


def test_a_falling_counter_that_does_not_wrap_is_a_reset() -> None:
    reading = read(COUNTER, seconds(3), [500.0, 600.0, 10.0, 110.0], 0, 3)
    assert reading.joules is None
    assert "reset" in reading.flags


def test_a_wrap_that_would_need_impossible_power_is_a_reset() -> None:
    reading = read(WRAPPING, seconds(3), [500.0, 600.0, 10.0, 110.0], 0, 3)
    assert reading.joules is None
    assert "reset" in reading.flags
    assert "wrapped" not in reading.flags


def test_a_gap_longer_than_the_wrap_period_is_ambiguous() -> None:
    times = [0.0, 1.0, 2.0, 302.0, 303.0]
    values: list[float | None] = [0.0, 100.0, 200.0, 30_200.0, 30_300.0]
    reading = read(WRAPPING, times, values, 0, 303)
    assert reading.joules is None
    assert {"wrap_ambiguous", "gap", "partial"} <= {*reading.flags}
    assert read(replace(WRAPPING, wrap_joules=400_000.0), times, values, 0, 303).joules == pytest.approx(30_300)


def test_without_a_stated_bound_the_observed_power_tells_the_wrap_period() -> None:
    unbounded = replace(WRAPPING, max_watts=None, wrap_joules=1000.0)
    times = [*seconds(10), 20.0]
    assert read(unbounded, times, [10.0 * t for t in times], 0, 20).joules == pytest.approx(200)
    assert "wrap_ambiguous" in read(unbounded, times, [100.0 * t % 1000 for t in times], 0, 20).flags


def test_a_counter_that_never_moves_is_stalled_and_not_zero() -> None:
    reading = read(COUNTER, seconds(60), [42.0] * 61, 0, 60)
    assert reading.joules is None
    assert reading.uncertainty_joules is None
    assert {"stalled", "partial"} <= {*reading.flags}


def test_a_counter_that_stands_still_for_a_while_is_stalled_and_says_how_much_it_may_have_lost() -> None:
    moving = [100.0 * s for s in range(61)]
    stuck = [100.0 * (s if s < 30 else max(30, s - 10)) for s in range(61)]
    good, bad = read(COUNTER, seconds(60), moving, 0, 60), read(COUNTER, seconds(60), stuck, 0, 60)
    assert "stalled" not in good.flags
    assert {"stalled", "partial"} <= {*bad.flags}
    assert bad.coverage == pytest.approx(50 / 60)
    assert bad.uncertainty_joules == pytest.approx(1000 / math.sqrt(3), rel=0.01)


def test_a_counter_that_was_only_late_lost_nothing() -> None:
    late = [100.0 * (s if s < 30 or s > 40 else 30) for s in range(61)]
    reading = read(COUNTER, seconds(60), late, 0, 60)
    assert reading.joules == pytest.approx(6000)
    assert reading.flags == ("stalled",)
    assert reading.coverage == 1.0
    assert (reading.uncertainty_joules or 0) < 1.0


def test_a_coarse_counter_is_not_stalled_between_two_of_its_steps() -> None:
    coarse = replace(COUNTER, resolution=13.86)
    values = [math.floor(s * 1.0 / 13.86) * 13.86 for s in range(601)]
    reading = read(coarse, seconds(600), values, 0, 600)
    assert "stalled" not in reading.flags
    assert reading.joules == pytest.approx(600, abs=13.86)
    assert (reading.uncertainty_joules or 0) >= 13.86 / math.sqrt(6)


def test_a_window_within_one_update_is_no_data_and_not_zero() -> None:
    slow = replace(COUNTER, update_period_s=60.0)
    reading = read(slow, seconds(30), [5.0] * 31, 0, 30)
    assert reading.joules is None
    assert {"no_data", "short"} <= {*reading.flags}


@pytest.mark.parametrize("values", [[None] * 11, [None, 5.0] + [None] * 9])
def test_without_two_valid_samples_there_is_no_figure(values: list[float | None]) -> None:
    for channel in (COUNTER, POWER):
        reading = read(channel, seconds(10), values, 0, 10)
        assert reading.joules is None
        assert reading.coverage == 0.0
        assert {"no_data", "partial"} <= {*reading.flags}


def test_a_gap_of_more_than_three_periods_makes_the_window_partial() -> None:
    values = [100.0 * s for s in range(201)]
    at_most: list[float | None] = [None if 50 <= s < 52 else v for s, v in enumerate(values)]
    too_long: list[float | None] = [None if 50 <= s < 53 else v for s, v in enumerate(values)]
    assert {"gap", "partial"} & {*read(COUNTER, seconds(200), at_most, 0, 200).flags} == set()
    reading = read(COUNTER, seconds(200), too_long, 0, 200)
    assert {"gap", "partial"} <= {*reading.flags}
    assert reading.joules == pytest.approx(20_000)


def test_coverage_below_95_per_cent_is_partial_without_any_long_gap() -> None:
    values: list[float | None] = [None if s % 10 == 5 else 100.0 for s in range(61)]
    reading = read(POWER, seconds(60), values, 0, 60)
    assert reading.coverage == pytest.approx(54 / 60)
    assert "partial" in reading.flags
    assert "gap" not in reading.flags


@pytest.mark.parametrize(
    ("update_period_s", "minimum_window_s", "short"),
    [(0.1, 60, False), (0.1, 61, True), (0.5, 0, False), (0.7, 0, True)],
)
def test_short_is_below_the_minimum_or_a_hundred_updates(
    update_period_s: float, minimum_window_s: float, short: bool
) -> None:
    channel = replace(COUNTER, update_period_s=update_period_s)
    window = Window(0, 60, 1.0, minimum_window_s)
    reading = integrate(channel, seconds(60), [100.0 * s for s in range(61)], window)
    assert ("short" in reading.flags) is short


def test_a_short_window_has_the_larger_relative_uncertainty() -> None:
    slow = replace(COUNTER, update_period_s=0.1)
    values = [100.0 * s for s in range(61)]
    short, long = (read(slow, seconds(60), values, 0, end_s) for end_s in (2, 60))
    assert "short" in short.flags
    relative = [(reading.uncertainty_joules or 0) / (reading.joules or 1) for reading in (short, long)]
    assert relative[0] > 20 * relative[1]


def test_each_term_of_a_counters_uncertainty() -> None:
    values = [100.0 * s for s in range(61)]

    def uncertainty(channel: Channel) -> float | None:
        return read(channel, seconds(60), values, 0, 60).uncertainty_joules

    bare = replace(COUNTER, update_period_s=1e-9)
    assert uncertainty(bare) == pytest.approx(0, abs=1e-5)
    assert uncertainty(replace(bare, resolution=6.0)) == pytest.approx(6 / math.sqrt(6))
    assert uncertainty(replace(bare, accuracy_relative=0.02)) == pytest.approx(120)
    # Two ends, each up to 0.1 s old, at 100 W.
    assert uncertainty(replace(bare, update_period_s=0.1)) == pytest.approx(0.1 * 100 * math.sqrt(2 / 3))


def test_each_term_of_a_powers_uncertainty() -> None:
    steady = [100.0] * 61

    def uncertainty(channel: Channel, values: Sequence[float | None] = steady) -> float | None:
        return read(channel, seconds(60), values, 0, 60).uncertainty_joules

    bare = replace(POWER, update_period_s=1e-9)
    assert uncertainty(bare) == pytest.approx(0)
    # Rounded or cut off: within 6 W of what is shown, all the time.
    assert uncertainty(replace(bare, resolution=6.0)) == pytest.approx(6 * 60 / math.sqrt(3))
    assert uncertainty(replace(bare, accuracy_relative=0.02)) == pytest.approx(120)
    # 30 s at 100 W and 30 s at 160 W: one jump in 60 steps of 1 s between looks, and ends 60 W apart, up to two updates
    # of 1 s old.
    rises = [100.0 if s < 30 else 160.0 for s in range(61)]
    scatter_watts = math.sqrt(60**2 / (2 * 60))
    between = scatter_watts * math.sqrt(60)
    assert uncertainty(bare, rises) == pytest.approx(between)
    late = math.sqrt(7 / 6) * math.hypot(60, math.sqrt(2) * scatter_watts)
    slow = replace(POWER, update_period_s=1.0)
    assert uncertainty(slow, rises) == pytest.approx(math.hypot(between, late))
    # A sensor that always looks errs between two updates only by when it is read; one that looks for a quarter, more.
    for duty, share in ((1.0, 1 / 6), (0.25, 0.75 + 1 / 6)):
        expected = math.hypot(between * math.sqrt(share), late)
        assert uncertainty(replace(slow, duty=duty), rises) == pytest.approx(expected)


def test_what_a_part_time_counter_misses_between_its_looks() -> None:
    """100 W and 300 W by turns, an update of each: √(1 − 0.25) · 200/√2 W · 0.1 s · √600."""
    times = [0.1 * i for i in range(601)]
    values = [20.0 * i + 10.0 * (i % 2) for i in range(601)]
    always, part_time = (
        integrate(replace(COUNTER, update_period_s=0.1, duty=duty), times, values, Window(0, 60, 0.1))
        for duty in (1.0, 0.25)
    )
    assert always.joules == part_time.joules == pytest.approx(12_000)
    missed = math.sqrt((part_time.uncertainty_joules or 0) ** 2 - (always.uncertainty_joules or 0) ** 2)
    assert missed == pytest.approx(math.sqrt(0.75) * 200 / math.sqrt(2) * 0.1 * math.sqrt(600), rel=1e-3)


def test_an_update_that_comes_late_into_a_step_is_no_surge() -> None:
    """Read at its own pace a steady part-time counter shows 0, 1 or 2 updates in a step."""
    times = [0.1 * i for i in range(601)]
    late = {100, 101, 102, 300, 450, 451}
    values = [30.0 * (i - (i in late)) for i in range(601)]
    channel = replace(COUNTER, update_period_s=0.1)
    plain = integrate(channel, times, values, Window(0, 60, 0.1))
    part_time = integrate(replace(channel, duty=0.25), times, values, Window(0, 60, 0.1))
    assert part_time.uncertainty_joules == pytest.approx(plain.uncertainty_joules)


def test_an_hour_at_10_hz_takes_well_under_a_second() -> None:
    times = [0.1 * i for i in range(36_001)]
    for channel, values in ((COUNTER, [300 * t for t in times]), (POWER, [300 + t % 1 for t in times])):
        began_s = time.process_time()
        part_time = replace(channel, update_period_s=0.1, duty=0.25)
        assert integrate(part_time, times, values, Window(0, 3600, 0.1)).joules == pytest.approx(1_080_000, rel=0.01)
        assert time.process_time() - began_s < 1


def test_window_ends_between_samples_are_interpolated() -> None:
    counter = read(COUNTER, seconds(60), [100.0 * s for s in range(61)], 10.25, 50.75)
    power = read(POWER, seconds(60), seconds(60), 10.25, 50.75)
    assert counter.joules == pytest.approx(4050)
    assert power.joules == pytest.approx((50.75**2 - 10.25**2) / 2)


def test_power_that_flows_in_is_charging_and_never_negative() -> None:
    reading = read(POWER, seconds(60), [-4.636] * 61, 0, 60)
    assert reading.joules is None
    assert "charging" in reading.flags


def test_a_power_sensor_that_only_says_zero_tells_nothing() -> None:
    reading = read(POWER, seconds(60), [0.0] * 61, 0, 60)
    assert reading.joules is None
    assert "stalled" in reading.flags


@pytest.mark.parametrize(("watts", "disagree"), [(100.0, False), (109.0, False), (112.0, True), (88.0, True)])
def test_counter_and_integrated_power_are_both_kept_and_compared(watts: float, disagree: bool) -> None:
    columns = [[watts] * 61, [100.0 * s for s in range(61)]]
    out = readings([POWER, COUNTER], seconds(60), columns, "train", 0, 60, sample_period_s=1.0)
    assert [entry["channel"] for entry in out] == [COUNTER.id, POWER.id]
    assert [entry["joules"] for entry in out] == pytest.approx([6000, 60 * watts])
    assert all(("counter_power_disagree" in entry["flags"]) is disagree for entry in out)
    assert Reading.from_json(out[0]).to_json() == {k: v for k, v in out[0].items() if k in Reading.__dataclass_fields__}


def test_the_flags_of_a_channel_are_on_its_readings() -> None:
    board = replace(COUNTER, flags=("mig_whole_board",))
    assert read(board, seconds(60), [100.0 * s for s in range(61)], 0, 60).flags == ("mig_whole_board",)
    assert Channel.from_json(board.to_json()) == board


@pytest.mark.parametrize(("start_s", "end_s", "period_s"), [(5, 5, 1), (6, 5, 1), (0, 5, 0)])
def test_a_window_without_length_is_refused(start_s: float, end_s: float, period_s: float) -> None:
    with pytest.raises(ValueError, match="window"):
        Window(start_s, end_s, period_s)


def test_temperature_has_no_joules() -> None:
    with pytest.raises(ValueError, match="no energy"):
        read(replace(COUNTER, quantity="temperature"), [0.0, 1.0], [40.0, 41.0], 0, 1)


def test_a_counter_that_is_lost_before_the_end_goes_on_as_it_did() -> None:
    """A plug that is asked once a second and read twice as often, and pulled out after 40 of 100 s."""
    times = [t / 2 for t in range(81)]
    reading = integrate(COUNTER, times, [100.0 * math.floor(t) for t in times], Window(0, 100, sample_period_s=0.5))
    assert reading.joules == pytest.approx(10_000, rel=0.02)
    assert reading.uncertainty_joules == pytest.approx(60 * 100 / math.sqrt(3), rel=0.1)
    assert reading.coverage == pytest.approx(0.4, abs=0.02)
    assert "partial" in reading.flags
