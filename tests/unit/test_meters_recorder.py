"""The recorder, with its real thread, clock and file."""

from __future__ import annotations

import gzip
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest

from edgecarbon.meters import Channel, Recorder, open_meters
from edgecarbon.meters.samples import read_lines, read_samples

ESTIMATE = {"idle_watts": 5.0, "busy_watts": 20.0, "relative_uncertainty": 0.5, "source": "assumed for a test"}
ENERGY = Channel(
    id="steady/box/energy", meter="steady", component="box", quantity="energy", unit="J", boundary="wall",
    provenance="measured", source="test", update_period_s=0.001, resolution=0.001,
)  # fmt: skip


class Steady:
    """A counter of a load of 100 W, that can be told to fail."""

    name = "steady"
    runs_on: Literal["device"] = "device"

    def __init__(self) -> None:
        self.answer: Any = None
        self.reads = 0
        self.closed = 0

    def channels(self) -> list[Channel]:
        return [ENERGY]

    def read(self) -> list[float | None]:
        self.reads += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or [100.0 * time.monotonic()]

    def close(self) -> None:
        self.closed += 1


def lines(path: Path) -> list[Any]:
    with gzip.open(path) as file:
        return [json.loads(line) for line in file]


def test_windows_between_marks_are_read_during_the_run_and_after_it(tmp_path: Path) -> None:
    meter = Steady()
    with Recorder([meter], 0.02) as recorder:
        start_s = recorder.mark()
        time.sleep(0.3)
        end_s = recorder.mark()
        [during] = recorder.readings("train", start_s, end_s, minimum_window_s=0.0)
        time.sleep(0.1)
    [after] = recorder.readings("train", start_s, end_s, minimum_window_s=0.0)
    assert during["joules"] == pytest.approx(100 * (end_s - start_s), rel=0.01)
    assert after == during
    assert (after["window"], after["meter"], after["component"]) == ("train", "steady", "box")
    recorder.stop()
    assert meter.closed == 1


def test_samples_are_a_header_and_rows_of_time_and_values(tmp_path: Path) -> None:
    broken = Steady()
    broken.answer = OSError("gone")
    with Recorder([Steady(), broken], 0.02) as recorder:
        marked_s = recorder.mark()
        time.sleep(0.1)
        recorder.write_samples(tmp_path / "early.jsonl.gz")
    recorder.write_samples(tmp_path / "samples.jsonl.gz")
    header, *rows = lines(tmp_path / "samples.jsonl.gz")
    assert header == {"schema": "edgecarbon.samples/1", "channels": ["steady/box/energy"] * 2}
    assert lines(tmp_path / "early.jsonl.gz") == [header, *rows][: len(lines(tmp_path / "early.jsonl.gz"))]
    times = [row[0] for row in rows]
    assert times == sorted(times)
    assert marked_s in times
    assert all(len(row) == 3 and row[1] > 0 and row[2] is None for row in rows)
    assert [channel["id"] for channel in recorder.channels] == header["channels"]


@pytest.mark.parametrize("answer", [[1.0, 2.0], [math.nan], [math.inf], ValueError("no"), [None]])
def test_a_read_that_fails_is_null_and_the_run_goes_on(tmp_path: Path, answer: Any) -> None:
    meter = Steady()
    with Recorder([meter], 0.01, spool=tmp_path / "samples.jsonl.gz") as recorder:
        start_s = recorder.mark()
        time.sleep(0.3)
        meter.answer = answer
        lost_s = recorder.mark()
        meter.answer = None
        time.sleep(0.3)
        end_s = recorder.mark()
    rows = {row[0]: row[1] for row in lines(tmp_path / "samples.jsonl.gz")[1:]}
    assert rows[lost_s] is None
    [reading] = recorder.readings("train", start_s, end_s)
    assert reading["joules"] == pytest.approx(100 * (end_s - start_s), rel=0.01)


def test_the_wall_clock_may_step_back_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    with Recorder([Steady()], 0.02) as recorder:
        start_s = recorder.mark()
        time.sleep(0.2)
        monkeypatch.setattr(time, "time", lambda: real() - 3600)
        time.sleep(0.2)
        end_s = recorder.mark()
    [reading] = recorder.readings("train", start_s, end_s)
    assert reading["joules"] == pytest.approx(100 * (end_s - start_s), rel=0.01)
    assert 0.4 <= end_s - start_s < 5


def test_the_clock_is_the_one_of_origin() -> None:
    origin = time.monotonic() - 1000
    recorder = Recorder([Steady()], 0.1, origin=origin)
    assert recorder.now() == pytest.approx(1000, abs=1)
    assert recorder.mark() == pytest.approx(recorder.now(), abs=0.5)
    recorder.stop()


def test_a_late_sample_does_not_shift_the_schedule(tmp_path: Path) -> None:
    class Slow(Steady):
        def read(self) -> list[float | None]:
            if self.reads == 5:
                time.sleep(0.13)
            return super().read()

    origin = time.monotonic()
    with Recorder([Slow()], 0.05, origin=origin, spool=tmp_path / "samples.jsonl.gz"):
        time.sleep(1.5)
    times = [row[0] for row in lines(tmp_path / "samples.jsonl.gz")[1:-1]]
    phases = sorted(((t - times[0]) / 0.05 + 0.5) % 1 - 0.5 for t in times if t - times[0] > 0.6)
    assert abs(phases[len(phases) // 2]) < 0.3
    # Two or three ticks fell out while it slept, and were not made up for in a burst: one may be late, and the next in
    # time, but between a tick and the next but one a period passes.
    assert all(c - a > 0.04 for a, c in zip(times, times[2:], strict=False))
    assert len(times) <= (times[-1] - times[0]) / 0.05 + 2


def test_watts_of_the_last_second_for_showing() -> None:
    recorder = Recorder([Steady()], 0.02)
    assert recorder.watts() is None
    with recorder:
        time.sleep(0.3)
        watts, provenance = recorder.watts() or (0.0, "")
    assert watts == pytest.approx(100, rel=0.05)
    assert provenance == "measured"


def test_watts_are_of_one_boundary_and_of_each_component_once() -> None:
    class Host(Steady):
        def channels(self) -> list[Channel]:
            package = replace(ENERGY, id="a", boundary="cpu_package")
            power = replace(package, id="b", quantity="power", unit="W")
            memory = replace(package, id="d", boundary="dram")
            return [power, package, replace(package, id="c", component="two"), memory]

        def read(self) -> list[float | None]:
            joules = 100.0 * time.monotonic()
            return [999.0, joules, joules, joules]

    with Recorder([Host()], 0.02) as recorder:
        time.sleep(0.3)
        watts, _ = recorder.watts() or (0.0, "")
    assert watts == pytest.approx(200, rel=0.05)


def test_without_meters_there_is_time_but_no_energy(tmp_path: Path) -> None:
    with Recorder([], 0.02) as recorder:
        start_s, end_s = recorder.mark(), recorder.mark() + 0.1
        assert recorder.watts() is None
    assert recorder.readings("train", start_s, end_s) == []
    recorder.write_samples(tmp_path / "samples.jsonl.gz")
    assert lines(tmp_path / "samples.jsonl.gz")[0]["channels"] == []


def test_a_period_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="sample_period_s"):
        Recorder([], 0.0)


def test_a_killed_run_leaves_its_samples(tmp_path: Path) -> None:
    spool = tmp_path / "samples.jsonl.gz"
    script = (
        "import sys, time\nfrom edgecarbon.meters import Recorder, open_meters\n"
        f"with Recorder(open_meters(['estimate'], {ESTIMATE!r}), 0.02, spool=sys.argv[1]) as recorder:\n"
        "    time.sleep(0.3); print(recorder.mark(), flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(spool)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        marked_s = float(child.stdout.readline())
        os.kill(child.pid, signal.SIGKILL)
    channels = json.loads(next(read_lines(spool)))["channels"]
    assert "estimate/cpu/energy" in channels
    times, columns = read_samples(spool, len(channels))
    assert len(times) >= 5
    assert marked_s in times
    assert [len(column) for column in columns] == [len(times)] * len(channels)


def test_a_window_is_found_in_a_long_file_without_what_came_before(tmp_path: Path) -> None:
    spool = tmp_path / "samples.jsonl.gz"
    with Recorder(open_meters(["estimate"], ESTIMATE), 0.01, spool=spool) as recorder:
        ends = [recorder.mark()]
        for _ in range(4):
            time.sleep(0.25)
            ends.append(recorder.mark())
        parts = [recorder.readings("w", a, b)[0]["joules"] for a, b in pairwise(ends)]
        whole = recorder.readings("w", ends[0], ends[-1])[0]["joules"]
    assert math.fsum(parts) == pytest.approx(whole, abs=1e-6)
    assert 4.95 <= whole / (ends[-1] - ends[0]) <= 21
    with spool.open("r+b") as file:
        file.write(bytes(300))
    # The margin before the last window reaches into the one before it.
    assert recorder.readings("w", ends[-2], ends[-1])[0]["joules"] == parts[-1]
