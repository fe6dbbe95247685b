"""A small, plausible DuckDB file with the store's own tables and views, filled by SQL alone: what the charts and the report are tested on.

Two workloads; a measured laptop and a measured cloud GPU with repeats and power samples, a laptop with no sensor whose
energy is estimated, and reference devices that are modelled. The numbers are invented for the tests and never shipped.
"""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import duckdb
import pyarrow

from edgecarbon.store import schema, views

WORKLOADS = {"opt-125m": 125_239_296, "opt-1.3b": 1_315_758_080}
# device: role, kind, provenance, boundary, precision, sustained FLOP/s, watts, relative half-width, embodied kg, life h
DEVICES: dict[str, tuple[str, str, str, str, str, float, float, float, float, float]] = {
    "h200": ("cloud", "measured", "measured", "gpu_board", "bf16", 4.2e14, 540, 0.04, 876, 35_000),
    "rtx-a5000-bf16": ("cloud", "modelled", "modelled", "gpu_board", "bf16", 4.0e13, 220, 0.45, 569, 35_000),
    "workstation": ("edge", "measured", "measured", "cpu_package", "fp32", 4.5e11, 62, 0.03, 300, 35_000),
    "laptop-without-sensor": ("edge", "measured", "estimated", "soc", "fp32", 2.6e11, 20, 0.98, 192, 35_000),
    "macbook-pro-m2-pro": ("edge", "modelled", "modelled", "wall", "fp32", 3.0e12, 38, 0.5, 192, 35_000),
    "snapdragon-888": ("edge", "modelled", "modelled", "battery", "fp32", 5.0e10, 5, 0.6, 50, 26_000),
}
USED_SHARE = {"cloud": 0.6, "edge": 0.2}


def build(path: Path, *, repeats: int = 3, samples: bool = True, devices: list[str] | None = None) -> Path:
    """Write the database and return its path. `samples=False` leaves steps, channels and samples empty."""
    randomness = random.Random(7)
    with duckdb.connect(str(path)) as connection:
        create_schema(connection)
        for workload, parameters in WORKLOADS.items():
            for device in devices or DEVICES:
                kind = DEVICES[device][1]
                for repeat in range(1, (repeats if kind == "measured" else 1) + 1):
                    _add_run(connection, workload, parameters, device, repeat, samples, randomness)
        _add_carbon(connection)
        _add_assumptions(connection)
    return path


def create_schema(connection: duckdb.DuckDBPyConnection) -> None:
    """The store's own tables and views, empty but for the quantiles that the intervals need."""
    for table in schema.TABLES:
        connection.execute(table.ddl())
    connection.executemany("INSERT INTO student_t VALUES (?, ?)", views.student_t_rows())
    for name, sql in views.VIEW_SQL.items():
        connection.execute(f"CREATE VIEW {name} AS {sql}")


def insert(connection: duckdb.DuckDBPyConnection, table: str, rows: list[tuple[Any, ...]]) -> None:
    """Insert rows of a table's first columns, in its order; through Arrow, since row by row takes seconds."""
    if rows:
        columns = {f"c{number}": list(column) for number, column in enumerate(zip(*rows, strict=True))}
        connection.register("incoming", pyarrow.table(columns))
        names = next(one.column_names for one in schema.TABLES if one.name == table)[: len(columns)]
        quoted = ", ".join(f'"{name}"' for name in names)
        connection.execute(f"INSERT INTO {table} ({quoted}) SELECT * FROM incoming")
        connection.unregister("incoming")


def _add_run(
    connection: duckdb.DuckDBPyConnection, workload: str, parameters: int, device: str, repeat: int, samples: bool,
    randomness: random.Random,
) -> None:  # fmt: skip
    role, kind, provenance, boundary, precision, flops, watts, half_width, *_ = DEVICES[device]
    batch, length, steps = 16, 512, 20
    flops_per_step = 6 * parameters * batch * length
    step_s = flops_per_step / flops * (1 + 0.01 * repeat)
    duration, tokens = steps * step_s, steps * batch * length
    joules = duration * watts * (1 + randomness.gauss(0, 0.01))
    measured = kind == "measured"
    flags = (["short"] if duration < 60 else []) if measured else []
    run_id = f"{workload}/{device}/r{repeat}"
    peak = flops / 0.42
    insert(connection, "runs", [(
        run_id, workload, device, repeat, role, provenance, kind, boundary, joules, joules * half_width / 1.96,
        joules * (1 - half_width), joules * (1 + half_width), "complete", joules * 0.8 if measured else None,
        joules * 0.03 if measured else None, watts * 0.2 if measured else None, 0.01, flags, 1.0 if measured else None,
        duration, steps, tokens, tokens / duration, f"facebook/{workload}", parameters, flops_per_step, flops, peak,
        "vendor data sheet, dense" if not measured else "measured matrix product", 0.42, precision, batch,
        4 if measured else None, length, 10.9 if measured else None, 7.2 if measured else None,
        "NVIDIA H200" if device == "h200" else None, "Example CPU" if measured else None,
        1_760_000_000.0 + repeat if measured else None, "results/attempts/x" if measured else None,
        "bundled" if measured else None, 1.0 if measured else None, "byte-level, 50,272 entries" if measured else None,
        "0" * 64)])  # fmt: skip
    source = {"measured": "intel-rapl:0/energy_uj", "estimated": "estimate: 5 W idle, 20 W busy"}.get(
        provenance, "data-sheet throughput and power"
    )
    if device == "h200":
        source = "nvmlDeviceGetTotalEnergyConsumption"
    component = {"gpu_board": "gpu0", "cpu_package": "package-0"}.get(boundary, "device")
    meter = {"h200": "nvml", "workstation": "rapl"}.get(device, "estimate" if measured else "model")
    insert(connection, "readings", [(run_id, "train", meter, component, joules, joules * half_width / 1.96, provenance,
                                     boundary, source, 0.1, 1.0, flags)])  # fmt: skip
    if measured and samples:
        _add_series(
            connection, run_id, meter, component, boundary, provenance, source, watts, step_s, steps, randomness
        )


def _add_series(
    connection: duckdb.DuckDBPyConnection, run_id: str, meter: str, component: str, boundary: str, provenance: str,
    source: str, watts: float, step_s: float, steps: int, randomness: random.Random,
) -> None:  # fmt: skip
    idle_s, warmup = 10.0, 2
    train = idle_s + warmup * step_s
    end = train + steps * step_s
    insert(connection, "windows", [(run_id, "idle_before", 0.0, idle_s), (run_id, "warmup", idle_s, train),
                                   (run_id, "train", train, end), (run_id, "idle_after", end, end + idle_s)])  # fmt: skip
    insert(connection, "steps", [
        (run_id, number if number > 0 else number + warmup, "train" if number > 0 else "warmup",
         train + (number - 1) * step_s, step_s * (1.4 if number < 0 else 1 + randomness.gauss(0, 0.02)),
         10.9 - 3.5 * (1 - math.exp(-(number + 1) / 6)) + randomness.gauss(0, 0.05), 8192)
        for number in range(1 - warmup, steps + 1)])  # fmt: skip
    channels = [(f"{meter}/{component}/energy", "energy", "J", boundary)]
    if meter == "nvml":
        channels += [
            ("nvml/gpu0/temperature", "temperature", "C", None),
            ("nvml/gpu0/frequency", "frequency", "MHz", None),
        ]
    insert(connection, "channels", [(run_id, channel, meter, component, quantity, unit, covers, provenance, source)
                                    for channel, quantity, unit, covers in channels])  # fmt: skip
    period = (end + idle_s) / 400
    rows, joules, celsius = [], 0.0, 34.0
    for tick in range(401):
        t = tick * period
        busy = idle_s < t <= end
        joules += (watts if busy else watts * 0.2) * (1 + randomness.gauss(0, 0.03)) * period
        celsius += ((68 if busy else 34) - celsius) * min(1.0, period / 15)
        rows.append((run_id, t, channels[0][0], joules))
        if meter == "nvml":
            rows += [
                (run_id, t, "nvml/gpu0/temperature", celsius),
                (run_id, t, "nvml/gpu0/frequency", 1980.0 if busy else 345.0),
            ]
    insert(connection, "samples", rows)


def _add_carbon(connection: duckdb.DuckDBPyConnection) -> None:
    runs = connection.execute(
        "SELECT run_id, workload, device, repeat, role, energy_joules, duration_s, tokens, steps, boundary, provenance FROM runs"
    ).fetchall()
    rows, totals = [], {}
    for run_id, workload, device, repeat, role, joules, duration, tokens, steps, boundary, provenance in runs:
        overhead = 1.43 if role == "cloud" else 1.15
        operational = joules / 3.6e6 * overhead * 494
        hours, (kilograms, life) = duration / 3600, DEVICES[device][8:]
        network = 0.0 if role == "cloud" else 2 * 0.006 * 494 * 0.01
        embodied = {
            "sunk": 0.0 if role == "edge" else kilograms * 1000 * hours / life,
            "time_share": kilograms * 1000 * hours / life,
            "used_hours": kilograms * 1000 * hours / life / USED_SHARE[role],
            "marginal_wear": kilograms * 20 * hours / life,
        }
        for attribution, grams in embodied.items():
            total = operational + grams + network
            totals[workload, device, attribution] = total
            for unit, divisor in (("run", 1.0), ("step", float(steps)), ("million_tokens", tokens / 1e6)):
                rows.append((
                    "default", run_id, workload, device, repeat, role, attribution, unit, operational / divisor,
                    grams / divisor, network / divisor, total / divisor, total * 0.7 / divisor, total * 1.6 / divisor,
                    joules, boundary, provenance, overhead, 494.0, device))  # fmt: skip
    insert(connection, "carbon", rows)
    verdicts = []
    present = {device for _, device, _ in totals}
    for workload in WORKLOADS:
        for cloud in (device for device in present if DEVICES[device][0] == "cloud"):
            for edge in (device for device in present if DEVICES[device][0] == "edge"):
                verdicts += _pair(workload, cloud, edge, totals)
    insert(connection, "verdicts", sorted(verdicts))


def _pair(workload: str, cloud: str, edge: str, totals: dict[tuple[str, str, str], float]) -> list[tuple[Any, ...]]:
    # The phone is made to win on sunk carbon, so that a flip is among the cases.
    tilt = 26.0 if edge == "snapdragon-888" and cloud != "h200" else 1.0
    ratios = {name: tilt * totals[workload, cloud, name] / totals[workload, edge, name]
              for name in ("sunk", "time_share", "used_hours", "marginal_wear")}  # fmt: skip
    flips = len({ratio > 1 for ratio in ratios.values()}) > 1
    rows = []
    for name, ratio in ratios.items():
        probability = 1 / (1 + math.exp(-6 * math.log(ratio)))
        winner = "edge" if probability > 0.95 else "cloud" if probability < 0.05 else "unclear"
        differ = DEVICES[cloud][3] != DEVICES[edge][3]
        rows.append(("default", workload, cloud, edge, name, ratio, ratio / 2.2, ratio * 2.4, probability, winner, flips,
                     not differ, f"boundaries differ: {DEVICES[cloud][3]} against {DEVICES[edge][3]}" if differ else None))  # fmt: skip
    return rows


def _add_assumptions(connection: duckdb.DuckDBPyConnection) -> None:
    insert(connection, "assumptions", [
        ("default", "grid.world", 494.0, 440.0, 550.0, "g/kWh", "Ember, through carbontracker 2.4.7", 2024, "production mix",
         "CC BY 4.0", "published", "operational, network"),
        ("default", "pue", 1.135, 1.1, 1.58, "1", "Cloud Carbon Footprint", 2024, "data centre", "Apache-2.0", "published", "h200"),
        ("default", "charger.marginal", 1.15, 1.05, 1.18, "1", "85-95 % supply efficiency", None, "charger", "facts", "published",
         "edge"),
        ("default", "embodied.snapdragon-888", 50.0, 15.0, 84.0, "kg", "Fairphone 4, Galaxy Z Fold3, ADEME", 2022,
         "cradle to gate", "as cited", "published", "snapdragon-888"),
        ("default", "network.access", 0.006, 0.001, 0.06, "kWh/GB", "Aslan et al.", 2018, "access", "facts", "published", "edge"),
    ])  # fmt: skip
