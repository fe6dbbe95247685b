"""The tables of whole training jobs: runs projected to them, and published ones reckoned again."""

from __future__ import annotations

from edgecarbon.store.table import define

PROJECTIONS = define(
    "projections",
    "One row a scenario, target job, workload, device and attribution: the whole job at the rate of the average run.",
    "results/carbon/SCENARIO/projections.parquet",
    """
scenario | VARCHAR | | name of the scenario
job | VARCHAR | | name of the target job in the config
workload | VARCHAR | | workload whose runs are scaled
device | VARCHAR | | device of those runs
role | VARCHAR | | cloud or edge
attribution | VARCHAR | | how embodied carbon is charged: sunk, time_share, used_hours or marginal_wear
tokens | BIGINT | | tokens of the job
parameters | DOUBLE | | parameters of the job's model
scaling | VARCHAR | | same model (by tokens), 6ND, or exact (attention counted): what is held equal is J a token, or J a FLOP
scale_factor | DOUBLE | 1 | work of the job over that of the average run
energy_kwh | DOUBLE | kWh | energy of the job at the meter's boundary, with what practice adds
boundary | VARCHAR | | what that energy covers; NULL where repeats differ
device_hours | DOUBLE | h | hours for which the job holds devices, of all together, with what practice adds
device_lifetimes | DOUBLE | 1 | device hours over the hours of one device's life, day and night
devices_at_least | BIGINT | | devices that have to share the job, so that none outlives its life, if it holds them day and night
operational_grams | DOUBLE | g CO2e | energy x overhead x grid intensity
embodied_grams | DOUBLE | g CO2e | share of the devices' making
network_grams | DOUBLE | g CO2e | data moved
total_grams | DOUBLE | g CO2e | sum of the three
total_low_grams | DOUBLE | g CO2e | 5 % quantile of the run's total, scaled as the total is
total_high_grams | DOUBLE | g CO2e | 95 % quantile of the run's total, scaled as the total is
provenance | VARCHAR | | modelled: no job of this size was run
run_provenance | VARCHAR | | of the energy of the runs that were scaled; mixed where repeats differ
""",
)

PUBLISHED_JOBS = define(
    "published_jobs",
    "One row a published training job and figure: what was published, and what the formulas give from its stated inputs.",
    "results/parquet/published/COLLECTION/published_jobs.parquet",
    """
collection | VARCHAR | | name of the collection that the job is in
job | VARCHAR | | key in config/inputs/published_jobs.yaml
title | VARCHAR | | what was trained, by which account
device | VARCHAR | | what it was trained on
devices | BIGINT | | how many of them
quantity | VARCHAR | | published quantity: zettaflop, days, energy_mwh, or tonnes operational, idle, embodied or total
unit | VARCHAR | | unit of published and reproduced
published | DOUBLE | published_jobs.unit | figure of the publication
reproduced | DOUBLE | published_jobs.unit | what this project's formulas give from the publication's inputs
relative_error | DOUBLE | 1 | reproduced over published, less 1
stated_error | DOUBLE | 1 | largest error that the publication admits for its own formulas; NULL where it states none
method | VARCHAR | | what time is reckoned from: stated days, stated device hours, or 6ND over a sustained rate
source | VARCHAR | | where inputs and figures are from
year | BIGINT | | year of the publication
""",
)

PUBLISHED_TABLES = (PUBLISHED_JOBS,)
