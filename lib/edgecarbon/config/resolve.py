"""From a scenario's file to its assumptions: everything that it names, found in the inputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from edgecarbon.config.assumptions import Assumption, Prices, ResolvedScenario, Segment, Side
from edgecarbon.config.base import nearest, validate
from edgecarbon.config.based import read_scenarios
from edgecarbon.config.inputs import Inputs, Table
from edgecarbon.config.practice import PRACTICE, Owner, Practice
from edgecarbon.config.quantities import (
    BytesPerParameter,
    BytesPerToken,
    Factor,
    GramsPerKilowattHour,
    HoursPerHour,
    Kilograms,
    Multiplier,
    Part,
    Price,
    PricePerKilowattHour,
    Quantity,
    Share,
    Watts,
    Years,
)
from edgecarbon.config.scenario import BOUNDARIES, Boundaries, CloudAssumptions, EdgeAssumptions, Scenario, Zone
from edgecarbon.errors import UserError

QuantityType = TypeVar("QuantityType", bound=Quantity)


def load_scenario(path: Path, inputs: Inputs) -> ResolvedScenario:
    """Read a scenario, with what it is based on, and find everything that it names.

    Raises:
        UserError: file, field, what was expected, and the nearest valid name.
    """
    # In the order of inheritance, so that a mistake is told of the file that makes it.
    *_, found = (_resolved(file, full, inputs) for file, full in read_scenarios(path))
    return found


def _resolved(path: Path, data: dict[str, Any], inputs: Inputs) -> ResolvedScenario:
    try:
        settings = validate(Scenario, data, str(path))
    except UserError as error:
        # What differs from another scenario is often written without saying from which.
        hint = f"\n{path}: `based_on: default` would take from that scenario what is not given here"
        raise UserError(f"{error}{hint if 'boundaries' not in data else ''}") from None
    resolver = _Resolver(str(path), inputs)
    cloud, edge, traffic = settings.cloud, settings.edge, settings.traffic
    inputs.batteries.find(edge.battery, f"{path}: edge.battery")
    cloud_grid = resolver.grid("cloud.grid", cloud.grid)
    return ResolvedScenario(
        name=path.stem,
        file=str(path),
        settings=settings,
        boundaries=resolver.boundaries(settings.boundaries),
        cloud=resolver.side("cloud", cloud, cloud_grid, resolver.choice("cloud.pue", cloud.pue, inputs.pue, Factor)),
        edge=resolver.side(
            "edge",
            edge,
            # The same literal on both sides is one grid, and must be drawn once.
            cloud_grid if edge.grid == cloud.grid else resolver.grid("edge.grid", edge.grid),
            resolver.choice("edge.charger", edge.charger, inputs.charger_factor, Factor),
        ),
        host_embodied=resolver.optional("cloud.host_embodied", cloud.host_embodied, inputs.embodied, Kilograms),
        life_lost_per_hour=resolver.optional("edge.life_lost_per_hour", edge.life_lost_per_hour, None, HoursPerHour),
        idle_share=resolver.optional("cloud.idle_share", cloud.idle_share, None, Share),
        coordinator=resolver.optional("edge.coordinator", edge.coordinator, None, Watts),
        cloud_hardware_avoided=resolver.optional(
            "counterfactual.cloud_hardware_avoided", settings.counterfactual.cloud_hardware_avoided, None, Part
        ),
        prices=resolver.prices(settings.owner),
        bytes_per_token=resolver.choice("traffic.bytes_per_token", traffic.bytes_per_token, None, BytesPerToken),
        bytes_per_parameter=resolver.choice(
            "traffic.bytes_per_parameter", traffic.bytes_per_parameter, None, BytesPerParameter
        ),
    )


@dataclass(frozen=True)
class _Resolver:
    """Finds what the fields of one scenario file name."""

    file: str
    inputs: Inputs

    def choice(self, field: str, choice: Any, table: Table[Any] | None, kind: type[QuantityType]) -> Assumption:
        where = f"{self.file}: {field}"
        if isinstance(choice, Quantity):
            return Assumption.of(f"scenario/{field}", validate(kind, choice.model_dump(), where))
        if table is None:
            raise UserError(
                f"{where}: expected a literal in full; found '{choice}', and no input file holds such entries"
            )
        return Assumption.of(f"{table.field}/{choice}", table.find(choice, where))

    def boundaries(self, settings: Boundaries) -> dict[str, Assumption]:
        return {
            name: self.choice(f"boundaries.{name}", getattr(settings, name), self.inputs.boundary_factor, Factor)
            for name in BOUNDARIES
        }

    def optional(
        self, field: str, choice: Any, table: Table[Any] | None, kind: type[QuantityType]
    ) -> Assumption | None:
        return None if choice is None else self.choice(field, choice, table, kind)

    def grid(self, field: str, choice: Zone | Quantity) -> Assumption:
        where = f"{self.file}: {field}"
        if isinstance(choice, Zone):
            return self.zone(where, choice)
        return Assumption.of(f"scenario/{field}", validate(GramsPerKilowattHour, choice.model_dump(), where))

    def zone(self, where: str, choice: Zone) -> Assumption:
        name = f"grid/{choice.zone}/{choice.year}"
        if choice.profile is None:
            return Assumption.of(name, self.inputs.grid.find(choice.zone, choice.year, where))
        profile, hours = self.inputs.profiles.find(choice.profile, f"{where}.profile"), choice.hours
        label = f"/{hours.label}" if hours else ""
        found = profile.over(hours, choice.zone, choice.year, self.inputs.grid, where)
        return Assumption.of(f"{name}/{choice.profile}{label}", found)

    def side(
        self, name: str, settings: CloudAssumptions | EdgeAssumptions, grid: Assumption, site_factor: Assumption
    ) -> Side:
        inputs = self.inputs
        return Side(
            grid=grid,
            site_factor=site_factor,
            lifetime=self.optional(f"{name}.lifetime", settings.lifetime, inputs.lifetimes, Years),
            utilisation=self.choice(f"{name}.utilisation", settings.utilisation, inputs.utilisation, Share),
            resource_share=self.choice(f"{name}.resource_share", settings.resource_share, inputs.utilisation, Share),
            data_path=self.path(f"{name}.data_path", settings.data_path),
            weights_path=self.path(f"{name}.weights_path", settings.weights_path),
            practice=self.practice(f"{name}.practice", settings.practice),
        )

    def practice(self, field: str, settings: Practice) -> dict[str, Assumption]:
        given = {name: getattr(settings, name) for name in PRACTICE}
        return {
            name: self.choice(f"{field}.{name}", choice, None, Share if name == "availability" else Multiplier)
            for name, choice in given.items()
            if choice is not None
        }

    def prices(self, owner: Owner | None) -> Prices | None:
        if owner is None:
            return None
        tariff = self.choice("owner.tariff", owner.tariff, None, PricePerKilowattHour)
        battery = self.optional("owner.battery_price", owner.battery_price, None, Price)
        for field, price in (("tariff", tariff), ("battery_price", battery)):
            if price is not None and price.unit.removesuffix("/kWh") != owner.currency:
                raise UserError(
                    f"{self.file}: owner.{field}.unit: expected {owner.currency}, the owner's currency; found {price.unit}"
                )
        return Prices(owner.currency, tariff, battery)

    def path(self, field: str, keys: list[str]) -> tuple[Segment, ...]:
        return tuple(self.segment(f"{self.file}: {field}.{index}", key) for index, key in enumerate(keys))

    def segment(self, where: str, key: str) -> Segment:
        segments, radios = self.inputs.segments, self.inputs.radios
        if key in segments.entries:
            return Segment(per_gigabyte=Assumption.of(f"segments/{key}", segments.entries[key]))
        if key in radios.entries:
            radio = radios.entries[key]
            return Segment(
                watts=Assumption.of(f"radios/{key}/watts", radio.watts),
                speed=Assumption.of(f"radios/{key}/speed", radio.speed),
            )
        hint = nearest(key, [*segments.entries, *radios.entries])
        raise UserError(f"{where}: '{key}' is not in {segments.file} (segments, radios); {hint}")
