"""A start of the workflow that finds nothing to do, against a bare Snakefile of as many rules and jobs.

Both are finished; `snakemake -n` builds the whole graph and looks at every file. In turns, in one run.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SNAKEMAKE = [sys.executable, "-m", "snakemake", "--cores", "1"]


def graph_of(project):
    """Rules and jobs of the project's graph, as Snakemake counts them."""
    listed = subprocess.run([*SNAKEMAKE, "-n", "--forceall"], cwd=project, capture_output=True, text=True, check=True)
    table = re.search(r"Job stats:\n.*?\n-[- ]+\n(.*?)\ntotal", listed.stdout + listed.stderr, re.DOTALL)
    rows = [line.split() for line in table[1].splitlines()]
    return {name: int(count) for name, count in rows if name != "all"}


def write_bare(folder, graph):
    """A chain of rules: as many, each with as many jobs, with outputs that exist."""
    lines = []
    previous = []
    for rule, jobs in graph.items():
        outputs = [f"{rule}/{index}.done" for index in range(jobs)]
        given = json.dumps(previous)
        lines.append(
            f"rule {rule}:\n    input: {given}\n    output: '{rule}/{{index}}.done'\n    shell: 'touch {{output}}'\n"
        )
        previous = outputs
    text = f"rule all:\n    input: {json.dumps(previous)}\n\n" + "\n".join(lines)
    # The last rule's jobs are the targets; each earlier rule's are inputs of all that follow.
    (folder / "Snakefile").write_text(text)
    subprocess.run(SNAKEMAKE, cwd=folder, capture_output=True, check=True)


def timed(folder):
    start = time.perf_counter()
    run = subprocess.run([*SNAKEMAKE, "-n"], cwd=folder, capture_output=True, text=True, check=True)
    return time.perf_counter() - start, "Nothing to be done" in run.stdout + run.stderr


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--finished", type=Path, default=ROOT, help="a checkout whose quick run is complete")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if not timed(arguments.finished)[1]:
        sys.exit(
            f"{arguments.finished}: there is still something to do; run `make run` there first, or name --finished"
        )
    graph = graph_of(arguments.finished)
    with tempfile.TemporaryDirectory() as name:
        bare = Path(name)
        write_bare(bare, graph)
        times = {"edgecarbon": [], "bare": []}
        for _ in range(arguments.rounds):
            times["edgecarbon"].append(timed(arguments.finished)[0])
            times["bare"].append(timed(bare)[0])
    medians = {side: statistics.median(seconds) for side, seconds in times.items()}
    ratio = medians["edgecarbon"] / medians["bare"]
    print(f"{len(graph)} rules, {sum(graph.values())} jobs, {arguments.rounds} rounds")
    print(f"{'':12}{'median s':>10}{'lowest':>9}{'highest':>9}")
    for side, seconds in times.items():
        print(f"{side:12}{medians[side]:10.3f}{min(seconds):9.3f}{max(seconds):9.3f}")
    print(f"edgecarbon takes {ratio:.2f}× as long")
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps({"graph": graph, "seconds": times, "ratio": ratio}, indent=1) + "\n")


if __name__ == "__main__":
    main()
