"""A Shelly plug or meter of the second generation or later at the device's socket, asked over HTTP.

The fields are those of the maker's reference, components Switch and PM1: aenergy.total in Wh, apower in W.
"""

from __future__ import annotations

import json
import math
from typing import Any

from edgecarbon.meters.access import Access
from edgecarbon.meters.base import Channel, MeterUnavailable, Options, Quantity, RunsOn

RUNS_ON: RunsOn = "host"
UPDATE_PERIOD_S = 1.0
TIMEOUT_S = 2.0
# A plug that is gone holds up the meters beside it: it is asked again only so much later.
BACK_OFF_S = 5.0
_COMPONENTS = ("Switch", "PM1")
_JOULES_PER_WH = 3600.0
# Energy is printed to 0.001 Wh, power to 0.1 W.
_ENERGY_WH, _POWER_W = 0.001, 0.1

# Quantity, unit, scale, resolution in the unit, where it lies in the answer.
_Field = tuple[Quantity, str, float, float, tuple[str, ...]]
_FIELDS: tuple[_Field, ...] = (
    ("energy", "J", _JOULES_PER_WH, _ENERGY_WH * _JOULES_PER_WH, ("aenergy", "total")),
    ("power", "W", 1.0, _POWER_W, ("apower",)),
    ("voltage", "V", 1.0, 0.1, ("voltage",)),
    ("temperature", "C", 1.0, 0.1, ("temperature", "tC")),
)


class ShellyMeter:
    """Component `wall`. Asked at most once a second, and `BACK_OFF_S` after a poll that failed."""

    name = "shelly"

    def __init__(self, access: Access, url: str, accuracy_relative: float, first: dict[str, Any]) -> None:
        self._access, self._url = access, url
        self._fields = [field for field in _FIELDS if _number(first, field) is not None]
        self._channels = [_channel(field, url, accuracy_relative) for field in self._fields]
        self._values = self._numbers(first)
        self._due_s = access.monotonic() + UPDATE_PERIOD_S

    def channels(self) -> list[Channel]:
        return list(self._channels)

    def read(self) -> list[float | None]:
        if self._access.monotonic() >= self._due_s:
            told = _ask(self._access, self._url)
            self._values = self._numbers(told)
            self._due_s = self._access.monotonic() + (BACK_OFF_S if told is None else UPDATE_PERIOD_S)
        return list(self._values)

    def close(self) -> None:
        self._access.close()

    def _numbers(self, told: dict[str, Any] | None) -> list[float | None]:
        return [None if told is None else _number(told, field) for field in self._fields]


def open_meter(options: Options) -> ShellyMeter:
    wall = options.wall or {}
    if not wall.get("shelly"):
        raise MeterUnavailable("no wall meter is named for this device")
    base, number = str(wall["shelly"]).rstrip("/"), int(wall.get("id", 0))
    # A stated limit of ±a is a/√3.
    accuracy_relative = float(wall.get("accuracy_percent", 5.0)) / 100 / math.sqrt(3)
    answered = False
    for component in _COMPONENTS:
        url = f"{base}/rpc/{component}.GetStatus?id={number}"
        told = _ask(options.access, url)
        answered = answered or told is not None
        if told is not None and _number(told, _FIELDS[0]) is not None:
            return ShellyMeter(options.access, url, accuracy_relative, told)
    if answered:
        raise MeterUnavailable(
            f"{base}: number {number} there switches and does not meter; give the `id` of one that does"
        )
    raise MeterUnavailable(
        f"{base} does not answer /rpc/Switch.GetStatus?id={number} or /rpc/PM1.GetStatus?id={number} within "
        f"{TIMEOUT_S:g} s: open that address in a browser here; the plug must be of generation 2 or later, and its "
        "authentication off"
    )


def _channel(field: _Field, url: str, accuracy_relative: float) -> Channel:
    quantity, unit, _, resolution, path = field
    tells_energy = quantity in ("energy", "power")
    return Channel(
        id=f"shelly/wall/{quantity}", meter="shelly", component="wall", quantity=quantity, unit=unit,
        boundary="wall" if tells_energy else None, provenance="measured", source=f"{url} {'.'.join(path)}",
        update_period_s=UPDATE_PERIOD_S, resolution=resolution,
        accuracy_relative=accuracy_relative if tells_energy else None,
    )  # fmt: skip


def _ask(access: Access, url: str) -> dict[str, Any] | None:
    """The answer where it is a JSON object. A page that asks for a password is none."""
    try:
        told = json.loads(access.get(url, TIMEOUT_S) or "")
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _number(told: dict[str, Any], field: _Field) -> float | None:
    quantity, _, scale, _, path = field
    value: Any = told
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value) * scale
    except OverflowError:
        return None
    return number if math.isfinite(number) and (number >= 0 or quantity != "energy") else None
