"""Judge every run under one scenario, and ask what decides the verdicts."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from edgecarbon import plan, script, store
from edgecarbon.carbon.choices import scenario_row
from edgecarbon.carbon.decisions import decision_rows
from edgecarbon.carbon.evaluation import evaluate
from edgecarbon.carbon.fleets import fleet_carbon_rows
from edgecarbon.carbon.jobs import model_shape, projection_rows
from edgecarbon.carbon.measured import measured_facts
from edgecarbon.config.inputs import load_inputs
from edgecarbon.config.resolve import load_scenario
from edgecarbon.sources import sources_of
from edgecarbon.store.fleets import read_fleets, write_tables
from edgecarbon.store.schema import SCENARIO_TABLES

CACHE = Path("results/cache/decisions")
PLANS = Path("results/cache/plans")


def main(args):
    project = plan.read_project(args.config)
    inputs = load_inputs(Path(plan.INPUTS))
    scenario = load_scenario(args.scenario, inputs)
    files = [Path("results/parquet") / run.run_id / "run.parquet" for run in project.runs]
    runs, totals = store.read_runs_and_totals(files)
    facts = project.carbon_facts()
    for device, measured in measured_facts(runs, totals).items():
        facts[device] |= measured
    result = evaluate(scenario, inputs, facts, runs)
    judge = replace(result.judge, plans=PLANS)
    tables = decision_rows(judge, result.pairs, inputs.claims, CACHE, code_version())
    fleets = read_fleets(project.fleet_folders)
    tables["fleet_carbon"] = fleet_carbon_rows(result.judge, inputs, facts, fleets, runs, project.one_network)
    jobs = project.experiment.jobs
    tables["projections"] = projection_rows(result.judge, result.carbon, runs, jobs, model_shapes(project))
    tables |= {"carbon": result.carbon, "verdicts": result.verdicts, "assumptions": result.assumptions}
    tables["scenarios"] = [scenario_row(scenario)]
    write_tables(tables, args.out, SCENARIO_TABLES)


def model_shapes(project):
    """Shape of each workload's model, where a job's count takes it."""
    workloads, shapes = project.experiment.workloads, {}
    for name in project.shaped_workloads:
        model = json.loads(Path(f"results/models/{name}.json").read_text(encoding="utf-8"))
        shapes[name] = model_shape(model, workloads[name].sequence_length)
    return shapes


def code_version():
    """Hash of all that this script is made of."""
    contents = (Path(path).read_bytes() for path in sources_of(__file__))
    return hashlib.sha256(b"".join(contents)).hexdigest()


if __name__ == "__main__":
    script.run(main, config=Path, scenario=Path, out=Path)
