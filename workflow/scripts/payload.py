"""Build the zipapp that travels to devices."""

from pathlib import Path

from edgecarbon import payload, script


def main(args):
    payload.build_payload(args.out)


if __name__ == "__main__":
    script.run(main, out=Path)
