"""A trace of all that a machine told its meters, made for a bug report, and the meters run again from it."""

from __future__ import annotations

import json
import os
import platform
import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgecarbon.meters import integrate
from edgecarbon.meters.access import SCHEMA, Access, Recording, Replayed
from edgecarbon.meters.base import Channel, RunsOn
from edgecarbon.meters.derive import with_power
from edgecarbon.meters.factory import open_meters


@dataclass(frozen=True)
class Trace:
    """A trace file: what was recorded where, and every question with its answer."""

    header: dict[str, Any]
    entries: list[dict[str, Any]]


@dataclass(frozen=True)
class Replay:
    """What the meters said: `columns[i]` are the values of `channels[i]` at `times`; `absent` tells which did not open."""

    channels: list[Channel]
    times: array[float]
    columns: list[list[float | None]]
    absent: dict[str, str]
    sample_period_s: float

    def readings(self) -> list[dict[str, Any]]:
        """Energy from the first sample to the last, as JSON; none where there are fewer than two samples."""
        if len(self.times) < 2:
            return []
        channels, columns = with_power(self.channels, self.times, self.columns)
        return integrate.readings(
            channels, self.times, columns, "trace", self.times[0], self.times[-1],
            sample_period_s=self.sample_period_s,
        )  # fmt: skip


def record(
    path: str | os.PathLike[str],
    seconds: float,
    names: Sequence[str] = ("auto",),
    *,
    sample_period_s: float = 0.1,
    estimate: Mapping[str, Any] | None = None,
    on: RunsOn = "device",
    access: Access | None = None,
    **places: Any,
) -> None:
    """Open meters, read them for `seconds`, and write to `path` every answer that they were given.

    Args:
        places: other fields of `Options`.

    Raises:
        ValueError: an unknown meter, or a named one that cannot run here. The trace then tells why.
    """
    origin_s = time.monotonic()
    told = {key: value for key, value in {"estimate": estimate, **places}.items() if value is not None}
    header = {
        "schema": SCHEMA, "system": platform.platform(), "python": platform.python_version(),
        "started_unix_s": time.time(), "sample_period_s": sample_period_s, "meters": list(names), "on": on,
        "options": told,
    }  # fmt: skip
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps(header) + "\n")
        recording = Recording(file, origin_s, access)
        meters = open_meters(names, estimate, on=on, access=recording, **places)
        try:
            start_s, count = time.monotonic(), max(1, round(seconds / sample_period_s))
            for i in range(count + 1):
                time.sleep(max(0.0, start_s + i * sample_period_s - time.monotonic()))
                recording.tick()
                for meter in meters:
                    meter.read()
        finally:
            for meter in meters:
                meter.close()


def read_trace(path: str | os.PathLike[str]) -> Trace:
    """Raises ValueError, naming the line, for a file that is no trace."""
    lines = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                lines.append(json.loads(line))
                if not isinstance(lines[-1], dict) or (number > 1 and "t_s" not in lines[-1]):
                    raise ValueError
            except ValueError:
                raise ValueError(f"{path}: line {number}: not a line of a trace") from None
    if not lines or lines[0].get("schema") != SCHEMA:
        raise ValueError(f"{path}: line 1: expected schema {SCHEMA}")
    return Trace(lines[0], lines[1:])


def replay(trace: Trace, names: Sequence[str] | None = None) -> Replay:
    """Run the trace's meters, or those called `names`, on its answers, at the moments at which they were read.

    Raises ValueError as `open_meters` does.
    """
    header, replayed, absent = trace.header, Replayed(trace.entries), dict[str, str]()
    ticks, period_s = replayed.ticks, float(header.get("sample_period_s", 0.1))
    # A tick's answers came just after it, before the next one; those of opening, before the first.
    just = 1e-7
    replayed.now_s = ticks[0] - just if ticks else 0.0
    meters = open_meters(
        names or header.get("meters", ["auto"]), on=header.get("on", "device"), on_absent=absent.__setitem__,
        access=replayed, **header.get("options", {}),
    )  # fmt: skip
    channels = [channel for meter in meters for channel in meter.channels()]
    columns: list[list[float | None]] = [[] for _ in channels]
    for i, tick_s in enumerate(ticks):
        replayed.now_s = (ticks[i + 1] if i + 1 < len(ticks) else tick_s + period_s) - just
        values = [value for meter in meters for value in meter.read()]
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    for meter in meters:
        meter.close()
    return Replay(channels, array("d", ticks), columns, absent, period_s)
