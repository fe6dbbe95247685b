"""Run every benchmark and keep its figures: `make benchmark`, or `python benchmarks/run.py recorder store`.

Each prints a table of ratios (`meters`: of errors), side by side with what a user would pick instead, measured in one
run.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
BENCHMARKS = {
    "training": "the training loop against Hugging Face's Trainer",
    "recorder": "the energy recorder against none, codecarbon and Zeus",
    "meters": "the joules of counters that wrap, fail, stall and start again against Zeus's and codecarbon's",
    "dry_run": "a start of the workflow with nothing to do against a bare one of as many rules",
    "dispatch": "sixteen devices dispatched at once against sixteen bare ssh commands",
    "store": "the DuckDB file and the carbon tables against pandas",
    "verdict": "a million draws and Sobol's indices against numpy and SALib, and 1,000 runs analysed anew",
    "pipeline": "the fleet's engine against torch.distributed.pipelining over 10 MB/s links",
    "simulator": "predicted steps of a fleet against measured ones on virtual hosts",
    "placement": "the placement of devices against DT-FM's genetic algorithm",
}


def main(names):
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown:
        sys.exit(f"no benchmark '{unknown[0]}'; there are: {', '.join(BENCHMARKS)}")
    RESULTS.mkdir(exist_ok=True)
    failed = []
    for name in names or BENCHMARKS:
        print(f"\n== {name}: {BENCHMARKS[name]}", flush=True)
        command = [sys.executable, str(HERE / f"bench_{name}.py"), "--out", str(RESULTS / f"{name}.json")]
        if subprocess.run(command, cwd=HERE.parent).returncode:
            failed.append(name)
    print(f"\nFigures: {RESULTS}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main(sys.argv[1:])
