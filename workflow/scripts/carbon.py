"""Judge every run under one scenario."""

from pathlib import Path

from edgecarbon import plan, script, store
from edgecarbon.carbon.evaluation import evaluate
from edgecarbon.carbon.tables import write_result
from edgecarbon.config.inputs import load_inputs
from edgecarbon.config.scenario import load_scenario


def main(args):
    project = plan.read_project(args.config)
    inputs = load_inputs(Path(plan.INPUTS))
    runs = store.read_runs([Path("results/parquet") / run.run_id / "run.parquet" for run in project.runs])
    result = evaluate(load_scenario(args.scenario, inputs), inputs, project.carbon_facts(), runs)
    write_result(result, Path(args.out[0]).parent)


if __name__ == "__main__":
    script.run(main, config=Path, scenario=Path, out=list)
