"""Charts as files: SVG, and HTML that holds its own copy of Vega and needs no network."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from edgecarbon import kept
from edgecarbon.charts.renderer import Renderer
from edgecarbon.charts.style import Chart

VEGALITE_VERSION = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
_VERSIONS = f"{VEGALITE_VERSION}-{version('vl-convert-python')}"
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
    file = None if kept_in is None else kept_in / f"vega-{_VERSIONS}.js"
    if file is not None and (found := kept.read(file)) is not None:
        return found.decode()
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGALITE_VERSION)
    if "</script" in bundle.lower():
        raise ValueError("the JavaScript bundle cannot stand inside a script element")
    if file is not None:
        kept.keep(file, bundle.encode())
    return bundle


def save(charts: Iterable[tuple[str, Chart]], folder: Path, kept_in: Path | None = None) -> None:
    """Write each chart into the folder as NAME.svg, and as NAME.html, which is interactive and needs no network.

    While one is drawn, the next is made.

    Args:
        charts: name and chart; each is taken when the one before it has been handed on.
        folder: it is made.
        kept_in: as `javascript_bundle`; it also keeps the SVGs, since most charts are those of the last start.

    Raises:
        RuntimeError: a chart could not be drawn; why is on standard error.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with Renderer() as renderer, ThreadPoolExecutor(1) as pool:

        def draw(path: Path, spec: dict[str, Any]) -> None:
            path.write_bytes(_svg(spec, renderer, kept_in))

        waiting = []
        for name, chart in charts:
            spec = specification(chart)
            waiting.append(pool.submit(draw, folder / f"{name}.svg", spec))
            (folder / f"{name}.html").write_text(_page(spec, kept_in), encoding="utf-8")
        for drawing in waiting:
            drawing.result()


def _svg(spec: dict[str, Any], renderer: Renderer, kept_in: Path | None) -> bytes:
    request = json.dumps([spec, VEGALITE_VERSION])
    if kept_in is None:
        return renderer.draw(request).encode()
    file = kept_in / "drawings" / f"{hashlib.sha256(f'{_VERSIONS} {request}'.encode()).hexdigest()}.svg"
    svg = kept.read(file)
    if svg is None:
        svg = renderer.draw(request).encode()
        kept.keep(file, svg)
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
