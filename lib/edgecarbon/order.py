"""What one measurement needs to know, as plain data.

Light on purpose: sixteen devices may be measured at once, each by a process of its own, and the validated configuration
need not be built anew in each of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Run:
    """One measurement: a workload on a device, for the `repeat`-th time (from 1)."""

    workload: str
    device: str
    repeat: int

    @property
    def run_id(self) -> str:
        return f"{self.workload}/{self.device}/r{self.repeat}"


@dataclass(frozen=True)
class Order:
    """A run, the validated entry of its device, and what decides its result.

    Attributes:
        device: the device's entry, field for field.
        settings: `Project.run_settings` of the run.
        deadline_s: a run that takes longer is ended.
    """

    run: Run
    device: dict[str, Any]
    settings: dict[str, Any]
    deadline_s: float


def read_order(config: Path, run: Run) -> Order:
    """Read a run's order from the resolved configuration that `plan.write_project` wrote."""
    data = json.loads(config.read_text(encoding="utf-8"))
    return Order(
        run,
        data["fleet"][run.device],
        data["settings"][run.workload][run.device],
        data["experiment"]["deadline_s"],
    )
