"""Records of devices that nobody measured here: what a run would take, modelled from a data sheet within a range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecarbon import __version__
from edgecarbon.config.inputs import ReferenceDevice
from edgecarbon.records import RECORD_SCHEMA, RESULT_SCHEMA, canonical_sha256

# Width of a 95 % interval of a normal distribution, in standard uncertainties.
WIDTH_95 = 3.92


def modelled_record(device: ReferenceDevice, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a run of this size would take on a reference device, in the shape of record.json, with its content hash.

    Time is steps × 6ND over the sustained rate (peak × sustained share), energy is time × draw. The range of the energy
    runs from the best corner (highest sustained share, lowest draw) to the worst, as how draw and rate go together on a
    device is not known. The carbon model does not draw from it, but from the priors of share and draw, each by itself,
    which gives less.

    Args:
        device: entry of reference_devices.yaml.
        facts: workload, name (of the model), parameters, batch_size, sequence_length and steps.

    Returns:
        a record of provenance `modelled`: one reading, one window, no spec, samples or steps.
    """
    training = _training(device, facts)
    flops = training["steps"] * training["flops_per_step"]
    rate = training["peak_flops_per_second"]
    low_joules = flops / (rate * device.sustained.high) * device.draw.low
    high_joules = flops / (rate * device.sustained.low) * device.draw.high
    reading = {
        "window": "train",
        "meter": "model",
        "component": "device",
        "joules": training["duration_s"] * device.draw.value,
        "uncertainty_joules": (high_joules - low_joules) / WIDTH_95,
        "low_joules": low_joules,
        "high_joules": high_joules,
        "provenance": "modelled",
        "boundary": device.boundary,
        "source": f"{device.draw.source} {device.sustained.source}",
        "update_period_s": None,
        "coverage": 1.0,
        "flags": [],
    }
    record = _record(device, facts, training, reading)
    return {**record, "content_sha256": canonical_sha256(record)}


def _training(device: ReferenceDevice, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the worker reports of a training, with null where only a run could tell."""
    tokens_per_step = facts["batch_size"] * facts["sequence_length"]
    flops_per_step = 6 * facts["parameters"] * tokens_per_step
    peak = device.peak.value * 1e12
    rate = peak * device.sustained.value
    tokens = facts["steps"] * tokens_per_step
    duration_s = facts["steps"] * flops_per_step / rate
    unknown = (
        "micro_batch_size accumulation_steps attention activation_checkpointing compiled loss_first loss_last"
        " peak_memory_bytes"
    )
    return {
        "model": facts["name"],
        **{name: facts[name] for name in ("parameters", "steps", "batch_size", "sequence_length")},
        "tokens": tokens,
        "duration_s": duration_s,
        "tokens_per_second": tokens / duration_s,
        "flops_per_step": flops_per_step,
        "model_flops_per_second": rate,
        "peak_flops_per_second": peak,
        "peak_source": device.peak.source,
        "mfu": device.sustained.value,
        "precision": device.precision,
        "out_of_memory": [],
        **dict.fromkeys(unknown.split()),
    }


def _record(
    device: ReferenceDevice, facts: Mapping[str, Any], training: dict[str, Any], reading: dict[str, Any]
) -> dict[str, Any]:
    """The envelope: everything that only a measurement could fill is null, so that equal inputs give equal bytes."""
    run_id = f"{facts['workload']}/{device.name}/r1"
    result = {
        "schema": RESULT_SCHEMA,
        "nonce": None,
        "run_id": run_id,
        "status": "ok",
        "error": None,
        "payload_sha256": None,
        "versions": {"edgecarbon": __version__, "python": None, "torch": None, "transformers": None},
        "device_facts": {
            "system": None,
            "release": None,
            "machine": None,
            "cpu_model": None,
            "logical_cores": None,
            "memory_bytes": None,
            "accelerator": {"kind": None, "name": device.description, "memory_bytes": None},
        },
        "started_unix_s": None,
        "windows": [{"name": "train", "start_s": 0.0, "end_s": training["duration_s"]}],
        "training": training,
        "channels": [],
        "readings": [reading],
    }
    return {
        "schema": RECORD_SCHEMA,
        "run_id": run_id,
        "workload": facts["workload"],
        "device": device.name,
        "repeat": 1,
        "role": device.role,
        "provenance": "modelled",
        "attempt": None,
        "attempt_files": {},
        "data": None,
        "spec": None,
        "result": result,
    }
