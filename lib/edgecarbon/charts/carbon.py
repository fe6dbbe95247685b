"""Carbon by part under each attribution, and the verdict: cloud over edge, around 1."""

from __future__ import annotations

import altair as alt
import duckdb

from edgecarbon.charts import figures, style
from edgecarbon.vocabulary import boundary_words

_CARBON = """
SELECT c.scenario, c.workload, c.attribution, c.device, c.role, c.provenance, c.boundary,
  avg(operational_grams) AS operational, avg(embodied_grams) AS embodied, avg(network_grams) AS network,
  avg(total_grams) AS total, avg(total_low_grams) AS low, avg(total_high_grams) AS high,
  any_value(overhead_factor) AS overhead_factor, any_value(intensity_g_per_kwh) AS intensity_g_per_kwh,
  any_value(embodied_key) AS embodied_key, count(*) AS repeats
FROM carbon c LEFT JOIN (SELECT workload, max(parameters) AS size FROM runs GROUP BY workload) USING (workload)
WHERE functional_unit = 'million_tokens' AND total_grams IS NOT NULL
GROUP BY c.scenario, c.workload, c.attribution, c.device, c.role, c.provenance, c.boundary, size
ORDER BY size, c.workload, c.scenario <> 'default', c.scenario, list_position(?, c.attribution), c.role, c.device
"""

_VERDICTS = """
WITH figures AS (
  SELECT workload, device, list(DISTINCT [provenance, boundary] ORDER BY [provenance, boundary]) AS figure
  FROM runs GROUP BY ALL)
SELECT v.*, c.figure AS cloud_figure, e.figure AS edge_figure
FROM verdicts v
  LEFT JOIN (SELECT workload, max(parameters) AS size FROM runs GROUP BY workload) USING (workload)
  LEFT JOIN figures c ON c.workload = v.workload AND c.device = v.cloud_device
  LEFT JOIN figures e ON e.workload = v.workload AND e.device = v.edge_device
WHERE probability_edge_wins IS NOT NULL
ORDER BY size, v.workload, v.scenario <> 'default', v.scenario, v.flips DESC, v.cloud_device, v.edge_device,
  list_position(?, v.attribution)
"""

_PARTS = list(style.CARBON_COLOURS)
_RATIO = "cloud / edge"
# Pairs that flip come first; what is beyond these is in the table.
PAIRS_SHOWN = 16
PANELS_SHOWN = 24
# The axis ends at this many times the longest bar.
_CUT = 2.0


def carbon(connection: duckdb.DuckDBPyConnection) -> style.Chart:
    """Grams of CO2e per million tokens by device, stacked by part, one panel an attribution, with 5–95 % whiskers."""
    title = "Carbon per million tokens, under each attribution"
    found = style.rows(connection, _CARBON, [list(style.ATTRIBUTIONS)])
    if not found:
        return style.no_data(title, "no scenario has been computed for the runs in this database.")
    limits = {key: _limit(members) for key, members in style.grouped(found, "workload", "scenario")}
    parts = list(style.grouped(found, "workload", "scenario", "attribution"))
    panels = []
    for (workload, scenario, attribution), members in parts[:PANELS_SHOWN]:
        heading = f"{workload} · {style.ATTRIBUTIONS.get(attribution, attribution)}{_scenario(scenario, found)}"
        panels.append(style.titled(_bars(members, limits[workload, scenario]), style.panel_title(heading)))
    more = [f"The first {PANELS_SHOWN} of {len(parts)} panels; the table has all."] if len(parts) > PANELS_SHOWN else []
    subtitle = [
        *more,
        f"Whisker: 5 to 95 % over the ranges of the inputs.{_only_scenario(found)}",
        "Solid: from measured energy. Pale, dashed: from energy that was not measured. Arrow: the whisker goes on.",
    ]
    return style.stacked(panels, title, subtitle)


def _only_scenario(found: list[style.Row]) -> str:
    """The one scenario's name for the subtitle; several stand in the panels' headings."""
    names = sorted({row["scenario"] for row in found})
    return f" Scenario: {names[0]}." if len(names) == 1 else ""


def _scenario(name: str, found: list[style.Row]) -> str:
    """The scenario as part of a heading, where there are several."""
    return f" · scenario {name}" if len({row["scenario"] for row in found}) > 1 else ""


def _limit(members: list[style.Row]) -> float:
    """Where the axis of a workload ends, in grams: a whisker far beyond the bars is cut, or it would flatten them."""
    bars = max(row["total"] for row in members)
    return float(min(max(row["high"] or row["total"] for row in members), _CUT * bars) * 1.04 or 1.0)


def _bars(members: list[style.Row], limit: float) -> style.Layers:
    """The devices under one attribution; the same axis, up to `limit` grams, for all attributions of a workload."""
    style.label_devices(members)
    for row in members:
        row["figure"] = figures.quantity(row["total"], row["low"], row["high"], "g")
        row["beyond"] = bool(row["high"] and row["high"] > limit)
        row["drawn_high"] = limit if row["beyond"] else row["high"]
        row["shares"] = ", ".join(f"{part} {figures.quantity(row[part], None, None, 'g')}" for part in _PARTS)
    parts = [dict(row, part=part, grams=row[part], stack=i) for row in members for i, part in enumerate(_PARTS)]
    tooltip = [
        alt.Tooltip("device:N"),
        alt.Tooltip("figure:N", title="total (5–95 %)"),
        alt.Tooltip("shares:N", title="parts"),
        alt.Tooltip("provenance:N", title="energy"),
        alt.Tooltip("boundary_words:N", title="boundary"),
        alt.Tooltip("overhead_factor:Q", title="overhead factor", format=".3~f"),
        alt.Tooltip("intensity_g_per_kwh:Q", title="grid (g/kWh)", format=".4~f"),
        alt.Tooltip("embodied_key:N", title="embodied from"),
        alt.Tooltip("repeats:Q"),
    ]
    x_scale = alt.Scale(domain=[0, limit], nice=False)
    colours = alt.Scale(domain=_PARTS, range=list(style.CARBON_COLOURS.values()))
    base = style.marks(parts).encode(y=style.label_axis(2, members), tooltip=tooltip)
    axis = style.si_axis("g", tickCount=5)
    bars = base.mark_bar(height=13, yOffset=6, strokeWidth=1.2).encode(
        x=alt.X("grams:Q", stack="zero", scale=x_scale, axis=axis, title="CO₂e per million tokens"),
        color=alt.Color("part:N", title=None, scale=colours),
        stroke=alt.Stroke("part:N", title=None, scale=colours),
        strokeDash=alt.StrokeDash("provenance:N", scale=style.provenance_scale(style.DASHES), legend=None),
        fillOpacity=alt.FillOpacity("provenance:O", scale=style.provenance_scale(style.BAR_OPACITIES), legend=None),
        order=alt.Order("stack:Q"),
    )
    totals = style.marks(members).encode(y=style.label_axis(2, members), tooltip=tooltip)
    low, high = (alt.X(f"{end}:Q", scale=x_scale) for end in ("low", "drawn_high"))
    whiskers = totals.mark_rule(yOffset=6, y2Offset=6, strokeWidth=1.5, color=style.INK).encode(
        x=low, x2=alt.X2("drawn_high:Q")
    )
    cap = totals.mark_tick(yOffset=6, thickness=1.5, size=9, color=style.INK)
    # The total stands above its bar, at the left, where nothing else is drawn however long the bars are.
    texts = totals.mark_text(align="left", dy=-8, dx=2).encode(x=style.at(0), text=alt.Text("figure:N"))
    ends = cap.transform_filter("!datum.beyond").encode(x=high)
    arrow = totals.transform_filter("datum.beyond").mark_point(
        shape="triangle-right", filled=True, size=60, yOffset=6, xOffset=-4, color=style.INK, opacity=1
    )
    layers = [bars, whiskers, cap.encode(x=low), ends, arrow.encode(x=high), texts]
    return style.layered(layers, height=alt.Step(42))


def verdict(connection: duckdb.DuckDBPyConnection) -> style.Chart:
    """Cloud's carbon over the edge's by pair and attribution, with 5–95 % interval, on a logarithmic axis around 1."""
    title = "Verdict: carbon of the cloud over carbon of the edge"
    found = style.rows(connection, _VERDICTS, [list(style.ATTRIBUTIONS)])
    if not found:
        return style.no_data(title, "no pair of a cloud and an edge device has carbon figures.")
    ends = [row[key] for row in found for key in ("ratio_low", "ratio_high", "ratio_cloud_over_edge") if row[key]]
    # The same axis in every panel, with 1 inside it, so that the panels can be read down the page.
    domain = [min([*ends, 0.5]) / 1.2, max([*ends, 2.0]) * 1.2]
    panels = []
    pairs = list(style.grouped(found, "workload", "scenario", "cloud_device", "edge_device"))
    for (workload, scenario, cloud, edge), members in pairs[:PAIRS_SHOWN]:
        flip = " · FLIPS with the attribution" if any(row["flips"] for row in members) else ""
        heading = style.panel_title(f"{workload}{_scenario(scenario, found)}{flip}", f"{cloud} / {edge}")
        panels.append(style.titled(_ratios(members, domain), heading))
    more = [f"The first {PAIRS_SHOWN} of {len(pairs)} pairs; the table has all."] if len(pairs) > PAIRS_SHOWN else []
    subtitle = [
        *more,
        f"Right of 1 the edge emits less, left of 1 the cloud.{_only_scenario(found)}",
        "Line: 5 to 95 %. At the right: probability that the edge wins.",
        "Hollow: one of the two figures is in doubt; the reason is in the tooltip and the table.",
    ]
    return style.stacked(panels, title, subtitle)


def _ratios(members: list[style.Row], domain: list[float]) -> style.Layers:
    """One pair of devices, one row an attribution."""
    for row in members:
        row["label"] = style.ATTRIBUTIONS.get(row["attribution"], row["attribution"])
        row |= _drawn(row, domain)
        row["comparison"] = "comparable" if row["comparable"] else "in doubt"
        row["probability"] = figures.percent(row["probability_edge_wins"])
        row["caveat"] = row["caveat"] or "none"
        for side in ("cloud_figure", "edge_figure"):
            row[side] = "; ".join(f"{known or 'absent'}, {boundary_words(covers)}" for known, covers in row[side] or [])
    scale = alt.Scale(type="log", domain=domain, nice=False)
    winners = alt.Scale(domain=[*style.ROLE_COLOURS, "unclear"], range=[*style.ROLE_COLOURS.values(), "#767676"])
    base = style.marks(members).encode(
        y=style.label_axis(1, members),
        color=alt.Color("winner:N", title="emits less", scale=winners),
        tooltip=[
            alt.Tooltip("label:N", title="attribution"),
            alt.Tooltip("figure:N", title=f"{_RATIO} (5–95 %)"),
            alt.Tooltip("winner:N", title="emits less"),
            alt.Tooltip("probability:N", title="P(edge wins)"),
            alt.Tooltip("cloud_device:N", title="cloud"),
            alt.Tooltip("cloud_figure:N", title="cloud's energy"),
            alt.Tooltip("edge_device:N", title="edge"),
            alt.Tooltip("edge_figure:N", title="edge's energy"),
            alt.Tooltip("caveat:N"),
        ],
    )
    axis = alt.Axis(values=style.ticks(domain), format="~g")
    x, low, one = (
        alt.X(f"{field}:Q", scale=scale, axis=axis, title=f"{_RATIO}: above 1 the edge emits less")
        for field in ("ratio_cloud_over_edge", "ratio_low", "one")
    )
    unity = style.marks([{"one": 1}]).mark_rule(color=style.INK, strokeWidth=1.2).encode(x=one)
    rule = (
        base.transform_filter("isValid(datum.ratio_low)")
        .mark_rule(strokeWidth=2.5)
        .encode(x=low, x2=alt.X2("drawn_high:Q"))
    )
    fills = alt.Scale(domain=["comparable", "in doubt"], range=[style.INK, "white"])
    placed = base.transform_filter("isValid(datum.ratio_cloud_over_edge)")
    point = placed.mark_point(size=90, opacity=1, strokeWidth=2).encode(
        x=x, fill=alt.Fill("comparison:N", legend=None, scale=fills)
    )
    solid = placed.transform_filter("datum.comparable").mark_point(size=90, filled=True, opacity=1).encode(x=x)
    texts = base.mark_text(align="left", dx=8).encode(
        x=style.at("width"), text=alt.Text("probability:N"), color=alt.ColorValue(style.INK)
    )
    unplaced = base.transform_filter("!isValid(datum.ratio_cloud_over_edge)").mark_text(align="left", dx=8)
    said = unplaced.encode(x=style.at(0), text=alt.Text("figure:N"))
    # The texts, which every row has, first: rows stand in the order in which they are met.
    return style.layered([texts, unity, rule, point, solid, said], height=alt.Step(24))


def _drawn(row: style.Row, domain: list[float]) -> style.Row:
    """What is drawn of a ratio. One without bound, over a side that emits nothing, has a line to the axis's end or none."""
    ratio, low, high = (row[key] or None for key in ("ratio_cloud_over_edge", "ratio_low", "ratio_high"))
    nothing = f"the {row['winner']} emits nothing" if row["winner"] in style.ROLE_COLOURS else "no ratio"
    middle, ends = (nothing, "") if ratio is None else figures.interval(ratio, low, high)
    return {
        "figure": f"{middle} ({ends})" if ends else middle,
        "ratio_cloud_over_edge": ratio,
        "ratio_low": low,
        "drawn_high": domain[1] if high is None else high,
    }
