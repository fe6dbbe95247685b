"""How communication grows with the number of modelled devices that train together."""

import json
from pathlib import Path

from edgecarbon import forecast, plan, script
from edgecarbon.store.fleets import write_tables
from edgecarbon.store.schema_fleets import SCALING_TABLES


def main(args):
    project = plan.read_project(args.config)
    model = json.loads(args.model.read_text(encoding="utf-8"))
    rows = forecast.scaling_rows(project, args.workload, model)
    write_tables({"fleet_scaling": rows}, args.out.parent, SCALING_TABLES)


if __name__ == "__main__":
    script.run(main, config=Path, workload=str, model=Path, out=Path)
