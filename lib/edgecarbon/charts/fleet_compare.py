"""Fleets beside something else: the measured step beside its simulation, the fleet beside one cloud device."""

from __future__ import annotations

import altair as alt
import duckdb

from edgecarbon.charts import figures, style
from edgecarbon.charts.fleet import run_words

_PREDICTION = """
WITH bytes AS (SELECT fleet_run, sum(sent_bytes) AS bytes FROM fleet_members GROUP BY fleet_run),
means AS (
  SELECT fleet_work, record_kind, any_value(workload) AS workload, any_value(fleet) AS fleet, count(*) AS repeats,
    avg(step_s) AS step_s, avg(bytes) AS bytes, bool_or(virtual_host) AS virtual_host
  FROM fleet_runs LEFT JOIN bytes USING (fleet_run) WHERE record_kind <> 'missing' GROUP BY fleet_work, record_kind)
SELECT m.workload, m.fleet, m.repeats, m.virtual_host, m.step_s AS measured_s, s.step_s AS predicted_s,
  m.bytes AS measured_bytes, s.bytes AS predicted_bytes
FROM means m JOIN means s ON s.fleet_work = m.fleet_work AND s.record_kind = 'simulated'
  LEFT JOIN (SELECT workload, max(parameters) AS size FROM runs GROUP BY workload) z ON z.workload = m.workload
WHERE m.record_kind = 'measured' AND m.step_s > 0 AND s.step_s > 0 ORDER BY z.size, m.workload, m.fleet
"""

CARBON = """
SELECT c.*, r.record_kind, r.repeat, r.virtual_host, k.provenance AS cloud_provenance, k.boundary AS cloud_boundary
FROM fleet_carbon c LEFT JOIN fleet_runs r ON r.fleet_run = c.fleet_run
  LEFT JOIN (SELECT workload, device, min(provenance) AS provenance, min(boundary) AS boundary
             FROM runs GROUP BY ALL) k ON k.workload = c.workload AND k.device = c.cloud_device
  LEFT JOIN (SELECT workload, max(parameters) AS size FROM runs GROUP BY workload) z ON z.workload = c.workload
WHERE c.total_grams IS NOT NULL AND coalesce(r.repeat, 1) = (
  SELECT coalesce(min(o.repeat), 1) FROM fleet_carbon f JOIN fleet_runs o ON o.fleet_run = f.fleet_run
  WHERE f.scenario = c.scenario AND o.fleet_work = r.fleet_work AND o.record_kind = r.record_kind)
ORDER BY z.size, c.workload, c.scenario, c.fleet, r.record_kind, c.fleet_run, list_position(?, c.attribution), c.cloud_device
"""
"""The first repeat of each fleet; its parameter is the order of the attributions."""

PANELS_SHOWN = 8
# As in the carbon of single devices: the axis ends at this many times the longest bar.
_CUT = 2.0


def fleet_prediction(connection: duckdb.DuckDBPyConnection) -> style.Chart:
    """Measured step time and bytes of each fleet, with what its simulation said before, and how far off that was."""
    title = "Prediction against measurement"
    found = style.rows(connection, _PREDICTION)
    if not found:
        return style.no_data(title, "no fleet was both measured and simulated.")
    panels = [_against(found, "s", "time of a step", "s")]
    if moved := [row for row in found if row["measured_bytes"] and row["predicted_bytes"]]:
        panels.append(_against(moved, "bytes", "sent in a step, by all members", "B"))
    subtitle = ["Solid circle: measured, mean of the repeats. Hollow: simulated. In words: how far off that was."]
    return style.stacked(panels, title, subtitle)


def difference(predicted: float, measured: float) -> str:
    """How far a prediction is off, of what was measured: +12 %, −3.1 %."""
    percent = 100 * (predicted / measured - 1)
    text = figures.significant(percent) if abs(percent) >= 0.05 else "0"
    return f"{'+' if percent >= 0.05 else ''}{text} %"


def _against(found: list[style.Row], column: str, what: str, unit: str) -> style.Layers:
    """One quantity, a row a fleet."""
    values = []
    for row in found:
        measured, predicted = row[f"measured_{column}"], row[f"predicted_{column}"]
        words = [figures.quantity(one, None, None, unit) for one in (measured, predicted)]
        hosts = ", virtual hosts" if row["virtual_host"] else ""
        values.append({
            "label": f"{row['fleet']}\n{row['workload']}{hosts}\nmeasured {words[0]}\nsimulated {words[1]}",
            "measured": measured, "predicted": predicted, "measured_words": words[0], "predicted_words": words[1],
            "difference": f"simulated {difference(predicted, measured)}", "repeats": row["repeats"],
        })  # fmt: skip
    ends = [row[name] for row in values for name in ("measured", "predicted")]
    wide = style.spans_widely(ends)
    domain = [min(ends) / 1.5, max(ends) * 1.5] if wide else [0, max(ends) * 1.08]
    scale = alt.Scale(type="log" if wide else "linear", domain=domain, nice=False)
    axis = style.si_axis(unit, **({"values": style.ticks(ends)} if wide else {"tickCount": 5}))
    x, there = (alt.X(f"{name}:Q", scale=scale, axis=axis, title=what) for name in ("measured", "predicted"))
    base = style.marks(values).encode(
        y=style.label_axis(4, values),
        tooltip=[
            alt.Tooltip("measured_words:N", title="measured"),
            alt.Tooltip("predicted_words:N", title="simulated (modelled)"),
            alt.Tooltip("difference:N"),
            alt.Tooltip("repeats:Q", title="measured repeats"),
        ],
    )
    edge = style.ROLE_COLOURS["edge"]
    rule = base.mark_rule(strokeWidth=2, color=edge, strokeDash=[2, 3]).encode(x=x, x2=alt.X2("predicted:Q"))
    hollow = base.mark_point(size=120, shape="diamond", color=edge, fill="white", opacity=1, strokeWidth=2)
    solid = base.mark_point(size=60, filled=True, color=edge, opacity=1)
    texts = base.mark_text(align="left", dx=2, dy=-22, fontWeight=600).encode(
        x=style.at(0), text=alt.Text("difference:N")
    )
    layers = [rule, hollow.encode(x=there), solid.encode(x=x), texts]
    title = style.panel_title(what.capitalize(), "simulated (modelled) against measured")
    return style.layered(layers, height=alt.Step(72), title=title)


def fleet_carbon(connection: duckdb.DuckDBPyConnection) -> style.Chart:
    """Carbon of the workload on a fleet and on one cloud device, grouped by attribution."""
    title = "A fleet against one cloud device: carbon"
    found = style.rows(connection, CARBON, [list(style.ATTRIBUTIONS)])
    if not found:
        return style.no_data(title, "no scenario has been computed for a fleet.")
    groups = list(style.grouped(found, "workload", "scenario", "fleet_run"))
    several = len({row["scenario"] for row in found}) > 1
    panels = []
    for (workload, scenario, _), members in groups[:PANELS_SHOWN]:
        heading = f"{workload} · {members[0]['fleet']}{f' · scenario {scenario}' if several else ''}"
        panels.append(style.titled(_grouped_bars(members), style.panel_title(heading, carbon_run_words(members[0]))))
    more = [f"The first {PANELS_SHOWN} of {len(groups)}; the table has all."] if len(groups) > PANELS_SHOWN else []
    subtitle = [
        *more,
        "Whisker: 5 to 95 % over the ranges of the fleet's inputs; the cloud's bar is its central figure.",
        "Solid: from measured energy. Pale, dashed: from energy that was not measured. Arrow: the whisker goes on.",
    ]
    return style.stacked(panels, title, subtitle)


def carbon_run_words(row: style.Row) -> list[str]:
    """How a fleet's figure is known; a run that is in no table of fleets says its energy's kind alone."""
    return run_words(row) if row["record_kind"] else [f"energy {row['provenance'] or 'absent'}"]


def _grouped_bars(members: list[style.Row]) -> style.Layers:
    """One run of a fleet: under each attribution a bar for it and one for each cloud device."""
    bars = _sides(members)
    longest = max(row["total"] for row in bars)
    limit = min(max(row["high"] or row["total"] for row in bars), _CUT * longest) * 1.04 or 1.0
    for row in bars:
        row["beyond"] = bool(row["high"] and row["high"] > limit)
        row["drawn_high"] = limit if row["beyond"] else row["high"]
    scale = alt.Scale(domain=[0, limit], nice=False)
    # A group's name stands at its first bar alone.
    label = alt.Axis(
        labelExpr="split(datum.label, '|')[1] === '0' ? split(datum.label, '|')[0] : ''",
        labelLimit=220, labelPadding=8, grid=False, domain=False, ticks=False,
    )  # fmt: skip
    base = style.marks(bars).encode(
        y=alt.Y("place:N", sort=None, title=None, axis=label),
        tooltip=[
            alt.Tooltip("name:N"),
            alt.Tooltip("attribution:N"),
            alt.Tooltip("grams:N", title="total (5–95 %)"),
            alt.Tooltip("parts:N"),
            alt.Tooltip("energy:N", title="energy"),
            alt.Tooltip("provenance:N"),
        ],
    )
    drawn = base.mark_bar(height=12, yOffset=6, strokeWidth=1.2).encode(
        x=alt.X("total:Q", scale=scale, axis=style.si_axis("g", tickCount=5), title="CO₂e of the workload"),
        color=alt.Color("role:N", title=None, scale=style.role_scale()),
        stroke=alt.Stroke("role:N", title=None, scale=style.role_scale()),
        strokeDash=alt.StrokeDash("drawn_as:N", scale=style.provenance_scale(style.DASHES), legend=None),
        fillOpacity=alt.FillOpacity("drawn_as:O", scale=style.provenance_scale(style.BAR_OPACITIES), legend=None),
    )
    ranged = base.transform_filter("isValid(datum.low) && isValid(datum.high)")
    low, high = (alt.X(f"{end}:Q", scale=scale) for end in ("low", "drawn_high"))
    whisker = ranged.mark_rule(yOffset=6, y2Offset=6, strokeWidth=1.5, color=style.INK).encode(
        x=low, x2=alt.X2("drawn_high:Q")
    )
    cap = ranged.mark_tick(yOffset=6, thickness=1.5, size=9, color=style.INK)
    ends = cap.transform_filter("!datum.beyond").encode(x=high)
    arrow = ranged.transform_filter("datum.beyond").mark_point(
        shape="triangle-right", filled=True, size=60, yOffset=6, xOffset=-4, color=style.INK, opacity=1
    )
    texts = base.mark_text(align="left", dy=-8, dx=2).encode(x=style.at(0), text=alt.Text("figure:N"))
    layers = [drawn, whisker, cap.encode(x=low), ends, arrow.encode(x=high), texts]
    return style.layered(layers, height=alt.Step(36))


def _sides(members: list[style.Row]) -> list[style.Row]:
    """The bars: the fleet, then the cloud devices, under each attribution."""
    bars = []
    for (attribution,), alike in style.grouped(members, "attribution"):
        name, first = style.ATTRIBUTIONS.get(attribution, attribution), alike[0]
        parts = {
            key: figures.quantity(first[f"{key}_grams"], None, None, "g")
            for key in ("operational", "embodied", "network")
        }
        sides = [{
            "role": "edge", "name": "fleet", "total": first["total_grams"], "low": first["total_low_grams"],
            "high": first["total_high_grams"], "provenance": first["provenance"], "joules": first["energy_joules"],
            "parts": ", ".join(f"{key} {value}" for key, value in parts.items()),
        }]  # fmt: skip
        sides += [{
            "role": "cloud", "name": row["cloud_device"], "total": row["cloud_total_grams"], "low": None, "high": None,
            "provenance": row["cloud_provenance"], "joules": row["cloud_energy_joules"], "parts": "–",
        } for row in alike if row["cloud_device"] and row["cloud_total_grams"] is not None]  # fmt: skip
        for number, side in enumerate(sides):
            # What nobody knows is drawn as the least sure.
            side["drawn_as"] = side["provenance"] if side["provenance"] in style.PROVENANCES else "estimated"
            side["provenance"] = side["provenance"] or "unknown"
            side["grams"] = figures.quantity(side["total"], side["low"], side["high"], "g")
            side["figure"] = f"{side['name']}: {side['grams']}"
            side["energy"] = figures.quantity(side["joules"], None, None, "J")
            bars.append({**side, "attribution": name, "place": f"{name}|{number}"})
    return bars
