"""Synthetic records and attempts, for tests and benchmarks. Nothing here was measured: every name says so."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from edgecarbon.records import canonical_sha256
from edgecarbon.store import connect
from edgecarbon.store.parquet import WRITE_OPTIONS, readings_table, run_table, samples_table, write_run_parquet
from edgecarbon.store.schema import SCENARIO_TABLES
from edgecarbon.store.schema_fleets import FLEET_SCALING, FLEET_TABLES
from edgecarbon.store.schema_runs import RUNS, STEPS

TICK_S = 0.1
IDLE_S = 2.0
SOURCE = "synthetic, not measured"
PARAMETERS = 125_239_296


def channel(name: str, boundary: str | None, unit: str = "J", **extra: Any) -> dict[str, Any]:
    """A channel called METER/COMPONENT/QUANTITY."""
    meter, component, quantity = name.split("/")
    facts = {"update_period_s": TICK_S, "resolution": 0.001, "accuracy_relative": 0.02, "wraps": False}
    limits = {"wrap_joules": None, "max_watts": None, "flags": []}
    where = {"boundary": boundary, "provenance": "measured", "source": SOURCE}
    names = {"id": name, "meter": meter, "component": component, "quantity": quantity, "unit": unit}
    return {**names, **where, **facts, **limits, **extra}


CHANNELS = [
    channel("nvml/gpu0/energy", "gpu_board"),
    channel("nvml/gpu0/power", "gpu_board", "W"),
    channel("nvml/gpu0/temperature", None, "C"),
    channel("rapl/package-0/energy", "cpu_package", wraps=True, wrap_joules=262_143.0, max_watts=300.0),
    channel("rapl/dram/energy", "dram", wraps=True, wrap_joules=65_712.0, max_watts=60.0),
    channel("nvml/gpu0/throttle", None, "bitmask", resolution=1.0, accuracy_relative=None),
]
NAMES = [one["id"] for one in CHANNELS]


def reading(
    joules: float | None, name: str = "wall/device/energy", boundary: str = "wall", window: str = "train", **extra: Any
) -> dict[str, Any]:
    """A reading; no joules make an absent one."""
    meter, component, _ = name.split("/")
    return {
        "window": window, "meter": meter, "component": component, "channel": name, "joules": joules,
        "uncertainty_joules": None if joules is None else 0.0, "provenance": "absent" if joules is None else "measured",
        "boundary": boundary, "source": SOURCE, "update_period_s": TICK_S, "coverage": 0.0 if joules is None else 1.0,
        "flags": ["no_data", "partial"] if joules is None else [], **extra,
    }  # fmt: skip


def missing_record(run_id: str, kind: str = "unreachable", reason: str = "it was away.") -> dict[str, Any]:
    """The record of a run that did not come about."""
    workload, device, repeat = run_id.split("/")
    return {
        "schema": "edgecarbon.record/1", "run_id": run_id, "workload": workload, "device": device,
        "repeat": int(repeat[1:]), "role": "edge", "provenance": "absent", "attempt": None, "attempt_files": {},
        "missing": {"kind": kind, "reason": reason, "remedy": "Switch it on.", "unix_s": 1.7e9},
        "data": None, "spec": None, "result": None, "content_sha256": "0" * 64,
    }  # fmt: skip


def record(
    run_id: str = "synthetic-opt/synthetic-gpu/r1",
    *,
    role: str = "edge",
    steps: int = 10,
    duration_s: float = 100.0,
    kind: str = "cpu",
    readings: list[dict[str, Any]] | None = None,
    channels: list[dict[str, Any]] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """The record of a measured run, without files; `sealed` or `write_attempt` gives it its hash."""
    workload, device, repeat = run_id.split("/")
    tokens = steps * 16 * 512
    flops_per_step = 6 * PARAMETERS * 16 * 512
    return {
        "schema": "edgecarbon.record/1", "run_id": run_id, "workload": workload, "device": device,
        "repeat": int(repeat[1:]), "role": role, "provenance": "measured", "attempt": None, "attempt_files": {},
        "data": {"schema": "edgecarbon.tokens/1", "dataset": "synthetic", "epochs": 1.0, "tokenizer": "synthetic"},
        "spec": {"schema": "edgecarbon.spec/1", "run_id": run_id, "model": {"name": "synthetic/opt-125m"}},
        "result": {
            "schema": "edgecarbon.result/1", "run_id": run_id, "status": "ok", "error": None,
            "started_unix_s": 1.7e9 + seed,
            "versions": {"python": "3.13.1", "torch": "2.13.0"},
            "device_facts": {"cpu_model": "synthetic CPU", "accelerator": {"kind": kind, "name": f"synthetic {kind}"}},
            "windows": [
                {"name": "idle_before", "start_s": 0.0, "end_s": IDLE_S},
                {"name": "train", "start_s": IDLE_S, "end_s": IDLE_S + duration_s},
                {"name": "idle_after", "start_s": IDLE_S + duration_s, "end_s": 2 * IDLE_S + duration_s},
            ],
            "training": {
                "parameters": PARAMETERS, "steps": steps, "batch_size": 16, "sequence_length": 512, "tokens": tokens,
                "duration_s": duration_s, "tokens_per_second": tokens / duration_s, "flops_per_step": flops_per_step,
                "model_flops_per_second": flops_per_step * steps / duration_s, "peak_flops_per_second": 1e14,
                "peak_source": SOURCE, "mfu": flops_per_step * steps / duration_s / 1e14, "precision": "fp32",
                "micro_batch_size": 4, "loss_first": 10.8, "loss_last": 7.5,
            },
            "channels": CHANNELS if channels is None else channels,
            "readings": [reading(100.0 * duration_s)] if readings is None else readings,
        },
    }  # fmt: skip


def modelled_record(run_id: str, joules: float, low_joules: float, high_joules: float) -> dict[str, Any]:
    """The record of a reference device: no spec, data, attempt or channels, one modelled reading with its range."""
    data = record(run_id, channels=[], readings=[
        reading(joules, "model/device/energy", "battery", provenance="modelled", uncertainty_joules=None,
                low_joules=low_joules, high_joules=high_joules)])  # fmt: skip
    data["result"]["windows"] = [window for window in data["result"]["windows"] if window["name"] == "train"]
    return {**data, "provenance": "modelled", "spec": None, "data": None, "attempt_files": {}}


def sealed(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "content_sha256": canonical_sha256(data)}


def ticks(count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """(count, 1 + channels) of `CHANNELS`: time in seconds, and about 100 W of GPU, 30 W of package, 10 W of memory.

    In the last tenth of them the GPU's driver names heat.
    """
    randomness = np.random.default_rng(seed)
    joules = np.cumsum(randomness.normal(100.0, 5.0, count) * TICK_S).round(3)
    power, celsius = randomness.normal(100.0, 5.0, count).round(2), np.full(count, 55.0)
    reasons = np.where(np.arange(count) < count - count // 10, 0.0, 0x20)
    time_s = (np.arange(count) * TICK_S).round(6)
    return np.stack([time_s, joules, power, celsius, (joules * 0.3).round(6), (joules * 0.1).round(6), reasons], axis=1)


def write_attempt(data: dict[str, Any], folder: Path, values: list[list[float | None]] | None = None) -> dict[str, Any]:
    """Write steps.jsonl and samples.jsonl.gz of a record into `folder`; returns the record, sealed with their hashes."""
    folder.mkdir(parents=True, exist_ok=True)
    training = data["result"]["training"]
    step_s = training["duration_s"] / training["steps"]
    per_step = {"phase": "train", "duration_s": step_s, "loss": 9.0, "tokens": training["tokens"] // training["steps"]}
    steps = [{"step": n + 1, "start_s": IDLE_S + n * step_s, **per_step} for n in range(training["steps"])]
    names = [one["id"] for one in data["result"]["channels"]]
    rows = ticks(30, data["repeat"]).tolist() if values is None else values
    header = {"schema": "edgecarbon.samples/1", "channels": names}
    files = {}
    for name, lines in (("steps.jsonl", steps), ("samples.jsonl.gz", [header, *rows])):
        content = "".join(json.dumps(line) + "\n" for line in lines).encode()
        if name.endswith(".gz"):
            content = gzip.compress(content, mtime=0)
        (folder / name).write_bytes(content)
        files[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    return sealed({**data, "attempt": str(folder), "attempt_files": files})


def parquet_paths(root: Path, run_id: str) -> dict[str, Path]:
    return {name: root / run_id / f"{name}.parquet" for name in ("run", "readings", "steps", "samples")}


def write_run(root: Path, data: dict[str, Any], values: list[list[float | None]] | None = None) -> Path:
    """Attempt (but of a modelled record) and Parquet of a record under `root`; returns the path of run.parquet."""
    outputs = parquet_paths(root / "parquet", data["run_id"])
    if data["provenance"] == "modelled":
        write_run_parquet(sealed(data), None, outputs)
    else:
        attempt = root / "attempts" / data["run_id"]
        write_run_parquet(write_attempt(data, attempt, values), attempt, outputs)
    return outputs["run"]


def stored_runs(database: Path) -> list[dict[str, Any]]:
    """The rows of `runs` of a database, as `read_runs` has them from Parquet."""
    with connect(database) as connection:
        found = connection.sql(f"SELECT {RUNS.select_list} FROM runs ORDER BY workload, device, repeat")
        return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def write_scenario(
    root: Path,
    name: str,
    runs: list[dict[str, Any]],
    grams: float = 5.0,
    fleets: Sequence[dict[str, Any]] | None = None,
) -> Path:
    """Carbon Parquet of a scenario for these runs (rows of `runs`), with made-up grams; returns its directory.

    `fleets` are rows of `fleet_carbon`; without them there is one, of a fleet that is in no other table.
    """
    parts = {"operational_grams": grams, "embodied_grams": 2.0, "network_grams": 1.0, "total_grams": grams + 3}
    copied = ("run_id", "workload", "device", "repeat", "role", "energy_joules", "boundary", "provenance")
    carbon = [
        {**{key: run[key] for key in copied}, **parts, "attribution": attribution, "functional_unit": "million_tokens"}
        for run in runs
        for attribution in ("sunk", "time_share", "used_hours", "marginal_wear")
    ]
    pair = {"workload": "synthetic-opt", "cloud_device": "synthetic-gpu", "edge_device": "synthetic-phone"}
    verdict = {"attribution": "sunk", "ratio_cloud_over_edge": 1.5, "winner": "edge", "flips": True, "comparable": True}
    verdicts = [{**pair, **verdict}]
    assumptions = [{"name": "synthetic/pue", "value": 1.1, "low": 1.05, "high": 1.2, "unit": "1", "source": SOURCE}]
    fleet_rows = fleet_carbon()[:1] if fleets is None else fleets
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    choices = {
        "title": name, "energy": "gross", "edge_already_on": False, "attributions": ["sunk"],
        "cloud_attribution": "used_hours", "device_facts_first": True, "cloud_data_path": [], "edge_data_path": [],
        "cloud_weights_path": [], "edge_weights_path": [],
        "seed": 1, "draws": 4000, "sobol_samples": 512, "morris_trajectories": 20,
    }  # fmt: skip
    given = {
        "carbon": carbon, "verdicts": verdicts, "assumptions": assumptions, "scenarios": [choices],
        "fleet_carbon": fleet_rows,
    }  # fmt: skip
    for table in SCENARIO_TABLES:
        rows = [{"scenario": name, **row} for row in given.get(table.name, [])]
        content = pa.Table.from_pylist(rows, schema=table.arrow_schema())
        pq.write_table(content, folder / f"{table.name}.parquet", compression="zstd")
    return folder


def fleet_run(
    name: str = "synthetic-opt/synthetic-fleet/r1",
    *,
    stages: int = 4,
    replicas: int = 1,
    micro_batches: int = 4,
    forward_s: float = 0.5,
    **facts: Any,
) -> list[list[dict[str, Any]]]:
    """Rows of `fleet_runs`, `fleet_members` and `fleet_spans` of one run: GPipe on equal stages.

    Args:
        name: WORKLOAD/FLEET/rN, or WORKLOAD/FLEET/simulated.
        forward_s: a micro-batch's forward pass at one stage; all else follows from it.
        facts: columns of `fleet_runs` in which this run differs.
    """
    workload, fleet, which = name.split("/")
    measured = which != "simulated"
    key = {"fleet_work": f"{workload}/{fleet}", "fleet_run": name}
    tau, count = 0.2 * forward_s, stages * replicas
    passes_s = (micro_batches + stages) * 3 * (forward_s + tau)
    step_s = passes_s + forward_s
    members: list[dict[str, Any]] = []
    spans: list[dict[str, Any]] = []
    for rank in range(count):
        replica, stage = divmod(rank, stages)
        who = {**key, "rank": rank, "member": f"member-{rank + 1}", "stage": stage, "replica": replica}
        mine = _fleet_spans(stage, stages, micro_batches, forward_s, tau, passes_s)
        spans += [{**who, **one} for one in mine]
        busy_s = sum(
            one["end_s"] - one["start_s"] for one in mine if one["kind"] in ("forward", "backward", "optimizer")
        )
        members.append({
            **who, "device": f"synthetic-{rank % 3}", "layers": 3, "busy_s": busy_s, "wait_s": step_s - busy_s,
            "exchange_s": 0.5 * forward_s, "sent_bytes": 3e6 * (1 + stage), "received_bytes": 3e6,
            "compute_joules": 8.0 * busy_s, "idle_joules": 2.0 * (step_s - busy_s), "radio_joules": 1.5 + stage,
            "radio_provenance": "modelled", "provenance": "estimated" if measured else "modelled", "boundary": "battery",
        })  # fmt: skip
    joules = sum(one["compute_joules"] + one["idle_joules"] + one["radio_joules"] for one in members)
    run = {
        **key, "workload": workload, "fleet": fleet, "repeat": int(which[1:]) if measured else None,
        "record_kind": "measured" if measured else "simulated", "provenance": members[0]["provenance"], "members": count,
        "left_out": [], "stages": stages, "replicas": replicas, "micro_batches": micro_batches, "pass_order": "gpipe",
        "link": "tls" if measured else None, "boundary_codec": "fp32", "gradient_codec": "fp32", "steps": 10,
        "tokens_per_step": 8192, "step_s": step_s, "tokens_per_second": 8192 / step_s, "energy_joules_per_step": joules,
        "loss_first": 10.8 if measured else None, "loss_last": 9.5 if measured else None, "virtual_host": False,
        "plan_statement": "optimal for the cost model", "record_sha256": "0" * 64, **facts,
    }  # fmt: skip
    return [[run], members, spans]


def _fleet_spans(
    stage: int, stages: int, micro_batches: int, forward_s: float, tau: float, passes_s: float
) -> list[dict[str, Any]]:
    """What a member of `fleet_run` does in a step, in order, less who it is."""
    found: list[dict[str, Any]] = []

    def add(kind: str, start_s: float, length_s: float, micro_batch: int | None = None, **peer: Any) -> None:
        found.append(
            {"kind": kind, "micro_batch": micro_batch, "start_s": start_s, "end_s": start_s + length_s, **peer}
        )

    beat, turn = forward_s + tau, (micro_batches + stages) * (forward_s + tau)
    for number in range(micro_batches):
        there, back = (number + stage) * beat, turn + 2 * (number + stages - 1 - stage) * beat
        if stage > 0:
            add("transfer", there - tau, tau, number, peer=f"member-{stage}")
        add("forward", there, forward_s, number)
        add("wait", there + forward_s, tau)
        add("backward", back, 2 * forward_s, number)
    for kind, place in (("reduce", 0.0), ("tie", 0.2), ("norm", 0.35)):
        add(kind, passes_s + place * forward_s, 0.15 * forward_s)
    add("optimizer", passes_s + 0.5 * forward_s, 0.5 * forward_s)
    return found


def missing_fleet_run(name: str, reason: str) -> list[list[dict[str, Any]]]:
    """The same of a run that did not come about."""
    workload, fleet, which = name.split("/")
    key = {"fleet_work": f"{workload}/{fleet}", "fleet_run": name, "workload": workload, "fleet": fleet}
    told = {"record_kind": "missing", "missing_reason": reason, "provenance": "absent", "repeat": int(which[1:])}
    return [[{**key, **told, "members": 4, "left_out": [], "record_sha256": "0" * 64}], [], []]


def write_fleet(root: Path, *runs: list[list[dict[str, Any]]]) -> Path:
    """Parquet of the runs of one fleet (of `fleet_run`) under `root`; returns its directory WORKLOAD/FLEET."""
    folder = root / runs[0][0][0]["fleet_work"]
    folder.mkdir(parents=True, exist_ok=True)
    for table, parts in zip(FLEET_TABLES, zip(*runs, strict=True), strict=True):
        content = pa.Table.from_pylist([row for part in parts for row in part], schema=table.arrow_schema())
        pq.write_table(content, folder / f"{table.name}.parquet", **WRITE_OPTIONS)
    return folder


def write_scaling(root: Path, workload: str = "synthetic-opt", variants: Sequence[str] = ("fp32", "int8")) -> Path:
    """Parquet of a scaling study under `root`, from 2 to 1,000 devices; returns its directory."""
    folder = root / workload
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "workload": workload, "device": "synthetic-phone", "variant": variant, "devices": devices, "stages": 1,
            "replicas": devices, "step_s": 10.0, "tokens_per_second": 50.0 * devices,
            "communication_bytes_per_token": 1e5 * devices / 4**order, "joules_per_token": 1.0 + 0.01 * devices,
            "radio_joules_per_token": 0.01 * devices / 4**order,
        }
        for order, variant in enumerate(variants)
        for devices in (2, 5, 10, 30, 100, 300, 1000)
    ]  # fmt: skip
    content = pa.Table.from_pylist(rows, schema=FLEET_SCALING.arrow_schema())
    pq.write_table(content, folder / f"{FLEET_SCALING.name}.parquet", **WRITE_OPTIONS)
    return folder


def fleet_carbon(
    name: str = "synthetic-opt/synthetic-fleet/r1", cloud_device: str | None = "synthetic-gpu", **facts: Any
) -> list[dict[str, Any]]:
    """Rows of `fleet_carbon` of a run under two attributions, less the scenario: the fleet emits less under `sunk` alone."""
    workload, fleet, _ = name.split("/")
    energy = {"energy_joules": 9000.0, "compute_joules": 6000.0, "idle_joules": 2000.0, "radio_joules": 1000.0}
    rows = []
    for attribution, embodied in (("sunk", 0.0), ("time_share", 4.0)):
        total = 1.0 + embodied
        cloud = {
            "cloud_energy_joules": 4000.0, "cloud_duration_s": 20.0, "cloud_total_grams": 2.0,
            "ratio_cloud_over_fleet": 2.0 / total, "ratio_low": 1.5 / total, "ratio_high": 2.5 / total,
            "probability_fleet_wins": 0.97 if total < 2 else 0.02,
        }  # fmt: skip
        rows.append({
            "fleet_run": name, "workload": workload, "fleet": fleet, "cloud_device": cloud_device,
            "attribution": attribution, **energy, "duration_s": 900.0, "operational_grams": 0.8,
            "embodied_grams": embodied, "network_grams": 0.2, "total_grams": total, "total_low_grams": 0.7 * total,
            "total_high_grams": 1.6 * total, "provenance": "estimated",
            **(cloud if cloud_device else {}), **facts,
        })  # fmt: skip
    return rows


def bulk(root: Path, runs: int, samples: int, *, devices: int = 20) -> list[Path]:
    """Parquet of many runs at once, for benchmarks: the store's own tables, but samples that never were JSON.

    Args:
        runs: number of runs; each device's are five repeats of as many workloads as it takes.
        samples: rows of `samples` over all runs, rounded down to whole ticks.
    """
    count = max(1, samples // runs // len(NAMES))
    shared = ticks(count)
    names = pa.array(NAMES)
    paths = []
    for index in range(runs):
        group, repeat = divmod(index, 5)
        device = f"synthetic-{group % devices}"
        run_id = f"synthetic-{group // devices}/{device}/r{repeat + 1}"
        joules = 1e4 * (1 + index % 7 / 100)
        idle = [reading(60.0, window=window) for window in ("idle_before", "idle_after")]
        readings = [reading(joules, uncertainty_joules=joules / 50), *idle]
        role = "cloud" if group % devices < devices // 2 else "edge"
        data = sealed(record(run_id, role=role, readings=readings, seed=index))
        outputs = parquet_paths(root, run_id)
        outputs["run"].parent.mkdir(parents=True, exist_ok=True)
        values = shared.copy()
        values[:, 1:] *= 1 + index % 97 / 1000  # runs must not compress into each other
        step = {"run_id": run_id, "phase": "train", "duration_s": 10.0, "loss": 9.0, "tokens": 8192}
        steps = [{**step, "step": number, "start_s": number * 10.0} for number in range(1, 11)]
        tables = {
            "readings": readings_table(data),
            "steps": pa.Table.from_pylist(steps, schema=STEPS.arrow_schema()),
            "samples": samples_table(run_id, names, values),
            "run": run_table(data),
        }
        for name, table in tables.items():
            pq.write_table(table, outputs[name], **WRITE_OPTIONS)
        paths.append(outputs["run"])
    return paths
