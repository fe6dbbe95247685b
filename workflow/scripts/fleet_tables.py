"""A fleet's records and its simulation as Parquet."""

import json
from pathlib import Path

from edgecarbon import plan, script
from edgecarbon.records import read_record
from edgecarbon.store.fleets import fleet_rows, write_tables


def main(args):
    project = plan.read_project(args.config)
    records = [
        read_record(Path(f"results/fleets/{run.run_id}/record.json"))
        for run in project.fleet_runs(args.workload, args.fleet)
    ]
    forecast = json.loads(args.forecast.read_text(encoding="utf-8"))
    write_tables(fleet_rows(f"{args.workload}/{args.fleet}", records, forecast), Path(args.out[0]).parent)


if __name__ == "__main__":
    script.run(main, config=Path, workload=str, fleet=str, forecast=Path, out=list)
