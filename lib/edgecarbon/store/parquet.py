"""One record and its attempt's files to Parquet: run, readings, steps and samples, with explicit schemas."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from edgecarbon.beside import SAMPLES as SAMPLES_BESIDE
from edgecarbon.errors import UserError
from edgecarbon.meters.samples import SCHEMA, SamplesDamaged, read_lines
from edgecarbon.records import RECORD_SCHEMA, file_sha256
from edgecarbon.store.headline import headline_columns, totals_rows
from edgecarbon.store.outside import add_log
from edgecarbon.store.schema import run_schema
from edgecarbon.store.schema_runs import READINGS, RUNS, SAMPLES, STEPS
from edgecarbon.store.story import story_columns

FILES = ("run", "readings", "steps", "samples")
TICKS_AT_ONCE = 20_000
BYTES_AT_ONCE = 2 * 2**20
"""Of lines, which a device may have made long."""
MOST_NAME_LETTERS = 200
MOST_LETTERS = 2000
"""Of why a run is missing, which may be its device's own words."""

# A run's files hold a few rows each and are read by the thousand: without statistics and the Arrow schema they are a
# third as large. Of the samples only the two repeating columns gain from a dictionary.
WRITE_OPTIONS: dict[str, Any] = {
    "compression": "zstd",
    "store_schema": False,
    "write_statistics": False,
    "use_dictionary": ["run_id", "channel"],
}


def write_run_parquet(
    record: Mapping[str, Any],
    attempt_dir: Path | None,
    outputs: Mapping[str, Path],
    wall_log: Mapping[str, Any] | None = None,
) -> None:
    """Write a run's four Parquet files; each appears whole or not at all, run.parquet last.

    Args:
        record: content of record.json.
        attempt_dir: directory of the attempt that the record is from; None for a modelled, shipped or missing record, which has
            no steps and no samples (their files are then empty).
        outputs: the path of each of run, readings, steps, samples.
        wall_log: the device's `wall_log` with `files`, the paths of the log's parts that there are; None where it has none.

    Raises:
        UserError: the record lacks a field or has one of the wrong type; a file of the attempt is missing or is not the
            one that was recorded; a file of the log is malformed.
    """
    name = str(record.get("run_id"))
    run, readings = run_table(record), readings_table(record)
    steps = _attempt_file(record, attempt_dir, "steps.jsonl")
    _write(outputs["steps"], STEPS.arrow_schema(), steps_tables(steps, name) if steps else iter(()))
    samples = _attempt_file(record, attempt_dir, "samples.jsonl.gz")
    added = list(_beside_tables(record, attempt_dir, name))
    if wall_log and samples:
        record, told = add_log(record, itertools.chain(samples_tables(samples, name), added), wall_log)
        readings = readings_table(record)
        added += [samples_table(name, pa.array(told[0]), told[1])] if told else []
    rows = itertools.chain(samples_tables(samples, name) if samples else (), added)
    _write(outputs["samples"], SAMPLES.arrow_schema(), rows)
    _write(outputs["readings"], readings.schema, iter([readings]))
    if steps and samples:
        run = run_table(record, (outputs["steps"], outputs["samples"]))
    # Last, because a run.parquet stands for a whole set.
    _write(outputs["run"], run.schema, iter([run]))


def with_log(record: Mapping[str, Any], attempt_dir: Path, wall_log: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """A measured record with what the log of its device's external meter tells, for where its samples do not go.

    Arguments and errors as of `write_run_parquet`.
    """
    samples = _attempt_file(record, attempt_dir, "samples.jsonl.gz") if wall_log else None
    if not wall_log or not samples:
        return record
    name = str(record.get("run_id"))
    rows = itertools.chain(samples_tables(samples, name), _beside_tables(record, attempt_dir, name))
    return add_log(record, rows, wall_log)[0]


def run_table(record: Mapping[str, Any], written: tuple[Path, Path] | None = None) -> pa.Table:
    """The one row of run.parquet: the columns of `runs`, and the run's rows of other tables nested.

    Args:
        record: content of record.json.
        written: the run's steps.parquet and samples.parquet; without them nothing is said that rests on samples.

    Raises:
        UserError: a field is missing or of the wrong type.
    """
    name = f"record of {record.get('run_id')}"
    if record.get("schema") != RECORD_SCHEMA:
        raise UserError(f"{name}: schema: expected {RECORD_SCHEMA}, found {record.get('schema')!r}.")
    if record.get("missing") is not None:
        return _table([_missing_row(record, name)], run_schema(), name)
    try:
        row = {**_run_columns(record), **headline_columns(record)}
        result = record["result"]
        row["windows"] = result["windows"]
        row["channels"] = [{**channel, "channel": channel["id"]} for channel in result["channels"]]
        row["totals"] = totals_rows(record)
        if written:
            story = story_columns(record, *written)
            row |= {**story, "flags": sorted({*row["flags"], *story["flags"]})}
    except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise UserError(f"{name}: a field is missing or of the wrong type ({type(error).__name__}: {error}).") from None
    return _table([row], run_schema(), name)


def readings_table(record: Mapping[str, Any]) -> pa.Table:
    """Rows of `readings`, as the record has them. Errors as `run_table`."""
    readings = record["result"]["readings"] if record.get("missing") is None else []
    rows = [{**reading, "run_id": record["run_id"]} for reading in readings]
    return _table(rows, READINGS.arrow_schema(), f"record of {record['run_id']}")


def _missing_row(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Who a missing run is, and why it is missing."""
    try:
        who = {key: record[key] for key in ("run_id", "workload", "device", "repeat", "role")}
        missing = record["missing"]
        why = {"kind": missing["kind"], "reason": _words(missing["reason"]), "remedy": _words(missing.get("remedy"))}
        told = {"told_unix_s": missing["unix_s"], "record_sha256": record["content_sha256"]}
        return {**who, "record_kind": "missing", "missing": [{**who, **why, **told}]}
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{name}: a field is missing or of the wrong type ({type(error).__name__}: {error}).") from None


def _words(text: str | None) -> str | None:
    """Text that may be a device's, bounded, and without the halves of characters that JSON lets pass and UTF-8 not."""
    return None if text is None else text[:MOST_LETTERS].encode("utf-8", "replace").decode("utf-8")


def _run_columns(record: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of `runs` that are copied from the record. A modelled one has no spec, data or attempt."""
    result = record["result"]
    facts = result.get("device_facts") or {}
    accelerator = facts.get("accelerator") or {}
    training = result["training"]
    data = record.get("data") or {}
    model = ((record.get("spec") or {}).get("model") or {}).get("name") or training.get("model")
    columns = {column: training[column] for column in RUNS.column_names if column in training}
    return {
        **columns,
        **{key: record[key] for key in ("run_id", "workload", "device", "repeat", "role")},
        "record_kind": record["provenance"],
        "tokens": training["tokens"],
        "duration_s": training["duration_s"],
        "model": model,
        "accelerator": accelerator.get("name") or accelerator.get("kind"),
        "cpu_model": facts.get("cpu_model"),
        "started_unix_s": result.get("started_unix_s"),
        "attempt": record.get("attempt"),
        "dataset": data.get("dataset"),
        "dataset_epochs": data.get("epochs"),
        "tokenizer": data.get("tokenizer"),
        "shipped": record.get("shipped") is not None,
        "condition_celsius": (record.get("condition") or {}).get("hottest_celsius"),
        "virtual_host": bool(((record.get("spec") or {}).get("device") or {}).get("virtual")),
        "python_version": (result.get("versions") or {}).get("python"),
        "torch_version": (result.get("versions") or {}).get("torch"),
        "record_sha256": record["content_sha256"],
    }


def _table(rows: list[dict[str, Any]], schema: pa.Schema, name: str) -> pa.Table:
    """A table with exactly the schema's columns: other keys of a row are left out, missing ones become NULL."""
    columns = []
    for field in schema:
        try:
            columns.append(pa.array([row.get(field.name) for row in rows], type=field.type))
        except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError, OverflowError) as error:
            raise UserError(f"{name}: {field.name}: {error}") from None
    return pa.Table.from_arrays(columns, schema=schema)


def _attempt_file(record: Mapping[str, Any], attempt_dir: Path | None, name: str) -> Path | None:
    """An attempt's file after its hash was checked; None for a record without an attempt."""
    if attempt_dir is None:
        return None
    path = attempt_dir / name
    way_out = (
        f"Put the file back from a copy, or delete the record of {record['run_id']} and start snakemake again: "
        "that run is then measured anew."
    )
    facts = record.get("attempt_files", {}).get(name)
    if facts is None:
        raise UserError(f"{path}: the record of {record['run_id']} does not list this file. {way_out}")
    try:
        found = file_sha256(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}). {way_out}") from None
    if found != facts["sha256"]:
        raise UserError(f"{path}: not the file that was recorded (its SHA-256 differs). {way_out}")
    return path


def steps_tables(path: Path, run_id: str) -> Iterator[pa.Table]:
    """Rows of `steps` from steps.jsonl."""
    with path.open("rb") as file:
        for first, lines in _chunks(file, 1):
            rows = _parse(lines, path, first)
            if not all(isinstance(row, dict) for row in rows):
                raise UserError(f"{path}: line {first} and following: expected one JSON object a line.")
            yield _table([{**row, "run_id": run_id} for row in rows], STEPS.arrow_schema(), str(path))


def _beside_tables(record: Mapping[str, Any], attempt_dir: Path | None, run_id: str) -> Iterator[pa.Table]:
    """Rows of `samples` from the meters on the host, put on the device's time; none where that is not known."""
    clock = (record.get("beside") or {}).get("clock")
    if clock and SAMPLES_BESIDE in record["attempt_files"]:
        path = _attempt_file(record, attempt_dir, SAMPLES_BESIDE)
        if path:
            yield from samples_tables(path, run_id, earlier_s=clock["offset_s"])


def samples_tables(path: Path, run_id: str, earlier_s: float = 0.0) -> Iterator[pa.Table]:
    """Rows of `samples` from a file that has a tick a line: time, then a value a channel.

    Args:
        earlier_s: taken off each time.
    """
    lines = _sample_lines(path, run_id)
    channels = _channels(_parse([next(lines, b"null")], path, 1)[0], path)
    for first, chunk in _chunks(lines, 2):
        try:
            ticks = np.array(_parse(chunk, path, first), dtype=float)  # null becomes NaN
            if ticks.shape != (len(chunk), len(channels) + 1) or not np.isfinite(ticks[:, 0]).all():
                raise ValueError
        except (ValueError, TypeError, OverflowError):
            message = f"expected a time and {len(channels)} numbers or nulls a line"
            raise UserError(f"{path}: line {first} and following: {message}.") from None
        ticks[:, 0] -= earlier_s
        yield samples_table(run_id, channels, ticks)


def _sample_lines(path: Path, run_id: str) -> Iterator[bytes]:
    try:
        yield from read_lines(path)
    except SamplesDamaged as error:
        way_out = f"Delete the record of {run_id} and start snakemake again: that run is then measured anew."
        raise UserError(f"{path}: {error}. {way_out}") from None


def _channels(header: Any, path: Path) -> pa.Array:
    """The channels' names, from the first line."""
    if not isinstance(header, dict) or header.get("schema") != SCHEMA:
        raise UserError(f"{path}: line 1: expected schema {SCHEMA}.")
    names = header.get("channels")
    if not isinstance(names, list) or not all(
        isinstance(name, str) and name.isprintable() and len(name) <= MOST_NAME_LETTERS for name in names
    ):
        raise UserError(f"{path}: line 1: channels: expected names of at most {MOST_NAME_LETTERS} letters.")
    return pa.array(names, pa.string())


def samples_table(run_id: str, channels: pa.Array, ticks: np.ndarray[Any, Any]) -> pa.Table:
    """Long form of (ticks, 1 + channels) values, the first column time in seconds; NaN becomes NULL."""
    count, width = ticks.shape[0], len(channels)
    values = ticks[:, 1:].ravel()
    which = np.tile(np.arange(width, dtype=np.int32), count)
    columns = [
        # Dictionaries: neither the run id nor a channel's name is repeated in memory.
        pa.DictionaryArray.from_arrays(pa.array(np.zeros(values.size, np.int32)), pa.array([run_id])).cast(pa.string()),
        pa.array(np.repeat(ticks[:, 0], width)),
        pa.DictionaryArray.from_arrays(pa.array(which), channels).cast(pa.string()),
        pa.array(values, mask=~np.isfinite(values)),
    ]
    return pa.Table.from_arrays(columns, schema=SAMPLES.arrow_schema())


def _chunks(lines: Iterable[bytes], first: int) -> Iterator[tuple[int, list[bytes]]]:
    """The number of the first line, and the lines, some ten thousand at once: a day of samples fits no small memory."""
    chunk, size = list[bytes](), 0
    for line in lines:
        chunk.append(line)
        size += len(line)
        if len(chunk) >= TICKS_AT_ONCE or size >= BYTES_AT_ONCE:
            yield first, chunk
            first, chunk, size = first + len(chunk), [], 0
    if chunk:
        yield first, chunk


def _parse(lines: list[bytes], path: Path, first: int) -> list[Any]:
    try:
        rows: list[Any] = json.loads(b"[" + b",".join(lines) + b"]")
    except (ValueError, RecursionError):
        raise UserError(f"{path}: line {first} and following: not one JSON value a line.") from None
    if len(rows) != len(lines):
        raise UserError(f"{path}: line {first} and following: more than one JSON value in a line.")
    return rows


def _write(path: Path, schema: pa.Schema, tables: Iterator[pa.Table]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with pq.ParquetWriter(partial, schema, **WRITE_OPTIONS) as writer:
            for table in tables:
                writer.write_table(table)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
