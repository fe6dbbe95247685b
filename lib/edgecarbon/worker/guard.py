"""End the run when it must end: the host is gone, the deadline has passed, or somebody said so.

The main thread may sit for seconds inside one torch call, where no Python signal handler runs. So a thread of its own
waits on the host's pipe, on the signals (through the wake-up descriptor, which C code writes) and on the clock; it asks the
main thread to stop, and if that does not happen in time, writes what there is and ends the process group itself.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from .errors import Interrupted, Kind, WorkerError

# A host that ends a run sends SIGTERM and two seconds later SIGKILL; what was measured must be on disk by then.
GRACE_S = 1.0


class Guard:
    """Watches over one run.

    Args:
        finish: `finish(kind, message)` writes a failed result; it must stand being called from any thread.
        watch_stdin: end with the host's pipe.
        silence_s: end also when nothing comes through that pipe for so long: a link can be cut without a word.
        answer: called at each word from the host, to let it hear that this end is alive.
    """

    def __init__(
        self,
        finish: Callable[[Kind, str], None],
        *,
        watch_stdin: bool,
        silence_s: float | None = None,
        answer: Callable[[], None] = lambda: None,
    ) -> None:
        self._finish, self._watch_stdin, self._silence_s, self._answer = finish, watch_stdin, silence_s, answer
        self._deadline: float | None = None
        self._deadline_s = 0.0
        self._heard = time.monotonic()
        self._reason: tuple[Kind, str] | None = None
        self._done = threading.Event()
        self._leads_group = False
        self._raised = False
        self._wake_read, self._wake_write = os.pipe()

    def start(self) -> None:
        """Take over signals, and with `watch_stdin` the process group. Call it from the main thread, before long imports."""
        if self._watch_stdin:
            self._lead_group()
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        threading.Thread(target=self._watch, name="edgecarbon-guard", daemon=True).start()

    def set_deadline(self, deadline_s: float) -> None:
        """The run ends `deadline_s` from now."""
        self._deadline_s, self._deadline = deadline_s, time.monotonic() + deadline_s
        os.write(self._wake_write, b"\0")  # the watcher sleeps by the old deadline

    def done(self) -> None:
        """The run is over: a late signal or a closing pipe changes nothing any more."""
        self._done.set()

    def end_group(self) -> None:
        """After an interruption: leave nothing of this process group behind. Returns only where there is no such group."""
        if self._leads_group:
            os.killpg(0, signal.SIGKILL)

    def _lead_group(self) -> None:
        if not hasattr(os, "setsid"):
            raise WorkerError("bad_spec", "--guard: needs process groups, which this system does not have")
        if os.getpgrp() != os.getpid():
            os.setsid()
        self._leads_group = True

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # Once: a host says it with a signal and with its pipe, and the second must not break into the clearing up.
        if not self._done.is_set() and not self._raised:
            self._raised = True
            raise Interrupted(*(self._reason or ("interrupted", _told(number))))

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        if self._watch_stdin:
            poll.register(0, select.POLLIN)
        while self._reason is None:
            silent_at = None if self._silence_s is None else self._heard + self._silence_s
            ends = [end for end in (self._deadline, silent_at) if end is not None]
            wait_s = max(0.0, min(ends) - time.monotonic()) if ends else None
            for descriptor, _ in poll.poll(None if wait_s is None else wait_s * 1000 + 1):
                self._look(descriptor)
            now = time.monotonic()
            if self._reason is None and self._deadline is not None and now >= self._deadline:
                self._stop("deadline", f"not done {self._deadline_s:g} s after its start, its deadline")
            elif self._reason is None and self._silence_s is not None and now >= self._heard + self._silence_s:
                self._stop(
                    "interrupted", f"nothing was heard from the host for {self._silence_s:g} s: the link is gone"
                )
        if not self._done.wait(GRACE_S):
            self._end_from_here(*self._reason)

    def _look(self, descriptor: int) -> None:
        if descriptor == self._wake_read:
            for number in os.read(descriptor, 64):
                if number in (signal.SIGTERM, signal.SIGINT) and self._reason is None:
                    self._reason = ("interrupted", _told(number))
            return
        try:
            if os.read(0, 4096):
                self._heard = time.monotonic()
                self._answer()
                return
        except OSError:
            pass  # a descriptor that cannot be read is a host that is gone, too
        self._stop("interrupted", "the host closed its end of the guard pipe")

    def _stop(self, kind: Kind, message: str) -> None:
        if self._done.is_set():
            return
        self._reason = (kind, message)
        os.kill(os.getpid(), signal.SIGTERM)  # becomes Interrupted in the main thread, with this reason

    def _end_from_here(self, kind: Kind, message: str) -> None:
        try:
            self._finish(kind, message)
        finally:
            sys.stderr.flush()
            self.end_group()
            os._exit(1)


def _told(number: int) -> str:
    return f"told to end by {signal.Signals(number).name}"
