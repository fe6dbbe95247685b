"""Building the DuckDB file and the carbon tables from many runs, against pandas doing the same work.

Synthetic runs (tests/synthetic.py), the same Parquet files for both, in the page cache for both. Every stage runs in a
process of its own, which tells its time and its peak memory. The same work: read every run and all its readings, steps
and samples, keep them in one place that can be queried (a DuckDB file; for pandas, which has no file of many tables, one
Parquet file a table), and give energy a step by device with a Student's t interval. pandas holds everything in memory:
where that fails it gets half of the runs, and again, and the rates are compared. The carbon tables and the build after
one changed run have no counterpart in pandas; they stand by themselves.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests")]
TABLES = ("readings", "steps", "samples")
# pandas, where it needs more, fails by itself: nothing else on the machine is killed for it.
MEMORY_SHARE = 0.85

Told = dict[str, Any]


def run_files(folder: Path) -> list[Path]:
    return sorted((folder / "parquet").glob("*/*/*/run.parquet"))


def make(folder: Path, runs: int, samples: int) -> Told:
    """The input of the others; its time is no result."""
    import synthetic

    synthetic.bulk(folder / "parquet", runs, samples)
    return {"parquet_bytes": sum(path.stat().st_size for path in (folder / "parquet").rglob("*.parquet"))}


def carbon(folder: Path, *_: int) -> Told:
    """Every run under the default scenario: its carbon tables, with the draws of the uncertain inputs."""
    from edgecarbon.carbon.evaluation import evaluate
    from edgecarbon.config.inputs import load_inputs
    from edgecarbon.config.resolve import load_scenario
    from edgecarbon.store import read_runs
    from edgecarbon.store.fleets import write_tables
    from edgecarbon.store.schema import SCENARIO_TABLES

    inputs = load_inputs(ROOT / "config/inputs")
    runs = read_runs(run_files(folder))
    facts = {"cloud": {"embodied": "nvidia-rtx-a5000"}, "edge": {"embodied": "generic-computer"}}
    devices = {run["device"]: {"role": run["role"], "battery": False, **facts[run["role"]]} for run in runs}
    result = evaluate(load_scenario(ROOT / "config/scenarios/default.yaml", inputs), inputs, devices, runs)
    tables = {"carbon": result.carbon, "verdicts": result.verdicts, "assumptions": result.assumptions}
    write_tables(tables, folder / "carbon/default", SCENARIO_TABLES)  # the build looks for the others too
    return {"carbon_rows": len(result.carbon), "verdicts": len(result.verdicts)}


def build(folder: Path, *_: int) -> Told:
    from edgecarbon.store import build_database, connect

    database = folder / "edgecarbon.duckdb"
    counts = build_database(database, run_files(folder), sorted((folder / "carbon").glob("*/")))
    with connect(database) as connection:
        groups = connection.execute("SELECT * FROM device_energy").fetchall()
        samples = connection.execute("SELECT count(*) FROM samples").fetchall()[0][0]
    return {**vars(counts), "samples": samples, "groups": len(groups), "database_bytes": database.stat().st_size}


def build_after_a_change(folder: Path, *_: int) -> Told:
    """One run of all has other steps now."""
    import pyarrow.parquet as pq

    changed = run_files(folder)[0].with_name("steps.parquet")
    pq.write_table(pq.read_table(changed).slice(1), changed)
    start = time.perf_counter()
    return {**build(folder), "seconds": time.perf_counter() - start}


def with_pandas(folder: Path, runs: int, *_: int) -> Told:
    import pandas as pd
    from scipy.stats import t

    files = run_files(folder)[:runs]
    table = pd.concat([pd.read_parquet(path) for path in files], ignore_index=True)
    for name in TABLES:
        parts = pd.concat([pd.read_parquet(path.with_name(f"{name}.parquet")) for path in files], ignore_index=True)
        parts.to_parquet(folder / f"pandas-{name}.parquet")
        rows = len(parts)
    table["joules_per_step"] = table["energy_joules"] / table["steps"]
    groups = table.groupby(["workload", "device", "role", "boundary"])["joules_per_step"]
    summary = groups.agg(["mean", "std", "count"]).reset_index()
    summary["half_width"] = t.ppf(0.975, summary["count"] - 1) * summary["std"] / summary["count"] ** 0.5
    table.drop(columns=["windows", "channels"]).to_parquet(folder / "pandas-runs.parquet")
    summary.to_parquet(folder / "pandas-summary.parquet")
    return {"runs": len(files), "samples": rows, "groups": len(summary)}


STAGES: dict[str, Callable[..., Told]] = {
    "make": make,
    "carbon": carbon,
    "build": build,
    "again": build_after_a_change,
    "pandas": with_pandas,
}


def stage(name: str, folder: Path, runs: int, samples: int) -> None:
    """Run one stage in this process and print what it took."""
    if name == "pandas" and sys.platform == "linux":
        limit_bytes = int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * MEMORY_SHARE)
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))
    start = time.perf_counter()
    told = STAGES[name](folder, runs, samples)
    seconds = time.perf_counter() - start
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"seconds": seconds, "peak_bytes": peak_bytes, **told}))


def in_own_process(name: str, folder: Path, runs: int, samples: int) -> Told:
    command = [sys.executable, __file__, "--stage", name, "--folder", str(folder)]
    command += ["--runs", str(runs), "--samples", str(samples)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        words = run.stderr.strip().splitlines() or [f"ended by signal {-run.returncode}"]
        return {"failed": words[-1]}
    told: Told = json.loads(run.stdout.splitlines()[-1])
    return told


def largest_pandas(folder: Path, runs: int, samples: int) -> tuple[Told, list[Told]]:
    """What pandas took for as many of the runs as it can hold, and its attempts at more."""
    failed: list[Told] = []
    while True:
        told = in_own_process("pandas", folder, runs, samples)
        if "failed" not in told or runs == 1:
            return told, failed
        failed.append({"runs": runs, **told})
        print(f"  pandas, {runs:,} runs: {told['failed']}", flush=True)
        runs //= 2


def show(label: str, told: Told, samples: int | None = None) -> None:
    if "failed" in told:
        sys.exit(f"{label}: failed: {told['failed']}")
    rate = f"{samples / told['seconds']:,.0f}" if samples else ""
    print(f"{label:38}{told['seconds']:10.2f}{told['peak_bytes'] / 1e9:10.2f}{rate:>16}", flush=True)


def measure(folder: Path, runs: int, samples: int) -> Told:
    print(f"{runs:,} synthetic runs with {samples:,} samples; making them is not timed", flush=True)
    results = {"input": in_own_process("make", folder, runs, samples)}
    print(f"{'':38}{'seconds':>10}{'peak GB':>10}{'samples/s':>16}")
    for name, label in (
        ("carbon", "carbon tables"),
        ("build", "DuckDB file"),
        ("again", "DuckDB file, one run changed"),
    ):
        results[name] = in_own_process(name, folder, runs, samples)
        show(label, results[name], results[name].get("samples") if name == "build" else None)
    results["pandas"], failed = largest_pandas(folder, runs, samples)
    ours, theirs = results["build"], results["pandas"]
    show(f"pandas, {theirs.get('runs', 0):,} runs", theirs, theirs.get("samples"))
    time_ratio = (theirs["seconds"] / theirs["samples"]) / (ours["seconds"] / ours["samples"])
    memory_ratio = theirs["peak_bytes"] / ours["peak_bytes"]
    about = f" ({theirs['runs']:,} runs against {runs:,})" if theirs["runs"] < runs else ""
    print(
        f"pandas takes {time_ratio:.2f}× the time a sample and {memory_ratio:.2f}× the memory of the DuckDB file{about}"
    )
    return {**results, "pandas_failed": failed, "ratio": {"time_per_sample": time_ratio, "memory": memory_ratio}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=100_000_000)
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        stage(arguments.stage, arguments.folder, arguments.runs, arguments.samples)
        return
    with tempfile.TemporaryDirectory(prefix="bench-store-") as folder:
        results = measure(Path(folder), arguments.runs, arguments.samples)
    if arguments.out:
        versions = {name: metadata.version(name) for name in ("duckdb", "pandas", "pyarrow")}
        machine = {
            "cores": os.cpu_count(),
            "machine": platform.machine(),
            "python": platform.python_version(),
            **versions,
        }
        result = {"benchmark": "store", "machine": machine, "runs": arguments.runs, **results}
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
