"""The tables of runs: what was measured, and what follows from one run alone."""

from __future__ import annotations

from edgecarbon.store.table import define

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
attempt | VARCHAR | | directory of the attempt that the record is from; NULL for a modelled or shipped record
dataset | VARCHAR | | data set of the tokens
dataset_epochs | DOUBLE | 1 | passes over the data set that filled the token blocks
tokenizer | VARCHAR | | tokenizer of the tokens
shipped | BOOLEAN | | whether it was measured elsewhere, and came as a file without steps and samples
condition_celsius | DOUBLE | C | hottest sensor of the device before the run; NULL where it was not told
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
kind | VARCHAR | | unreachable, unfit, busy, failed, refused, lost, waiting, or unmatched (a shipped file has none of that work)
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
quantity | VARCHAR | | energy, power, temperature, frequency, utilisation, throttle, charge, voltage, current or discharging
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
duty | DOUBLE | 1 | share of the time that the sensor looks; NULL where nobody says
""",
)

SAMPLES = define(
    "samples",
    "One row a reading of a channel.",
    "samples.parquet, from the attempt's samples.jsonl.gz",
    """
run_id | VARCHAR | | run
t_s | DOUBLE | s | time of the reading, since the worker started
channel | VARCHAR | | channel
value | DOUBLE | channels.unit | what the sensor gave; NULL for a failed read
""",
)

RUN_TOTALS = define(
    "run_totals",
    "One row a window of a run and boundary on which anything was read: the whole device and its parts side by side. They "
    "overlap, so they are compared and never added.",
    "run.parquet (nested), from the readings in record.json",
    """
run_id | VARCHAR | | run
window | VARCHAR | | idle_before, warmup, train or idle_after
boundary | VARCHAR | | what the total covers: wall, battery, gpu_board, soc, cpu_package or cpu_package+dram
meters | VARCHAR[] | | meters that were counted
components | VARCHAR[] | | components that were counted
missing | VARCHAR[] | | components of the boundary, or parts of the machine, that were not read beside it
joules | DOUBLE | J | energy over the window
uncertainty_joules | DOUBLE | J | one standard uncertainty of joules
low_joules | DOUBLE | J | lower end of the 95 % interval of joules
high_joules | DOUBLE | J | upper end of the 95 % interval of joules
mean_watts | DOUBLE | W | joules over the length of the window
provenance | VARCHAR | | the weakest of the components': measured, modelled, estimated or published
status | VARCHAR | | complete, or partial (a component is absent or was not covered throughout)
coverage | DOUBLE | 1 | share of the window that the readings cover
flags | VARCHAR[] | | in the vocabulary of flags
is_headline | BOOLEAN | | whether this is the window's headline; of the window train it is runs.energy_joules
difference_joules | DOUBLE | J | joules less the headline's; NULL for the headline itself
difference_relative | DOUBLE | 1 | that difference over the headline's joules
""",
)

RUN_HEAT = define(
    "run_heat",
    "One row a run that was measured: temperature, clock and throttling over the training window, what they did to the "
    "energy of a token, and how busy other processes kept the device. NULL is unknown, never 0.",
    "run.parquet (nested), from the samples and steps",
    """
run_id | VARCHAR | | run
temperature_component | VARCHAR | | the component that grew hottest
temperature_start_celsius | DOUBLE | C | its first reading
temperature_highest_celsius | DOUBLE | C | its highest reading
temperature_end_celsius | DOUBLE | C | its last reading
frequency_component | VARCHAR | | the component whose clock is told: throttled longest, else the hottest, else the first
frequency_start_mhz | DOUBLE | MHz | median of the first tenth of the window
frequency_lowest_mhz | DOUBLE | MHz | lowest median over 5 s
frequency_end_mhz | DOUBLE | MHz | median of the last tenth
throttled_s | DOUBLE | s | time throttled for heat; NULL where nothing would have told
throttled_relative | DOUBLE | 1 | that time over the window; above 0.01: thermal_throttling
throttling_began_s | DOUBLE | s | when it began, since the worker started; NULL where it did not
evidence | VARCHAR | | what throttled_s rests on, also where it is 0: throttle_reasons, frequency_falls, or both joined by +
split | VARCHAR | | where the steps are parted into before and after: throttling (where it began) or half (of the window)
split_s | DOUBLE | s | that time, since the worker started
before_joules_per_token | DOUBLE | J | of the headline's channels, over the steps before the split
before_uncertainty_joules | DOUBLE | J | one standard uncertainty of it, the meter's accuracy included
after_joules_per_token | DOUBLE | J | the same over the steps after it
after_uncertainty_joules | DOUBLE | J | one standard uncertainty of it, the meter's accuracy included
background_utilisation | DOUBLE | 1 | mean share of all cores that other processes used
background_idle_utilisation | DOUBLE | 1 | the same, the higher of the idle windows; above 0.05 in either: background_load
""",
)

THROTTLED = define(
    "throttled",
    "One row a stretch of the training window in which a component was throttled for heat.",
    "run.parquet (nested), from the samples",
    """
run_id | VARCHAR | | run
start_s | DOUBLE | s | start, since the worker started
end_s | DOUBLE | s | end
component | VARCHAR | | part of the device
evidence | VARCHAR | | throttle_reasons (its driver said so) or frequency_falls (its clock fell while it was hot and busy)
""",
)

RUN_TABLES = (RUNS, READINGS, WINDOWS, STEPS, CHANNELS, SAMPLES, RUN_TOTALS, RUN_HEAT, THROTTLED, MISSING_RUNS)
NESTED = {
    "windows": WINDOWS,
    "channels": CHANNELS,
    "totals": RUN_TOTALS,
    "heat": RUN_HEAT,
    "throttled": THROTTLED,
    "missing": MISSING_RUNS,
}
"""Columns of run.parquet that hold a run's rows of these tables: a few rows each are no file's worth."""
