"""A Shelly at the socket: the answers of a Switch that meters, one that does not, and a PM1, as the maker's API gives
them (the numbers are invented), from a trace and from a real HTTP server."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edgecarbon.meters.access import Access, Replayed
from edgecarbon.meters.base import MeterUnavailable, Options
from edgecarbon.meters.integrate import readings
from edgecarbon.meters.shelly import BACK_OFF_S, ShellyMeter, open_meter

FIXTURES = Path(__file__).parent / "meter_fixtures"
SWITCH, PM1, UNMETERED = (
    (FIXTURES / f"shelly_{name}.txt").read_text() for name in ("switch", "pm1", "switch_without_meter")
)
PLUG = "http://192.0.2.20"
SWITCH_URL, PM1_URL = (f"{PLUG}/rpc/{name}.GetStatus?id=0" for name in ("Switch", "PM1"))


def switch(watt_hours: Any) -> str:
    return json.dumps({**json.loads(SWITCH), "aenergy": {"total": watt_hours}})


def opened(*entries: tuple[float, str | None], url: str = SWITCH_URL) -> tuple[ShellyMeter, Replayed]:
    machine = Replayed([{"t_s": t_s, "get": url, "answer": answer} for t_s, answer in entries])
    return open_meter(Options(access=machine, wall={"shelly": f"{PLUG}/", "accuracy_percent": 5.0})), machine


def polled(meter: ShellyMeter, machine: Replayed, times: list[float]) -> list[list[float | None]]:
    rows = []
    for machine.now_s in times:
        rows.append(meter.read())
    return [list(column) for column in zip(*rows, strict=True)]


def test_a_switch_tells_energy_power_voltage_and_temperature() -> None:
    meter, _ = opened((0.0, SWITCH))
    assert dict(zip((one.quantity for one in meter.channels()), meter.read(), strict=True)) == {
        "energy": 1234.5 * 3600, "power": 42.5, "voltage": 230.3, "temperature": 43.3
    }  # fmt: skip
    energy, power, *others = meter.channels()
    assert (energy.boundary, energy.unit, energy.provenance) == ("wall", "J", "measured")
    assert energy.resolution == pytest.approx(3.6)
    assert energy.accuracy_relative == power.accuracy_relative == pytest.approx(0.05 / math.sqrt(3))
    assert {(one.boundary, one.accuracy_relative) for one in others} == {(None, None)}


def test_a_meter_without_a_switch() -> None:
    meter, _ = opened((0.0, PM1), url=PM1_URL)
    assert [one.quantity for one in meter.channels()] == ["energy", "power", "voltage"]
    assert meter.read() == [pytest.approx(18.015 * 3600), 4.1, 230.1]


def test_six_watt_hours_are_21600_joules() -> None:
    meter, machine = opened((0.0, switch(1234.5)), (120.0, switch(1237.5)), (240.0, switch(1240.5)))
    times = [float(t) for t in range(0, 241)]
    columns = polled(meter, machine, times)
    [energy, _] = readings(meter.channels(), times, columns, "run", 0.0, 240.0, sample_period_s=1.0)
    assert (energy["joules"], energy["boundary"]) == (pytest.approx(21_600), "wall")


def test_a_counter_that_was_reset_gives_no_joules() -> None:
    meter, machine = opened(*((float(t), switch(1234.5 + t / 10 if t < 60 else t / 10)) for t in range(121)))
    times = [float(t) for t in range(121)]
    columns = polled(meter, machine, times)
    [energy, _] = readings(meter.channels(), times, columns, "run", 0.0, 120.0, sample_period_s=1.0)
    assert energy["joules"] is None
    assert "reset" in energy["flags"]


@pytest.mark.parametrize(
    "answer",
    [
        None, "", "<html><body>401 Unauthorized</body></html>", SWITCH[:60], "[1]", "null", '{"aenergy":3}',
        switch(None), switch("12"), switch(True), switch(-1), switch(10**400), '{"aenergy":{"total":NaN}}', "[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_answer_is_none_until_the_next_good_one(answer: str | None) -> None:
    meter, machine = opened((0.0, SWITCH), (10.0, answer), (30.0, switch(1235.0)))
    machine.now_s = 9.0
    assert meter.read()[0] == 1234.5 * 3600
    machine.now_s = 12.0
    assert meter.read()[0] is None
    machine.now_s = 40.0
    assert meter.read()[0] == 1235.0 * 3600


def test_a_poll_is_made_once_a_second_and_later_after_a_failed_one() -> None:
    class Plug(Access):
        def __init__(self) -> None:
            super().__init__()
            self.now_s, self.asked, self.answer = 0.0, 0, SWITCH

        def monotonic(self) -> float:
            return self.now_s

        def get(self, url: str, timeout_s: float = 5.0) -> str | None:
            self.asked += 1
            return self.answer

    plug = Plug()
    meter = open_meter(Options(access=plug, wall={"shelly": PLUG}))
    for tenth in range(100):
        plug.now_s = tenth / 10
        meter.read()
    assert plug.asked == 10
    plug.asked, plug.answer = 0, ""
    for tenth in range(100, 100 + round(10 * 2 * BACK_OFF_S)):
        plug.now_s = tenth / 10
        assert meter.read()[0] is None
    assert plug.asked == 2


@pytest.mark.parametrize(
    ("wall", "answers", "why"),
    [
        (None, {}, "no wall meter is named"),
        ({"shelly": PLUG}, {}, f"{PLUG} does not answer .* within 2 s: open that address .* authentication off"),
        ({"shelly": PLUG}, {SWITCH_URL: "<html>"}, "does not answer"),
        ({"shelly": PLUG}, {SWITCH_URL: UNMETERED}, "switches and does not meter; give the `id`"),
        ({"shelly": PLUG, "id": 1}, {SWITCH_URL: SWITCH}, r"id=1"),
    ],
)
def test_why_it_is_not_there(wall: dict[str, Any] | None, answers: dict[str, str], why: str) -> None:
    machine = Replayed([{"t_s": 0.0, "get": url, "answer": text} for url, text in answers.items()])
    with pytest.raises(MeterUnavailable, match=why):
        open_meter(Options(access=machine, wall=wall))


@pytest.fixture
def plug() -> Iterator[Any]:
    """A real server; `mode` is how it behaves."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            mode = self.server.mode  # type: ignore[attr-defined]
            if mode == "password" or not self.path.startswith("/rpc/Switch.GetStatus?id=0"):
                self.send_error(401 if mode == "password" else 404)
                return
            if mode == "nonsense":
                self.wfile.write(b"\0\1\2 not http\r\n\r\n")
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(SWITCH)))
            self.end_headers()
            for character in SWITCH if mode == "drip" else [SWITCH]:
                try:
                    self.wfile.write(character.encode())
                except OSError:
                    return
                if mode == "drip":
                    time.sleep(0.05)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.mode = "good"  # type: ignore[attr-defined]
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def test_over_real_http(plug: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    url = f"http://127.0.0.1:{plug.server_port}"
    assert open_meter(Options(wall={"shelly": url})).read()[:2] == [1234.5 * 3600, 42.5]
    for plug.mode in ("password", "nonsense"):
        with pytest.raises(MeterUnavailable, match="does not answer"):
            open_meter(Options(wall={"shelly": url}))


def test_a_server_that_hardly_answers_is_not_waited_for(plug: Any) -> None:
    plug.mode = "drip"
    started_s = time.monotonic()
    assert Access().get(f"http://127.0.0.1:{plug.server_port}/rpc/Switch.GetStatus?id=0", 0.2) is None
    assert time.monotonic() - started_s < len(SWITCH) * 0.05 / 2
