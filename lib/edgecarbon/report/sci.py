"""An SCI score for every run, as a manifest of the Green Software Foundation's Impact Framework.

Each run is a row of inputs and of outputs under its workload and device; running the manifest gives the same outputs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from edgecarbon.charts.style import ATTRIBUTIONS, Row, grouped, rows
from edgecarbon.errors import UserError

SCORED = "time_share"
"""The attribution of SCI 1.1 (ISO/IEC 21031:2024): TE x (TiR/EL) x (RR/ToR)."""
UNIT = "million-tokens"
JOULES_PER_KWH = 3.6e6
# The framework's own step refuses anything shorter, such as a few modelled steps of a fast GPU.
SHORTEST_SCI_S = 1.0

_QUERY = """
SELECT c.*, r.record_kind, r.duration_s, r.tokens, r.steps, r.started_unix_s + coalesce(w.start_s, 0) AS began_unix_s
FROM carbon c JOIN runs r ON r.run_id = c.run_id
  LEFT JOIN windows w ON w.run_id = c.run_id AND w.name = 'train'
WHERE c.functional_unit IN ('run', 'million_tokens')
ORDER BY c.scenario, c.workload, c.device, c.repeat, c.run_id
"""

_DESCRIPTION = """\
SCI scores (ISO/IEC 21031:2024) of training runs under the scenario {scenario}: sci = (O + M) / R in gCO2e, with R in \
million tokens of training; carbon is that of the whole run, in g. O is carbon-operational plus network/carbon: what \
moving the run's data emits, which SCI counts as operational. energy is what the grid delivers for the run, in kWh: \
energy-at-meter with everything that the scenario adds to it, such as overhead-factor (PUE and host, or charger). M is \
carbon-embodied, charged to an edge device by time_share, as SCI does. A cloud device's is charged by rented hour \
under every attribution, unless the scenario treats both sides alike. sunk/*, marginal_wear/* and used_hours/* are the \
same run under other attributions, and no part of the score; sci-low and sci-high the 5 and 95 % quantiles over the \
ranges of all assumptions. boundary is what the meter covers, provenance how its figure is known. A run that is \
modelled has no timestamp.{left_out}"""

_PLUGINS = {
    "operational-carbon": {
        "path": "builtin",
        "method": "Multiply",
        "config": {"input-parameters": ["energy", "grid/carbon-intensity"], "output-parameter": "carbon-operational"},
    },
    "sum-carbon": {
        "path": "builtin",
        "method": "Sum",
        "config": {
            "input-parameters": ["carbon-operational", "network/carbon", "carbon-embodied"],
            "output-parameter": "carbon",
        },
    },
    "sci": {"path": "builtin", "method": "Sci", "config": {"functional-unit": UNIT}},
    "sci-below-a-second": {
        "path": "builtin",
        "method": "Divide",
        "config": {"numerator": "carbon", "denominator": UNIT, "output": "sci"},
    },
}
_STEPS = ["operational-carbon", "sum-carbon"]


def build(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Write SCENARIO.json for every scenario that charges by time share, and the same bytes as SCENARIO.yaml.

    JSON is YAML; the framework's command takes no file of another name.

    Args:
        connection: an open database with the store's tables and views; it is only read.
        folder: where they come to stand; it is made.

    Raises:
        UserError: a run without tokens, whose functional unit is zero.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for (scenario,), members in grouped(rows(connection, _QUERY), "scenario"):
        if any(row["attribution"] == SCORED for row in members):
            text = json.dumps(manifest(scenario, members), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
            for ending in ("json", "yaml"):
                (folder / f"{scenario}.{ending}").write_text(text, encoding="utf-8")


def manifest(scenario: str, found: Iterable[Row]) -> dict[str, Any]:
    """The manifest of one scenario.

    Args:
        found: rows of table `carbon`, of a run and of a million tokens, with the run's tokens, steps and times.

    Raises:
        UserError: a run without tokens, whose functional unit is zero.
    """
    children: dict[str, Any] = {}
    left_out = 0
    for (workload, device, _), members in grouped(list(found), "workload", "device", "run_id"):
        by_kind = {(row["attribution"], row["functional_unit"]): row for row in members}
        if by_kind[SCORED, "run"]["total_grams"] is None:
            left_out += 1
            continue
        node = children.setdefault(workload, {"children": {}})["children"].setdefault(device, {})
        inputs = _inputs(by_kind)
        node.setdefault("inputs", []).append(inputs)
        node.setdefault("outputs", []).append(inputs | _outputs(by_kind))
        if inputs["duration"] < SHORTEST_SCI_S:
            node["pipeline"] = {"compute": [*_STEPS, "sci-below-a-second"]}
    note = f" Runs left out, as they have no energy: {left_out}." if left_out else ""
    return {
        "name": f"edgecarbon {scenario}",
        "description": _DESCRIPTION.format(scenario=scenario, left_out=note),
        "tags": {"kind": "training", "complexity": None, "category": "machine learning"},
        "initialize": {"plugins": _PLUGINS},
        "tree": {"pipeline": {"compute": [*_STEPS, "sci"]}, "children": children},
    }


def _inputs(by_kind: dict[tuple[str, str], Row]) -> dict[str, Any]:
    """A run as the pipeline takes it, with what stands beside the score."""
    run, unit = by_kind[SCORED, "run"], by_kind[SCORED, "million_tokens"]
    if not run["tokens"]:
        raise UserError(f"run {run['run_id']}: no tokens, so that its functional unit is zero and it has no SCI score")
    intensity, drawn_joules = run["intensity_g_per_kwh"], run["energy_joules"] * run["overhead_factor"]
    began = {} if run["began_unix_s"] is None else {"timestamp": _timestamp(run["began_unix_s"])}
    return {
        **began,
        "duration": run["duration_s"],
        "energy": run["operational_grams"] / intensity if intensity else drawn_joules / JOULES_PER_KWH,
        "grid/carbon-intensity": intensity,
        "network/carbon": run["network_grams"],
        "carbon-embodied": run["embodied_grams"],
        UNIT: run["tokens"] / 1e6,
        "energy-at-meter": run["energy_joules"] / JOULES_PER_KWH,
        "overhead-factor": run["overhead_factor"],
        "run-id": run["run_id"],
        "role": run["role"],
        "record-kind": run["record_kind"],
        "provenance": run["provenance"],
        "boundary": run["boundary"],
        "attribution": SCORED,
        "embodied-key": run["embodied_key"],
        "steps": run["steps"],
        "sci-low": unit["total_low_grams"],
        "sci-high": unit["total_high_grams"],
        **_beside(by_kind),
    }


def _beside(by_kind: dict[tuple[str, str], Row]) -> dict[str, float]:
    """The same run under every other attribution, as fields, so that no sum over the tree counts it twice."""
    fields = {}
    for name in ATTRIBUTIONS:
        if name != SCORED and (name, "run") in by_kind:
            run, unit = by_kind[name, "run"], by_kind[name, "million_tokens"]
            fields[f"{name}/carbon-embodied"] = run["embodied_grams"]
            fields[f"{name}/carbon"] = run["total_grams"]
            fields[f"{name}/sci"] = unit["total_grams"]
    return fields


def _outputs(by_kind: dict[tuple[str, str], Row]) -> dict[str, float]:
    """What the pipeline adds, to the digits of table `carbon`."""
    run, unit = by_kind[SCORED, "run"], by_kind[SCORED, "million_tokens"]
    return {"carbon-operational": run["operational_grams"], "carbon": run["total_grams"], "sci": unit["total_grams"]}


def _timestamp(unix_s: float) -> str:
    """An instant as the framework writes it, UTC to the millisecond."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
