"""How a device is reached: one protocol, one file a transport, one factory (`edgecarbon.dispatch.open_transport`).

A transport moves files and starts the payload; it knows nothing of what the payload does. Whether a job worked is
decided by what it brought back, never by an exit code alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

EventHandler = Callable[[dict[str, Any]], None]
"""Takes each progress object that a job prints."""


@dataclass(frozen=True)
class Job:
    """One start of the payload on a device.

    Attributes:
        payload: the zipapp, on the host.
        verb: what the payload shall do: `run` or `probe`.
        inputs: files that it needs beside its spec, by the name that the spec calls them.
        out: directory on the host that holds `spec.json` and receives what the job brings back.
        deadline_s: after so long the job is ended, on both ends.
        log: file on the host that receives the job's standard error.
    """

    payload: Path
    verb: str
    inputs: dict[str, Path]
    out: Path
    deadline_s: float
    log: Path
    on_event: EventHandler = field(default=lambda event: None)


@dataclass(frozen=True)
class Outcome:
    """How a job ended: its exit code if it had one, and in words."""

    returncode: int | None
    reason: str


class Transport(Protocol):
    """A way to a device."""

    def lock_key(self) -> str:
        """A name that every workflow and user gives this device, to take turns on it."""

    def run(self, job: Job) -> Outcome:
        """Stage the inputs, run the payload under a guard, stream its progress, fetch what it wrote into `job.out`.

        The job does not outlive this call, whatever ends it.
        """
