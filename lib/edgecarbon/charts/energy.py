"""Energy by device: one point with its 95 % interval a device, one panel a workload."""

from __future__ import annotations

import math
from typing import Any

import altair as alt
import duckdb

from edgecarbon.charts import figures, style
from edgecarbon.vocabulary import flag_words

_SUBTITLE = ["Mean and 95 % interval, idle power included. Solid: measured. Hollow, dashed: not measured."]

# How far below the smallest mean an interval's lower end may still stretch a logarithmic axis.
_DEEPEST = 30.0

_SQL = """
SELECT e.workload, e.device, e.role, e.provenance, e.boundary, e.repeats, e.precision, e.energy_status, e.mfu, e.flags,
  e.{column} AS mean, e.{column}_low AS low, e.{column}_high AS high, s.sources
FROM device_energy e LEFT JOIN (
  SELECT workload, device, string_agg(DISTINCT source, '; ' ORDER BY source) AS sources
  FROM readings JOIN runs USING (run_id) WHERE "window" = 'train' AND source IS NOT NULL GROUP BY ALL) s
  USING (workload, device)
  LEFT JOIN (SELECT workload, max(parameters) AS size FROM runs GROUP BY workload) USING (workload)
ORDER BY size, e.workload, e.role, mean NULLS LAST, e.device
"""


def energy_per_step(connection: duckdb.DuckDBPyConnection) -> style.Chart:
    """Joules per optimiser step by device, with 95 % intervals."""
    return _energy(connection, "joules_per_step", "Energy per training step", "energy per step")


def energy_per_million_tokens(connection: duckdb.DuckDBPyConnection) -> style.Chart:
    """Joules per million training tokens by device, with 95 % intervals."""
    return _energy(connection, "joules_per_million_tokens", "Energy per million tokens", "energy per million tokens")


def _energy(connection: duckdb.DuckDBPyConnection, column: str, title: str, axis_title: str) -> style.Chart:
    found = style.rows(connection, _SQL.format(column=column))
    if not any(row["mean"] is not None for row in found):
        return style.no_data(title, "no run in this database has an energy reading.")
    panels = [_panel(workload, members, axis_title) for (workload,), members in style.grouped(found, "workload")]
    return style.stacked(panels, title, _SUBTITLE)


def _panel(workload: str, members: list[style.Row], axis_title: str) -> style.Layers:
    wide, domain, marks = _extent(members)
    style.label_devices(members)
    for row in members:
        _describe(row, wide, domain)
    scale = alt.Scale(type="log" if wide else "linear", domain=domain, nice=False)
    x = alt.X("mean:Q", scale=scale, title=axis_title, axis=style.si_axis("J", **marks))
    base = style.marks(members).encode(
        y=style.label_axis(2, members),
        color=alt.Color("role:N", scale=style.role_scale(), title=None),
        tooltip=[
            alt.Tooltip("device:N"),
            alt.Tooltip("figure:N", title=f"{axis_title} (95 %)"),
            alt.Tooltip("provenance:N"),
            alt.Tooltip("boundary_words:N", title="boundary"),
            alt.Tooltip("sources:N", title="source"),
            alt.Tooltip("repeats:Q"),
            alt.Tooltip("precision:N"),
            alt.Tooltip("mfu:Q", title="MFU", format=".2~f"),
            alt.Tooltip("flag_words:N", title="flags"),
        ],
    )
    known = base.transform_filter("isValid(datum.mean)")
    shape = alt.Shape("provenance:N", scale=style.provenance_scale(style.SHAPES), legend=None)
    dashes = alt.StrokeDash("provenance:N", scale=style.provenance_scale(style.DASHES), legend=None)
    fill = alt.Fill("provenance:N", scale=style.provenance_scale(style.FILLS), legend=None)
    low = alt.X("drawn_low:Q", scale=scale, title=axis_title)
    rule = known.mark_rule(strokeWidth=2.5).encode(x=low, x2=alt.X2("high:Q"), strokeDash=dashes)
    # White fills hide the line behind a hollow symbol; a measured one is filled in its side's colour by a layer on top.
    point = known.mark_point(size=110, opacity=1, strokeWidth=2).encode(x=x, fill=fill, shape=shape)
    solid = known.transform_filter("datum.provenance === 'measured'").mark_point(size=110, filled=True, opacity=1)
    left = known.transform_filter("datum.align === 'left'").mark_text(align="left", dy=-14, dx=-5)
    right = known.transform_filter("datum.align === 'right'").mark_text(align="right", dy=-14, dx=5)
    texts = [part.encode(x=x, text=alt.Text("value:N"), color=alt.ColorValue(style.INK)) for part in (left, right)]
    missing = base.transform_filter("!isValid(datum.mean)").mark_text(align="left", dx=4)
    words = missing.encode(x=style.at(0), text=alt.TextValue("no reading"), color=alt.ColorValue(style.QUIET))
    layers = [rule, point, solid.encode(x=x), *texts, words]
    return style.layered(layers, height=alt.Step(46), title=style.panel_title(workload))


def _extent(members: list[style.Row]) -> tuple[bool, list[float], dict[str, Any]]:
    """Whether the axis is logarithmic, its domain with room for the symbols, and its ticks."""
    means = [row["mean"] for row in members if row["mean"]]
    highs = [row["high"] for row in members if row["high"]]
    if not means:
        return False, [0.0, 1.0], {"tickCount": 5}
    # An interval that reaches down to 0, or nearly, has no end on a logarithmic axis: it is drawn to the axis's edge.
    lows = [row["low"] for row in members if row["low"] and row["low"] > min(means) / _DEEPEST]
    ends = [*means, *highs, *lows]
    if not style.spans_widely(ends):
        return False, [0.0, max(ends) * 1.08], {"tickCount": 5}
    return True, [min(ends) / 1.4, max(ends) * 1.15], {"values": style.ticks(ends)}


def _describe(row: style.Row, wide: bool, domain: list[float]) -> None:
    """Add the texts, the drawn end of the interval and the label's alignment that the panel shows."""
    mean, low, high = row["mean"], row["low"], row["high"]
    row["figure"] = figures.quantity(mean, low, high, "J")
    row["value"] = row["figure"].split(" (")[0]
    row["flag_words"] = ", ".join(flag_words(row.pop("flags"))) or "none"
    row["drawn_low"] = None if low is None else max(low, domain[0])
    if not mean:
        return
    offset, whole = (math.log(mean / domain[0]), math.log(domain[1] / domain[0])) if wide else (mean, domain[1])
    row["align"] = "right" if offset > 0.6 * whole else "left"
