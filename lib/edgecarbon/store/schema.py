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

FLEET_RUNS = define(
    "fleet_runs",
    "One row a run of a fleet that trains together: measured on its devices, or simulated.",
    "results/parquet/fleets/WORKLOAD/FLEET/fleet_runs.parquet",
    """
fleet_work | VARCHAR | | WORKLOAD/FLEET
fleet_run | VARCHAR | | WORKLOAD/FLEET/rN, or WORKLOAD/FLEET/simulated
workload | VARCHAR | | name of the workload in the config
fleet | VARCHAR | | name of the fleet in the devices file
repeat | BIGINT | | which repeat, from 1; NULL where simulated
record_kind | VARCHAR | | measured, simulated or missing
missing_reason | VARCHAR | | why a run that was asked for is missing, in words that may be a device's own; else NULL
provenance | VARCHAR | | of the energy: measured, modelled, estimated or absent
members | BIGINT | | devices that take part
left_out | VARCHAR[] | | members that the plan has no use for
stages | BIGINT | | stages that the model is cut into
replicas | BIGINT | | pipelines beside each other
micro_batches | BIGINT | | of each replica, a step
pass_order | VARCHAR | | gpipe, 1f1b or eager-1f1b
link | VARCHAR | | tls or gloo; NULL where simulated
boundary_codec | VARCHAR | | how hidden states travel: fp32, bf16, fp16 or int8
gradient_codec | VARCHAR | | how gradients travel between replicas
steps | BIGINT | | optimiser steps of the workload
tokens_per_step | BIGINT | | tokens of a step
step_s | DOUBLE | s | mean length of a step
tokens_per_second | DOUBLE | 1/s | tokens over time
energy_joules_per_step | DOUBLE | J | of all members, radios included; NULL where a member has none
loss_first | DOUBLE | nat | mean cross entropy of the first step; NULL where simulated
loss_last | DOUBLE | nat | of the last step
virtual_host | BOOLEAN | | whether the members are virtual hosts of one machine
plan_statement | VARCHAR | | what is known of the plan: given, optimal for the cost model, or its lower bound
record_sha256 | VARCHAR | | content hash of the record or simulation
""",
)

FLEET_MEMBERS = define(
    "fleet_members",
    "One row a member of a fleet's run: where the time, the bytes and the energy of a step go.",
    "results/parquet/fleets/WORKLOAD/FLEET/fleet_members.parquet",
    """
fleet_work | VARCHAR | | WORKLOAD/FLEET
fleet_run | VARCHAR | | run of the fleet
rank | BIGINT | | number of the member, from 0
member | VARCHAR | | name of the member
device | VARCHAR | | device, or reference device, that it is
stage | BIGINT | | stage, from 0
replica | BIGINT | | pipeline, from 0
layers | BIGINT | | layers of its stage
busy_s | DOUBLE | s | computing, of a step
wait_s | DOUBLE | s | waiting for a neighbour, of a step
exchange_s | DOUBLE | s | all-reduce, tied weight and norm, of a step
sent_bytes | DOUBLE | B | payload sent in a step, as counted by this member
received_bytes | DOUBLE | B | payload received in a step, as counted by this member
compute_joules | DOUBLE | J | energy of a step while computing
idle_joules | DOUBLE | J | energy of a step while waiting, at the idle draw; 0 (all is computing) where no idle was measured
radio_joules | DOUBLE | J | of the radio in a step, where it is added; 0 where the meter covers it
radio_provenance | VARCHAR | | modelled, or `covered` by the meter
provenance | VARCHAR | | of compute_joules and idle_joules
boundary | VARCHAR | | what they cover
""",
)

FLEET_SPANS = define(
    "fleet_spans",
    "One row something that a member did within one step: the timeline. Of a measured run, its last step.",
    "results/parquet/fleets/WORKLOAD/FLEET/fleet_spans.parquet",
    """
fleet_work | VARCHAR | | WORKLOAD/FLEET
fleet_run | VARCHAR | | run of the fleet
rank | BIGINT | | number of the member
member | VARCHAR | | name of the member
stage | BIGINT | | stage, from 0
replica | BIGINT | | pipeline, from 0
kind | VARCHAR | | forward, backward, optimizer, wait, reduce, tie, norm, or transfer (a message that arrives)
micro_batch | BIGINT | | micro-batch; NULL where it belongs to none
start_s | DOUBLE | s | start, since the step began anywhere
end_s | DOUBLE | s | end
peer | VARCHAR | | of a transfer: who sent it
""",
)

FLEET_SCALING = define(
    "fleet_scaling",
    "One row a size of fleet and way of communicating: what the scaling study's modelled fleets do. All of it is modelled.",
    "results/parquet/scaling/WORKLOAD/fleet_scaling.parquet",
    """
workload | VARCHAR | | workload whose model is trained
device | VARCHAR | | reference device that the fleets are made of
variant | VARCHAR | | how they communicate, such as fp32 or int8 with 16 local steps
devices | BIGINT | | devices in the fleet
stages | BIGINT | | stages that the model is cut into
replicas | BIGINT | | pipelines beside each other
step_s | DOUBLE | s | length of a step
tokens_per_second | DOUBLE | 1/s | tokens over time
communication_bytes_per_token | DOUBLE | B | payload sent by all devices for a token
radio_joules_per_token | DOUBLE | J | energy of all radios for a token, both ends
joules_per_token | DOUBLE | J | energy of all devices for a token, radios included
""",
)

FLEET_CARBON = define(
    "fleet_carbon",
    "One row a scenario, run of a fleet, cloud device and attribution: the whole workload on both, in grams.",
    "results/carbon/SCENARIO/fleet_carbon.parquet",
    """
scenario | VARCHAR | | name of the scenario
fleet_run | VARCHAR | | run of the fleet
workload | VARCHAR | | name of the workload
fleet | VARCHAR | | name of the fleet
cloud_device | VARCHAR | | device on the cloud's side; NULL where the workload has none
attribution | VARCHAR | | how embodied carbon is charged: sunk, time_share, used_hours or marginal_wear
energy_joules | DOUBLE | J | of the fleet for the workload's steps, radios included
compute_joules | DOUBLE | J | of it, while computing
idle_joules | DOUBLE | J | of it, while waiting
radio_joules | DOUBLE | J | of it, radios
duration_s | DOUBLE | s | of the workload's steps on the fleet
operational_grams | DOUBLE | g CO2e | energy x overhead x grid intensity, of all members
embodied_grams | DOUBLE | g CO2e | share of all members' making
total_grams | DOUBLE | g CO2e | sum of the two
total_low_grams | DOUBLE | g CO2e | 5 % quantile of the total over the inputs' ranges
total_high_grams | DOUBLE | g CO2e | 95 % quantile
cloud_energy_joules | DOUBLE | J | of the cloud device for the same steps, at its meter's boundary
cloud_duration_s | DOUBLE | s | of the same steps there
cloud_total_grams | DOUBLE | g CO2e | of the same steps there, under the same attribution
ratio_cloud_over_fleet | DOUBLE | 1 | of the totals; above 1 the fleet emits less
provenance | VARCHAR | | of the fleet's energy
""",
)

INGESTED = define(
    "ingested",
    "One row a run, scenario, fleet or scaling study in the database: what decides whether it is read again.",
    "written by the build",
    """
kind | VARCHAR | | run, scenario, fleet or scaling
key | VARCHAR | | run_id, name of the scenario, WORKLOAD/FLEET, or workload
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

RUN_TABLES = (RUNS, READINGS, WINDOWS, STEPS, CHANNELS, SAMPLES, MISSING_RUNS)
SCENARIO_TABLES = (CARBON, VERDICTS, ASSUMPTIONS, FLEET_CARBON)
FLEET_TABLES = (FLEET_RUNS, FLEET_MEMBERS, FLEET_SPANS)
SCALING_TABLES = (FLEET_SCALING,)
TABLES = (*RUN_TABLES, *SCENARIO_TABLES, *FLEET_TABLES, *SCALING_TABLES, INGESTED, SCHEMA_VERSION, STUDENT_T)


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
