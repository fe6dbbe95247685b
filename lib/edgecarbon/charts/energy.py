"""Energy by device: one point with its 95 % interval a device, one panel a workload."""

from __future__ import annotations

import math
from typing import Any

import altair as alt
import duckdb

from edgecarbon.charts import figures, style

_SUBTITLE = ["Mean and 95 % interval, idle power included. Solid: measured. Hollow, dashed: not measured."]

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


def _panel(workload: str, members: list[style.Row], axis_title: str) -> alt.LayerChart:
    ends = [row[key] for row in members for key in ("mean", "low", "high") if row[key] is not None]
    wide = style.spans_widely(ends)
    lowest, highest = min(ends, default=0.0), max(ends, default=1.0)
    style.label_devices(members)
    for row in members:
        _describe(row, wide, lowest, highest)
    data = alt.InlineData(values=members)
    # The padding leaves room for the largest and smallest symbol; it also widens a domain of one value.
    scale = alt.Scale(type="log", nice=False, padding=18) if wide else alt.Scale(zero=True, padding=18)
    marks: dict[str, Any] = {"values": style.ticks(ends)} if wide else {"tickCount": 5}
    x = alt.X("mean:Q", scale=scale, title=axis_title, axis=style.si_axis("J", **marks))
    base = alt.Chart(data).encode(
        y=style.label_axis(2),
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
    low = alt.X("low:Q", scale=scale, title=axis_title)
    rule = known.mark_rule(strokeWidth=2.5).encode(x=low, x2="high:Q", strokeDash=dashes)
    # White fills hide the line behind a hollow symbol; a measured one is filled in its side's colour by a layer on top.
    point = known.mark_point(size=110, opacity=1, strokeWidth=2).encode(x=x, fill=fill, shape=shape)
    solid = known.transform_filter("datum.provenance === 'measured'").mark_point(size=110, filled=True, opacity=1)
    left = known.transform_filter("datum.align === 'left'").mark_text(align="left", dy=-14, dx=-5)
    right = known.transform_filter("datum.align === 'right'").mark_text(align="right", dy=-14, dx=5)
    texts = [part.encode(x=x, text="value:N", color=alt.value(style.INK)) for part in (left, right)]
    missing = base.transform_filter("!isValid(datum.mean)").mark_text(align="left", dx=4)
    words = missing.encode(x=alt.value(0), text=alt.value("no reading"), color=alt.value(style.QUIET))
    layers = [rule, point, solid.encode(x=x), *texts, words]
    return alt.LayerChart(layer=layers, width=style.WIDTH, height=alt.Step(46), title=style.panel_title(workload))


def _describe(row: style.Row, wide: bool, lowest: float, highest: float) -> None:
    """Add the texts and the label's alignment that the panel draws."""
    mean, low, high = row["mean"], row["low"], row["high"]
    row["figure"] = figures.quantity(mean, low, high, "J")
    row["value"] = figures.quantity(mean, low, high, "J").split(" (")[0]
    row["flag_words"] = ", ".join(row.pop("flags") or []) or "none"
    if mean is None:
        return
    offset, whole = (math.log(mean / lowest), math.log(highest / lowest)) if wide else (mean, highest)
    row["align"] = "right" if offset > 0.6 * whole else "left"
