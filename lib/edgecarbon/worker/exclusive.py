"""One run at a time on a machine, whoever sent it and by whatever way.

A lock of the kernel's on an open file: it goes with the process that holds it, so there is no stale one to clear.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from .errors import WorkerError

POLL_S = 0.5


def take_machine(words: str, wait_s: float, on_wait: Callable[[str], None]) -> None:
    """Hold the machine from now to the end of this process.

    Args:
        words: who this is, for whoever has to wait.
        wait_s: how long to wait for another holder, s.
        on_wait: called once with the holder's words, when there is one.

    Raises:
        WorkerError: `busy`, not free in time.
    """
    path = Path(tempfile.gettempdir()) / "edgecarbon-device.lock"
    descriptor = _open_shared(path)
    give_up, told = time.monotonic() + wait_s, False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            holder = os.pread(descriptor, 500, 0).decode(errors="replace").strip() or "another process"
        if not told:
            on_wait(holder)
            told = True
        if time.monotonic() >= give_up:
            raise WorkerError(
                "busy", f"this device is used by another: {path} is held by {holder}; waited {wait_s:g} s"
            )
        time.sleep(POLL_S)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{words}\n".encode(), 0)
    # Never closed: the lock is this process's for as long as it lives. Children do not inherit the descriptor.


def _open_shared(path: Path) -> int:
    """Open for every user; without O_CREAT first, which sticky directories refuse for another user's file."""
    try:
        return os.open(path, os.O_RDWR)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        with contextlib.suppress(PermissionError):
            os.fchmod(descriptor, 0o666)
        return descriptor
