"""Say what is found on every device of the fleet: a table on standard output, all of it as JSON."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from edgecarbon import script
from edgecarbon.dispatch.probe import probe_device
from edgecarbon.dispatch.table import table
from edgecarbon.records import write_atomically


def main(args):
    fleet = json.loads(args.config.read_text())["fleet"]
    with ThreadPoolExecutor(max_workers=8) as pool:
        reports = list(pool.map(lambda item: probe_device(*item, args.payload), fleet.items()))
    write_atomically(args.out, json.dumps(reports, indent=1) + "\n")
    sys.stdout.write(table(reports) + f"\nAll of it: {args.out}\n")


if __name__ == "__main__":
    script.run(main, config=Path, payload=Path, out=Path)
