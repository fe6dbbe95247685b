"""Bring the DuckDB file up to date: only new and changed runs and scenarios are read."""

import sys
from pathlib import Path

from edgecarbon import script, store
from edgecarbon.plan import read_project


def main(args):
    project = read_project(args.config)
    runs = [Path("results/parquet") / run.run_id / "run.parquet" for run in project.runs]
    scenarios = [Path("results/carbon") / name for name in project.experiment.scenarios]
    published = [Path("results/parquet/published/papers")]
    folders = (project.fleet_folders, project.scaling_folders, project.validation_folders, published)
    counts = store.build_database(args.out, runs, scenarios, *folders)
    print(counts, file=sys.stderr)


if __name__ == "__main__":
    script.run(main, config=Path, out=Path)
