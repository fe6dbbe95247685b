"""The placement of devices against DT-FM's genetic algorithm: seconds a step on DT-FM's own networks and on others.

Every network's devices are shuffled first, since in the published files an order is hidden that either could lean on.
Both run in one process, one after the other; the largest network is ours alone, the other would take hours.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

import edgecarbon.fleet
from dtfm_genetic import genetic_placement
from edgecarbon.fleet.communication import Problem, lower_bound_s
from edgecarbon.fleet.communication_search import place

NETWORKS = Path(edgecarbon.fleet.__file__).resolve().parent / "networks"
PUBLISHED = ["data_centre", "spot_instances", "two_universities", "four_us_regions", "eight_world_regions"]
GRADIENT_GIGABYTES = 0.65
ACTIVATION_GIGABYTES = 0.471249


def published(name, seed, noise=0.0):
    """One of DT-FM's five networks, shuffled; with log-normal noise on every link's delay and bandwidth."""
    network = json.loads((NETWORKS / f"{name}.json").read_text())
    random = np.random.default_rng(seed)
    delay_s = np.array(network["delay_ms"]) / 1000
    bandwidth_gbps = np.array(network["bandwidth_gbps"])
    if noise:
        delay_s, bandwidth_gbps = (
            delay_s * factors(delay_s, noise, random),
            bandwidth_gbps * factors(delay_s, noise, random),
        )
    order = np.ix_(*[random.permutation(len(delay_s))] * 2)
    sizes = (network["gradient_gigabytes"], network["activation_gigabytes"])
    return Problem(delay_s[order], bandwidth_gbps[order], network["groups"], network["group_size"], *sizes)


def factors(like, noise, random):
    """A symmetric matrix of log-normal factors around 1."""
    upper = np.triu(random.lognormal(0, noise, like.shape), 1)
    return upper + upper.T + np.eye(len(like))


def homes(seed, groups, group_size):
    """Homes with 0.01 to 1 Gbit/s: a pair has the smaller of its ends' bandwidths, and 5 to 80 ms of delay."""
    random = np.random.default_rng(seed)
    devices = groups * group_size
    bandwidth = np.exp(random.uniform(np.log(0.01), np.log(1), devices))
    delay = random.uniform(0.0025, 0.04, devices)
    links = (np.add.outer(delay, delay), np.minimum.outer(bandwidth, bandwidth))
    return Problem(*links, groups, group_size, GRADIENT_GIGABYTES, ACTIVATION_GIGABYTES)


def networks():
    """Name, problem, and whether the genetic algorithm is run too."""
    for name in PUBLISHED:
        yield name, published(name, seed=1), True
    for name in ("four_us_regions", "eight_world_regions"):
        yield f"{name}, noisy", published(name, seed=2, noise=0.5), True
    for seed in (3, 4):
        yield f"64 homes, draw {seed - 2}", homes(seed, 8, 8), True
    yield "512 homes, 32 × 16", homes(5, 32, 16), False


def measured(name, problem, beside, trials):
    start = time.perf_counter()
    placement = place(problem)
    ours_seconds = time.perf_counter() - start
    row = {
        "network": name,
        "ours_s": placement.total_cost_s,
        "ours_search_seconds": ours_seconds,
        "lower_bound_s": lower_bound_s(problem),
        "optimal": placement.optimal,
    }
    if beside:
        start = time.perf_counter()
        row["genetic_s"] = genetic_placement(problem, trials=trials)[1]
        row["genetic_search_seconds"] = time.perf_counter() - start
        row["ratio"] = row["ours_s"] / row["genetic_s"]
    return row


def printed(row):
    beside = "".join(
        f"{row[field]:{width}}" if field in row else f"{'–':>{width.split('.')[0]}}"
        for field, width in (("genetic_s", "12.4f"), ("genetic_search_seconds", "9.1f"))
    )
    ratio = f"{row['ratio']:8.3f}" if "ratio" in row else f"{'–':>8}"
    best = "optimal" if row["optimal"] else ""
    ours = f"{row['ours_s']:12.4f}{row['ours_search_seconds']:9.1f}"
    return f"{row['network']:28}{beside}{ours}{ratio}{row['lower_bound_s']:12.4f}  {best}".rstrip()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=4900, help="the genetic algorithm's trials; DT-FM's are 4900")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    print(f"communication in seconds a step; the genetic algorithm with {arguments.trials} trials")
    print(f"{'network':28}{'genetic':>12}{'search s':>9}{'ours':>12}{'search s':>9}{'ratio':>8}{'bound':>12}")
    rows = []
    for name, problem, beside in networks():
        rows.append(measured(name, problem, beside, arguments.trials))
        print(printed(rows[-1]), flush=True)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps({"trials": arguments.trials, "networks": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
