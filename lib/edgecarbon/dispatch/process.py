"""Commands on this host that talk to a device: bounded in time and in what they may print, and ended with their group."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO

from edgecarbon.dispatch.base import EventHandler
from edgecarbon.errors import UserError

END_S = 10.0
"""How long a command may take to end by itself once it is told to."""
MAXIMUM_LINE_BYTES = 65536
ASKED_S = "asked_s"
"""Key, in an event that answers a word from here, of the time of that word on this host's monotonic clock."""
MAXIMUM_OUTPUT_BYTES = 64 * 2**20
"""What a job may print, on each of its two streams; a two-hour run prints about 3 MB."""


@dataclass
class Ended:
    """How a command ended: its exit code, and in words why this host ended it, if it did."""

    returncode: int = -1
    stopped: str | None = None
    errors: bytes = field(default=b"", repr=False)
    tail: bytes = field(default=b"", repr=False)
    """The end of what a streamed command printed."""

    def in_words(self) -> str:
        """Why it ended, with the end of what it said on standard error."""
        said = self.last_words()
        return (self.stopped or f"exit code {self.returncode}") + (f": {said}" if said else "")

    def last_words(self) -> str:
        """The end of what it said on standard error, on one line."""
        return " ".join(self.errors[-600:].decode(errors="replace").split())


class Command:
    """A running command: a process group of its own, whose end is this object's wish (`stop`) or the context's end."""

    def __init__(self, words: list[str]) -> None:
        try:
            self.process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                start_new_session=True, bufsize=0,
            )  # fmt: skip
        except OSError as error:
            raise UserError(f"{words[0]} cannot be started: {error}. Install it, or mend its path.") from None
        self.stopped: str | None = None
        self._timers: list[threading.Timer] = []

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *exception: object) -> None:
        for timer in self._timers:
            timer.cancel()
        self._end_group()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def stop(self, reason: str) -> None:
        """End it from another thread; the first reason counts."""
        if self.stopped is None and self.process.poll() is None:
            self.stopped = reason
            self._end_group()

    def stop_after(self, seconds: float, reason: str) -> None:
        timer = threading.Timer(seconds, self.stop, [reason])
        timer.daemon = True
        timer.start()
        self._timers.append(timer)

    @property
    def stdin(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def stdout(self) -> int:
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    @property
    def stderr(self) -> int:
        assert self.process.stderr is not None
        return self.process.stderr.fileno()

    def _end_group(self) -> None:
        """Close its input, then politely, then for good; also what it started and left behind."""
        with contextlib.suppress(OSError):
            self.stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except (ProcessLookupError, PermissionError):
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(END_S)
        self.process.wait()


def answer(
    words: list[str], source: BinaryIO | None, timeout_s: float, sink: Callable[[bytes], None], limit_bytes: int
) -> Ended:
    """Run a command to its end.

    Args:
        source: what it reads; None for nothing.
        sink: takes what it prints, in pieces, up to `limit_bytes` in all; a command that prints more is ended.
    """
    errors = bytearray()
    with Command(words) as command:
        command.stop_after(timeout_s, f"no answer within {timeout_s:.0f} s")
        threads = [_thread(_feed, command.stdin, source), _thread(_drain, command, errors.extend, 2**20)]
        received = 0
        while piece := os.read(command.stdout, 2**16):
            received += len(piece)
            if received > limit_bytes:
                command.stop(f"printed more than the {limit_bytes} bytes that were expected")
                break
            sink(piece)
        returncode = command.process.wait()
        for thread in threads:
            thread.join(END_S)
        return Ended(returncode, command.stopped, bytes(errors))


@dataclass(frozen=True)
class Sinks:
    """Where a streamed command's words go: all lines and standard error to files, progress objects to a function."""

    lines: Path
    errors: Path
    on_event: EventHandler = field(default=lambda event: None)


def stream(words: list[str], sinks: Sinks, limit_s: float, silence_s: float | None) -> Ended:
    """Run a command that may take hours, and hand on what it says while it does.

    Args:
        limit_s: the command is ended after so long.
        silence_s: the command is told every quarter of it that this host is alive, and ended when it prints nothing for
            so long; None for a command whose pipes cannot be cut.
    """
    heard, asked = [time.monotonic()], list[float]()
    errors, tail = bytearray(), bytearray()
    with Command(words) as command, sinks.lines.open("ab") as kept, sinks.errors.open("ab") as log:

        def keep_log(piece: bytes) -> None:
            log.write(piece)
            log.flush()
            errors.extend(piece)
            del errors[:-4000]

        command.stop_after(limit_s, f"ended by the host: its deadline of {limit_s:.0f} s had passed")
        drain = _thread(_drain, command, keep_log, MAXIMUM_OUTPUT_BYTES)
        if silence_s is not None:
            _thread(_keep_alive, command, silence_s, heard, asked)
        for line in _lines(command, heard):
            tail.extend(line)
            del tail[:-200]
            event = _event(line)
            alive = event is not None and event.get("event") == "alive"
            if not alive:
                kept.write(line)
                kept.flush()
            if event is not None:
                event.pop(ASKED_S, None)  # ours to say
                if alive and asked:
                    # The first of the words that may have been answered: later ones would be bounds too tight.
                    event[ASKED_S] = asked[0]
                    asked.clear()
                sinks.on_event(event)
        returncode = command.process.wait()
        drain.join(END_S)
        return Ended(returncode, command.stopped, bytes(errors), bytes(tail))


def converse(words: list[str], rounds: int, timeout_s: float) -> tuple[bytes, list[tuple[float, float, bytes]], Ended]:
    """Read a command's first line; then say a line `rounds` times, and read its answer each time.

    Returns:
        the first line; the Unix times before and after each exchange, with the answer; how it ended.
    """
    exchanges = []
    errors = bytearray()
    with Command(words) as command:
        command.stop_after(timeout_s, f"no answer within {timeout_s:.0f} s")
        drain = _thread(_drain, command, errors.extend, MAXIMUM_LINE_BYTES)
        first = _line(command)
        for _ in range(rounds if first else 0):
            before = time.time()
            with contextlib.suppress(OSError):
                command.stdin.write(b"\n")
            answered = _line(command)
            if not answered:
                break
            exchanges.append((before, time.time(), answered))
        with contextlib.suppress(OSError):
            command.stdin.close()
        drain.join(END_S)
    return first, exchanges, Ended(command.process.returncode, command.stopped, bytes(errors))


def _line(command: Command) -> bytes:
    """The next line, or what there is of it where it does not end in time or is too long."""
    line = bytearray()
    while not line.endswith(b"\n") and len(line) < 2**20 and (piece := os.read(command.stdout, 2**16)):
        line.extend(piece)
    return bytes(line)


def _lines(command: Command, heard: list[float]) -> Iterator[bytes]:
    """The lines that a command prints; one too long comes in pieces. Too many, and the command is ended."""
    pending, received = b"", 0
    while piece := os.read(command.stdout, 2**16):
        heard[0] = time.monotonic()
        received += len(piece)
        if received > MAXIMUM_OUTPUT_BYTES:
            command.stop(f"ended by the host: it printed more than {MAXIMUM_OUTPUT_BYTES} bytes")
            return
        *whole, pending = (pending + piece).split(b"\n")
        yield from (line + b"\n" for line in whole)
        if len(pending) > MAXIMUM_LINE_BYTES:
            yield pending
            pending = b""
    if pending:
        yield pending


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _feed(stdin: IO[bytes], source: BinaryIO | None) -> None:
    with contextlib.suppress(OSError, ValueError):
        while source is not None and (piece := source.read(2**16)):
            while piece:
                piece = piece[stdin.write(piece) :]
    with contextlib.suppress(OSError):
        stdin.close()


def _drain(command: Command, sink: Callable[[bytes], object], limit_bytes: int) -> None:
    received = 0
    with contextlib.suppress(OSError, ValueError):
        while piece := os.read(command.stderr, 2**16):
            received += len(piece)
            if received > limit_bytes:
                command.stop(f"ended by the host: it said more than {limit_bytes} bytes on standard error")
                return
            sink(piece)


def _keep_alive(command: Command, silence_s: float, heard: list[float], asked: list[float]) -> None:
    """Tell the device that this host is alive, and end the command when the device is silent."""
    while command.process.poll() is None and command.stopped is None:
        asked.append(time.monotonic())  # before the word, so that no answer comes to a question that is not noted
        with contextlib.suppress(OSError, ValueError):
            command.stdin.write(b"\n")
        time.sleep(silence_s / 4)
        if time.monotonic() - heard[0] > silence_s + END_S:
            command.stop(f"nothing was heard from the device for {silence_s + END_S:.0f} s")


def _thread(target: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread
