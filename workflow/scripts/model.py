"""Resolve a model's architecture and count its parameters."""

import json
from pathlib import Path

from edgecarbon import models, script
from edgecarbon.records import write_atomically


def main(args):
    facts = models.resolve_model(args.name, args.revision or None)
    write_atomically(args.out, json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    script.run(main, name=str, revision=str, out=Path)
