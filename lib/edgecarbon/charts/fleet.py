"""A fleet's step: who does what when, and where the energy goes. Measured runs stand above their simulation."""

from __future__ import annotations

import altair as alt
import duckdb

from edgecarbon.charts import figures, style
from edgecarbon.vocabulary import boundary_words, short_boundary

RUNS_SHOWN = 4
MEMBERS_SHOWN = 24
# More spans than these would make the page heavy; the shortest are left out, and the chart says so.
SPANS_SHOWN = 4_000

# The first repeat of what was measured, then its simulation; fleets that have both come first.
_RUNS = """
WITH known AS (
  SELECT r.*, count(DISTINCT r.record_kind) OVER (PARTITION BY r.fleet_work) AS kinds
  FROM fleet_runs r WHERE r.record_kind <> 'missing' AND r.fleet_run IN (SELECT fleet_run FROM {table})
  QUALIFY row_number() OVER (PARTITION BY r.fleet_work, r.record_kind ORDER BY r.repeat, r.fleet_run) = 1)
SELECT * FROM known
  LEFT JOIN (SELECT workload, max(parameters) AS size FROM runs GROUP BY workload) USING (workload)
ORDER BY kinds DESC, size, fleet_work, record_kind, fleet_run LIMIT ?
"""

_HOW_MANY = """
SELECT count(DISTINCT (fleet_work, record_kind)) AS runs FROM fleet_runs
WHERE record_kind <> 'missing' AND fleet_run IN (SELECT fleet_run FROM {table})
"""

_SPANS = """
WITH ranked AS (
  SELECT *, dense_rank() OVER (ORDER BY replica, stage, "rank") AS place FROM fleet_spans WHERE fleet_run = $run),
shown AS (
  SELECT *, row_number() OVER (ORDER BY end_s - start_s DESC, start_s, place) AS by_length
  FROM ranked WHERE place <= $members AND end_s > 0)
SELECT member, stage, replica, place, kind, micro_batch, greatest(start_s, 0) AS start_s, end_s, peer,
  (SELECT count(DISTINCT place) FROM ranked) AS members, (SELECT count(*) FROM shown) AS spans
FROM shown WHERE by_length <= $spans ORDER BY place, start_s, kind
"""

_MEMBERS = """
SELECT *, count(*) OVER () AS members FROM fleet_members WHERE fleet_run = ? ORDER BY replica, stage, "rank" LIMIT ?
"""

_EXCHANGES = {"reduce": "all-reduce", "tie": "tied weight", "norm": "gradient norm"}
_PARTS = {"compute_joules": "compute", "idle_joules": "idle (waiting)", "radio_joules": "radio"}
_LANE_PX, _ROW_PX = 30, 42


def fleet_timeline(connection: duckdb.DuckDBPyConnection) -> style.Chart:
    """What every member does in one step: computing and waiting in its lane, messages as a thin bar below."""
    title = "One step of a fleet"
    runs, notes = _shown(connection, "fleet_spans")
    if not runs:
        return style.no_data(title, "no fleet in this database has a timeline.")
    found = [(run, style.rows(connection, _SPANS, _limits(run))) for run in runs]
    panels = []
    for run, spans in found:
        # Measured and simulated side by side only compare on one axis.
        last_s = max(row["end_s"] for other, mine in found if other["fleet_work"] == run["fleet_work"] for row in mine)
        panels.append(style.titled(_lanes(spans, last_s), _heading(run)))
        if spans[0]["spans"] > len(spans):
            notes.append(f"Of {run['fleet_run']} the {len(spans):,} longest of {spans[0]['spans']:,} spans.")
        if spans[0]["members"] > MEMBERS_SHOWN:
            notes.append(f"Of {run['fleet_run']} the first {MEMBERS_SHOWN} of {spans[0]['members']} members.")
    subtitle = ["Thin bar below a lane: a message that arrives. Stages and micro-batches are counted from 1.", *notes]
    return style.stacked(panels, title, subtitle)


def fleet_energy(connection: duckdb.DuckDBPyConnection) -> style.Chart:
    """Energy of one step by member, stacked: computing, waiting at the idle draw, and the radio."""
    title = "Energy of a step, by member"
    runs, notes = _shown(connection, "fleet_members WHERE compute_joules IS NOT NULL")
    if not runs:
        return style.no_data(title, "no member of a fleet in this database has an energy figure.")
    panels = []
    for run in runs:
        members = style.rows(connection, _MEMBERS, [run["fleet_run"], MEMBERS_SHOWN])
        panels.append(style.titled(_bars(members), _heading(run)))
        if members[0]["members"] > MEMBERS_SHOWN:
            notes.append(f"Of {run['fleet_run']} the first {MEMBERS_SHOWN} of {members[0]['members']} members.")
    subtitle = [
        "Solid: measured. Pale, dashed: modelled or estimated, as the label says. A radio that the meter does not cover "
        "is modelled from the bytes.",
        *notes,
    ]
    return style.stacked(panels, title, subtitle)


def run_words(run: style.Row) -> list[str]:
    """How a fleet's run is known, in short lines: what it is, and of which kind its energy is."""
    if run["record_kind"] == "simulated":
        return ["simulated, all modelled"]
    hosts = " on virtual hosts" if run["virtual_host"] else ""
    return [f"measured run{hosts}", f"energy {run['provenance'] or 'absent'}"]


def place_words(row: style.Row) -> str:
    """Where a member stands, counted from 1 as readers do."""
    return f"stage {row['stage'] + 1} · {row['member']}"


def _shown(connection: duckdb.DuckDBPyConnection, table: str) -> tuple[list[style.Row], list[str]]:
    """The runs to draw of those that `table` has rows of, and a note where there are more."""
    runs = style.rows(connection, _RUNS.format(table=table), [RUNS_SHOWN])
    many = style.rows(connection, _HOW_MANY.format(table=table))[0]["runs"]
    return runs, [f"{RUNS_SHOWN} of {many} fleet runs are drawn."] if many > RUNS_SHOWN else []


def _limits(run: style.Row) -> dict[str, object]:
    return {"run": run["fleet_run"], "members": MEMBERS_SHOWN, "spans": SPANS_SHOWN}


def _heading(run: style.Row) -> alt.TitleParams:
    repeat = [] if run["repeat"] is None else [f"repeat {run['repeat']}"]
    what, *more = run_words(run)
    # Short lines, as nothing wraps them on a phone.
    return style.panel_title(
        f"{run['workload']} · {run['fleet']}", [what, *([", ".join([*more, *repeat])] if more else [])]
    )


def _label(members: list[style.Row]) -> int:
    """Give each row its lane's `label`; returns of how many lines. The replica is told where there are several."""
    several = max(row["replica"] for row in members) > 0
    for row in members:
        row["label"] = place_words(row) + (f"\nreplica {row['replica'] + 1}" if several else "")
    return 2 if several else 1


def _lanes(spans: list[style.Row], last_s: float) -> style.Layers:
    """One run's members, a lane each."""
    lines = _label(spans)
    drawn = [_span(row) for row in spans]
    scale = alt.Scale(domain=[0, last_s], nice=False)
    colours = alt.Scale(domain=list(style.SPAN_COLOURS), range=list(style.SPAN_COLOURS.values()))
    legend = alt.Legend(columns=6, symbolType="square")
    base = style.marks(drawn).encode(
        x=alt.X("start:Q", scale=scale, title="time in the step (s)", axis=alt.Axis(tickCount=6, grid=True)),
        x2=alt.X2("end:Q"),
        y=style.label_axis(lines, drawn),
        color=alt.Color("colour:N", title=None, scale=colours, legend=legend),
        tooltip=[
            alt.Tooltip("label:N", title="member"),
            alt.Tooltip("what:N"),
            alt.Tooltip("times:N", title="time"),
            alt.Tooltip("length:N"),
            alt.Tooltip("micro:N", title="micro-batch"),
            alt.Tooltip("peer:N", title="from"),
        ],
    )
    arrives = "datum.colour === 'transfer'"
    lane = base.transform_filter(f"!({arrives})").mark_bar(height=14, yOffset=-3, stroke="white", strokeWidth=0.4)
    below = base.transform_filter(arrives).mark_bar(height=4, yOffset=8)
    return style.layered([lane, below], height=alt.Step(_LANE_PX + 4 * (lines - 1)))


def _span(row: style.Row) -> style.Row:
    """What the timeline draws of a span: few and short fields, as there are many."""
    kind = row["kind"]
    length = row["end_s"] - row["start_s"]
    return {
        "label": row["label"],
        "colour": "exchange" if kind in _EXCHANGES else kind,
        "what": _EXCHANGES.get(kind, kind),
        "start": round(row["start_s"], 6),
        "end": round(row["end_s"], 6),
        "times": f"{row['start_s']:.4g} to {row['end_s']:.4g} s",
        "length": figures.quantity(length, None, None, "s"),
        "micro": "–" if row["micro_batch"] is None else str(row["micro_batch"] + 1),
        "peer": row["peer"] or "–",
    }


def _bars(members: list[style.Row]) -> style.Layers:
    """One run's members, a bar each."""
    lines = 1 + _label(members)
    for row in members:
        row["label"] += f"\n{row['provenance'] or 'absent'}, {short_boundary(row['boundary'])}"
        row["boundary_words"] = boundary_words(row["boundary"])
        row["figure"] = _energy_words(row)
        row["times"] = ", ".join(
            f"{name} {figures.quantity(row[column], None, None, 's')}"
            for name, column in (("computing", "busy_s"), ("waiting", "wait_s"), ("exchanging", "exchange_s"))
            if row[column] is not None
        )
    parts = []
    for row in members:
        for order, (column, part) in enumerate(_PARTS.items()):
            own = column == "radio_joules" and row["radio_provenance"] in style.PROVENANCES
            known_as = row["radio_provenance"] if own else row["provenance"]
            value = figures.quantity(row[column], None, None, "J")
            facts = {"part": part, "joules": row[column] or 0.0, "order": order, "known_as": known_as, "value": value}
            parts.append({**{key: row[key] for key in ("label", "device", "boundary_words", "times")}, **facts})
    colours = alt.Scale(domain=list(style.FLEET_ENERGY_COLOURS), range=list(style.FLEET_ENERGY_COLOURS.values()))
    bars = (
        style.marks(parts)
        .mark_bar(height=13, yOffset=6, strokeWidth=1.2)
        .encode(
            x=alt.X("joules:Q", stack="zero", axis=style.si_axis("J", tickCount=5), title="energy of a step"),
            y=style.label_axis(lines, members),
            color=alt.Color("part:N", title=None, scale=colours),
            stroke=alt.Stroke("part:N", title=None, scale=colours),
            strokeDash=alt.StrokeDash("known_as:N", scale=style.provenance_scale(style.DASHES), legend=None),
            fillOpacity=alt.FillOpacity("known_as:O", scale=style.provenance_scale(style.BAR_OPACITIES), legend=None),
            order=alt.Order("order:Q"),
            tooltip=[
                alt.Tooltip("label:N", title="member"),
                alt.Tooltip("device:N"),
                alt.Tooltip("part:N"),
                alt.Tooltip("value:N", title="energy"),
                alt.Tooltip("known_as:N", title="provenance"),
                alt.Tooltip("boundary_words:N", title="boundary"),
                alt.Tooltip("times:N", title="time of a step"),
            ],
        )
    )
    totals = [{"label": row["label"], "figure": row["figure"]} for row in members]
    texts = style.marks(totals).mark_text(align="left", dy=-9, dx=2)
    texts = texts.encode(x=style.at(0), y=style.label_axis(lines, members), text=alt.Text("figure:N"))
    return style.layered([bars, texts], height=alt.Step(_ROW_PX + 8 * (lines - 2)))


def _energy_words(row: style.Row) -> str:
    """A member's energy, and the radio's share of it."""
    parts = [row[column] for column in _PARTS]
    if None in parts:
        return "no reading"
    total = sum(parts)
    share = f", radio {figures.percent(parts[-1] / total)}" if parts[-1] and total else ""
    return f"{figures.quantity(total, None, None, 'J')}{share}"
