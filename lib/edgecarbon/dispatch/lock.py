"""One workflow at a time on a device.

A lock of the kernel's on an open file: it goes with the process that holds it, so there is no stale one to clear.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from edgecarbon.errors import UserError

POLL_S = 0.5


@contextlib.contextmanager
def device_lock(key: str, wait_s: float, on_wait: Callable[[str], None] = lambda holder: None) -> Iterator[None]:
    """Hold the device named `key` against every other workflow and user of this host.

    Args:
        wait_s: how long to wait for another holder, s.
        on_wait: called once, with a description of the holder, when there is one.

    Raises:
        UserError: the device was not free in time.
    """
    path = Path(tempfile.gettempdir()) / f"edgecarbon-{key}.lock"
    descriptor = _open_shared(path)
    try:
        _acquire(descriptor, path, wait_s, on_wait)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} in {Path.cwd()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _open_shared(path: Path) -> int:
    """Open for every user; without O_CREAT first, which sticky directories refuse for another user's file."""
    try:
        return os.open(path, os.O_RDWR)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        with contextlib.suppress(PermissionError):
            os.fchmod(descriptor, 0o666)
        return descriptor


def _acquire(descriptor: int, path: Path, wait_s: float, on_wait: Callable[[str], None]) -> None:
    give_up = time.monotonic() + wait_s
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = os.pread(descriptor, 1000, 0).decode(errors="replace").strip() or "another process"
        if not told:
            on_wait(holder)
            told = True
        if time.monotonic() >= give_up:
            raise UserError(f"device is busy: {path} is held by {holder}; waited {wait_s:.0f} s. End it, or wait.")
        time.sleep(POLL_S)
