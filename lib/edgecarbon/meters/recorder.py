"""The recorder: one thread that polls every meter on a fixed schedule and streams what they say to disk."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import threading
import time
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from edgecarbon.meters import integrate
from edgecarbon.meters.base import Channel, Meter
from edgecarbon.meters.samples import SampleWriter, read_samples

_TIME_DIGITS = 4
_WATTS_OVER_S = 1.0
# The order in which a boundary is shown while a run goes on.
_SHOWN_FIRST = ("wall", "battery", "gpu_board", "soc", "cpu_package")


class Recorder:
    """Polls `meters` every `sample_period_s` from `start()` (or `with`) until `stop()`.

    Times are seconds since `origin`, a value of `time.monotonic()` that whoever else stamps events shares; a wall clock
    that is set changes nothing. Samples are streamed to `spool` (default: a temporary file), so that a day of them is
    not held in memory and a killed run leaves what it had. Stopping closes the meters; `readings` works before it and
    after.
    """

    def __init__(
        self,
        meters: Sequence[Meter],
        sample_period_s: float = 0.1,
        *,
        origin: float | None = None,
        spool: str | os.PathLike[str] | None = None,
    ) -> None:
        if not sample_period_s > 0:
            raise ValueError(f"sample_period_s must be above 0, not {sample_period_s}")
        self._meters = [(meter, len(meter.channels())) for meter in meters]
        self._channels: list[Channel] = [channel for meter in meters for channel in meter.channels()]
        self._shown = _shown_channels(self._channels)
        self._period_s = sample_period_s
        self.origin = time.monotonic() if origin is None else origin
        self._temporary = tempfile.TemporaryDirectory(prefix="edgecarbon-") if spool is None else None
        self._path = os.path.join(self._temporary.name, "samples") if self._temporary else os.fspath(spool or "")
        self._writer = SampleWriter(self._path, self._channels)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._recent: deque[tuple[float, list[float | None]]] = deque()
        self._last_s = -math.inf
        # Where the sample of each mark begins in the file, so that a window is read without what came before it.
        self._marks: list[tuple[float, int]] = []

    @property
    def channels(self) -> list[dict[str, Any]]:
        return [channel.to_json() for channel in self._channels]

    def start(self) -> Recorder:
        self._thread = threading.Thread(target=self._poll, name="edgecarbon-recorder", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Takes a last sample, ends the thread, closes the file and the meters. A second call does nothing."""
        self._stopping.set()
        if self._thread:
            self._thread.join()
            self._thread = None
        with self._lock:
            if self._writer.closed:
                return
            self._sample()
            self._writer.close()
            for meter, _ in self._meters:
                meter.close()

    def __enter__(self) -> Recorder:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def now(self) -> float:
        return time.monotonic() - self.origin

    def mark(self) -> float:
        """Reads every meter now and returns the time of that read: the end of a window, on which a sample lies.

        After `stop` that is its last sample: a window that was cut short ends there.
        """
        with self._lock:
            if self._writer.closed:
                return self._last_s
            offset = self._writer.end_member()
            t_s = self._sample()
            self._marks.append((t_s, offset))
            self._writer.flush()
            return t_s

    def watts(self) -> tuple[float, str] | None:
        """Power over about the last second with its provenance, for showing; None where nothing tells it."""
        with self._lock:
            if len(self._recent) < 2:
                return None
            (t0_s, first), (t1_s, last) = self._recent[0], self._recent[-1]
        total_watts = 0.0
        for index, is_counter in self._shown:
            before, after = first[index], last[index]
            if after is None or (is_counter and (before is None or after < before or t1_s <= t0_s)):
                return None
            total_watts += (after - before) / (t1_s - t0_s) if is_counter and before is not None else after
        return (total_watts, self._channels[self._shown[0][0]].provenance) if self._shown else None

    def readings(
        self, window: str, start_s: float, end_s: float, minimum_window_s: float = 60.0
    ) -> list[dict[str, Any]]:
        """The energy of [start_s, end_s] as each component's counter, and after it its power channel, tell it.

        Each is {"window", "meter", "component", "channel", ...the fields of Reading}.
        """
        margin_s = 10 * self._period_s
        times, columns = self._load(start_s - margin_s, end_s + margin_s)
        return integrate.readings(
            self._channels, times, columns, window, start_s, end_s,
            sample_period_s=self._period_s, minimum_window_s=minimum_window_s,
        )  # fmt: skip

    def write_samples(self, path: str | os.PathLike[str]) -> None:
        """Leaves the samples at `path` as gzipped JSON lines: a header, then [t_s, value, ...]; null is a failed read."""
        with self._lock:
            if not self._writer.closed:
                self._writer.end_member()
        if not (os.path.exists(path) and os.path.samefile(path, self._path)):
            shutil.copyfile(self._path, path)

    def _poll(self) -> None:
        due_s = time.monotonic()
        while not self._stopping.is_set():
            with self._lock:
                self._sample()
            # The schedule is fixed: a late sample does not shift the later ones, and a missed one is not made up for.
            due_s += self._period_s
            late_s = time.monotonic() - due_s
            if late_s > 0:
                due_s += math.ceil(late_s / self._period_s) * self._period_s
            self._stopping.wait(due_s - time.monotonic())

    def _sample(self) -> float:
        before_s = self.now()
        values: list[float | None] = []
        for meter, count in self._meters:
            values += _read(meter, count)
        t_s = max(round((before_s + self.now()) / 2, _TIME_DIGITS), self._last_s)
        self._last_s = t_s
        kept = self._writer.write(t_s, values)
        self._recent.append((t_s, kept))
        while len(self._recent) > 2 and t_s - self._recent[1][0] >= _WATTS_OVER_S:
            self._recent.popleft()
        return t_s

    def _load(self, start_s: float, end_s: float) -> tuple[array[float], list[array[float]]]:
        with self._lock:
            if not self._writer.closed:
                self._writer.flush()
        position = bisect_right(self._marks, (start_s, 1 << 62)) - 1
        offset = self._marks[position][1] if position >= 0 else 0
        return read_samples(self._path, len(self._channels), start_s, end_s, offset)


def _read(meter: Meter, count: int) -> list[float | None]:
    """A meter promises not to raise; if one does, that read failed and the run goes on."""
    try:
        values = meter.read()
    except Exception:
        return [None] * count
    return values if len(values) == count else [None] * count


def _shown_channels(channels: Sequence[Channel]) -> list[tuple[int, bool]]:
    """(index, is a counter) of one channel for each component of the first boundary of `_SHOWN_FIRST` that is there."""
    for boundary in _SHOWN_FIRST:
        chosen: dict[tuple[str, str], tuple[int, bool]] = {}
        for quantity in ("energy", "power"):
            for index, channel in enumerate(channels):
                if channel.boundary == boundary and channel.quantity == quantity:
                    chosen.setdefault((channel.meter, channel.component), (index, quantity == "energy"))
        if chosen:
            return list(chosen.values())
    return []
