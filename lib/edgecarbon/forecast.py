"""From what is known of a fleet's members to its plan, and to a simulated step: the glue between records and `fleet`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgecarbon.carbon.arms import Arm, Work, build_arm
from edgecarbon.carbon.work import value
from edgecarbon.config.assumptions import ResolvedScenario
from edgecarbon.config.fleet import Fleet, Links, Radio
from edgecarbon.config.inputs import Inputs, ReferenceDevice
from edgecarbon.config.workload import Workload
from edgecarbon.errors import UserError
from edgecarbon.fleet.edge import place_edge
from edgecarbon.fleet.model import Machine, ModelShape, Network, Plan, SimulatedStep, shape_of
from edgecarbon.fleet.scaling import scaling
from edgecarbon.fleet.simulate import simulate
from edgecarbon.plan import Project
from edgecarbon.worker.pipeline.schedule import ORDERS

FREE_MEMORY = 0.8
"""Of a measured member's memory, what training may use; the rest is the system's."""
HOUR_S = 3600.0


def step_flops(shape: ModelShape, sequences: float) -> float:
    """FLOPs of a whole model's step, as the planner counts them."""
    return sum(shape.stage_flops(shape.layers, True, sequences))


def measured_machine(
    name: str,
    runs: Sequence[Mapping[str, Any]],
    shapes: Mapping[str, ModelShape],
    fleet: Fleet,
    memory_bytes: float | None,
) -> Machine:
    """A member as its own runs alone show it: sustained FLOP/s, and draw at work and idle.

    Args:
        runs: rows of the table `runs` of this device; those of the workload in question first.
        shapes: of each workload.

    Raises:
        UserError: there is no run of its own to go by.
    """
    known = [run for run in runs if run["duration_s"] and run["record_kind"] == "measured"]
    if not known:
        raise UserError(f"{name}: none of its own runs came about, from which its speed and draw would be known")
    alike = [run for run in known if run["workload"] == known[0]["workload"]]
    shape = shapes[alike[0]["workload"]]
    rates = [step_flops(shape, run["batch_size"]) * run["steps"] / run["duration_s"] for run in alike]
    watts = [run["energy_joules"] / run["duration_s"] for run in alike if run["energy_joules"] is not None]
    idle = [run["idle_watts"] for run in alike if run["idle_watts"] is not None]
    limit = fleet.memory_gbyte * 1e9 if fleet.memory_gbyte else FREE_MEMORY * (memory_bytes or float("inf"))
    return Machine(
        name=name,
        flops_per_s=float(np.median(rates)),
        memory_bytes=limit,
        busy_watts=float(np.median(watts)) if watts else 0.0,
        idle_watts=float(np.median(idle)) if idle else 0.0,
        radio_joules_per_byte=fleet.radio.joules_per_byte,
    )


def reference_machine(name: str, device: ReferenceDevice, fleet: Fleet) -> Machine:
    """A modelled member: its data sheet's sustained rate and draw, and the fleet's assumption of its draw while waiting."""
    return Machine(
        name=name,
        flops_per_s=device.peak.value * 1e12 * device.sustained.value,
        memory_bytes=fleet.memory_gbyte * 1e9 if fleet.memory_gbyte else float("inf"),
        busy_watts=device.draw.value,
        idle_watts=device.draw.value * fleet.idle_share,
        radio_joules_per_byte=fleet.radio.joules_per_byte,
    )


def with_carbon(machine: Machine, arm: Arm, boundary: str | None) -> Machine:
    """The same with what its electricity and an hour of it are charged with, by time share, for plans of least carbon."""
    hour = Work(0.0, 1.0, 0.0, 0.0)
    grams = float(arm.operational(Work(1.0, 0.0, 0.0, 0.0), boundary, value))
    embodied = float(arm.charged(hour, boundary, "time_share", value)) / HOUR_S
    return Machine(**{**asdict(machine), "grams_per_kwh": grams, "embodied_grams_per_s": embodied})


def network_of(links: Links, names: Sequence[str], measured: Mapping[str, Any] | None, root: Path = Path()) -> Network:
    """The network between members, from the fleet's values, its file, or a measurement.

    Raises:
        UserError: the file does not fit the fleet, or a pair was not measured.
    """
    count = len(names)
    up = (
        np.array([links.devices[n].up_mbyte_per_s if n in links.devices else links.up_mbyte_per_s for n in names]) * 1e6
    )
    down = (
        np.array([links.devices[n].down_mbyte_per_s if n in links.devices else links.down_mbyte_per_s for n in names])
        * 1e6
    )
    delay_s = np.full((count, count), links.delay_ms / 1e3) * (1 - np.eye(count))
    rate = np.full((count, count), np.inf)
    if links.file is not None:
        delay_s, rate = _from_file(root / links.file, count)
        up, down = np.full(count, np.inf), np.full(count, np.inf)
    elif measured is not None:
        delay_s, rate = _from_measurement(measured, names)
        # What a member can send in all is no less than its best link shows.
        up, down = (np.where(np.isfinite(rate), rate, 0.0).max(axis=axis) for axis in (1, 0))
    shared = links.shared_medium_mbyte_per_s
    return Network(
        delay_s=delay_s, bytes_per_s=rate, up_bytes_per_s=up, down_bytes_per_s=down,
        access_point=np.full(count, -1 if shared is None else 0),
        airtime_bytes_per_s=np.array([] if shared is None else [shared * 1e6]),
    )  # fmt: skip


def _from_file(path: Path, count: int) -> tuple[Any, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        delay_s = np.array(data["delay_ms"], float) / 1e3
        rate = np.array(data["bandwidth_gbps"], float) * 1e9 / 8
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: expected JSON with matrices delay_ms and bandwidth_gbps ({error})") from None
    if delay_s.shape != (count, count) or rate.shape != (count, count):
        raise UserError(
            f"{path}: has {delay_s.shape} delays and {rate.shape} bandwidths; the fleet has {count} members"
        )
    np.fill_diagonal(rate, np.inf)
    return delay_s, rate


def _from_measurement(measured: Mapping[str, Any], names: Sequence[str]) -> tuple[Any, Any]:
    count, place = len(names), {name: index for index, name in enumerate(names)}
    delay_s, rate = np.zeros((count, count)), np.full((count, count), np.inf)
    for member in measured["members"]:
        for link in member["result"]["fleet"]["links"]:
            at = place[member["name"]], place[link["to"]]
            delay_s[at], rate[at] = link["delay_s"], link["bytes_per_s"]
    if not np.isfinite(rate[~np.eye(count, dtype=bool)]).all():
        raise UserError("the measured network lacks a pair of the fleet's members")
    return delay_s, rate


def own_plan(fleet: Fleet, shape: ModelShape, batch: int) -> dict[str, Any]:
    """The plan that the fleet's configuration gives. Raises UserError where it does not fit the model."""
    assert fleet.plan is not None
    if sum(fleet.plan.layers) != shape.layers:
        raise UserError(f"plan.layers: {sum(fleet.plan.layers)} layers in all, and the model has {shape.layers}")
    used = {name for row in fleet.plan.grid for name in row}
    return {
        "grid": fleet.plan.grid, "layers": fleet.plan.layers, "order": fleet.order or "eager-1f1b",
        "micro_batches": fleet.micro_batches or _divisor(batch // len(fleet.plan.grid), 2 * len(fleet.plan.layers)),
        "left_out": [name for name in fleet.members() if name not in used],
        "statement": "given in the fleet's configuration",
    }  # fmt: skip


def plan_fleet(
    fleet: Fleet, shape: ModelShape, machines: Sequence[Machine], network: Network, batch: int
) -> dict[str, Any]:
    """Who does what, as the planner finds best. Members by name.

    Raises:
        UserError: no plan fits, with the constraint and by how much.
    """
    names = [machine.name for machine in machines]
    found = place_edge(
        shape, machines, network, batch, fleet.objective,
        micro_batches=None if fleet.micro_batches is None else [fleet.micro_batches],
        orders=ORDERS if fleet.order is None else (fleet.order,), boundary=fleet.boundary, gradients=fleet.gradients,
    )  # fmt: skip
    return {
        "grid": [[names[index] for index in row] for row in found.plan.grid], "layers": list(found.plan.layers),
        "micro_batches": found.plan.micro_batches, "order": found.plan.order, "left_out": list(found.left_out),
        "statement": f"planned for least {fleet.objective}: {found.statement}",
    }  # fmt: skip


def _divisor(number: int, wanted: int) -> int:
    """The largest divisor of `number` up to `wanted`."""
    return max(candidate for candidate in range(1, max(1, wanted) + 1) if number % candidate == 0)


def simulate_fleet(
    fleet: Fleet, shape: ModelShape, machines: Sequence[Machine], network: Network, batch: int, plan: Mapping[str, Any],
    shared_cores: int | None,
) -> SimulatedStep:  # fmt: skip
    """One step of the planned fleet."""
    place = {machine.name: index for index, machine in enumerate(machines)}
    grid = tuple(tuple(place[name] for name in row) for row in plan["grid"])
    return simulate(
        shape, machines, network,
        Plan(
            grid=grid, layers=tuple(plan["layers"]), micro_batches=plan["micro_batches"],
            sequences=batch / (len(grid) * plan["micro_batches"]), order=plan["order"], boundary=fleet.boundary,
            gradients=fleet.gradients,
        ),
        delay_blocks=False, shared_cores=shared_cores,
    )  # fmt: skip


def simulation_rows(step: SimulatedStep, machines: Sequence[Machine]) -> dict[str, Any]:
    """A simulated step as JSON."""
    spans = [
        {
            **asdict(span),
            "member": machines[span.machine].name,
            "peer": None if span.peer is None else machines[span.peer].name,
        }
        for span in step.spans
    ]
    members = [{**asdict(one), "member": machines[one.machine].name} for one in step.machines]
    return {"step_s": step.step_s, "members": members, "spans": spans}


@dataclass(frozen=True)
class Known:
    """What a fleet's plan and forecast rest on.

    Attributes:
        models: resolved architectures, by workload.
        runs: rows of `runs` of the members' own runs; empty for modelled members.
        network: record of the network's measurement, where the fleet asks for one.
    """

    project: Project
    workload: str
    name: str
    models: Mapping[str, Mapping[str, Any]]
    runs: Sequence[Mapping[str, Any]]
    network: Mapping[str, Any] | None
    scenario: ResolvedScenario
    inputs: Inputs

    @property
    def fleet(self) -> Fleet:
        return self.project.fleets[self.name]

    @property
    def settings(self) -> Workload:
        return self.project.experiment.workloads[self.workload]

    def shapes(self) -> dict[str, ModelShape]:
        """Of every workload, for members that only did another one."""
        workloads = self.project.experiment.workloads
        return {key: shape_of(model, workloads[key].sequence_length) for key, model in self.models.items()}

    def links(self) -> Network:
        if self.network is not None and not self.network["members"]:
            raise UserError(f"the network was not measured: {self.network['missing']['reason']}")
        return network_of(self.fleet.links, self.fleet.members(), self.network)


def make_plan(known: Known) -> dict[str, Any]:
    """Who does what, as JSON; `missing` says why there is no plan. A plan of one's own rests on the model alone."""
    try:
        shape = known.shapes()[known.workload]
        if known.fleet.plan is not None:
            return own_plan(known.fleet, shape, known.settings.batch_size)
        machines, _, provenance = _machines(known)
        if provenance == "absent" and known.fleet.objective != "time":
            raise UserError(
                f"a plan for least {known.fleet.objective} needs every member's draw at work and idle, and one has none: measure "
                "idle (measurement.idle_before_s), or plan for time"
            )
        return plan_fleet(known.fleet, shape, machines, known.links(), known.settings.batch_size)
    except UserError as error:
        return {"missing": str(error)}


def make_forecast(known: Known, plan: Mapping[str, Any]) -> dict[str, Any]:
    """A planned fleet's step simulated, as JSON; `missing` says why there is none."""
    fleet, settings = known.fleet, known.settings
    kinds = dict(zip(fleet.members(), fleet.kinds(), strict=True))
    facts: dict[str, Any] = {
        "steps": settings.steps, "tokens_per_step": settings.batch_size * settings.sequence_length,
        "boundary": fleet.boundary, "gradients": fleet.gradients, "radio_joules_per_byte": fleet.radio.joules_per_byte,
        "radio_source": fleet.radio.source, "kinds": kinds, "plan": None if "missing" in plan else dict(plan),
        "virtual": any(getattr(known.project.fleet[kind], "virtual", None) for kind in fleet.devices),
    }  # fmt: skip
    try:
        if "missing" in plan:
            raise UserError(str(plan["missing"]))
        machines, boundaries, provenance = _machines(known)
        cores = _shared_cores(settings.threads) if facts["virtual"] else None
        step = simulate_fleet(
            fleet, known.shapes()[known.workload], machines, known.links(), settings.batch_size, plan, cores
        )  # fmt: skip
    except UserError as error:
        return {**facts, "missing": str(error)}
    return {
        **facts, "provenance": provenance, "boundaries": boundaries, "simulation": simulation_rows(step, machines),
        "machines": [asdict(machine) for machine in machines],
    }  # fmt: skip


def _machines(known: Known) -> tuple[list[Machine], dict[str, str | None], str]:
    """Every member as a machine, what its draw covers, and the provenance of the weakest draw."""
    project, fleet, facts, shapes = known.project, known.fleet, known.project.carbon_facts(), known.shapes()
    machines, boundaries, kinds = [], {}, set()
    for member, kind in zip(fleet.members(), fleet.kinds(), strict=True):
        boundary: str | None
        if fleet.modelled:
            machine, boundary = (
                reference_machine(member, project.references[kind], fleet),
                project.references[kind].boundary,
            )
            kinds.add("modelled")
        else:
            own = sorted(
                (run for run in known.runs if run["device"] == kind), key=lambda run: run["workload"] != known.workload
            )
            memory = own[0]["memory_bytes"] if own and "memory_bytes" in own[0] else None
            machine, boundary = measured_machine(member, own, shapes, fleet, memory), own[0]["boundary"]
            alike = [run for run in own if run["workload"] == own[0]["workload"]]
            known_draw = any(run["energy_joules"] is not None for run in alike)
            known_draw &= any(run["idle_watts"] is not None for run in alike)
            kinds.add(
                ("modelled" if own[0]["provenance"] == "measured" else own[0]["provenance"]) if known_draw else "absent"
            )
        arm = build_arm(kind, facts[kind], known.scenario, known.inputs)
        machines.append(with_carbon(machine, arm, boundary))
        boundaries[member] = boundary
    weakest = next(word for word in ("absent", "estimated", "modelled", "published") if word in kinds)
    return machines, boundaries, weakest


def _shared_cores(threads: int | None) -> int:
    """How many virtual hosts can compute at full speed at once: what one of them uses alone, the machine has so often."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // (threads or cores))


def scaling_rows(project: Project, workload: str, model: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of `fleet_scaling` for a workload's model."""
    study = project.experiment.scaling
    assert study is not None
    settings = project.experiment.workloads[workload]
    shape, radio = shape_of(model, settings.sequence_length), Radio()
    fleet = Fleet(modelled={study.device: 2}, memory_gbyte=study.memory_gbyte, radio=radio)
    machine = reference_machine(study.device, project.references[study.device], fleet)
    rows = scaling(shape, machine, study.counts, study.mbyte_per_s * 1e6, study.delay_ms / 1e3)
    return [
        {
            "workload": workload, "device": study.device, "variant": row.variant, "devices": row.machines, "stages": row.stages,
            "replicas": row.replicas, "step_s": row.step_s, "tokens_per_second": row.tokens_per_s,
            "communication_bytes_per_token": row.communication_bytes_per_token,
            "radio_joules_per_token": row.radio_joules_per_token, "joules_per_token": row.joules_per_token,
        }
        for row in rows
    ]  # fmt: skip
