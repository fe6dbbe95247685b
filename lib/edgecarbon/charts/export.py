"""Charts as files: SVG, and HTML that holds its own copy of Vega and needs no network."""

from __future__ import annotations

import html
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from edgecarbon.charts import renderer
from edgecarbon.charts.style import Chart

VEGALITE_VERSION = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
# No menu entry that would leave the page.
EMBED_OPTIONS = {"renderer": "svg", "actions": {"export": True, "source": False, "compiled": False, "editor": False}}

# The policy makes "needs no network" a fact that the browser enforces. Vega compiles expressions, hence unsafe-eval.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"
)

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>body {{ margin: 1rem; background: white; }} #chart {{ max-width: 100%; overflow-x: auto; }}</style>
</head>
<body>
<div id="chart"></div>
<script>{bundle}</script>
<script>vegaEmbed("#chart", {spec}, {options});</script>
</body>
</html>
"""


def specification(chart: Chart) -> dict[str, Any]:
    """The chart as Vega-Lite, without the address of its schema, which a page that needs no network has no use for.

    Its shape is the code's, not the data's, and the tests validate it; doing so again takes longer than drawing it.
    """
    spec: dict[str, Any] = json.loads(chart.to_json(indent=None, validate=False))
    spec.pop("$schema", None)
    return spec


def script_json(value: Any) -> str:
    """JSON that is safe inside a script element, whatever a device or a source is called."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


@cache
def javascript_bundle(kept_in: Path | None = None) -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, for a script element; it defines `vegaEmbed`.

    Args:
        kept_in: folder that keeps it for other processes: making it takes seconds. None keeps nothing.
    """
    file = None if kept_in is None else kept_in / f"vega-{VEGALITE_VERSION}-{version('vl-convert-python')}.js"
    if file is not None and file.exists():
        return file.read_text(encoding="utf-8")
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGALITE_VERSION)
    if "</script" in bundle.lower():
        raise ValueError("the JavaScript bundle cannot stand inside a script element")
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(bundle, encoding="utf-8")
        partial.replace(file)
    return bundle


def save(chart: Chart, svg_path: Path, html_path: Path, kept_in: Path | None = None) -> None:
    """Write the chart as SVG, and as one interactive HTML file that needs no network; `kept_in` as `javascript_bundle`."""
    for path in (svg_path, html_path):
        path.parent.mkdir(parents=True, exist_ok=True)
    spec = specification(chart)
    svg_path.write_text(vl_convert.vegalite_to_svg(spec, vl_version=VEGALITE_VERSION), encoding="utf-8")
    html_path.write_text(_page(spec, kept_in), encoding="utf-8")


def save_all(charts: Iterable[tuple[str, Chart]], folder: Path, kept_in: Path | None = None) -> None:
    """Write each chart into the folder as NAME.svg and NAME.html, as `save` does.

    Drawing the SVGs takes most of the time, and holds Python's lock: another process does it, while the next charts are
    made here.

    Args:
        charts: name and chart; each is taken when the one before it has been handed on.
        folder: it is made.
        kept_in: as `javascript_bundle`.

    Raises:
        RuntimeError: a chart could not be drawn; why is on standard error.
    """
    folder.mkdir(parents=True, exist_ok=True)
    process = _renderer()

    def draw(path: Path, spec: dict[str, Any]) -> None:
        path.write_text(_drawn_by(process, spec), encoding="utf-8")

    try:
        with ThreadPoolExecutor(1) as pool:
            waiting = []
            for name, chart in charts:
                spec = specification(chart)
                waiting.append(pool.submit(draw, folder / f"{name}.svg", spec))
                (folder / f"{name}.html").write_text(_page(spec, kept_in), encoding="utf-8")
            for drawing in waiting:
                drawing.result()
    finally:
        process.communicate()  # it ends, as nothing more can come


def _renderer() -> subprocess.Popen[str]:
    # Without -P the folder of this package would stand before all others on the import path.
    command = [sys.executable, "-P", renderer.__file__]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")


def _drawn_by(process: subprocess.Popen[str], spec: dict[str, Any]) -> str:
    """The SVG, drawn by a `renderer`."""
    if process.stdin is None or process.stdout is None:
        raise ValueError("a renderer is spoken to through its pipes")
    try:
        process.stdin.write(json.dumps([spec, VEGALITE_VERSION]) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
    except BrokenPipeError:
        answer = ""
    if not answer:
        raise RuntimeError("the process that draws charts ended before all were drawn")
    svg: str = json.loads(answer)
    return svg


def _page(spec: dict[str, Any], kept_in: Path | None) -> str:
    title = spec.get("title")
    return _PAGE.format(
        policy=CONTENT_POLICY,
        title=html.escape(title["text"] if isinstance(title, dict) else str(title)),
        bundle=javascript_bundle(kept_in),
        spec=script_json(spec),
        options=script_json(EMBED_OPTIONS),
    )
