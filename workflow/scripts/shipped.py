"""Write the record of a run that was measured elsewhere, from the file in which it came."""

import json
from pathlib import Path

from edgecarbon import records, script, shipped
from edgecarbon.order import Run
from edgecarbon.plan import read_project


def main(args):
    workload = read_project(args.config).experiment.workloads[args.workload]
    run, model = Run(args.workload, args.device, args.repeat), json.loads(args.model.read_text())
    records.write_record(args.out, shipped.record_of(args.file, run, workload, model))


if __name__ == "__main__":
    script.run(main, config=Path, workload=str, device=str, repeat=int, file=Path, model=Path, out=Path)
