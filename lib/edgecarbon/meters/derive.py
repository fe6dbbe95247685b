"""The power of a battery whose current is told in a unit and with a sign that nobody vouches for.

The Android documentation asks for µA, negative while discharging; phones print mA too, and either sign. The slope of
the charge, whose unit is not in doubt, settles both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from edgecarbon.meters.base import Channel

FLAG = "current_scale_inferred"
# A charge that moved by fewer of its own steps has no slope to speak of.
_FEWEST_STEPS = 3
# Current and slope must agree within this factor; the scales to choose from are 1000 apart.
_AGREE = 2.0
_SCALES = {"A": (1.0,), "uA": (1e-6, 1e-3)}

_Column = Sequence[float | None]


def current_scale(
    times: Sequence[float], currents: _Column, charges: _Column, scales: Sequence[float] = (1e-6, 1e-3)
) -> float | None:
    """What a printed current is to be multiplied by to give amperes that flow out of the battery.

    Args:
        times: seconds, increasing.
        currents: as printed; None or NaN for a failed read.
        charges: what is left in the battery, C; None or NaN for a failed read.
        scales: amperes that one printed unit may be.

    Returns:
        one of `scales`, negative where the source counts a discharge as negative; None where the charge hardly moved,
        or no scale fits within a factor of two.
    """
    points = [
        (t, current, charge)
        for t, current, charge in zip(times, currents, charges, strict=True)
        if current is not None and charge is not None and math.isfinite(current) and math.isfinite(charge)
    ]
    if len(points) < 2 or points[-1][0] <= points[0][0]:
        return None
    steps = [abs(b - a) for (_, _, a), (_, _, b) in pairwise(points) if b != a]
    drawn_coulombs = points[0][2] - points[-1][2]
    if not steps or abs(drawn_coulombs) < _FEWEST_STEPS * min(steps):
        return None
    printed = math.fsum((u - t) * (a + b) / 2 for (t, a, _), (u, b, _) in pairwise(points))
    if printed == 0:
        return None
    fitting = [one for one in scales if 1 / _AGREE <= abs(drawn_coulombs / printed) / one <= _AGREE]
    return math.copysign(fitting[0], drawn_coulombs / printed) if fitting else None


def with_power(
    channels: Sequence[Channel], times: Sequence[float], columns: Sequence[_Column]
) -> tuple[list[Channel], list[_Column]]:
    """The channels and columns, with a power for each component that tells charge, current and voltage and no power.

    Power is voltage × current out of the battery, W: negative while it is charged, which the integrator flags. It is
    added where `current_scale` could tell scale and sign; current in "A" is in doubt about its sign only.
    """
    out, filled = list(channels), list(columns)
    places: dict[tuple[str, str], dict[str, int]] = {}
    for i, channel in enumerate(channels):
        places.setdefault((channel.meter, channel.component), {}).setdefault(channel.quantity, i)
    for (meter, component), at in places.items():
        if "power" in at or not {"charge", "current", "voltage"} <= at.keys():
            continue
        current, voltage = channels[at["current"]], channels[at["voltage"]]
        amperes, volts = columns[at["current"]], columns[at["voltage"]]
        scale = current_scale(times, amperes, columns[at["charge"]], _SCALES.get(current.unit, ()))
        if scale is None:
            continue
        watts = [None if i is None or v is None else scale * i * v for i, v in zip(amperes, volts, strict=True)]
        known = [v for v in volts if v is not None and math.isfinite(v)]
        power = replace(
            current, id=f"{meter}/{component}/power", quantity="power", unit="W", boundary="battery",
            source=f"{current.source} × {voltage.source}",
            resolution=abs(scale) * current.resolution * max(known, default=1.0), flags=(*current.flags, FLAG),
        )  # fmt: skip
        out.append(power)
        filled.append(watts)
    return out, filled
