"""Whole training jobs: runs projected to them, and published ones reckoned again from what they state."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecarbon.carbon.formulas import HOURS_PER_YEAR, operational_grams
from edgecarbon.carbon.projection import (
    Shape,
    device_hours,
    device_lifetimes,
    flops_of_shape,
    job_embodied_grams,
    job_kwh,
    scale_factor,
    training_flops_6nd,
)
from edgecarbon.carbon.work import Judge, Run, value, work_of
from edgecarbon.config.jobs import PublishedJob, TargetJob
from edgecarbon.errors import UserError
from edgecarbon.fleet.model import shape_of

GRAMS_PER_TONNE = 1e6
UNITS = {"zettaflop": "10^21 FLOP", "days": "d", "energy_mwh": "MWh"}
SAME_MODEL, SIX_ND, EXACT = "same model", "6ND", "exact"

Row = dict[str, Any]


def projection_rows(
    judge: Judge,
    carbon_rows: Sequence[Mapping[str, Any]],
    runs: Sequence[Run],
    jobs: Mapping[str, TargetJob],
    shapes: Mapping[str, Shape | None] | None = None,
) -> list[Row]:
    """Rows of `projections`: what each whole job takes on each device, at the rate of its average run of a workload.

    Everything is scaled by the work: energy and hours with what practice adds to them, and what they are charged. Of the
    network, training data go with the tokens, and weights, where they are exchanged and so outweigh the data by far, with
    tokens × parameters. The relative interval of the total stays the run's. A device without an energy has none to scale,
    and no row.

    Args:
        judge: of the scenario, with an arm for each device.
        carbon_rows: rows of `carbon` of this scenario.
        runs: rows of `runs`, those of `carbon_rows` among them.
        jobs: the experiment's `jobs`.
        shapes: shape of each workload's model, where it is known; with a job's own shape it makes the count exact.

    Raises:
        ValueError: a run without tokens or parameters.
    """
    by_run = {run["run_id"]: run for run in runs}
    exchanges_weights = judge.scenario.settings.traffic.weights_every_steps is not None
    rows = []
    for (workload, device, attribution), average in _averages(judge, carbon_rows, by_run).items():
        for name, job in jobs.items():
            scaled = _scaled(average, job, (shapes or {}).get(workload), exchanges_weights)
            lifetimes = device_lifetimes(scaled["device_hours"], judge.arms[device].lifetime.value)
            rows.append({
                "scenario": judge.scenario.name, "job": name, "workload": workload, "device": device,
                "attribution": attribution, "tokens": job.tokens, **scaled, "device_lifetimes": lifetimes,
                "devices_at_least": max(math.ceil(lifetimes), 1), "provenance": "modelled",
                "run_provenance": average["provenance"],
            })  # fmt: skip
    return rows


def model_shape(model: Mapping[str, Any], sequence_length: int) -> Shape | None:
    """Shape of a workload's model; None where it is not known for certain, and no count of it would be exact.

    Args:
        model: as `edgecarbon.models.resolve_model` describes it.
    """
    try:
        known = shape_of(model, sequence_length)
    except UserError:  # another family
        return None
    if known.parameters != model["parameters"]:  # of the family, and yet with parts of its own
        return None
    return Shape(model["embedding_parameters"], known.layers, known.width, known.vocabulary, sequence_length)


def _averages(
    judge: Judge, carbon_rows: Sequence[Mapping[str, Any]], by_run: Mapping[str, Run]
) -> dict[tuple[str, str, str], Row]:
    """Means over repeats, by workload, device and attribution."""
    grouped: dict[tuple[str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in carbon_rows:
        if row["functional_unit"] == "run" and row["total_grams"] is not None:
            grouped[row["workload"], row["device"], row["attribution"]].append(row)
    return {key: _average(judge, alike, [by_run[row["run_id"]] for row in alike]) for key, alike in grouped.items()}


def _average(judge: Judge, alike: Sequence[Mapping[str, Any]], runs: Sequence[Run]) -> Row:
    joules = np.array([[row["energy_joules"]] for row in alike], np.float64)
    work = work_of(judge, judge.arms[runs[0]["device"]], runs, joules, value)
    parts = "operational embodied network total total_low total_high"
    return {
        "role": runs[0]["role"],
        "boundary": _common(alike, "boundary"),
        "provenance": _common(alike, "provenance") or "mixed",
        **{name: _mean(runs, name) for name in ("tokens", "parameters")},
        **{f"{part}_grams": _mean(alike, f"{part}_grams") for part in parts.split()},
        "energy_kwh": float(np.mean(work.energy_kwh)),
        "hours": float(np.mean(work.hours)),
    }


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    return float(sum(row[name] or 0.0 for row in rows)) / len(rows)


def _common(rows: Sequence[Mapping[str, Any]], name: str) -> Any:
    """What all rows have, or None where they differ."""
    found = {row[name] for row in rows}
    return found.pop() if len(found) == 1 else None


def _scaled(average: Row, job: TargetJob, shape: Shape | None, exchanges_weights: bool) -> Row:
    factor, scaling = _factor(average, job, shape)
    parameters = job.parameters or average["parameters"]
    moved = scale_factor(job.tokens, average["tokens"])
    if exchanges_weights:
        moved *= scale_factor(parameters, average["parameters"])
    grams = {
        "operational_grams": factor * average["operational_grams"],
        "embodied_grams": factor * average["embodied_grams"],
        "network_grams": moved * average["network_grams"],
    }
    total = sum(grams.values())
    relative = total / average["total_grams"] if average["total_grams"] else 0.0
    return {
        "role": average["role"],
        "parameters": parameters,
        "scaling": scaling,
        "scale_factor": factor,
        "energy_kwh": factor * average["energy_kwh"],
        "boundary": average["boundary"],
        "device_hours": factor * average["hours"],
        **grams,
        "total_grams": total,
        "total_low_grams": relative * average["total_low_grams"],
        "total_high_grams": relative * average["total_high_grams"],
    }


def _factor(average: Row, job: TargetJob, shape: Shape | None) -> tuple[float, str]:
    """A job's work over the run's, and how both were counted."""
    if job.parameters is None:
        return scale_factor(job.tokens, average["tokens"]), SAME_MODEL
    if job.shape is None or shape is None:
        run_flops = training_flops_6nd(average["parameters"], average["tokens"])
        return scale_factor(training_flops_6nd(job.parameters, job.tokens), run_flops), SIX_ND
    run_flops = flops_of_shape(average["tokens"], average["parameters"], shape)
    job_flops = flops_of_shape(job.tokens, job.parameters, Shape(**job.shape.model_dump()))
    return scale_factor(job_flops, run_flops), EXACT


@dataclass(frozen=True)
class Reckoned:
    """What the formulas make of a published job's inputs, by the names of published quantities."""

    method: str
    figures: Mapping[str, float]


def reproduce(job: PublishedJob, collection: str = "published") -> list[Row]:
    """Rows of `published_jobs`: each published figure beside what the model's formulas give from the stated inputs."""
    reckoned = _reckon(job)
    return [
        {
            "collection": collection,
            "job": job.name,
            "title": job.title,
            "device": job.device,
            "devices": job.devices,
            "quantity": quantity,
            "unit": UNITS.get(quantity, "t CO2e"),
            "published": figure.value,
            "reproduced": reckoned.figures[quantity],
            "relative_error": reckoned.figures[quantity] / figure.value - 1.0,
            "stated_error": figure.stated_error,
            "method": reckoned.method,
            "source": job.source,
            "year": job.year,
        }
        for quantity, figure in job.published.items()
    ]


def _reckon(job: PublishedJob) -> Reckoned:
    figures: dict[str, float] = {}
    if job.work is not None:
        flops = training_flops_6nd(job.work.parameters, job.work.tokens)
        hours, method = device_hours(flops, job.work.peak_tflops * 1e12, job.work.efficiency), "6ND"
        figures |= {"zettaflop": flops / 1e21, "days": hours / job.devices / 24.0}
    elif job.days is not None:
        hours, method = job.days * 24.0 * job.devices, "stated days"
    else:
        assert job.device_hours is not None  # the model sees to it
        hours, method = job.device_hours, "stated device hours"
    tonnes = dict(_tonnes(job, hours))
    if job.electricity is not None:
        figures["energy_mwh"] = job_kwh(hours, job.electricity.watts, job.electricity.pue) / 1000.0
    return Reckoned(method, {**figures, **tonnes, "total_tonnes": sum(tonnes.values())})


def _tonnes(job: PublishedJob, hours: float) -> Iterator[tuple[str, float]]:
    power = job.electricity
    if power is not None:
        energy_kwh = job_kwh(hours, power.watts, power.pue)
        yield "operational_tonnes", operational_grams(energy_kwh, power.intensity_g_per_kwh) / GRAMS_PER_TONNE
        yield "idle_tonnes", operational_grams(power.idle_kwh, power.intensity_g_per_kwh) / GRAMS_PER_TONNE
    grams = sum(
        job_embodied_grams(
            part.kilograms * part.per_device,
            part.lifetime_years * HOURS_PER_YEAR,
            hours,
            attribution="used_hours",
            lifetime_used_share=part.used_share,
        )
        for part in job.embodied
    )
    yield "embodied_tonnes", grams / GRAMS_PER_TONNE
