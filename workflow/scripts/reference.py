"""Write the record of a device that nobody measured: modelled from its data sheet."""

import json
from pathlib import Path

from edgecarbon import records, reference, script
from edgecarbon.plan import read_project


def main(args):
    project = read_project(args.config)
    size = project.workload_size(args.workload)
    facts = {"workload": args.workload, **size, **json.loads(args.model.read_text())}
    record = reference.modelled_record(project.references[args.device], facts)
    records.write_record(args.out, record)


if __name__ == "__main__":
    script.run(main, config=Path, workload=str, device=str, model=Path, out=Path)
