"""How a device is reached: one protocol, one file a transport, one factory (`edgecarbon.dispatch.open_transport`).

A transport moves files and starts the payload; it knows nothing of what the payload does. Whether a job worked is
decided by what it brought back, never by an exit code alone: `adb shell` exits 0 when its device is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

EventHandler = Callable[[dict[str, Any]], None]
"""Takes each progress object that a job prints."""

RESULT_FILES = {"result.json": 64 * 2**20, "steps.jsonl": 64 * 2**20, "samples.jsonl.gz": 2**30}
"""What a job may bring back, and how large each may be, bytes. Nothing else is fetched, whatever lies there."""


@dataclass(frozen=True)
class Job:
    """One start of the payload on a device.

    Attributes:
        key: the attempt's nonce, hexadecimal: names the job on the device.
        label: the run's name, as part of a file's name.
        payload: the zipapp, on the host.
        inputs: files that it needs beside its spec, by the name that the spec calls them.
        out: directory on the host that holds `spec.json` and receives what the job brings back.
        deadline_s: after so long the job is ended, on both ends.
        wait_s: how long the job may wait on the device for another user's to end, before its deadline begins.
        log: file on the host that receives the job's standard error.
        private: keys and such, by the name of the file that the job finds beside its spec; never kept, on either end.
    """

    key: str
    label: str
    payload: Path
    inputs: dict[str, Path]
    out: Path
    deadline_s: float
    wait_s: float
    log: Path
    on_event: EventHandler = field(default=lambda event: None)
    private: dict[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        reason: in words; for the message when there is no result.
        lost: whether the link to the device broke before the job had ended.
    """

    reason: str
    lost: bool = False


class Transport(Protocol):
    """A way to a device. Every call may raise `DeviceTrouble`.

    Attributes:
        directory: the folder there that runs use; its disk must have room.
    """

    directory: str

    def lock_key(self) -> str:
        """A name that every workflow on this host gives this device, to take turns on it."""

    def ask(self, script: str, timeout_s: float = 60.0) -> str | None:
        """What a short shell script prints on the device; None where a device cannot be asked anything."""

    def run(self, job: Job) -> Outcome:
        """Stage the inputs, run the payload under a guard, stream its progress, fetch what it wrote into `job.out`.

        The job does not outlive this call by more than the silence that the device allows, whatever ends it.
        """

    def end(self, job: Job) -> None:
        """End a job at once on its device, also one that stands still and hears nothing. It may raise `DeviceTrouble`."""

    def recover(self, job: Job) -> None:
        """Fetch what an earlier job left on the device when its host or link was gone, if it left a result."""

    def probe_words(self, payload: Path) -> list[str] | None:
        """The command on this host that runs the payload's `probe` on the device; None where that cannot be done."""
