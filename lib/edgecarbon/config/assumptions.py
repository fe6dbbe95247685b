"""A scenario with every key found: the numbers in use, under names that are the same wherever the same number is used."""

from __future__ import annotations

from dataclasses import dataclass

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
class Segment:
    """A network segment: kWh/GB, or a radio's watts and speed (MB/s)."""

    per_gigabyte: Assumption | None = None
    watts: Assumption | None = None
    speed: Assumption | None = None

    @property
    def assumptions(self) -> list[Assumption]:
        return [part for part in (self.per_gigabyte, self.watts, self.speed) if part is not None]


@dataclass(frozen=True)
class Prices:
    """What the owner of an edge device pays."""

    currency: str
    tariff: Assumption
    battery: Assumption | None


@dataclass(frozen=True)
class Side:
    """The assumptions for cloud devices, or for edge devices."""

    grid: Assumption
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
    life_lost_per_hour: Assumption | None
    idle_share: Assumption | None
    coordinator: Assumption | None
    cloud_hardware_avoided: Assumption | None
    prices: Prices | None
    bytes_per_token: Assumption
    bytes_per_parameter: Assumption
