"""Build the report: one page that needs nothing but itself."""

from pathlib import Path

from edgecarbon import report, script, store
from edgecarbon.plan import read_project

CACHE = Path("results/cache")


def main(args):
    project = read_project(args.config)
    seeds = {workload.seed for workload in project.experiment.workloads.values()}
    seed = seeds.pop() if len(seeds) == 1 else None
    with store.connect(args.database, read_only=True) as database:
        report.build(database, args.out, config_name=project.config_name, seed=seed, kept_in=CACHE)


if __name__ == "__main__":
    script.run(main, config=Path, database=Path, out=Path)
