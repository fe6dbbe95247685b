"""Measure one run on its device and write its record."""

from pathlib import Path

from edgecarbon import script
from edgecarbon.measure import measure_run
from edgecarbon.order import Run, read_order


def main(args):
    measure_run(
        read_order(args.config, Run(args.workload, args.device, args.repeat)),
        payload=args.payload,
        model=args.model,
        tokens=args.tokens,
        log=args.log,
        attempts_root=args.attempts,
        record=args.out,
    )


if __name__ == "__main__":
    script.run(
        main,
        config=Path,
        workload=str,
        device=str,
        repeat=int,
        payload=Path,
        model=Path,
        tokens=Path,
        attempts=Path,
        log=Path,
        out=Path,
    )
