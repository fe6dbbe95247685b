"""Print what the meters of each device told beside each other."""

from pathlib import Path

from edgecarbon import script
from edgecarbon.validation import show


def main(args):
    for record in args.records:
        print(show(Path(record)))


if __name__ == "__main__":
    script.run(main, records=list)
