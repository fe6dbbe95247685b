"""Train a model across the members of a fleet and write the record of the run."""

import json
from pathlib import Path

from edgecarbon import script
from edgecarbon.order import read_fleet_order
from edgecarbon.together import measure_together


def main(args):
    plan = json.loads(args.plan.read_text(encoding="utf-8"))
    order = read_fleet_order(args.config, args.workload, args.fleet, args.repeat, plan)
    measure_together(order, args.payload, args.model, args.tokens, args.logs, args.attempts / order.run_id, args.out)


if __name__ == "__main__":
    script.run(
        main,
        config=Path,
        workload=str,
        fleet=str,
        repeat=int,
        plan=Path,
        payload=Path,
        model=Path,
        tokens=Path,
        attempts=Path,
        logs=Path,
        out=Path,
    )
