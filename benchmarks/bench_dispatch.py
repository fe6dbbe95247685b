"""Sixteen devices dispatched at once by the workflow, against sixteen bare `ssh` commands: host memory, and time to start.

Real sshd, real Snakemake. Each device's trainer only notes when it was started and waits, so that what is measured is the
host. Memory is the proportional set size of the workflow and everything under it; what runs in sshd is the devices'.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
import peers  # noqa: E402 - the tests' real sshd

DEVICES = 16
HOLD_S = 20
CONFIG = {
    "name": "dispatch",
    "workloads": {
        "tiny": {
            "model": "edgecarbon/tiny-opt", "batch_size": 2, "sequence_length": 32, "steps": 3, "warmup_steps": 1,
            "data": {"tokenizer": "byte-level"},
        }
    },
    "reference_devices": ["rtx-a5000-bf16"],
    "repeats": 1,
}  # fmt: skip


def tree_bytes(pid):
    """Proportional set size of a process and everything under it, by the program's name."""
    found = {}
    try:
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            name = "snakemake" if process.pid == pid else process.name()
            found[name] = found.get(name, 0) + process.memory_full_info().pss
    except psutil.NoSuchProcess:
        pass
    return found


def watch(process, marks, began):
    """Until every device has started, and a little longer: the highest memory, and when the last one started."""
    highest, started_s = {}, None
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        used = tree_bytes(process.pid)
        if sum(used.values()) > sum(highest.values()):
            highest = used
        if started_s is None and len(list(marks.iterdir())) == DEVICES:
            started_s = max(path.stat().st_mtime for path in marks.iterdir()) - began
            end = time.monotonic() + 5
        time.sleep(0.2)
    return highest, started_s


def masters_bytes():
    """The shared connections leave the tree of whoever opened them; they are the host's all the same."""
    total = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "edgecarbon-ssh" in "".join(process.cmdline()[:1]):
                total += process.memory_full_info().pss
    return total


def trainer(marks, index):
    return ["sh", "-c", f"touch {marks}/{index}; sleep {HOLD_S}"]


def dispatched(folder):
    checkout, marks = folder / "checkout", folder / "marks"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(".git", ".venv", ".cache", "results", ".snakemake"))
    marks.mkdir()
    devices = {
        f"device-{index}": {
            "transport": "ssh", "host": f"peer-{index}", "ssh_config": str(folder / "ssh_config"), "meters": ["estimate"],
            "directory": f"{folder}/devices/{index}", "command": trainer(marks, index),
            "carbon": {"role": "edge", "embodied": "generic-computer"},
        }
        for index in range(DEVICES)
    }  # fmt: skip
    (checkout / "config/devices.yaml").write_text(yaml.safe_dump({"devices": devices}))
    (checkout / "config/config.yaml").write_text(yaml.safe_dump({**CONFIG, "devices": list(devices)}))
    snakemake = [sys.executable, "-m", "snakemake", "--cores", str(DEVICES)]
    subprocess.run(
        [*snakemake, "results/tokens/tiny.bin", "results/payload.pyz"], cwd=checkout, capture_output=True, check=True
    )
    records = [f"results/runs/tiny/{name}/r1/record.json" for name in devices]
    began = time.time()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*snakemake, *records], cwd=checkout, stdout=log, stderr=log)
    memory, started_s = watch(process, marks, began)
    memory["shared connections"] = masters_bytes()
    if started_s is None:
        sys.exit((folder / "log").read_text()[-3000:])
    process.wait()
    return memory, started_s


def bare(folder):
    marks = folder / "bare"
    marks.mkdir()
    commands = " ".join(
        f"ssh -F {folder}/ssh_config peer-{index} 'touch {marks}/{index}; sleep {HOLD_S}' &" for index in range(DEVICES)
    )
    began = time.time()
    process = subprocess.Popen(["sh", "-c", f"{commands} wait"], stdin=subprocess.DEVNULL)
    memory, started_s = watch(process, marks, began)
    process.wait()
    return memory, started_s


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        # An sshd each, with a temporary folder of its own, as sixteen machines would have.
        sshds = [stack.enter_context(peers.sshd(folder / f"sshd-{index}")) for index in range(DEVICES)]
        entries = [one.config.read_text().replace("Host peer", f"Host peer-{index}") for index, one in enumerate(sshds)]
        (folder / "ssh_config").write_text("".join(entries))
        figures = {"ssh": bare(folder), "edgecarbon": dispatched(folder)}
    for what, (memory, started_s) in figures.items():
        parts = ", ".join(
            f"{name} {used / 1e6:.0f}" for name, used in sorted(memory.items(), key=lambda item: -item[1])
        )
        total = sum(memory.values()) / 1e6
        print(f"{what:12} {total:6.0f} MB of host memory ({parts}), last of {DEVICES} started after {started_s:.1f} s")
    total = {what: sum(memory.values()) for what, (memory, _) in figures.items()}
    print(
        f"ratios: memory {total['edgecarbon'] / total['ssh']:.1f}×, start {figures['edgecarbon'][1] / figures['ssh'][1]:.1f}×"
    )
    arguments.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
