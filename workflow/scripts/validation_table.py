"""A device's test of its meters as Parquet."""

from pathlib import Path

from edgecarbon import script
from edgecarbon.records import read_record
from edgecarbon.store.fleets import write_tables
from edgecarbon.store.schema_validation import METER_VALIDATION, VALIDATION_TABLES
from edgecarbon.validation import table


def main(args):
    write_tables({METER_VALIDATION.name: table(read_record(args.record))}, args.out.parent, VALIDATION_TABLES)


if __name__ == "__main__":
    script.run(main, record=Path, out=Path)
