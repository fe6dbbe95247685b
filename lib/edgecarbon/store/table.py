"""What a table is: its columns with unit and meaning, from which DDL, Parquet schema, comments and docs follow."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

_ARROW = {
    "VARCHAR": pa.string(),
    "VARCHAR[]": pa.list_(pa.string()),
    "DOUBLE": pa.float64(),
    "DOUBLE[]": pa.list_(pa.float64()),
    "BIGINT": pa.int64(),
    "BOOLEAN": pa.bool_(),
}


@dataclass(frozen=True)
class Column:
    """A column: its name, DuckDB type, unit ("" where it has none) and meaning."""

    name: str
    type: str
    unit: str
    meaning: str

    @property
    def comment(self) -> str:
        return f"{self.meaning} [{self.unit}]" if self.unit else self.meaning


@dataclass(frozen=True)
class Table:
    """A table or view: its meaning, where its rows come from, and its columns."""

    name: str
    meaning: str
    origin: str
    columns: tuple[Column, ...]

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def select_list(self) -> str:
        """The columns, quoted, in order."""
        return ", ".join(f'"{name}"' for name in self.column_names)

    def ddl(self) -> str:
        columns = ", ".join(f'"{column.name}" {column.type}' for column in self.columns)
        return f"CREATE TABLE {self.name} ({columns})"

    def arrow_schema(self) -> pa.Schema:
        """The Arrow (and so the Parquet) schema."""
        return pa.schema([_field(column) for column in self.columns])

    def nested(self) -> pa.DataType:
        """The type of a nested column that holds a run's rows of the table, less the run id."""
        return pa.list_(pa.struct([_field(column) for column in self.columns if column.name != "run_id"]))


def _field(column: Column) -> pa.Field:
    return pa.field(column.name, _ARROW[column.type])


def define(name: str, meaning: str, origin: str, columns: str) -> Table:
    """Build a table from lines of `name | type | unit | meaning`."""
    rows = [[part.strip() for part in line.split("|", 3)] for line in columns.strip().splitlines()]
    return Table(name, meaning, origin, tuple(Column(*row) for row in rows))
