"""The break-even map: cloud over edge across two inputs, with the line along which both emit the same."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import altair as alt
import duckdb

from edgecarbon.charts import figures, style
from edgecarbon.charts.decisions import PAIR, first_scenario, in_order, main_attribution, more_of, pair_title

PAIRS_SHOWN = 4
# Ratios beyond this many doublings take the colour of the scale's end.
_DOUBLINGS = 3

Point = tuple[float, float]


def break_even_map(connection: duckdb.DuckDBPyConnection) -> style.Chart:
    """Cloud over edge across the two inputs that decide most, one panel a pair, their defaults marked."""
    title = "Where the verdict turns"
    found = in_order(connection, "break_even_maps")
    if not found:
        return style.no_data(title, "no scenario has been asked where its verdicts turn.")
    defaults = {
        (*(row[name] for name in PAIR), row["input"]): row["value"] for row in in_order(connection, "sensitivity")
    }
    mine = main_attribution(first_scenario(found))
    panels = []
    for row in mine[:PAIRS_SHOWN]:
        pair = tuple(row[name] for name in PAIR)
        default = (defaults.get((*pair, row["x_input"])), defaults.get((*pair, row["y_input"])))
        panels.append(style.titled(_panel(row, default), pair_title(row)))
    subtitle = [
        *more_of(PAIRS_SHOWN, len(mine)),
        "Black line: both emit the same. Dots, vermilion: the edge emits less; no dots, blue: the cloud.",
        f"Cross: both inputs at their defaults. Scenario: {mine[0]['scenario']}.",
    ]
    return style.stacked(panels, title, subtitle)


def _panel(row: style.Row, default: tuple[float | None, float | None]) -> style.Layers:
    columns, lines = row["x_values"], row["y_values"]
    x_scale, y_scale = _scale(columns), _scale(lines)
    x_axis, y_axis = (_axis(values) for values in (columns, lines))
    x_title, y_title = (_title(row, side) for side in "xy")
    cells = _cells(row)
    doublings = alt.Scale(
        domain=[-_DOUBLINGS, 0, _DOUBLINGS],
        range=[style.ROLE_COLOURS["cloud"], "white", style.ROLE_COLOURS["edge"]],
        clamp=True,
        interpolate="rgb",
    )
    ends = [-_DOUBLINGS, -1, 0, 1, _DOUBLINGS]
    legend = alt.Legend(values=ends, labelExpr="format(pow(2, datum.value), '~r')", gradientLength=220)
    base = style.marks(cells)
    x = alt.X("x1:Q", scale=x_scale, axis=x_axis, title=x_title)
    y = alt.Y("y1:Q", scale=y_scale, axis=y_axis, title=y_title)
    layers: list[alt.Chart] = [
        base.mark_rect(opacity=0.8).encode(
            x=x, x2=alt.X2("x2:Q"), y=y, y2=alt.Y2("y2:Q"),
            color=alt.Color("doublings:Q", title="cloud / edge", scale=doublings, legend=legend),
            tooltip=[
                alt.Tooltip("x:Q", title=x_title, format=".3~g"),
                alt.Tooltip("y:Q", title=y_title, format=".3~g"),
                alt.Tooltip("figure:N", title="cloud / edge"),
            ],
        ),
        base.transform_filter("datum.doublings > 0").mark_point(size=5, filled=True, color=style.INK, opacity=0.6).encode(
            x=alt.X("x:Q", scale=x_scale), y=alt.Y("y:Q", scale=y_scale)
        ),
    ]  # fmt: skip
    turn = [{"x1": a[0], "y1": a[1], "x2": b[0], "y2": b[1]} for a, b in contour(columns, lines, row["ratios"])]
    if turn:
        segments = style.marks(turn).mark_rule(color="black", strokeWidth=2.5)
        layers.append(segments.encode(
            x=alt.X("x1:Q", scale=x_scale), x2=alt.X2("x2:Q"), y=alt.Y("y1:Q", scale=y_scale), y2=alt.Y2("y2:Q")
        ))  # fmt: skip
    if None not in default:
        cross = style.marks([dict(zip("xy", default, strict=True))])
        layers.append(cross.mark_point(shape="cross", size=140, filled=True, color=style.INK, stroke="white", opacity=1).encode(
            x=alt.X("x:Q", scale=x_scale), y=alt.Y("y:Q", scale=y_scale)
        ))  # fmt: skip
    return style.layered(layers, height=260)


def _cells(row: style.Row) -> list[style.Row]:
    """The grid's cells, each about its point; where there is no ratio there is no cell."""
    columns, lines = row["x_values"], row["y_values"]
    x_edges, y_edges = _edges(columns), _edges(lines)
    cells = []
    for number, ratio in enumerate(row["ratios"]):
        line, column = divmod(number, len(columns))
        if ratio is None or not 0 < ratio < math.inf:
            continue
        cells.append({
            "x": columns[column], "y": lines[line], "x1": x_edges[column], "x2": x_edges[column + 1],
            "y1": y_edges[line], "y2": y_edges[line + 1], "doublings": round(math.log2(ratio), 4),
            "figure": figures.significant(ratio, 3),
        })  # fmt: skip
    return cells


def contour(
    columns: Sequence[float], lines: Sequence[float], ratios: Sequence[float | None]
) -> list[tuple[Point, Point]]:
    """Segments of the line along which the ratio is 1: marching squares, linear in the ratio's logarithm.

    Args:
        columns: values along x.
        lines: values along y.
        ratios: line after line, as many as both together; a square with one that is absent has no segment.
    """
    heights = [None if ratio is None or not 0 < ratio < math.inf else math.log(ratio) for ratio in ratios]
    across = len(columns)
    segments = []
    for line in range(len(lines) - 1):
        for column in range(across - 1):
            # The corners in order around the square.
            corners = [
                ((columns[i], lines[j]), heights[j * across + i])
                for i, j in ((column, line), (column + 1, line), (column + 1, line + 1), (column, line + 1))
            ]
            crossings = list(_crossings(corners))
            segments += list(zip(crossings[::2], crossings[1::2], strict=True))
    return segments


def _crossings(corners: Sequence[tuple[Point, float | None]]) -> Iterator[Point]:
    """Where the sides of a square pass through zero: none, two, or four at a saddle."""
    if any(height is None for _, height in corners):
        return
    for (here, first), (there, second) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if first is not None and second is not None and (first > 0) != (second > 0):
            part = first / (first - second)
            yield here[0] + part * (there[0] - here[0]), here[1] + part * (there[1] - here[1])


def _logarithmic(values: Sequence[float]) -> bool:
    return style.spans_widely(values)


def _edges(values: Sequence[float]) -> list[float]:
    """The borders between cells about `values`, halfway on their axis, and the outer ones."""
    if len(values) == 1:
        return [0.9 * values[0], 1.1 * values[0]]
    if _logarithmic(values):
        return [math.exp(edge) for edge in _linear_edges([math.log(value) for value in values])]
    return _linear_edges(values)


def _linear_edges(values: Sequence[float]) -> list[float]:
    middles = [(a + b) / 2 for a, b in pairwise(values)]
    return [2 * values[0] - middles[0], *middles, 2 * values[-1] - middles[-1]]


def _scale(values: Sequence[float]) -> alt.Scale:
    edges = _edges(values)
    domain = [edges[0], edges[-1]]
    if _logarithmic(values):
        return alt.Scale(type="log", domain=domain, nice=False)
    return alt.Scale(domain=domain, nice=False, zero=False)


def _axis(values: Sequence[float]) -> alt.Axis:
    marks = {"values": style.ticks(values)} if _logarithmic(values) else {"tickCount": 6}
    return alt.Axis(grid=False, format=",~r", **marks)


def _title(row: style.Row, side: str) -> str:
    unit = row[f"{side}_unit"]
    name = row[f"{side}_label"] or row[f"{side}_input"]
    return name if unit in (None, "1") else f"{name} ({unit})"
