"""Run records to Parquet, and Parquet to one DuckDB file: what a researcher queries."""

from edgecarbon.store.build import BuildCounts, build_database
from edgecarbon.store.database import connect, read_runs, read_runs_and_totals
from edgecarbon.store.parquet import write_run_parquet

__all__ = [
    "BuildCounts",
    "build_database",
    "connect",
    "read_runs",
    "read_runs_and_totals",
    "write_run_parquet",
]
