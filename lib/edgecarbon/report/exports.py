"""The tables as files: every one that a reader needs as CSV, the main ones as LaTeX and Markdown for a paper."""

from __future__ import annotations

import csv
from itertools import chain
from pathlib import Path

import duckdb

from edgecarbon.report.paper import PAPER_TABLES, latex, markdown
from edgecarbon.store.schema import TABLES
from edgecarbon.store.table import Column, Table
from edgecarbon.store.views import VIEWS

LEFT_OUT = {
    *("samples", "steps", "channels", "readings", "power", "fleet_spans", "instrument"),  # many rows; for queries
    *("ingested", "schema_version", "student_t"),  # the build's own
}
"""Tables and views that are in the database alone. All others are written, also those that are yet to come."""
COLUMNS = "columns.csv"

_README = """# Tables

Made from the database; each start of the workflow that changes it makes them anew.

For a paper, `NAME.tex` (its first lines say how to put it into a document) and `NAME.md`; of what follows from a scenario there
is a file for each:

{paper}

As data, `NAME.csv`: names of columns in the first line, an empty field for what is not known, `;` between the entries of a
list. Unit and meaning of every column are in `{columns}`.

{data}
"""


def build(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Write all tables.

    Args:
        connection: an open database with the store's tables and views; it is only read.
        folder: where they come to stand; it is made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = written()
    for table in tables:
        _write_csv(connection, table, folder / f"{table.name}.csv")
    _write_columns(tables, folder / COLUMNS)
    for paper, rows in chain.from_iterable(table.parts(connection) for table in PAPER_TABLES):
        (folder / f"{paper.name}.tex").write_text(latex(paper, rows), encoding="utf-8")
        (folder / f"{paper.name}.md").write_text(markdown(paper, rows), encoding="utf-8")
    listed = {
        "paper": "\n".join(
            f"* `{paper.name}{'-SCENARIO' if paper.by_scenario else ''}`: {paper.title}." for paper in PAPER_TABLES
        ),
        "data": "\n".join(f"* `{table.name}`: {table.meaning}" for table in tables),
    }
    (folder / "README.md").write_text(_README.format(columns=COLUMNS, **listed), encoding="utf-8")


def written() -> list[Table]:
    """The tables and views that are written as CSV."""
    return [table for table in (*VIEWS, *TABLES) if table.name not in LEFT_OUT]


def _write_csv(connection: duckdb.DuckDBPyConnection, table: Table, path: Path) -> None:
    columns = ", ".join(_field(column) for column in table.columns)
    quoted = str(path).replace("'", "''")
    connection.execute(f"COPY (SELECT {columns} FROM {table.name} ORDER BY ALL) TO '{quoted}' (FORMAT csv, HEADER)")


def _field(column: Column) -> str:
    if column.type.endswith("[]"):
        return f'array_to_string("{column.name}", \';\') AS "{column.name}"'
    return f'"{column.name}"'


def _write_columns(tables: list[Table], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["table", "column", "type", "unit", "meaning"])
        for table in tables:
            writer.writerows([table.name, one.name, one.type, one.unit, one.meaning] for one in table.columns)
