"""The integrator: the known answers of measuring energy, and what must hold for any trace."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    assert (bad.uncertainty_joules or 0) > 10 * 80 / math.sqrt(3)


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


# What holds for any trace.

WATTS = st.lists(st.floats(1, 500), min_size=5, max_size=60)


def cumulated(watts: Sequence[float], start: float = 0.0) -> list[float]:
    total = [start]
    for power in watts[1:]:
        total.append(total[-1] + power)
    return total


@given(watts=WATTS, ends=st.tuples(*[st.floats(0, 1)] * 3))
def test_the_parts_of_a_window_add_up(watts: list[float], ends: tuple[float, float, float]) -> None:
    times = seconds(len(watts) - 1)
    start_s, middle_s, end_s = sorted(end * times[-1] for end in ends)
    if min(middle_s - start_s, end_s - middle_s) < 1e-3:
        return
    for channel, values in ((POWER, watts), (COUNTER, cumulated(watts))):
        parts = [read(channel, times, values, a, b).joules for a, b in ((start_s, middle_s), (middle_s, end_s))]
        assert math.fsum(part or math.nan for part in parts) == pytest.approx(
            read(channel, times, values, start_s, end_s).joules, rel=1e-9
        )


@given(watts=st.floats(1, 500), more=st.lists(st.floats(0, 10), max_size=30), offset=st.floats(0, 1e6))
def test_more_samples_of_a_constant_stretch_change_nothing(watts: float, more: list[float], offset: float) -> None:
    sparse = seconds(10)
    dense = sorted({*sparse, *more})
    for times in (sparse, dense):
        power = read(POWER, times, [watts] * len(times), 0, 10)
        counter = read(COUNTER, times, [offset + watts * t for t in times], 0, 10)
        assert power.joules == pytest.approx(10 * watts)
        assert counter.joules == pytest.approx(10 * watts, rel=1e-6)
        assert power.coverage == counter.coverage == 1.0


@given(watts=WATTS, start=st.floats(0, 262_143), wrap=st.floats(600, 262_143))
def test_a_counter_may_wrap_at_any_point(watts: list[float], start: float, wrap: float) -> None:
    channel = replace(WRAPPING, wrap_joules=wrap, max_watts=500.0)
    total = cumulated(watts, start)
    reading = read(channel, seconds(len(watts) - 1), [joules % wrap for joules in total], 0, len(watts) - 1)
    assert reading.joules == pytest.approx(total[-1] - total[0], rel=1e-6, abs=1e-6)
    assert ("wrapped" in reading.flags) is (total[0] // wrap != total[-1] // wrap)


@given(watts=WATTS, data=st.data())
def test_one_failed_read_moves_no_more_than_the_stated_uncertainty(watts: list[float], data: st.DataObject) -> None:
    last = len(watts) - 1
    lost = data.draw(st.integers(0, last))
    for channel, values in ((POWER, watts), (COUNTER, cumulated(watts))):
        if channel is COUNTER and lost in (0, last):
            continue  # what an end cost is known from its neighbour alone: see the constant case above
        whole = read(channel, seconds(last), values, 0, last)
        broken = read(channel, seconds(last), [None if i == lost else v for i, v in enumerate(values)], 0, last)
        assert broken.coverage < whole.coverage == 1.0
        assert abs((broken.joules or math.nan) - (whole.joules or math.nan)) <= (whole.uncertainty_joules or 0) + 1e-9


@given(
    values=st.lists(st.none() | st.floats(-1e6, 1e6) | st.just(math.nan), min_size=2, max_size=40),
    channel=st.sampled_from([COUNTER, WRAPPING, POWER, replace(WRAPPING, wrap_joules=None)]),
    ends=st.tuples(st.floats(-5, 45), st.floats(0.01, 50)),
)
def test_joules_are_never_negative_whatever_the_sensor_says(
    values: list[float | None], channel: Channel, ends: tuple[float, float]
) -> None:
    reading = read(channel, seconds(len(values) - 1), values, ends[0], ends[0] + ends[1])
    assert 0 <= reading.coverage <= 1
    assert (reading.joules is None) == (reading.uncertainty_joules is None)
    if reading.joules is not None and reading.uncertainty_joules is not None:
        assert reading.joules > 0
        assert reading.uncertainty_joules >= 0


def test_the_stated_uncertainty_covers_a_quantised_delayed_part_time_sensor() -> None:
    """25 of every 100 ms are seen, milliwatts are rounded, the phase is random; ±1.96 u must hold the truth."""
    rng = random.Random(11)
    sensor = replace(POWER, update_period_s=0.1, resolution=0.001)
    held = 0
    for _ in range(200):
        base, swing, rhythm = rng.uniform(50, 400), rng.uniform(0, 0.5), rng.uniform(0.02, 3.0)
        delay_s, length_s = rng.uniform(0, 0.1), 20.0

        def energy(t: float, base: float = base, swing: float = swing, rhythm: float = rhythm) -> float:
            return base * (t - swing * rhythm / math.tau * (math.cos(math.tau * t / rhythm) - 1))

        def seen(t: float, energy: object = energy, delay_s: float = delay_s) -> float:
            update = math.floor((t - delay_s) / 0.1) * 0.1 + delay_s
            assert callable(energy)
            return round((energy(update) - energy(update - 0.025)) / 0.025, 3)

        times = [i * 0.1 for i in range(int(length_s * 10) + 1)]
        reading = integrate(sensor, times, [seen(t) for t in times], Window(0.0, length_s, 0.1))
        held += abs((reading.joules or 0) - energy(length_s)) <= 1.96 * (reading.uncertainty_joules or 0)
    assert held >= 186
