"""A fleet's records and simulation as rows of `fleet_runs`, `fleet_members` and `fleet_spans`, and as Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from edgecarbon.errors import UserError
from edgecarbon.fleet.model import WIRE_OVERHEAD
from edgecarbon.records import canonical_sha256
from edgecarbon.store.headline import headline_columns
from edgecarbon.store.schema_fleets import FLEET_TABLES
from edgecarbon.store.table import Table

Row = dict[str, Any]
EXCHANGES = ("reduce", "tie", "norm")
_WEAKEST_FIRST = ("absent", "estimated", "modelled", "published", "measured")


def write_tables(rows: Mapping[str, Sequence[Row]], folder: Path, tables: Sequence[Table] = FLEET_TABLES) -> None:
    """Write each table's Parquet file; each appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for table in tables:
        path = folder / f"{table.name}.parquet"
        partial = path.with_suffix(".partial")
        try:
            content = pa.Table.from_pylist(list(rows.get(table.name, ())), schema=table.arrow_schema())
        except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError) as error:
            raise UserError(f"{path}: {error}") from None
        pq.write_table(content, partial, compression="zstd")
        partial.replace(path)


def fleet_rows(work: str, records: Sequence[Mapping[str, Any]], forecast: Mapping[str, Any]) -> dict[str, list[Row]]:
    """Rows of all three tables.

    Args:
        work: WORKLOAD/FLEET.
        records: of the measured repeats, also of those that are missing.
        forecast: what `workflow/scripts/fleet_forecast.py` wrote.
    """
    found: dict[str, list[Row]] = {table.name: [] for table in FLEET_TABLES}
    for record in records:
        facts = {"fleet_work": work, "fleet_run": record["run_id"], "repeat": record["repeat"]}
        _add(found, facts, forecast, _measured(record, forecast) if record["members"] else _missing(record))
    if "simulation" in forecast:
        facts = {"fleet_work": work, "fleet_run": f"{work}/simulated", "repeat": None}
        _add(found, facts, forecast, _simulated(forecast))
    elif not records:
        facts = {"fleet_work": work, "fleet_run": f"{work}/simulated", "repeat": None}
        why = {"missing": {"reason": forecast.get("missing") or "no plan"}, "content_sha256": None}
        _add(found, facts, forecast, _missing(why))
    return found


def _add(
    found: dict[str, list[Row]], facts: Row, forecast: Mapping[str, Any], rows: tuple[Row, list[Row], list[Row]]
) -> None:
    workload, fleet = facts["fleet_work"].split("/")
    run, members, spans = rows
    plan = forecast.get("plan") or {}
    shared = {
        "workload": workload, "fleet": fleet, "virtual_host": bool(forecast.get("virtual")), "steps": forecast["steps"],
        "tokens_per_step": forecast["tokens_per_step"], "boundary_codec": forecast["boundary"],
        "gradient_codec": forecast["gradients"], "left_out": plan.get("left_out"), "plan_statement": plan.get("statement"),
        "stages": len(plan["layers"]) if plan else None, "replicas": len(plan["grid"]) if plan else None,
        "micro_batches": plan.get("micro_batches"), "pass_order": plan.get("order"),
        "members": sum(map(len, plan["grid"])) if plan else None,
    }  # fmt: skip
    found["fleet_runs"].append({**facts, **shared, **run})
    keys = {"fleet_work": facts["fleet_work"], "fleet_run": facts["fleet_run"]}
    found["fleet_members"] += [{**keys, **row} for row in members]
    found["fleet_spans"] += [{**keys, **row} for row in spans]


def _missing(record: Mapping[str, Any]) -> tuple[Row, list[Row], list[Row]]:
    reason = str(record["missing"]["reason"]).encode("utf-8", "replace").decode()
    return {
        "record_kind": "missing", "missing_reason": reason[:2000], "provenance": "absent",
        "record_sha256": record["content_sha256"],
    }, [], []  # fmt: skip


def _measured(record: Mapping[str, Any], forecast: Mapping[str, Any]) -> tuple[Row, list[Row], list[Row]]:
    radio = forecast["radio_joules_per_byte"]
    members = [_measured_member(member, radio) for member in record["members"]]
    steps = record["members"][0]["result"]["training"]["steps"]
    step_s = max(member["result"]["training"]["duration_s"] for member in record["members"]) / steps
    # Each replica's last stage knows its own part of the mean loss.
    trained = [member["result"]["training"] for member in record["members"]]
    first, last = ([one[name] for one in trained if one.get(name) is not None] for name in ("loss_first", "loss_last"))
    run = {
        "record_kind": "measured", "provenance": weakest(members), "step_s": step_s,
        "tokens_per_second": forecast["tokens_per_step"] / step_s, "energy_joules_per_step": total_joules(members),
        "loss_first": sum(first) if first else None, "loss_last": sum(last) if last else None,
        "link": record["fleet"]["link"], "record_sha256": record["content_sha256"],
    }  # fmt: skip
    return run, members, _measured_spans(record)


def _measured_member(member: Mapping[str, Any], radio_joules_per_byte: float) -> Row:
    """A member's step. What the meter saw is split by the idle draw: waiting costs it, and computing the rest."""
    result, part = member["result"], member["result"]["fleet"]
    steps = result["training"]["steps"]
    energy = headline_columns({"result": result, "provenance": "measured"})
    busy_s, spent = part["busy_s"] / steps, part["spent_s"]
    exchange_s = sum(spent.get(kind, 0.0) for kind in EXCHANGES) / steps
    wait_s = max(0.0, part["wait_s"] / steps - exchange_s)
    joules = None if energy["energy_joules"] is None else energy["energy_joules"] / steps
    idle = None
    if joules is not None:
        draw = energy["idle_watts"] if energy["idle_watts"] is not None else 0.0
        idle = min(joules, draw * (wait_s + exchange_s))
    moved = (part["sent_bytes"] + part["received_bytes"]) / steps
    return {
        "rank": member["rank"], "member": member["name"], "device": member["name"], "stage": part["stage"],
        "replica": part["replica"], "layers": part["layers"], "busy_s": busy_s, "wait_s": wait_s, "exchange_s": exchange_s,
        "sent_bytes": part["sent_bytes"] / steps, "received_bytes": part["received_bytes"] / steps,
        "compute_joules": None if joules is None or idle is None else joules - idle, "idle_joules": idle,
        "radio_joules": moved * WIRE_OVERHEAD * radio_joules_per_byte,
        "radio_provenance": "modelled" if radio_joules_per_byte else "covered",
        "provenance": energy["provenance"], "boundary": energy["boundary"],
    }  # fmt: skip


def _measured_spans(record: Mapping[str, Any]) -> list[Row]:
    """The last step of all members, on rank 0's clock, from where the first of them began it."""
    rows = []
    for member in record["members"]:
        part = member["result"]["fleet"]
        shift = part["origin_s"] - part["clock_offset_s"]
        who = {"rank": member["rank"], "member": member["name"], "stage": part["stage"], "replica": part["replica"]}
        for kind, micro_batch, start_s, end_s in part["last_step"]["spans"]:
            rows.append(
                {**who, "kind": kind, "micro_batch": micro_batch, "start_s": shift + start_s, "end_s": shift + end_s}
            )
        for kind, peer, _size, start_s, end_s in part["last_step"]["transfers"]:
            if kind == "receive":
                rows.append({
                    **who, "kind": "transfer", "micro_batch": None, "start_s": shift + start_s, "end_s": shift + end_s,
                    "peer": peer,
                })  # fmt: skip
    began_s = min(row["start_s"] for row in rows if row["kind"] != "transfer")
    for row in rows:
        row["start_s"] -= began_s
        row["end_s"] -= began_s
    return rows


def _simulated(forecast: Mapping[str, Any]) -> tuple[Row, list[Row], list[Row]]:
    simulation, radio = forecast["simulation"], forecast["radio_joules_per_byte"]
    provenance = forecast["provenance"]
    members, where = [], {}
    for rank, one in enumerate(simulation["members"]):
        where[one["machine"]] = {
            "rank": rank,
            "member": one["member"],
            "stage": one["stage"],
            "replica": one["replica"],
        }
        copied = (
            "layers", "busy_s", "wait_s", "exchange_s", "sent_bytes", "received_bytes", "compute_joules", "idle_joules",
            "radio_joules",
        )  # fmt: skip
        members.append({
            **where[one["machine"]], **{name: one[name] for name in copied}, "device": forecast["kinds"][one["member"]],
            "radio_provenance": "modelled" if radio else "covered", "provenance": provenance,
            "boundary": forecast["boundaries"][one["member"]],
        })  # fmt: skip
    if provenance == "absent":  # a draw that nobody knows is not a draw of zero
        for member in members:
            member.update(compute_joules=None, idle_joules=None)
    spans = [
        {**where[span["machine"]], **{name: span[name] for name in ("kind", "micro_batch", "start_s", "end_s", "peer")}}
        for span in simulation["spans"]
        if span["machine"] in where
    ]
    run = {
        "record_kind": "simulated", "provenance": provenance, "step_s": simulation["step_s"],
        "tokens_per_second": forecast["tokens_per_step"] / simulation["step_s"],
        "energy_joules_per_step": total_joules(members), "record_sha256": canonical_sha256(dict(forecast)),
    }  # fmt: skip
    return run, members, spans


def total_joules(members: Sequence[Row]) -> float | None:
    """Energy of a step of all members, radios included; None where a member has none."""
    parts = [row[name] for row in members for name in ("compute_joules", "idle_joules", "radio_joules")]
    return None if any(part is None for part in parts) else sum(parts)


def weakest(members: Sequence[Row]) -> str:
    """The provenance of a sum: that of its weakest part."""
    return _WEAKEST_FIRST[min(_WEAKEST_FIRST.index(row["provenance"]) for row in members)]


def read_fleets(folders: Sequence[Path]) -> dict[str, list[Row]]:
    """Rows of `fleet_runs` and `fleet_members` of these WORKLOAD/FLEET folders: for rules that come before the database."""
    return {
        name: [row for folder in folders for row in pq.read_table(folder / f"{name}.parquet").to_pylist()]
        for name in ("fleet_runs", "fleet_members")
    }
