"""Tables, comments and docs/data-model.md say the same, and every query of the page runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import synthetic
from edgecarbon.store import build_database, connect, read_runs
from edgecarbon.store.document import refreshed
from edgecarbon.store.schema import FLAGS, TABLES
from edgecarbon.store.views import VIEWS

LIBRARY = Path(__file__).resolve().parents[2] / "lib" / "edgecarbon"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "data-model.md"
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
RUN_IDS = [f"synthetic-opt/synthetic-{device}/r{repeat}" for device in ("gpu", "laptop") for repeat in (1, 2)]

UNITS = {
    "_joules": "J", "_watts": "W", "_s": "s", "_grams": "g CO2e", "_relative": "1", "_per_second": "1/s", "joules": "J",
    "watts": "W", "_g_per_kwh": "g CO2e/kWh", "_factor": "1",
}  # fmt: skip
OTHERWISE = {"model_flops_per_second": "FLOP/s", "peak_flops_per_second": "FLOP/s"}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic database in which every table has rows."""
    root = tmp_path_factory.mktemp("store")
    paths = []
    for run_id in RUN_IDS:
        idle = [synthetic.reading(60.0, window=window) for window in ("idle_before", "idle_after")]
        record = synthetic.record(run_id, duration_s=10.0, readings=[synthetic.reading(9000.0, flags=["short"]), *idle])
        paths.append(synthetic.write_run(root, record, synthetic.ticks(100).tolist()))
    scenario = synthetic.write_scenario(root / "carbon", "default", read_runs(paths))
    build_database(root / "x.duckdb", paths, [scenario])
    return root / "x.duckdb"


def test_the_page_is_up_to_date() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert refreshed(page) == page, "run: make schema"


def test_comments_in_the_database_are_the_definitions(database: Path) -> None:
    with connect(database) as connection:
        found = connection.execute("SELECT table_name, column_name, comment FROM duckdb_columns()").fetchall()
        tables = (
            "SELECT table_name, comment FROM duckdb_tables() UNION ALL SELECT view_name, comment FROM duckdb_views()"
        )
        meanings = dict(connection.execute(tables).fetchall())
    comments = {(table, column): comment for table, column, comment in found}
    for table in (*TABLES, *VIEWS):
        assert meanings[table.name] == table.meaning
        for column in table.columns:
            assert comments[table.name, column.name] == column.comment


def test_views_give_the_columns_and_types_that_are_documented(database: Path) -> None:
    with connect(database) as connection:
        for view in VIEWS:
            rows = connection.execute(f"DESCRIBE {view.name}").fetchall()
            assert [(name, kind) for name, kind, *_ in rows] == [(column.name, column.type) for column in view.columns]


def test_a_name_that_carries_a_unit_has_that_unit() -> None:
    for table in (*TABLES, *VIEWS):
        for column in table.columns:
            suffix = next((end for end in UNITS if column.name.endswith(end)), None)
            if suffix:
                assert column.unit == OTHERWISE.get(column.name, UNITS[suffix]), f"{table.name}.{column.name}"


def test_the_page_has_queries() -> None:
    assert len(QUERIES) >= 10


@pytest.mark.parametrize("sql", QUERIES, ids=range(len(QUERIES)))
def test_every_query_of_the_page_runs(database: Path, sql: str) -> None:
    with connect(database) as connection:
        assert connection.execute(sql).fetchall(), "no rows: the query shows nothing"


@pytest.mark.parametrize("page", ["data-model.md", "queries.md"])
def test_no_query_of_the_docs_mixes_scenarios(page: str) -> None:
    by_scenario = {table.name for table in (*TABLES, *VIEWS) if "scenario" in table.column_names}
    queries = re.findall(r"```sql\n(.*?)```", (PAGE.parent / page).read_text(encoding="utf-8"), re.DOTALL)
    asked = [sql for sql in queries if by_scenario & set(re.findall(r"(?:FROM|JOIN) (\w+)", sql))]
    assert len(asked) >= 3
    assert all("scenario" in sql.split("FROM")[0] for sql in asked)
    joined = [
        using for sql in asked for using in re.findall(rf"JOIN (?:{'|'.join(by_scenario)}) .*?USING \(([^)]*)\)", sql)
    ]
    assert all("scenario" in using for using in joined)


def test_every_flag_that_is_set_is_documented() -> None:
    # Those that name the flags for readers set none.
    paths = [path for path in LIBRARY.rglob("*.py") if path.name not in ("schema.py", "style.py", "words.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    known = {name for name in FLAGS if f'"{name}"' in text}
    assert known == set(FLAGS), "a flag that nothing sets"
    in_sets = re.findall(r"flags(?:\.add\(| \|=? )(.*)", text)
    named = {name for line in in_sets for name in re.findall(r'"([a-z_]+)"', line)}
    assert named <= set(FLAGS)
    assert {"short", "gap", "partial", "wrapped"} <= named
