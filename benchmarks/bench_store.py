"""Building the DuckDB file and the carbon tables, against pandas doing the same work.

Synthetic runs (tests/synthetic.py), the same Parquet files for both. Each side runs in a process of its own, which tells
its time and its peak memory. The same work: read every run's readings, steps and samples, keep them in one file that can
be queried, and give energy a step by device with a Student's t interval. The carbon tables have no counterpart in pandas.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests")]
TABLES = ("readings", "steps", "samples")


def files(folder):
    return sorted((folder / "parquet").glob("*/*/*/run.parquet"))


def build(folder):
    from edgecarbon.store import build_database

    return vars(build_database(folder / "edgecarbon.duckdb", files(folder), scenarios(folder)))


def scenarios(folder):
    return sorted(path for path in (folder / "carbon").glob("*/") if (path / "carbon.parquet").exists())


def carbon(folder):
    from edgecarbon.carbon.evaluation import evaluate
    from edgecarbon.carbon.tables import write_result
    from edgecarbon.config.inputs import load_inputs
    from edgecarbon.config.scenario import load_scenario
    from edgecarbon.store import read_runs

    inputs = load_inputs(ROOT / "config/inputs")
    runs = read_runs(files(folder))
    facts = {"cloud": {"embodied": "nvidia-rtx-a5000"}, "edge": {"embodied": "generic-computer"}}
    devices = {run["device"]: {"role": run["role"], "battery": False, **facts[run["role"]]} for run in runs}
    result = evaluate(load_scenario(ROOT / "config/scenarios/default.yaml", inputs), inputs, devices, runs)
    write_result(result, folder / "carbon/default")
    return {"carbon_rows": len(result.carbon), "verdicts": len(result.verdicts)}


def pandas_build(folder):
    import pandas as pd
    from scipy.stats import t

    runs = pd.concat([pd.read_parquet(path) for path in files(folder)], ignore_index=True)
    for table in TABLES:
        parts = [pd.read_parquet(path.with_name(f"{table}.parquet")) for path in files(folder)]
        pd.concat(parts, ignore_index=True).to_parquet(folder / f"pandas-{table}.parquet")
    runs["joules_per_step"] = runs["energy_joules"] / runs["steps"]
    groups = runs.groupby(["workload", "device", "role", "boundary"])["joules_per_step"]
    summary = groups.agg(["mean", "std", "count"]).reset_index()
    summary["half_width"] = t.ppf(0.975, summary["count"] - 1) * summary["std"] / summary["count"] ** 0.5
    runs.drop(columns=["windows", "channels"]).to_parquet(folder / "pandas-runs.parquet")
    summary.to_parquet(folder / "pandas-summary.parquet")
    return {"groups": len(summary)}


STAGES = {"build": build, "carbon": carbon, "pandas": pandas_build}


def stage(name, folder):
    """Run one stage in this process and print what it took."""
    start = time.perf_counter()
    told = STAGES[name](folder)
    seconds = time.perf_counter() - start
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"seconds": seconds, "peak_bytes": peak_bytes, **told}))


def in_own_process(name, folder):
    command = [sys.executable, __file__, "--stage", name, "--folder", str(folder)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        reason = (run.stderr.strip().splitlines() or [f"ended by signal {-run.returncode}"])[-1]
        return {"failed": reason}
    return json.loads(run.stdout.splitlines()[-1])


def change_one_run(folder):
    import pyarrow.parquet as pq

    path = files(folder)[0].with_name("steps.parquet")
    pq.write_table(pq.read_table(path).slice(1), path)


def show(name, told, rows=None):
    if "failed" in told:
        print(f"{name:36}failed: {told['failed']}")
        return
    rate = f"{rows / told['seconds']:14,.0f}" if rows else f"{'–':>14}"
    print(f"{name:36}{told['seconds']:10.2f}{told['peak_bytes'] / 1e9:10.2f}{rate}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=100_000_000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        stage(arguments.stage, arguments.folder)
        return
    import synthetic

    folder = Path(tempfile.mkdtemp(prefix="bench-store-"))
    try:
        print(f"making {arguments.runs:,} synthetic runs with {arguments.samples:,} samples (not timed)", flush=True)
        synthetic.bulk(folder / "parquet", arguments.runs, arguments.samples)
        print(f"{'':36}{'seconds':>10}{'peak GB':>10}{'samples/s':>14}")
        results = {}
        for name, label, rows in (
            ("carbon", "edgecarbon, carbon tables", None),
            ("build", "edgecarbon, DuckDB file", arguments.samples),
            ("pandas", "pandas", arguments.samples),
        ):
            results[name] = in_own_process(name, folder)
            show(label, results[name], rows)
        change_one_run(folder)
        results["again"] = in_own_process("build", folder)
        show("edgecarbon, one run changed", results["again"])
        if "failed" not in results["pandas"]:
            time_ratio = results["pandas"]["seconds"] / results["build"]["seconds"]
            memory_ratio = results["pandas"]["peak_bytes"] / results["build"]["peak_bytes"]
            results["ratio"] = {"time": time_ratio, "memory": memory_ratio}
            print(f"pandas takes {time_ratio:.2f}× the time and {memory_ratio:.2f}× the memory of the DuckDB build")
        if arguments.out:
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            sizes = {"runs": arguments.runs, "samples": arguments.samples}
            arguments.out.write_text(json.dumps({**sizes, **results}, indent=1) + "\n")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
