"""Every table, column by column: the one source of the DDL, the Parquet schemas, the comments and the docs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pyarrow as pa

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
}

_ARROW = {
    "VARCHAR": pa.string(),
    "VARCHAR[]": pa.list_(pa.string()),
    "DOUBLE": pa.float64(),
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


def _field(column: Column) -> pa.Field:
    return pa.field(column.name, _ARROW[column.type])


def define(name: str, meaning: str, origin: str, columns: str) -> Table:
    """Build a table from lines of `name | type | unit | meaning`."""
    rows = [[part.strip() for part in line.split("|", 3)] for line in columns.strip().splitlines()]
    return Table(name, meaning, origin, tuple(Column(*row) for row in rows))


RUNS = define(
    "runs",
    "One row a run: what ran where, its energy over the training window, its throughput.",
    "run.parquet, from record.json; the energy columns are the headline of the run's readings",
    """
run_id | VARCHAR | | WORKLOAD/DEVICE/rN
workload | VARCHAR | | name of the workload in the config
device | VARCHAR | | name of the device in the config
repeat | BIGINT | | which repeat of the workload on the device, from 1
role | VARCHAR | | cloud or edge
provenance | VARCHAR | | of the energy: measured, modelled, estimated, published or absent
record_kind | VARCHAR | | measured: the run happened; modelled: a reference device that nobody ran
boundary | VARCHAR | | what the energy covers: gpu_board, cpu_package, soc, battery or wall; several are joined by +
energy_joules | DOUBLE | J | gross energy of the training window; NULL where absent, never 0
energy_uncertainty_joules | DOUBLE | J | one standard uncertainty of energy_joules
energy_low_joules | DOUBLE | J | lower end of the 95 % interval of energy_joules
energy_high_joules | DOUBLE | J | upper end of the 95 % interval of energy_joules
energy_status | VARCHAR | | complete, partial (a component is absent or was not covered throughout) or absent
net_energy_joules | DOUBLE | J | energy_joules less idle power times duration; NULL where no idle was measured
net_uncertainty_joules | DOUBLE | J | one standard uncertainty of net_energy_joules
idle_watts | DOUBLE | W | mean idle power on the same boundary, before and after the run
idle_drift_relative | DOUBLE | 1 | idle power after the run less that before it, over that before it
flags | VARCHAR[] | | what is wrong with the figure, in the vocabulary of flags
coverage | DOUBLE | 1 | share of the training window that the readings cover
duration_s | DOUBLE | s | length of the training window
steps | BIGINT | | optimizer steps in the training window
tokens | BIGINT | | tokens trained on in the training window
tokens_per_second | DOUBLE | 1/s | tokens over duration
model | VARCHAR | | model whose exact architecture was trained
parameters | BIGINT | | parameters, tied ones counted once
flops_per_step | DOUBLE | FLOP | 6 x parameters x tokens of a step; attention is not counted
model_flops_per_second | DOUBLE | FLOP/s | flops_per_step x steps over duration
peak_flops_per_second | DOUBLE | FLOP/s | peak that mfu refers to; NULL where none is known
peak_source | VARCHAR | | where the peak is from
mfu | DOUBLE | 1 | model FLOP utilisation: model_flops_per_second over the peak
precision | VARCHAR | | fp32 or bf16
batch_size | BIGINT | | sequences a step
micro_batch_size | BIGINT | | sequences that went through the device at once
sequence_length | BIGINT | | tokens a sequence
loss_first | DOUBLE | nat | loss of the first step of the window
loss_last | DOUBLE | nat | loss of the last step of the window
accelerator | VARCHAR | | name of the accelerator, or its kind where it has no name
cpu_model | VARCHAR | | name of the CPU
started_unix_s | DOUBLE | s | start of the worker, since 1970-01-01 UTC by the device's clock
attempt | VARCHAR | | directory of the attempt that the record is from; NULL for a modelled record
dataset | VARCHAR | | data set of the tokens
dataset_epochs | DOUBLE | 1 | passes over the data set that filled the token blocks
tokenizer | VARCHAR | | tokenizer of the tokens
virtual_host | BOOLEAN | | whether the device is a virtual host, whose energy is the host machine's estimate
python_version | VARCHAR | | Python that trained; NULL for a modelled record
torch_version | VARCHAR | | torch that trained; NULL for a modelled record
record_sha256 | VARCHAR | | content hash of record.json
""",
)

MISSING_RUNS = define(
    "missing_runs",
    "One row a run that was asked for and did not come about; it is in no other table, and in no figure.",
    "run.parquet (nested), from record.json",
    """
run_id | VARCHAR | | run
workload | VARCHAR | | name of the workload in the config
device | VARCHAR | | name of the device in the config
repeat | BIGINT | | which repeat of the workload on the device, from 1
role | VARCHAR | | cloud or edge
kind | VARCHAR | | unreachable, unfit, busy, failed, refused, lost or waiting
reason | VARCHAR | | what happened, in words that may be the device's own
remedy | VARCHAR | | what to do about it; NULL where nothing is known
told_unix_s | DOUBLE | s | when it was given up, since 1970-01-01 UTC by the host's clock
record_sha256 | VARCHAR | | content hash of record.json
""",
)

READINGS = define(
    "readings",
    "One row a window and channel of energy or power: the energy that the meter gave, before any sum.",
    "readings.parquet, from the readings in record.json",
    """
run_id | VARCHAR | | run
window | VARCHAR | | idle_before, warmup, train or idle_after
meter | VARCHAR | | nvml, rapl, estimate, ...
component | VARCHAR | | part of the device, such as gpu0, package-0 or dram
joules | DOUBLE | J | energy over the window; NULL where absent, never 0
uncertainty_joules | DOUBLE | J | one standard uncertainty of joules
provenance | VARCHAR | | measured, modelled, estimated, published or absent
boundary | VARCHAR | | what the figure covers
source | VARCHAR | | file, command or API that it came from
update_period_s | DOUBLE | s | how often the source moves
coverage | DOUBLE | 1 | share of the window that is covered
flags | VARCHAR[] | | in the vocabulary of flags
channel | VARCHAR | | channel that was integrated; a component's counter and power channel are never added up
""",
)

WINDOWS = define(
    "windows",
    "One row a phase of a run.",
    "run.parquet (nested), from the windows in record.json",
    """
run_id | VARCHAR | | run
name | VARCHAR | | idle_before, warmup, train or idle_after
start_s | DOUBLE | s | start, since the worker started
end_s | DOUBLE | s | end, since the worker started
""",
)

STEPS = define(
    "steps",
    "One row an optimizer step.",
    "steps.parquet, from the attempt's steps.jsonl",
    """
run_id | VARCHAR | | run
step | BIGINT | | number of the step, from 1 in each phase
phase | VARCHAR | | warmup or train
start_s | DOUBLE | s | start, since the worker started
duration_s | DOUBLE | s | length of the step
loss | DOUBLE | nat | mean cross entropy over the step's tokens
tokens | BIGINT | | tokens of the step
""",
)

CHANNELS = define(
    "channels",
    "One row a sensor channel of a run.",
    "run.parquet (nested), from the channels in record.json",
    """
run_id | VARCHAR | | run
channel | VARCHAR | | METER/COMPONENT/QUANTITY, unique in a run
meter | VARCHAR | | nvml, rapl, estimate, ...
component | VARCHAR | | part of the device
quantity | VARCHAR | | energy, power, temperature, frequency, utilisation or throttle
unit | VARCHAR | | unit of the channel's samples: J (cumulative), W, C, MHz, 1, bitmask
boundary | VARCHAR | | what the channel covers; NULL for one that is no energy or power
provenance | VARCHAR | | measured, modelled, estimated, published or absent
source | VARCHAR | | file, command or API that it is read from
update_period_s | DOUBLE | s | how often the source moves
resolution | DOUBLE | channels.unit | smallest step of the value
accuracy_relative | DOUBLE | 1 | one relative standard uncertainty; NULL where nobody states one
wraps | BOOLEAN | | whether the counter starts anew at a maximum
wrap_joules | DOUBLE | J | that maximum; NULL where it is unknown or there is none
max_watts | DOUBLE | W | most power that the component can draw; NULL where unknown
""",
)

SAMPLES = define(
    "samples",
    "One row a reading of a channel.",
    "samples.parquet, from the attempt's samples.jsonl",
    """
run_id | VARCHAR | | run
t_s | DOUBLE | s | time of the reading, since the worker started
channel | VARCHAR | | channel
value | DOUBLE | channels.unit | what the sensor gave; NULL for a failed read
""",
)

CARBON = define(
    "carbon",
    "One row a scenario, run, attribution and functional unit: carbon by part.",
    "results/carbon/SCENARIO/carbon.parquet",
    """
scenario | VARCHAR | | name of the scenario
run_id | VARCHAR | | run
workload | VARCHAR | | workload of the run
device | VARCHAR | | device of the run
repeat | BIGINT | | repeat of the run
role | VARCHAR | | cloud or edge
attribution | VARCHAR | | how embodied carbon is charged: sunk, time_share, used_hours or marginal_wear
functional_unit | VARCHAR | | run, step or million_tokens
operational_grams | DOUBLE | g CO2e | energy x overhead x grid intensity
embodied_grams | DOUBLE | g CO2e | share of the device's making
network_grams | DOUBLE | g CO2e | data moved
total_grams | DOUBLE | g CO2e | sum of the three
total_low_grams | DOUBLE | g CO2e | 5 % quantile of the total over the inputs' ranges
total_high_grams | DOUBLE | g CO2e | 95 % quantile of the total over the inputs' ranges
energy_joules | DOUBLE | J | energy of the functional unit that entered, at the meter's boundary
boundary | VARCHAR | | what that energy covers
provenance | VARCHAR | | of that energy
overhead_factor | DOUBLE | 1 | PUE x host factor (cloud) or charger factor (edge)
intensity_g_per_kwh | DOUBLE | g CO2e/kWh | grid intensity
embodied_key | VARCHAR | | entry of the embodied inputs
""",
)

VERDICTS = define(
    "verdicts",
    "One row a scenario, workload, pair of devices and attribution: which side emits less, how surely.",
    "results/carbon/SCENARIO/verdicts.parquet",
    """
scenario | VARCHAR | | name of the scenario
workload | VARCHAR | | workload
cloud_device | VARCHAR | | device on the cloud's side
edge_device | VARCHAR | | device on the edge's side
attribution | VARCHAR | | how embodied carbon is charged
ratio_cloud_over_edge | DOUBLE | 1 | median of the cloud's total over the edge's; above 1 the edge wins
ratio_low | DOUBLE | 1 | 5 % quantile of the ratio
ratio_high | DOUBLE | 1 | 95 % quantile of the ratio
probability_edge_wins | DOUBLE | 1 | share of the draws in which the edge emits less
winner | VARCHAR | | edge, cloud, or unclear where the probability lies within 0.05 to 0.95
flips | BOOLEAN | | whether the winner by the median differs between attributions for this pair
comparable | BOOLEAN | | whether both figures are of one kind and quality
caveat | VARCHAR | | why they are not, or what to keep in mind
""",
)

ASSUMPTIONS = define(
    "assumptions",
    "One row a scenario and input: every number that a result rests on, with its source.",
    "results/carbon/SCENARIO/assumptions.parquet",
    """
scenario | VARCHAR | | name of the scenario
name | VARCHAR | | name of the input
value | DOUBLE | assumptions.unit | value
low | DOUBLE | assumptions.unit | lower end of its range
high | DOUBLE | assumptions.unit | upper end of its range
unit | VARCHAR | | unit of the value
source | VARCHAR | | where it is from
year | BIGINT | | year that it is for
boundary | VARCHAR | | what it covers
licence | VARCHAR | | licence of the source
provenance | VARCHAR | | how it is known
used_by | VARCHAR | | what it enters
""",
)

INGESTED = define(
    "ingested",
    "One row a run or scenario that is in the database: what decides whether it is read again.",
    "written by the build",
    """
kind | VARCHAR | | run or scenario
key | VARCHAR | | run_id, or name of the scenario
path | VARCHAR | | path of run.parquet, or of the scenario's directory
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

RUN_TABLES = (RUNS, READINGS, WINDOWS, STEPS, CHANNELS, SAMPLES, MISSING_RUNS)
SCENARIO_TABLES = (CARBON, VERDICTS, ASSUMPTIONS)
TABLES = (*RUN_TABLES, *SCENARIO_TABLES, INGESTED, SCHEMA_VERSION, STUDENT_T)


def nested(table: Table) -> pa.DataType:
    """The type of a nested column that holds a run's rows of `table`, less the run id."""
    return pa.list_(pa.struct([_field(column) for column in table.columns if column.name != "run_id"]))


def run_schema() -> pa.Schema:
    """Schema of run.parquet: one row, with the run's windows and channels, a few rows each, nested in it.

    Of a run that is missing it holds who it is and, nested in `missing`, why; its `record_kind` is then `missing`.
    """
    schema = RUNS.arrow_schema()
    for name, table in (("windows", WINDOWS), ("channels", CHANNELS), ("missing", MISSING_RUNS)):
        schema = schema.append(pa.field(name, nested(table)))
    return schema


def fingerprint() -> str:
    """Hash of all table definitions: a database of another one is built anew."""
    return hashlib.sha256("\n".join(table.ddl() for table in TABLES).encode()).hexdigest()[:16]
