"""The ten queries of docs/queries.md run, find something, and give the columns that the page names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

import report_database

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "queries.md").read_text(encoding="utf-8")
QUERIES = re.findall(
    r"^### \d+\. ([^\n]+)\n\n(.+?)\n\n```sql\n(.+?)```\n\nColumns: (.+?)\n(?:\n|$)",
    PAGE + "\n",
    re.DOTALL | re.MULTILINE,
)


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    path = report_database.build(tmp_path_factory.mktemp("queries") / "d.duckdb", repeats=2)
    with duckdb.connect(str(path)) as connection:
        report_database.insert_named(
            connection, "missing_runs", run_id="opt-125m/laptop/r1", workload="opt-125m", device="laptop", repeat=1,
            role="edge", kind="unreachable", reason="no route to host", remedy="switch it on",
        )  # fmt: skip
        report_database.insert_named(
            connection, "break_even", scenario="unpriced", workload="opt-125m", cloud_device="h200",
            edge_device="laptop", attribution="sunk", energy_ratio=2.0,
        )  # fmt: skip
        yield connection


def test_there_are_ten_and_each_says_what_it_is_for() -> None:
    assert len(QUERIES) == 10
    assert PAGE.count("```sql") == 10, "one that the pattern above does not see"
    assert all(title.endswith("?") and sentence.endswith(".") for title, sentence, *_ in QUERIES)


@pytest.mark.parametrize(("sql", "columns"), [query[2:] for query in QUERIES], ids=range(1, len(QUERIES) + 1))
def test_the_query_gives_rows_of_the_columns_named(
    connection: duckdb.DuckDBPyConnection, sql: str, columns: str
) -> None:
    names = re.findall(r"`(\w+)`", columns)
    found = connection.execute(sql)
    assert [column[0] for column in found.description] == names
    rows = found.fetchall()
    assert rows
    shown = [name for index, name in enumerate(names) if any(row[index] is not None for row in rows)]
    assert shown == names, "a column that shows nothing"


def test_a_pair_that_no_ratio_is_enough_for_and_that_nobody_pays_for_is_in_the_last(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    found = connection.execute(QUERIES[9][2])
    names = [column[0] for column in found.description]
    rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    assert rows[-1]["scenario"] == "unpriced"
    assert (rows[-1]["edge_emits_less"], rows[-1]["cost"]) == (False, None)
    assert {row["edge_emits_less"] for row in rows[:-1]} == {True, False}
