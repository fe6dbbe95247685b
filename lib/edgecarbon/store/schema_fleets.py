"""The tables of fleets: devices that train one model together, their scaling and their carbon."""

from __future__ import annotations

from edgecarbon.store.table import define

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
energy_joules | DOUBLE | J | of the fleet for the workload's steps that entered, radios included
compute_joules | DOUBLE | J | of it, while computing; above idle where the scenario charges that alone
idle_joules | DOUBLE | J | of it, while waiting; 0 where the scenario charges what lies above idle
radio_joules | DOUBLE | J | of it, radios
duration_s | DOUBLE | s | of the workload's steps on the fleet
operational_grams | DOUBLE | g CO2e | energy x overhead x grid intensity, of all members
embodied_grams | DOUBLE | g CO2e | share of all members' making
network_grams | DOUBLE | g CO2e | training data, and what members send each other, without their radios
total_grams | DOUBLE | g CO2e | sum of the three
total_low_grams | DOUBLE | g CO2e | 5 % quantile of the total over the inputs' ranges
total_high_grams | DOUBLE | g CO2e | 95 % quantile
cloud_energy_joules | DOUBLE | J | of the cloud device for the same steps, at its meter's boundary
cloud_duration_s | DOUBLE | s | of the same steps there
cloud_total_grams | DOUBLE | g CO2e | of the same steps there, under the same attribution
ratio_cloud_over_fleet | DOUBLE | 1 | of the totals; above 1 the fleet emits less
ratio_low | DOUBLE | 1 | 5 % quantile of the ratio over both sides' inputs
ratio_high | DOUBLE | 1 | 95 % quantile of it
probability_fleet_wins | DOUBLE | 1 | share of the draws in which the fleet emits less
provenance | VARCHAR | | of the fleet's energy
""",
)

FLEET_TABLES = (FLEET_RUNS, FLEET_MEMBERS, FLEET_SPANS)
SCALING_TABLES = (FLEET_SCALING,)
