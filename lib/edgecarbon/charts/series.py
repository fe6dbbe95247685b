"""What happened over time: power, temperature and clocks with windows and throttling shaded; loss and step time."""

from __future__ import annotations

from typing import Any

import altair as alt
import duckdb

from edgecarbon.charts import style
from edgecarbon.vocabulary import short_boundary

# A series is thinned to this many points in SQL, and to fewer where there are many runs, so that the page stays light.
POINTS_PER_SERIES = 600
POINTS_PER_CHART = 15_000
STRETCHES_PER_RUN = 150
# With more than these, points hide the lines that they lie on.
POINTS_PER_PANEL = 1_000
DEVICES_SHOWN = 12
REPEATS_SHOWN = 5

_RUNS = """
SELECT r.run_id, r.workload, r.device, r.repeat, w.start_s AS zero_s,
  (SELECT max(end_s) - min(start_s) FROM windows a WHERE a.run_id = r.run_id) AS span_s,
  count(*) OVER (PARTITION BY r.workload, r.device) AS repeats,
  max(r.parameters) OVER (PARTITION BY r.workload) AS size
FROM runs r JOIN windows w ON w.run_id = r.run_id AND w.name = 'train'
WHERE r.run_id IN (SELECT run_id FROM channels WHERE quantity IN ('energy', 'power'))
QUALIFY row_number() OVER (PARTITION BY r.workload, r.device ORDER BY r.repeat, r.run_id) <= ?
ORDER BY size, r.workload, r.role, r.device, r.repeat
"""

_ASKED = "(SELECT unnest($runs) AS run_id, unnest($widths) AS width)"

# Means over equal stretches of time; a counter's power is weighted by the time that it covers, so that energy is kept.
# The list of runs, said once more as a condition, is what the database can carry down into the view.
_POWER = f"""
SELECT run_id, 'power' AS quantity, component, any_value(boundary) AS boundary, any_value(provenance) AS provenance,
  avg(t_s) AS t_s, sum(watts * coalesce(interval_s, 1)) / sum(coalesce(interval_s, 1)) AS value
FROM power JOIN {_ASKED} USING (run_id) WHERE list_contains($runs, run_id)
GROUP BY run_id, component, floor(t_s / width) ORDER BY component, t_s
"""

_STATE = f"""
SELECT run_id, quantity, component, NULL AS boundary, any_value(provenance) AS provenance, avg(t_s) AS t_s, avg(value) AS value
FROM samples JOIN channels USING (run_id, channel) JOIN {_ASKED} USING (run_id)
WHERE list_contains($runs, run_id) AND quantity IN ('temperature', 'frequency') AND value IS NOT NULL
GROUP BY run_id, quantity, component, floor(t_s / width) ORDER BY quantity, component, t_s
"""

_WINDOWS = "SELECT name, start_s, end_s FROM windows WHERE run_id = ? ORDER BY start_s"

_THROTTLED = "SELECT start_s, end_s FROM throttled WHERE run_id = ? ORDER BY start_s"

_STEPS = """
WITH numbered AS (
  SELECT run_id, duration_s, loss, count(*) OVER everything AS steps,
    row_number() OVER (PARTITION BY run_id ORDER BY start_s)
      - count(*) FILTER (phase = 'warmup') OVER everything AS step
  FROM steps WINDOW everything AS (PARTITION BY run_id))
SELECT r.workload, r.device, n.run_id, avg(n.step) AS step, avg(n.loss) AS loss, avg(n.duration_s) AS duration_s
FROM numbered n JOIN runs r USING (run_id) WHERE r.repeat <= ?
GROUP BY r.workload, r.device, n.run_id, r.parameters, floor(n.step / ceil(n.steps / ?))
ORDER BY r.parameters, r.workload, r.device, n.run_id, step
"""

_RUNS_WITH_STEPS = "SELECT count(*) FROM runs WHERE repeat <= ? AND run_id IN (SELECT run_id FROM steps)"

# quantity: axis title, height in pixels, whether the axis begins at zero
_TRACKS = {
    "power": ("power (W)", 150, True),
    "temperature": ("temperature (°C)", 80, False),
    "frequency": ("clock (MHz)", 80, False),
}
_WINDOW_WORDS = {"idle_before": "idle", "idle_after": "idle", "warmup": "warm-up", "train": "measured"}


def power(connection: duckdb.DuckDBPyConnection) -> style.Chart:
    """Power, temperature and clocks over time by device; shaded: idle, warm-up, measured window and throttling in it."""
    title = "Power over time"
    runs = style.rows(connection, _RUNS, [REPEATS_SHOWN])
    groups = dict(style.grouped(runs, "workload", "device"))
    shown = dict(list(groups.items())[:DEVICES_SHOWN])
    budget = max(60, min(POINTS_PER_SERIES, POINTS_PER_CHART // max(1, sum(map(len, shown.values())))))
    of_run = _thinned(connection, [run for members in shown.values() for run in members], budget)
    points = {key: [point for run in members for point in of_run[run["run_id"]]] for key, members in shown.items()}
    if not any(points.values()):
        return style.no_data(title, "no run in this database has power samples.")
    names = sorted({point["series"] for members in points.values() for point in members})
    windows = {key: _windows(connection, members) for key, members in shown.items()}
    present = {row["window"] for members in windows.values() for row in members}
    shades = [name for name in style.WINDOW_COLOURS if name in present or name != style.THROTTLED]
    panels = [
        panel
        for key in shown
        if points[key]
        for panel in _tracks(" · ".join(key), points[key], windows[key], names, shades)
    ]
    return style.stacked(panels, title, _power_subtitle(runs, len(groups)))


def _power_subtitle(runs: list[style.Row], devices: int) -> list[str]:
    lines = ["Time 0: start of the measured window. Solid: measured. Dashed: not measured. Repeats overlaid."]
    if any(run["repeats"] > REPEATS_SHOWN for run in runs):
        lines.append(f"Only the first {REPEATS_SHOWN} repeats are drawn.")
    if devices > DEVICES_SHOWN:
        lines.append(f"Only the first {DEVICES_SHOWN} of {devices} workloads and devices are drawn.")
    return lines


def _thinned(connection: duckdb.DuckDBPyConnection, runs: list[style.Row], budget: int) -> dict[str, list[style.Row]]:
    """Each run's points of power, temperature and frequency, about `budget` a component; time 0 is the window's start."""
    widths = [max(run["span_s"] / budget, 1e-6) for run in runs]
    parameters = {"runs": [run["run_id"] for run in runs], "widths": widths}
    zeros_s = {run["run_id"]: run["zero_s"] for run in runs}
    points: dict[str, list[style.Row]] = {run_id: [] for run_id in zeros_s}
    for row in style.rows(connection, _POWER, parameters) + style.rows(connection, _STATE, parameters):
        covered = short_boundary(row.pop("boundary"))
        what = f"{covered}, {row['provenance']}" if row["quantity"] == "power" else "temperature, clock"
        row["series"] = f"{row.pop('component')}: {what}"
        row["t_s"] -= zeros_s[row["run_id"]]
        points[row["run_id"]].append(row)
    return points


def _windows(connection: duckdb.DuckDBPyConnection, runs: list[style.Row]) -> list[style.Row]:
    """The windows of the runs, what was throttled cut out of them as its own; time 0 is the start of the measured one."""
    found = []
    for run in runs:
        stretches = _stretches(connection, run)
        spans = [(style.THROTTLED, start_s, end_s) for start_s, end_s in stretches]
        for row in style.rows(connection, _WINDOWS, [run["run_id"]]):
            name = _WINDOW_WORDS.get(row["name"], str(row["name"]))
            cut = stretches if row["name"] == "train" else []
            ends = [row["start_s"], *(second for stretch in cut for second in stretch), row["end_s"]]
            spans += [(name, *rest) for rest in zip(ends[::2], ends[1::2], strict=True) if rest[1] > rest[0]]
        found += [
            {
                "window": name,
                "start_s": start_s - run["zero_s"],
                "end_s": end_s - run["zero_s"],
                "run_id": run["run_id"],
            }
            for name, start_s, end_s in spans
        ]
    return found


def _stretches(connection: duckdb.DuckDBPyConnection, run: style.Row) -> list[tuple[float, float]]:
    """When a run was throttled for heat, in order; what lies too close together to be told apart is one."""
    joined: list[tuple[float, float]] = []
    for row in style.rows(connection, _THROTTLED, [run["run_id"]]):
        start_s, end_s = row["start_s"], row["end_s"]
        if joined and start_s - joined[-1][1] <= run["span_s"] / STRETCHES_PER_RUN:
            start_s, before_s = joined.pop()
            end_s = max(end_s, before_s)
        joined.append((start_s, end_s))
    return joined


def _tracks(
    title: str, points: list[style.Row], windows: list[style.Row], names: list[str], shades: list[str]
) -> list[style.Panel]:
    """The panels of one device, one a quantity that it has, on one time axis."""
    by_quantity = {quantity: members for (quantity,), members in style.grouped(points, "quantity")}
    present = [quantity for quantity in _TRACKS if quantity in by_quantity]
    panels = [_track(name, by_quantity[name], windows, names, shades, last=name == present[-1]) for name in present]
    return [style.titled(panels[0], style.panel_title(title)), *panels[1:]]


def _track(
    quantity: str,
    points: list[style.Row],
    windows: list[style.Row],
    names: list[str],
    shades: list[str],
    *,
    last: bool,
) -> style.Layers:
    """One quantity of one device over time, above its shaded windows; only the last one shows the time axis."""
    axis_title, height, zero = _TRACKS[quantity]
    runs = len({row["run_id"] for row in windows})
    time_axis = alt.Axis(grid=False, labels=last, ticks=last, tickCount=8)
    start = alt.X("start_s:Q", title="time (s)" if last else None, scale=alt.Scale(nice=False), axis=time_axis)
    colours = alt.Scale(domain=shades, range=[style.WINDOW_COLOURS[name] for name in shades])
    shade_legend = alt.Legend(symbolOpacity=0.4, symbolType="square")
    # The shades of the repeats add up to one.
    bands = style.marks(windows).mark_rect(opacity=0.3 / max(runs, 1))
    shaded = bands.encode(
        x=start,
        x2=alt.X2("end_s:Q"),
        fill=alt.Fill("window:N", title=None, scale=colours, legend=shade_legend),
        tooltip=[
            *map(alt.Tooltip, ("window:N", "run_id:N")),
            alt.Tooltip("start_s:Q", format=".1f"),
            alt.Tooltip("end_s:Q", format=".1f"),
        ],
    )
    series_legend = alt.Legend(symbolType="stroke", symbolStrokeWidth=3, columns=2)
    lines = _compact(points).mark_line(strokeWidth=1.4, opacity=0.9 if runs == 1 else 0.6).encode(
        x=alt.X("t:Q"),
        y=alt.Y("v:Q", title=axis_title, scale=alt.Scale(zero=zero, nice=True), axis=alt.Axis(tickCount=4)),
        color=alt.Color("series:N", title=None, scale=style.series_scale(names), legend=series_legend),
        strokeDash=alt.StrokeDash("provenance:N", scale=style.provenance_scale(style.DASHES), legend=None),
        detail=alt.Detail("run_id:N"),
        tooltip=[*map(alt.Tooltip, ("series:N", "provenance:N", "run_id:N"))],
    )  # fmt: skip
    return style.layered([shaded, lines], height=height)


def _compact(points: list[style.Row]) -> alt.Chart:
    """A chart of `t` and `v` by series: numbers as CSV, and the words of a series held once, by its number `k`.

    A list of objects would be many times larger, and Altair copies it at every step; a text it does not.
    """
    keys: dict[tuple[str, str, str], int] = {}
    lines = ["k,t,v"]
    for point in points:
        number = keys.setdefault((point["series"], point["provenance"], point["run_id"]), len(keys))
        lines.append(f"{number},{point['t_s']:.6g},{point['value']:.5g}")
    numbers = alt.CsvDataFormat(type="csv", parse={"k": "number", "t": "number", "v": "number"})
    fields = ["series", "provenance", "run_id"]
    words = [{"k": number, **dict(zip(fields, key, strict=True))} for key, number in keys.items()]
    lookup = alt.LookupData(data=style.Data(values=words), key="k", fields=fields)
    return style.marks("\n".join(lines), format=numbers).transform_lookup(lookup="k", from_=lookup)


def training(connection: duckdb.DuckDBPyConnection) -> style.Chart:
    """Loss and step time over the steps, warm-up steps at and below zero."""
    title = "Loss and step time"
    ((runs,),) = connection.execute(_RUNS_WITH_STEPS, [REPEATS_SHOWN]).fetchall()
    budget = max(20, min(POINTS_PER_SERIES, POINTS_PER_CHART // max(1, runs)))
    found = style.rows(connection, _STEPS, [REPEATS_SHOWN, budget])
    if not found:
        return style.no_data(title, "no run in this database has steps; modelled devices never have.")
    devices = sorted({row["device"] for row in found})
    panels: list[style.Panel] = []
    for (workload,), members in style.grouped(found, "workload"):
        loss = _over_steps(members, "loss", "loss (nat per token)", devices)
        panels += [
            style.titled(loss, style.panel_title(workload)),
            _over_steps(members, "duration_s", "time of a step (s)", devices),
        ]
    subtitle = ["Steps up to 0 are the warm-up, outside the measured window. Repeats overlaid."]
    return style.stacked(panels, title, subtitle)


def _over_steps(members: list[style.Row], field: str, axis_title: str, devices: list[str]) -> alt.Chart:
    known = [row for row in members if row[field] is not None]
    values = [{key: row[key] for key in ("device", "run_id", "step", field)} for row in known]
    numbers = [row[field] for row in values]
    wide = style.spans_widely(numbers)
    scale = alt.Scale(type="log", nice=False) if wide else alt.Scale(zero=False, nice=True)
    marks: dict[str, Any] = {"values": style.ticks(numbers)} if wide else {"tickCount": 4}
    few = len(values) <= min(60 * len({row["run_id"] for row in members}), POINTS_PER_PANEL)
    points = alt.OverlayMarkDef(size=22, opacity=0.9) if few else False
    chart = style.marks(values, width=style.WIDTH, height=130)
    encoded: alt.Chart = chart.mark_line(strokeWidth=1.6, opacity=0.8, point=points).encode(
        x=alt.X("step:Q", title="step", axis=alt.Axis(grid=False, tickMinStep=1), scale=alt.Scale(nice=False)),
        y=alt.Y(f"{field}:Q", title=axis_title, scale=scale, axis=alt.Axis(**marks)),
        color=alt.Color("device:N", title=None, scale=style.series_scale(devices), legend=alt.Legend(columns=3)),
        detail=alt.Detail("run_id:N"),
        tooltip=[
            *map(alt.Tooltip, ("device:N", "run_id:N", "step:Q")),
            alt.Tooltip(f"{field}:Q", title=axis_title, format=".4~g"),
        ],
    )
    return encoded
