"""Put the meters of one device to the test and write its record."""

import json
from pathlib import Path

from edgecarbon import script
from edgecarbon.validation import validate_device


def main(args):
    config = json.loads(args.config.read_text(encoding="utf-8"))
    validate_device(
        args.device,
        config["fleet"][args.device],
        config["validation"][args.device],
        payload=args.payload,
        log=args.log,
        record=args.out,
    )


if __name__ == "__main__":
    script.run(main, config=Path, device=str, payload=Path, log=Path, out=Path)
