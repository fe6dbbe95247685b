"""What the thin mains in `workflow/scripts` share: arguments in, errors in plain words."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from types import FrameType

from edgecarbon.errors import UserError


def run(main: Callable[[argparse.Namespace], None], **arguments: Callable[[str], object]) -> None:
    """Parse one required option for each argument, call `main`, and turn a UserError into its text and exit code 1.

    Args:
        arguments: type of each option, by its name; `list` takes one or more words.
    """
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    for name, kind in arguments.items():
        if kind is list:
            parser.add_argument(f"--{name}", nargs="+", required=True)
        else:
            parser.add_argument(f"--{name}", type=kind, required=True)
    signal.signal(signal.SIGTERM, _stop)
    try:
        main(parser.parse_args())
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _stop(number: int, frame: FrameType | None) -> None:
    """Leave as on Ctrl-C, so that whatever was started is ended on the way out."""
    raise KeyboardInterrupt
