"""`record` makes a trace of what meters are told on this machine, for a bug report; `replay` runs meters from one."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from .probe import ESTIMATE


def add_commands(commands: Any) -> None:
    """Add both to the command line's subparsers."""
    record = commands.add_parser("record", help="record what the meters here are told, as text")
    record.add_argument("--seconds", type=float, default=60.0, help="how long to read them, s (default 60)")
    record.add_argument("--period", type=float, default=0.1, help="time between two samples, s (default 0.1)")
    record.add_argument("--out", default="trace.jsonl", help="the trace (default trace.jsonl)")
    record.add_argument("--meters", default="auto", help="names with commas between them (default auto)")
    beside = record.add_mutually_exclusive_group()
    beside.add_argument("--adb", metavar="SERIAL", help="a phone's meters, read from this machine")
    beside.add_argument("--shelly", metavar="URL", help="a wall meter, read from this machine")
    replay = commands.add_parser("replay", help="print the energy that the meters told in a trace, JSON")
    replay.add_argument("trace", help="made by `record`")
    replay.add_argument("--meters", help="names with commas between them (default: those recorded)")


def main(options: argparse.Namespace) -> int:
    """Run either command. Returns the exit code."""
    from edgecarbon.meters.replay import read_trace, record, replay

    try:
        if options.command == "record":
            if not 0 < options.period <= options.seconds:
                raise ValueError(
                    f"--seconds {options.seconds:g} and --period {options.period:g}: need 0 < period <= seconds"
                )
            places: dict[str, Any] = {}
            if options.adb:
                places = {"on": "host", "adb": ["adb", "-s", options.adb]}
            elif options.shelly:
                places = {"on": "host", "wall": {"shelly": options.shelly, "id": 0, "accuracy_percent": 5.0}}
            names = options.meters.split(",")
            record(options.out, options.seconds, names, sample_period_s=options.period, estimate=ESTIMATE, **places)
            print(f"{options.out}: look through it before you send it on; it holds file names and serial numbers")
        names = options.meters.split(",") if options.command == "replay" and options.meters else None
        told = replay(read_trace(options.out if options.command == "record" else options.trace), names)
    except (OSError, ValueError) as error:
        print(f"edgecarbon: {error}", file=sys.stderr)
        return 2
    print(json.dumps({"readings": told.readings(), "absent": told.absent}, indent=1, allow_nan=False))
    return 0
