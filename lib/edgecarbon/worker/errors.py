"""The failures a worker can report, by kind."""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal["bad_spec", "out_of_memory", "data", "model", "deadline", "interrupted", "busy", "peer", "internal"]
KINDS: tuple[str, ...] = get_args(Kind)


class WorkerError(Exception):
    """A known failure: `kind` goes into result.json, the text is one line that a person can act on."""

    def __init__(self, kind: Kind, message: str, peer: str | None = None) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.peer = peer
        """In a fleet, the member that is to blame, where it is known."""


class Interrupted(BaseException):
    """The run was told to end. Not an `Exception`, so that no fallback on the way swallows it."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind: Kind = kind
