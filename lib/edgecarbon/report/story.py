"""What stands beside an energy figure: the heat of the runs, other meters of the same ones, and tests of the meters."""

from __future__ import annotations

import duckdb

from edgecarbon.charts import figures
from edgecarbon.charts.style import Row, grouped, rows
from edgecarbon.report import provenance
from edgecarbon.vocabulary import boundary_words, flag_words, short_boundary

# Standard uncertainties to a 95 % interval, for a normal distribution.
_NORMAL_975 = 1.96

EVIDENCE = {
    "throttle_reasons": "by its driver's word",
    "frequency_falls": "by its clock and its heat",
}

_HEAT = """
SELECT r.workload, r.device, r.role, r.provenance, r.boundary, h.split, count(*) AS runs,
  any_value(h.temperature_component) AS temperature_component, any_value(h.frequency_component) AS frequency_component,
  avg(h.temperature_start_celsius) AS start_celsius, max(h.temperature_highest_celsius) AS highest_celsius,
  avg(h.temperature_end_celsius) AS end_celsius, avg(h.frequency_start_mhz) AS start_mhz,
  min(h.frequency_lowest_mhz) AS lowest_mhz, avg(h.frequency_end_mhz) AS end_mhz, avg(h.throttled_s) AS throttled_s,
  avg(h.throttled_relative) AS throttled_relative, count(*) FILTER (h.throttled_s > 0) AS runs_throttled,
  list(DISTINCT h.evidence ORDER BY h.evidence) FILTER (h.evidence IS NOT NULL) AS evidence,
  avg(h.before_joules_per_token) AS before_joules, avg(h.before_uncertainty_joules) AS before_uncertainty_joules,
  avg(h.after_joules_per_token) AS after_joules, avg(h.after_uncertainty_joules) AS after_uncertainty_joules,
  avg(h.background_utilisation) AS background_utilisation, max(r.parameters) AS size
FROM run_heat h JOIN runs r USING (run_id) GROUP BY ALL
"""
_HEAT_IN_ORDER = (
    f"SELECT * FROM ({_HEAT}) ORDER BY max(size) OVER (PARTITION BY workload), workload, role, device, split"
)

_TOTALS = """
SELECT * FROM device_totals
QUALIFY count(DISTINCT boundary) OVER (PARTITION BY workload, device, precision) > 1
ORDER BY (SELECT max(parameters) FROM runs WHERE runs.workload = device_totals.workload), workload, role, device,
  precision, is_headline DESC, list_position(?, split_part(boundary, '+', 1)), energy_status
"""
_VALIDATION = """
SELECT *, strftime(to_timestamp(measured_unix_s) AT TIME ZONE 'UTC', '%Y-%m-%d') AS day FROM meter_validation
ORDER BY device, reference IS NOT NULL, meter, component, channel,
  CASE "window" WHEN 'idle_before' THEN 0 WHEN 'idle_after' THEN 1000 ELSE TRY_CAST(substr("window", 6) AS INTEGER) END
"""
_LOADS = {"idle_before": "idle", "idle_after": "idle again"}
_WIDEST_FIRST = ["wall", "battery", "soc", "gpu_board", "cpu_package"]


def heat(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, list[Row]]]:
    """The rows of the table "Heat" by workload: a device each, and a way of parting its steps."""
    found = rows(connection, _HEAT_IN_ORDER)
    for row in found:
        row["temperature"] = _three(row["start_celsius"], row["highest_celsius"], row["end_celsius"])
        row["clock"] = _three(row["start_mhz"], row["lowest_mhz"], row["end_mhz"])
        row["throttled"], row["why"] = _throttled(row)
        for side in ("before", "after"):
            ends = _ends(row[f"{side}_joules"], row[f"{side}_uncertainty_joules"])
            row[f"{side}_low"], row[f"{side}_high"] = ends
            row[side], row[f"{side}_interval"] = _per_token(row[f"{side}_joules"], *ends)
        row["parts"] = ("before it", "from then on") if row["split"] == "throttling" else ("first half", "second half")
        row["change"] = _change(row["before_joules"], row["after_joules"])
        row["covers"] = short_boundary(row["boundary"])
        row["about"] = provenance.about(row["provenance"], row["boundary"])
        row["about_state"] = provenance.about("measured by the device's own sensors", source=row["why"])
        row["interval_kind"] = provenance.SENSOR
        others = row["background_utilisation"]
        row["others"] = "–" if others is None else f"{figures.significant(100 * others)} %"
    return [(workload, members) for (workload,), members in grouped(found, "workload")]


def _three(*values: float | None) -> str:
    """Three readings as one text; empty where there are none."""
    return " / ".join("–" if value is None else figures.grouped(value, 0) for value in values if value is not None)


def _throttled(row: Row) -> tuple[str, str]:
    """How long a run was throttled, and what that rests on."""
    if row["throttled_s"] is None:
        return "not known", "no clock and heat, no word of a driver"
    kinds = dict.fromkeys(kind for told in row["evidence"] for kind in told.split("+"))
    why = ", ".join(EVIDENCE.get(kind, kind) for kind in kinds)
    if not row["runs_throttled"]:
        return "none", why
    share = f"{figures.duration(row['throttled_s'])} ({figures.significant(100 * row['throttled_relative'])} %)"
    return share, why if row["runs"] == 1 else f"{row['runs_throttled']} of {row['runs']} runs; {why}"


def _ends(joules: float | None, uncertainty_joules: float | None) -> tuple[float | None, float | None]:
    """The 95 % interval of an energy that is known with a standard uncertainty."""
    if joules is None:
        return None, None
    half = _NORMAL_975 * (uncertainty_joules or 0.0)
    return max(0.0, joules - half), joules + half


def _per_token(joules: float | None, low: float | None, high: float | None) -> tuple[str, str]:
    if joules is None:
        return "–", ""
    value, _, ends = figures.quantity(joules, low, high, "J").partition(" (")
    return value, ends.removesuffix(")")


def _change(first: float | None, second: float | None) -> str:
    """From the first to the second, in percent with its sign."""
    if not first or second is None:
        return ""
    percent = 100 * (second / first - 1)
    return f"{'+' if percent > 0 else ''}{figures.grouped(percent, 1 if abs(percent) < 10 else 0)} %"


def side_by_side(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, list[Row]]]:
    """The rows of the table "Meters side by side" by workload: the boundaries of each device that has several."""
    found = rows(connection, _TOTALS, [_WIDEST_FIRST])
    for row in found:
        text = figures.quantity(row["energy_joules"], row["energy_low_joules"], row["energy_high_joules"], "J")
        row["energy"], _, ends = text.partition(" (")
        row["energy_interval"] = ends.removesuffix(")")
        row["power"] = figures.quantity(row["mean_watts"], None, None, "W")
        row["boundary_words"] = boundary_words(row["boundary"])
        row["difference"], row["difference_percent"] = _difference(row)
        row["about"] = provenance.about(row["provenance"], row["boundary"], ", ".join(row["meters"]))
        row["interval_kind"] = provenance.REPEATS
        row["lacks"] = ", ".join(boundary_words(name) for name in row["missing"])
        row["flag_words"] = flag_words(row["flags"])
    return [(workload, members) for (workload,), members in grouped(found, "workload")]


def _difference(row: Row) -> tuple[str, str]:
    """What a total is more or less than the headline, in joules and percent; the headline itself says that it is it."""
    if row["is_headline"]:
        return "the headline", ""
    joules, relative = row["difference_joules"], row["difference_relative"]
    divisor, letter = figures.prefix_for(joules)
    sign = "+" if joules > 0 else ""
    percent = "" if relative is None else f"{sign}{figures.significant(100 * relative)} %"
    return f"{sign}{figures.significant(joules / divisor, 3)} {letter}J", percent


def validation(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, list[Row]]]:
    """The rows of the table "Meters held against each other" by device: a meter's channel in a window each."""
    found = rows(connection, _VALIDATION)
    for row in found:
        low, high = (_beyond(row, sign) for sign in (-1, 1))
        row["power"], _, ends = figures.quantity(row["watts"], low, high, "W").partition(" (")
        row["power_interval"] = ends.removesuffix(")")
        row["covers"] = boundary_words(row["boundary"]) if row["boundary"] else "a part that no total holds"
        row["about"] = provenance.about(row["provenance"], row["boundary"], row["channel"] or row["meter"])
        row["about_whole"] = provenance.about(source=row["reference"])
        row["low"], row["high"], row["interval_kind"] = low, high, provenance.SENSOR
        row["load"] = _LOADS.get(row["window"]) or f"{row['window'].removeprefix('load_')} % busy"
        row["whole"] = figures.quantity(row["reference_watts"], None, None, "W") if row["reference"] else ""
        row["difference"] = _percent(row["difference_relative"])
        row["rise_difference"] = _percent(row["rise_difference_relative"])
        row["flag_words"] = flag_words(row["flags"])
    return [(device, members) for (device,), members in grouped(found, "device")]


def _beyond(row: Row, sign: int) -> float | None:
    if row["watts"] is None:
        return None
    return float(max(0.0, row["watts"] + sign * _NORMAL_975 * (row["uncertainty_watts"] or 0.0)))


def _percent(share: float | None) -> str:
    """A share with its sign, in percent."""
    if share is None:
        return ""
    return f"{'+' if share > 0 else ''}{figures.grouped(100 * share, 1)} %"
