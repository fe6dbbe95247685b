"""What the section "For the owner" shows: what a run costs whoever owns the edge device, and what it saves or causes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb

from edgecarbon.charts import figures
from edgecarbon.charts.style import ATTRIBUTIONS, MAIN_SCENARIO, Row, grouped, rows
from edgecarbon.report import provenance

PAIRS_SHOWN = 60
SMALL_AMOUNT = 0.01
"""Below it an amount has an SI prefix, as 2.0 µUSD."""

_OWNER = """
SELECT o.*, r.tokens FROM owner o
  LEFT JOIN (SELECT workload, max(parameters) AS size FROM runs GROUP BY workload) USING (workload)
  LEFT JOIN (SELECT workload, device AS edge_device, avg(tokens) AS tokens FROM runs WHERE energy_joules IS NOT NULL
    GROUP BY ALL) r USING (workload, edge_device)
ORDER BY o.scenario <> $main, o.scenario, size, o.workload, o.edge_device, o.cloud_device,
  list_position($attributions, o.attribution)
"""


@dataclass(frozen=True)
class Owners:
    """A workload under a scenario: what each edge device costs, and what it saves beside each cloud device."""

    workload: str
    scenario: str
    costs: list[Row]
    """One row an edge device."""
    savings: list[tuple[str, str, list[Row]]]
    """By pair: edge device, cloud device, and its row under each attribution, {} where there is none."""
    attributions: list[str]


def section(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """What the template needs; empty where nothing is known of the owner's costs."""
    found = rows(connection, _OWNER, {"main": MAIN_SCENARIO, "attributions": list(ATTRIBUTIONS)})
    if not found:
        return {}
    known = provenance.energies(connection)
    for row in found:
        _describe(row, provenance.of_pair(row, known))
    by_workload = grouped(found, "workload", "scenario")
    groups = [_owners(workload, scenario, members) for (workload, scenario), members in by_workload]
    main = found[0]["scenario"]
    return {
        "main": [group for group in groups if group.scenario == main],
        "others": [group for group in groups if group.scenario != main],
        "most": PAIRS_SHOWN,
        "draws": provenance.DRAWS,
    }


def _owners(workload: str, scenario: str, members: list[Row]) -> Owners:
    attributions = [name for name in ATTRIBUTIONS if any(row["attribution"] == name for row in members)]
    return Owners(
        workload,
        scenario,
        # What a run costs does not depend on what it is compared with.
        costs=[mine[0] for _, mine in grouped(members, "edge_device")],
        savings=[
            (edge, cloud, [next((row for row in mine if row["attribution"] == name), {}) for name in attributions])
            for (edge, cloud), mine in grouped(members, "edge_device", "cloud_device")
        ],
        attributions=[ATTRIBUTIONS[name] for name in attributions],
    )


def _describe(row: Row, told: str) -> None:
    row["about"] = told
    currency = row["currency"] or ""
    row["energy"] = "–" if row["energy_kwh"] is None else figures.quantity(1000 * row["energy_kwh"], None, None, "Wh")
    row["time"] = figures.duration(None if row["hours"] is None else 3600 * row["hours"])
    for name in ("electricity_cost", "battery_cost"):
        row[f"{name}_words"] = _money(row[name], currency)
    row["tariff"] = "" if row["tariff_per_kwh"] is None else f"at {_money(row['tariff_per_kwh'], currency)}/kWh"
    # Three digits of a cycle are more than any battery's rating carries.
    row["cycles"] = "–" if row["full_cycles"] is None else figures.significant(row["full_cycles"])
    costs = row["cost"], row["cost_low"], row["cost_high"]
    middle, low, high = (None if cost is None or not row["tokens"] else 1e6 * cost / row["tokens"] for cost in costs)
    row["million"] = middle, low, high
    row["cost_words"], row["cost_interval"] = _money_range(*costs, currency)
    row["million_words"], row["million_interval"] = _money_range(middle, low, high, currency)
    row["saved"], row["saved_interval"], row["effect"] = _saved(row)
    per_kg = row["cost_per_kg_saved"]
    row["per_kg"] = "" if per_kg is None else f"{_money(per_kg, currency)} a kg"


def _money(amount: float | None, currency: str) -> str:
    if amount is None:
        return "–"
    divisor, letter = _prefix(amount)
    return f"{figures.significant(amount / divisor)} {letter}{currency}".rstrip()


def _money_range(amount: float | None, low: float | None, high: float | None, currency: str) -> tuple[str, str]:
    """An amount with its currency, and its interval in the same unit."""
    if amount is None:
        return "–", ""
    divisor, letter = _prefix(amount)
    ends = (None if end is None else end / divisor for end in (low, high))
    middle, interval = figures.interval(amount / divisor, *ends)
    return f"{middle} {letter}{currency}".rstrip(), interval


def _prefix(amount: float) -> tuple[float, str]:
    """The SI prefix of a small amount: a short run costs millionths. Whole units and cents are said as everybody does."""
    return (1.0, "") if abs(amount) >= SMALL_AMOUNT else figures.prefix_for(amount)


def _saved(row: Row) -> tuple[str, str, str]:
    """What was saved, its interval, and whether it was saved, caused, or cannot be told."""
    grams = row["saved_grams"]
    if grams is None:
        return "–", "", ""
    low, high = row["saved_low_grams"], row["saved_high_grams"]
    effect = "unclear" if None not in (low, high) and low < 0 < high else "saved" if grams > 0 else "caused"
    if effect == "caused":
        grams, low, high = -grams, None if high is None else -high, None if low is None else -low
    text, _, ends = figures.quantity(grams, low, high, "g").partition(" (")
    return text, ends.removesuffix(")").replace("–", " to "), effect
