"""The captions of Snakemake's report, from those that the charts have on the page. `python -m edgecarbon.charts.captions`
writes them anew: the template is read when nothing of this library is at hand, and to import it takes longer than a start."""

from __future__ import annotations

import json
from pathlib import Path

from edgecarbon.charts import CHARTS, DECISION_CHARTS, FLEET_CHARTS

TEMPLATE = Path("workflow/report/charts.rst")


def template() -> str:
    """The template in Jinja that Snakemake renders for each chart."""
    captions = {name: entry.caption for name, entry in {**CHARTS, **FLEET_CHARTS, **DECISION_CHARTS}.items()}
    return f"""\
{{# Made by edgecarbon.charts.captions. #}}
{{% set captions = {json.dumps(captions, indent=2)} %}}
{{{{ captions[snakemake.wildcards.chart] }}}}

With tooltips: ``results/charts/{{{{ snakemake.wildcards.chart }}}}.html``.
"""


if __name__ == "__main__":
    TEMPLATE.write_text(template(), encoding="utf-8")
