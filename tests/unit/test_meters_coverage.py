"""Whether the stated uncertainty is true: 95 % intervals against the known energy of synthetic traces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sensor_traces import SENSORS, Floats, Sensor, Trace, read_times, traces

from edgecarbon.meters.base import Channel
from edgecarbon.meters.integrate import Window, integrate

NORMAL_975, NORMAL_75 = 1.96, 0.674
# Mostly short windows, in which the ends and the looks count most: 143 of each, for each of seven kinds of sensor.
LONGEST_S = (20.0,) * 7 + (40.0,) * 2 + (120.0,)
BATCH = 143
COARSE = ("battery", "phone")
PART_TIME = SENSORS[:2]


def ratio(trace: Trace) -> float:
    """(joules − truth)/u, or NaN where there is no reading."""
    reading = integrate(trace.channel, trace.times, trace.values, trace.window)
    if reading.joules is None or reading.uncertainty_joules is None:
        return float("nan")
    return (reading.joules - trace.true_joules) / reading.uncertainty_joules


@pytest.fixture(scope="module")
def ratios() -> dict[str, Floats]:
    rng = np.random.default_rng(20231205)
    return {
        sensor.name: np.array([ratio(t) for longest_s in LONGEST_S for t in traces(rng, sensor, BATCH, longest_s)])
        for sensor in SENSORS
    }


def within(found: Floats, quantile: float) -> float:
    return float(np.mean(np.abs(found[~np.isnan(found)]) <= quantile))


def test_95_per_cent_intervals_hold_the_truth(ratios: dict[str, Floats]) -> None:
    everything = np.concatenate([*ratios.values()])
    assert everything.size >= 10_000
    assert within(everything, NORMAL_975) >= 0.93


@pytest.mark.parametrize("sensor", SENSORS, ids=lambda sensor: sensor.name)
def test_intervals_of_each_kind_of_sensor_hold_the_truth_and_are_no_wider_than_that(
    ratios: dict[str, Floats], sensor: Sensor
) -> None:
    found = ratios[sensor.name]
    # A window in which a coarse counter did not move has no reading.
    assert np.mean(np.isnan(found)) <= (0.1 if sensor.name in COARSE else 0)
    assert within(found, NORMAL_975) >= 0.93
    assert within(found, NORMAL_75) <= 0.85
    assert np.nanmedian(np.abs(found)) >= 0.2


def test_a_part_time_counter_that_says_it_always_looks_is_too_sure() -> None:
    rng = np.random.default_rng(7)
    drawn = [trace for _ in range(4) for trace in traces(rng, PART_TIME[0], BATCH, 20.0)]
    boasting = [replace(trace, channel=replace(trace.channel, duty=1.0)) for trace in drawn]
    honest, boasted = (within(np.array([ratio(trace) for trace in said]), NORMAL_975) for said in (drawn, boasting))
    assert honest >= 0.93 > boasted


@pytest.mark.parametrize("sensor", PART_TIME, ids=lambda sensor: sensor.name)
def test_a_load_in_step_with_the_sensor_is_not_covered(sensor: Sensor) -> None:
    """docs/measurement.md says so: each look sees the same part of a step, and nothing in the samples tells."""
    rng = np.random.default_rng(8)
    found = np.array([ratio(trace) for _ in range(4) for trace in traces(rng, sensor, BATCH, 20.0, in_step=True)])
    assert 0.6 < within(found, NORMAL_975) < 0.9


@pytest.mark.parametrize("sensor", PART_TIME, ids=lambda sensor: sensor.name)
def test_a_steady_load_keeps_a_narrow_interval(sensor: Sensor) -> None:
    """300 W for 60 s, told by the millijoule or milliwatt by a clock slightly off; the accuracy is left aside."""
    rng = np.random.default_rng(9)
    channel = Channel(
        id="gpu0", meter="nvml", component="gpu0", quantity=sensor.quantity, unit="J", boundary="gpu_board",
        provenance="measured", source="synthetic", update_period_s=0.1, resolution=0.001, duty=0.25,
    )  # fmt: skip
    for times in read_times(rng, 50, 2.0, np.full((50, 1), 60.0)):
        update_s = 0.1 * rng.choice([1.0, 1.0003, 1.003])
        updates = np.floor((times - rng.uniform(0, 0.1)) / update_s)
        values = 300.0 * update_s * updates if sensor.quantity == "energy" else np.full_like(times, 300.0)
        reading = integrate(channel, times.tolist(), values.tolist(), Window(2.0, 62.0, 0.1))
        assert reading.joules == pytest.approx(18_000, rel=0.003)
        assert (reading.uncertainty_joules or 1e9) < 0.003 * 18_000
