"""Synthetic loads and the sensors that look at them: traces whose true energy is known.

A load is a power that is constant over steps of a fine grid, so that its energy up to any moment is exact. A sensor looks
at it for a share of each update period, publishes late, is off by a gain within its stated accuracy and quantises; a
recorder reads it about every 0.1 s, late now and then, and some of its reads fail.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecarbon.meters.base import Channel, Quantity
from edgecarbon.meters.integrate import Window

SAMPLE_PERIOD_S = 0.1
# Samples outside the window that the recorder hands over.
MARGIN_S = 1.0
# Periods of a load that a sensor with a look each 0.1 s sees always in the same places.
MULTIPLES_S = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
Floats = NDArray[np.float64]
Rng = np.random.Generator


@dataclass(frozen=True)
class Sensor:
    """What the sensors of a family may be. Pairs are drawn from; `looks` is the share of each update that they see."""

    name: str
    quantity: Quantity
    update_s: tuple[float, float]
    looks: float
    stated_duty: float | None
    resolution: tuple[float, float]
    watts: tuple[float, float]
    delay_s: tuple[float, float] = (0.0, 0.1)
    grid_s: float = 0.005


SENSORS = (
    Sensor("part-time counter", "energy", (0.1, 0.1), 0.25, 0.25, (0.001, 5.0), (50, 700)),
    Sensor("part-time power", "power", (0.1, 0.1), 0.25, 0.25, (0.001, 5.0), (50, 700)),
    Sensor("fast counter", "energy", (0.001, 0.1), 1.0, None, (6e-5, 0.1), (10, 250), (0.0, 0.001)),
    Sensor("plain power", "power", (0.1, 1.0), 0.25, None, (0.001, 1.0), (5, 250)),
    Sensor("average power", "power", (1.0, 1.0), 1.0, 1.0, (0.001, 1.0), (50, 700)),
    Sensor("battery", "energy", (1.0, 30.0), 1.0, None, (5.0, 15.0), (5, 60), (0.0, 1.0), 0.05),
    Sensor("phone", "energy", (1.0, 10.0), 1.0, None, (5.0, 15.0), (2, 12), (0.0, 1.0), 0.05),
)


@dataclass(frozen=True)
class Trace:
    channel: Channel
    times: list[float]
    values: list[float]
    window: Window
    true_joules: float


def by_chance(rng: Rng, count: int, share: float, low: float, high: float) -> Floats:
    """[count, 1]: a size between `low` and `high` for a share of the loads, 0 for the others."""
    return np.where(rng.random((count, 1)) < share, rng.uniform(low, high, (count, 1)), 0.0)


def waves(rng: Rng, t: Floats, period_s: Floats, wander: float) -> Floats:
    """Square waves or saws between 0 and 1, [loads, points]; half of them with a period that wanders."""
    count = len(period_s)
    drift = np.cumsum(rng.standard_normal((count, t.size), np.float32), axis=1) * by_chance(rng, count, 0.5, 0, wander)
    phase = (t / period_s + rng.random((count, 1)) + drift) % 1.0
    return np.where(rng.random((count, 1)) < 0.7, phase < rng.uniform(0.1, 0.9, (count, 1)), phase)


def load(rng: Rng, points: int, grid_s: float, from_s: float, mean_watts: Floats, in_step: bool) -> Floats:
    """Watts of loads, [loads, points]: a base and, by chance, waves, noise, drift, bursts and a start from idle.

    `mean_watts` is [loads]; `from_s` is when the window begins. `in_step`: each has one unwavering wave whose period is
    within 1 % of a simple multiple of 0.1 s, the sensors' own.
    """
    count = len(mean_watts)
    t = np.arange(points) * grid_s
    shape: Floats = np.full((count, points), 1.0)
    if in_step:
        period_s = rng.choice(MULTIPLES_S, (count, 1)) * rng.uniform(0.99, 1.01, (count, 1))
        shape += rng.uniform(0.1, 3.0, (count, 1)) * waves(rng, t, period_s, wander=0.0)
    else:
        for share, shortest_s, longest_s in ((0.8, 0.05, 3.0), (0.3, 3.0, 20.0)):
            height = by_chance(rng, count, share, 0.1, 3.0)
            shape += height * waves(rng, t, column(rng, shortest_s, longest_s, count), wander=0.02)
    shape *= 1 + by_chance(rng, count, 0.7, 0.0, 0.2) * rng.standard_normal((count, points), np.float32)
    # Slow noise: between knots 0.5 s apart, on a line.
    knots = rng.standard_normal((count, int(points * grid_s / 0.5) + 2))
    at, part = np.divmod(t / 0.5, 1.0)
    at = at.astype(int)
    shape *= 1 + by_chance(rng, count, 0.5, 0.0, 0.3) * (knots[:, at] * (1 - part) + knots[:, at + 1] * part)
    shape *= 1 + by_chance(rng, count, 0.5, -0.5, 0.5) * (t / t[-1])
    for _ in range(3):
        since = t - rng.uniform(0, t[-1], (count, 1))
        shape += by_chance(rng, count, 0.2, 0.5, 3.0) * ((since > 0) & (since < rng.uniform(0.1, 2.0, (count, 1))))
    # Idle until the window begins, or a slow rise some time in it.
    at_once = rng.random((count, 1)) < 0.5
    start_s = np.where(at_once, from_s, from_s + rng.uniform(0, 0.3 * (t[-1] - from_s), (count, 1)))
    rise_s = np.where(at_once, 0.01, rng.uniform(0.01, 5.0, (count, 1)))
    shape *= 1 - by_chance(rng, count, 0.4, 0.3, 0.9) * (1 - np.clip((t - start_s) / rise_s, 0, 1))
    np.maximum(shape, 0.05, out=shape)
    return np.asarray(shape * (mean_watts[:, None] / shape.mean(axis=1, keepdims=True)))


def energy_up_to(watts: Floats, grid_s: float) -> Callable[[Floats], Floats]:
    """Joules of each load from the first moment of its grid to each of the times, [count, any]."""
    joules = np.zeros((watts.shape[0], watts.shape[1] + 1))
    np.cumsum(watts * grid_s, axis=1, out=joules[:, 1:])

    def up_to(t_s: Floats) -> Floats:
        at = np.clip((t_s / grid_s).astype(int), 0, watts.shape[1] - 1)
        before = np.take_along_axis(joules, at, axis=1)
        after = np.take_along_axis(joules, at + 1, axis=1)
        return np.asarray(before + (t_s / grid_s - at) * (after - before))

    return up_to


def column(rng: Rng, low: float, high: float, count: int) -> Floats:
    """Values between `low` and `high`, even in their logarithm unless they start at 0, [count, 1]."""
    if low <= 0:
        return rng.uniform(low, high, (count, 1))
    return np.asarray(np.exp(rng.uniform(math.log(low), math.log(high), (count, 1))))


def sensed(rng: Rng, sensor: Sensor, up_to: Callable[[Floats], Floats], update_s: Floats, read_s: Floats) -> Floats:
    """What the sensor, without gain or rounding, shows at `read_s`, [count, reads]."""
    count = len(read_s)
    first_s = update_s * (1 + rng.random((count, 1)))
    delay_s = column(rng, *sensor.delay_s, count) * np.minimum(1, update_s / sensor.delay_s[1])
    latest = np.maximum(np.floor((read_s - delay_s - first_s) / update_s), 0).astype(int)
    if sensor.looks == 1.0:
        seen_s = first_s + latest * update_s
        if sensor.quantity == "energy":
            return up_to(seen_s)
        return (up_to(seen_s) - up_to(seen_s - update_s)) / update_s
    updates_s = first_s + np.arange(latest.max() + 1) * update_s
    look_s = sensor.looks * update_s
    watts = (up_to(updates_s) - up_to(updates_s - look_s)) / look_s
    shown = np.cumsum(watts * update_s, axis=1) if sensor.quantity == "energy" else watts
    return np.take_along_axis(shown, latest, axis=1)


def read_times(rng: Rng, count: int, from_s: float, duration_s: Floats) -> Floats:
    """About every 0.1 s from a second before the window to a second after it, with a mark on most windows' ends."""
    reads = int(duration_s.max() / SAMPLE_PERIOD_S) + 1 + round(2 * MARGIN_S / SAMPLE_PERIOD_S)
    late_s = np.minimum(rng.exponential(column(rng, 1e-4, 5e-3, count), (count, reads)), 0.5 * SAMPLE_PERIOD_S)
    schedule_s = from_s - MARGIN_S + (np.arange(reads) + rng.random((count, 1))) * SAMPLE_PERIOD_S + late_s
    # An end without a mark: the first read of the schedule stands twice, as good as once.
    marks_s = np.concatenate([np.full((count, 1), from_s), from_s + duration_s], axis=1)
    marks_s = np.where(rng.random((count, 1)) < 0.8, marks_s, schedule_s[:, :1])
    return np.sort(np.concatenate([schedule_s, marks_s], axis=1), axis=1)


def traces(rng: Rng, sensor: Sensor, count: int, longest_s: float, in_step: bool = False) -> Iterator[Trace]:
    """`count` traces with windows of half of `longest_s` to all of it, drawn together."""
    from_s = 2.5 * max(sensor.update_s[1], MARGIN_S)
    durations = rng.uniform(longest_s / 2, longest_s, (count, 1))
    low, high = sensor.watts
    mean_watts = column(rng, low, high, count)[:, 0]
    points = int((from_s + longest_s + 2 * MARGIN_S) / sensor.grid_s)
    up_to = energy_up_to(load(rng, points, sensor.grid_s, from_s, mean_watts, in_step), sensor.grid_s)
    true_joules = (up_to(from_s + durations) - up_to(np.full((count, 1), from_s)))[:, 0]
    reads_s = read_times(rng, count, from_s, durations)
    update_s = column(rng, *sensor.update_s, count)
    resolution = column(rng, *sensor.resolution, count)
    accuracy = rng.choice([0.0, 0.001, 0.01, 0.05 / math.sqrt(3)], (count, 1))
    # A stated limit: the gain lies anywhere within it, or, for half of them, it is normal.
    gain = np.where(rng.random((count, 1)) < 0.5, rng.uniform(-1, 1, (count, 1)) * math.sqrt(3),
                    rng.standard_normal((count, 1)))  # fmt: skip
    shown = sensed(rng, sensor, up_to, update_s, reads_s) * (1 + accuracy * gain) / resolution
    # Some sensors round and some cut off.
    values = np.where(rng.random((count, 1)) < 0.5, np.round(shown), np.floor(shown)) * resolution
    failing = rng.choice([0.0, 0.0, 0.002, 0.02], (count, 1))
    values[rng.random(values.shape) < failing] = math.nan
    for i in range(count):
        channel = Channel(
            id=f"{sensor.name}/{i}", meter=sensor.name, component=str(i), quantity=sensor.quantity,
            unit="J" if sensor.quantity == "energy" else "W", boundary=None, provenance="measured", source="synthetic",
            update_period_s=float(update_s[i, 0]), resolution=float(resolution[i, 0]),
            accuracy_relative=float(accuracy[i, 0]) or None, duty=sensor.stated_duty,
        )  # fmt: skip
        end_s = from_s + float(durations[i, 0])
        kept = reads_s[i] <= end_s + MARGIN_S
        yield Trace(
            channel, reads_s[i, kept].tolist(), values[i, kept].tolist(),
            Window(from_s, end_s, SAMPLE_PERIOD_S), float(true_joules[i]),
        )  # fmt: skip
