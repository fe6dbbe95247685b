"""What the tests of the carbon evaluation share: shipped inputs, rows of `runs`, scenarios with fields replaced."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import yaml

from edgecarbon.carbon.evaluation import Result, evaluate
from edgecarbon.config.inputs import Inputs, load_inputs
from edgecarbon.config.resolve import load_scenario

CONFIG = Path(__file__).resolve().parents[2] / "config"
INPUTS = load_inputs(CONFIG / "inputs")
DEFAULT = yaml.safe_load((CONFIG / "scenarios/default.yaml").read_text(encoding="utf-8"))
KWH = 3.6e6


def literal(value: float, unit: str = "1", low: float | None = None, high: float | None = None) -> dict[str, Any]:
    text = {"source": "made for a test", "boundary": "made for a test", "licence": "made for a test"}
    ends = {"low": value if low is None else low, "high": value if high is None else high}
    return {"value": float(value), "unit": unit, **ends, "year": 2025, "provenance": "modelled", **text}


def scenario(folder: Path, inputs: Inputs = INPUTS, /, **changes: Any):
    """The default scenario with fields replaced; `cloud__pue` is the field `pue` of the section `cloud`."""
    data = copy.deepcopy(DEFAULT)
    for name, value in changes.items():
        *sections, field = name.split("__")
        target = data
        for section in sections:
            target = target[section]
        target[field] = value
    path = folder / "test.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return load_scenario(path, inputs)


def run(device: str, role: str, joules: float | None = KWH, hours: float = 1.0, **changes: Any) -> dict[str, Any]:
    row = {
        "workload": "w", "device": device, "repeat": 1, "role": role, "record_kind": "measured",
        "provenance": "measured", "boundary": "wall", "energy_joules": joules, "energy_uncertainty_joules": None,
        "energy_low_joules": joules, "energy_high_joules": joules, "net_energy_joules": None,
        "energy_status": "absent" if joules is None else "complete", "net_uncertainty_joules": None, "flags": [],
        "coverage": 1.0, "duration_s": hours * 3600, "steps": 100, "tokens": 1_000_000, "parameters": 1000,
        "sequence_length": 512, **changes,
    }  # fmt: skip
    return {**row, "run_id": f"{row['workload']}/{device}/r{row['repeat']}"}


def facts(role: str, **changes: Any) -> dict[str, Any]:
    embodied = "nvidia-rtx-a5000" if role == "cloud" else "raspberry-pi"
    return {"role": role, "embodied": embodied, "lifetime_years": None, "battery": False, **changes}


def total(result, device: str, attribution: str = "time_share", unit: str = "run", repeat: int = 1) -> dict[str, Any]:
    (row,) = (
        row
        for row in result.carbon
        if (row["device"], row["attribution"], row["functional_unit"], row["repeat"])
        == (device, attribution, unit, repeat)
    )
    return row


def verdict(result, attribution: str = "time_share") -> dict[str, Any]:
    (row,) = (row for row in result.verdicts if row["attribution"] == attribution)
    return row


def certain(**changes: Any) -> dict[str, Any]:
    """Changes of the default scenario that leave a range to nothing but footprints, and round numbers to all."""
    grid = literal(400, "gCO2e/kWh")
    return {
        "draws": 100, "cloud__grid": grid, "edge__grid": grid, "cloud__pue": literal(1.1),
        "cloud__lifetime": literal(5, "years"), "edge__lifetime": literal(4, "years"),
        "cloud__utilisation": literal(0.5), "edge__utilisation": literal(0.2), "cloud__host_embodied": None,
        "cloud__data_path": [], "edge__data_path": [], "edge__weights_path": [],
        "traffic__bytes_per_parameter": literal(4, "B/parameter"), **changes,
    }  # fmt: skip


EXAMPLE = {
    "cloud__grid": literal(400, "gCO2e/kWh"),
    "edge__grid": literal(400, "gCO2e/kWh"),
    "boundaries__gpu_board": literal(1.3),
    "cloud__pue": literal(1.1),
    "cloud__lifetime": literal(5, "years"),
    "cloud__utilisation": literal(0.6),
    "cloud__host_embodied": None,
    "cloud__data_path": [],
    "edge__charger": literal(1.2),
    "edge__lifetime": literal(3, "years"),
    "edge__utilisation": literal(0.2),
    "edge__data_path": ["test-network"],
    "edge__weights_path": [],
    "traffic__bytes_per_token": literal(10_000, "B/token"),
}


def worked_example(folder: Path, **changes: Any) -> Result:
    """1 kWh at a GPU board against a phone with 2.5 times less at its battery; nothing has a range.

    607.77 g in the cloud; 192 g and 20 g of network at the phone, and 203.96 g of its making by time share.
    """
    inputs = folder / "inputs"
    shutil.copytree(CONFIG / "inputs", inputs)
    footprints = {
        "test-phone": literal(67, "kgCO2e") | {"lifetime": "phone", "boundary": "whole_device"},
        "test-board": literal(188, "kgCO2e") | {"lifetime": "cloud-gpu", "boundary": "gpu_board"},
    }
    for name, section, entries in (
        ("network.yaml", "segments", {"test-network": literal(0.005, "kWh/GB")}),
        ("embodied.yaml", "embodied", footprints),
    ):
        data = yaml.safe_load((inputs / name).read_text(encoding="utf-8"))
        data[section] |= entries
        (inputs / name).write_text(yaml.safe_dump(data), encoding="utf-8")
    loaded = load_inputs(inputs)
    runs = [
        run("gpu", "cloud", KWH, 5.0, boundary="gpu_board"),
        run("phone", "edge", KWH / 2.5, 80.0, boundary="battery"),
    ]
    devices = {
        "gpu": facts("cloud", embodied="test-board"),
        "phone": facts("edge", embodied="test-phone", battery=True),
    }
    return evaluate(scenario(folder, loaded, **{**EXAMPLE, **changes}), loaded, devices, runs)
