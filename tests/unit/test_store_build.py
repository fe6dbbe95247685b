"""The incremental build: what is read, kept and removed; and what a kill, damage or another version leaves behind."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import synthetic
from edgecarbon.errors import UserError
from edgecarbon.store import BuildCounts, build_database, connect, read_runs
from edgecarbon.store.schema import SCENARIO_TABLES, TABLES
from edgecarbon.store.schema_runs import RUN_TABLES
from edgecarbon.store.schema_scenarios import CARBON

RUN_IDS = [f"synthetic-opt/synthetic-{device}/r{repeat}" for device in ("gpu", "phone") for repeat in (1, 2)]


def make_runs(root: Path) -> list[Path]:
    return [synthetic.write_run(root, synthetic.record(run_id)) for run_id in RUN_IDS]


def counts(read: int, kept: int, removed: int, scenarios: tuple[int, int, int] = (0, 0, 0)) -> BuildCounts:
    return BuildCounts(read, kept, removed, *scenarios)


def contents(database: Path) -> dict[str, Any]:
    """Number of rows and a hash of all rows of every table, whatever their order."""
    with connect(database) as connection:
        return {
            table.name: connection.execute(f"SELECT count(*), bit_xor(hash({table.name})) FROM {table.name}").fetchone()
            for table in TABLES
        }


def count(database: Path, table: str) -> int:
    with connect(database) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])


def test_nothing_changed_reads_nothing(tmp_path: Path) -> None:
    paths, database = make_runs(tmp_path), tmp_path / "x.duckdb"
    assert build_database(database, paths) == counts(4, 0, 0)
    before = contents(database)
    assert build_database(database, paths) == counts(0, 4, 0)
    assert contents(database) == before
    assert before["samples"][0] == 4 * 30 * len(synthetic.NAMES)
    assert before["channels"][0] == 4 * len(synthetic.NAMES)
    assert before["windows"][0] == 4 * 3
    assert before["steps"][0] == 4 * 10


def test_a_touched_or_rewritten_file_of_same_content_is_kept(tmp_path: Path) -> None:
    paths, database = make_runs(tmp_path), tmp_path / "x.duckdb"
    build_database(database, paths)
    os.utime(paths[0], (1, 1))
    make_runs(tmp_path)
    assert build_database(database, paths) == counts(0, 4, 0)
    with connect(database) as connection:
        stamps = connection.execute("SELECT stamp FROM ingested WHERE path = ?", [str(paths[0])]).fetchall()
    assert str(paths[0].stat().st_mtime_ns) in stamps[0][0]  # so that the next build need not hash it again


@pytest.mark.parametrize("changed", ["record", "samples"])
def test_one_changed_run_is_read_alone(tmp_path: Path, changed: str) -> None:
    paths, database = make_runs(tmp_path), tmp_path / "x.duckdb"
    build_database(database, paths)
    if changed == "record":
        synthetic.write_run(tmp_path, synthetic.record(RUN_IDS[1], duration_s=50.0))
    else:
        synthetic.write_run(tmp_path, synthetic.record(RUN_IDS[1]), synthetic.ticks(7).tolist())
    assert build_database(database, paths) == counts(1, 3, 0)
    build_database(tmp_path / "clean.duckdb", paths)
    assert contents(database) == contents(tmp_path / "clean.duckdb")


def test_runs_that_left_the_list_leave_every_table(tmp_path: Path) -> None:
    paths, database = make_runs(tmp_path), tmp_path / "x.duckdb"
    build_database(database, paths)
    assert build_database(database, paths[1:]) == counts(0, 3, 1)
    with connect(database) as connection:
        for table in RUN_TABLES:
            rows = connection.execute(f"SELECT DISTINCT run_id FROM {table.name} ORDER BY 1").fetchall()
            expected = RUN_IDS[1:] if table.name != "missing_runs" else []
            assert [run_id for (run_id,) in rows] == expected, table.name
    assert build_database(database, []) == counts(0, 0, 3)
    assert count(database, "samples") == 0
    assert build_database(database, paths) == counts(4, 0, 0)


def test_a_run_may_move(tmp_path: Path) -> None:
    paths, database = make_runs(tmp_path), tmp_path / "x.duckdb"
    build_database(database, paths)
    moved = tmp_path / "elsewhere"
    paths[0].parent.rename(moved)
    assert build_database(database, [moved / "run.parquet", *paths[1:]]) == counts(1, 3, 1)
    assert [row["run_id"] for row in synthetic.stored_runs(database)] == RUN_IDS


def test_one_run_from_two_places_is_refused(tmp_path: Path) -> None:
    first, second = (synthetic.write_run(tmp_path / name, synthetic.record()) for name in ("a", "b"))
    with pytest.raises(UserError, match=rf"{first} and {second}: both are of {synthetic.record()['run_id']}"):
        build_database(tmp_path / "x.duckdb", [first, second])


def test_the_same_path_twice_counts_once(tmp_path: Path) -> None:
    path = synthetic.write_run(tmp_path, synthetic.record())
    assert build_database(tmp_path / "x.duckdb", [path, path]) == counts(1, 0, 0)
    assert count(tmp_path / "x.duckdb", "runs") == 1


def test_scenarios_are_replaced_one_by_one(tmp_path: Path) -> None:
    paths, database = make_runs(tmp_path), tmp_path / "x.duckdb"
    rows = read_runs(paths)
    folders = [synthetic.write_scenario(tmp_path / "carbon", name, rows) for name in ("first", "second")]
    assert build_database(database, paths, folders) == counts(4, 0, 0, (2, 0, 0))
    assert count(database, "carbon") == 2 * 4 * 4
    synthetic.write_scenario(tmp_path / "carbon", "second", rows, grams=6.0)
    assert build_database(database, paths, folders) == counts(0, 4, 0, (1, 1, 0))
    with connect(database) as connection:
        totals = connection.execute("SELECT DISTINCT scenario, total_grams FROM carbon ORDER BY 1").fetchall()
        kind = connection.execute("SELECT typeof(flips), flips FROM verdicts LIMIT 1").fetchall()
    assert totals == [("first", 8.0), ("second", 9.0)]
    assert kind == [("BOOLEAN", True)]
    assert build_database(database, paths, folders[:1]) == counts(0, 4, 0, (0, 1, 1))
    for table in SCENARIO_TABLES:
        assert count(database, table.name) in (0, 1, 16)


def test_scenario_of_another_name_than_its_directory_is_refused(tmp_path: Path) -> None:
    folder = synthetic.write_scenario(tmp_path, "first", [])
    folder.rename(tmp_path / "second")
    with pytest.raises(UserError, match=r"second/verdicts\.parquet: scenario: expected 'second'.*found 'first'"):
        build_database(tmp_path / "x.duckdb", [], [tmp_path / "second"])
    assert count(tmp_path / "x.duckdb", "carbon") == 0


def test_scenario_that_lacks_a_column_is_named(tmp_path: Path) -> None:
    folder = synthetic.write_scenario(tmp_path, "first", [])
    pq.write_table(pa.table({"scenario": ["first"]}), folder / "carbon.parquet")
    with pytest.raises(UserError, match=r"carbon\.parquet: cannot be read .*run_id"):
        build_database(tmp_path / "x.duckdb", [], [folder])


def test_unreadable_parquet_is_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    paths, database = make_runs(tmp_path), tmp_path / "x.duckdb"
    build_database(database, paths[:2])
    bad = paths[2].with_name("samples.parquet")
    whole = bad.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=rf"^{bad}: cannot be read.*written anew"):
        build_database(database, paths)
    assert [row["run_id"] for row in synthetic.stored_runs(database)] == RUN_IDS[:2]
    bad.write_bytes(whole)
    assert build_database(database, paths) == counts(2, 2, 0)


def test_missing_parquet_is_named(tmp_path: Path) -> None:
    paths = make_runs(tmp_path)
    paths[3].with_name("steps.parquet").unlink()
    with pytest.raises(UserError, match=r"r2/steps\.parquet: cannot be read \(No such file"):
        build_database(tmp_path / "x.duckdb", paths)


@pytest.mark.parametrize("damage", ["empty", "text", "half", "header", "log"])
def test_damaged_database_is_built_anew(tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    paths, database = make_runs(tmp_path), tmp_path / "x.duckdb"
    build_database(database, paths)
    before, whole = contents(database), database.read_bytes()
    if damage == "log":
        database.with_name("x.duckdb.wal").write_bytes(b"\x07" * 5000)
    else:
        half, header = whole[: len(whole) // 2], b"\0" * 9000 + whole[9000:]
        damaged = {"empty": b"", "text": b"no database" * 999, "half": half, "header": header}
        database.write_bytes(damaged[damage])
    built = build_database(database, paths)
    assert contents(database) == before
    if damage in ("text", "half", "header"):
        assert built == counts(4, 0, 0)
        assert f"{database}: is damaged" in capsys.readouterr().err


def test_damage_that_shows_only_inside_the_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths, database = make_runs(tmp_path), tmp_path / "x.duckdb"
    build_database(database, paths)
    before = contents(database)
    with duckdb.connect(str(database)) as connection:
        connection.execute("ALTER TABLE samples RENAME TO lost")
    synthetic.write_run(tmp_path, synthetic.record(RUN_IDS[0], duration_s=50.0))
    synthetic.write_run(tmp_path, synthetic.record(RUN_IDS[0]), synthetic.ticks(3).tolist())
    assert build_database(database, paths) == counts(4, 0, 0)
    assert "is built anew" in capsys.readouterr().err
    assert contents(database)["readings"] == before["readings"]


def test_database_of_another_version_is_built_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths, database = make_runs(tmp_path), tmp_path / "x.duckdb"
    build_database(database, paths)
    before = contents(database)
    with duckdb.connect(str(database)) as connection:
        connection.execute("UPDATE schema_version SET fingerprint = 'older'")
    assert build_database(database, paths) == counts(4, 0, 0)
    assert "has the tables of another version; it is built anew" in capsys.readouterr().err
    assert contents(database) == before


def test_foreign_database_is_built_anew(tmp_path: Path) -> None:
    database = tmp_path / "x.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE TABLE mine (a INTEGER)")
    assert build_database(database, make_runs(tmp_path)) == counts(4, 0, 0)


FULL_DISK = """
import resource, sys
from pathlib import Path
from edgecarbon.store import build_database

root = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (2**23, 2**23))
build_database(root / "x.duckdb", sorted(root.glob("parquet/**/run.parquet")))
"""


def test_full_disk_keeps_what_was_built(tmp_path: Path) -> None:
    """A file that may not grow beyond 8 MB stands in for the disk."""
    paths, database = sorted(synthetic.bulk(tmp_path / "parquet", 20, 4_000_000)), tmp_path / "x.duckdb"
    build_database(database, paths[:2])
    run = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True)
    assert "UserError" in run.stderr.splitlines()[-1]
    assert "cannot be built" in run.stderr
    assert "Make room" in run.stderr
    assert build_database(database, paths) == counts(18, 2, 0)


def test_path_that_cannot_be_a_database_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be deleted \(Is a directory\)"):
        build_database(tmp_path, [])


def test_database_open_elsewhere_is_left_alone(tmp_path: Path) -> None:
    paths, database = make_runs(tmp_path), tmp_path / "x.duckdb"
    build_database(database, paths)
    holder = f"import duckdb, sys; c = duckdb.connect({str(database)!r}); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(UserError, match=r"open in another program.*PID"):
            build_database(database, paths)
        with pytest.raises(UserError, match="open in another program"):
            connect(database)
        process.kill()
    assert build_database(database, paths) == counts(0, 4, 0)


def test_connect_is_read_only_and_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such database"):
        connect(tmp_path / "none.duckdb")
    build_database(tmp_path / "x.duckdb", [])
    with connect(tmp_path / "x.duckdb") as connection, pytest.raises(duckdb.Error, match="read-only"):
        connection.execute("DELETE FROM runs")
    (tmp_path / "bad.duckdb").write_bytes(b"no database" * 99)
    with pytest.raises(UserError, match=r"bad\.duckdb: cannot be opened .*Delete it"):
        connect(tmp_path / "bad.duckdb")


def test_runs_are_the_same_from_parquet_and_from_the_database(tmp_path: Path) -> None:
    paths = make_runs(tmp_path)
    build_database(tmp_path / "x.duckdb", paths)
    assert synthetic.stored_runs(tmp_path / "x.duckdb") == read_runs(paths[::-1])


def test_carbon_of_several_scenarios_survives_the_removal_of_a_run(tmp_path: Path) -> None:
    """Carbon rows belong to their scenario, whose rule writes them anew when the runs change."""
    paths, database = make_runs(tmp_path), tmp_path / "x.duckdb"
    folder = synthetic.write_scenario(tmp_path / "carbon", "first", read_runs(paths))
    build_database(database, paths, [folder])
    build_database(database, paths[1:], [synthetic.write_scenario(tmp_path / "carbon", "first", read_runs(paths[1:]))])
    assert count(database, CARBON.name) == 3 * 4


BUILD = """
import sys
from pathlib import Path
from edgecarbon.store import build

build.BATCH_RUNS = 4
read_runs = build._Build._read_runs

def tell(self, batch):
    read_runs(self, batch)
    print("batch", flush=True)

build._Build._read_runs = tell
root = Path(sys.argv[1])
print("start", flush=True)
build.build_database(root / "x.duckdb", sorted(root.glob("parquet/**/run.parquet")), sorted(root.glob("carbon/*")))
"""


def test_killed_build_is_carried_on(tmp_path: Path) -> None:
    """SIGKILL a real build again and again, whatever it is doing; the one that is let be ends as a clean build does."""
    paths = sorted(synthetic.bulk(tmp_path / "parquet", 200, 200_000))
    folder = synthetic.write_scenario(tmp_path / "carbon", "first", read_runs(paths[:3]))
    build_database(tmp_path / "clean.duckdb", paths, [folder])
    database, done = tmp_path / "x.duckdb", [0]
    randomness = random.Random(5)
    for lines in (1, 1, 3, 4, 2, 8, 5):
        with subprocess.Popen([sys.executable, "-c", BUILD, str(tmp_path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(lines):
                assert process.stdout.readline(), "the build ended before it was killed"
            time.sleep(randomness.uniform(0.0, 0.03))
            process.kill()
        if lines > 2:
            with connect(database) as connection:
                done.append(connection.execute("SELECT count(*) FROM ingested").fetchall()[0][0])
    assert done == sorted(set(done)), "a killed build lost what an earlier one had finished"
    assert 0 < done[-1] < len(paths)
    built = build_database(database, paths, [folder])
    assert (built.runs_kept, built.runs_read) == (done[-1], len(paths) - done[-1])
    assert contents(database) == contents(tmp_path / "clean.duckdb")
