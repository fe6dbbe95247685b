"""Progress for whoever watches: one JSON object a line on stdout, about two a second at most."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from .files import finite

_EVERY_S = 0.5


class Progress:
    """Writes events straight to a descriptor, unbuffered, so that a host sees them at once. A closed pipe ends nothing."""

    def __init__(self, descriptor: int = 1, origin: float = 0.0) -> None:
        self._descriptor, self._origin = descriptor, origin
        self._last_s = 0.0

    def emit(self, event: str, **fields: Any) -> None:
        # With the run's own time, by which the host sets its clock beside this one.
        stamped = {"event": event, **finite(fields), "t_s": round(time.monotonic() - self._origin, 4)}
        line = json.dumps(stamped, allow_nan=False) + "\n"
        try:
            data = line.encode()
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            pass  # whether the run goes on without a reader is the guard's to say

    def note(self, message: str) -> None:
        self.emit("note", message=message)

    def due(self) -> bool:
        """Whether it is time for another line; if so, the clock starts anew."""
        now_s = time.monotonic()
        if now_s - self._last_s < _EVERY_S:
            return False
        self._last_s = now_s
        return True
