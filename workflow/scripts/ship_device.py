"""Write what was measured of a device to a file that others can set beside their own."""

from collections import Counter
from pathlib import Path

from edgecarbon import script, shipped
from edgecarbon.errors import UserError
from edgecarbon.plan import read_project
from edgecarbon.store.parquet import with_log


def main(args):
    project, name = read_project(args.config), args.device
    if name not in project.devices:
        raise UserError(
            f"{project.config_name}: devices: '{name}' is not among them; a device is shipped as measured here."
        )
    runs = [run for run in project.measured_runs if run.device == name]
    found = shipped.measured(name, [Path("results/runs") / run.run_id / "record.json" for run in runs])
    # What a log of its own tells is in no record: the analysis reads it anew each time.
    whole = [with_log(record, Path(record["attempt"]), project.wall_log(name)) for record in found]
    file = shipped.ship(name, project.devices[name].carbon.model_dump(mode="json"), whole)
    counts = Counter(run.workload for run in file.runs)
    told = ", ".join(f"{count} of {project.experiment.repeats} of {workload}" for workload, count in counts.items())
    print(f"{file.path}: runs of {name}: {told}. Read it through before you pass it on.")


if __name__ == "__main__":
    script.run(main, config=Path, device=str)
