"""How every chart looks: one palette, one encoding of provenance, one configuration, one way to say "no data"."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt
import duckdb

from edgecarbon.vocabulary import FLAG_LABELS, boundary_words, short_boundary

Chart = alt.Chart | alt.VConcatChart
Panel = alt.Chart | alt.LayerChart
Row = dict[str, Any]

WIDTH = 640
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
INK, QUIET = "#1a1a1a", "#595959"

# Okabe and Ito's colours, told apart in every common form of colour blindness (Nature Methods 8, 441, 2011). Blue and
# vermilion mean cloud and edge wherever they appear; the parts of the carbon take other colours.
ROLE_COLOURS = {"cloud": "#0072B2", "edge": "#D55E00"}
CARBON_COLOURS = {"operational": "#E69F00", "embodied": "#009E73", "network": "#CC79A7"}
SERIES_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
THROTTLED = FLAG_LABELS["thermal_throttling"]
WINDOW_COLOURS = {"idle": "#BDBDBD", "warm-up": "#F0E442", "measured": "#56B4E9", THROTTLED: "#D55E00"}
SPAN_COLOURS = {
    "forward": "#56B4E9",
    "backward": "#009E73",
    "optimizer": "#000000",
    "exchange": "#E69F00",
    "wait": "#BDBDBD",
    "transfer": "#CC79A7",
}
FLEET_ENERGY_COLOURS = {"compute": "#56B4E9", "idle (waiting)": "#BDBDBD", "radio": "#CC79A7"}

PROVENANCES = ["measured", "modelled", "estimated", "published"]
# One encoding for all charts: measured is solid, whatever was not measured is hollow or dashed. It needs no legend, as
# every label says the word.
DASHES = [[1, 0], [7, 3], [2, 3], [7, 3, 2, 3]]
FILLS = [INK, "white", "white", "white"]
BAR_OPACITIES = [1.0, 0.4, 0.15, 0.4]
SHAPES = ["circle", "diamond", "square", "triangle-up"]

ATTRIBUTIONS = {
    "sunk": "sunk",
    "marginal_wear": "marginal wear",
    "time_share": "time share",
    "used_hours": "used hours",
}
# What stands first, or alone where there is no room for all: the convention of the SCI standard, and the house's scenario.
MAIN_ATTRIBUTION, MAIN_SCENARIO = "time_share", "default"

# Labels are cut off here. To see which are longer, each is measured once more, which drawing an SVG spends much of its
# time on; one of no more letters than these fits.
_LABEL_PX, _LABEL_LETTERS = 220, 28

# Across this ratio and more, a linear axis would hide the small values.
_LOG_SPAN = 12.0


class Data(alt.InlineData):
    """Rows of a chart. Altair copies a chart whole at every step of its making; its rows nobody changes."""

    def __deepcopy__(self, memo: object) -> Data:
        return self


class Marks(alt.Chart):
    """One mark over rows. What a composition changes in the copies that it makes is no deeper than their own fields."""

    def __deepcopy__(self, memo: object) -> Marks:
        return self.copy(deep=False)


class Layers(alt.LayerChart):
    """Marks over one another, copied as they are."""

    def __deepcopy__(self, memo: object) -> Layers:
        return self.copy(deep=False)


def rows(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: list[Any] | dict[str, Any] | None = None
) -> list[Row]:
    """The query's rows as dictionaries."""
    cursor = connection.execute(sql, parameters)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def grouped(found: list[Row], *keys: str) -> Iterator[tuple[tuple[Any, ...], list[Row]]]:
    """The rows by the values of `keys`, in the order of their first appearance."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in found:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    yield from groups.items()


def label_devices(members: list[Row]) -> None:
    """Give each row a `label` of two lines: the device, and below it what kind of figure this is and what it covers.

    Rows of one device that differ in precision or completeness are told apart by a third line.
    """
    for row in members:
        row["boundary_words"] = boundary_words(row["boundary"])
        row["label"] = f"{row['device']}\n{row['provenance'] or 'absent'}, {short_boundary(row['boundary'])}"
    labels = [row["label"] for row in members]
    for row in members:
        if labels.count(row["label"]) > 1:
            row["label"] += f"\n{row.get('precision') or ''} {row.get('energy_status') or ''}".rstrip()


def label_axis(lines: int, members: Sequence[Row]) -> alt.Y:
    """The y axis of the rows' `label`, in their order, each broken into so many lines about its row's middle."""
    longest = max(len(line) for row in members for line in row["label"].split("\n"))
    axis = alt.Axis(
        labelExpr=r"split(datum.label, '\n')",
        labelOffset=-7 * (lines - 1),
        labelLimit=_LABEL_PX if longest > _LABEL_LETTERS else 0,
        labelPadding=8,
        grid=False,
        domain=False,
        ticks=False,
    )
    return alt.Y("label:N", sort=None, title=None, axis=axis)


def role_scale() -> alt.Scale:
    """Blue for the cloud, vermilion for the edge."""
    return alt.Scale(domain=list(ROLE_COLOURS), range=list(ROLE_COLOURS.values()))


def provenance_scale(values: list[Any]) -> alt.Scale:
    """A scale from provenance to `values`: ordinal by name, since between numbers Vega-Lite would interpolate."""
    return alt.Scale(type="ordinal", domain=PROVENANCES, range=values)


def series_scale(names: Sequence[str]) -> alt.Scale:
    """Colours for named series; past the palette's end it begins again, and tooltips must tell them apart."""
    return alt.Scale(domain=list(names), range=[SERIES_COLOURS[i % len(SERIES_COLOURS)] for i in range(len(names))])


def spans_widely(values: Sequence[float]) -> bool:
    """Whether positive values spread so far that they need a logarithmic axis."""
    return bool(values) and min(values) > 0 and max(values) / min(values) > _LOG_SPAN


def ticks(values: Sequence[float]) -> list[float]:
    """Tick values of a logarithmic axis over positive `values`: 1, 2, 5 a decade, over many decades 1 alone."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    steps = [1, 2, 5] if math.log10(max(values) / min(values)) < 2.2 else [1]
    return [float(f"{step}e{decade}") for decade in range(low, high + 1) for step in steps]


def si_axis(unit: str, **options: Any) -> alt.Axis:
    """An axis whose numbers carry SI prefixes: 20 kJ, 5 MJ."""
    return alt.Axis(labelExpr=f"replace(format(datum.value, '~s'), /([^0-9.]?)$/, ' $1{unit}')", **options)


def panel_title(text: str, subtitle: str | list[str] = "") -> alt.TitleParams:
    """A panel's title, flush with its plot whatever the width of the labels beside it."""
    return alt.TitleParams(text, subtitle=subtitle or alt.Undefined, frame="group", fontSize=13, offset=6)


def marks(values: list[Row] | str, format: Any = alt.Undefined, **options: Any) -> Marks:
    """A chart of these rows, to be given a mark; or of a text, with its format."""
    return Marks(Data(values=values, format=format), **options)


def at(place: float | str | dict[str, str]) -> alt.XValue:
    """A fixed place along x, in pixels, as a word or as an expression; `alt.value` takes longer than all else of a mark."""
    return alt.XValue(place)  # type: ignore[no-untyped-call]


def layered(layers: Sequence[alt.Chart], height: float | alt.Step, title: Any = alt.Undefined) -> Layers:
    """A panel of marks over one another."""
    data = layers[0].data
    if all(layer.data is data for layer in layers):
        # Altair would do the same, and first write out all rows to tell the layers apart.
        for layer in layers:
            layer.data = alt.Undefined
    else:
        data = alt.Undefined
    return Layers(data=data, layer=layers, width=WIDTH, height=height, title=title)


def titled(panel: Panel, title: alt.TitleParams) -> Panel:
    """The panel with a title; `properties()` would copy it, and validate the title, which takes longer than drawing."""
    panel.title = title
    return panel


def no_data(title: str, reason: str) -> Chart:
    """A chart that says why there is nothing to draw."""
    chart = marks([{"text": f"No data: {reason}"}])
    text = chart.mark_text(fontSize=13, color=QUIET, align="left", baseline="middle")
    return _dressed(text.encode(text=alt.Text("text:N"), x=at(0)).properties(width=WIDTH, height=60, title=title))


def is_empty(chart: Chart) -> bool:
    """Whether the chart is one of `no_data`: all that hold something are `stacked`."""
    return not isinstance(chart, alt.VConcatChart)


def stacked(panels: Sequence[Panel], title: str, subtitle: list[str]) -> Chart:
    """Panels below one another, each with axes of its own, legends on top."""
    return _dressed(alt.vconcat(*panels, spacing=18, title=alt.TitleParams(title, subtitle=subtitle)))


def _dressed(chart: Chart) -> Chart:
    """The chart with the house's configuration."""
    quiet_title = {"titleFontSize": 12, "titleFontWeight": "normal", "titleColor": QUIET}
    config: dict[str, Any] = {
        "font": FONT,
        "background": "white",
        "padding": 6,
        "view": {"stroke": None},
        "axis": {
            "labelFontSize": 12,
            "labelColor": INK,
            "labelSeparation": 8,
            "labelLimit": 0,
            "gridColor": "#e6e6e6",
            "domainColor": "#999999",
            "tickColor": "#999999",
            **quiet_title,
        },
        "legend": {
            "orient": "top",
            "labelFontSize": 12,
            "labelColor": INK,
            "labelLimit": 320,
            "symbolSize": 110,
            "columnPadding": 14,
            **quiet_title,
        },
        "title": {
            "anchor": "start",
            "fontSize": 14,
            "subtitleFontSize": 12,
            "color": INK,
            "subtitleColor": QUIET,
            "offset": 10,
        },
        "text": {"font": FONT, "fontSize": 12, "color": INK},
    }
    chart.config = alt.Config(**config)  # configure() would copy the whole chart first
    return chart
