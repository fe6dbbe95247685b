"""Turn a workload's documents into token blocks."""

import json
from pathlib import Path

from edgecarbon import data, script
from edgecarbon.plan import read_project


def main(args):
    settings = read_project(args.config).data_settings(args.workload)
    model = json.loads(args.model.read_text())
    data.build_tokens(settings, model, args.out)


if __name__ == "__main__":
    script.run(main, config=Path, workload=str, model=Path, out=Path)
