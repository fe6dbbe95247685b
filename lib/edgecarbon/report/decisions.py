"""What the section "What decides it" shows: what would have to be true for the other side to win, and which input decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb

from edgecarbon.charts import figures
from edgecarbon.charts.decisions import PAIR, in_order
from edgecarbon.charts.style import ATTRIBUTIONS, Row, grouped
from edgecarbon.report import provenance, words
from edgecarbon.vocabulary import PRIOR_WORDS

OPEN_PAIRS, TOLD_PAIRS = 1, 4
"""Pairs of a workload that stand open, and those of which the sentence stands; a reader unfolds the others."""
PAIRS_SHOWN = 24
"""Pairs with their tables on the page; a page with more would be slow to open."""
INPUTS_SHOWN = 8
OTHERS_SHOWN = 120

# Nearer to 1 than this, "times less" would say nothing.
_EQUAL = 1.05

Tables = dict[str, dict[tuple[str, ...], list[Row]]]


@dataclass(frozen=True)
class Pair:
    """One cloud device against one edge device under the main scenario: a sentence, and the rows of its tables."""

    cloud: str
    edge: str
    attribution: str
    """The one that the sentence and the ranking are under, in words."""
    winner: str
    sentence: str
    verdicts: list[Row]
    """Rows of table `break_even`, one an attribution."""
    ranking: list[Row]
    """Rows of table `sensitivity` under that attribution, what decides most first."""
    left_out: int
    others: list[tuple[str, str, list[Row]]]
    """By input: name, label, and its rows under each of `attributions`."""
    attributions: list[str]
    standard: list[tuple[str, list[Row]]]
    conventions: list[str]


def section(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """What the template needs; empty where no scenario has been asked what decides it."""
    known = provenance.energies(connection)
    found = {name: in_order(connection, name, then) for name, then in _TABLES.items()}
    by_pair = {name: dict(grouped(table, *PAIR)) for name, table in found.items()}
    if not found["break_even"]:
        return {}
    main = found["break_even"][0]["scenario"]
    mine = [key for key in by_pair["break_even"] if key[0] == main]
    pairs = [(key[1], _pair(key, by_pair, known)) for key in mine[:PAIRS_SHOWN]]
    others = [
        _main_of(members, _labels(by_pair, key), known)
        for key, members in by_pair["break_even"].items()
        if key[0] != main
    ]
    by_workload: dict[str, list[Pair]] = {}
    for workload, pair in pairs:
        by_workload.setdefault(workload, []).append(pair)
    return {
        "scenario": main,
        "workloads": [
            (name, some[:OPEN_PAIRS], some[OPEN_PAIRS:TOLD_PAIRS], some[TOLD_PAIRS:])
            for name, some in by_workload.items()
        ],
        "left_out": len(mine) - len(pairs),
        "others": others[:OTHERS_SHOWN],
        "others_left_out": max(0, len(others) - OTHERS_SHOWN),
        "intervals": {"draws": provenance.DRAWS, "bootstrap": provenance.BOOTSTRAP, "sourced": provenance.SOURCED},
    }


_TABLES = {
    "break_even": "t.attribution",
    "sensitivity": "t.sobol_total DESC NULLS LAST, t.morris_mu_star DESC NULLS LAST, t.input",
    "standard": "t.lifetime_years, t.utilisation",
}


def _pair(key: tuple[str, ...], tables: Tables, known: dict[tuple[str, str], str]) -> Pair:
    verdicts, inputs = tables["break_even"][key], tables["sensitivity"].get(key, [])
    told = provenance.of_pair(verdicts[0], known)
    labels = _labels(tables, key)
    for row in verdicts:
        _describe(row, labels, told)
    for row in inputs:
        _describe_input(row, told)
    main = words.main_row(verdicts)
    ranking = [row for row in inputs if row["attribution"] == main["attribution"]]
    shown = _shown(ranking, main["deciding_input"])
    attributions = [row["attribution"] for row in verdicts if row is not main]
    conventions = tables["standard"].get(key, [])
    for row in conventions:
        row["about"] = told
        ratio = row["ratio_cloud_over_edge"]
        row["ratio"], row["interval"] = (
            ("–", "") if ratio is None else figures.interval(ratio, row["ratio_low"], row["ratio_high"])
        )
        row["probability"] = figures.percent(row["probability_edge_wins"])
        odds = row["probability_edge_wins"]
        row["winner"] = "" if odds is None or odds == 0.5 else "edge" if odds > 0.5 else "cloud"
    return Pair(
        cloud=key[2],
        edge=key[3],
        attribution=main["attribution_words"],
        winner=main["winner"],
        sentence=f"{_energy_sentence(main)} {_turn_sentence(main)}",
        verdicts=verdicts,
        ranking=shown,
        left_out=len(ranking) - len(shown),
        others=[
            (row["input"], row["label"], [labels.get((name, row["input"]), {}) for name in attributions])
            for row in shown
        ],
        attributions=[ATTRIBUTIONS.get(name, name) for name in attributions],
        standard=[(ATTRIBUTIONS.get(name, name), some) for (name,), some in grouped(conventions, "attribution")],
        conventions=list(dict.fromkeys(convention(row) for row in conventions)),
    )


def _winner(row: Row) -> str:
    """Who emits less by a row of `break_even`; empty where nobody knows."""
    if row["ratio_default"] is None:  # as over an edge that emits nothing, whose energy then adds nothing
        return "edge" if row["break_even_ratio"] == 0 else ""
    return "edge" if row["ratio_default"] > 1 else "cloud"


def convention(row: Row) -> str:
    """A row of `standard` in words: `2 years, in use 20 %`."""
    return f"{figures.plain(row['lifetime_years'])} years, in use {figures.plain(100 * row['utilisation'])} %"


def with_unit(value: float | None, unit: str | None) -> str:
    """A figure of an input with its unit; nothing behind a bare number."""
    if value is None:
        return "–"
    return figures.significant(value, 3) + ("" if unit in (None, "1") else f" {unit}")


def ratio_words(row: Row, middle: str, low: str, high: str) -> tuple[str, str]:
    """A ratio and its interval as texts; an interval without an upper end goes on without bound."""
    if row[middle] is None:
        return "none", ""
    return figures.interval(row[middle], row[low], row[high])


def distance_words(distance: float | None) -> str:
    """How far a value lies from its range."""
    if distance is None:
        return ""
    if distance <= 1:
        return "within its range"
    return "just beyond its range" if distance < _EQUAL else f"{figures.significant(distance)} times beyond its range"


def _describe(row: Row, labels: dict[tuple[str, str], Row], told: str) -> None:
    """The cells of a row of `break_even`, and who wins at the defaults."""
    row["about"] = told
    row["attribution_words"] = ATTRIBUTIONS.get(row["attribution"], row["attribution"])
    row["winner"] = _winner(row)
    row["ratio"] = "–" if row["ratio_default"] is None else figures.significant(row["ratio_default"], 3)
    row["energy"], row["energy_interval"] = (
        ratio_words(row, "energy_ratio", "energy_ratio_low", "energy_ratio_high") if row["energy_ratio"] else ("–", "")
    )
    row["needed"], row["needed_interval"] = ratio_words(row, "break_even_ratio", "break_even_low", "break_even_high")
    row["decides"] = labels.get((row["attribution"], row["deciding_input"]), {})
    row["deciding_label"] = row["decides"].get("label") or row["deciding_input"] or "no input alone"
    row["deciding_words"] = with_unit(row["deciding_value"], row["deciding_unit"]) if row["deciding_input"] else ""
    row["default_words"] = with_unit(row["decides"].get("value"), row["deciding_unit"]) if row["decides"] else ""
    row["distance_words"] = distance_words(row["deciding_distance"])


def _describe_input(row: Row, told: str) -> None:
    """The cells of a row of `sensitivity`."""
    row["about"] = told
    row["prior"] = PRIOR_WORDS.get(row["distribution"], row["distribution"] or "–")
    row["unit_words"] = "" if row["unit"] == "1" else row["unit"] or ""
    ends = row["low"], row["high"]
    # An energy is a result of runs, with as many digits as its interval carries; the others stand as they were given.
    if row["unit_words"].startswith("J/"):
        row["value_words"], row["range"] = figures.interval(row["value"], *ends)
    else:
        row["value_words"] = words.given(row["value"])
        row["range"] = "" if None in ends else f"{words.given(row['low'])}–{words.given(row['high'])}"
    row["value_words"] = f"{row['value_words']} {row['unit_words']}".rstrip()
    for name in ("morris_mu_star", "morris_sigma", "ratio_at_low", "ratio_at_high"):
        row[f"{name}_words"] = "–" if row[name] is None else figures.significant(row[name])
    for name in ("sobol_first", "sobol_total"):
        row[f"{name}_words"] = _share(row[name])
        half = row[f"{name}_confidence"]
        row[f"{name}_half"] = "" if half is None else f"± {figures.grouped(100 * half, 1)}"
        ends = (None, None) if None in (row[name], half) else (row[name] - half, row[name] + half)
        row[f"{name}_low"], row[f"{name}_high"] = ends
    row["reversal_words"] = figures.significant(row["reversal_value"], 3) if row["reversal_value"] is not None else "–"
    row["distance_words"] = distance_words(row["reversal_distance"])


def _share(share: float | None) -> str:
    return "–" if share is None else f"{figures.grouped(100 * share, 1)} %"


def _shown(ranking: list[Row], deciding: str | None) -> list[Row]:
    """The first rows; the input that decides is never among those left out."""
    first = ranking[:INPUTS_SHOWN]
    return first + [row for row in ranking[INPUTS_SHOWN:] if row["input"] == deciding]


def _times(ratio: float) -> str:
    """How much less energy a ratio is, or how much more."""
    return f"{figures.significant(max(ratio, 1 / ratio))} times {'less' if ratio > 1 else 'more'}"


def _energy_sentence(row: Row) -> str:
    """What the edge uses beside the cloud, what it would need, and so who wins at the defaults."""
    edge, cloud, ratio, needed = row["edge_device"], row["cloud_device"], row["energy_ratio"], row["break_even_ratio"]
    if not ratio:
        return f"There is no energy to compare {edge} and {cloud} by."
    uses = f"{_times(ratio)} energy than" if max(ratio, 1 / ratio) > _EQUAL else "about as much energy as"
    start = f"{edge} uses {uses} {cloud}; under {row['attribution_words']}"
    if needed is None:
        cloud_wins = "no energy ratio lets it break even, so the cloud emits less"
        return f"{start} {cloud_wins if row['winner'] else 'neither emits anything'}."
    if needed == 0:
        return f"{start} its energy adds nothing, so the edge emits less at any ratio."
    if max(needed / ratio, ratio / needed) < _EQUAL:
        return f"{start} that is about where both emit the same, the {row['winner']} barely less."
    would = "about as much" if max(needed, 1 / needed) < _EQUAL else _times(needed)
    than = "as" if would == "about as much" else "than"
    even = f"both would emit the same if it used {would} {than} {cloud}"
    return f"{start} {even}, so the {row['winner']} emits less."


def _turn_sentence(row: Row) -> str:
    if not row["deciding_input"]:
        return "No single assumption in the model turns it."
    instead = f" instead of {row['default_words']}" if row["default_words"] else ""
    return f"The verdict turns if “{row['deciding_label']}” were {row['deciding_words']}{instead}: {row['distance_words']}."


def _labels(tables: Tables, key: tuple[str, ...]) -> dict[tuple[str, str], Row]:
    """A pair's rows of `sensitivity` by attribution and input."""
    return {(row["attribution"], row["input"]): row for row in tables["sensitivity"].get(key, [])}


def _main_of(members: list[Row], labels: dict[tuple[str, str], Row], known: dict[tuple[str, str], str]) -> Row:
    """A pair's row of `break_even` under the main attribution, with its cells."""
    row = words.main_row(members)
    _describe(row, labels, provenance.of_pair(row, known))
    return row
