"""What a meter that logs by itself says of a run: its log is put on the run's time, checked against it, and integrated."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from edgecarbon.meters import integrate
from edgecarbon.meters.base import Channel, Quantity
from edgecarbon.store import alignment
from edgecarbon.store.walllog import Log, read_log

METER, COMPONENT = "wall_log", "device"
MARGIN_S = 1800.0
"""How much of the log is read before and after the run: what the search reaches, and the nearest rows of a slow one."""
LEAST_COVERAGE = 0.5
"""A log that covers less of a window than this gives no joules, lest it take the place of a meter that saw it all."""

_QUANTITIES: dict[str, tuple[Quantity, str]] = {"joules": ("energy", "J"), "watts": ("power", "W")}
_KEPT_PERIODS = 10
# Whose power a log's is compared with, the closest to the plug first; one that moves slower than the log goes last.
_REFERENCES = ("wall", "battery", "soc", "gpu_board", "cpu_package")
_OTHERS = "others"

Row = dict[str, Any]
Times = Sequence[float]


def add_log(
    record: Mapping[str, Any], samples: Iterable[pa.Table], settings: Mapping[str, Any]
) -> tuple[Row, tuple[list[str], np.ndarray[Any, Any]] | None]:
    """A record with the channels and readings of a log, flagged where the log does not fit.

    Args:
        record: a record of a run that was measured.
        samples: its rows of `samples`.
        settings: the device's `wall_log` with `files`, the paths of the log's parts that there are.

    Returns:
        the record; and the log's channels with its rows from the run, (n, 1 + channels), the first column the run's time
        in s; None where it has none.

    Raises:
        UserError: a file of the log is malformed.
        KeyError, TypeError: the record lacks a field or has a wrong one.
    """
    result = record["result"]
    windows = [
        (one["name"], one["start_s"], one["end_s"]) for one in result["windows"] if one["end_s"] > one["start_s"]
    ]
    started = result.get("started_unix_s")
    if not settings["files"]:
        return _without(record, windows, settings, "there is no such file yet"), None
    if started is None or not windows:
        return _without(record, windows, settings, "the run does not say when it took place"), None
    # The log's clock at the run's time 0, as far as clocks tell.
    device_ahead_s = ((record.get("beside") or {}).get("wall_clock") or {}).get("offset_s", 0.0)
    origin_s = started - device_ahead_s + settings["clock_offset_s"]
    first_s, last_s = min(start for _, start, _ in windows), max(end for _, _, end in windows)
    log = read_log(settings, origin_s + first_s - MARGIN_S, origin_s + last_s + MARGIN_S)
    if log is None:
        return _without(record, windows, settings, "it has no rows from the time of the run"), None
    times = array("d", (t_s - origin_s for t_s in log.times))
    found = _aligned(log, times, windows, [Channel.from_json(one) for one in result["channels"]], samples)
    times = array("d", (t_s - found.shift_s for t_s in times))
    channels = _channels(log, settings, found)
    minimum_s = ((record.get("spec") or {}).get("measurement") or {}).get("minimum_window_s", 60.0)
    readings = [reading for window in windows for reading in _readings(log, times, channels, window, found, minimum_s)]
    margin_s = _KEPT_PERIODS * log.period_s
    kept = [i for i, t_s in enumerate(times) if first_s - margin_s <= t_s <= last_s + margin_s]
    ticks = np.array([[times[i], *(column[i] for column in log.columns.values())] for i in kept])
    added = ([channel.id for channel in channels], ticks) if kept else None
    return _with(record, [channel.to_json() for channel in channels], readings), added


def _with(record: Mapping[str, Any], channels: list[Row], readings: list[Row]) -> Row:
    result = record["result"]
    told = {"channels": [*result["channels"], *channels], "readings": [*result["readings"], *readings]}
    return {**record, "result": {**result, **told}}


def _without(
    record: Mapping[str, Any], windows: Sequence[tuple[str, float, float]], settings: Mapping[str, Any], why: str
) -> Row:
    """The record with readings that say why the log tells nothing."""
    absent = {
        "meter": METER, "component": COMPONENT, "channel": None, "joules": None, "uncertainty_joules": None,
        "provenance": "absent", "boundary": "wall", "source": f"{settings['file']}: {why}", "update_period_s": None,
        "coverage": 0.0, "flags": ["log_partial", "no_data", "partial"],
    }  # fmt: skip
    return _with(record, [], [{"window": name, **absent} for name, _, _ in windows])


def _aligned(
    log: Log,
    times: Times,
    windows: Sequence[tuple[str, float, float]],
    channels: Sequence[Channel],
    samples: Iterable[pa.Table],
) -> alignment.Alignment:
    """How far the log's times are off by what else is known of the run's power: its own meters, its windows."""
    course = (
        alignment.of_power(METER, times, log.columns["watts"], log.period_s)
        if "watts" in log.columns
        else alignment.of_counter(METER, times, log.columns["joules"], log.period_s)
    )
    if course is None:
        return alignment.UNKNOWN
    references = [*_own_power(channels, samples, log.period_s), alignment.of_windows(windows)]
    return alignment.align(course, [one for one in references if one], log.period_s)


def _own_power(channels: Sequence[Channel], samples: Iterable[pa.Table], log_period_s: float) -> list[alignment.Course]:
    """What the device's meters say of its power, each boundary's components in one, and then how busy it was."""
    groups: dict[str, dict[tuple[str, str], Channel]] = {}
    for quantity in ("energy", "power"):
        for one in channels:
            if one.quantity == quantity and one.boundary in _REFERENCES:
                groups.setdefault(one.boundary, {}).setdefault((one.meter, one.component), one)
    slow_s = max(2 * log_period_s, alignment.TOLERANCE_S)
    ordered = sorted(
        groups,
        key=lambda name: (max(one.update_period_s for one in groups[name].values()) > slow_s, _REFERENCES.index(name)),
    )
    busy = [one for one in channels if one.quantity == "utilisation" and one.component != _OTHERS]
    wanted = [one for group in groups.values() for one in group.values()] + busy
    series = _series(samples, [one.id for one in wanted])
    found = []
    for name, members in [*((f"{name} power", list(groups[name].values())) for name in ordered),
                          *((one.id, [one]) for one in busy)]:  # fmt: skip
        courses = [
            (alignment.of_counter if one.quantity == "energy" else alignment.of_power)(
                one.id, *series[one.id], one.update_period_s
            )
            for one in members
        ]
        known = [course for course in courses if course]
        found += [alignment.total_of(known, name)] if known else []
    return found


def _series(samples: Iterable[pa.Table], names: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    """Times and values of the channels, NaN for a failed read."""
    parts: dict[str, list[tuple[Any, Any]]] = {name: [(np.zeros(0), np.zeros(0))] for name in names}
    for table in samples:
        for name in names:
            mine = table.filter(pc.equal(table["channel"], name))
            parts[name].append((mine["t_s"].to_numpy(), mine["value"].cast(pa.float64()).to_numpy()))
    return {
        name: (np.concatenate([t for t, _ in of]), np.concatenate([v for _, v in of])) for name, of in parts.items()
    }


def _channels(log: Log, settings: Mapping[str, Any], found: alignment.Alignment) -> list[Channel]:
    channels = []
    for key in log.columns:
        quantity, unit = _QUANTITIES[key]
        named = settings[key] if settings.get(key) else settings["watt_hours"]
        channels.append(
            Channel(
                id=f"{METER}/{COMPONENT}/{quantity}", meter=METER, component=COMPONENT, quantity=quantity, unit=unit,
                boundary="wall", provenance="measured", source=f"{settings['file']}, column {named}{_words(log, found)}",
                update_period_s=log.period_s, resolution=log.resolutions[key],
                accuracy_relative=settings["accuracy_percent"] / 100 / math.sqrt(3),
            )
        )  # fmt: skip
    return channels


def _words(log: Log, found: alignment.Alignment) -> str:
    """What was found of the log's times, for the source of its figures."""
    unclear = "; its clock was set back, and where it tells a time twice it is left out" if log.unclear else ""
    if found.seen_s is None:
        return f"; its times could not be checked: its power follows nothing that the run tells{unclear}"
    seen = f"{found.seen_s:+.1f} s by {found.reference} (correlation {found.correlation:.2f})"
    if found.shift_s:
        return f"; its times were off by {seen}, which was taken off{unclear}"
    if found.misaligned:
        return f"; its times are off by {seen}, too little to put them right{unclear}"
    return f"; its times fit, {seen}{unclear}"


def _readings(
    log: Log,
    times: Times,
    channels: Sequence[Channel],
    window: tuple[str, float, float],
    found: alignment.Alignment,
    minimum_window_s: float,
) -> list[Row]:
    """The readings of a window, with what its uncertain place in the log adds to their uncertainty."""
    name, start_s, end_s = window

    def moved(by_s: float) -> list[Row]:
        return integrate.readings(
            channels, times, list(log.columns.values()), name, start_s + by_s, end_s + by_s,
            sample_period_s=log.period_s, minimum_window_s=minimum_window_s,
        )  # fmt: skip

    sides = zip(*(moved(by_s) for by_s in (-found.uncertainty_s, 0.0, found.uncertainty_s)), strict=True)
    return [_checked(before, reading, after, found) for before, reading, after in sides]


def _checked(before: Row, reading: Row, after: Row, found: alignment.Alignment) -> Row:
    """A reading with its flags, and with the uncertainty of the log's times: the energy's change when they move by it.

    Changing an input by its standard uncertainty and looking at the result is JCGM 100:2008, 5.1.3, note 2; the larger of
    the two sides counts, because power changes most at the ends of a window.
    """
    flags = {*reading["flags"]}
    if "partial" in flags:
        flags.add("log_partial")
    if found.misaligned:
        flags.add("log_misaligned")
    told = {**reading, "flags": sorted(flags)}
    joules = reading["joules"]
    if joules is None or reading["coverage"] < LEAST_COVERAGE or not found.trusted:
        return {**told, "joules": None, "uncertainty_joules": None}
    moved = [abs(side["joules"] - joules) for side in (before, after) if side["joules"] is not None]
    return {**told, "uncertainty_joules": math.hypot(reading["uncertainty_joules"], max(moved, default=joules))}
