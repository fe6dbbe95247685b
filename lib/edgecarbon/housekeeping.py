"""What a start of the workflow mends before it looks at what there is to do."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
import time
from pathlib import Path

from edgecarbon import records, shipped
from edgecarbon.progress import printable

_alive: int | None = None
"""Descriptor of the lock that says this process lives; the kernel drops it with the process, however that ends."""


def clear_stale_lock(state: Path) -> bool:
    """Remove the directory lock of a workflow process that was killed; leave that of a live one to do its work.

    Every workflow process holds a shared kernel lock as long as it lives. Where nobody else holds it, whoever left
    the directory lock behind is dead.

    Args:
        state: Snakemake's own directory, `.snakemake`.

    Returns:
        whether a stale lock was cleared.
    """
    global _alive
    if _alive is None:
        state.mkdir(exist_ok=True)
        _alive = os.open(state / "edgecarbon.lock", os.O_RDWR | os.O_CREAT, 0o644)
    cleared = False
    try:
        fcntl.flock(_alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    else:
        locks = state / "locks"
        if locks.is_dir() and any(locks.iterdir()):
            shutil.rmtree(locks)
            print("Cleared the lock of an earlier start that was killed; going on where it stopped.", file=sys.stderr)
            cleared = True
    fcntl.flock(_alive, fcntl.LOCK_SH)
    return cleared


def set_aside_damaged(paths: list[str], quarantine: Path = Path("results/quarantine")) -> None:
    """Move damaged records to the quarantine, and say so: those runs are measured again."""
    for path, target, problem in records.set_aside_damaged([Path(path) for path in paths], quarantine):
        print(f"{path}: {problem}. Kept aside as {target}; this run is measured again.", file=sys.stderr)


def forget_missing(paths: list[str]) -> None:
    """Take away the records of runs that are missing, so that they are tried again."""
    for path in map(Path, paths):
        missing = records.read_missing(path)
        if missing and missing.get("kind") != shipped.UNMATCHED:
            path.unlink()


def forget_unused(cache: Path, days: float = 30.0) -> None:
    """Delete what a cache and its folders keep and nobody has used for so long: it can be worked out anew."""
    oldest_s = time.time() - 86400 * days
    for file in cache.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # another start may clear the same cache
            if file.is_file() and file.stat().st_mtime < oldest_s:
                file.unlink()


def tell_missing(paths: list[str]) -> None:
    """Say which runs are missing, and why, in the last lines of a start that otherwise went well."""
    found = [(path, missing) for path in paths if (missing := records.read_missing(Path(path)))]
    if not found:
        return
    print(f"\n{len(found)} of {len(paths)} runs are MISSING; the report has what the others gave:", file=sys.stderr)
    for path, missing in found:
        run = "/".join(Path(path).parts[-4:-1])
        print(printable(f"  {run} ({missing['kind']}): {missing['reason']} {missing['remedy'] or ''}"), file=sys.stderr)
    if any(missing["kind"] != shipped.UNMATCHED for _, missing in found):
        print("The next start tries them again; `--config retry_missing=false` leaves them out.", file=sys.stderr)
