"""The integrator: what must hold for any trace."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_meters_integrate import COUNTER, POWER, WRAPPING, read, seconds

from edgecarbon.meters.base import Channel

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


@given(watts=WATTS, ends=st.tuples(*[st.floats(0, 1)] * 3), duty=st.sampled_from([None, 0.25, 1.0]))
def test_the_parts_of_a_window_are_no_surer_than_the_whole(
    watts: list[float], ends: tuple[float, float, float], duty: float | None
) -> None:
    """The parts' terms, taken as fully correlated, bound the whole's; a part knows its accuracy no better."""
    times = seconds(len(watts) - 1)
    start_s, middle_s, end_s = sorted(end * times[-1] for end in ends)
    if min(middle_s - start_s, end_s - middle_s) < 1:
        return
    for channel, values in ((POWER, watts), (COUNTER, cumulated(watts))):
        real = replace(channel, update_period_s=0.1, resolution=0.001, accuracy_relative=0.03, duty=duty)
        whole = read(real, times, values, start_s, end_s)
        parts = [read(real, times, values, a, b) for a, b in ((start_s, middle_s), (middle_s, end_s))]
        assert 0.03 * (whole.joules or math.nan) <= (whole.uncertainty_joules or math.nan)
        assert (whole.uncertainty_joules or math.nan) <= 1.5 * math.fsum(p.uncertainty_joules or 0 for p in parts)


@given(watts=WATTS, shift_s=st.floats(-1e5, 1e5), shift_joules=st.floats(0, 1e6))
def test_when_it_is_and_where_a_counter_stands_change_nothing(
    watts: list[float], shift_s: float, shift_joules: float
) -> None:
    last = len(watts) - 1
    moved = [shift_s + t for t in seconds(last)]
    wrapping = replace(WRAPPING, max_watts=500.0, duty=0.25)
    shifted = [(shift_joules + joules) % 262_143.0 for joules in cumulated(watts)]
    for channel, here, there in ((POWER, watts, watts), (wrapping, cumulated(watts), shifted)):
        first = read(channel, seconds(last), here, 0, last)
        second = read(channel, moved, there, moved[0], moved[-1])
        assert second.joules == pytest.approx(first.joules, rel=1e-6)
        assert second.uncertainty_joules == pytest.approx(first.uncertainty_joules, rel=1e-4, abs=1e-4)
        assert second.coverage == pytest.approx(first.coverage)
        assert {*second.flags} - {"wrapped"} == {*first.flags}


@given(watts=WATTS, more=st.lists(st.floats(0, 100), max_size=30))
def test_more_samples_of_the_constant_stretches_of_a_trace_change_no_joules(
    watts: list[float], more: list[float]
) -> None:
    """Each power is held for a second, and then changes within one."""
    held = [power for power in watts for _ in range(2)]
    total = [0.0]
    for p, q in pairwise(held):
        total.append(total[-1] + (p + q) / 2)
    last = len(held) - 1
    inside = {t for t in more if t < last and int(t) % 2 == 0}
    dense = sorted({*seconds(last), *inside})
    at = [(int(t), t - int(t)) for t in dense]
    power = [held[i] for i, _ in at]
    counter = [total[i] + part * (held[i] if part else 0) for i, part in at]
    for channel, sparse, full in ((POWER, held, power), (COUNTER, total, counter)):
        few, many = read(channel, seconds(last), sparse, 0, last), read(channel, dense, full, 0, last)
        assert many.joules == pytest.approx(few.joules, rel=1e-9)
        assert many.coverage == few.coverage == 1.0


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


@given(watts=st.lists(st.floats(200, 300), min_size=5, max_size=60), at_end=st.booleans())
def test_an_end_that_was_not_read_is_within_the_uncertainty_stated_without_it(watts: list[float], at_end: bool) -> None:
    last = len(watts) - 1
    lost = last if at_end else 0
    for channel, values in ((POWER, watts), (COUNTER, cumulated(watts))):
        whole = read(channel, seconds(last), values, 0, last)
        broken = read(channel, seconds(last), [None if i == lost else v for i, v in enumerate(values)], 0, last)
        assert broken.coverage < whole.coverage
        assert abs((broken.joules or math.nan) - (whole.joules or math.nan)) <= (broken.uncertainty_joules or 0) + 1e-9


@given(
    values=st.lists(st.none() | st.floats(-1e6, 1e6) | st.just(math.nan), min_size=2, max_size=40),
    channel=st.sampled_from(
        [
            COUNTER,
            WRAPPING,
            POWER,
            replace(WRAPPING, wrap_joules=None),
            replace(WRAPPING, duty=0.25, update_period_s=0.5),
        ]
    ),
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
