"""`validate_meters` on this machine, beside a wall meter that is a real HTTP server with a known power."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import duckdb
import pytest

WATTS = 40.0


class Shelly(BaseHTTPRequestHandler):
    """Answers as a plug of the second generation does: 40 W, and the energy since it was switched on."""

    began_s = time.monotonic()

    def do_GET(self):
        watt_hours = 1234.5 + WATTS * (time.monotonic() - self.began_s) / 3600
        answer = {
            "id": 0, "source": "init", "output": True, "apower": WATTS, "voltage": 230.1, "current": 0.174,
            "aenergy": {"total": round(watt_hours, 3), "by_minute": [0.0, 0.0, 0.0], "minute_ts": int(time.time())},
            "temperature": {"tC": 41.2, "tF": 106.2},
        }  # fmt: skip
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def plug():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shelly)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_meters_are_held_against_a_wall_meter(fresh, plug):
    def add_plug(data):
        data["devices"]["local"]["wall_meter"] = {"shelly": plug, "accuracy_percent": 1.0}

    fresh.write_config(add_plug, "config/devices.yaml")
    short = {"repeats": 1, "reference_devices": [], "validation": {"window_s": 3.0, "settle_s": 0.2}}
    fresh.write_config(lambda data: data.update(short))
    finished = fresh.run("validate_meters")
    assert finished.returncode == 0, finished.output
    assert "local: beside shelly/wall/energy" in finished.output

    record = json.loads((fresh.path / "results/validation/local/record.json").read_text())
    assert [window["name"] for window in record["result"]["windows"]] == [
        "idle_before",
        "load_50",
        "load_100",
        "idle_after",
    ]
    told = {(one["window"], one["channel"]): one for one in record["result"]["readings"]}
    lasted_s = {window["name"]: window["end_s"] - window["start_s"] for window in record["result"]["windows"]}
    for name in ("load_50", "load_100"):
        wall = told[name, "shelly/wall/energy"]
        assert lasted_s[name] == pytest.approx(3, abs=1.5)
        assert abs(wall["joules"] - lasted_s[name] * WATTS) < 3 * wall["uncertainty_joules"]
    watts = {name: told[name, "estimate/cpu/energy"]["joules"] / lasted_s[name] for name in ("load_50", "load_100")}
    [busiest] = (one["max_watts"] for one in record["result"]["channels"] if one["id"] == "estimate/cpu/energy")
    # Where other work fills the machine, half a load is as good as a whole one.
    assert watts["load_50"] < watts["load_100"] or watts["load_50"] > 0.95 * busiest
    # Two processes of one machine, whose clocks are one.
    assert abs(record["beside"]["clock"]["uncertainty_s"]) < 0.05

    assert "rule validate_device" not in fresh.run("validate_meters").output  # kept with the device
    # A run beside the same plug, and the table in the database; the report's tables have tests of their own.
    fresh.run_well("results/edgecarbon.duckdb")
    with duckdb.connect(str(fresh.path / "results/edgecarbon.duckdb"), read_only=True) as database:
        whole = database.execute(
            "SELECT count(*) FROM meter_validation WHERE reference = 'shelly/wall/energy'"
        ).fetchone()
        headline = database.execute("SELECT boundary, provenance FROM runs WHERE device = 'local'").fetchall()
        sampled = database.execute("SELECT count(*) FROM samples WHERE channel = 'shelly/wall/power'").fetchone()
    # Of each of four windows: the estimate's counter, and the plug's own power.
    assert whole == (8,)
    assert headline == [("wall", "measured")]
    assert sampled[0] > 0
    [attempt] = fresh.attempts()
    assert (attempt / "host_samples.jsonl.gz").exists()
