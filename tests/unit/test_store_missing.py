"""Runs that did not come about: told as missing, and in no figure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb
import pytest

import synthetic
from edgecarbon import report
from edgecarbon.charts import CHARTS
from edgecarbon.errors import UserError
from edgecarbon.report import missing, words
from edgecarbon.store import build_database, connect, read_runs
from edgecarbon.store.parquet import write_run_parquet
from edgecarbon.store.views import VIEWS

PRESENT = ["synthetic-opt/synthetic-gpu/r1", "synthetic-opt/synthetic-gpu/r2", "synthetic-opt/synthetic-phone/r1"]
AWAY = ["synthetic-opt/synthetic-phone/r2", "synthetic-opt/synthetic-tablet/r1", "synthetic-opt/synthetic-tablet/r2"]


def write_missing(root: Path, run_id: str, **facts: str) -> Path:
    paths = synthetic.parquet_paths(root / "parquet", run_id)
    write_run_parquet(synthetic.missing_record(run_id, **facts), None, paths)
    return paths["run"]


def figures(database: Path) -> dict[str, list[Any]]:
    """Every row of every view and of the runs, as text."""
    with connect(database) as connection:
        names = ["runs", "readings", "samples", *(view.name for view in VIEWS)]
        return {name: sorted(map(str, connection.execute(f"SELECT * FROM {name}").fetchall())) for name in names}


def test_missing_runs_change_no_figure(tmp_path: Path) -> None:
    present = [synthetic.write_run(tmp_path, synthetic.record(run_id)) for run_id in PRESENT]
    away = [write_missing(tmp_path, run_id) for run_id in AWAY]
    build_database(tmp_path / "without.duckdb", present)
    build_database(tmp_path / "with.duckdb", [*present, *away])
    assert figures(tmp_path / "with.duckdb") == figures(tmp_path / "without.duckdb")
    assert [row["run_id"] for row in read_runs([*present, *away])] == PRESENT
    with connect(tmp_path / "with.duckdb") as connection:
        rows = connection.execute("SELECT run_id, kind, reason, remedy FROM missing_runs ORDER BY 1").fetchall()
    assert rows == [(run_id, "unreachable", "it was away.", "Switch it on.") for run_id in AWAY]


def test_a_run_moves_from_missing_to_measured_and_back(tmp_path: Path) -> None:
    run_id, database = AWAY[0], tmp_path / "x.duckdb"

    def where() -> tuple[int, int]:
        with connect(database) as connection:
            counts = [
                connection.execute(f"SELECT count(*) FROM {table}").fetchone() for table in ("runs", "missing_runs")
            ]
        return counts[0][0], counts[1][0]

    build_database(database, [write_missing(tmp_path, run_id)])
    assert where() == (0, 1)
    build_database(database, [synthetic.write_run(tmp_path, synthetic.record(run_id))])
    assert where() == (1, 0)
    build_database(database, [write_missing(tmp_path, run_id)])
    assert where() == (0, 1)
    build_database(database, [])
    assert where() == (0, 0)


def test_page_and_charts_of_an_experiment_of_which_nothing_came(tmp_path: Path) -> None:
    database = tmp_path / "x.duckdb"
    build_database(database, [write_missing(tmp_path, run_id) for run_id in AWAY])
    with connect(database) as connection:
        report.build(connection, tmp_path / "report.html")
        for entry in CHARTS.values():
            entry.draw(connection).to_dict()
    page = (tmp_path / "report.html").read_text()
    assert "Not all that was asked for was measured." in page
    assert re.search(r"<strong>synthetic-tablet</strong>: 2 of 2 runs of synthetic-opt\s+are missing", page)


def test_a_devices_own_words_are_bounded_and_escaped(tmp_path: Path) -> None:
    database = tmp_path / "x.duckdb"
    reason = "<script>alert(1)</script>\x1b[2J\n\u202e" + "x" * 5000
    build_database(database, [write_missing(tmp_path, AWAY[0], kind="refused", reason=reason)])
    with connect(database) as connection:
        (row,) = missing.reasons(connection)
        report.build(connection, tmp_path / "report.html")
    assert len(row["reason"]) == words.MOST_LETTERS + 1
    assert not set(row["reason"]) & set("\x1b\n\u202e")
    assert "<script>alert" not in (tmp_path / "report.html").read_text()


def test_half_a_character_in_a_devices_words_stops_nothing(tmp_path: Path) -> None:
    database = tmp_path / "x.duckdb"
    build_database(database, [write_missing(tmp_path, AWAY[0], reason="it said \ud800.")])
    with connect(database) as connection:
        assert connection.execute("SELECT reason FROM missing_runs").fetchall() == [("it said ?.",)]


def test_a_device_adds_no_row_to_what_is_missing(tmp_path: Path) -> None:
    record = synthetic.record(PRESENT[0])
    record["result"]["training"]["missing"] = [{"run_id": "other", "kind": "lost", "reason": "planted"}]
    build_database(tmp_path / "x.duckdb", [synthetic.write_run(tmp_path, record)])
    with connect(tmp_path / "x.duckdb") as connection:
        assert connection.execute("SELECT count(*) FROM missing_runs").fetchone() == (0,)


@pytest.mark.parametrize("lost", ["run_id", "device", "missing"])
def test_a_missing_record_without_a_field_is_told(tmp_path: Path, lost: str) -> None:
    record = synthetic.missing_record(AWAY[0])
    del record[lost]
    with pytest.raises(UserError, match="missing or of the wrong type"):
        write_run_parquet(record, None, synthetic.parquet_paths(tmp_path, AWAY[0]))


def test_what_is_missing_is_read_by_the_documented_name(tmp_path: Path) -> None:
    database = tmp_path / "x.duckdb"
    build_database(database, [write_missing(tmp_path, AWAY[0])])
    with duckdb.connect(str(database), read_only=True) as connection:
        assert connection.execute("SELECT device, count(*) FROM missing_runs GROUP BY device").fetchall() == [
            ("synthetic-phone", 1)
        ]
