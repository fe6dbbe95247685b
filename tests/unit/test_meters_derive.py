"""Scale and sign of a phone's current, from the slope of its charge."""

from __future__ import annotations

import math
import random

import pytest

from edgecarbon.meters.base import Channel, Quantity
from edgecarbon.meters.derive import FLAG, current_scale, with_power
from edgecarbon.meters.integrate import readings

SECONDS = [float(t) for t in range(601)]


def falling(amperes: float, quantum_coulombs: float = 3.6, start_coulombs: float = 10_800.0) -> list[float]:
    """A charge that a gauge shows in whole steps."""
    return [math.floor((start_coulombs - amperes * t) / quantum_coulombs) * quantum_coulombs for t in SECONDS]


@pytest.mark.parametrize(
    ("printed", "expected"),
    [(250.0, 1e-3), (-250.0, -1e-3), (250_000.0, 1e-6), (-250_000.0, -1e-6)],
)
def test_the_slope_tells_scale_and_sign(printed: float, expected: float) -> None:
    assert current_scale(SECONDS, [printed] * 601, falling(0.25)) == expected
    assert current_scale(SECONDS, [-printed] * 601, falling(-0.25)) == expected  # the same source while it is charged


def test_a_current_that_jumps_about_and_reads_that_fail() -> None:
    draw = random.Random(7)
    currents: list[float | None] = [draw.uniform(0, 500) for _ in SECONDS]
    charges: list[float | None] = [*falling(0.25)]
    for i in range(0, 601, 7):
        currents[i], charges[(i + 3) % 601] = None, math.nan
    assert current_scale(SECONDS, currents, charges) == 1e-3


@pytest.mark.parametrize(
    ("currents", "charges"),
    [
        ([250.0] * 601, [10_800.0] * 601),  # the charge never moved
        ([6.0] * 601, [10_800.0] * 300 + [10_796.4] * 301),  # one step is no slope, though it would fit
        ([250.0] * 601, falling(0.75)),  # they contradict each other
        ([7.9] * 601, falling(0.25)),  # neither scale: in between
        ([0.0] * 601, falling(0.25)),
        ([250.0, -250.0] * 300 + [250.0], falling(0.25)),
        ([None] * 601, falling(0.25)),
        ([250.0] * 601, [math.nan] * 601),
    ],
)
def test_what_tells_nothing_gives_none(currents: list[float | None], charges: list[float | None]) -> None:
    assert current_scale(SECONDS, currents, charges) is None


def channel(quantity: Quantity, unit: str, meter: str = "android", boundary: str | None = None) -> Channel:
    return Channel(
        f"{meter}/battery/{quantity}", meter, "battery", quantity, unit, boundary, "measured", quantity, 1.0, 1.0
    )


def battery(unit: str = "uA") -> list[Channel]:
    return [channel("charge", "C"), channel("voltage", "V"), channel("current", unit)]


def test_power_is_added_where_scale_and_sign_are_known() -> None:
    columns: list[list[float | None]] = [[*falling(0.25)], [4.0] * 601, [-250.0] * 601]
    columns[1][5] = None
    channels, told = with_power(battery(), SECONDS, columns)
    assert [one.id for one in channels] == [*(one.id for one in battery()), "android/battery/power"]
    assert (channels[-1].unit, channels[-1].boundary, channels[-1].flags) == ("W", "battery", (FLAG,))
    assert channels[-1].resolution == pytest.approx(0.004)  # 1 mA at 4 V
    assert channels[-1].source == "current × voltage"
    assert told[-1][:7] == [1.0, 1.0, 1.0, 1.0, 1.0, None, 1.0]
    [reading] = readings(channels, SECONDS, told, "run", 0.0, 600.0, sample_period_s=1.0)
    assert reading["joules"] == pytest.approx(600.0)
    assert FLAG in reading["flags"]


def test_a_charging_battery_has_no_power() -> None:
    channels, told = with_power(battery(), SECONDS, [falling(-0.25), [4.0] * 601, [250.0] * 601])
    [reading] = readings(channels, SECONDS, told, "run", 0.0, 600.0, sample_period_s=1.0)
    assert reading["joules"] is None
    assert "charging" in reading["flags"]


def test_amperes_are_taken_at_their_word() -> None:
    told = with_power(battery("A"), SECONDS, [falling(0.25), [4.0] * 601, [-0.25] * 601])[1]
    assert told[-1][0] == pytest.approx(1.0)
    assert len(with_power(battery("A"), SECONDS, [falling(0.25), [4.0] * 601, [250.0] * 601])[0]) == 3


def test_what_lacks_a_part_or_has_a_power_is_left_alone() -> None:
    columns = [falling(0.25), [4.0] * 601, [250.0] * 601]
    assert len(with_power(battery()[:2], SECONDS, columns[:2])[0]) == 2
    own = [*battery(), channel("power", "W", boundary="battery")]
    assert with_power(own, SECONDS, [*columns, [1.0] * 601])[0] == own
    apart = [*battery()[:2], channel("current", "uA", meter="other")]
    assert with_power(apart, SECONDS, columns)[0] == apart
