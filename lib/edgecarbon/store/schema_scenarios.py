"""The tables of scenarios: what their assumptions make of the runs."""

from __future__ import annotations

from edgecarbon.store.table import define

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
flips | BOOLEAN | | whether the side that emits less in most draws differs between attributions for this pair
comparable | BOOLEAN | | false where something casts doubt on a figure that no range accounts for
caveat | VARCHAR | | what that is, or what to keep in mind, in words
bridged_by | VARCHAR[] | | assumptions by whose factors energies of different boundaries are brought to the plug; empty without
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
distribution | VARCHAR | | prior over that range: split_log_uniform, log_uniform, uniform, triangular, normal or lognormal
unit | VARCHAR | | unit of the value
source | VARCHAR | | where it is from
year | BIGINT | | year that it is for
boundary | VARCHAR | | what it covers
licence | VARCHAR | | licence of the source
provenance | VARCHAR | | how it is known
used_by | VARCHAR | | what it enters
""",
)

SCENARIOS = define(
    "scenarios",
    "One row a scenario: what it stands for, and what it decides that is no number with a source.",
    "results/carbon/SCENARIO/scenarios.parquet",
    """
scenario | VARCHAR | | name of the scenario
title | VARCHAR | | its name for a reader
description | VARCHAR | | what it stands for
based_on | VARCHAR | | scenario that holds what its file does not give; NULL for none
energy | VARCHAR | | energy that is charged: gross (all that the meter saw) or net (what lies above idle, where that was measured)
edge_already_on | BOOLEAN | | whether edge devices are charged with net energy whatever `energy` says
attributions | VARCHAR[] | | ways to charge an edge device's making
cloud_attribution | VARCHAR | | how a cloud device's making is charged: used_hours, or as_edge
device_facts_first | BOOLEAN | | whether a device's own use, zone, server and lifetime go first; the last also where none is given
cloud_data_path | VARCHAR[] | | network segments that training data cross to a cloud device, each as often as crossed
edge_data_path | VARCHAR[] | | the same to an edge device
weights_every_steps | BIGINT | | steps between two exchanges of weights; NULL where none are exchanged
cloud_weights_path | VARCHAR[] | | network segments that a cloud device's exchanged weights cross
edge_weights_path | VARCHAR[] | | the same of an edge device, and what members of a fleet send each other crosses
seed | BIGINT | | seed of the draws; that of the training runs is another
draws | BIGINT | | draws behind each interval
sobol_samples | BIGINT | | base samples of Sobol's method
morris_trajectories | BIGINT | | trajectories of the Morris screen
""",
)
