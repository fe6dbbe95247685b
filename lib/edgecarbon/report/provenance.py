"""What hovers over a figure: how it is known, what it covers, what kind its interval is, and where it is from."""

from __future__ import annotations

import duckdb
from markupsafe import Markup

from edgecarbon.charts.style import Row, rows
from edgecarbon.report import words
from edgecarbon.vocabulary import boundary_words

REPEATS = "95 %, from the scatter of repeats and the sensor's own uncertainty"
MODELLED = "range of the device's data, taken as 95 %"
SENSOR = "95 %, from the sensor's own uncertainty"
DRAWS = "5 to 95 % of draws over the ranges of all assumptions at once"
FLEET_DRAWS = "5 to 95 % of draws over the ranges of the fleet's inputs"
SOURCED = "range of the source, or of several"
BOOTSTRAP = "95 %, bootstrap over the samples"

_KNOWN = """
SELECT r.workload, r.device, string_agg(DISTINCT coalesce(r.provenance, 'absent'), ' and ') AS provenance,
  list(DISTINCT r.boundary ORDER BY r.boundary) FILTER (r.boundary IS NOT NULL) AS boundaries, any_value(s.sources) AS sources
FROM runs r LEFT JOIN (
  SELECT workload, device, string_agg(DISTINCT source, '; ' ORDER BY source) AS sources
  FROM readings JOIN runs USING (run_id) WHERE "window" = 'train' AND source IS NOT NULL GROUP BY ALL) s
  ON s.workload = r.workload AND s.device = r.device
GROUP BY r.workload, r.device
"""


def about(known: str | None = None, covers: str | None = None, source: str | None = None) -> str:
    """Sentences on a figure, as far as they are known; `known` is a provenance or words, `covers` a boundary."""
    parts = {
        "Known as": known,
        "Covers": covers and boundary_words(covers),
        "From": words.of_a_device(source),
    }
    return " ".join(f"{name}: {text.rstrip('.')}." for name, text in parts.items() if text)


def figure(
    value: float | None,
    told: str,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    interval: str = "",
) -> Markup:
    """Attributes of a table's cell: the figure in full precision, for the download, and what hovers over it.

    Args:
        value: the figure; None gives an empty cell in the download.
        told: what `about` made.
        unit: of value, low and high; "" for a bare number.
        low: lower end of its interval, with `high`.
        interval: what kind of interval that is.
    """
    facts = {
        "title": _hovers(told, interval if None not in (low, high) else ""),
        "data-value": "" if value is None else repr(value),
        "data-unit": unit,
        "data-low": None if low is None else repr(low),
        "data-high": None if high is None else repr(high),
    }
    written = [Markup(' {}="{}"').format(name, fact) for name, fact in facts.items() if fact or name == "data-value"]
    return Markup("").join(written)


def hover(told: str, interval: str = "") -> Markup:
    """Attributes of a cell that the download takes as its text: what hovers over it, no more."""
    text = _hovers(told, interval)
    return Markup(' title="{}"').format(text) if text else Markup("")


def _hovers(told: str, interval: str) -> str:
    return " ".join(filter(None, (told, interval and f"Interval: {interval}.")))


def energies(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], str]:
    """How the energy of each workload and device is known, in a few words: `measured, GPU board`."""
    return {key: f"{row['provenance']}, {_covers(row)}" for key, row in _known(connection).items()}


def sources(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], str | None]:
    """Where the energy of each workload and device is read from; None where nothing says it."""
    return {key: row["sources"] for key, row in _known(connection).items()}


def of_pair(row: Row, known: dict[tuple[str, str], str]) -> str:
    """About a figure that a scenario makes of the energy of two devices.

    Args:
        row: with scenario, workload, cloud_device and edge_device.
        known: of `energies`.
    """
    sides = [
        f"{row[side]} ({known.get((row['workload'], row[side]), 'energy absent')})"
        for side in ("cloud_device", "edge_device")
    ]
    return about(
        f"computed under scenario {row['scenario']} from the energy of {' and '.join(sides)}",
        source="the carbon model, over the scenario's assumptions",
    )


def _known(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], Row]:
    return {(row["workload"], row["device"]): row for row in rows(connection, _KNOWN)}


def _covers(row: Row) -> str:
    return " or ".join(boundary_words(name) for name in row["boundaries"] or []) or boundary_words(None)
