"""Plan who does what in a fleet."""

import json
from pathlib import Path

from edgecarbon import forecast, script
from edgecarbon.known import read_known
from edgecarbon.records import write_atomically


def main(args):
    plan = forecast.make_plan(read_known(args.config, args.workload, args.fleet, args.network[0]))
    write_atomically(args.out, json.dumps(plan, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    script.run(main, config=Path, workload=str, fleet=str, network=list, out=Path)
