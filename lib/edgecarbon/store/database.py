"""Opening the DuckDB file, and reading runs straight from their Parquet files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from edgecarbon.errors import UserError
from edgecarbon.store.schema_runs import RUNS

# DuckDB spills to disk beyond this, so that a build leaves room for what else runs; more of it gains nothing here.
MEMORY_BYTES_AT_MOST = 4 * 2**30
PRESENT = "record_kind <> 'missing'"
"""Which rows of run.parquet files are runs that came about."""


def connect(database: Path, read_only: bool = True) -> duckdb.DuckDBPyConnection:
    """Open the database.

    Raises:
        UserError: there is none, it is open elsewhere for writing, or it is damaged.
    """
    if read_only and not database.exists():
        raise UserError(f"{database}: there is no such database. Start snakemake: it builds it.")
    try:
        connection = duckdb.connect(str(database), read_only=read_only)
    except duckdb.Error as error:
        if is_locked(error):
            raise locked(database, error) from None
        raise UserError(
            f"{database}: cannot be opened ({first_line(error)}). Delete it and start snakemake again: "
            "it is built anew from the Parquet files, nothing measured is in it alone."
        ) from None
    limit_memory(connection)
    return connection


def limit_memory(connection: duckdb.DuckDBPyConnection) -> None:
    """At most half of the machine's memory, and no more than 4 GiB."""
    physical_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit_bytes = min(MEMORY_BYTES_AT_MOST, physical_bytes // 2)
    connection.execute(f"SET memory_limit = '{limit_bytes // 2**20}MiB'")


def is_locked(error: duckdb.Error) -> bool:
    """Whether another process (or another kind of connection in this one) has the file open."""
    return isinstance(error, duckdb.ConnectionException) or "lock on file" in str(error)


def locked(database: Path, error: duckdb.Error) -> UserError:
    return UserError(f"{database}: open in another program ({first_line(error)}). Close it there and start again.")


def first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def read_runs(run_parquet: Sequence[Path]) -> list[dict[str, Any]]:
    """The rows of `runs`, a dictionary of its columns each, by workload, device and repeat, straight from the run.parquet
    files: for rules that come before the database.

    Raises:
        UserError: a file is missing or unreadable.
    """
    return _read(run_parquet, RUNS.select_list)


def read_runs_and_totals(run_parquet: Sequence[Path]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The same rows, and those of `run_totals`: what runs say of their devices beside the headline. Errors as `read_runs`.

    Both at once, since opening so many small files takes longest.
    """
    names = ("window", "boundary", "joules", "provenance", "status", "coverage")
    total = ", ".join(f'"{name}" := total."{name}"' for name in names)
    rows = _read(run_parquet, f"{RUNS.select_list}, [struct_pack({total}) FOR total IN totals] AS totals")
    by_run = {row["run_id"]: row.pop("totals") or () for row in rows}
    return rows, [{"run_id": run_id, **one} for run_id in sorted(by_run) for one in by_run[run_id]]


def _read(run_parquet: Sequence[Path], select_list: str) -> list[dict[str, Any]]:
    if not run_parquet:
        return []
    with duckdb.connect() as connection:
        try:
            rows = f"SELECT {select_list} FROM {scan(run_parquet)} WHERE {PRESENT}"
            return _rows(connection.sql(f"{rows} ORDER BY workload, device, repeat"))
        except duckdb.Error as error:
            raise blame(run_parquet, select_list, error) from None


def scan(files: Sequence[Path]) -> str:
    """A read_parquet call over exactly these files: * and [ in a name are no patterns, = no partition."""
    return f"read_parquet([{', '.join(_literal(file) for file in files)}], hive_partitioning = false)"


def blame(files: Sequence[Path], select_list: str, error: duckdb.Error) -> UserError:
    """The error that names which of the files cannot be read, or the error as it is where each of them can."""
    with duckdb.connect() as connection:
        for file in files:
            try:
                rows = f"SELECT {select_list} FROM {scan([file])}"
                connection.execute(f"SELECT count(COLUMNS(*)) FROM ({rows})").fetchall()
            except duckdb.Error as cause:
                way_out = "Delete it and start snakemake again: it is written anew."
                return UserError(f"{file}: cannot be read ({first_line(cause)}). {way_out}")
    raise error


def _literal(file: Path) -> str:
    pattern = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(file))
    return "'" + pattern.replace("'", "''") + "'"


def _rows(relation: duckdb.DuckDBPyRelation) -> list[dict[str, Any]]:
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
