"""Pipelines over slow links: edgecarbon's engine beside torch.distributed.pipelining, and beside what overlap can reach.

Four virtual hosts, each with a network of its own at 10 MB/s each way; the same stages, micro-batches and links for both,
passes only. Where compute is slept, the hosts do not compete for this machine's cores, as real devices would not; where it
is real, they do, and the bound counts that. A host's link lets 10 ms of its rate through at once after a rest, so that short
messages may beat the bound by a few percent.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import tempfile
from dataclasses import replace

import psutil

from edgecarbon.fleet.model import WIRE_OVERHEAD
from edgecarbon.fleet.simulate import closed_form_step_s, transfer_s
from edgecarbon.worker.pipeline.schedule import ORDERS
from pipeline_members import Hosts, Setting, chosen, options, others_cores

MBYTE_PER_S = 10.0
HOSTS = 4
EMULATED_WIDTH = 500


def emulated_setting(micro_batches: int, activation_bytes: int, forward_s: float, backward_s: float) -> Setting:
    """Four stages that sleep instead of computing, so that few cores bear as many hosts as one likes."""
    name = f"slept: {micro_batches} × {activation_bytes / 1e6:g} MB, {1e3 * forward_s:g}/{1e3 * backward_s:g} ms"
    length = activation_bytes // (4 * EMULATED_WIDTH)
    sizes = {"width": EMULATED_WIDTH, "length": length}
    return Setting(name, (1, 1, 1, 1), micro_batches, emulated=(forward_s, backward_s), **sizes)


SETTINGS = [
    emulated_setting(8, 500_000, 0.050, 0.100),
    emulated_setting(8, 1_000_000, 0.050, 0.100),
    emulated_setting(16, 500_000, 0.100, 0.100),
    emulated_setting(8, 2_000_000, 0.020, 0.040),
    Setting("OPT 512 wide, 8 × 256 tokens", width=512),
    Setting("OPT 384 wide, 16 × 256 tokens", width=384, micro_batches=16),
    Setting("OPT 256 wide, 16 × 256 tokens", width=256, micro_batches=16),
    Setting("OPT 256 wide, 8 × 4 × 128 tokens", width=256, length=128, sequences=4),
]
OURS = [f"{order}, {link}" for order in ORDERS for link in ("tls", "gloo")]
TORCH = ["torch gpipe", "torch 1f1b"]


def variant(setting: Setting, name: str) -> tuple[Setting, str]:
    """That setting in the way of `name`, and whose engine runs it."""
    if name in TORCH:
        return replace(setting, order=name.split()[1]), "torch"
    order, link = name.split(", ")
    return replace(setting, order=order, link=link), "fleet"


def bound_s(setting: Setting, costs) -> float:
    """What nothing can beat: full overlap of compute and links, and all compute on the cores that there are."""
    link_s = transfer_s(setting.activation_bytes, MBYTE_PER_S * 1e6, 0.0, WIRE_OVERHEAD)
    forward_s, backward_s = (
        statistics.mean(getattr(one, name) for one in costs) for name in ("forward_s", "backward_s")
    )
    overlapped_s = closed_form_step_s(len(costs), setting.micro_batches, forward_s, backward_s, link_s)
    if setting.emulated:
        return overlapped_s
    work_s = setting.micro_batches * len(costs) * (forward_s + backward_s)
    return max(overlapped_s, work_s / (psutil.cpu_count(logical=False) or 1))


def measured(running, setting: Setting, rounds: int, steps: int) -> dict:
    costs = running.calibrate(setting, steps)
    others = []
    steps_s = {name: [] for name in (*OURS, *TORCH)}
    for _ in range(rounds):
        others.append(others_cores())
        for name, values in steps_s.items():
            values += running.measure(*variant(setting, name), steps)["steps_s"]
    medians = {name: statistics.median(values) for name, values in steps_s.items()}
    best, fastest = min(OURS, key=medians.get), min(TORCH, key=medians.get)
    return {
        "setting": setting.name, "bound_s": bound_s(setting, costs), "median_s": medians, "steps_s": steps_s,
        "others_cores": max(others), "best": best, "best_over_bound": medians[best] / bound_s(setting, costs),
        "torch_over_ours": {name: medians[name] / medians[best] for name in TORCH},
        "fastest_torch_over_ours": medians[fastest] / medians[best],
    }  # fmt: skip


def printed(row: dict) -> str:
    medians, ratios = row["median_s"], row["torch_over_ours"]
    figures = "".join(f"{medians[name]:13.2f}" for name in (*OURS, *TORCH))
    return (
        f"{row['setting']:34}{row['bound_s']:7.2f}{figures}  {row['best']:17}{row['best_over_bound']:7.2f}"
        + "".join(f"{ratios[name]:12.2f}" for name in TORCH)
        + f"{row['others_cores']:8.1f}"
    )


def main():
    arguments = options(__doc__, rounds=3, steps=3)
    rows = []
    print(
        "seconds a step, medians; ratios are of the best of ours to the bound, and of torch to the best of ours; others:"
    )
    print("cores that other work kept busy")
    heads = "".join(f"{name.replace('eager-1f1b', 'eager'):>13}" for name in (*OURS, *TORCH))
    print(
        f"{'':34}{'bound':>7}{heads}  {'best of ours':17}{'/bound':>7}{'gpipe/ours':>12}{'1f1b/ours':>12}{'others':>8}"
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        Hosts(HOSTS, MBYTE_PER_S) as running,
    ):
        for setting in chosen(SETTINGS, arguments.only):
            rows.append(measured(running, setting, arguments.rounds, arguments.steps))
            print(printed(rows[-1]), flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps({"hosts": HOSTS, "settings": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
