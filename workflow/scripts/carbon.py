"""Judge every run under one scenario."""

from pathlib import Path

from edgecarbon import carbon, script, store
from edgecarbon.plan import read_project


def main(args):
    ...


if __name__ == "__main__":
    script.run(main, config=Path, scenario=Path, inputs=Path, out=list)
