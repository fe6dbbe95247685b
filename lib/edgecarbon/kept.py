"""Files that spare working something out again: written whole or not at all, touched when read, so that their age tells
what nobody uses any more (`housekeeping.forget_unused`)."""

from __future__ import annotations

import os
from pathlib import Path


def read(file: Path) -> bytes | None:
    """What is kept there; None where there is nothing, or nothing that can be read."""
    try:
        content = file.read_bytes()
        file.touch()
    except OSError:
        return None
    return content


def keep(file: Path, content: bytes) -> None:
    """Put it there, in place of what may have been; its folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    partial.write_bytes(content)
    partial.replace(file)
