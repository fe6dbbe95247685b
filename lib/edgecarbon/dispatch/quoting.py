"""Text of the user's as words of a shell command, on whatever device: it is data there, never code."""

from __future__ import annotations

import shlex


def word(text: str) -> str:
    """`text` as one word of a POSIX shell command."""
    return shlex.quote(text)


def path(text: str) -> str:
    """A path as one word; a leading `~/` becomes the home folder of whoever runs the command."""
    if text.startswith("~/"):
        return f'"$HOME"/{shlex.quote(text[2:])}' if len(text) > 2 else '"$HOME"'
    return shlex.quote(text)
