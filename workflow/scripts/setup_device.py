"""Install on a device what the worker needs."""

import json
from pathlib import Path

from edgecarbon import script
from edgecarbon.dispatch.setup import setup_device


def main(args):
    device = json.loads(args.config.read_text())["fleet"][args.device]
    setup_device(args.device, device, Path("results/wheels"), args.log, lambda text: print(text, flush=True))


if __name__ == "__main__":
    script.run(main, config=Path, device=str, log=Path)
