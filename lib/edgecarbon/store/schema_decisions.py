"""The tables of what decides a verdict: sensitivity, break-even, the owner's view, claims, and what the page draws from."""

from __future__ import annotations

from edgecarbon.store.table import define

_PAIR = """
scenario | VARCHAR | | name of the scenario
workload | VARCHAR | | workload
cloud_device | VARCHAR | | device on the cloud's side
edge_device | VARCHAR | | device on the edge's side
attribution | VARCHAR | | how embodied carbon is charged""".strip()

BREAK_EVEN = define(
    "break_even",
    "One row a scenario, workload, pair of devices and attribution: how much less energy than the cloud the edge must use "
    "to break even, how much less it uses, and the one assumption that would most easily reverse the verdict.",
    "results/carbon/SCENARIO/break_even.parquet",
    f"""{_PAIR}
ratio_default | DOUBLE | 1 | cloud's total over the edge's with every input at its default; above 1 the edge wins
energy_ratio | DOUBLE | 1 | energy of the cloud at its meter over that of the edge at its own, at the defaults
energy_ratio_low | DOUBLE | 1 | 5 % quantile of it over the inputs' ranges
energy_ratio_high | DOUBLE | 1 | 95 % quantile of it over the inputs' ranges
break_even_ratio | DOUBLE | 1 | energy ratio at which both emit the same, at the defaults; NULL where none does
break_even_low | DOUBLE | 1 | 5 % quantile of it over the inputs' ranges
break_even_high | DOUBLE | 1 | 95 % quantile of it over the inputs' ranges; NULL where it has no bound
deciding_input | VARCHAR | | input that reverses the verdict closest to its range, within it closest to its default; NULL: none
deciding_value | DOUBLE | break_even.deciding_unit | value of it at which the verdict turns
deciding_unit | VARCHAR | | unit of it
deciding_distance | DOUBLE | 1 | factor between that value and the nearest end of its range; 1 or less where it lies within
""",
)

SENSITIVITY = define(
    "sensitivity",
    "One row a scenario, workload, pair of devices, attribution and input that has a range: how much it decides of "
    "log(cloud/edge), and what it alone would have to be to reverse the verdict.",
    "results/carbon/SCENARIO/sensitivity.parquet",
    f"""{_PAIR}
input | VARCHAR | | name of the input
label | VARCHAR | | the same in words
value | DOUBLE | sensitivity.unit | default
low | DOUBLE | sensitivity.unit | lower end of its range
high | DOUBLE | sensitivity.unit | upper end of its range
unit | VARCHAR | | unit of the value
distribution | VARCHAR | | prior over the range
morris_mu_star | DOUBLE | 1 | mean absolute elementary effect on ln(cloud/edge), over the whole range
morris_sigma | DOUBLE | 1 | standard deviation of the elementary effects: interactions and curvature
sobol_first | DOUBLE | 1 | share of the variance of ln(cloud/edge) that it explains alone
sobol_first_confidence | DOUBLE | 1 | half-width of its 95 % bootstrap interval
sobol_total | DOUBLE | 1 | share of the variance that it has a part in
sobol_total_confidence | DOUBLE | 1 | half-width of its 95 % bootstrap interval
ratio_at_low | DOUBLE | 1 | cloud over edge with this input at its 5 % quantile and all others at their defaults
ratio_at_high | DOUBLE | 1 | the same at its 95 % quantile
reversal_value | DOUBLE | sensitivity.unit | value at which both emit the same, all others at their defaults; NULL where none does
reversal_distance | DOUBLE | 1 | factor between that value and the nearest end of its range; 1 or less where it lies within
""",
)

STANDARD = define(
    "standard",
    "One row a scenario, workload, pair of devices, attribution, lifetime and utilisation of the edge device: the verdict "
    "under the conventions that papers differ in.",
    "results/carbon/SCENARIO/standard.parquet",
    f"""{_PAIR}
lifetime_years | DOUBLE | years | service life of the edge device
utilisation | DOUBLE | 1 | share of its life in which the edge device is in use
ratio_cloud_over_edge | DOUBLE | 1 | median of the cloud's total over the edge's; above 1 the edge wins
ratio_low | DOUBLE | 1 | 5 % quantile of the ratio
ratio_high | DOUBLE | 1 | 95 % quantile of the ratio
probability_edge_wins | DOUBLE | 1 | share of the draws in which the edge emits less
""",
)

BREAK_EVEN_MAPS = define(
    "break_even_maps",
    "One row a scenario, workload, pair of devices and attribution: cloud over edge across the two inputs that decide most, "
    "all others at their defaults.",
    "results/carbon/SCENARIO/break_even_maps.parquet",
    f"""{_PAIR}
x_input | VARCHAR | | input along the columns
x_label | VARCHAR | | the same in words
x_unit | VARCHAR | | its unit
x_values | DOUBLE[] | break_even_maps.x_unit | its values
y_input | VARCHAR | | input along the rows
y_label | VARCHAR | | the same in words
y_unit | VARCHAR | | its unit
y_values | DOUBLE[] | break_even_maps.y_unit | its values
ratios | DOUBLE[] | 1 | cloud over edge, row after row: as many as y_values times x_values
""",
)

OWNER = define(
    "owner",
    "One row a scenario, workload, pair of devices and attribution: what one run costs the owner of the edge device, and "
    "what it saves or causes beside the cloud doing the same work.",
    "results/carbon/SCENARIO/owner.parquet",
    f"""{_PAIR}
energy_kwh | DOUBLE | kWh | electricity at the owner's plug, without idle chargers; of all devices that do work again
hours | DOUBLE | h | time that the device is held
tariff_per_kwh | DOUBLE | owner.currency/kWh | price of electricity
electricity_cost | DOUBLE | owner.currency | cost of the electricity
full_cycles | DOUBLE | 1 | full charge cycles of the battery; 0 for a device without one
battery_cost | DOUBLE | owner.currency | price of a battery x cycles over its rated ones
cost | DOUBLE | owner.currency | both: what an incentive has to cover
cost_low | DOUBLE | owner.currency | 5 % quantile over the inputs' ranges
cost_high | DOUBLE | owner.currency | 95 % quantile over the inputs' ranges
currency | VARCHAR | | currency of the prices
saved_grams | DOUBLE | g CO2e | cloud's total less the edge's, at the defaults; below 0 the run caused that much more
saved_low_grams | DOUBLE | g CO2e | 5 % quantile over the inputs' ranges
saved_high_grams | DOUBLE | g CO2e | 95 % quantile over the inputs' ranges
cost_per_kg_saved | DOUBLE | owner.currency/kg | cost over the carbon saved; NULL where none is
""",
)

CLAIMS = define(
    "claims",
    "One row a scenario, published claim and, where it is about devices, workload and pair: what this model gives for it.",
    "results/carbon/SCENARIO/claims.parquet",
    """
scenario | VARCHAR | | name of the scenario under which it was computed
claim | VARCHAR | | key of the claim
paper | VARCHAR | | who claims it
statement | VARCHAR | | what is claimed
source | VARCHAR | | where
needs | VARCHAR | | what has to be true for it
own_scenario | VARCHAR | | scenario that holds what the paper states, and this project's assumptions for the rest
quantity | VARCHAR | | what is computed for it
workload | VARCHAR | | workload; NULL where the claim is not about devices
cloud_device | VARCHAR | | device on the cloud's side, or NULL
edge_device | VARCHAR | | device on the edge's side, or NULL
attribution | VARCHAR | | how embodied carbon is charged, or NULL where it plays no part
claimed_low | DOUBLE | 1 | lower end of what is claimed
claimed_high | DOUBLE | 1 | upper end of what is claimed; NULL where the claim is "at least"
value | DOUBLE | 1 | what this model gives at the defaults
value_low | DOUBLE | 1 | 5 % quantile over the inputs' ranges
value_high | DOUBLE | 1 | 95 % quantile over the inputs' ranges
holds | VARCHAR | | yes: the value lies in what is claimed; within range: its interval reaches it; no
""",
)

INSTRUMENT = define(
    "instrument",
    "One row a scenario, workload, device and part of its total: draws from which the page works out the verdict anew when "
    "a slider moves. Parts that belong to no device have NULL for it.",
    "results/carbon/SCENARIO/instrument.parquet",
    """
scenario | VARCHAR | | name of the scenario
workload | VARCHAR | | workload
device | VARCHAR | | device; NULL for what the scenario's devices share
role | VARCHAR | | cloud or edge; NULL for what they share
part | VARCHAR | | name of the part
unit | VARCHAR | | its unit, for a million tokens where it grows with the work
center | DOUBLE | instrument.unit | with every input at its default
draws | DOUBLE[] | instrument.unit | draws; a single one where it has no range
""",
)

PER_SCENARIO = (BREAK_EVEN, SENSITIVITY, STANDARD, BREAK_EVEN_MAPS, OWNER, CLAIMS, INSTRUMENT)
"""In every scenario's folder, beside `carbon`, `verdicts` and `assumptions`."""
