"""Training jobs that nobody ran here: published ones, reckoned from their stated inputs, and whole ones, from runs."""

from __future__ import annotations

from typing import Any

import duckdb

from edgecarbon.charts import figures
from edgecarbon.charts.style import ATTRIBUTIONS, MAIN_SCENARIO, Row, grouped, rows
from edgecarbon.report import provenance
from edgecarbon.vocabulary import boundary_words

ROWS_SHOWN = 120

_PUBLISHED = 'SELECT * FROM published_jobs ORDER BY "year", title, job, quantity'

_WHOLE = """
SELECT p.* FROM projections p LEFT JOIN (SELECT workload, max(parameters) AS size FROM runs GROUP BY workload) USING (workload)
ORDER BY p.scenario <> $main, p.scenario, p.job, size, p.workload, p.role, p.device,
  list_position($attributions, p.attribution)
"""


def section(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """What the template needs beside the claims; empty where there is no such job."""
    published = _published(connection)
    whole, left_out = _whole(connection)
    if not published and not whole:
        return {}
    return {
        "published": list(grouped(published, "title", "device", "devices", "source", "year")),
        "whole": list(grouped(whole, "scenario")),
        "whole_left_out": left_out,
        "attributions": list(ATTRIBUTIONS.values()),
        "draws": provenance.DRAWS,
    }


def _published(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    found = rows(connection, _PUBLISHED)
    for row in found:
        row["about"] = provenance.about("published", source=row["source"])
        row["about_ours"] = provenance.about(f"computed from the publication's inputs, time from {row['method']}")
        for name in ("published", "reproduced"):
            row[f"{name}_words"] = f"{figures.plain(row[name])} {_unit(row['unit'])}"
        row["error"] = _percent(row["relative_error"])
        row["stated"] = "" if row["stated_error"] is None else f"states up to {_percent(abs(row['stated_error']))[1:]}"
    return found


def _whole(connection: duckdb.DuckDBPyConnection) -> tuple[list[Row], int]:
    """One row a scenario, job, workload and device, its totals by attribution; and how many are left out."""
    found = rows(connection, _WHOLE, {"main": MAIN_SCENARIO, "attributions": list(ATTRIBUTIONS)})
    groups = list(grouped(found, "scenario", "job", "workload", "device"))
    told = []
    for _, members in groups[:ROWS_SHOWN]:
        row = dict(members[0])
        covers = boundary_words(row["boundary"])
        known = f"{row['provenance']}, scaled ({row['scaling']}) from runs whose energy is {row['run_provenance']}"
        row["about"] = provenance.about(known, covers)
        row["energy"] = figures.quantity(_scaled(row["energy_kwh"], 1e3), None, None, "Wh")
        row["hours"] = "–" if row["device_hours"] is None else figures.significant(row["device_hours"], 3)
        row["lifetimes"] = "–" if row["device_lifetimes"] is None else figures.significant(row["device_lifetimes"])
        by_name = {one["attribution"]: one for one in members}
        row["totals"] = [_total(by_name.get(name)) for name in ATTRIBUTIONS]
        told.append(row)
    return told, len(groups) - len(told)


def _total(row: Row | None) -> Row:
    """A total in grams and in words; {} where the scenario leaves the attribution out."""
    if row is None:
        return {}
    ends = row["total_grams"], row["total_low_grams"], row["total_high_grams"]
    text, _, interval = figures.quantity(*ends, "g").partition(" (")
    return {"grams": ends[0], "low": ends[1], "high": ends[2], "text": text, "interval": interval.removesuffix(")")}


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _unit(unit: str | None) -> str:
    return "" if unit in (None, "1") else str(unit)


def _percent(share: float | None) -> str:
    """A share in percent, always with its sign."""
    if share is None:
        return "–"
    return f"{figures.MINUS if share < 0 else '+'}{figures.grouped(100 * abs(share), 1)} %"
