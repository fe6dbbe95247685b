"""Meters on the host beside a device: the device's clock set against the host's, and windows read in the host's time."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import peers
from edgecarbon.beside import FACTS, SAMPLES, Clock, host_meters, meters_beside, probe_beside, with_readings
from edgecarbon.dispatch import ASKED_S
from edgecarbon.dispatch.process import Sinks, stream
from edgecarbon.errors import DeviceTrouble
from edgecarbon.meters import Channel
from edgecarbon.meters.samples import SampleWriter

WALL = Channel(
    id="shelly/device/energy", meter="shelly", component="device", quantity="energy", unit="J", boundary="wall",
    provenance="measured", source="played", update_period_s=1.0, resolution=3.6, accuracy_relative=0.0,
)  # fmt: skip
DEVICE = {"transport": "local", "virtual": None, "wall_meter": None, "meters": ["auto"]}


class Slow:
    """A device's clock, `offset_s` behind the host's, at the end of a link that takes its time each way."""

    def __init__(self, offset_s: float) -> None:
        self.offset_s, self.random = offset_s, random.Random(1)

    def exchange(self, clock: Clock, now: list[float]) -> None:
        asked = now[0]
        now[0] += self.random.uniform(0.01, 0.2)
        told = now[0] - self.offset_s
        now[0] += self.random.uniform(0.01, 0.2)
        clock.hear({"event": "alive", "t_s": told, ASKED_S: asked})


def test_the_offset_lies_between_question_and_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock, slow = Clock(1000.0), Slow(offset_s=1007.25)
    for _ in range(20):
        slow.exchange(clock, now)
        now[0] += 7.5
        assert clock.low_s <= 7.25 <= clock.high_s
    told = clock.to_json(same_machine=False)
    assert told is not None
    assert told["offset_s"] == pytest.approx(7.25, abs=0.05)
    assert abs(told["offset_s"] - 7.25) < 2 * told["uncertainty_s"] < 0.2


def test_a_clock_without_a_lower_bound_is_not_known_but_on_this_machine() -> None:
    clock = Clock(0.0)
    clock.hear({"event": "step", "t_s": time.monotonic() - 3.0})
    for nonsense in ({}, {"t_s": "x"}, {"t_s": math.inf}, {"t_s": True, "event": "x"}):
        clock.hear(nonsense)
    assert clock.to_json(same_machine=False) is None
    told = clock.to_json(same_machine=True)
    assert told is not None
    assert told["offset_s"] == pytest.approx(3.0, abs=0.05)


def test_a_word_is_answered_once_and_a_device_cannot_say_when_it_was_asked(tmp_path: Path) -> None:
    heard: list[dict[str, Any]] = []
    lying = (
        "import json, sys, time\n"
        "print(json.dumps({'event': 'step', 'asked_s': 1.0, 't_s': 0.0}), flush=True)\n"
        "sys.stdin.readline()\n"
        "for _ in range(2): print(json.dumps({'event': 'alive', 't_s': 5.0}), flush=True)\n"
    )
    before_s = time.monotonic()
    ended = stream(
        [sys.executable, "-c", lying],
        Sinks(tmp_path / "lines", tmp_path / "errors", heard.append),
        20.0,
        silence_s=20.0,
    )
    assert ended.returncode == 0
    assert ASKED_S not in heard[0]
    assert before_s <= heard[1][ASKED_S] <= time.monotonic()
    assert ASKED_S not in heard[2]


def attempt(folder: Path, clock: dict[str, float] | None) -> Path:
    """A wall meter that showed 10 W, then 100 W between 20 s and 80 s of the host's time."""
    writer = SampleWriter(folder / SAMPLES, [WALL])
    joules = 0.0
    for t in range(101):
        writer.write(float(t), [joules])
        joules += 100.0 if 20 <= t < 80 else 10.0
    writer.close()
    facts = {
        "schema": "x",
        "origin_unix_s": 1000.0,
        "clock": clock,
        "channels": [WALL.to_json()],
        "absent": {},
        "sample_period_s": 1.0,
    }
    (folder / FACTS).write_text(json.dumps(facts))
    return folder


# The device's time is 15 s behind the host's.
OWN = {"window": "train", "channel": "rapl/package-0/energy", "joules": 5.0, "flags": []}
RESULT: dict[str, Any] = {
    "started_unix_s": 1010.0,
    "windows": [
        {"name": "idle_before", "start_s": 0.0, "end_s": 4.0},
        {"name": "train", "start_s": 5.0, "end_s": 65.0},
    ],
    "readings": [OWN],
    "channels": [{"id": "rapl/package-0/energy"}],
}


def test_windows_are_read_in_the_hosts_time(tmp_path: Path) -> None:
    told, beside = with_readings(attempt(tmp_path, {"offset_s": 15.0, "uncertainty_s": 0.0}), RESULT, 60.0)
    own, idle, train = told["readings"]
    assert own == OWN
    assert [channel["id"] for channel in told["channels"]] == ["rapl/package-0/energy", "shelly/device/energy"]
    clocks = {"clock": {"offset_s": 15.0, "uncertainty_s": 0.0}, "wall_clock": {"offset_s": pytest.approx(-5.0)}}
    assert beside == {**clocks, "absent": {}}
    assert (idle["joules"], train["joules"]) == (pytest.approx(40.0), pytest.approx(6000.0))
    assert (train["boundary"], train["window"]) == ("wall", "train")
    unsure, _ = with_readings(attempt(tmp_path, {"offset_s": 15.0, "uncertainty_s": 2.0}), RESULT, 60.0)
    wider = unsure["readings"][2]["uncertainty_joules"]
    assert wider == pytest.approx(math.hypot(train["uncertainty_joules"], 200.0))


def test_without_the_devices_time_there_are_no_joules(tmp_path: Path) -> None:
    told, _ = with_readings(attempt(tmp_path, None), RESULT, 60.0)
    assert [one["joules"] for one in told["readings"]] == [5.0, None, None]
    assert all("clock_offset_unsure" in one["flags"] for one in told["readings"][1:])


def test_a_device_without_meters_beside_it_has_none(tmp_path: Path) -> None:
    with meters_beside(DEVICE, tmp_path):
        pass
    assert with_readings(tmp_path, RESULT, 60.0) == (RESULT, {"clock": None, "wall_clock": None, "absent": {}})
    (tmp_path / FACTS).unlink()
    assert with_readings(tmp_path, RESULT, 60.0) == (RESULT, None)


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        ({}, []),
        ({"wall_meter": {"shelly": "http://10.0.0.2"}}, ["shelly"]),
        ({"transport": "adb", "serial": "x"}, ["auto"]),
        ({"transport": "adb", "serial": "x", "virtual": {}, "meters": ["estimate"]}, []),
        ({"transport": "ssh", "meters": ["rapl"]}, []),
    ],
)
def test_which_meters_are_read_here(entry: dict[str, Any], names: list[str]) -> None:
    assert host_meters({**DEVICE, **entry})[0] == names


def test_a_wall_meter_that_is_away_is_told_before_the_run(tmp_path: Path) -> None:
    device = {**DEVICE, "wall_meter": {"shelly": "http://127.0.0.1:9", "id": 0, "accuracy_percent": 5.0}}
    with pytest.raises(DeviceTrouble, match=r"shelly.*127\.0\.0\.1:9"), meters_beside(device, tmp_path):
        pass


@pytest.fixture
def adb_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An adb client that finds no server starts one, which would outlive the test: here one of its own, that does not."""
    monkeypatch.setenv("ADB_SERVER_SOCKET", f"tcp:{peers.free_port()}")
    yield
    subprocess.run(["adb", "kill-server"], check=True, capture_output=True, timeout=60)


@pytest.mark.usefixtures("adb_server")
def test_the_probe_tells_of_the_meters_beside_a_device() -> None:
    dead = {"shelly": "http://127.0.0.1:9", "id": 0, "accuracy_percent": 5.0}
    [told] = probe_beside({**DEVICE, "wall_meter": dead})
    assert (told["meter"], told["present"], told["runs_on"]) == ("shelly", False, "host")
    phone = {**DEVICE, "transport": "adb", "serial": "nobody:1"}
    assert [one["meter"] for one in probe_beside(phone)] == ["android", "odpm"]
    assert probe_beside(DEVICE) == []
