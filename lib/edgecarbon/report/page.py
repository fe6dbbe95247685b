"""The page: charts and tables through one template, with everything that it needs inside it."""

from __future__ import annotations

import platform
import shlex
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from edgecarbon import __version__
from edgecarbon.charts import CHARTS, Chart, ChartEntry, decision_charts, export, fleet_charts
from edgecarbon.charts.style import ATTRIBUTIONS, Row
from edgecarbon.plan import DEFAULT_CONFIG
from edgecarbon.report import (
    claims,
    decisions,
    fleets,
    instrument,
    jobs,
    missing,
    owner,
    provenance,
    scenarios,
    story,
    tables,
    words,
)
from edgecarbon.vocabulary import BOUNDARIES

SECTIONS = {
    "verdict": "Verdict",
    "ran": "What ran",
    "energy": "Energy",
    "power": "Over time",
    "heat": "Heat",
    "carbon": "Carbon",
    "pairs": "Every pair",
    "assumptions": "Assumptions",
    "data": "Data",
    "reading": "How to read this page",
    "again": "Reproduce",
}
# Sections that are there where something is in them: title, and after which other they stand.
OPTIONAL = {
    "try": ("Try it", "verdict"),
    "decides": ("What decides it", "verdict"),
    "together": ("Training together", "pairs"),
    "owner": ("For the owner", "pairs"),
    "claims": ("What was published", "pairs"),
}
# Charts of sections that are not always there.
_OPTIONAL_CHARTS = {"decides": decision_charts, "together": fleet_charts}
# Which section each chart stands in; one that is not named here comes with the carbon.
_PLACES = {
    "energy_per_step": "energy",
    "energy_per_million_tokens": "energy",
    "power": "power",
    "training": "power",
    "verdict": "pairs",
}


def build(
    connection: duckdb.DuckDBPyConnection,
    output: Path,
    *,
    config_name: str | None = None,
    seed: int | None = None,
    kept_in: Path | None = None,
) -> None:
    """Write the report page.

    Args:
        connection: an open database with the store's tables and views; it is only read.
        output: the HTML file; its folder is made.
        config_name: the experiment's config, shown as what to run again.
        seed: seed of the training runs, shown beside it.
        kept_in: folder that keeps what takes long to make from one page to the next, as `export.javascript_bundle`.
    """
    ran, verdict_rows = tables.devices(connection), tables.verdicts(connection)
    measured = {row["device"] for row in ran if row["record_kind"] == "measured"}
    stands_for = scenarios.told(connection)
    optional = _optional(connection, verdict_rows)
    page = (
        _environment()
        .get_template("page.html")
        .render(
            sections=_sections(optional),
            cell=provenance.figure,
            told=provenance.hover,
            decides=optional["decides"],
            owner=optional["owner"],
            claims=optional["claims"],
            verdicts=words.verdicts(verdict_rows, measured),
            why_it_flips=words.WHY_IT_FLIPS,
            pairs=tables.pairs(verdict_rows),
            scenarios=sorted({row["scenario"] for row in verdict_rows}),
            stands_for=stands_for,
            assumptions=tables.assumptions(connection),
            work=tables.work(connection),
            together=optional["together"],
            instrument=optional["try"] and _instrument(optional["try"]),
            charts=_charts(connection, optional),
            provenances=words.PROVENANCE_WORDS,
            boundaries=BOUNDARIES,
            compared=words.COMPARED,
            attributions=[(ATTRIBUTIONS[name], text) for name, text in words.ATTRIBUTION_WORDS.items()],
            config_name=config_name,
            command=_command(config_name or DEFAULT_CONFIG),
            seed=seed,
            draw_seeds=scenarios.seeds(stands_for),
            **_what_ran(connection, ran),
            **_built_in(kept_in),
        )
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(page, encoding="utf-8")


def _what_ran(connection: duckdb.DuckDBPyConnection, ran: list[Row]) -> dict[str, Any]:
    """What the page says of the devices and their runs, for the template."""
    reasons = missing.reasons(connection)
    gaps = missing.gaps(reasons)
    return {
        "missing": reasons,
        "missing_shown": missing.LINES_SHOWN,
        "notes": words.notes(ran, bool(reasons)),
        "known_as": {(row["workload"], row["device"]): row["provenance"] for row in ran},
        "virtual": {(row["workload"], row["device"]) for row in ran if row["virtual_host"]},
        "virtual_words": words.VIRTUAL_HOST,
        "peaks": tables.peaks(ran),
        "devices": missing.beside(ran, gaps),
        "gaps": gaps,
        "flags": tables.flags_explained(ran),
        "heat": story.heat(connection),
        "side_by_side": story.side_by_side(connection),
        "validation": story.validation(connection),
    }


def _built_in(kept_in: Path | None) -> dict[str, Any]:
    """What the page carries with it: its style and scripts, what they may do, and the versions that made it."""
    return {
        "policy": export.CONTENT_POLICY,
        "style": Markup(_asset("page.css")),
        "script": Markup(_asset("page.js")),
        "bundle": Markup(export.javascript_bundle(kept_in)),
        "options": Markup(export.script_json(export.EMBED_OPTIONS)),
        "versions": _versions(),
    }


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("edgecarbon.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _optional(connection: duckdb.DuckDBPyConnection, verdict_rows: list[Row]) -> dict[str, dict[str, Any]]:
    """What each section of `OPTIONAL` shows; empty where the database holds nothing for it."""
    return {
        "try": instrument.section(connection, verdict_rows),
        "decides": decisions.section(connection),
        "together": fleets.section(connection),
        "owner": owner.section(connection),
        "claims": {**claims.section(connection), **jobs.section(connection)},
    }


def _sections(optional: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The page's sections, with those of `OPTIONAL` that hold something."""
    sections = {}
    for name, title in SECTIONS.items():
        sections[name] = title
        sections |= {one: told for one, (told, after) in OPTIONAL.items() if after == name and optional.get(one)}
    return sections


def _instrument(sliders: dict[str, Any]) -> dict[str, Any]:
    """The section "Try it" with its draws and its script, for the template."""
    script = "\n".join(_asset(f"instrument{part}.js") for part in ("", "_map", "_controls"))
    return {**sliders, "json": Markup(export.script_json(sliders["data"])), "script": Markup(script)}


def _charts(
    connection: duckdb.DuckDBPyConnection, optional: dict[str, dict[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """Every chart by section, those of an `optional` section only where it holds something."""
    places: dict[str, list[dict[str, Any]]] = {}
    for name, entry in CHARTS.items():
        places.setdefault(_PLACES.get(name, "carbon"), []).append(_drawing(name, entry, entry.draw(connection)))
    for section, charts in _OPTIONAL_CHARTS.items():
        if optional[section]:
            places[section] = [_drawing(*drawn) for drawn in charts(connection)]
    return places


def _drawing(name: str, entry: ChartEntry, chart: Chart) -> dict[str, Any]:
    """A chart for the template. Its title and notes become text of the page, which wraps where a drawing would not."""
    spec = export.specification(chart)
    title = spec.pop("title")
    notes = title.get("subtitle", []) if isinstance(title, dict) else []
    spec["description"] = entry.caption
    drawing = {"name": name, "title": entry.title, "caption": entry.caption, "notes": notes}
    return {**drawing, "spec": Markup(export.script_json(spec))}


def _command(config_name: str) -> str:
    """What starts the same experiment again; values that its command line gave are left to the reader."""
    *files, last = config_name.split(", ")
    rest = " --config …" if last == "--config" else ""
    files += [] if rest else [last]
    return "snakemake --cores all" + ("" if files == [DEFAULT_CONFIG] else f" --configfile {shlex.join(files)}") + rest


def _versions() -> dict[str, str]:
    libraries = {name: version(name) for name in ("duckdb", "altair", "vl-convert-python")}
    return {"edgecarbon": __version__, "Python": platform.python_version(), **libraries}


def _asset(name: str) -> str:
    return files("edgecarbon.report").joinpath("templates", name).read_text(encoding="utf-8")
