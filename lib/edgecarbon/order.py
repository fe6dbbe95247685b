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


@dataclass(frozen=True)
class FleetOrder:
    """A fleet's run, as plain data.

    Attributes:
        fleet: the fleet's validated entry, field for field; `name` its name.
        devices: the entry of each member, by name, in the fleet's order.
        settings: what decides the training, as of a lone device's run, with each member's own part under `devices`.
        placement: grid of member names, layers, micro_batches and order, or `missing`, why there is no plan; None only
            measures the network.
    """

    workload: str
    name: str
    repeat: int
    fleet: dict[str, Any]
    devices: dict[str, dict[str, Any]]
    settings: dict[str, Any]
    placement: dict[str, Any] | None
    deadline_s: float

    @property
    def run_id(self) -> str:
        return f"{self.workload}/{self.name}/r{self.repeat}"

    @property
    def members(self) -> list[str]:
        """The members that take part, by rank."""
        if self.placement is None or "grid" not in self.placement:
            return list(self.devices)
        return [name for row in self.placement["grid"] for name in row]


def read_fleet_order(
    config: Path, workload: str, name: str, repeat: int, placement: dict[str, Any] | None
) -> FleetOrder:
    """Read the order of a fleet's run from the resolved configuration.

    Args:
        placement: what `workflow/scripts/fleet_forecast.py` planned; None only measures the network.
    """
    data = json.loads(config.read_text(encoding="utf-8"))
    fleet = data["fleets"][name]
    settings = {member: data["settings"][workload][member] for member in fleet["devices"]}
    shared = {key: part for key, part in settings[fleet["devices"][0]].items() if key != "device"}
    return FleetOrder(
        workload,
        name,
        repeat,
        fleet,
        {member: data["fleet"][member] for member in fleet["devices"]},
        {**shared, "devices": {member: part["device"] for member, part in settings.items()}},
        placement,
        data["experiment"]["deadline_s"],
    )
