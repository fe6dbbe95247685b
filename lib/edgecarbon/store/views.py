"""The database's views, and the intervals over repeats that one of them rests on."""

from __future__ import annotations

from edgecarbon.store.table import Table, define

STUDENT_T_ROWS = 100

DEVICE_ENERGY = define(
    "device_energy",
    "One row a workload and device: energy over its repeats, with a 95 % interval. Repeats that differ in boundary, "
    "provenance, completeness or precision are never averaged: they make rows of their own.",
    "runs",
    """
workload | VARCHAR | | workload
device | VARCHAR | | device
role | VARCHAR | | cloud or edge
record_kind | VARCHAR | | measured or modelled
provenance | VARCHAR | | of the energy
boundary | VARCHAR | | what the energy covers
energy_status | VARCHAR | | complete, partial or absent
precision | VARCHAR | | fp32 or bf16
repeats | BIGINT | | runs in the row
energy_joules | DOUBLE | J | gross energy a run, mean
energy_low_joules | DOUBLE | J | lower end of its 95 % interval
energy_high_joules | DOUBLE | J | upper end of its 95 % interval
joules_per_step | DOUBLE | J | gross energy an optimizer step, mean
joules_per_step_low | DOUBLE | J | lower end of its 95 % interval
joules_per_step_high | DOUBLE | J | upper end of its 95 % interval
joules_per_million_tokens | DOUBLE | J | gross energy a million tokens, mean
joules_per_million_tokens_low | DOUBLE | J | lower end of its 95 % interval
joules_per_million_tokens_high | DOUBLE | J | upper end of its 95 % interval
tokens_per_second | DOUBLE | 1/s | mean
mfu | DOUBLE | 1 | model FLOP utilisation, mean
flags | VARCHAR[] | | flags of any of the runs
""",
)

POWER = define(
    "power",
    "One row a power reading of a component. An energy counter is differenced between its moves; where a component has "
    "both, the counter is taken, because a power reading may be a slow average. A wrap is undone where the maximum is "
    "known; a fall that is no wrap, and a gap in which the counter may have wrapped twice, give no row.",
    "samples and channels",
    """
run_id | VARCHAR | | run
t_s | DOUBLE | s | middle of the interval (counter) or instant of the reading (power), since the worker started
component | VARCHAR | | part of the device
boundary | VARCHAR | | what the power covers
provenance | VARCHAR | | of the channel
watts | DOUBLE | W | mean power over the interval, or the reading
interval_s | DOUBLE | s | length of the interval: sum(watts * interval_s) is its energy; NULL for a power reading
channel | VARCHAR | | channel that it is from
""",
)

DEVICE_TOTALS = define(
    "device_totals",
    "One row a workload, device and boundary on which anything was read: meters side by side, over the repeats. Repeats "
    "that differ in provenance, completeness or precision, or in which boundary is the headline, make rows of their own.",
    "run_totals and runs, of the training window",
    """
workload | VARCHAR | | workload
device | VARCHAR | | device
role | VARCHAR | | cloud or edge
record_kind | VARCHAR | | measured or modelled
provenance | VARCHAR | | of the energy
boundary | VARCHAR | | what the energy covers
energy_status | VARCHAR | | complete or partial
precision | VARCHAR | | fp32 or bf16
is_headline | BOOLEAN | | whether this is the energy that is reported
repeats | BIGINT | | runs in the row
energy_joules | DOUBLE | J | gross energy a run, mean
energy_low_joules | DOUBLE | J | lower end of its 95 % interval
energy_high_joules | DOUBLE | J | upper end of its 95 % interval
mean_watts | DOUBLE | W | mean
difference_joules | DOUBLE | J | energy less the headline's of the same run, mean; NULL for the headline itself
difference_relative | DOUBLE | 1 | that difference over the headline's energy, mean
meters | VARCHAR[] | | meters of any of the runs
missing | VARCHAR[] | | what was not read beside it in any of the runs
flags | VARCHAR[] | | flags of any of the runs
""",
)

VIEWS = (DEVICE_ENERGY, DEVICE_TOTALS, POWER)

# Per run: the figure, its standard uncertainty and its own interval, each over the denominator of the column.
_PER_UNIT = {"energy": "1", "step": "nullif(steps, 0)", "million_tokens": "nullif(tokens, 0) / 1e6"}


def _statistics(unit: str) -> str:
    return ", ".join(
        f"{function}({column} / ({_PER_UNIT[unit]})) AS {unit}_{name}"
        for name, function, column in (
            ("mean", "avg", "energy_joules"),
            ("deviation", "stddev_samp", "energy_joules"),
            ("uncertainty", "avg", "energy_uncertainty_joules"),
            ("own_low", "avg", "energy_low_joules"),
            ("own_high", "avg", "energy_high_joules"),
        )
    )


def _interval(unit: str, mean: str, low: str, high: str) -> str:
    # The scatter of repeats shrinks with their number; an error of the meter is in all of them alike and does not. The
    # two are independent: their 95 % half-widths add in quadrature, and the result is no narrower than either alone.
    half = f"sqrt(pow(quantile_975 * {unit}_deviation, 2) / repeats + pow(1.96 * coalesce({unit}_uncertainty, 0), 2))"
    alone = "repeats = 1 OR record_kind = 'modelled'"
    return (
        f"{unit}_mean AS {mean}, "
        f"CASE WHEN {alone} THEN {unit}_own_low ELSE greatest(0, {unit}_mean - {half}) END AS {low}, "
        f"CASE WHEN {alone} THEN {unit}_own_high ELSE {unit}_mean + {half} END AS {high}"
    )


def _any_of(column: str) -> str:
    return f"list_sort(list_distinct(flatten(list(coalesce({column}, []))))) AS {column}"


_KEYS = "workload, device, role, record_kind, provenance, boundary, energy_status, precision"

DEVICE_ENERGY_SQL = f"""
WITH grouped AS (
  SELECT {_KEYS}, count(*) AS repeats,
    {_statistics("energy")},
    {_statistics("step")},
    {_statistics("million_tokens")},
    avg(tokens_per_second) AS tokens_per_second, avg(mfu) AS mfu,
    {_any_of("flags")}
  FROM runs GROUP BY ALL
)
SELECT {_KEYS}, repeats,
  {_interval("energy", "energy_joules", "energy_low_joules", "energy_high_joules")},
  {_interval("step", "joules_per_step", "joules_per_step_low", "joules_per_step_high")},
  {_interval("million_tokens", *(f"joules_per_million_tokens{end}" for end in ("", "_low", "_high")))},
  tokens_per_second, mfu, flags
FROM grouped LEFT JOIN student_t ON degrees_of_freedom = least(repeats - 1, {STUDENT_T_ROWS})
"""

DEVICE_TOTALS_SQL = f"""
WITH each AS (
  SELECT r.workload, r.device, r.role, r.record_kind, t.provenance, t.boundary, t.status AS energy_status, r.precision,
    t.is_headline, t.joules AS energy_joules, t.uncertainty_joules AS energy_uncertainty_joules,
    t.low_joules AS energy_low_joules, t.high_joules AS energy_high_joules, t.mean_watts, t.difference_joules,
    t.difference_relative, t.meters, t.missing, t.flags
  FROM run_totals t JOIN runs r USING (run_id) WHERE t."window" = 'train'
), grouped AS (
  SELECT {_KEYS}, is_headline, count(*) AS repeats, {_statistics("energy")},
    avg(mean_watts) AS mean_watts, avg(difference_joules) AS difference_joules,
    avg(difference_relative) AS difference_relative, {_any_of("meters")}, {_any_of("missing")}, {_any_of("flags")}
  FROM each GROUP BY ALL
)
SELECT {_KEYS}, is_headline, repeats,
  {_interval("energy", "energy_joules", "energy_low_joules", "energy_high_joules")},
  mean_watts, difference_joules, difference_relative, meters, missing, flags
FROM grouped LEFT JOIN student_t ON degrees_of_freedom = least(repeats - 1, {STUDENT_T_ROWS})
"""

# Wraps and resets are told apart as edgecarbon.meters.integrate does it.
# A counter that has not moved since the last reading says nothing yet: dividing by the time between its moves keeps a
# counter that is read faster than it is updated from showing 0 W and double power in turns.
POWER_SQL = """
WITH chosen AS (
  SELECT run_id, channel, component, boundary, provenance, quantity, wraps, wrap_joules, max_watts,
    update_period_s
  FROM channels
  WHERE quantity IN ('energy', 'power')
  QUALIFY row_number() OVER (
    PARTITION BY run_id, component
    ORDER BY list_position(['measured', 'modelled', 'estimated', 'published', 'absent'], provenance),
      quantity = 'power', update_period_s, channel) = 1
), ticks AS (
  SELECT samples.run_id, samples.channel, t_s, value, component, boundary, provenance, quantity, wraps, wrap_joules,
    max_watts, update_period_s
  FROM samples JOIN chosen ON samples.run_id = chosen.run_id AND samples.channel = chosen.channel
  WHERE value IS NOT NULL
), moves AS (
  SELECT * FROM ticks WHERE quantity = 'energy'
  QUALIFY value IS DISTINCT FROM lag(value) OVER (PARTITION BY run_id, channel ORDER BY t_s)
), differences AS (
  SELECT *, t_s - lag(t_s) OVER earlier AS interval_s, value - lag(value) OVER earlier AS rise_joules
  FROM moves WINDOW earlier AS (PARTITION BY run_id, channel ORDER BY t_s)
), unwrapped AS (
  SELECT *, CASE WHEN rise_joules >= 0 THEN rise_joules
    WHEN wraps AND rise_joules + wrap_joules >= 0 THEN rise_joules + wrap_joules END AS joules
  FROM differences WHERE interval_s > 0
)
SELECT run_id, t_s - interval_s / 2 AS t_s, component, boundary, provenance, joules / interval_s AS watts, interval_s,
  channel
FROM unwrapped
WHERE joules IS NOT NULL
  AND NOT coalesce(wraps AND interval_s * max_watts >= wrap_joules, false)
  AND NOT coalesce(rise_joules < 0 AND joules > 2 * max_watts * (interval_s + update_period_s), false)
UNION ALL
SELECT run_id, t_s, component, boundary, provenance, value AS watts, NULL AS interval_s, channel
FROM ticks WHERE quantity = 'power'
"""

VIEW_SQL = {DEVICE_ENERGY.name: DEVICE_ENERGY_SQL, DEVICE_TOTALS.name: DEVICE_TOTALS_SQL, POWER.name: POWER_SQL}


def student_t_rows() -> list[tuple[int, float]]:
    """Degrees of freedom and the 97.5 % quantile of Student's t for each."""
    from scipy.special import stdtrit  # not at the top: only a build needs it

    return [(degrees, float(stdtrit(degrees, 0.975))) for degrees in range(1, STUDENT_T_ROWS + 1)]


def comments(table: Table) -> list[str]:
    """COMMENT statements for a table or view and each of its columns."""
    kind = "VIEW" if table in VIEWS else "TABLE"
    quoted = table.meaning.replace("'", "''")
    statements = [f"COMMENT ON {kind} {table.name} IS '{quoted}'"]
    for column in table.columns:
        text = column.comment.replace("'", "''")
        statements.append(f"COMMENT ON COLUMN {table.name}.\"{column.name}\" IS '{text}'")
    return statements
