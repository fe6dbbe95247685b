"""Write the tables as files for papers and other tools, and an SCI score for every run."""

from pathlib import Path

from edgecarbon import script, store
from edgecarbon.report import exports, sci


def main(args):
    with store.connect(args.database, read_only=True) as database:
        exports.build(database, args.tables)
        sci.build(database, args.sci)


if __name__ == "__main__":
    script.run(main, database=Path, tables=Path, sci=Path)
