"""What the transports to another machine share: a way to run a POSIX shell script there, and files over its pipes.

Success is never an exit code: `adb shell` exits 0 when the device is lost. Every script ends by printing a word that
was made for this call, and an answer without that word is no answer.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from pathlib import Path
from typing import BinaryIO, Protocol

from edgecarbon.dispatch.process import Ended, answer
from edgecarbon.errors import DeviceTrouble

ASK_S = 60.0
MAXIMUM_ANSWER_BYTES = 2**20
SLOWEST_BYTES_PER_S = 50_000
"""A file may take as long to travel as at this rate, and `ASK_S` more."""

# Whichever tool is there: GNU and toybox, macOS and BSD, and what has neither.
HASH = (
    'hash() { if command -v sha256sum >/dev/null 2>&1; then sha256sum < "$1";'
    ' elif command -v shasum >/dev/null 2>&1; then shasum -a 256 < "$1";'
    ' else openssl dgst -sha256 -r < "$1"; fi | cut -c 1-64; }'
)


class Link(Protocol):
    """A command on this host that runs a shell script on a device, with its standard streams passed through."""

    def name(self) -> str:
        """What a person calls the other end."""

    def words(self, script: str) -> list[str]:
        """The command line."""

    def trouble(self, ended: Ended) -> DeviceTrouble:
        """Why a command came to nothing, and the way out."""

    def stale(self, ended: Ended) -> bool:
        """Whether a command came to nothing because what it was to share had just ended: it may go again at once."""

    def reset(self) -> None:
        """Give up what may hang on a broken link, so that the next command begins anew."""


class Framed:
    """Takes what a script prints, and tells its own words from the closing line that says that it ran to its end."""

    def __init__(self, script: str) -> None:
        self.token = f"edgecarbon-{secrets.token_hex(8)}"
        # In a subshell, so that an `exit` in the script does not skip the closing line.
        self.script = f"( {script}\n); printf '\\n%s %s\\n' {self.token} $?"
        self.length = len(self.token) + 6
        """Most bytes of the closing line: newline, token, blank, exit code of up to three digits, newline."""
        self._closing = re.compile(rb"\n%s ([0-9]{1,3})\n$" % self.token.encode())

    def split(self, printed: bytes) -> tuple[bytes, int] | None:
        """The script's own output and its exit code; None where it did not run to its end."""
        found = self._closing.search(printed)
        return (printed[: found.start()], int(found[1])) if found else None


def ask(link: Link, script: str, source: BinaryIO | None = None, timeout_s: float = ASK_S) -> tuple[str, int]:
    """Run a script on the device.

    Args:
        source: what the script reads from its standard input.

    Returns:
        what it printed, and its exit code.

    Raises:
        DeviceTrouble: the device could not be reached, or was lost before the script ended.
    """
    frame = Framed(script)
    printed = bytearray()
    ended = answer(link.words(frame.script), source, timeout_s, printed.extend, MAXIMUM_ANSWER_BYTES)
    if not printed and link.stale(ended):
        if source is not None:
            source.seek(0)
        ended = answer(link.words(frame.script), source, timeout_s, printed.extend, MAXIMUM_ANSWER_BYTES)
    result = frame.split(bytes(printed))
    if result is None:
        link.reset()
        raise link.trouble(ended)
    if result[1]:
        # What the script complained of is part of its answer.
        return result[0].decode(errors="replace") + ended.last_words(), result[1]
    return result[0].decode(errors="replace"), 0


def send(link: Link, source: Path, target: str, sha256: str) -> None:
    """Write a file on the device; it appears under its name only when its content has arrived whole.

    Args:
        target: the file's path there, as a word of a shell command.

    Raises:
        DeviceTrouble: the link broke, or the device could not store the file.
    """
    script = (
        f'{HASH}; t={target}.$$; cat > "$t" && [ "$(hash "$t")" = {sha256} ] && mv -f "$t" {target} || '
        '{ rm -f "$t"; exit 9; }'
    )
    with source.open("rb") as file:
        timeout_s = ASK_S + source.stat().st_size / SLOWEST_BYTES_PER_S
        said, code = ask(link, script, file, timeout_s)
    if code:
        raise DeviceTrouble(
            "unfit", f"{link.name()} could not store {source.name}: {said.strip() or 'it arrived damaged'}.",
            "Free disk there, or give another `directory`.",
        )  # fmt: skip


def fetch(link: Link, source: str, target: Path, size: int, sha256: str) -> None:
    """Read a file from the device; it appears under its name only when all of it is there, and is what was announced.

    Args:
        source: the file's path there, as a word of a shell command.

    Raises:
        DeviceTrouble: the link broke, or the file is not the one that the device announced.
    """
    frame = Framed(f"cat {source}")
    partial = target.with_name(f".{target.name}.partial")
    digest, tail, received = hashlib.sha256(), bytearray(), 0
    with partial.open("wb") as file:

        def keep(piece: bytes) -> None:
            nonlocal received
            own = piece[: max(0, size - received)]
            received += len(own)
            digest.update(own)
            file.write(own)
            tail.extend(piece[len(own) :])

        limit_bytes = size + frame.length
        ended = answer(link.words(frame.script), None, ASK_S + size / SLOWEST_BYTES_PER_S, keep, limit_bytes)
    closing = frame.split(bytes(tail))
    if closing is None and (received < size or not tail):
        partial.unlink()
        link.reset()
        raise link.trouble(ended)
    if closing != (b"", 0) or digest.hexdigest() != sha256:
        partial.unlink()
        raise DeviceTrouble(
            "refused", f"{link.name()}: {target.name} changed while it was fetched, or is not what it said."
        )
    partial.replace(target)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
