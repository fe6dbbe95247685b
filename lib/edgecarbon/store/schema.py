"""Every table, column by column: the one source of the DDL, the Parquet schemas, the comments and the docs."""

from __future__ import annotations

import hashlib

import pyarrow as pa

from edgecarbon.store.schema_decisions import PER_SCENARIO
from edgecarbon.store.schema_fleets import FLEET_CARBON, FLEET_TABLES, SCALING_TABLES
from edgecarbon.store.schema_jobs import PROJECTIONS, PUBLISHED_TABLES
from edgecarbon.store.schema_runs import NESTED, RUN_TABLES, RUNS
from edgecarbon.store.schema_scenarios import ASSUMPTIONS, CARBON, SCENARIOS, VERDICTS
from edgecarbon.store.schema_validation import VALIDATION_TABLES
from edgecarbon.store.table import define

FLAGS = {
    "short": "the window is shorter than max(60 s, 100 update periods), or than the minimum that was asked for",
    "partial": "components of the boundary are absent, or less than 95 % of the window is covered",
    "gap": "readings are missing for more than three update periods",
    "stalled": "the sensor stood still while work went on",
    "wrapped": "the counter passed its maximum inside the window; the energy counts that in",
    "wrap_unreadable": "the counter fell and its maximum could not be read: no energy",
    "wrap_ambiguous": "a gap is longer than the counter's wrap period: no energy",
    "reset": "the counter started anew, for example at a driver reload: no energy",
    "charging": "the battery was charged inside the window: no energy",
    "counter_power_disagree": "the energy counter and the integrated power differ by more than 10 %",
    "mig_whole_board": "the figure is for the whole board though the run used a slice of it",
    "no_data": "the sensor gave too few readings",
    "idle_drift": "idle power before and after the run differ by more than 5 %",
    "thermal_throttling": "heat held the device back for more than 1 % of the training window (table run_heat)",
    "background_load": "other processes used more than 5 % of all cores in the training or an idle window",
    "clock_offset_unsure": "how far the clocks of device and host lie apart is not known well enough to place the window",
    "current_scale_inferred": "the current's unit and sign follow from the slope of the battery's charge",
    "log_misaligned": "the times of an external meter's log do not fit the run's",
    "log_partial": "an external meter's log does not reach over the whole window",
}

INGESTED = define(
    "ingested",
    "One row a run, scenario, fleet, scaling study, test of meters or collection of published jobs in the database: what "
    "decides whether it is read again.",
    "written by the build",
    """
kind | VARCHAR | | run, scenario, fleet, scaling, validation or published
key | VARCHAR | | run_id, name of the scenario, WORKLOAD/FLEET, workload, device, or collection
path | VARCHAR | | path of run.parquet, or of the directory
stamp | VARCHAR | | size and modification time of the files: equal ones are not opened
content_sha256 | VARCHAR | | hash of the files' bytes: a file that was only touched is not read again
""",
)

SCHEMA_VERSION = define(
    "schema_version",
    "One row: the table definitions that the database was built with.",
    "written by the build",
    """
fingerprint | VARCHAR | | hash of all table definitions; a database of another one is built anew
""",
)

STUDENT_T = define(
    "student_t",
    "Quantiles of Student's t distribution, for the 95 % intervals over repeats.",
    "computed by the build",
    """
degrees_of_freedom | BIGINT | | repeats less one; 100 stands for all above it
quantile_975 | DOUBLE | 1 | two-sided 95 % factor
""",
)

SCENARIO_TABLES = (CARBON, VERDICTS, ASSUMPTIONS, SCENARIOS, *PER_SCENARIO, PROJECTIONS, FLEET_CARBON)
TABLES = (
    *RUN_TABLES,
    *SCENARIO_TABLES,
    *FLEET_TABLES,
    *SCALING_TABLES,
    *VALIDATION_TABLES,
    *PUBLISHED_TABLES,
    INGESTED,
    SCHEMA_VERSION,
    STUDENT_T,
)


def run_schema() -> pa.Schema:
    """Schema of run.parquet: one row, with the run's rows of other tables (`NESTED`) in nested columns.

    Of a run that is missing it holds who it is and, nested in `missing`, why; its `record_kind` is then `missing`.
    """
    schema = RUNS.arrow_schema()
    for name, table in NESTED.items():
        schema = schema.append(pa.field(name, table.nested()))
    return schema


def fingerprint() -> str:
    """Hash of all table definitions: a database of another one is built anew."""
    return hashlib.sha256("\n".join(table.ddl() for table in TABLES).encode()).hexdigest()[:16]
