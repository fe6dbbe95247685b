"""A project with many finished runs that never were, and what their analysis takes once a scenario has changed.

The Parquet of the runs is written outright, so that nothing is measured.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

import synthetic
from edgecarbon.store.parquet import WRITE_OPTIONS, readings_table, run_table, samples_table
from edgecarbon.store.schema_runs import STEPS

ROOT = Path(__file__).resolve().parent.parent
TARGETS = ["results/report.html", "results/charts", "results/tables", "results/sci"]
RULES = ["carbon", "published_jobs", "database", "charts", "page", "tables"]
SCENARIO = "config/scenarios/default.yaml"
OF_A_DEVICE = ("role", "embodied", "battery")
Told = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """What devices of a kind have in common; they differ by their speed alone."""

    role: str
    boundary: str
    channel: str
    embodied: str
    battery: bool
    watts: float
    flops: float


KINDS = {
    "a5000": Kind("cloud", "gpu_board", "nvml/gpu0/energy", "nvidia-rtx-a5000", False, 220.0, 4e13),
    "h100": Kind("cloud", "gpu_board", "nvml/gpu0/energy", "nvidia-h100-sxm", False, 650.0, 4e14),
    "laptop": Kind("edge", "battery", "battery/device/energy", "apple-macbook-pro-14-m2-pro", True, 38.0, 3e12),
    "phone": Kind("edge", "battery", "battery/device/energy", "snapdragon-888-phone", True, 5.0, 5e10),
    "board": Kind("edge", "wall", "wall/device/energy", "jetson-orin", False, 40.0, 2e12),
    "pc": Kind("edge", "cpu_package", "rapl/package-0/energy", "generic-computer", False, 65.0, 5e11),
}


def devices(count: int) -> dict[str, str]:
    """Kind of each device by name: a fifth of them in the cloud."""
    kinds = [[kind for kind, facts in KINDS.items() if facts.role == role] for role in ("cloud", "edge")]
    cloud = max(1, count // 5)
    names = [(kinds[0], number) for number in range(cloud)] + [(kinds[1], number) for number in range(count - cloud)]
    return {f"{mine[number % len(mine)]}-{number}": mine[number % len(mine)] for mine, number in names}


def make(folder: Path, workloads: int, count: int, repeats: int) -> Path:
    """The project with the Parquet of its runs, ready for its first analysis; returns `folder`."""
    for name in ("lib", "workflow", "config"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "Snakefile", folder)
    given = devices(count)
    fleet = {
        name: {"transport": "ssh", "host": name, "carbon": {one: getattr(KINDS[kind], one) for one in OF_A_DEVICE}}
        for name, kind in given.items()
    }
    work = {f"synthetic-{number}": _workload(number) for number in range(workloads)}
    experiment = {
        "name": "synthetic", "workloads": work, "devices": list(fleet), "reference_devices": [], "repeats": repeats,
        "scenarios": [Path(SCENARIO).stem],
    }  # fmt: skip
    for path, data in (("config.yaml", experiment), ("devices.yaml", {"devices": fleet})):
        (folder / "config" / path).write_text(yaml.safe_dump(data), encoding="utf-8")
    for run_id, kind, facts in _runs(work, given, repeats):
        _write_run(folder / "results/parquet", run_id, KINDS[kind], facts)
    return folder


def _workload(number: int) -> dict[str, Any]:
    return {"model": "facebook/opt-125m", "batch_size": 16, "sequence_length": 512, "steps": 10 * (1 + number)}


def _runs(
    work: dict[str, Any], given: dict[str, str], repeats: int
) -> Iterator[tuple[str, str, tuple[int, float, int]]]:
    """Name, kind, and (steps, relative speed, seed) of each run."""
    seed = 0
    for workload, settings in work.items():
        for number, (device, kind) in enumerate(given.items()):
            for repeat in range(1, repeats + 1):
                seed += 1
                yield f"{workload}/{device}/r{repeat}", kind, (settings["steps"], 1 + number / 10, seed)


def _write_run(root: Path, run_id: str, kind: Kind, facts: tuple[int, float, int]) -> None:
    steps, speed, seed = facts
    duration_s = steps * 6 * synthetic.PARAMETERS * 16 * 512 / (kind.flops * speed) * (1 + seed % 7 / 100)
    joules = kind.watts * duration_s * (1 + seed % 11 / 100)
    readings = [synthetic.reading(joules, kind.channel, kind.boundary, uncertainty_joules=joules / 50)]
    data = synthetic.record(
        run_id, role=kind.role, steps=steps, duration_s=duration_s, seed=seed, readings=readings,
        kind="cuda" if kind.role == "cloud" else "cpu",
    )  # fmt: skip
    step = {"run_id": run_id, "phase": "train", "duration_s": duration_s / steps, "loss": 9.0, "tokens": 8192}
    trace = [{**step, "step": number + 1, "start_s": number * duration_s / steps} for number in range(steps)]
    outputs = synthetic.parquet_paths(root, run_id)
    outputs["run"].parent.mkdir(parents=True)
    sealed = synthetic.sealed(data)
    tables = {
        "readings": readings_table(sealed),
        "steps": pa.Table.from_pylist(trace, schema=STEPS.arrow_schema()),
        "samples": samples_table(run_id, synthetic.NAMES, synthetic.ticks(30, seed)),
        "run": run_table(sealed),
    }
    for name, table in tables.items():
        pq.write_table(table, outputs[name], **WRITE_OPTIONS)


def change_scenario(project: Path, number: int) -> None:
    """Electricity of another country on both sides: every figure is another."""
    path = project / SCENARIO
    zone = ("DEU", "GBR", "POL", "FRA")[number % 4]
    path.write_text(re.sub(r"zone: [A-Z]{3}, year", f"zone: {zone}, year", path.read_text(encoding="utf-8")))


def environment(**more: str) -> dict[str, str]:
    """That of a user's start, which finds the project compiled by an earlier one."""
    return {**{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}, **more}


def snakemake(project: Path, cores: int) -> float:
    """Start the analysis as a user does; returns wall seconds."""
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--allowed-rules", *RULES, "--", *TARGETS]
    start = time.perf_counter()
    run = subprocess.run(command, cwd=project, env=environment(), capture_output=True, text=True)
    if run.returncode:
        sys.exit(run.stdout + run.stderr)
    return time.perf_counter() - start


def pairs(project: Path) -> int:
    """Pairs of devices that the analysis found."""
    verdicts = pq.read_table(project / "results/carbon" / Path(SCENARIO).stem / "verdicts.parquet")
    return len(set(verdicts.select(["workload", "cloud_device", "edge_device"]).to_pandas().itertuples(index=False)))


def scripts(project: Path) -> Iterator[tuple[str, list[str]]]:
    """Each script of the analysis in its order, with its arguments, as the rules call it."""
    config = str(next((project / "results/configs").glob("*.json")).relative_to(project))
    name = Path(SCENARIO).stem
    database = ["--database", "results/edgecarbon.duckdb"]
    yield "carbon", ["--config", config, "--scenario", SCENARIO, "--out", f"results/carbon/{name}"]
    yield "database", ["--config", config, "--out", database[1]]
    yield "charts", [*database, "--out", "results/charts"]
    yield "page", ["--config", config, *database, "--out", "results/report.html"]
    yield "tables", [*database, "--tables", "results/tables", "--sci", "results/sci"]


def run_script(project: Path, name: str, arguments: list[str]) -> Told:
    """Seconds and peak memory of one script in a process of its own."""
    command = [sys.executable, f"workflow/scripts/{name}.py", *arguments]
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=project, env=environment(PYTHONPATH=str(project / "lib")), stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{name} failed with {process.returncode}")
    return {"seconds": seconds, "peak_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)}
