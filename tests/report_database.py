"""A small, plausible database with the store's own tables and views: what the charts and the report are tested on.

Two workloads; a measured cloud GPU and a measured workstation with repeats and power samples, a laptop with no sensor,
whose energy is estimated, and reference devices that are modelled. The workstation is throttled for heat, and the GPU's
host is read beside it. The numbers are invented for the tests.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow

import report_decisions
from edgecarbon.store import schema, views
from edgecarbon.vocabulary import boundary_words

WORKLOADS = {"opt-125m": 125_239_296, "opt-1.3b": 1_315_758_080}
BATCH, LENGTH, STEPS, WARMUP, IDLE_S = 16, 512, 20, 2, 10.0


@dataclass(frozen=True)
class Device:
    role: str
    kind: str
    provenance: str
    boundary: str
    precision: str
    flops: float
    watts: float
    half_width: float
    embodied_kg: float
    life_hours: float
    meter: str = "model"
    component: str = "device"
    source: str = "data-sheet throughput and power"


DEVICES = {
    "h200": Device("cloud", "measured", "measured", "gpu_board", "bf16", 4.2e14, 540, 0.04, 876, 35_000,
                   "nvml", "gpu0", "nvmlDeviceGetTotalEnergyConsumption"),
    "rtx-a5000-bf16": Device("cloud", "modelled", "modelled", "gpu_board", "bf16", 4.0e13, 220, 0.45, 569, 35_000),
    "workstation": Device("edge", "measured", "measured", "cpu_package", "fp32", 4.5e11, 62, 0.03, 300, 35_000,
                          "rapl", "package-0", "intel-rapl:0/energy_uj"),
    "laptop-without-sensor": Device("edge", "measured", "estimated", "soc", "fp32", 2.6e11, 20, 0.98, 192, 35_000,
                                    "estimate", "cpu", "5 W idle + 15 W x CPU utilisation"),
    "macbook-pro-m2-pro": Device("edge", "modelled", "modelled", "wall", "fp32", 3.0e12, 38, 0.5, 192, 35_000),
    "snapdragon-888": Device("edge", "modelled", "modelled", "battery", "fp32", 5.0e10, 5, 0.6, 50, 26_000),
}  # fmt: skip
DEFAULT = {
    "scenario": "default", "title": "Default assumptions", "description": "Both sides on one grid.", "based_on": "base",
    "energy": "gross", "edge_already_on": False, "attributions": ["sunk", "time_share", "used_hours", "marginal_wear"],
    "cloud_attribution": "used_hours", "device_facts_first": True, "cloud_data_path": ["core"],
    "edge_data_path": ["core", "radio"], "weights_every_steps": None, "cloud_weights_path": [],
    "edge_weights_path": ["radio", "radio"], "seed": 1, "draws": 4000, "sobol_samples": 512, "morris_trajectories": 20,
}  # fmt: skip
PAPER = {
    "scenario": "hotcarbon2025", "title": "HotCarbon 2025", "description": "As far as it is known.", "based_on": "default",
    "cloud_data_path": [],
}  # fmt: skip
SCENARIOS: list[dict[str, Any]] = [DEFAULT, {**DEFAULT, **PAPER}]
THROTTLED_DEVICE, THROTTLED_FROM = "workstation", 0.6
USED_SHARE = {"cloud": 0.6, "edge": 0.2}


def build(path: Path, *, repeats: int = 3, samples: bool = True, devices: list[str] | None = None) -> Path:
    """Write the database and return its path. `samples=False` leaves windows, steps, channels and samples empty."""
    randomness = random.Random(7)
    with duckdb.connect(str(path)) as connection:
        create_schema(connection)
        for workload in WORKLOADS:
            for device in devices or DEVICES:
                for repeat in range(1, (repeats if DEVICES[device].kind == "measured" else 1) + 1):
                    _add_run(connection, workload, device, repeat, samples, randomness)
        _add_carbon(connection)
        _add_assumptions(connection)
        for row in SCENARIOS:
            insert_named(connection, "scenarios", **row)
        _add_decisions(connection)
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
    if not rows:
        return
    columns = {f"c{number}": list(column) for number, column in enumerate(zip(*rows, strict=True))}
    connection.register("incoming", pyarrow.table(columns))
    names = next(one.column_names for one in schema.TABLES if one.name == table)[: len(columns)]
    quoted = ", ".join(f'"{name}"' for name in names)
    connection.execute(f"INSERT INTO {table} ({quoted}) SELECT * FROM incoming")
    connection.unregister("incoming")


def insert_rows(connection: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]]) -> None:
    """Insert rows by column names, through Arrow; columns that the rows lack are NULL."""
    if rows:
        connection.register("incoming", pyarrow.Table.from_pylist(rows))
        connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")
        connection.unregister("incoming")


def insert_named(connection: duckdb.DuckDBPyConnection, table: str, **values: Any) -> None:
    """Insert one row by column names; the others are NULL."""
    names = ", ".join(f'"{name}"' for name in values)
    marks = ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values()))


def _add_run(
    connection: duckdb.DuckDBPyConnection,
    workload: str,
    name: str,
    repeat: int,
    samples: bool,
    randomness: random.Random,
) -> None:
    device = DEVICES[name]
    flops_per_step = 6 * WORKLOADS[workload] * BATCH * LENGTH
    step_s = flops_per_step / device.flops * (1 + 0.01 * repeat)
    duration, tokens = STEPS * step_s, STEPS * BATCH * LENGTH
    joules = duration * device.watts * (1 + randomness.gauss(0, 0.01))
    measured = device.kind == "measured"
    flags = ["short"] if measured and duration < 60 else []
    if name == THROTTLED_DEVICE and samples:
        flags = ["thermal_throttling", *flags]
    run_id = f"{workload}/{name}/r{repeat}"
    common = {
        "run_id": run_id, "workload": workload, "device": name, "repeat": repeat, "role": device.role,
        "provenance": device.provenance, "record_kind": device.kind, "boundary": device.boundary,
        "energy_joules": joules, "energy_uncertainty_joules": joules * device.half_width / 1.96,
        "energy_low_joules": joules * (1 - device.half_width), "energy_high_joules": joules * (1 + device.half_width),
        "energy_status": "complete", "flags": flags,
        "duration_s": duration, "steps": STEPS, "tokens": tokens, "tokens_per_second": tokens / duration,
        "model": f"facebook/{workload}", "parameters": WORKLOADS[workload], "flops_per_step": flops_per_step,
        "model_flops_per_second": device.flops, "peak_flops_per_second": device.flops / 0.42,
        "peak_source": "measured matrix product" if measured else "vendor data sheet, dense", "mfu": 0.42,
        "precision": device.precision, "batch_size": BATCH, "sequence_length": LENGTH,
    }  # fmt: skip
    ran = {
        "loss_first": 10.9, "loss_last": 7.2, "accelerator": "NVIDIA H200" if device.meter == "nvml" else "cpu",
        "cpu_model": "Example CPU", "started_unix_s": 1_760_000_000.0 + repeat, "dataset": "bundled",
        "dataset_epochs": 1.0, "tokenizer": "byte-level, 50,272 entries",
    }  # fmt: skip
    insert_named(connection, "runs", **common, **(ran if measured else {}))
    uncertainty = joules * device.half_width / 1.96
    reading = (device.meter, device.component, joules, uncertainty, device.provenance, device.boundary, device.source)
    insert(connection, "readings", [(run_id, "train", *reading, 0.1, 1.0, flags)])
    if measured and samples:
        throttled = name == THROTTLED_DEVICE
        _add_totals(connection, run_id, device, joules, duration, flags)
        _add_series(connection, run_id, device, step_s, throttled, randomness)
        _add_story(connection, run_id, device, joules / tokens, duration, throttled)


def _add_totals(
    connection: duckdb.DuckDBPyConnection,
    run_id: str,
    device: Device,
    joules: float,
    duration_s: float,
    flags: list[str],
) -> None:
    """The headline; of the GPU also its host's packages."""
    found = [(device.boundary, device.meter, device.component, joules, device.provenance, True)]
    if device.boundary == "gpu_board":
        found.append(("cpu_package", "rapl", "package-0", 0.3 * joules, "measured", False))
    for boundary, meter, component, energy, provenance, is_headline in found:
        insert_named(
            connection, "run_totals", run_id=run_id, window="train", boundary=boundary, meters=[meter],
            components=[component], missing=[], joules=energy, uncertainty_joules=energy * device.half_width / 1.96,
            low_joules=energy * (1 - device.half_width), high_joules=energy * (1 + device.half_width),
            mean_watts=energy / duration_s, provenance=provenance, status="complete", coverage=1.0, flags=flags,
            is_headline=is_headline, difference_joules=None if is_headline else energy - joules,
            difference_relative=None if is_headline else energy / joules - 1,
        )  # fmt: skip


def _add_story(
    connection: duckdb.DuckDBPyConnection,
    run_id: str,
    device: Device,
    joules_per_token: float,
    duration_s: float,
    throttled: bool,
) -> None:
    """The thermal story; what has no sensor (the laptop) has one that says only what half of the window cost."""
    start_s = IDLE_S + duration_s * WARMUP / STEPS
    facts: dict[str, Any] = {"split": "half", "split_s": start_s + duration_s / 2, "background_utilisation": 0.01}
    if device.meter == "nvml":
        facts |= _warmth("gpu0", (60.0, 68.0, 68.0), (1980.0, 1980.0, 1980.0))
        facts |= {"throttled_s": 0.0, "throttled_relative": 0.0, "evidence": "throttle_reasons"}
    if throttled:
        began_s, end_s = start_s + THROTTLED_FROM * duration_s, start_s + duration_s
        facts |= _warmth("cpu", (78.0, 96.0, 95.0), (3600.0, 2600.0, 2600.0))
        facts |= {
            "throttled_s": end_s - began_s, "throttled_relative": 1 - THROTTLED_FROM, "throttling_began_s": began_s,
            "evidence": "frequency_falls", "split": "throttling", "split_s": began_s,
        }  # fmt: skip
        stretch = {"start_s": began_s, "end_s": end_s, "component": "cpu", "evidence": "frequency_falls"}
        insert_named(connection, "throttled", run_id=run_id, **stretch)
    dearer = 1.15 if throttled else 1.0
    per_token = {
        "before_joules_per_token": joules_per_token, "before_uncertainty_joules": 0.02 * joules_per_token,
        "after_joules_per_token": dearer * joules_per_token, "after_uncertainty_joules": 0.02 * joules_per_token,
    }  # fmt: skip
    insert_named(connection, "run_heat", run_id=run_id, **facts, **per_token)


def _warmth(
    component: str, celsius: tuple[float, float, float], mhz: tuple[float, float, float]
) -> dict[str, str | float]:
    """Temperatures at the start, highest and at the end; clocks at the start, lowest and at the end."""
    facts: dict[str, str | float] = {"temperature_component": component, "frequency_component": component}
    for which, degrees in zip(("start", "highest", "end"), celsius, strict=True):
        facts[f"temperature_{which}_celsius"] = degrees
    for which, clock in zip(("start", "lowest", "end"), mhz, strict=True):
        facts[f"frequency_{which}_mhz"] = clock
    return facts


def _add_series(
    connection: duckdb.DuckDBPyConnection,
    run_id: str,
    device: Device,
    step_s: float,
    throttled: bool,
    randomness: random.Random,
) -> None:
    train = IDLE_S + WARMUP * step_s
    end = train + STEPS * step_s
    edges = {
        "idle_before": (0.0, IDLE_S),
        "warmup": (IDLE_S, train),
        "train": (train, end),
        "idle_after": (end, end + IDLE_S),
    }
    insert(connection, "windows", [(run_id, name, *edge) for name, edge in edges.items()])
    steps = []
    for number in range(1 - WARMUP, STEPS + 1):
        phase, shown = ("train", number) if number > 0 else ("warmup", number + WARMUP)
        loss = 10.9 - 3.5 * (1 - math.exp(-(number + 1) / 6)) + randomness.gauss(0, 0.05)
        steps.append((run_id, shown, phase, train + (number - 1) * step_s, step_s, loss, BATCH * LENGTH))
    insert(connection, "steps", steps)

    prefix = f"{device.meter}/{device.component}"
    channels = [(f"{prefix}/energy", "energy", "J", device.boundary)]
    if device.meter == "nvml" or throttled:
        channels += [
            (f"{prefix}/temperature", "temperature", "C", None),
            (f"{prefix}/frequency", "frequency", "MHz", None),
        ]
    told = (device.provenance, device.source)
    rows = [(run_id, channel, device.meter, device.component, *facts, *told) for channel, *facts in channels]
    insert(connection, "channels", rows)
    insert(connection, "samples", _samples(run_id, channels, device.watts, train, end, throttled, randomness))


def _samples(
    run_id: str, channels: list[tuple[str, str, str, str | None]], watts: float, train: float, end: float,
    throttled: bool, randomness: random.Random,
) -> list[tuple[Any, ...]]:  # fmt: skip
    period = (end + IDLE_S) / 400
    hottest, clock = (96, 3600.0) if throttled else (68, 1980.0)
    began = train + THROTTLED_FROM * (end - train) if throttled else end
    rows: list[tuple[Any, ...]] = []
    joules, celsius = 0.0, 34.0
    for tick in range(401):
        t = tick * period
        busy = IDLE_S < t <= end
        joules += (watts if busy else watts * 0.2) * (1 + randomness.gauss(0, 0.03)) * period
        celsius += ((hottest if busy else 34) - celsius) * min(1.0, period / 15)
        values = {
            "energy": joules,
            "temperature": celsius,
            "frequency": 345.0 if not busy else clock if t <= began else 2600.0,
        }
        rows += [(run_id, t, channel, values[quantity]) for channel, quantity, *_ in channels]
    return rows


def _add_carbon(connection: duckdb.DuckDBPyConnection) -> None:
    runs = connection.execute(
        "SELECT run_id, workload, device, repeat, energy_joules, duration_s, tokens, steps FROM runs"
    ).fetchall()
    rows: list[tuple[Any, ...]] = []
    totals: dict[tuple[str, str, str], float] = {}
    for run_id, workload, name, repeat, joules, duration, tokens, steps in runs:
        device = DEVICES[name]
        overhead, network = (1.43, 0.0) if device.role == "cloud" else (1.15, 2 * 0.006 * 494 * 0.01)
        operational = joules / 3.6e6 * overhead * 494
        share = device.embodied_kg * 1000 * duration / 3600 / device.life_hours
        embodied = {
            "sunk": 0.0 if device.role == "edge" else share,
            "time_share": share,
            "used_hours": share / USED_SHARE[device.role],
            "marginal_wear": share * 0.02,
        }
        facts = (joules, device.boundary, device.provenance, overhead, 494.0, name)
        for attribution, grams in embodied.items():
            total = operational + grams + network
            totals[workload, name, attribution] = total
            for unit, divisor in (("run", 1.0), ("step", float(steps)), ("million_tokens", tokens / 1e6)):
                parts = [one / divisor for one in (operational, grams, network, total, total * 0.7, total * 1.6)]
                head = ("default", run_id, workload, name, repeat, device.role)
                rows.append((*head, attribution, unit, *parts, *facts))
    insert(connection, "carbon", rows)
    present = sorted({name for _, name, _ in totals})
    pairs = [(a, b) for a in present for b in present if (DEVICES[a].role, DEVICES[b].role) == ("cloud", "edge")]
    insert(
        connection, "verdicts", [row for work in WORKLOADS for pair in pairs for row in _verdict(work, *pair, totals)]
    )


def _add_decisions(connection: duckdb.DuckDBPyConnection) -> None:
    cursor = connection.execute("SELECT * FROM verdicts")
    names = [column[0] for column in cursor.description]
    verdicts = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    for table, rows in report_decisions.tables(verdicts).items():
        insert_rows(connection, table, rows)


def _verdict(workload: str, cloud: str, edge: str, totals: dict[tuple[str, str, str], float]) -> list[tuple[Any, ...]]:
    # The phone is made to win where its making is not charged, so that a flip is among the cases.
    tilt = 26.0 if (cloud, edge) == ("rtx-a5000-bf16", "snapdragon-888") else 1.0
    ratios = {
        name: tilt * totals[workload, cloud, name] / totals[workload, edge, name]
        for name in ("sunk", "time_share", "used_hours", "marginal_wear")
    }
    flips = len({ratio > 1 for ratio in ratios.values()}) > 1
    here, there = DEVICES[cloud].boundary, DEVICES[edge].boundary
    # Of an estimate a verdict is in doubt; other boundaries are brought together by a factor.
    doubt = f"{edge}: energy is estimated, no sensor was read" if DEVICES[edge].provenance == "estimated" else None
    apart = f"boundaries differ ({boundary_words(here)} against {boundary_words(there)})" if here != there else None
    caveat = "; ".join(filter(None, (doubt, apart))) or None
    bridged_by = ["boundary_factor/around-gpu-board"] if apart else []
    rows: list[tuple[Any, ...]] = []
    for name, ratio in ratios.items():
        probability = 1 / (1 + math.exp(-6 * math.log(ratio)))
        winner = "edge" if probability > 0.95 else "cloud" if probability < 0.05 else "unclear"
        ends = (ratio / 2.2, ratio * 2.4)
        rows.append(
            (
                "default",
                workload,
                cloud,
                edge,
                name,
                ratio,
                *ends,
                probability,
                winner,
                flips,
                not doubt,
                caveat,
                bridged_by,
            )
        )
    return rows


def _add_assumptions(connection: duckdb.DuckDBPyConnection) -> None:
    halves = "split_log_uniform"
    rows: list[tuple[Any, ...]] = [
        ("grid.world", 494.0, 440.0, 550.0, halves, "g/kWh",
         "Ember", 2024, "production mix", "CC BY 4.0", "published", "both"),
        ("pue", 1.135, 1.1, 1.58, halves, "1",
         "Cloud Carbon Footprint", 2024, "data centre", "Apache-2.0", "published", "h200"),
        ("charger.marginal", 1.15, 1.05, 1.18, "normal", "1",
         "supply efficiency", None, "charger", None, "published", "edge"),
        ("embodied.phone", 50.0, 15.0, 84.0, halves, "kg",
         "Fairphone 4", 2022, "cradle to gate", "as cited", "published", "phone"),
        ("radio", 1.39e-5, 1.39e-5, 1.39e-5, halves, "kWh/GB",
         "arXiv 2507.01803", 2025, "radio", "facts", "published", None),
    ]  # fmt: skip
    insert(connection, "assumptions", [("default", *row) for row in rows])
