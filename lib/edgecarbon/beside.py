"""Meters on this host beside a device that runs: a wall meter, a phone's battery; and the device's clock on this host's.

The host's samples are kept in the attempt, in the host's time. The device's events carry the device's time: an event
that has arrived tells that the device's clock is no later than now, and one that answers a word from here that it is no
earlier than that word. What is left between the two is the uncertainty.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgecarbon.dispatch import ASKED_S
from edgecarbon.dispatch.base import EventHandler
from edgecarbon.errors import DeviceTrouble
from edgecarbon.meters import Channel, MeterUnavailable, Options, Recorder, integrate, open_meters, probe
from edgecarbon.meters.derive import with_power
from edgecarbon.meters.samples import read_samples
from edgecarbon.records import write_atomically

SCHEMA = "edgecarbon.host/1"
SAMPLES, FACTS = "host_samples.jsonl.gz", "host.json"
SAMPLE_PERIOD_S = 0.5
PIPE_S = 0.02
"""How late an event of a process on this machine may be heard, s."""


class Clock:
    """What must be added to the device's time to get the host's, from below and from above."""

    def __init__(self, origin_s: float) -> None:
        self._origin_s = origin_s
        self.low_s, self.high_s = -math.inf, math.inf

    def hear(self, event: Mapping[str, Any]) -> None:
        told = event.get("t_s")
        if not isinstance(told, int | float) or not math.isfinite(told):
            return
        self.high_s = min(self.high_s, time.monotonic() - self._origin_s - told)
        asked = event.get(ASKED_S)
        if isinstance(asked, float):
            self.low_s = max(self.low_s, asked - self._origin_s - told)

    def to_json(self, same_machine: bool) -> dict[str, float] | None:
        """Offset and its standard uncertainty; None where nothing bounds it from below."""
        low_s = max(self.low_s, self.high_s - PIPE_S) if same_machine else self.low_s
        if not (math.isfinite(low_s) and math.isfinite(self.high_s)):
            return None
        # Two clocks that drift apart over hours may cross: then the width is their drift.
        return {"offset_s": (low_s + self.high_s) / 2, "uncertainty_s": abs(self.high_s - low_s) / math.sqrt(12)}


def heard_by(clock: Clock | None, shown: EventHandler) -> EventHandler:
    """A handler of a job's events that sets the clock by them before they are shown."""

    def hear(event: dict[str, Any]) -> None:
        if clock:
            clock.hear(event)
        shown(event)

    return hear


@contextmanager
def meters_beside(device: Mapping[str, Any], attempt: Path) -> Iterator[Clock]:
    """Read the host's meters of a device until the context ends; what they say is left in `attempt`.

    Args:
        device: the device's entry.

    Yields:
        the clock, which wants to hear the device's events.

    Raises:
        DeviceTrouble: a meter that the entry names cannot be read (`unfit`).
    """
    origin_s, origin_unix_s = time.monotonic(), time.time()
    clock, absent = Clock(origin_s), dict[str, str]()
    try:
        names, places = host_meters(device)
        meters = open_meters(names, on="host", on_absent=absent.__setitem__, **places) if names else []
    except MeterUnavailable as error:
        raise DeviceTrouble(
            "unfit", f"a meter beside it cannot be read: {error}.", "Mend it, or take it out."
        ) from None
    if not device.get("wall_meter"):
        absent.pop("shelly", None)  # nobody spoke of one
    same_machine = device["transport"] == "local" or device.get("virtual") is not None
    if not meters:
        yield clock
        _write_facts(attempt, origin_unix_s, clock.to_json(same_machine), [], absent)
        return
    recorder = Recorder(meters, SAMPLE_PERIOD_S, origin=origin_s, spool=attempt / SAMPLES)
    try:
        with recorder:
            yield clock
    finally:
        _write_facts(attempt, origin_unix_s, clock.to_json(same_machine), recorder.channels, absent)


def host_meters(device: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """The names of the meters to open on this host for a device, and where they find it."""
    names: list[str] = []
    places: dict[str, Any] = {}
    if device["transport"] == "adb" and device.get("virtual") is None:
        names += device["meters"]
        places["adb"] = ["adb", "-s", device["serial"]]
    if device.get("wall_meter"):
        names.append("shelly")
        places["wall"] = device["wall_meter"]
    return names, places


def probe_beside(device: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What `meters.probe` says of the host's meters that the device's entry asks for; a bundle's are not asked."""
    names, places = host_meters(device)
    wanted = {name for name in names if name != "auto"} | ({"android", "odpm"} if "auto" in names else set())
    return [told for told in probe(Options(**places), on="host") if told["meter"] in wanted] if names else []


def _write_facts(
    attempt: Path,
    origin_unix_s: float,
    clock: dict[str, float] | None,
    channels: list[dict[str, Any]],
    absent: dict[str, str],
) -> None:
    facts = {
        "schema": SCHEMA, "origin_unix_s": origin_unix_s, "clock": clock, "channels": channels,
        "absent": absent, "sample_period_s": SAMPLE_PERIOD_S
    }  # fmt: skip
    write_atomically(attempt / FACTS, json.dumps(facts, indent=1) + "\n")


def with_readings(
    attempt: Path, result: dict[str, Any], minimum_window_s: float
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """A result with what the host's meters told of the run's windows.

    Args:
        attempt: the attempt's folder.
        result: the device's result, whose windows are in the device's time.

    Returns:
        the result with their readings and channels among its own; and, JSON, `clock` (what to add to the device's time
        for the host's), `wall_clock` (the device's wall clock less the host's, s, None where not known) and `absent`
        meters; None where the host was gone before the run's end.
    """
    path = attempt / FACTS
    if not path.exists():
        return result, None
    facts = json.loads(path.read_text(encoding="utf-8"))
    channels, clock = [Channel.from_json(one) for one in facts["channels"]], facts["clock"]
    started, host_unix_s = result.get("started_unix_s"), facts["origin_unix_s"] + (clock or {}).get("offset_s", 0.0)
    told = {
        "clock": clock,
        "wall_clock": None if clock is None or started is None else {"offset_s": started - host_unix_s},
        "absent": facts["absent"],
    }
    if not channels:
        return result, told
    shift_s, unsure_s = (clock["offset_s"], clock["uncertainty_s"]) if clock else (0.0, 0.0)
    times, told_columns = read_samples(attempt / SAMPLES, len(channels))
    channels, columns = with_power(channels, times, told_columns)
    readings = [
        _unsure(reading, window["end_s"] - window["start_s"], unsure_s, known=clock is not None)
        for window in result["windows"]
        if window["end_s"] > window["start_s"]
        for reading in integrate.readings(
            channels, times, columns, window["name"], window["start_s"] + shift_s, window["end_s"] + shift_s,
            sample_period_s=facts["sample_period_s"], minimum_window_s=minimum_window_s,
        )
    ]  # fmt: skip
    joined = {
        "readings": [*result["readings"], *readings], "channels": [*result["channels"], *(one.to_json() for one in channels)]
    }  # fmt: skip
    return {**result, **joined}, told


def _unsure(reading: dict[str, Any], duration_s: float, unsure_s: float, known: bool) -> dict[str, Any]:
    """A reading with its window's uncertain place in time: a window moved by dt gains and loses at most P·dt."""
    if not known:
        flags = sorted({*reading["flags"], "clock_offset_unsure"})
        return {**reading, "joules": None, "uncertainty_joules": None, "coverage": 0.0, "flags": flags}
    if reading["joules"] is None:
        return reading
    moved_joules = reading["joules"] / duration_s * unsure_s
    return {**reading, "uncertainty_joules": math.hypot(reading["uncertainty_joules"], moved_joules)}
