"""What the thin mains in `workflow/scripts` share: arguments in, errors in plain words."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from edgecarbon.errors import UserError

WORKFLOW = "EDGECARBON_WORKFLOW"
"""Environment variable with the process id of the workflow that a script belongs to."""
LOOK_S = 1.0


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
    _end_with(os.environ.get(WORKFLOW))
    try:
        main(parser.parse_args())
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _end_with(workflow: str | None) -> None:
    """Stop when the workflow's process is gone. Killed by SIGKILL it tells nobody, and a shell stands in between."""

    def watch(pid: int) -> None:
        while _lives(pid):
            time.sleep(LOOK_S)
        os.kill(os.getpid(), signal.SIGTERM)

    if workflow:
        threading.Thread(target=watch, args=[int(workflow)], daemon=True).start()


def _lives(pid: int) -> bool:
    """Whether a process runs. One that is dead and that nobody has asked after (a zombie) does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's, or a system without /proc


def _stop(number: int, frame: FrameType | None) -> None:
    """Leave as on Ctrl-C, so that whatever was started is ended on the way out."""
    raise KeyboardInterrupt
