"""What the section "What was published" shows: claims of papers, held against this model; published and whole jobs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import duckdb

from edgecarbon.charts import figures
from edgecarbon.charts.style import ATTRIBUTIONS, MAIN_SCENARIO, Row, grouped, rows
from edgecarbon.report import provenance, scenarios, words

ROWS_SHOWN = 40
DIFFERENCES_SHOWN = 12

_CLAIMS = """
SELECT c.* FROM claims c LEFT JOIN (SELECT workload, max(parameters) AS size FROM runs GROUP BY workload) USING (workload)
WHERE c.scenario IN (c.own_scenario, $main)
ORDER BY c.paper, c.claim, size NULLS FIRST, c.workload, c.cloud_device, c.edge_device,
  list_position($attributions, c.attribution)
"""
_DIFFERENCES = """
SELECT name, n AS own, o AS other
FROM (FROM assumptions WHERE scenario = $own) n FULL JOIN (FROM assumptions WHERE scenario = $main) o USING (name)
WHERE (n.value, n.low, n.high) IS DISTINCT FROM (o.value, o.low, o.high) ORDER BY name
"""

QUANTITIES = {
    "charger_factor": "energy at the plug over energy at the battery",
    "overhead_ratio": "the charger's factor over the data centre's PUE",
    "grid_ratio": "carbon intensity at the edge over the cloud's",
    "equal_energy_ratio": "operational carbon of the edge over the cloud's, at equal computation energy",
    "energy_ratio": "energy of the cloud at its meter over the edge's",
    "edge_energy_ratio": "energy of the edge at its meter over the cloud's",
    "carbon_ratio": "carbon of the cloud over the edge's",
    "edge_carbon_ratio": "carbon of the edge over the cloud's",
}
"""What is computed for a claim (`edgecarbon.config.claims`), in words."""
HOLDS = {"yes": "holds", "within range": "within its range", "no": "does not hold", None: "not computed"}


@dataclass(frozen=True)
class Claim:
    """One claim: what is claimed, the rows of its table, and why the scenarios differ on it."""

    first: Row
    claimed: str
    reason: str
    groups: list[tuple[str, list[tuple[str, Row, Row]]]]
    """Cases by what they share: each with its name, the row under the paper's own scenario and that under the main one;
    {} for none."""
    cases: int
    left_out: int


def section(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """What the template needs; empty where there are no claims and no published jobs."""
    found = rows(connection, _CLAIMS, {"main": MAIN_SCENARIO, "attributions": list(ATTRIBUTIONS)})
    if not found:
        return {}
    known = provenance.energies(connection)
    for row in found:
        _describe(row, known)
    claims = [_claim(members) for _, members in grouped(found, "claim")]
    computed = {row["scenario"] for row in found}
    own = sorted({row["own_scenario"] for row in found} & computed - {MAIN_SCENARIO})
    return {
        "papers": list(grouped([{"paper": claim.first["paper"], "claim": claim} for claim in claims], "paper")),
        "main": MAIN_SCENARIO,
        "differences": [(name, *_differences(connection, name)) for name in own if MAIN_SCENARIO in computed],
        "holds": HOLDS,
        "quantities": QUANTITIES,
        "draws": provenance.DRAWS,
    }


def _claim(members: list[Row]) -> Claim:
    first = members[0]
    cells = []
    for _, mine in grouped(members, "workload", "cloud_device", "edge_device", "attribution"):
        by_scenario = {row["scenario"]: row for row in mine}
        own = by_scenario.get(first["own_scenario"], {})
        cells.append((_case(mine[0]), own, by_scenario.get(MAIN_SCENARIO, {})))
    reason = _reason(first, [own for _, own, _ in cells if own], [main for *_, main in cells if main])
    shown = cells[:ROWS_SHOWN]
    return Claim(first, _claimed(first), reason, _in_groups(shown), len(shown), len(cells) - len(shown))


def _case(row: Row) -> tuple[str, ...]:
    """What a row is about, in words: workload, cloud and edge device and attribution, each empty where it plays no part."""
    edge = f"against {row['edge_device']}" if row["cloud_device"] and row["edge_device"] else row["edge_device"]
    attribution = ATTRIBUTIONS.get(row["attribution"], row["attribution"])
    return tuple(part or "" for part in (row["workload"], row["cloud_device"], edge, attribution))


def _in_groups(cells: list[tuple[tuple[str, ...], Row, Row]]) -> list[tuple[str, list[tuple[str, Row, Row]]]]:
    """The cases, named by the last part in which they differ, under all that they share."""
    cases = [case for case, *_ in cells]
    differing = [place for place in range(len(cases[0])) if len({case[place] for case in cases}) > 1]
    if not differing:
        return [("", [(_joined(case) or "no devices play a part", own, main) for case, own, main in cells])]
    named = differing[-1]
    groups: dict[str, list[tuple[str, Row, Row]]] = {}
    for case, own, main in cells:
        shared = _joined(part for place, part in enumerate(case) if place != named)
        groups.setdefault(shared, []).append((case[named], own, main))
    return list(groups.items())


def _joined(parts: Iterable[str]) -> str:
    return ", ".join(filter(None, parts)).replace(", against ", " against ")


def _describe(row: Row, known: dict[tuple[str, str], str]) -> None:
    if row["cloud_device"] and row["edge_device"]:
        row["about"] = provenance.of_pair(row, known)
    else:
        row["about"] = provenance.about(
            f"computed under scenario {row['scenario']}", source="the carbon model, over the scenario's assumptions"
        )
    row["value_words"], row["interval"] = "–", ""
    if row["value"] is not None:
        row["value_words"], row["interval"] = figures.interval(row["value"], row["value_low"], row["value_high"])


def _claimed(row: Row) -> str:
    """The range that a claim names, which may be a point, or open at one end."""
    low, high = (None if row[name] is None else figures.plain(row[name]) for name in ("claimed_low", "claimed_high"))
    if high is None:
        return f"at least {low}" if low else "–"
    if low is None:
        return f"at most {high}"
    return low if low == high else f"{low} to {high}"


def _reason(first: Row, own: list[Row], main: list[Row]) -> str:
    """Whether the claim holds under the scenario made after its paper, and under the main one, in a sentence."""
    needs = f"It needs {first['needs'].rstrip('.')}." if first["needs"] else ""
    if not own:
        return f"Its own scenario, {first['own_scenario']}, was not computed. {needs}".strip()
    theirs, ours = _verdict(own), _verdict(main)
    if not main:
        return f"Under scenario {first['own_scenario']} it {theirs}. {needs}".strip()
    if theirs == ours:
        return f"Under both scenarios it {ours}. {needs}".strip()
    return f"Under scenario {first['own_scenario']} it {theirs}, under {MAIN_SCENARIO} it {ours}. {needs}".strip()


def _verdict(rows: list[Row]) -> str:
    """How a claim fares over the cases of one scenario."""
    kinds = [row["holds"] for row in rows]
    if len(set(kinds)) == 1:
        return {"yes": "holds", "no": "does not hold"}.get(kinds[0], "is reached within the range of the inputs")
    sure = kinds.count("yes")
    reached = kinds.count("within range")
    parts = [f"holds in {sure}"] if sure else []
    parts += [f"is reached within the range of the inputs in {reached}"] if reached else []
    return f"{' and '.join(parts)} of {len(kinds)} cases"


def _differences(connection: duckdb.DuckDBPyConnection, own: str) -> tuple[list[str], int]:
    """What a scenario decides and assumes otherwise than the main one, in words, and how many more there are."""
    known = scenarios.told(connection)
    chosen, usual = (known[name]["choices"] if name in known else [] for name in (own, MAIN_SCENARIO))
    told = [choice for choice in chosen if choice not in usual]
    told += map(_difference, rows(connection, _DIFFERENCES, {"own": own, "main": MAIN_SCENARIO}))
    return told[:DIFFERENCES_SHOWN], max(0, len(told) - DIFFERENCES_SHOWN)


def _difference(row: Row) -> str:
    """An assumption that one scenario has alone, or that the other has with another value or range."""
    own, other = row["own"], row["other"]
    if own["name"] is None:
        return words.of_a_device(f"without {row['name']} ({_number(other)} in {MAIN_SCENARIO})")
    ranges = own["value"] == other["value"]
    instead = "" if other["name"] is None else f" instead of {_number(other, ranges)}"
    return words.of_a_device(f"{row['name']} {_number(own, ranges)}{instead}")


def _number(row: Row, with_range: bool = False) -> str:
    unit = "" if row["unit"] in (None, "1") else f" {row['unit']}"
    ends = f" ({words.given(row['low'])}–{words.given(row['high'])})" if with_range else ""
    return f"{words.given(row['value'])}{unit}{ends}"
