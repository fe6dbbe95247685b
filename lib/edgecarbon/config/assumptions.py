"""A scenario with every key found: the numbers in use, under names that are the same wherever the same number is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from edgecarbon.config.base import Section
from edgecarbon.config.quantities import Quantity
from edgecarbon.config.scenario import Scenario


@dataclass(frozen=True)
class Assumption:
    """A number in use, under a name that is the same wherever the same number is used."""

    name: str
    value: float
    low: float
    high: float
    unit: str
    source: str
    year: int | None
    boundary: str
    licence: str
    provenance: str
    distribution: str = "split_log_uniform"

    @classmethod
    def of(cls, name: str, quantity: Quantity) -> Assumption:
        """A quantity of the inputs, or a literal, as an assumption."""
        return cls(name, **{field: getattr(quantity, field) for field in Quantity.model_fields})


@dataclass(frozen=True)
class Electricity:
    """Carbon intensity of electricity: a year's mean, and what the hours in which it is drawn make of it."""

    mean: Assumption
    hours: Assumption | None = None
    """Mean over those hours over the year's. By itself, so that two sides share the year whatever their hours."""

    @property
    def assumptions(self) -> list[Assumption]:
        return [part for part in (self.mean, self.hours) if part is not None]

    def intensity(self, look: Callable[[Assumption], Any]) -> Any:
        """gCO2e/kWh, of what `look` gives for an assumption: its value, or its draws."""
        mean = look(self.mean)
        return mean if self.hours is None else mean * look(self.hours)


@dataclass(frozen=True)
class Segment:
    """A network segment: kWh/GB, or a radio's watts and speed (MB/s)."""

    per_gigabyte: Assumption | None = None
    watts: Assumption | None = None
    speed: Assumption | None = None

    @property
    def assumptions(self) -> list[Assumption]:
        return [part for part in (self.per_gigabyte, self.watts, self.speed) if part is not None]


@dataclass(frozen=True)
class BatteryWear:
    """What the wear of a device's battery is reckoned from."""

    embodied_share: Assumption
    rated_cycles: Assumption
    capacity: Assumption

    @classmethod
    def of(cls, key: str, battery: Section) -> BatteryWear:
        """An entry of `batteries.yaml`, by its key."""
        parts = (part.name for part in fields(cls))
        return cls(*(Assumption.of(f"batteries/{key}/{part}", getattr(battery, part)) for part in parts))


@dataclass(frozen=True)
class Prices:
    """What the owner of an edge device pays."""

    currency: str
    tariff: Assumption
    battery: Assumption | None
    charger: Assumption
    """Energy at the plug over energy at the battery that one more charge costs."""


@dataclass(frozen=True)
class Side:
    """The assumptions for cloud devices, or for edge devices."""

    grid: Electricity
    site_factor: Assumption
    """PUE in the cloud, charger factor at the edge."""
    lifetime: Assumption | None
    utilisation: Assumption
    resource_share: Assumption
    data_path: tuple[Segment, ...]
    weights_path: tuple[Segment, ...]
    practice: dict[str, Assumption]
    """Those of `PRACTICE` that the scenario gives."""


@dataclass(frozen=True)
class ResolvedScenario:
    """A scenario whose every key was found."""

    name: str
    file: str
    settings: Scenario
    boundaries: dict[str, Assumption]
    cloud: Side
    edge: Side
    host_embodied: Assumption | None
    battery: BatteryWear
    """That of an edge device with one whose embodied entry names none."""
    life_lost_per_hour: Assumption | None
    idle_share: Assumption | None
    coordinator: Assumption | None
    cloud_hardware_avoided: Assumption | None
    prices: Prices | None
    bytes_per_token: Assumption
    bytes_per_parameter: Assumption
