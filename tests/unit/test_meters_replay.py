"""Traces: what a machine told its meters, recorded as text, gives the same energy again wherever it is replayed."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from meters_fakes.nvml import Nvml

from edgecarbon.meters import open_meters
from edgecarbon.meters.access import Access, Recording, Replayed, Unanswered
from edgecarbon.meters.replay import read_trace, record, replay
from edgecarbon.worker.__main__ import main

ESTIMATE = {"idle_watts": 5.0, "busy_watts": 20.0, "relative_uncertainty": 0.5, "source": "assumed for a test"}


class Machine(Access):
    """A machine with one RAPL package that draws 50 W by a clock of its own, and whose counter cannot be read once."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def names(self, folder: str) -> list[str]:
        return {"/sys/class/powercap": ["intel-rapl:0"], "/sys/class/powercap/intel-rapl:0": ["energy_uj"]}.get(
            folder, []
        )

    def read(self, path: str, most_bytes: int = 4096) -> str | None:
        name = path.rsplit("/", 1)[1]
        if name == "energy_uj":
            self.reads += 1
            return None if self.reads == 5 else str(round((self.monotonic() % 1000) * 50e6))
        return {"name": "package-0", "max_energy_range_uj": "262143328850"}.get(name)


def test_a_trace_gives_again_what_the_machine_told(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    record(path, 0.5, sample_period_s=0.02, estimate=ESTIMATE, cuda_devices=[], access=Machine())
    again = replay(read_trace(path))
    [energy] = [
        column for channel, column in zip(again.channels, again.columns, strict=True) if channel.quantity == "energy"
    ]
    assert energy.count(None) == 1
    assert energy[3] is None  # the read at the opening was the first
    [reading] = again.readings()
    assert reading["channel"] == "rapl/package-0/energy"
    assert reading["joules"] == pytest.approx(50 * (again.times[-1] - again.times[0]), rel=0.05)
    assert again.absent["nvml"] == "this run uses no CUDA GPU"


def test_a_library_that_is_gone_answers_from_the_trace() -> None:
    text = io.StringIO()
    library = Nvml({"mj": 1_000})
    recording = Recording(text, 0.0)
    [meter, *others] = open_meters(
        ["nvml"], nvml=library, environ={}, sysfs="/nowhere", procfs="/nowhere", access=recording
    )
    recording.tick()
    first = meter.read()
    library.boards[0].update(mj=4_000, refused=("nvmlDeviceGetTemperature",))
    recording.tick()
    second = meter.read()
    assert others == []
    entries = [json.loads(line) for line in text.getvalue().splitlines()]
    replayed = Replayed(entries)
    replayed.now_s = replayed.ticks[1] - 1e-7
    [again] = open_meters(["nvml"], environ={}, sysfs="/nowhere", procfs="/nowhere", access=replayed)
    assert again.channels() == meter.channels()
    assert again.read() == first
    replayed.now_s = entries[-1]["t_s"]
    assert again.read()[:3] == second[:3] == [4.0, 250.0, 240.0]


def test_what_fails_is_replayed_as_a_failure_with_its_words() -> None:
    text = io.StringIO()
    recording = Recording(text, 0.0)

    def broken() -> Any:
        raise OSError("driver went away")

    for _ in range(2):
        with pytest.raises(Unanswered, match="driver went away"):
            recording.call("x", broken)
    assert recording.run(["false"]) is None
    assert recording.run(["no-such-tool-here"]) is None
    assert recording.read("/no/such/file") is None
    assert recording.get("http://127.0.0.1:9/") is None
    entries = [json.loads(line) for line in text.getvalue().splitlines()]
    assert len(entries) == 5  # an answer that did not change is not written twice
    replayed = Replayed(entries)
    with pytest.raises(Unanswered, match="driver went away"):
        replayed.call("x", lambda: 1)
    with pytest.raises(Unanswered, match="not in the trace"):
        replayed.call("never asked", lambda: 1)
    assert replayed.run(["false"]) is None
    assert replayed.names("/never/listed") == []


def test_a_stream_is_recorded_piece_by_piece() -> None:
    text = io.StringIO()
    recording = Recording(text, 0.0)
    stream = recording.stream(["cat"], "one\ntwo \xff\n")
    printed = ""
    while not printed.endswith("\n"):
        printed += stream.take()
    stream.close()
    replayed = Replayed(json.loads(line) for line in text.getvalue().splitlines())
    again = replayed.stream(["cat"])
    replayed.now_s = 1e9
    assert again.take() == printed == "one\ntwo Ã¿\n"
    assert again.take() == ""


def test_the_payload_records_and_replays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = str(tmp_path / "trace.jsonl")
    assert main(["record", "--seconds", "0.3", "--period", "0.05", "--meters", "estimate", "--out", trace]) == 0
    first = capsys.readouterr().out
    assert main(["replay", trace]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["readings"][0]["joules"] > 0
    assert first.endswith(json.dumps(again, indent=1) + "\n")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["record", "--seconds", "0", "--out", "{}"], "--seconds 0 and --period 0.1: need"),
        (["record", "--seconds", "1", "--meters", "nvlm", "--out", "{}"], 'unknown meter "nvlm".* did you mean "nvml"'),
        (["replay", "{}"], "trace.jsonl"),
    ],
)
def test_a_mistake_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], why: str) -> None:
    assert main([one.format(tmp_path / "trace.jsonl") for one in arguments]) == 2
    import re

    assert re.search(why, capsys.readouterr().err)


def test_a_file_that_is_no_trace_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    for text, why in (
        ("", "line 1: expected schema"),
        ('{"schema": "x"}\n', "line 1: expected"),
        ("{}\n[1]\n", "line 2: not"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=why):
            read_trace(path)
