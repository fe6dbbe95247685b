"""Judge every run under one scenario, and ask what decides the verdicts."""

import hashlib
from dataclasses import replace
from pathlib import Path

from edgecarbon import plan, script, store
from edgecarbon.carbon.decisions import decision_rows
from edgecarbon.carbon.evaluation import evaluate
from edgecarbon.carbon.fleets import fleet_carbon_rows
from edgecarbon.carbon.jobs import projection_rows
from edgecarbon.carbon.measured import measured_facts
from edgecarbon.carbon.tables import write_result
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
    write_result(result, args.out)
    judge = replace(result.judge, plans=PLANS)
    tables = decision_rows(judge, result.pairs, inputs.claims, CACHE, code_version())
    fleets = read_fleets(project.fleet_folders)
    tables["fleet_carbon"] = fleet_carbon_rows(scenario, inputs, facts, fleets, result.carbon, runs)
    tables["projections"] = projection_rows(
        scenario.name,
        result.carbon,
        runs,
        project.experiment.jobs,
        {name: arm.lifetime.value for name, arm in result.judge.arms.items()},
        exchanges_weights=scenario.settings.traffic.weights_every_steps is not None,
    )
    write_tables(tables, args.out, [table for table in SCENARIO_TABLES if table.name in tables])


def code_version():
    """Hash of all that this script is made of."""
    contents = (Path(path).read_bytes() for path in sources_of(__file__))
    return hashlib.sha256(b"".join(contents)).hexdigest()


if __name__ == "__main__":
    script.run(main, config=Path, scenario=Path, out=Path)
