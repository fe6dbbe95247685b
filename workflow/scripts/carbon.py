"""Judge every run under one scenario."""

from pathlib import Path

from edgecarbon import plan, script, store
from edgecarbon.carbon.evaluation import evaluate
from edgecarbon.carbon.fleets import fleet_carbon_rows
from edgecarbon.carbon.tables import write_result
from edgecarbon.config.inputs import load_inputs
from edgecarbon.config.scenario import load_scenario
from edgecarbon.store.fleets import read_fleets, write_tables
from edgecarbon.store.schema_fleets import FLEET_CARBON


def main(args):
    project = plan.read_project(args.config)
    inputs = load_inputs(Path(plan.INPUTS))
    runs = store.read_runs([Path("results/parquet") / run.run_id / "run.parquet" for run in project.runs])
    scenario, facts, folder = load_scenario(args.scenario, inputs), project.carbon_facts(), Path(args.out[0]).parent
    result = evaluate(scenario, inputs, facts, runs)
    write_result(result, folder)
    tables = read_fleets(project.fleet_folders)
    fleets = fleet_carbon_rows(scenario, inputs, facts, tables, result.carbon, runs)
    write_tables({"fleet_carbon": fleets}, folder, [FLEET_CARBON])


if __name__ == "__main__":
    script.run(main, config=Path, scenario=Path, out=list)
