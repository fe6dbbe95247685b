"""What measuring costs: a fixed training-like load with no meter, the recorder at 10 Hz, codecarbon, Zeus.

The same number of steps from the same weights runs under each in turn, round after round in one process, and between
any two stands a stretch without a meter: each is set against the mean of its two neighbours, so that a drift of the
machine cancels. The stretches without a meter are set against their own neighbours too: that row is the noise. Beside
the ratios stands what each takes by itself: the CPU time of this process while nothing else runs in it. Then what the
recorder leaves on the disk (sample_sizes.py).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from edgecarbon.meters import Recorder, open_meters
from sample_sizes import ESTIMATE, sizes, sizes_table

PERIOD_S = 0.1
Tool = Callable[[], contextlib.AbstractContextManager[dict[str, Any]]]


class Load:
    """Steps of a small two-layer network with AdamW: matrix products, a backward pass, an optimizer."""

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)

    def reset(self) -> None:
        """Back to the first weights: later ones take another time, because small numbers become subnormal ones."""
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(torch.nn.Linear(512, 2048), torch.nn.GELU(), torch.nn.Linear(2048, 512))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        self.batch = torch.randn(128, 512)

    def run(self, steps: int) -> None:
        self.reset()
        for _ in range(steps):
            self.optimizer.zero_grad(set_to_none=True)
            loss = (self.model(self.batch) - self.batch).square().mean()
            loss.backward()
            self.optimizer.step()

    def steps_for(self, seconds: float) -> int:
        self.run(20)
        start = time.perf_counter()
        self.run(100)
        return max(1, round(100 * seconds / (time.perf_counter() - start)))


@contextlib.contextmanager
def nothing() -> Iterator[dict[str, Any]]:
    yield {}


@contextlib.contextmanager
def recorder() -> Iterator[dict[str, Any]]:
    meters = open_meters(["auto"], ESTIMATE)
    told = {"note": "meters: " + ", ".join(meter.name for meter in meters)}
    with Recorder(meters, PERIOD_S) as running:
        start_s = running.mark()
        yield told
        end_s = running.mark()
        told["joules"] = [reading["joules"] for reading in running.readings("load", start_s, end_s)]


def codecarbon(period_s: float | None) -> Tool:
    @contextlib.contextmanager
    def tracked() -> Iterator[dict[str, Any]]:
        from codecarbon import OfflineEmissionsTracker

        chosen = {} if period_s is None else {"measure_power_secs": period_s}
        tracker = OfflineEmissionsTracker(country_iso_code="SWE", save_to_file=False, log_level="critical", **chosen)
        tracker.start()
        told: dict[str, Any] = {}
        try:
            yield told
        finally:
            tracker.stop()
        told["joules"] = [tracker.final_emissions_data.cpu_energy * 3.6e6]
        told["note"] = "its own figure of the CPU is also a guess where there is no RAPL"

    return tracked


@contextlib.contextmanager
def zeus() -> Iterator[dict[str, Any]]:
    from zeus.monitor import ZeusMonitor

    monitor = ZeusMonitor(sync_execution_with="torch")
    told: dict[str, Any] = {}
    monitor.begin_window("load", sync_execution=False)
    yield told
    measured = monitor.end_window("load", sync_execution=False)
    told["joules"] = [*(measured.cpu_energy or {}).values(), *measured.gpu_energy.values()]
    told["note"] = (
        "reads counters at the window's two ends only"
        if told["joules"]
        else "nothing to read here (no RAPL, no NVML): its two calls ran, and measured no energy"
    )


TOOLS: dict[str, Tool] = {
    f"edgecarbon {1 / PERIOD_S:.0f} Hz": recorder,
    "codecarbon, its default (15 s)": codecarbon(None),
    f"codecarbon {1 / PERIOD_S:.0f} Hz": codecarbon(PERIOD_S),
    "zeus": zeus,
}
NOISE = "no meter (noise)"


def measure(tool: Tool, work: Callable[[], None]) -> dict[str, Any]:
    """Wall and CPU seconds of `work` under `tool`, and the seconds that starting and stopping the tool took."""
    opened = time.perf_counter()
    with tool() as told:
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        wall, cpu, worked = time.perf_counter() - wall, time.process_time() - cpu, time.perf_counter()
    around = time.perf_counter() - worked + (worked - wall - opened)
    return {"wall_s": wall, "cpu_s": cpu, "around_s": around, **told}


def run(seconds: float, rounds: int, threads: int) -> dict[str, Any]:
    load = Load(threads)
    steps = load.steps_for(seconds)
    alone: dict[str, dict[str, Any]] = {NOISE: measure(nothing, lambda: time.sleep(seconds))}
    absent: dict[str, str] = {}
    for name, tool in TOOLS.items():
        try:
            alone[name] = measure(tool, lambda: time.sleep(seconds))
        except ImportError as error:
            absent[name] = f"not installed ({error.name}): pip install 'edgecarbon[bench]'"
    stretches: list[tuple[str, dict[str, Any]]] = [(NOISE, measure(nothing, lambda: load.run(steps)))]
    for number in range(rounds):
        for name, tool in TOOLS.items():
            if name not in absent:
                stretches.append((name, measure(tool, lambda: load.run(steps))))
                stretches.append((NOISE, measure(nothing, lambda: load.run(steps))))
            print(f"round {number + 1}/{rounds}: {name}", file=sys.stderr, flush=True)
    rows = [
        {"tool": name, "note": absent[name]} if name in absent else row(name, stretches, alone[name])
        for name in (NOISE, *TOOLS)
    ]
    return {"steps": steps, "seconds": seconds, "rounds": rounds, "threads": threads, "rows": rows}


def row(name: str, stretches: list[tuple[str, dict[str, Any]]], alone: dict[str, Any]) -> dict[str, Any]:
    """Every second stretch is without a meter: a meter's neighbours are next to it, those of one without two away."""
    step = 2 if name == NOISE else 1
    ratios: dict[str, list[float]] = {"wall_s": [], "cpu_s": []}
    for i in range(step, len(stretches) - step):
        if stretches[i][0] == name:
            for key, found in ratios.items():
                found.append(2 * stretches[i][1][key] / (stretches[i - step][1][key] + stretches[i + step][1][key]))
    last = [told for tool, told in stretches if tool == name][-1]
    return {
        "tool": name,
        **{f"{key}_ratio": mean_and_error(found) for key, found in ratios.items()},
        **{f"{key}_ratios": found for key, found in ratios.items()},
        "alone_core_share": alone["cpu_s"] / alone["wall_s"],
        # The first time, as a training script meets it: some tools look around the machine once and remember.
        "start_and_stop_s": alone["around_s"],
        "joules": last.get("joules"),
        "note": last.get("note", ""),
    }


def mean_and_error(values: list[float]) -> tuple[float, float | None]:
    """The mean and its standard error, which one value alone does not tell."""
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
    return statistics.fmean(values), error


def table(result: dict[str, Any]) -> str:
    head = f"{'':32} {'wall ratio':>18} {'CPU ratio':>18} {'alone, of a core':>17} {'start+stop':>11}"
    lines = [head]
    for one in result["rows"]:
        if "wall_s_ratio" not in one:
            lines.append(f"{one['tool']:32} {one['note']}")
            continue
        wall, cpu = (
            f"{mean:.4f} ± {error:.4f}" if error is not None else f"{mean:.4f}"
            for mean, error in (one["wall_s_ratio"], one["cpu_s_ratio"])
        )
        share, around = f"{100 * one['alone_core_share']:.2f} %", f"{one['start_and_stop_s']:.2f} s"
        lines.append(f"{one['tool']:32} {wall:>18} {cpu:>18} {share:>17} {around:>11}")
        if one["note"]:
            lines.append(f"    {one['note']}")
    lines.append("± is a standard error. Where it hides the ratio's distance from 1, the CPU time alone says more.")
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    versions = {}
    for package in ("torch", "codecarbon", "zeus"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(), **versions}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of one stretch (default 20)")
    parser.add_argument("--rounds", type=int, default=3, help="stretches under each tool (default 3)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads of torch (default: all)")
    parser.add_argument("--out", type=Path, help="where the figures go, as JSON")
    arguments = parser.parse_args()
    figures = run(arguments.seconds, arguments.rounds, arguments.threads)
    result = {"benchmark": "recorder", "machine": machine(), **figures, "sizes": sizes(PERIOD_S)}
    print(f"{table(result)}\n\n{sizes_table(result['sizes'], 1 / PERIOD_S)}")
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
