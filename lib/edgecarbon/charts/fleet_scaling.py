"""What the radio takes as fleets grow: modelled, from two devices to a thousand."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import altair as alt
import duckdb

from edgecarbon.charts import figures, style

_SQL = """
SELECT * FROM fleet_scaling LEFT JOIN (SELECT workload, max(parameters) AS size FROM runs GROUP BY workload) USING (workload)
WHERE radio_joules_per_token > 0 AND devices > 0 ORDER BY size, workload, device, variant, devices
"""
_HEIGHT, _LINE_PX, _GAP_PX, _THREAD_PX, _LETTERS = 400, 14, 3, 14, 17
_SHAPES = ["diamond", "square", "triangle-up"]


def fleet_scaling(connection: duckdb.DuckDBPyConnection) -> style.Chart:
    """Radio energy a token against the number of devices, both logarithmic; a line, named at its end, a variant."""
    title = "Energy of communication, as a fleet grows"
    found = style.rows(connection, _SQL)
    if not found:
        return style.no_data(title, "no scaling study has been computed.")
    panels = [
        style.titled(_lines(members), style.panel_title(f"{workload} on fleets of {device}", "modelled"))
        for (workload, device), members in style.grouped(found, "workload", "device")
    ]
    subtitle = ["All of it is modelled: no such fleet ran. Radios at both ends; computing is not in it."]
    return style.stacked(panels, title, subtitle)


def _lines(members: list[style.Row]) -> style.Layers:
    values = [row["radio_joules_per_token"] for row in members]
    low, high = min(values) / 1.3, max(values) * 1.3
    names = list(dict.fromkeys(row["variant"] for row in members))
    points = [_point(row, names) for row in members]
    ends = [max((row for row in members if row["variant"] == name), key=lambda row: row["devices"]) for name in names]
    labels = _labels(ends, low, high)
    counts = [row["devices"] for row in members]
    x = alt.X(
        "devices:Q",
        scale=alt.Scale(type="log", domain=[min(counts), max(counts)], nice=False),
        axis=alt.Axis(values=_tens(counts), format=",d", grid=False),
        title="devices in the fleet",
    )
    y = alt.Y(
        "joules:Q",
        scale=alt.Scale(type="log", domain=[low, high], nice=False),
        axis=style.si_axis("J", values=style.ticks(values)),
        title="radio energy per token",
    )
    colour = alt.Color("variant:N", scale=style.series_scale(names), legend=None)
    base = style.marks(points).encode(x=x, y=y, color=colour)
    tooltip = [
        alt.Tooltip("variant:N"),
        alt.Tooltip("devices:Q"),
        alt.Tooltip("grid:N", title="stages × replicas"),
        alt.Tooltip("radio:N", title="radio, a token (modelled)"),
        alt.Tooltip("all:N", title="all, a token (modelled)"),
        alt.Tooltip("moved:N", title="moved, a token"),
        alt.Tooltip("speed:N", title="tokens/s"),
    ]
    # Where colours begin again, shapes differ.
    shape = alt.Shape("shape:N", scale=alt.Scale(domain=_SHAPES, range=_SHAPES), legend=None)
    dots = base.mark_point(size=55, fill="white", opacity=1, strokeWidth=1.6).encode(shape=shape, tooltip=tooltip)
    named = style.marks(labels)
    beside = {"expr": f"width + {_THREAD_PX}"}
    place = alt.Y("place:Q", scale=None)
    texts = named.mark_text(align="left", dx=3, baseline="middle", lineBreak="\n", lineHeight=_LINE_PX)
    # A label that was pushed away from its line keeps a thread to it.
    thread = named.mark_rule(strokeWidth=1).encode(
        color=colour, x=style.at("width"), x2=alt.value(beside), y=alt.Y("from:Q", scale=None)
    )
    threads = thread.encode(y2=alt.Y2("middle:Q"))
    line = base.mark_line(strokeDash=style.DASHES[style.PROVENANCES.index("modelled")], strokeWidth=1.8)
    texts = texts.encode(x=style.at(beside), y=place, text=alt.Text("text:N"))
    return style.layered([line, threads, dots, texts], height=_HEIGHT)


def _point(row: style.Row, names: Sequence[str]) -> style.Row:
    return {
        "variant": row["variant"],
        "devices": row["devices"],
        "joules": row["radio_joules_per_token"],
        "shape": _SHAPES[names.index(row["variant"]) // len(style.SERIES_COLOURS) % len(_SHAPES)],
        "grid": f"{row['stages']} × {row['replicas']}",
        "radio": figures.quantity(row["radio_joules_per_token"], None, None, "J"),
        "all": figures.quantity(row["joules_per_token"], None, None, "J"),
        "moved": figures.quantity(row["communication_bytes_per_token"], None, None, "B"),
        "speed": "–" if row["tokens_per_second"] is None else figures.significant(row["tokens_per_second"], 3),
    }


def _tens(counts: Sequence[int]) -> list[int]:
    """Ticks of the number of devices: the ends, and the powers of ten between."""
    low, high = min(counts), max(counts)
    return sorted({low, high, *(10**n for n in range(1, 7) if 2 * low < 10**n < high / 2)})


def _labels(ends: list[style.Row], low: float, high: float) -> list[style.Row]:
    """The lines' names, in pixels from the top, pushed apart until none lies on another."""
    labels = []
    for row in ends:
        at = _HEIGHT * math.log(high / row["radio_joules_per_token"]) / math.log(high / low)
        text = textwrap.wrap(row["variant"], _LETTERS) or [row["variant"]]
        labels.append({"variant": row["variant"], "text": "\n".join(text), "from": at, "lines": len(text)})
    labels.sort(key=lambda label: label["from"])
    # First down, each below the one before; then up again from the bottom, where that went too far.
    for forwards in (True, False):
        edge = 0.0 if forwards else float(_HEIGHT)
        for label in labels if forwards else reversed(labels):
            half = (label["lines"] * _LINE_PX + _GAP_PX) / 2
            at = label.get("middle", label["from"])
            label["middle"] = max(at, edge + half) if forwards else min(at, edge - half)
            edge = label["middle"] + (half if forwards else -half)
    for label in labels:
        # The mark's baseline is that of its first line.
        label["place"] = label["middle"] - (label["lines"] - 1) * _LINE_PX / 2
    return labels
