"""A local, an SSH and an ADB device in one experiment, with a real sshd and a real adbd; and what becomes of one that is away."""

from __future__ import annotations

import json
import subprocess
import sys

import duckdb
import pytest
import yaml

# Here all devices are one machine, and take turns on it.
LIMITS = {"wait_s": 60.0, "silence_s": 6.0}
AT_ONCE = {**LIMITS, "wait_s": 0.0}
DATABASE = "results/edgecarbon.duckdb"
REPORT = "results/report.html"
CARBON = {"role": "edge", "embodied": "generic-computer"}


def fleet(sshd, adbd, home):
    """Entries of the devices file, as a user would write them for these peers."""
    common = {"python": sys.executable, "meters": ["estimate"], "limits": LIMITS, "carbon": CARBON}
    return {
        "local": {"transport": "local", "carbon": CARBON},
        "laptop": {
            **common,
            "transport": "ssh",
            "host": "peer",
            "ssh_config": str(sshd.config),
            "directory": f"{home}/laptop",
        },
        "phone": {**common, "transport": "adb", "serial": adbd.serial, "shell": "plain", "directory": f"{home}/phone"},
    }


@pytest.fixture
def three(fresh, sshd, adbd, tmp_path):
    """A checkout with three devices, none measured yet."""
    fresh.environment |= adbd.environment
    fresh.devices = fleet(sshd, adbd, tmp_path / "devices")
    use(fresh, list(fresh.devices))
    return fresh


def use(checkout, names):
    (checkout.path / "config/devices.yaml").write_text(yaml.safe_dump({"devices": checkout.devices}))
    checkout.write_config(lambda config: config.update(devices=names))


def rows(checkout, query):
    with duckdb.connect(str(checkout.path / "results/edgecarbon.duckdb"), read_only=True) as database:
        return database.execute(query).fetchall()


def test_the_whole_graph_to_the_report(three):
    jobs = three.run_well()
    assert jobs["measure"] == 6
    found = rows(three, "SELECT device, count(*) FROM runs WHERE record_kind = 'measured' GROUP BY ALL ORDER BY ALL")
    assert found == [("laptop", 2), ("local", 2), ("phone", 2)]
    assert rows(three, "SELECT * FROM missing_runs") == []
    page = (three.path / "results/report.html").read_text()
    assert all(name in page for name in ("laptop", "phone", "local"))
    assert "Not all that was asked for" not in page
    assert three.run_well() == {}
    for name in ("laptop", "phone"):
        assert list((three.path.parent / "devices" / name / "attempts").iterdir()) == []
    # Where a device is reached does not decide what it measures.
    three.devices["laptop"]["limits"] = {"wait_s": 2.0}
    use(three, ["local", "laptop", "phone"])
    assert three.run_well() == {}


def test_a_device_that_is_away_is_reported_and_measured_when_it_is_back(three):
    there = three.devices["phone"]
    three.devices["phone"] = {**there, "serial": "nobody", "limits": AT_ONCE}
    three.devices["laptop"]["limits"] = {**AT_ONCE, "disk_floor_mbyte": 1e9}
    use(three, ["local", "laptop", "phone"])
    finished = three.run(REPORT)
    assert finished.returncode == 0, finished.output
    assert "4 of 8 runs are MISSING" in finished.output
    assert "tiny/phone/r1 (unreachable): nobody: " in finished.output
    assert "limits.disk_floor_mbyte" in finished.output
    assert sorted(rows(three, "SELECT device, kind, count(*) FROM missing_runs GROUP BY ALL")) == [
        ("laptop", "unfit", 2),
        ("phone", "unreachable", 2),
    ]
    page = (three.path / "results/report.html").read_text()
    assert "Not all that was asked for was measured." in page
    assert "not found" in page
    # Left out on request, and tried again otherwise.
    assert three.run("--config", "retry_missing=false", "--", REPORT).jobs["measure"] == 0
    three.devices["phone"] = there
    use(three, ["laptop", "phone"])
    again = three.run()
    assert again.jobs["measure"] == 4
    assert rows(three, "SELECT device, count(*) FROM missing_runs GROUP BY ALL") == [("laptop", 2)]
    assert rows(three, "SELECT count(*) FROM runs WHERE device = 'phone'") == [(2,)]


def test_nothing_measured_at_all_still_reaches_the_report(three):
    three.devices["phone"] |= {"serial": "nobody", "limits": AT_ONCE}
    use(three, ["phone"])
    three.write_config(lambda config: config.update(reference_devices=[]))
    finished = three.run()
    assert finished.returncode == 0, finished.output
    assert "2 of 2 runs are MISSING" in finished.output
    assert (three.path / "results/report.html").exists()


HOSTILE = {
    "wrong nonce": ("""r["nonce"] = "0" * 32""", "refused", "nonce: belongs to another run"),
    "not a number": ("""r["readings"][0]["joules"] = float("nan")""", "refused", "NaN is no number"),
    "negative time": ("""r["training"]["duration_s"] = -1.0""", "refused", "no time or no tokens"),
    "negative energy": ("""r["readings"][0]["joules"] = -5.0""", "refused", "is no energy"),
    "window upside down": ("""r["windows"][0]["end_s"] = -5.0""", "refused", "ends before it starts"),
    "a list": ("""r = [r]""", "refused", "schema: expected"),
    "deep": ("""out = "[" * 200000""", "refused", "not plain JSON"),
    "a pickle": ("""import pickle; out = pickle.dumps(r)""", "refused", "not plain JSON"),
    "fields gone": ("""del r["windows"]""", "refused", "a field is missing"),
    "words for numbers": ("""r["training"]["duration_s"] = "long" """, "refused", "of the wrong type"),
    "traversal": ("""r["run_id"] = "../../../../tmp/x" """, "refused", "run_id: belongs to another run"),
    "failed": (
        """r["status"] = "failed"; r["error"] = {"kind": "x\\x1b[2J", "message": ["\\n"]}""",
        "failed",
        "failed on the device",
    ),
    "hangs": ("""import time; time.sleep(600)""", "failed", "its deadline of 8 s had passed"),
}
TRAINER = """
import gzip, json, sys
spec = json.load(open(sys.argv[1]))
r = {good}
r.update(nonce=spec["nonce"], run_id=spec["run_id"])
out = None
{harm}
out = json.dumps(r) if out is None else out
open("result.json", "wb").write(out if isinstance(out, bytes) else out.encode())
open("steps.jsonl", "w").close()
gzip.open("samples.jsonl.gz", "w").write(b'{{"schema": "edgecarbon.samples/1", "channels": []}}\\n')
"""


def test_hostile_devices_are_refused_and_the_others_go_on(three):
    """Each device trains with something else, and hands back something that it should not."""
    three.write_config(lambda config: config.update(repeats=1))
    three.devices = {"laptop": three.devices["laptop"]}
    use(three, ["laptop"])
    three.run_well(DATABASE)
    (record,) = [json.loads(path.read_bytes()) for path in three.records() if "laptop" in str(path)]
    entry = three.devices["laptop"]
    for name, (harm, _, _) in HOSTILE.items():
        trainer = TRAINER.format(good=repr(record["result"]), harm=harm)
        program = three.path.parent / f"{name} \"$(program)'.py"
        program.write_text(trainer)
        command = [sys.executable, str(program), "{spec}"]
        own = {**entry, "directory": entry["directory"] + name.replace(" ", "-")}
        three.devices["evil-" + name.replace(" ", "-")] = {**own, "command": command}
    use(three, list(three.devices))
    # For the one that hangs, and only now: the real training above may take longer on a slow machine.
    three.write_config(lambda config: config.update(deadline_s=8.0))
    finished = three.run(DATABASE)
    assert finished.returncode == 0, finished.output
    assert finished.jobs["measure"] == len(HOSTILE)
    found = {
        device: (kind, reason) for device, kind, reason in rows(three, "SELECT device, kind, reason FROM missing_runs")
    }
    for name, (_, kind, words) in HOSTILE.items():
        assert found["evil-" + name.replace(" ", "-")][0] == kind, (name, found)
        assert words in found["evil-" + name.replace(" ", "-")][1]
    assert rows(three, "SELECT count(*) FROM runs WHERE record_kind = 'measured'") == [(1,)]
    assert "\x1b[2J" not in finished.output


def test_probe_and_setup_speak_of_every_device(three):
    three.devices["away"] = {**three.devices["phone"], "serial": "nobody"}
    use(three, ["local"])
    finished = subprocess.run(
        three.command("probe"), cwd=three.path, env=three.environment, capture_output=True, text=True, timeout=300
    )
    assert finished.returncode == 0, finished.stderr
    reports = {report["device"]: report for report in json.loads((three.path / "results/probe.json").read_text())}
    assert {name: report["reachable"] for name, report in reports.items()} == {
        "local": True, "laptop": True, "phone": True, "away": False,
    }  # fmt: skip
    for name in ("local", "laptop", "phone"):
        assert reports[name]["found"]["torch"].startswith("2.")
        assert abs(reports[name]["clock"]["offset_s"]) <= reports[name]["clock"]["uncertainty_s"] + 0.1
        assert reports[name]["condition"]["disk_free_bytes"] > 1e6
        assert any(meter["meter"] == "estimate" and meter["present"] for meter in reports[name]["found"]["meters"])
    lines = finished.stdout.splitlines()
    assert any(line.startswith("phone") and " adb " in line and " yes " in line for line in lines)
    assert any("away: nobody: " in line and "adb devices" in line for line in lines)


def test_a_bundle_travels_there_and_back(fresh, tmp_path):
    """A machine that cannot be reached: plain python runs the bundle there, and the result is put into the inbox."""
    fresh.devices = {"cluster": {"transport": "bundle", "meters": ["estimate"], "carbon": {**CARBON, "role": "cloud"}}}
    use(fresh, ["cluster"])
    first = fresh.run(DATABASE)
    assert first.returncode == 0, first.output
    assert rows(fresh, "SELECT kind, count(*) FROM missing_runs GROUP BY ALL") == [("waiting", 2)]
    bundles = sorted((fresh.path / "results/bundles/cluster").glob("*.zip"))
    assert len(bundles) == 2
    assert f"run `python3 {bundles[0].name}` there" in first.output
    # A second start asks for the same bundles again, and makes no others.
    fresh.run()
    assert sorted((fresh.path / "results/bundles/cluster").glob("*.zip")) == bundles

    there = tmp_path / "cluster node"
    there.mkdir()
    for bundle in bundles:
        (there / bundle.name).write_bytes(bundle.read_bytes())
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(there), "TMPDIR": str(there)}
        subprocess.run(
            [sys.executable, bundle.name], cwd=there, env=environment, check=True, capture_output=True, timeout=120
        )
    inbox = fresh.path / "inbox"
    inbox.mkdir()
    (inbox / "something else.zip").write_bytes(b"no zip at all")
    for result in there.glob("*.result.zip"):
        (inbox / result.name).write_bytes(result.read_bytes())
    last = fresh.run()
    assert last.returncode == 0, last.output
    assert rows(fresh, "SELECT device, count(*) FROM runs WHERE record_kind = 'measured' GROUP BY ALL") == [
        ("cluster", 2)
    ]
    assert rows(fresh, "SELECT * FROM missing_runs") == []
    assert list((fresh.path / "results/bundles/cluster").glob("*.zip")) == []
    assert fresh.run_well() == {}


@pytest.mark.timeout(1200)
def test_set_up_from_nothing_and_then_measure(three, tmp_path):
    """A device that has a bare python: `setup_device_NAME` installs what is needed, from wheels that the host sends."""
    laptop = {key: value for key, value in three.devices["laptop"].items() if key != "python"}
    # What the device's own index is does not matter here: the host fetches and sends.
    laptop |= {"python": None, "setup": {"source": "host"}}
    three.devices = {"laptop": laptop}
    use(three, ["laptop"])
    three.write_config(lambda config: config.update(repeats=1))
    before = three.run("probe")
    assert "torch cannot be imported" in before.output
    assert "snakemake --cores 1 setup_device_laptop" in before.output
    done = three.run("setup_device_laptop")
    assert done.returncode == 0, done.output
    assert "laptop: ready: torch 2." in done.output
    assert three.run_well()["measure"] == 1
    assert rows(three, "SELECT count(*) FROM runs WHERE device = 'laptop'") == [(1,)]
    (python,) = {path.resolve() for path in (tmp_path / "devices/laptop/venv/bin").glob("python3")}
    assert python.exists()
