"""What the tests of the carbon evaluation share: shipped inputs, rows of `runs`, scenarios with fields replaced."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from edgecarbon.config.inputs import load_inputs
from edgecarbon.config.scenario import load_scenario

CONFIG = Path(__file__).resolve().parents[2] / "config"
INPUTS = load_inputs(CONFIG / "inputs")
DEFAULT = yaml.safe_load((CONFIG / "scenarios/default.yaml").read_text(encoding="utf-8"))
KWH = 3.6e6


def literal(value: float, unit: str = "1", low: float | None = None, high: float | None = None) -> dict[str, Any]:
    text = {"source": "made for a test", "boundary": "made for a test", "licence": "made for a test"}
    ends = {"low": value if low is None else low, "high": value if high is None else high}
    return {"value": float(value), "unit": unit, **ends, "year": 2025, "provenance": "modelled", **text}


def scenario(folder: Path, **changes: Any):
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
    return load_scenario(path, INPUTS)


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
