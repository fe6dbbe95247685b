"""The CSV log of a meter that logs by itself: its rows, in order, by the log's own clock.

Files as meters, plugs and loggers write them: any of three delimiters, a preamble, a header that is repeated where the
logger was started anew, a last line that is still being written, newest first or oldest first.
"""

from __future__ import annotations

import csv
import math
import statistics
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

from edgecarbon.errors import UserError

VALUES = {"watts": 1.0, "watt_hours": 3600.0, "joules": 1.0}
"""Settings that name a column of values, and what makes its unit W or J."""
PREAMBLE_LINES = 50
JITTER_PERIODS = 2.0
"""Rows that are out of order by no more than this are sorted; beyond it the log's clock was set back."""

_ENOUGH_VALUES = 10
_DELIMITERS = (",", ";", "\t")
_NO_READING = {"", "-", "--", "nan", "na", "n/a", "null", "none", "unavailable", "unknown"}
_EARLIEST_UNIX_S, _LATEST_UNIX_S = 1e8, 4.2e9

Row = tuple[float, tuple[float | None, ...]]


@dataclass(frozen=True)
class Log:
    """Rows of a log: times in s since 1970-01-01 UTC by the log's clock, increasing; NaN for a failed reading.

    `columns` holds "watts" in W and "joules", a counter, in J, those that there are; `resolutions` the smallest step of
    each. `period_s` is the median spacing. `unclear` are the stretches that two different series of rows claim, because
    the clock was set back: none is kept.
    """

    times: array[float]
    columns: dict[str, array[float]]
    resolutions: dict[str, float]
    period_s: float
    unclear: tuple[tuple[float, float], ...] = ()


def read_log(settings: Mapping[str, Any], low_unix_s: float, high_unix_s: float) -> Log | None:
    """The rows of a log between two times by its clock; None where it has fewer than two.

    Args:
        settings: `wall_log` of a device, with `files`, the paths of the log's parts.

    Raises:
        UserError: a file cannot be read, or is no such log; with file, line, column and the way out.
    """
    named = [key for key in VALUES if settings.get(key)]
    segments: list[list[Row]] = []
    for file in map(Path, settings["files"]):
        segments += _ascending(list(_rows(file, settings, named, low_unix_s, high_unix_s)))
    steps_s = [b - a for segment in segments for (a, _), (b, _) in pairwise(segment) if b > a]
    if not steps_s:
        return None
    period_s = statistics.median(steps_s)
    rows, unclear = _merged(segments, JITTER_PERIODS * period_s)
    if len(rows) < 2:
        return None
    columns, resolutions = {}, {}
    for i, key in enumerate(named):
        name, told = "watts" if key == "watts" else "joules", [values[i] for _, values in rows]
        columns[name] = array("d", (math.nan if value is None else value * VALUES[key] for value in told))
        resolutions[name] = VALUES[key] * _resolution({*told})
    return Log(array("d", (t_s for t_s, _ in rows)), columns, resolutions, period_s, tuple(unclear))


def _resolution(values: set[float | None]) -> float:
    """The smallest difference of the values; of a few, which may be far apart, the last digit that any of them has."""
    ordered = sorted(value for value in values if value is not None)
    if len(ordered) >= _ENOUGH_VALUES:
        return min(b - a for a, b in pairwise(ordered))
    digits = (len(f"{value:.6f}".rstrip("0").partition(".")[2]) for value in ordered)
    return float(10.0 ** -max(digits, default=0))


def _rows(
    file: Path, settings: Mapping[str, Any], named: Sequence[str], low_unix_s: float, high_unix_s: float
) -> Iterator[Row]:
    """The rows of one file between two times, as they stand; of the others only the time is looked at."""
    lines = _whole_lines(file)
    wanted = [settings["time"], *(settings[key] for key in named)]
    header, delimiter, before = _header(file, lines, wanted)
    if not before:
        return
    places = [header.index(name) for name in wanted]
    reader = csv.reader(lines, delimiter=delimiter)
    zone = settings.get("utc_offset_hours")
    try:
        for cells in reader:
            line = before + reader.line_num
            if not "".join(cells).strip() or cells[0].startswith("#"):
                continue
            if len(cells) <= max(places):
                raise _malformed(file, line, wanted[-1], f"{len(cells)} cells, and the header has {len(header)}")
            told = [cells[place].strip() for place in places]
            if told[0] == wanted[0]:  # the header again
                continue
            try:
                t_s = _unix_s(told[0], delimiter, zone)
            except ValueError as error:
                raise _malformed(file, line, wanted[0], str(error)) from None
            if not low_unix_s <= t_s <= high_unix_s:
                continue
            values = []
            for name, text in zip(wanted[1:], told[1:], strict=True):
                try:
                    values.append(_number(text, delimiter))
                except ValueError:
                    raise _malformed(file, line, name, f"{text[:40]!r} is no number") from None
            yield t_s, tuple(values)
    except csv.Error as error:
        raise UserError(f"{file}: line {before + reader.line_num}: not CSV ({error}). Export the log again.") from None


def _whole_lines(file: Path) -> Iterator[str]:
    """The lines, less a last one without an end: it may be one that is being written, and half a number is a number."""
    try:
        with file.open("rb") as start:
            encoding = "utf-16" if start.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        # Letters of another encoding stand in columns that nobody reads, such as one for °C.
        with file.open(encoding=encoding, errors="replace", newline="") as lines:
            yield from (line for line in lines if line.endswith(("\n", "\r")))
    except (OSError, UnicodeError) as error:
        raise UserError(
            f"{file}: cannot be read ({error}). Check `wall_log.file` and the file's permissions."
        ) from None


def _names(cells: Sequence[str]) -> list[str]:
    return [cell.strip().lstrip("#").strip() for cell in cells]


def _header(file: Path, lines: Iterator[str], wanted: Sequence[str]) -> tuple[list[str], str, int]:
    """The header's names, the delimiter under which it has all that are wanted, and the lines up to it; 0 of none."""
    best: list[str] = []
    number = 0
    for number, line in zip(range(1, PREAMBLE_LINES + 1), lines, strict=False):
        for delimiter in _DELIMITERS:
            names = _names(next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter), []))
            if set(wanted) <= set(names):
                return names, delimiter, number
            best = max(best, names, key=lambda found: (len(set(wanted) & set(found)), len(found)))
    if not number:
        return [], ",", 0
    missing = ", ".join(f"'{name}'" for name in wanted if name not in best)
    found = ", ".join(f"'{name}'" for name in best[:30])
    raise UserError(
        f"{file}: line {number}: no header with the column {missing} up to here. Columns that were found: {found}. "
        "Name the log's columns in the device's `wall_log`."
    )


def _malformed(file: Path, line: int, column: str, what: str) -> UserError:
    return UserError(
        f"{file}: line {line}: column '{column}': {what}. Mend or delete the line, or name the right column in `wall_log`."
    )


def _number(text: str, delimiter: str) -> float | None:
    if text.lower() in _NO_READING:
        return None
    if delimiter == ";" and text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    if "_" in text:  # which Python takes for a digit's neighbour
        raise ValueError
    value = float(text)
    return value if math.isfinite(value) else None


def _unix_s(text: str, delimiter: str, utc_offset_hours: float | None) -> float:
    """Seconds since 1970 from ISO 8601, or from Unix seconds, or thousandths of them down to ns."""
    try:
        value = _number(text, delimiter)
    except ValueError:
        value = None
    if value is not None:
        while value > _LATEST_UNIX_S:
            value /= 1000
        if value < _EARLIEST_UNIX_S:
            raise ValueError(f"{text!r} is no Unix time, neither in seconds nor in thousandths of them")
        return value
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text[:40]!r} is no time that can be read: it takes ISO 8601 (2026-01-31T12:00:00Z), Unix seconds or ms"
        ) from None
    if moment.tzinfo is None:
        if utc_offset_hours is None:
            raise ValueError(f"{text!r} has no time zone: give `wall_log.utc_offset_hours`, or let the meter log UTC")
        moment = moment.replace(tzinfo=timezone(timedelta(hours=utc_offset_hours)))
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()


def _ascending(rows: list[Row]) -> list[list[Row]]:
    """The rows cut where time goes back, after a file with its newest row first was turned round."""
    back = sum(b < a for (a, _), (b, _) in pairwise(rows))
    if 2 * back > sum(b != a for (a, _), (b, _) in pairwise(rows)):
        rows = rows[::-1]
    segments: list[list[Row]] = []
    for row in rows:
        if not segments or row[0] < segments[-1][-1][0]:
            segments.append([])
        segments[-1].append(row)
    return segments


def _merged(segments: list[list[Row]], jitter_s: float) -> tuple[list[Row], list[tuple[float, float]]]:
    """One series of the segments, and the stretches of it in which they contradict each other."""
    merged: list[Row] = []
    unclear: list[tuple[float, float]] = []
    for segment in sorted(segments, key=lambda one: one[0][0]):
        start_s = segment[0][0]
        end_s = min(segment[-1][0], merged[-1][0]) if merged else -math.inf
        first = bisect_left(merged, (start_s,))
        here = [row for row in merged[first:] if row[0] <= end_s]
        there = [row for row in segment if row[0] <= end_s]
        later = [*(row for row in merged[first:] if row[0] > end_s), *segment[len(there) :]]
        if _same(here, there) or end_s - start_s <= jitter_s:
            merged[first:] = [*sorted(dict.fromkeys([*here, *there]), key=lambda row: row[0]), *later]
        else:
            unclear.append((start_s, end_s))
            merged[first:] = later
    return _one_a_time(merged), unclear


def _same(here: list[Row], there: list[Row]) -> bool:
    """Whether two series are one that was written twice: half of the rows have a twin, and no row another value."""
    known = dict(here)
    twins = [(known[t_s], values) for t_s, values in there if t_s in known]
    return 2 * len(twins) >= len(there) and all(a == b for a, b in twins)


def _one_a_time(rows: list[Row]) -> list[Row]:
    """Of rows with one time, which a log in whole seconds may have, the last: right for a counter, fair for power."""
    return [row for row, after in pairwise([*rows, (math.inf, ())]) if after[0] > row[0]]
