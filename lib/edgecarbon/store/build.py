"""One DuckDB file from many Parquet files: only what changed is read, and a build may be killed at any moment."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

from edgecarbon.errors import UserError
from edgecarbon.store.database import PRESENT, blame, first_line, is_locked, limit_memory, locked, scan
from edgecarbon.store.parquet import FILES
from edgecarbon.store.schema import SCENARIO_TABLES, TABLES, fingerprint
from edgecarbon.store.schema_fleets import FLEET_TABLES, SCALING_TABLES
from edgecarbon.store.schema_jobs import PUBLISHED_TABLES
from edgecarbon.store.schema_runs import NESTED, READINGS, RUN_TABLES, RUNS, SAMPLES, STEPS
from edgecarbon.store.schema_validation import VALIDATION_TABLES
from edgecarbon.store.table import Table
from edgecarbon.store.views import VIEW_SQL, VIEWS, comments, student_t_rows

# What is read from a directory: its tables, the column that says whose rows they are, and how that follows from its path.
FOLDERS: dict[str, tuple[tuple[Table, ...], str, Callable[[Path], str]]] = {
    "scenario": (SCENARIO_TABLES, "scenario", lambda place: place.name),
    "fleet": (FLEET_TABLES, "fleet_work", lambda place: f"{place.parent.name}/{place.name}"),
    "scaling": (SCALING_TABLES, "workload", lambda place: place.name),
    "validation": (VALIDATION_TABLES, "device", lambda place: place.name),
    "published": (PUBLISHED_TABLES, "collection", lambda place: place.name),
}
OWNED = {"run": (RUN_TABLES, "run_id"), **{kind: (tables, column) for kind, (tables, column, _) in FOLDERS.items()}}

# A transaction's worth: large enough that its cost vanishes, small enough that a killed build loses little.
BATCH_RUNS = 500
BATCH_BYTES = 64 * 2**20


@dataclass(frozen=True)
class BuildCounts:
    """What a build did: runs and scenarios read from Parquet, kept as they were, and removed."""

    runs_read: int
    runs_kept: int
    runs_removed: int
    scenarios_read: int
    scenarios_kept: int
    scenarios_removed: int


@dataclass(frozen=True)
class _Source:
    """The Parquet files of one run, or of what has a directory (`FOLDERS`). `place` is its run.parquet, or the directory."""

    kind: str
    place: Path
    files: tuple[Path, ...]

    @property
    def identity(self) -> tuple[str, str]:
        return self.kind, str(self.place)

    def stamp(self) -> tuple[str, int]:
        """Size and modification time of each file as one text, and the sum of the sizes in bytes."""
        parts, total_bytes = [], 0
        for file in self.files:
            try:
                status = os.stat(file)
            except OSError as error:
                way_out = "Start snakemake again: it writes it."
                raise UserError(f"{file}: cannot be read ({error.strerror}). {way_out}") from None
            parts.append(f"{status.st_size}:{status.st_mtime_ns}")
            total_bytes += status.st_size
        return " ".join(parts), total_bytes

    def content_sha256(self) -> str:
        digest = hashlib.sha256()
        for path in self.files:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


@dataclass(frozen=True)
class _Change:
    """A source that is new or has other content than the database."""

    source: _Source
    stamp: str
    total_bytes: int
    content_sha256: str


def build_database(
    database: Path,
    run_parquet: Sequence[Path],
    carbon_dirs: Sequence[Path] = (),
    fleet_dirs: Sequence[Path] = (),
    scaling_dirs: Sequence[Path] = (),
    validation_dirs: Sequence[Path] = (),
    published_dirs: Sequence[Path] = (),
) -> BuildCounts:
    """Bring the database in line with the Parquet files: exactly these runs and scenarios, reading only what changed.

    Everything happens in transactions: a build that is killed leaves a database that the next one carries on from. One
    that is damaged or has other tables is built anew from the Parquet files, with a note on stderr.

    Args:
        run_parquet: the run.parquet of each run, with its readings, steps and samples.parquet beside it.
        carbon_dirs: a directory a scenario, named after it, with the Parquet file of each of `SCENARIO_TABLES`.
        fleet_dirs: a directory WORKLOAD/FLEET a fleet, with fleet_runs, fleet_members and fleet_spans.parquet.
        scaling_dirs: a directory a workload with a scaling study, with fleet_scaling.parquet.
        validation_dirs: a directory a device whose meters were tested, named after it, with meter_validation.parquet.
        published_dirs: a directory a collection of published jobs, named after it, with published_jobs.parquet.

    Raises:
        UserError: a Parquet file is missing or unreadable, two belong to one run, or the database is open elsewhere.
    """
    sources = [_Source("run", path, tuple(path.with_name(f"{name}.parquet") for name in FILES)) for path in run_parquet]
    places_of = {
        "scenario": carbon_dirs, "fleet": fleet_dirs, "scaling": scaling_dirs, "validation": validation_dirs,
        "published": published_dirs,
    }  # fmt: skip
    for kind, places in places_of.items():
        names = [f"{table.name}.parquet" for table in FOLDERS[kind][0]]
        sources += [_Source(kind, path, tuple(path / name for name in names)) for path in places]
    database.parent.mkdir(parents=True, exist_ok=True)
    existed = database.exists()
    try:
        with _open(database) as connection:
            return _Build(connection).run(sources)
    except duckdb.Error as error:
        if not existed or _lacks_room(error):
            way_out = "Make room on the disk or in memory and start again: the build carries on."
            raise UserError(f"{database}: cannot be built ({first_line(error)}). {way_out}") from None
        _discard(database, f"is damaged ({first_line(error)})")
    return build_database(database, run_parquet, carbon_dirs, fleet_dirs, scaling_dirs, validation_dirs, published_dirs)


def _open(database: Path) -> duckdb.DuckDBPyConnection:
    """Open the database for writing, with this version's tables in it."""
    if not database.exists():
        _write_ahead_log(database).unlink(missing_ok=True)  # what a deleted database left behind
    try:
        connection = duckdb.connect(str(database))
    except duckdb.Error as error:
        if is_locked(error):
            raise locked(database, error) from None
        raise
    found = _found_fingerprint(connection)
    if found not in (None, fingerprint()):
        connection.close()
        _discard(database, "has the tables of another version")
        return _open(database)
    limit_memory(connection)
    connection.execute("SET preserve_insertion_order = false")
    if found is None:
        _create_tables(connection)
    return connection


def _found_fingerprint(connection: duckdb.DuckDBPyConnection) -> str | None:
    """The version of the tables; None for an empty database."""
    tables = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if not tables:
        return None
    if "schema_version" not in tables:
        return ""
    row = connection.execute("SELECT fingerprint FROM schema_version").fetchone()
    return str(row[0]) if row else ""


def _create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    with _transaction(connection):
        for table in TABLES:
            connection.execute(table.ddl())
        connection.execute("INSERT INTO schema_version VALUES (?)", [fingerprint()])
        connection.executemany("INSERT INTO student_t VALUES (?, ?)", student_t_rows())


def _lacks_room(error: duckdb.Error) -> bool:
    """Whether the machine is at fault and not the database, which must then be kept."""
    return isinstance(error, duckdb.OutOfMemoryException) or "Could not write" in str(error)


def _discard(database: Path, reason: str) -> None:
    try:
        database.unlink()
        _write_ahead_log(database).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{database}: {reason}, and cannot be deleted ({error.strerror}). Delete it by hand.") from None
    print(f"{database}: {reason}; it is built anew from the Parquet files.", file=sys.stderr)


def _write_ahead_log(database: Path) -> Path:
    return database.with_name(database.name + ".wal")


class _Build:
    """One build over an open connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        rows = connection.execute("SELECT kind, path, key, stamp, content_sha256 FROM ingested").fetchall()
        self.ingested = {(kind, path): (key, stamp, content) for kind, path, key, stamp, content in rows}

    def run(self, sources: Sequence[_Source]) -> BuildCounts:
        changes = self._compare(sources)
        wanted = {source.identity for source in sources}
        gone = [identity for identity in self.ingested if identity not in wanted]
        with _transaction(self.connection):
            self._forget(gone)
        for batch in _batches([change for change in changes if change.source.kind == "run"]):
            with _transaction(self.connection):
                self._read_runs(batch)
        for change in changes:
            if change.source.kind in FOLDERS:
                with _transaction(self.connection):
                    self._read_folder(change)
        self._describe()
        return _counts(sources, changes, gone)

    def _compare(self, sources: Sequence[_Source]) -> list[_Change]:
        """The sources to read. One that was only touched is not among them; its new stamp is noted."""
        changes, touched = [], []
        for source in dict.fromkeys(sources):
            stamp, total_bytes = source.stamp()
            _, known_stamp, known_content = self.ingested.get(source.identity, (None, None, None))
            if stamp == known_stamp:
                continue
            content = source.content_sha256()
            if content == known_content:
                touched.append((stamp, *source.identity))
            else:
                changes.append(_Change(source, stamp, total_bytes, content))
        with _transaction(self.connection):
            self.connection.execute(
                "UPDATE ingested SET stamp = touched.stamp "
                "FROM (SELECT unnest($1) AS stamp, unnest($2) AS kind, unnest($3) AS path) touched "
                "WHERE ingested.kind = touched.kind AND ingested.path = touched.path",
                [[row[column] for row in touched] for column in range(3)],
            )
        return changes

    def _forget(self, identities: Sequence[tuple[str, str]]) -> None:
        """Delete what the database has of these sources, where it has anything."""
        for kind, (tables, column) in OWNED.items():
            known = [identity for identity in identities if identity[0] == kind and identity in self.ingested]
            keys = [self.ingested[identity][0] for identity in known]
            if not keys:
                continue
            for table in tables:
                self.connection.execute(f"DELETE FROM {table.name} WHERE {column} IN (SELECT unnest(?))", [keys])
            self.connection.execute("DELETE FROM ingested WHERE kind = ? AND key IN (SELECT unnest(?))", [kind, keys])

    def _read_runs(self, batch: Sequence[_Change]) -> None:
        places = [change.source.place for change in batch]
        self._forget([change.source.identity for change in batch])
        # Thousands of small files: each is opened once, its run and what is nested in it are then taken from memory.
        columns = f"{RUNS.select_list}, {', '.join(NESTED)}, filename"
        self._execute(f"CREATE OR REPLACE TEMP TABLE batch AS SELECT {columns} FROM {scan(places)}", places, columns)
        self.connection.execute(f"INSERT INTO runs SELECT {RUNS.select_list} FROM batch WHERE {PRESENT}")
        for column, table in NESTED.items():
            rest = ", ".join(f'row."{name}"' for name in table.column_names[1:])
            rows = f"SELECT run_id, unnest({column}) AS row FROM batch"
            self.connection.execute(f"INSERT INTO {table.name} SELECT run_id, {rest} FROM ({rows})")
        for table in (READINGS, STEPS, SAMPLES):
            self._insert(table, [place.with_name(f"{table.name}.parquet") for place in places])
        found = self.connection.execute("SELECT filename, run_id FROM batch").fetchall()
        keys: dict[str, str] = dict(found)
        if not len(found) == len(keys) == len(batch):
            raise UserError(f"{places[0]} and following: expected one row a file. Delete them, start snakemake again.")
        self._note(batch, [keys[str(place)] for place in places])
        self._refuse_twins()

    def _read_folder(self, change: _Change) -> None:
        self._forget([change.source.identity])
        tables, column, name_of = FOLDERS[change.source.kind]
        name = name_of(change.source.place)
        for table, file in zip(tables, change.source.files, strict=True):
            self._insert(table, [file])
            others = f"SELECT {column} FROM {scan([file])} WHERE {column} IS DISTINCT FROM ?"
            stray = self.connection.execute(others, [name]).fetchone()
            if stray:
                raise UserError(f"{file}: {column}: expected '{name}', as the directory is named, found '{stray[0]}'.")
        self._note([change], [name])
        self._refuse_twins()

    def _note(self, changes: Sequence[_Change], keys: Sequence[str]) -> None:
        """Remember what was read, in the transaction that read it."""
        columns = [
            [change.source.kind for change in changes],
            list(keys),
            [str(change.source.place) for change in changes],
            [change.stamp for change in changes],
            [change.content_sha256 for change in changes],
        ]
        rows = ", ".join(f"unnest(${number})" for number in range(1, 6))
        self.connection.execute(f"INSERT INTO ingested SELECT {rows}", columns)

    def _refuse_twins(self) -> None:
        twins = self.connection.execute(
            "SELECT key, list_sort(list(path)) FROM ingested GROUP BY kind, key HAVING count(*) > 1"
        ).fetchone()
        if twins:
            first, second, *_ = twins[1]
            raise UserError(f"{first} and {second}: both are of {twins[0]}. Leave out the one that is not wanted.")

    def _insert(self, table: Table, files: Sequence[Path]) -> None:
        select = f"SELECT {table.select_list} FROM {scan(files)}"
        self._execute(f"INSERT INTO {table.name} {select}", files, table.select_list)

    def _execute(self, statement: str, files: Sequence[Path], select_list: str) -> None:
        """Run a statement that reads files. If one of them is at fault, the error names it."""
        try:
            self.connection.execute(statement)
        except duckdb.Error as error:
            raise blame(files, select_list, error) from None

    def _describe(self) -> None:
        """Views and comments are written by every build, so that they are always this version's."""
        with _transaction(self.connection):
            for view in VIEWS:
                self.connection.execute(f"CREATE OR REPLACE VIEW {view.name} AS {VIEW_SQL[view.name]}")
            for table in (*TABLES, *VIEWS):
                for statement in comments(table):
                    self.connection.execute(statement)
        self.connection.execute("CHECKPOINT")


@contextmanager
def _transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    connection.execute("BEGIN")
    try:
        yield
    except BaseException:
        # After some errors DuckDB has rolled back by itself, and says so when asked again.
        with suppress(duckdb.Error):
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _batches(changes: Sequence[_Change]) -> Iterator[list[_Change]]:
    batch: list[_Change] = []
    batch_bytes = 0
    for change in changes:
        if batch and (len(batch) == BATCH_RUNS or batch_bytes + change.total_bytes > BATCH_BYTES):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(change)
        batch_bytes += change.total_bytes
    if batch:
        yield batch


def _counts(sources: Sequence[_Source], changes: Sequence[_Change], gone: Sequence[tuple[str, str]]) -> BuildCounts:
    counts = {}
    for kind in ("run", "scenario"):
        read = sum(change.source.kind == kind for change in changes)
        counts[f"{kind}s_read"] = read
        counts[f"{kind}s_kept"] = len({source for source in sources if source.kind == kind}) - read
        counts[f"{kind}s_removed"] = sum(gone_kind == kind for gone_kind, _ in gone)
    return BuildCounts(**counts)
