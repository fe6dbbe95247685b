"""What a run has found out so far, and its result file: written once, whole, whatever ended the run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecarbon.meters import Recorder

from .files import write_json, write_json_lines

if TYPE_CHECKING:
    from .steps import StepLog  # imports torch, and a device without torch must still be told so

SCHEMA = "edgecarbon.result/1"


class Outcome:
    """Collects a run's findings. `finish` may be called from any thread and any number of times; the first call counts."""

    def __init__(self, out: Path, origin: float) -> None:
        self.out, self.origin = out, origin
        self.started_unix_s = time.time() - (time.monotonic() - origin)
        self.nonce: str | None = None
        self.run_id: str | None = None
        self.payload_sha256: str | None = None
        self.versions: dict[str, str] | None = None
        self.device_facts: dict[str, Any] | None = None
        self.training: dict[str, Any] | None = None
        self.fleet: dict[str, Any] | None = None
        self.minimum_window_s = 60.0
        self.recorder: Recorder | None = None
        self.logs: list[StepLog] = []
        self.windows: list[dict[str, Any]] = []
        self._open_window: tuple[str, float] | None = None
        self._lock = threading.Lock()
        self._finished = False

    def now_s(self) -> float:
        """Seconds since the worker started."""
        return time.monotonic() - self.origin

    def open_window(self, name: str) -> float:
        """A window starts now, on a sample. Returns its time."""
        start_s = self.recorder.mark() if self.recorder else self.now_s()
        self._open_window = (name, start_s)
        return start_s

    def close_window(self) -> float:
        """The open window ends now, on a sample. Returns its time."""
        end_s = self.recorder.mark() if self.recorder else self.now_s()
        if self._open_window:
            name, start_s = self._open_window
            self.windows.append({"name": name, "start_s": start_s, "end_s": end_s})
            self._open_window = None
        return end_s

    def finish(self, error: dict[str, str] | None = None, told: Callable[[], None] | None = None) -> None:
        """Stop the recorder and write steps.jsonl and then result.json, whose presence says that all else is there.

        Args:
            told: called by the first call once all is written, and before any other call returns: the process may end then.
        """
        with self._lock:
            if self._finished:
                return
            self._finished = True
            if self._open_window:
                self.close_window()
            readings, channels = self._measured()
            write_json_lines(self.out / "steps.jsonl", [row for log in self.logs for row in log.rows()])
            result = {
                "schema": SCHEMA,
                "nonce": self.nonce,
                "run_id": self.run_id,
                "status": "failed" if error else "ok",
                "error": error,
                "payload_sha256": self.payload_sha256,
                "versions": self.versions,
                "device_facts": self.device_facts,
                "started_unix_s": self.started_unix_s,
                "windows": self.windows,
                "training": self.training,
                "fleet": self.fleet,
                "channels": channels,
                "readings": readings,
            }
            write_json(self.out / "result.json", result)
            if told is not None:
                told()

    def _measured(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        if self.recorder is None:
            return [], []
        self.recorder.stop()
        readings = [
            reading
            for window in self.windows
            for reading in self.recorder.readings(
                window["name"], window["start_s"], window["end_s"], self.minimum_window_s
            )
        ]
        return readings, self.recorder.channels
