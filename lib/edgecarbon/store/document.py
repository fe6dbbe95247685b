"""The part of docs/data-model.md that follows from the schema. `python -m edgecarbon.store.document` writes it anew."""

from __future__ import annotations

from pathlib import Path

from edgecarbon.store.schema import FLAGS, TABLES
from edgecarbon.store.table import Table
from edgecarbon.store.views import VIEWS

DOCUMENT = Path("docs/data-model.md")
BEGIN, END = "<!-- made from the schema: begin -->", "<!-- made from the schema: end -->"


def sections() -> str:
    """Tables, views and flags, as Markdown."""
    flags = [f"| `{name}` | {meaning} |" for name, meaning in FLAGS.items()]
    parts = [_section(table, "Table") for table in TABLES] + [_section(view, "View") for view in VIEWS]
    return "\n".join([*parts, "### Flags\n", "| flag | meaning |", "| --- | --- |", *flags])


def refreshed(document: str) -> str:
    """The document with its generated part made anew.

    Raises:
        ValueError: the markers are missing.
    """
    before, _, rest = document.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{DOCUMENT}: the markers '{BEGIN}' and '{END}' are missing")
    return f"{before}{BEGIN}\n\n{sections()}\n\n{END}{after}"


def _section(table: Table, kind: str) -> str:
    columns = [f"| `{column.name}` | {column.type} | {column.unit} | {column.meaning} |" for column in table.columns]
    head = [f"### {kind} `{table.name}`\n", f"{table.meaning} From: {table.origin}.\n"]
    return "\n".join([*head, "| column | type | unit | meaning |", "| --- | --- | --- | --- |", *columns, ""])


if __name__ == "__main__":
    DOCUMENT.write_text(refreshed(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
