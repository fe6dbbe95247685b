"""Measure delay and bandwidth between all members of a fleet."""

from pathlib import Path

from edgecarbon import script
from edgecarbon.order import read_fleet_order
from edgecarbon.together import measure_together


def main(args):
    order = read_fleet_order(args.config, args.workload, args.fleet, 1, placement=None)
    measure_together(order, args.payload, args.model, args.tokens, args.logs, args.attempts / order.run_id, args.out)


if __name__ == "__main__":
    script.run(
        main,
        config=Path,
        workload=str,
        fleet=str,
        payload=Path,
        model=Path,
        tokens=Path,
        attempts=Path,
        logs=Path,
        out=Path,
    )
