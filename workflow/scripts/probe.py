"""Say what is found on every device of the fleet: a table on standard output, all of it as JSON."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from edgecarbon import script
from edgecarbon.beside import probe_beside
from edgecarbon.dispatch.probe import probe_device
from edgecarbon.dispatch.table import table
from edgecarbon.records import write_atomically


def main(args):
    fleet = json.loads(args.config.read_text())["fleet"]

    def look(item):
        report = probe_device(*item, args.payload)
        report["beside"] = probe_beside(item[1])
        absent = [told for told in report["beside"] if not told["present"]]
        report["missing"] += [{"what": f"{told['meter']}: {told['reason']}", "remedy": None} for told in absent]
        return report

    with ThreadPoolExecutor(max_workers=8) as pool:
        reports = list(pool.map(look, fleet.items()))
    write_atomically(args.out, json.dumps(reports, indent=1) + "\n")
    sys.stdout.write(table(reports) + f"\nAll of it: {args.out}\n")


if __name__ == "__main__":
    script.run(main, config=Path, payload=Path, out=Path)
