"""Draws SVGs in a process of its own: drawing takes most of a chart's time, and holds Python's lock.

That process runs this file, and imports nothing of the project. Each line of its standard input is a JSON list of a
Vega-Lite specification and its version; each answer is a line with the SVG as a JSON string.
"""

from __future__ import annotations

import json
import subprocess
import sys
from types import TracebackType


class Renderer:
    """The other end of such a process, which starts with the first thing to draw and ends with this context."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Renderer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.communicate()

    def draw(self, request: str) -> str:
        """The SVG of a line of input.

        Raises:
            RuntimeError: it could not be drawn; why is on standard error.
        """
        if self._process is None:
            # Without -P the folder of this package would stand before all others on the import path.
            command = [sys.executable, "-P", __file__]
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, encoding="utf-8")
        there, back = self._process.stdin, self._process.stdout
        try:
            assert there is not None
            assert back is not None
            there.write(request + "\n")
            there.flush()
            answer = back.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise RuntimeError("the process that draws charts ended before all were drawn")
        svg: str = json.loads(answer)
        return svg


def main() -> None:
    import vl_convert

    for line in sys.stdin:
        spec, version = json.loads(line)
        print(json.dumps(vl_convert.vegalite_to_svg(spec, vl_version=version)), flush=True)


if __name__ == "__main__":
    main()
