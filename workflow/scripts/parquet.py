"""Write one run's record and samples as Parquet."""

import json
from pathlib import Path

from edgecarbon import records, script, store


def main(args):
    record = records.read_record(args.record)
    # The side of the comparison is an assumption, not a measurement: the configuration's word of today holds.
    record["role"] = args.role
    attempt = Path(record["attempt"]) if record["attempt"] and "missing" not in record else None
    outputs = {path.stem: path for path in map(Path, args.out)}
    store.write_run_parquet(record, attempt, outputs, args.wall_log)
    if attempt:
        records.mark_used(attempt)


if __name__ == "__main__":
    script.run(main, record=Path, role=str, wall_log=json.loads, out=list)
