"""The door between meters and a machine: every answer comes through here, so that it can be recorded and replayed.

A trace is text, one JSON object a line: what was asked (`read` a file, `list` a folder, `run` a command, `get` an
address, `call` a library, `take` from a running command), when, and the answer or the error. A meter that is given the
trace in place of the machine cannot tell the difference.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TextIO, TypeVar

SCHEMA = "edgecarbon.trace/1"
MOST_BYTES = 1 << 20
_FILE_BYTES = 1 << 16
T = TypeVar("T")


class Unanswered(Exception):
    """A library's call failed; the text is its error."""


class Stream(Protocol):
    """The output of a command that goes on running."""

    def take(self) -> str:
        """What it has printed since the last call, bytes as Latin-1."""

    def close(self) -> None: ...


class Access:
    """The machine itself. Nothing here raises but `call`: what cannot be had is None."""

    def __init__(self) -> None:
        self._kept: dict[str, int | None] = {}

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Sleeps; a trace, in which no time passes by itself, does not."""
        time.sleep(seconds)

    def read(self, path: str, most_bytes: int = _FILE_BYTES) -> str | None:
        """A small kernel file, or its first bytes, stripped. From the second time on it is kept open: a read is one call."""
        try:
            kept = self._kept.get(path)
            if kept is None:
                kept = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                if path not in self._kept:
                    self._kept[path] = None
                    try:
                        return _text(os.read(kept, most_bytes))
                    finally:
                        os.close(kept)
                self._kept[path] = kept
            return _text(os.pread(kept, most_bytes, 0))
        except OSError:
            return None

    def number(self, path: str, scale: float = 1.0) -> float | None:
        """The whole number in a kernel file, times `scale`."""
        try:
            return int(self.read(path) or "") * scale
        except (ValueError, OverflowError):
            return None

    def names(self, folder: str) -> list[str]:
        """Sorted names in a folder; none where it cannot be read."""
        try:
            return sorted(os.listdir(folder))
        except OSError:
            return []

    def run(self, words: Sequence[str], timeout_s: float = 10.0) -> str | None:
        """What a command prints; None where it is not there, fails or takes too long."""
        try:
            done = subprocess.run(
                list(words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                timeout=timeout_s, check=True,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout[:MOST_BYTES].decode("utf-8", "replace")

    def get(self, url: str, timeout_s: float = 5.0) -> str | None:
        """What an HTTP server answers, without any proxy: a meter stands in this network."""
        import http.client  # not at the top: most machines never need it, and it takes as long to import as all of this
        import urllib.request

        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        end_s, data = time.monotonic() + timeout_s, bytearray()
        try:
            with opener.open(url, timeout=timeout_s) as answer:
                # A server that sends a byte now and then is not waited for either.
                while len(data) < MOST_BYTES and (piece := answer.read1(_FILE_BYTES)):
                    data += piece
                    if time.monotonic() > end_s:
                        return None
                return data[:MOST_BYTES].decode("utf-8", "replace")
        except (OSError, ValueError, http.client.HTTPException):
            return None

    def call(self, name: str, function: Callable[[], Any]) -> Any:
        """What a library's function returns, a JSON value. Raises Unanswered where it fails."""
        try:
            return function()
        except Exception as error:
            raise Unanswered(str(error) or type(error).__name__) from error

    def attempt(self, name: str, function: Callable[[], Any]) -> Any:
        """As `call`, with None for a failure."""
        try:
            return self.call(name, function)
        except Unanswered:
            return None

    def stream(self, words: Sequence[str], text: str | None = None) -> Stream:
        """Start a command, give it `text` on its standard input, and leave it running."""
        return _Running(words, text)

    def close(self) -> None:
        for descriptor in self._kept.values():
            if descriptor is not None:
                os.close(descriptor)
        self._kept = {}


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace").strip()


class _Running:
    """A command and a thread that gathers what it prints, because a pipe that nobody empties stops its writer."""

    def __init__(self, words: Sequence[str], text: str | None) -> None:
        self._lock, self._printed = threading.Lock(), bytearray()
        try:
            self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
                list(words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError:
            self._process = None
            return
        threading.Thread(target=self._gather, args=(text,), name="edgecarbon-stream", daemon=True).start()

    def _gather(self, text: str | None) -> None:
        process = self._process
        assert process
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write((text or "").encode())
            process.stdin.close()
        except OSError:
            pass  # it has ended; its output says why, or nothing does
        while piece := os.read(process.stdout.fileno(), 1 << 16):
            with self._lock:
                if len(self._printed) + len(piece) <= MOST_BYTES:
                    self._printed += piece

    def take(self) -> str:
        with self._lock:
            printed, self._printed = bytes(self._printed), bytearray()
        return printed.decode("latin-1")

    def close(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


def key(kind: str, what: Any) -> str:
    """A question, as one text."""
    return f"{kind} {what}" if isinstance(what, str) else f"{kind} {json.dumps(what)}"


class Recording(Access):
    """Asks the machine and writes each answer that differs from the last one to the same question."""

    def __init__(self, file: TextIO, origin_s: float, access: Access | None = None) -> None:
        super().__init__()
        self._file, self._origin_s, self._machine = file, origin_s, access or Access()
        self._last: dict[str, Any] = {}

    def tick(self) -> None:
        """Says that every meter is asked now."""
        self._write({"tick": True})

    def monotonic(self) -> float:
        return self._machine.monotonic()

    def wait(self, seconds: float) -> None:
        self._machine.wait(seconds)

    def read(self, path: str, most_bytes: int = _FILE_BYTES) -> str | None:
        return self._note("read", path, self._machine.read(path, most_bytes))

    def names(self, folder: str) -> list[str]:
        return self._note("list", folder, self._machine.names(folder))

    def run(self, words: Sequence[str], timeout_s: float = 10.0) -> str | None:
        return self._note("run", list(words), self._machine.run(words, timeout_s))

    def get(self, url: str, timeout_s: float = 5.0) -> str | None:
        return self._note("get", url, self._machine.get(url, timeout_s))

    def call(self, name: str, function: Callable[[], Any]) -> Any:
        try:
            return self._note("call", name, self._machine.call(name, function))
        except Unanswered as error:
            self._note("call", name, None, str(error))
            raise

    def stream(self, words: Sequence[str], text: str | None = None) -> Stream:
        return _RecordedStream(self, self._machine.stream(words, text), list(words))

    def close(self) -> None:
        self._machine.close()

    def took(self, words: list[str], printed: str) -> None:
        if printed:
            self._write({"take": words, "answer": printed})

    def _note(self, kind: str, what: Any, answer: T, error: str | None = None) -> T:
        asked = key(kind, what)
        if asked not in self._last or self._last[asked] != (answer, error):
            self._last[asked] = (answer, error)
            self._write({kind: what, "answer": answer, **({} if error is None else {"error": error})})
        return answer

    def _write(self, entry: dict[str, Any]) -> None:
        t_s = round(self._machine.monotonic() - self._origin_s, 6)
        self._file.write(json.dumps({"t_s": t_s, **entry}) + "\n")


class _RecordedStream:
    def __init__(self, recording: Recording, stream: Stream, words: list[str]) -> None:
        self._recording, self._stream, self._words = recording, stream, words

    def take(self) -> str:
        printed = self._stream.take()
        self._recording.took(self._words, printed)
        return printed

    def close(self) -> None:
        self._stream.close()


class Replayed(Access):
    """Answers from a trace as the machine did at `now_s`; what was never asked is not there.

    Args:
        entries: the lines of a trace behind its header, in order.
    """

    def __init__(self, entries: Iterable[dict[str, Any]]) -> None:
        super().__init__()
        self.now_s = 0.0
        self.ticks: list[float] = []
        self._answers: dict[str, tuple[list[float], list[dict[str, Any]]]] = {}
        for entry in entries:
            if "tick" in entry:
                self.ticks.append(float(entry["t_s"]))
                continue
            kind = next(name for name in ("read", "list", "run", "get", "call", "take") if name in entry)
            times, answers = self._answers.setdefault(key(kind, entry[kind]), ([], []))
            times.append(float(entry["t_s"]))
            answers.append(entry)

    def monotonic(self) -> float:
        return self.now_s

    def wait(self, seconds: float) -> None:
        pass

    def read(self, path: str, most_bytes: int = _FILE_BYTES) -> str | None:
        return self._text("read", path)

    def names(self, folder: str) -> list[str]:
        entry = self._entry("list", folder)
        return list(entry["answer"]) if entry else []

    def run(self, words: Sequence[str], timeout_s: float = 10.0) -> str | None:
        return self._text("run", list(words))

    def get(self, url: str, timeout_s: float = 5.0) -> str | None:
        return self._text("get", url)

    def call(self, name: str, function: Callable[[], Any]) -> Any:
        entry = self._entry("call", name)
        if entry is None or entry.get("error") is not None:
            raise Unanswered(str(entry["error"]) if entry else f"{name} is not in the trace")
        return entry["answer"]

    def stream(self, words: Sequence[str], text: str | None = None) -> Stream:
        return _ReplayedStream(self, *self._answers.get(key("take", list(words)), ([], [])))

    def _entry(self, kind: str, what: Any) -> dict[str, Any] | None:
        times, answers = self._answers.get(key(kind, what), ([], []))
        index = bisect_right(times, self.now_s)
        # What was asked a moment later than this replay asks it, while meters were opened, holds from the start.
        return answers[max(index - 1, 0)] if answers else None

    def _text(self, kind: str, what: Any) -> str | None:
        entry = self._entry(kind, what)
        return None if entry is None or entry["answer"] is None else str(entry["answer"])


class _ReplayedStream:
    def __init__(self, replayed: Replayed, times: Sequence[float], entries: Sequence[dict[str, Any]]) -> None:
        self._replayed, self._times, self._entries, self._next = replayed, times, entries, 0

    def take(self) -> str:
        end = max(self._next, bisect_right(self._times, self._replayed.now_s))
        taken, self._next = self._entries[self._next : end], end
        return "".join(entry["answer"] for entry in taken)

    def close(self) -> None:
        pass
