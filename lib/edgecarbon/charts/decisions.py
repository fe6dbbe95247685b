"""What decides a verdict: break-even against what is reached, one input at a time, parts in the variance, probability."""

from __future__ import annotations

import math
from collections.abc import Sequence

import altair as alt
import duckdb

from edgecarbon.charts import figures, style
from edgecarbon.vocabulary import PRIOR_WORDS

PAIRS_SHOWN = 4
INPUTS_SHOWN = 8
ROWS_SHOWN = 24
# How far beyond the figures an interval may stretch a logarithmic axis.
_FARTHEST = 20.0

AT_LOW, AT_HIGH = "input at its 5 %", "input at its 95 %"
ALONE, WITH_OTHERS = "alone (first order)", "with others (total)"
REACHED, NEEDED = "energy ratio reached", "needed to break even"
_FILL = "#009E73"

# The scenario that stands first, pairs that flip before others, those of devices that ran before modelled ones.
_IN_ORDER = """
SELECT t.* FROM {table} t
  LEFT JOIN (SELECT workload, max(parameters) AS size FROM runs GROUP BY workload) USING (workload)
  LEFT JOIN (SELECT scenario, workload, cloud_device, edge_device, bool_or(flips) AS flips FROM verdicts GROUP BY ALL)
    USING (scenario, workload, cloud_device, edge_device)
  LEFT JOIN (SELECT DISTINCT device AS edge_device, true AS ran FROM runs WHERE record_kind = 'measured') USING (edge_device)
ORDER BY t.scenario <> $main, t.scenario, size, t.workload, flips DESC NULLS LAST, ran NULLS LAST, t.cloud_device,
  t.edge_device, list_position($attributions, t.attribution), {then}
"""
PAIR = ("scenario", "workload", "cloud_device", "edge_device")


def in_order(connection: duckdb.DuckDBPyConnection, table: str, then: str = "t.attribution") -> list[style.Row]:
    """The rows of a table of pairs and attributions, the main scenario first, and in it what a reader asks for first.

    Args:
        table: with scenario, workload, cloud_device, edge_device and attribution.
        then: order of the rows of a pair and attribution; the table is `t`.
    """
    parameters = {"main": style.MAIN_SCENARIO, "attributions": list(style.ATTRIBUTIONS)}
    return style.rows(connection, _IN_ORDER.format(table=table, then=then), parameters)


def main_attribution(found: list[style.Row]) -> list[style.Row]:
    """The rows of each pair under the main attribution, or under its first where it lacks that one."""
    kept = []
    for _, members in style.grouped(found, *PAIR):
        names = [row["attribution"] for row in members]
        name = style.MAIN_ATTRIBUTION if style.MAIN_ATTRIBUTION in names else names[0]
        kept += [row for row in members if row["attribution"] == name]
    return kept


def first_scenario(found: list[style.Row]) -> list[style.Row]:
    """The rows of the scenario that stands first."""
    return [row for row in found if row["scenario"] == found[0]["scenario"]]


def pair_title(row: style.Row) -> alt.TitleParams:
    """A panel's title: workload, attribution, and the pair below it."""
    attribution = style.ATTRIBUTIONS.get(row["attribution"], row["attribution"])
    return style.panel_title(f"{row['workload']} · {attribution}", f"{row['cloud_device']} / {row['edge_device']}")


def more_of(shown: int, count: int, what: str = "pairs") -> list[str]:
    """A note where a chart leaves something to the tables."""
    return [f"The first {shown} of {count} {what}; the tables have all."] if count > shown else []


def tornado(connection: duckdb.DuckDBPyConnection) -> style.Chart:
    """Cloud over edge at both ends of each input's range, the others at their defaults, one panel a pair."""
    title = "One input at a time"
    found = [row for row in in_order(connection, "sensitivity") if row["ratio_at_low"] and row["ratio_at_high"]]
    if not found:
        return style.no_data(title, "no scenario has been asked which of its inputs decide.")
    defaults = {_key(row): row["ratio_default"] for row in in_order(connection, "break_even")}
    mine = main_attribution(first_scenario(found))
    pairs = list(style.grouped(mine, *PAIR))
    panels = [
        style.titled(_swings(members, defaults.get(_key(members[0]))), pair_title(members[0]))
        for _, members in pairs[:PAIRS_SHOWN]
    ]
    subtitle = [
        *more_of(PAIRS_SHOWN, len(pairs)),
        f"Right of 1 the edge emits less. Dashed: every input at its default. Scenario: {mine[0]['scenario']}.",
        f"The {INPUTS_SHOWN} inputs that move it most.",
    ]
    return style.stacked(panels, title, subtitle)


def _key(row: style.Row) -> tuple[str, ...]:
    return tuple(row[name] for name in (*PAIR, "attribution"))


def _swings(members: list[style.Row], default: float | None) -> style.Layers:
    """The inputs of one pair, widest first, each from the default to either end."""
    swings_of = [
        (-round(abs(math.log(row["ratio_at_high"] / row["ratio_at_low"])), 9), row["input"]) for row in members
    ]
    members = [row for _, row in sorted(zip(swings_of, members, strict=True), key=lambda pair: pair[0])]
    bars = []
    for row in members[:INPUTS_SHOWN]:
        middle = default or math.sqrt(row["ratio_at_low"] * row["ratio_at_high"])
        for side, name, end in ((AT_LOW, "ratio_at_low", "low"), (AT_HIGH, "ratio_at_high", "high")):
            bars.append({
                "label": row["label"] or row["input"], "input": row["input"], "side": side, "from": middle,
                "to": row[name], "ratio": figures.significant(row[name], 3),
                "range_end": f"{figures.plain(row[end])} {'' if row['unit'] == '1' else row['unit']}".rstrip(),
            })  # fmt: skip
    ends = [bar[name] for bar in bars for name in ("from", "to")]
    domain = [min([*ends, 0.9]) / 1.1, max([*ends, 1.1]) * 1.1]
    scale = alt.Scale(type="log", domain=domain, nice=False)
    axis = _ratio_axis(domain)
    fills = alt.Scale(domain=[AT_LOW, AT_HIGH], range=["white", _FILL])
    drawn = style.marks(bars).mark_bar(height=11, stroke=_FILL, strokeWidth=1.2)
    swings = drawn.encode(
        y=style.label_axis(1, bars),
        x=alt.X("from:Q", scale=scale, axis=axis, title="cloud / edge"),
        x2=alt.X2("to:Q"),
        fill=alt.Fill("side:N", title=None, scale=fills),
        tooltip=[
            alt.Tooltip("label:N", title="input"),
            alt.Tooltip("input:N", title="its name"),
            alt.Tooltip("side:N", title="moved to"),
            alt.Tooltip("range_end:N", title="end of its range"),
            alt.Tooltip("ratio:N", title="cloud / edge"),
        ],
    )
    lines = [_line(1.0, scale, [1, 0]), *([_line(default, scale, [5, 3])] if default else [])]
    return style.layered([swings, *lines], height=alt.Step(22))


def _ratio_axis(domain: list[float]) -> alt.Axis:
    """Ticks of a logarithmic axis of ratios: 1, 2, 5 a decade, or more where it is too short for them."""
    inside = [tick for tick in style.ticks(domain) if domain[0] <= tick <= domain[1]]
    return alt.Axis(format="~g", **({"values": inside} if len(inside) > 2 else {"tickCount": 6}))


def _line(at: float, scale: alt.Scale, dash: list[int]) -> alt.Chart:
    rule: alt.Chart = (
        style.marks([{"at": at}])
        .mark_rule(color=style.INK, strokeWidth=1.4, strokeDash=dash)
        .encode(x=alt.X("at:Q", scale=scale))
    )
    return rule


def sobol(connection: duckdb.DuckDBPyConnection) -> style.Chart:
    """Sobol's total and first-order index of each input with its 95 % interval, one panel a pair."""
    title = "Part in the uncertainty of the verdict"
    then = "t.sobol_total DESC, t.input"
    found = [row for row in in_order(connection, "sensitivity", then) if row["sobol_total"] is not None]
    if not found:
        return style.no_data(title, "no scenario has been asked which of its inputs decide.")
    pairs = list(style.grouped(main_attribution(first_scenario(found)), *PAIR))
    panels = [style.titled(_shares(members), pair_title(members[0])) for _, members in pairs[:PAIRS_SHOWN]]
    subtitle = [
        *more_of(PAIRS_SHOWN, len(pairs)),
        f"Sobol's indices of ln(cloud/edge), with 95 % intervals. Scenario: {found[0]['scenario']}.",
        f"The {INPUTS_SHOWN} inputs with the largest part; their ranges and priors are in the table.",
    ]
    return style.stacked(panels, title, subtitle)


def _shares(members: list[style.Row]) -> style.Layers:
    bars = []
    for row in members[:INPUTS_SHOWN]:
        for kind, name in ((WITH_OTHERS, "sobol_total"), (ALONE, "sobol_first")):
            share, half = row[name], row[f"{name}_confidence"] or 0.0
            if share is not None:
                bars.append({
                    "label": row["label"] or row["input"], "input": row["input"], "kind": kind,
                    # An estimate of an index may fall a little below zero.
                    "share": max(0.0, share), "low": max(0.0, share - half), "high": max(0.0, share + half),
                    "figure": f"{figures.grouped(100 * share, 1)} % ± {figures.grouped(100 * half, 1)}",
                    "range": f"{figures.plain(row['low'])}–{figures.plain(row['high'])}",
                    "prior": PRIOR_WORDS.get(row["distribution"], row["distribution"]),
                })  # fmt: skip
    limit = max(1.0, *(bar["high"] for bar in bars))
    scale = alt.Scale(domain=[0, limit], nice=False)
    fills = alt.Scale(domain=[WITH_OTHERS, ALONE], range=["white", _FILL])
    base = style.marks(bars).encode(
        y=style.label_axis(1, bars),
        tooltip=[
            alt.Tooltip("label:N", title="input"),
            alt.Tooltip("input:N", title="its name"),
            alt.Tooltip("kind:N"),
            alt.Tooltip("figure:N", title="part in the variance (95 %)"),
            alt.Tooltip("range:N"),
            alt.Tooltip("prior:N"),
        ],
    )
    axis = alt.Axis(format=".0%", tickCount=5)
    x = alt.X("share:Q", scale=scale, axis=axis, title="part in the variance", stack=None)
    layers: list[alt.Chart] = []
    for kind, height, offset in ((WITH_OTHERS, 12, 0), (ALONE, 6, 0)):
        one = base.transform_filter(alt.datum.kind == kind)
        layers.append(
            one.mark_bar(height=height, yOffset=offset, stroke=_FILL, strokeWidth=1.2).encode(
                x=x, fill=alt.Fill("kind:N", title=None, scale=fills)
            )
        )
    totals = base.transform_filter(alt.datum.kind == WITH_OTHERS)
    low = alt.X("low:Q", scale=scale)
    layers.append(totals.mark_rule(strokeWidth=1.5, color=style.INK).encode(x=low, x2=alt.X2("high:Q")))
    return style.layered(layers, height=alt.Step(22))


def break_even(connection: duckdb.DuckDBPyConnection) -> style.Chart:
    """Energy ratio reached and the one needed to break even, each with its interval, one panel a workload."""
    title = "Energy ratio: reached, and needed to break even"
    found = [row for row in in_order(connection, "break_even") if row["energy_ratio"]]
    if not found:
        return style.no_data(title, "no scenario has been asked where its verdicts turn.")
    mine = main_attribution(first_scenario(found))
    panels, most = [], 0
    for (workload,), members in style.grouped(mine, "workload"):
        attribution = style.ATTRIBUTIONS.get(members[0]["attribution"], members[0]["attribution"])
        panels.append(style.titled(_against(members[:ROWS_SHOWN]), style.panel_title(f"{workload} · {attribution}")))
        most = max(most, len(members))
    subtitle = [
        *more_of(ROWS_SHOWN, most, "pairs of a workload"),
        "Energy of the cloud over that of the edge, each at its meter; lines: 5 to 95 %, arrow: it goes on.",
        f"Where the reached one lies right of the needed one, the edge emits less. Scenario: {mine[0]['scenario']}.",
    ]
    return style.stacked(panels, title, subtitle)


def _against(members: list[style.Row]) -> style.Layers:
    marks = []
    for row in members:
        label = f"{row['cloud_device']}\n/ {row['edge_device']}"
        ends = row["energy_ratio"], row["energy_ratio_low"], row["energy_ratio_high"]
        marks.append(_ratio(label, REACHED, *ends))
        if row["break_even_ratio"]:  # a logarithmic axis has no 0
            marks.append(_ratio(label, NEEDED, row["break_even_ratio"], row["break_even_low"], row["break_even_high"]))
        else:
            text = "nothing breaks even" if row["break_even_ratio"] is None else "the edge emits less at any ratio"
            marks.append({"label": label, "kind": NEEDED, "text": text})
    drawn = [mark for mark in marks if "ratio" in mark]
    limits = _limits(drawn)
    for mark in drawn:
        mark["low"], mark["high"] = max(mark["low"], limits[0]), min(mark["high"] or math.inf, limits[1])
        mark["beyond"] = mark["high"] == limits[1]
    scale = alt.Scale(type="log", domain=limits, nice=False)
    axis = _ratio_axis(limits)
    layers: list[alt.Chart] = [_line(1.0, scale, [1, 0])]
    colours = alt.Scale(domain=[REACHED, NEEDED], range=[style.INK, _FILL])
    shapes = alt.Scale(domain=[REACHED, NEEDED], range=["circle", "diamond"])
    for kind, offset in ((REACHED, -1), (NEEDED, 11)):
        base = style.marks([mark for mark in marks if mark["kind"] == kind]).encode(
            y=style.label_axis(2, marks),
            tooltip=[
                alt.Tooltip("label:N", title="pair"),
                alt.Tooltip("kind:N"),
                alt.Tooltip("figure:N", title="ratio (5–95 %)"),
            ],
        )
        known = base.transform_filter("isValid(datum.ratio)").encode(
            color=alt.Color("kind:N", title=None, scale=colours)
        )
        shape = alt.Shape("kind:N", title=None, scale=shapes)
        x = alt.X("ratio:Q", scale=scale, axis=axis, title="energy, cloud / edge")
        line = known.mark_rule(strokeWidth=2.2, yOffset=offset, y2Offset=offset)
        layers.append(line.encode(x=alt.X("low:Q", scale=scale), x2=alt.X2("high:Q")))
        layers.append(known.mark_point(size=75, filled=True, opacity=1, yOffset=offset).encode(x=x, shape=shape))
        arrow = base.transform_filter("datum.beyond").mark_point(
            shape="triangle-right", filled=True, size=55, opacity=1, yOffset=offset, xOffset=-4, color=style.INK
        )
        layers.append(arrow.encode(x=alt.X("high:Q", scale=scale)))
        words = base.transform_filter("isValid(datum.text)").mark_text(align="left", dx=4, dy=offset)
        layers.append(words.encode(x=style.at(0), text=alt.Text("text:N")))
    return style.layered(layers, height=alt.Step(44))


def _ratio(label: str, kind: str, ratio: float, low: float | None, high: float | None) -> style.Row:
    middle, ends = figures.interval(ratio, low, high)
    return {
        "label": label, "kind": kind, "ratio": ratio, "low": ratio if low is None else low, "high": high,
        "figure": f"{middle} ({ends})" if ends else middle,
    }  # fmt: skip


def _limits(marks: Sequence[style.Row]) -> list[float]:
    """Ends of a logarithmic axis: all ratios, 1, and of the intervals what lies not too far beyond them."""
    ratios = [1.0, *(mark["ratio"] for mark in marks)]
    lows, highs = [mark["low"] for mark in marks], [mark["high"] for mark in marks if mark["high"]]
    low, high = min([*ratios, *lows]), max([*ratios, *highs])
    return [max(low, min(ratios) / _FARTHEST) / 1.15, min(high, max(ratios) * _FARTHEST) * 1.15]


def probability(connection: duckdb.DuckDBPyConnection) -> style.Chart:
    """Probability that the edge wins, a row a pair and scenario, a column an attribution, one panel a workload."""
    title = "Probability that the edge wins"
    found = [row for row in in_order(connection, "verdicts") if row["probability_edge_wins"] is not None]
    if not found:
        return style.no_data(title, "no pair of a cloud and an edge device has carbon figures.")
    several = len({row["scenario"] for row in found}) > 1
    for row in found:
        pair = f"{row['cloud_device']} / {row['edge_device']}"
        row["label"] = f"{pair}\n{row['scenario']}" if several else f"{row['cloud_device']}\n/ {row['edge_device']}"
        row["charged"] = style.ATTRIBUTIONS.get(row["attribution"], row["attribution"])
        row["text"] = figures.percent(row["probability_edge_wins"])
    panels, most = [], 0
    for (workload,), members in style.grouped(found, "workload"):
        # The scenarios of a pair stand together, in the order in which the pairs came.
        by_pair = [row for _, mine in style.grouped(members, "cloud_device", "edge_device") for row in mine]
        lines = list(style.grouped(by_pair, "label"))
        shown = [row for _, mine in lines[:ROWS_SHOWN] for row in mine]
        panels.append(style.titled(_heat(shown), style.panel_title(workload)))
        most = max(most, len(lines))
    subtitle = [
        *more_of(ROWS_SHOWN, most, "rows of a workload"),
        "Blue: the cloud emits less; vermilion: the edge. A share of draws, given the ranges: no frequency of anything.",
    ]
    return style.stacked(panels, title, subtitle)


def _heat(members: list[style.Row]) -> style.Layers:
    names = [name for name in style.ATTRIBUTIONS.values() if any(row["charged"] == name for row in members)]
    # Two lines, of which the second grows towards the cells.
    words = "split(datum.label, ' ')"
    axis = alt.Axis(labelExpr=words, labelAngle=0, labelPadding=20, orient="top", domain=False, ticks=False)
    base = style.marks(members).encode(
        y=style.label_axis(2, members),
        x=alt.X("charged:N", sort=names, title=None, axis=axis),
        tooltip=[
            alt.Tooltip("cloud_device:N", title="cloud"),
            alt.Tooltip("edge_device:N", title="edge"),
            alt.Tooltip("scenario:N"),
            alt.Tooltip("charged:N", title="attribution"),
            alt.Tooltip("text:N", title="P(edge wins)"),
        ],
    )
    # Paler than the sides' own colours, so that dark text can be read on every cell.
    sides = [style.ROLE_COLOURS["cloud"], "white", style.ROLE_COLOURS["edge"]]
    scale = alt.Scale(domain=[0, 0.5, 1], range=sides, interpolate="rgb")
    cells = base.mark_rect(opacity=0.7, stroke="white", strokeWidth=2).encode(
        color=alt.Color("probability_edge_wins:Q", scale=scale, legend=None)
    )
    texts = base.mark_text(baseline="middle").encode(text=alt.Text("text:N"))
    return style.layered([cells, texts], height=alt.Step(36))
