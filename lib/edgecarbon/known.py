"""What the results folder knows of a fleet, read for its plan and its forecast."""

from __future__ import annotations

import json
from pathlib import Path

from edgecarbon import plan, store
from edgecarbon.config.inputs import load_inputs
from edgecarbon.config.resolve import load_scenario
from edgecarbon.forecast import Known

RESULTS = Path("results")


def read_known(config: Path, workload: str, fleet: str, network: str) -> Known:
    """Read the members' own runs and the network of a fleet.

    Args:
        network: path of the network's record, or "none".
    """
    project = plan.read_project(config)
    inputs = load_inputs(Path(plan.INPUTS))
    members = [run for run in project.measured_runs if run.device in project.fleets[fleet].devices]
    paths = [RESULTS / "parquet" / run.run_id / "run.parquet" for run in members]
    runs = store.read_runs([path for path in paths if path.exists()])
    for row in runs:
        record = json.loads((RESULTS / "runs" / row["run_id"] / "record.json").read_text(encoding="utf-8"))
        row["memory_bytes"] = record["result"]["device_facts"].get("memory_bytes")
    return Known(
        project,
        workload,
        fleet,
        models={
            name: json.loads((RESULTS / f"models/{name}.json").read_text()) for name in project.experiment.workloads
        },
        runs=runs,
        network=None if network == "none" else json.loads(Path(network).read_text(encoding="utf-8")),
        scenario=load_scenario(Path(plan.SCENARIOS) / f"{project.experiment.scenarios[0]}.yaml", inputs),
        inputs=inputs,
    )
