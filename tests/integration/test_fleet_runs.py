"""Fleets' runs on virtual hosts, through dispatch: what comes back, and how a run ends when a member is taken away."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest

import fleet_bench
import peers
from fleet_bench import Stand

HOSTS = {name: {"cpu_percent": 100, "up_mbyte_per_s": 10, "down_mbyte_per_s": 10} for name in ("ada", "bob", "cyd")}
PLACEMENT = {"grid": [["ada", "bob", "cyd"]], "layers": [3, 1, 2], "micro_batches": 4, "order": "1f1b"}
SILENCE_S = 5.0
# Silence, the heartbeat's period, writing the results, and a slow machine that has two cores for three hosts.
ENDED_WITHIN_S = SILENCE_S + 30.0


@pytest.fixture(scope="module")
def stand(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("fleet")
        patch.chdir(folder)
        made = Stand(folder, HOSTS)
        yield made
        made.stop()


def members_of(stand: Stand) -> dict[str, psutil.Process]:
    """The worker of each host."""
    found = {}
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(word.endswith("payload.pyz") for word in words) and "run" in words:
            try:
                place = Path(process.cwd())
            except psutil.Error:
                continue
            if stand.folder in place.parents:
                found[place.relative_to(stand.folder / ".fleet").parts[0]] = process
    return found


def test_a_run_is_whole_and_its_bytes_agree_at_both_ends(stand):
    order = stand.order(PLACEMENT, training={"steps": 3}, run="whole")
    record = stand.measure(order, fleet_bench.OPT)
    assert record["provenance"] == "measured"
    assert [member["name"] for member in record["members"]] == ["ada", "bob", "cyd"]
    parts = {member["name"]: member["result"]["fleet"] for member in record["members"]}
    assert [part["layers"] for part in parts.values()] == [3, 1, 2]
    for name, part in parts.items():
        for peer, moved in part["peers"].items():
            assert moved["sent_bytes"] == parts[peer]["peers"][name]["received_bytes"]
        assert part["busy_s"] > 0
        assert abs(part["clock_offset_s"]) <= part["clock_uncertainty_s"] + 1e-3  # one machine, one clock
        kinds = {row[0] for row in part["last_step"]["spans"]}
        assert {"forward", "backward", "optimizer"} <= kinds
    # Keys are on neither end afterwards, and in no record.
    text = (stand.folder / "whole" / "record.json").read_text()
    assert "PRIVATE KEY" not in text
    assert not list(stand.folder.rglob("*.pem"))
    readings = [m["result"]["readings"] for m in record["members"]]
    assert all(any(r["window"] == "train" and r["joules"] > 0 for r in rows) for rows in readings)


def test_the_network_is_measured(stand):
    good = {}
    for number in range(
        4
    ):  # what else the machine does disturbs a measurement, of which one of each link is to be good
        links = _links(stand, f"network-{number}")
        assert len(links) == 6
        good |= {
            ends: link
            for ends, link in links.items()
            if 7e6 < link["bytes_per_s"] < 11e6 and 0 < link["delay_s"] < 0.05
        }
        if len(good) == 6:
            break
    assert set(good) == set(links)


def _links(stand: Stand, run: str) -> dict[tuple[str, str], dict[str, float]]:
    record = stand.measure(stand.order(None, run=run), fleet_bench.OPT)
    return {(m["name"], link["to"]): link for m in record["members"] for link in m["result"]["fleet"]["links"]}


def take_away(process: psutil.Process, how: str) -> None:
    if how == "cut off":
        _network_of(f"/proc/{process.pid}/ns/net", "down")
    else:
        process.send_signal({"killed": signal.SIGKILL, "stopped": signal.SIGSTOP}[how])


def _network_of(namespace: str, state: str) -> None:
    words = ["nsenter", f"--net={namespace}", "ip", "link", "set", "eth0", state]
    subprocess.run(
        words, check=True, capture_output=True, pass_fds=[int(namespace.rsplit("/", 1)[1])] if "fd" in namespace else []
    )


# A stopped process keeps its connections, and a cut-off one its life: two ways of silence, and one of none.
CASES = [("stopped", "gloo"), ("cut off", "tls"), ("killed", "tls")]


@pytest.mark.parametrize(("how", "link"), CASES)
def test_a_member_taken_away_ends_the_run_and_is_named(stand, how, link):
    name = f"{how}-{link}".replace(" ", "-")
    order = stand.order(PLACEMENT, training={"steps": 100_000, "threads": 1}, run=name, silence_s=SILENCE_S, link=link)
    found = {}
    running = threading.Thread(target=lambda: found.update(stand.measure(order, fleet_bench.OPT)))
    running.start()
    give_up = time.monotonic() + 240
    while len(workers := members_of(stand)) < 3 or not _training(stand, name):
        assert time.monotonic() < give_up
        time.sleep(0.2)
    time.sleep(1.0)
    with open(f"/proc/{workers['cyd'].pid}/ns/net") as network:
        began = time.monotonic()
        try:
            take_away(workers["cyd"], how)
            _, alive = psutil.wait_procs([workers["ada"], workers["bob"]], timeout=ENDED_WITHIN_S)
            assert not alive, f"still there after {ENDED_WITHIN_S} s"
            print(f"{how}, {link}: the others ended after {time.monotonic() - began:.1f} s")
            running.join(ENDED_WITHIN_S + 40)
            assert not running.is_alive()
        finally:
            if how == "cut off":
                _network_of(f"/proc/self/fd/{network.fileno()}", "up")
    assert found["provenance"] == "absent"
    assert found["missing"]["reason"].startswith("cyd: "), found["missing"]["reason"]
    assert "cyd is lost" in found["missing"]["reason"]
    peers.wait_for(lambda: not members_of(stand), "the members to be gone")
    kept = sorted((stand.folder / name / "attempts").glob("*/*/result.json"))
    assert {path.parent.name for path in kept} >= {"ada", "bob"}  # what was measured so far is kept


def _training(stand: Stand, name: str) -> bool:
    texts = [path.read_text() for path in (stand.folder / name / "attempts").glob("*/*/progress.jsonl")]
    return len(texts) == 3 and all('"phase": "train"' in text for text in texts)
