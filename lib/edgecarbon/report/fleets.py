"""What the section "Training together" shows: the fleets with their runs, and each fleet beside a cloud device."""

from __future__ import annotations

from typing import Any

import duckdb

from edgecarbon.carbon.verdicts import SURE
from edgecarbon.charts import figures
from edgecarbon.charts.fleet_compare import CARBON, carbon_run_words
from edgecarbon.charts.style import ATTRIBUTIONS, Row, grouped, rows
from edgecarbon.report import provenance, words
from edgecarbon.vocabulary import boundary_words

VIRTUAL_FLEET = "virtual hosts on one machine"
VIRTUAL_ENERGY = "the energy is that machine's estimate, not the devices'"
KINDS = {"measured": "ran on its devices", "simulated": "simulated", "missing": "missing"}

# Runs that differ in nothing but the repeat are one row, with the means.
_FLEETS = """
WITH parts AS (
  SELECT fleet_run, sum(sent_bytes) AS bytes, sum(radio_joules) AS radio,
    sum(compute_joules + idle_joules + radio_joules) AS joules, count(*) AS members,
    count(compute_joules + idle_joules + radio_joules) AS known, bool_and(radio_provenance = 'covered') AS covered,
    list(DISTINCT boundary ORDER BY boundary) FILTER (boundary IS NOT NULL) AS boundaries
  FROM fleet_members GROUP BY fleet_run),
gathered AS (SELECT r.workload, r.fleet, r.record_kind, r.provenance, r.missing_reason, r.members, r.stages, r.replicas,
  r.micro_batches, r.pass_order, r.boundary_codec, r.gradient_codec, r.link, r.left_out, r.virtual_host,
  r.plan_statement, count(*) AS repeats, avg(r.step_s) AS step_s, avg(r.tokens_per_second) AS tokens_per_second,
  CASE WHEN count(r.energy_joules_per_step) = count(*) THEN avg(r.energy_joules_per_step) END AS joules,
  avg(p.bytes) AS bytes, CASE WHEN bool_and(p.known = p.members) THEN sum(p.radio) / nullif(sum(p.joules), 0) END AS radio,
  bool_and(p.covered) AS covered, any_value(p.boundaries) AS boundaries
FROM fleet_runs r LEFT JOIN parts p USING (fleet_run)
GROUP BY ALL)
SELECT * FROM gathered LEFT JOIN (SELECT workload, max(parameters) AS size FROM runs GROUP BY workload) USING (workload)
ORDER BY size, workload, fleet, list_position(['measured', 'simulated', 'missing'], record_kind), missing_reason, members
"""


def section(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """What the template needs; empty where no fleet was asked for, and then there is no section."""
    fleets = _fleets(connection)
    if not fleets:
        return {}
    return {
        "rows": list(grouped(fleets, "workload")),
        "carbon": _carbon(connection),
    }


def _fleets(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    """One row a fleet and kind of run, with the cells of its table."""
    found = rows(connection, _FLEETS)
    for row in found:
        row["kind"] = KINDS.get(row["record_kind"], row["record_kind"])
        row["known_as"] = {"measured": "measured", "simulated": "modelled"}.get(row["record_kind"], "absent")
        row["reason"] = words.of_a_device(row["missing_reason"]) or "no reason is known."
        row["grid"] = _grid(row)
        row["left_out"] = ", ".join(
            words.of_a_device(name, words.MOST_LETTERS_OF_A_NAME) for name in row["left_out"] or []
        )
        row["how"] = _how(row)
        row["step"] = "–" if row["step_s"] is None else figures.quantity(row["step_s"], None, None, "s")
        speed = row["tokens_per_second"]
        row["throughput"] = "–" if speed is None else figures.significant(speed, 3)
        row["energy"] = figures.quantity(row["joules"], None, None, "J")
        row["megabytes"] = "–" if row["bytes"] is None else figures.significant(row["bytes"] / 1e6, 3)
        row["radio_words"], row["radio_known_as"] = _radio(row)
        row["about"] = provenance.about(row["known_as"])
        covers = " or ".join(boundary_words(name) for name in row["boundaries"] or [])
        row["about_energy"] = provenance.about(row["provenance"] or "absent", covers)
        row["about_radio"] = provenance.about(row["radio_known_as"])
        ran = row["record_kind"] == "measured"
        row["virtual_words"] = f"{VIRTUAL_FLEET}: {VIRTUAL_ENERGY}" if ran else VIRTUAL_FLEET
        row["plan"] = words.of_a_device(row["plan_statement"]) or "–"
    return found


def _grid(row: Row) -> str:
    """Stages by replicas, as far as there is a plan."""
    if row["stages"] is None or row["replicas"] is None:
        return ""
    stages, replicas = row["stages"], row["replicas"]
    return f"{stages} {'stage' if stages == 1 else 'stages'} × {replicas} {'replica' if replicas == 1 else 'replicas'}"


def _how(row: Row) -> str:
    """How the messages travel and in which order the passes go."""
    codecs = [row["boundary_codec"], row["gradient_codec"]]
    travel = None if None in codecs else f"hidden states {codecs[0]}, gradients {codecs[1]}"
    batches = row["micro_batches"] and f"{row['micro_batches']} micro-batches"
    return ", ".join(part for part in (batches, row["pass_order"], travel, row["link"]) if part)


def _radio(row: Row) -> tuple[str, str]:
    """The radio's share of the energy, and how it is known."""
    if row["covered"]:
        return "–", "in the meter's figure"
    if row["radio"] is None:
        return "–", ""
    return figures.percent(row["radio"]), "modelled"


def _carbon(connection: duckdb.DuckDBPyConnection) -> list[tuple[Row, list[Row]]]:
    """Each fleet's run and cloud device: its energy in words, and a row an attribution."""
    found = rows(connection, CARBON, [list(ATTRIBUTIONS)])
    several = len({row["scenario"] for row in found}) > 1
    groups = []
    for _, members in grouped(found, "workload", "scenario", "fleet_run", "cloud_device"):
        first = members[0]
        head = {
            "workload": first["workload"], "fleet": first["fleet"], "cloud": first["cloud_device"],
            "scenario": first["scenario"] if several else "", "kind": ", ".join(carbon_run_words(first)),
            "provenance": first["provenance"], "energy": figures.quantity(first["energy_joules"], None, None, "J"),
            "split": _split(first), "duration": figures.duration(first["duration_s"]),
            "cloud_energy": figures.quantity(first["cloud_energy_joules"], None, None, "J"),
            "cloud_provenance": first["cloud_provenance"], "cloud_duration": figures.duration(first["cloud_duration_s"]),
        }  # fmt: skip
        groups.append((head, [_attribution(row) for row in members]))
    return groups


def _split(row: Row) -> str:
    """Where the fleet's energy goes, in per cent."""
    total = row["energy_joules"]
    parts = (("computing", "compute_joules"), ("waiting", "idle_joules"), ("radio", "radio_joules"))
    if not total:
        return ""
    return ", ".join(f"{name} {figures.percent(row[key] / total)}" for name, key in parts if row[key])


def _attribution(row: Row) -> Row:
    """The cells of a fleet's run, a cloud device and an attribution."""
    cloud, ratio, odds = row["cloud_total_grams"], row["ratio_cloud_over_fleet"], row["probability_fleet_wins"]
    total, _, ends = figures.quantity(
        row["total_grams"], row["total_low_grams"], row["total_high_grams"], "g"
    ).partition(" (")
    ratio_words, between = ("–", "") if ratio is None else figures.interval(ratio, row["ratio_low"], row["ratio_high"])
    winner = "" if odds is None else "edge" if odds > SURE else "cloud" if odds < 1 - SURE else "unclear"
    return {
        **row,
        "attribution": ATTRIBUTIONS.get(row["attribution"], row["attribution"]),
        "total": total,
        "range": ends.removesuffix(")"),
        "network": figures.quantity(row["network_grams"], None, None, "g"),
        "cloud": "–" if cloud is None else figures.quantity(cloud, None, None, "g"),
        "ratio": ratio_words,
        "ratio_range": between,
        "winner": winner,
        "winner_words": {"": "–", "edge": "fleet"}.get(winner, winner),
        "odds": "" if odds is None else f"fleet in {figures.percent(odds)}",
        "about": _computed(row["scenario"], row["provenance"]), "interval_kind": provenance.FLEET_DRAWS,
        "about_cloud": _computed(row["scenario"], row["cloud_provenance"]), "ratio_kind": provenance.DRAWS,
    }  # fmt: skip


def _computed(scenario: str, known: str | None) -> str:
    """About a figure of carbon, by how the energy under it is known."""
    return provenance.about(f"computed under scenario {scenario} from energy that is {known or 'absent'}")
