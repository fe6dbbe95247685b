"""Draws SVGs in a process of its own, which imports nothing of the project; `export.save_all` starts it.

Each line of standard input is a JSON list of a Vega-Lite specification and its version; each answer is a line with the
SVG as a JSON string.
"""

import json
import sys

import vl_convert


def main() -> None:
    for line in sys.stdin:
        spec, version = json.loads(line)
        print(json.dumps(vl_convert.vegalite_to_svg(spec, vl_version=version)), flush=True)


if __name__ == "__main__":
    main()
