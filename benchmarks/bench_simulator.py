"""The simulator against a fleet of virtual hosts: predicted and measured step time and bytes.

What the simulator is told comes from lone stages: seconds of their passes, and of what follows them, on one host while the
others rest; how much two lone stages at once slow each other; what TLS costs in one process. That the hosts share this
machine's cores, and what their links carry, it is told as well. It never sees a fleet's step.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import tempfile
import threading
import time
from itertools import groupby
from pathlib import Path

import psutil

from edgecarbon.fleet.model import Machine, ModelShape, even_network
from edgecarbon.fleet.simulate import simulate
from edgecarbon.worker.pipeline.mesh import Member, Mesh
from pipeline_members import FFN, VOCABULARY, Hosts, Setting, chosen, fleet_bench, options, others_cores

DELAY_S = 1e-4
BURST_S, LEAST_BURST = 0.01, 64_000
"""What the limits of virtual hosts let through at once: seconds of their rate, and bytes at least."""
HOSTS = 4
REAL = {"optimizer": True}
SETTINGS = [
    Setting("2 stages, fp32", (4, 4), 8, width=256, order="1f1b", **REAL),
    Setting("2 stages, unequal, gpipe", (5, 3), 8, width=256, order="gpipe", **REAL),
    Setting("3 stages, unequal, eager", (3, 1, 2), 8, width=256, order="eager-1f1b", **REAL),
    Setting("3 stages, fp16, 16 parts", (2, 2, 2), 16, width=256, boundary="fp16", order="1f1b", **REAL),
    Setting("4 stages, 4 parts", (2, 2, 2, 2), 4, width=256, order="1f1b", **REAL),
    Setting("4 stages, int8, gpipe", (2, 2, 2, 2), 8, width=256, boundary="int8", order="gpipe", **REAL),
    Setting("4 stages, unequal, 16 parts", (1, 3, 2, 2), 16, width=256, order="gpipe", **REAL),
    Setting("4 stages, tied", (2, 2, 2, 2), 8, width=256, tied=True, order="eager-1f1b", **REAL),
    Setting("2 × 2 replicas, fp32", (3, 3), 4, width=256, replicas=2, order="1f1b", **REAL),
    Setting("2 × 2 replicas, tied, fp16", (4, 2), 8, width=256, replicas=2, tied=True, boundary="fp16", **REAL),
    Setting("4 stages, wide", (2, 2, 2, 2), 8, width=512, order="1f1b", **REAL),
    Setting("5 MB/s, 2 stages, fp16", (4, 4), 8, width=256, boundary="fp16", order="1f1b", mbyte_per_s=5, **REAL),
    Setting("5 MB/s, 3 stages, unequal", (1, 3, 2), 8, width=256, order="gpipe", mbyte_per_s=5, **REAL),
    Setting("5 MB/s, 4 stages, int8", (2, 2, 2, 2), 16, width=256, boundary="int8", order="1f1b", mbyte_per_s=5, **REAL),
]  # fmt: skip


def transport_costs(folder: Path) -> tuple[float, float]:
    """Processor seconds at one end of a TLS link, a message and a byte: from two members in this process.

    They wait for each message before the next, as a pipeline's neighbours do.
    """
    run, ports = "00112233445566ff", fleet_bench.free_ports(2)
    fleet_bench.write_identities(folder, run, 2)
    members = [Member(str(rank), "127.0.0.1", port) for rank, port in enumerate(ports)]
    meshes = [
        Mesh(rank, members, {0, 1}, run, folder / f"identity-{rank}.pem", folder / "authority.pem", 30.0)
        for rank in (0, 1)
    ]
    joining = threading.Thread(target=meshes[0].join, args=(30.0,))
    joining.start()
    meshes[1].join(30.0)
    joining.join()
    spent = {size: _spent_s(meshes, size, 200) for size in (1_000, 1_000_000)}
    for mesh in meshes:
        mesh.close(orderly=True)
    per_byte_s = (spent[1_000_000] - spent[1_000]) / 999_000
    return spent[1_000], per_byte_s


def _spent_s(meshes: list[Mesh], size: int, count: int) -> float:
    """Processor seconds of a message of `size` bytes at one end."""
    began_s = time.process_time()
    for index in range(count):
        key = (size << 16) | index
        room = meshes[1].receive(0, key, memoryview(bytearray(size)))
        meshes[0].send(1, key, memoryview(bytearray(size)))
        meshes[1].wait(room)
    return (time.process_time() - began_s) / (2 * count)


def predicted(setting: Setting, costs, slowdown: float, transport: tuple[float, float]) -> dict:
    shape = ModelShape(
        sum(setting.layers), setting.width, FFN * setting.width, VOCABULARY, setting.length + 2, setting.length,
        setting.tied,
    )  # fmt: skip
    step = simulate(
        shape, [Machine(f"host-{index}", 1.0) for index in range(setting.hosts)],
        even_network(setting.hosts, setting.mbyte_per_s * 1e6, DELAY_S), setting.plan(), costs=costs,
        shared_cores=psutil.cpu_count(logical=False), core_slowdown=slowdown, transport_s=transport,
        delay_blocks=False,
        burst_bytes=max(LEAST_BURST, BURST_S * setting.mbyte_per_s * 1e6), clipped=setting.optimizer, keep_spans=False,
    )  # fmt: skip
    return {"step_s": step.step_s, "sent_bytes": sum(one.sent_bytes for one in step.machines)}


def compared(running, setting: Setting, transport: tuple[float, float], rounds: int, steps: int) -> dict:
    """Calibration and measurement in turn, so that a change of the machine's pace meets both."""
    told, found, others = [], [], []
    for _ in range(rounds):
        slowdown = running.slowdown(setting, steps)
        told.append(
            {**predicted(setting, running.calibrate(setting, steps), slowdown, transport), "slowdown": slowdown}
        )
        others.append(others_cores())
        found.append(running.measure(setting, "fleet", steps))
    told_s = statistics.median(one["step_s"] for one in told)
    found_s = statistics.median(value for one in found for value in one["steps_s"])
    told_bytes, found_bytes = told[0]["sent_bytes"], found[0]["sent_bytes"]
    return {
        "setting": setting.name, "predicted_s": told_s, "measured_s": found_s, "difference": told_s / found_s - 1,
        "predicted_bytes": told_bytes, "measured_bytes": found_bytes, "bytes_difference": told_bytes / found_bytes - 1,
        "others_cores": max(others), "predictions": told, "measurements": found,
    }  # fmt: skip


def printed(row: dict) -> str:
    return (
        f"{row['setting']:30}{row['predicted_s']:10.3f}{row['measured_s']:10.3f}{row['difference']:+9.1%}"
        f"{row['predicted_bytes'] / 1e6:12.3f}{row['measured_bytes'] / 1e6:12.3f}{row['bytes_difference']:+9.2%}"
        f"{row['others_cores']:9.1f}{statistics.median(one['slowdown'] for one in row['predictions']):10.2f}"
    )


def main():
    arguments = options(__doc__, rounds=3, steps=3)
    print("a step: seconds, and MB that all members send together; cores that other work kept busy")
    print(
        f"{'':30}{'predicted':>10}{'measured':>10}{'':9}{'predicted':>12}{'measured':>12}{'':9}{'others':>9}{'slowdown':>10}"
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        transport = transport_costs(Path(folder))
        print(f"transport at each end: {transport[0] * 1e3:.2f} ms a message, {transport[1] * 1e9:.2f} ms a MB")
        for rate, settings in groupby(chosen(SETTINGS, arguments.only), key=lambda one: one.mbyte_per_s):
            with Hosts(HOSTS, rate) as running:
                for setting in settings:
                    rows.append(compared(running, setting, transport, arguments.rounds, arguments.steps))
                    print(printed(rows[-1]), flush=True)
    for within in (0.10, 0.08):
        near = [sum(abs(row[name]) <= within for row in rows) for name in ("difference", "bytes_difference")]
        print(f"within {within:.0%}: {near[0]} of {len(rows)} step times, {near[1]} of {len(rows)} byte counts")
    if arguments.out:
        arguments.out.write_text(json.dumps({"settings": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
