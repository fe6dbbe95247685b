"""What follows from a run's samples, as columns: its thermal story, and the flags that rest on it."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from edgecarbon.meters import heat
from edgecarbon.meters.base import Channel
from edgecarbon.store.headline import headline_channels

Row = dict[str, Any]
_ALWAYS = ("temperature", "frequency", "throttle", "utilisation")


def story_columns(record: Mapping[str, Any], steps: Path, samples: Path) -> Row:
    """The nested columns `heat` and `throttled` of run.parquet, and the `flags` that they bring.

    Args:
        record: a record of a run that was measured.
        steps, samples: its steps.parquet and samples.parquet.

    Raises:
        KeyError, TypeError: the record lacks a field or has a wrong one.
    """
    result = record["result"]
    windows = {window["name"]: (window["start_s"], window["end_s"]) for window in result["windows"]}
    counted = headline_channels(result)
    channels = [Channel.from_json(channel) for channel in result["channels"]]
    metered = {(one.meter, one.component) for one in channels if one.id in counted}
    channels = [one for one in channels if one.quantity in _ALWAYS or (one.meter, one.component) in metered]
    told = heat.tell(_series(channels, samples), windows, _steps(steps), counted)
    length_s = windows["train"][1] - windows["train"][0]
    copied = [name for name in heat.Heat.__dataclass_fields__ if name not in ("before", "after", "stretches", "flags")]
    row = {name: getattr(told, name) for name in copied}
    row["throttled_relative"] = None if told.throttled_s is None else told.throttled_s / length_s
    for side, part in (("before", told.before), ("after", told.after)):
        row[f"{side}_joules_per_token"] = part.joules if part else None
        row[f"{side}_uncertainty_joules"] = part.uncertainty_joules if part else None
    return {"heat": [row], "throttled": [one._asdict() for one in told.stretches], "flags": list(told.flags)}


def _series(channels: list[Channel], samples: Path) -> list[heat.Series]:
    """The samples of the channels, as flat arrays: a day of them as lists would be many times larger."""
    numbers = {channel.id: number for number, channel in enumerate(channels)}
    times, values = ([array("d") for _ in channels] for _ in range(2))
    file = pq.ParquetFile(samples, read_dictionary=["channel"])
    for batch in file.iter_batches(columns=["t_s", "channel", "value"]):
        names = batch.column("channel")
        known = np.array([numbers.get(name, -1) for name in names.dictionary.to_pylist()], dtype=np.int64)
        which = known[names.indices.to_numpy()] if len(known) else known
        t_s = batch.column("t_s").to_numpy()
        value = batch.column("value").cast(pa.float64()).to_numpy(zero_copy_only=False)  # NULL becomes NaN
        for number in np.unique(which[which >= 0]):
            mine = which == number
            times[number].frombytes(t_s[mine].tobytes())
            values[number].frombytes(value[mine].tobytes())
    return [heat.Series(*parts) for parts in zip(channels, times, values, strict=True)]


def _steps(steps: Path) -> list[heat.Step]:
    table = pq.read_table(steps, columns=["phase", "start_s", "duration_s", "tokens"])
    rows = sorted((row for row in table.to_pylist() if row["phase"] == "train"), key=lambda row: row["start_s"])
    return [heat.Step(row["start_s"], row["start_s"] + row["duration_s"], row["tokens"]) for row in rows]
