"""Files that spare working something out again: each ends with a hash of its content, so that one which a kill, a full
disk or a power cut left damaged is as good as none; and each is touched when read, so that its age tells what nobody uses
any more (`housekeeping.forget_unused`)."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_MARK_BYTES = hashlib.sha256().digest_size


def read(file: Path) -> bytes | None:
    """What is kept there; None where there is nothing, or not what was put there."""
    try:
        stored = file.read_bytes()
        file.touch()
    except OSError:
        return None
    content, mark = stored[:-_MARK_BYTES], stored[-_MARK_BYTES:]
    return content if mark == _mark(content) else None


def keep(file: Path, content: bytes) -> None:
    """Put it there, in place of what may have been; its folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    partial.write_bytes(content + _mark(content))
    partial.replace(file)


def _mark(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
