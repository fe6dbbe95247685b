"""Simulate a step of a planned fleet."""

import json
from pathlib import Path

from edgecarbon import forecast, script
from edgecarbon.known import read_known
from edgecarbon.records import write_atomically


def main(args):
    plan = json.loads(args.plan.read_text(encoding="utf-8"))
    found = forecast.make_forecast(read_known(args.config, args.workload, args.fleet, args.network[0]), plan)
    write_atomically(args.out, json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    script.run(main, config=Path, workload=str, fleet=str, plan=Path, network=list, out=Path)
