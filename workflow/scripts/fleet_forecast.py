"""Plan who does what in a fleet, and simulate a step of it."""

import json
from pathlib import Path

from edgecarbon import forecast, plan, script, store
from edgecarbon.config.inputs import load_inputs
from edgecarbon.config.scenario import load_scenario
from edgecarbon.records import write_atomically


def main(args):
    project = plan.read_project(args.config)
    inputs = load_inputs(Path(plan.INPUTS))
    scenario = load_scenario(Path(plan.SCENARIOS) / f"{project.experiment.scenarios[0]}.yaml", inputs)
    members = [run for run in project.measured_runs if run.device in project.fleets[args.fleet].devices]
    runs = store.read_runs([Path("results/parquet") / run.run_id / "run.parquet" for run in members])
    for row in runs:
        facts = json.loads(Path(f"results/runs/{row['run_id']}/record.json").read_text())["result"]["device_facts"]
        row["memory_bytes"] = facts.get("memory_bytes")
    found = forecast.forecast(
        project,
        args.workload,
        args.fleet,
        models={
            name: json.loads(Path(f"results/models/{name}.json").read_text()) for name in project.experiment.workloads
        },
        runs=runs,
        network=json.loads(Path(args.network[0]).read_text()) if args.network[0] != "none" else None,
        scenario=scenario,
        inputs=inputs,
    )
    for path, content in zip(args.out, (found.get("plan") or {"missing": found["missing"]}, found), strict=True):
        write_atomically(Path(path), json.dumps(content, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    script.run(main, config=Path, workload=str, fleet=str, network=list, out=list)
