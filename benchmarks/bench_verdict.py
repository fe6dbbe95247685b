"""The carbon verdict: a million draws, Sobol's indices, and the analysis of 1,000 runs anew.

draws      1,000,000 draws of every ranged input of a pair, under ten scenarios and four attributions: median, 5 and 95 %
           and the probability that the edge wins. Beside it a plain numpy loop, which draws every input of every scenario
           anew and has one formula an attribution; and a Python function called row by row, on fewer rows, scaled.
sobol      Sobol's first and total indices of the same pair, N = 4,096, four attributions. Beside it SALib's sample, the
           function row by row, and `SALib.analyze.sobol`.
analysis   one scenario changed in a project with 1,000 finished runs: Snakemake from start to end, and each script by
           itself. It has no counterpart.

Every stage runs in a process of its own, which tells its time and its peak memory. Results are held against each other:
a benchmark of something else would be worthless.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

# As Snakemake gives a job of one thread; more would only wait for each other on arrays as small as these.
os.environ.update({f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")})

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / part) for part in ("lib", "tests", "tests/unit", "benchmarks")]
SEED = 1
ROWS_BY_ROW = 20_000
SAMPLES = 4096

Told = dict[str, Any]


def draws_ours(folder: Path, count: int) -> Told:
    from dataclasses import replace

    import verdict_by_hand
    from edgecarbon.carbon.draws import Draws
    from edgecarbon.carbon.verdicts import ratio_quantiles

    found, inputs = [], []
    cases = verdict_by_hand.cases(folder)
    start = time.perf_counter()
    for judge, pair in cases:
        judge = replace(judge, draws=Draws(SEED, count))
        found.append(ratio_quantiles(pair.ratio(judge, judge.draws)))
        inputs.append(len(pair.inputs(judge)))
    return {"seconds": time.perf_counter() - start, "found": found, "inputs": inputs}


def draws_numpy(folder: Path, count: int) -> Told:
    import verdict_by_hand

    generator = np.random.default_rng(SEED)
    found = []
    cases = verdict_by_hand.cases(folder)
    start = time.perf_counter()
    for judge, pair in cases:
        unit = {one.name: generator.uniform(1e-6, 1 - 1e-6, count) for one in pair.inputs(judge)}
        values = verdict_by_hand.drawn(judge, pair, unit)
        rows = verdict_by_hand.ratios(judge, pair, values)
        found.append([(*np.percentile(row, (50, 5, 95)).tolist(), float(np.mean(row > 1))) for row in rows])
    return {"seconds": time.perf_counter() - start, "found": found}


def draws_by_row(folder: Path, count: int) -> Told:
    """A function of one row, called as SALib's documentation has it, on `ROWS_BY_ROW` of the rows; scaled to all."""
    import verdict_by_hand

    generator = np.random.default_rng(SEED)
    cases = verdict_by_hand.cases(folder)
    rows = min(count, ROWS_BY_ROW)
    start = time.perf_counter()
    for judge, pair in cases:
        names = [one.name for one in pair.inputs(judge)]
        unit = {name: generator.uniform(1e-6, 1 - 1e-6, rows) for name in names}
        columns = verdict_by_hand.drawn(judge, pair, unit)
        found = _row_by_row(judge, pair, np.column_stack([columns[name] for name in names]), names)
        np.percentile(found, (50, 5, 95), axis=0)
    return {"seconds": (time.perf_counter() - start) * count / rows, "rows": rows}


def _row_by_row(judge: Any, pair: Any, sample: Any, names: list[str]) -> Any:
    import verdict_by_hand

    found = np.empty((len(sample), len(verdict_by_hand.ATTRIBUTIONS)))
    for index, row in enumerate(sample):
        found[index] = verdict_by_hand.ratios(judge, pair, dict(zip(names, row.tolist(), strict=True)))
    return found


def sobol_ours(folder: Path, _: int) -> Told:
    import SALib  # noqa: F401  # both have it; its import is no part of either

    import verdict_by_hand
    from edgecarbon.carbon.sensitivity import log_ratio, sobol_indices, sobol_plan

    judge, pair = verdict_by_hand.cases(folder)[0]
    start = time.perf_counter()
    names = [one.name for one in pair.inputs(judge)]
    indices = sobol_indices(log_ratio(judge, pair, sobol_plan(names, SAMPLES, SEED)), len(names), SEED)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "inputs": len(names), **{name: indices[name].tolist() for name in ("S1", "ST")}}


def sobol_salib(folder: Path, _: int) -> Told:
    from SALib.analyze import sobol as analysis
    from SALib.sample import sobol as sampling

    import verdict_by_hand

    judge, pair = verdict_by_hand.cases(folder)[0]
    start = time.perf_counter()
    names = [one.name for one in pair.inputs(judge)]
    problem = {"num_vars": len(names), "names": names, "bounds": [[0.0, 1.0]] * len(names)}
    unit = np.clip(sampling.sample(problem, SAMPLES, calc_second_order=False, seed=SEED), 1e-6, 1 - 1e-6)
    columns = verdict_by_hand.drawn(judge, pair, {name: unit[:, column] for column, name in enumerate(names)})
    logs = np.log(_row_by_row(judge, pair, np.column_stack([columns[name] for name in names]), names))
    evaluated = time.perf_counter() - start
    found = [analysis.analyze(problem, column, calc_second_order=False, seed=SEED) for column in logs.T]
    return {
        "seconds": time.perf_counter() - start,
        "evaluation_s": evaluated,
        **{name: [one[name].tolist() for one in found] for name in ("S1", "ST")},
    }


STAGES: dict[str, Callable[[Path, int], Told]] = {
    "draws_ours": draws_ours,
    "draws_numpy": draws_numpy,
    "draws_by_row": draws_by_row,
    "sobol_ours": sobol_ours,
    "sobol_salib": sobol_salib,
}


def in_own_process(name: str, count: int) -> Told:
    command = [sys.executable, __file__, "--stage", name, "--draws", str(count)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"{name}: {run.stderr}")
    told: Told = json.loads(run.stdout.splitlines()[-1])
    return told


def median_of(name: str, count: int, rounds: int) -> Told:
    told = [in_own_process(name, count) for _ in range(rounds)]
    seconds = [one["seconds"] for one in told]
    peak = max(one["peak_bytes"] for one in told)
    return {**told[0], "seconds": statistics.median(seconds), "all_seconds": seconds, "peak_bytes": peak}


def agree(one: Any, other: Any, relative: float, absolute: float, what: str) -> None:
    """End here if two ways to the same figures differ."""
    if not np.allclose(np.asarray(one, float), np.asarray(other, float), rtol=relative, atol=absolute):
        sys.exit(f"{what}: the figures differ; there is nothing to compare")


def show(label: str, told: Told, against: Told | None = None) -> None:
    ratio = f"{told['seconds'] / against['seconds']:.2f}×" if against else ""
    print(f"{label:58}{told['seconds']:10.2f}{told['peak_bytes'] / 1e9:9.2f}{ratio:>9}", flush=True)


def measure_draws(count: int, rounds: int) -> Told:
    ours, plain = (median_of(name, count, rounds) for name in ("draws_ours", "draws_numpy"))
    agree([[row[:3] for row in one] for one in ours["found"]], [[row[:3] for row in one] for one in plain["found"]],
          0.02, 0, "quantiles")  # fmt: skip
    agree([[row[3] for row in one] for one in ours["found"]], [[row[3] for row in one] for one in plain["found"]],
          0, 0.01, "probabilities")  # fmt: skip
    by_row = in_own_process("draws_by_row", count)
    print(f"\n{count:,} draws, 10 scenarios, 4 attributions, {min(ours['inputs'])}–{max(ours['inputs'])} inputs")
    print(f"{'':58}{'seconds':>10}{'peak GB':>9}{'':>9}")
    show("edgecarbon", ours)
    show("a plain numpy loop", plain, ours)
    show(f"a function row by row, from {by_row['rows']:,} rows a scenario", by_row, ours)
    return {"ours": ours, "numpy": plain, "by_row": by_row}


def measure_sobol(rounds: int) -> Told:
    ours, theirs = (median_of(name, 0, rounds) for name in ("sobol_ours", "sobol_salib"))
    for name in ("S1", "ST"):
        agree(ours[name], theirs[name], 0, 1e-6, f"Sobol's {name}")
    print(f"\nSobol, N = {SAMPLES:,}, {ours['inputs']} inputs, 4 attributions: {SAMPLES * (ours['inputs'] + 2):,} rows")
    show("edgecarbon", ours)
    show("SALib's sample, a function row by row, SALib's analysis", theirs, ours)
    return {"ours": ours, "salib": theirs}


def measure_analysis(arguments: argparse.Namespace) -> Told:
    import verdict_project

    shape = arguments.workloads, arguments.devices, arguments.repeats
    with tempfile.TemporaryDirectory(prefix="bench-verdict-") as folder:
        project = verdict_project.make(Path(folder), *shape)
        verdict_project.snakemake(project, 2)
        whole = []
        for number in range(arguments.rounds):
            verdict_project.change_scenario(project, number)
            whole.append(verdict_project.snakemake(project, 2))
        verdict_project.change_scenario(project, arguments.rounds)
        scripts = {
            name: verdict_project.run_script(project, name, words) for name, words in verdict_project.scripts(project)
        }
        page_bytes = (project / "results/report.html").stat().st_size
        pairs = verdict_project.pairs(project)
    runs = shape[0] * shape[1] * shape[2]
    print(
        f"\n{runs:,} runs ({shape[0]} workloads × {shape[1]} devices × {shape[2]}), {pairs} pairs, one scenario changed"
    )
    for name, told in scripts.items():
        show(name, told)
    seconds = statistics.median(whole)
    print(f"{'snakemake --cores 2, from start to end':58}{seconds:10.2f}")
    print(f"report.html: {page_bytes / 1e6:.1f} MB")
    return {
        "runs": runs, "pairs": pairs, "scripts": scripts, "seconds": seconds, "all_seconds": whole,
        "page_bytes": page_bytes,
    }  # fmt: skip


def stage(name: str, count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        told = STAGES[name](Path(folder), count)
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({**told, "peak_bytes": peak_bytes}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workloads", type=int, default=5)
    parser.add_argument("--devices", type=int, default=10, help="a fifth of them in the cloud")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--only", choices=("draws", "sobol", "analysis"), action="append")
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        stage(arguments.stage, arguments.draws)
        return
    parts: dict[str, Callable[[], Told]] = {
        "draws": lambda: measure_draws(arguments.draws, arguments.rounds),
        "sobol": lambda: measure_sobol(arguments.rounds),
        "analysis": lambda: measure_analysis(arguments),
    }
    results = {name: part() for name, part in parts.items() if not arguments.only or name in arguments.only}
    if arguments.out:
        versions = {name: metadata.version(name) for name in ("numpy", "SALib", "snakemake")}
        machine = {
            "cores": os.cpu_count(),
            "machine": platform.machine(),
            "python": platform.python_version(),
            **versions,
        }
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        result = {"benchmark": "verdict", "machine": machine, **results}
        arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
