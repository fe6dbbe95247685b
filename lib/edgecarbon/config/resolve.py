"""From a scenario's file to its assumptions: everything that it names, found in the inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from edgecarbon.config.assumptions import (
    Assumption,
    BatteryWear,
    Electricity,
    Prices,
    ResolvedScenario,
    Segment,
    Side,
)
from edgecarbon.config.base import nearest, validate
from edgecarbon.config.based import read_scenarios
from edgecarbon.config.choice import GivenBattery, GivenRadio
from edgecarbon.config.inputs import Inputs, Table
from edgecarbon.config.practice import PRACTICE, Owner, Practice
from edgecarbon.config.quantities import (
    BytesPerParameter,
    BytesPerToken,
    Cycles,
    Factor,
    Given,
    GramsPerKilowattHour,
    HoursPerHour,
    Kilograms,
    KilowattHoursPerGigabyte,
    MegabytesPerSecond,
    Multiplier,
    Part,
    Price,
    PricePerKilowattHour,
    Quantity,
    Share,
    WattHours,
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
    resolver = _Resolver(str(path), inputs, {})
    cloud, edge, traffic = settings.cloud, settings.edge, settings.traffic
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
        battery=resolver.battery("edge.battery", edge.battery),
        life_lost_per_hour=resolver.optional("edge.life_lost_per_hour", edge.life_lost_per_hour, None, HoursPerHour),
        idle_share=resolver.optional("cloud.idle_share", cloud.idle_share, None, Share),
        coordinator=resolver.optional("edge.coordinator", edge.coordinator, None, Watts),
        cloud_hardware_avoided=resolver.optional(
            "counterfactual.cloud_hardware_avoided", settings.counterfactual.cloud_hardware_avoided, None, Part
        ),
        prices=resolver.prices(settings.owner, edge.charger),
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
    places: dict[Given | GivenRadio, str]
    """Where each network segment that is given in full was met first."""

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

    def grid(self, field: str, choice: Zone | Quantity) -> Electricity:
        where = f"{self.file}: {field}"
        if isinstance(choice, Zone):
            return self.zone(where, choice)
        literal = validate(GramsPerKilowattHour, choice.model_dump(), where)
        return Electricity(Assumption.of(f"scenario/{field}", literal))

    def zone(self, where: str, choice: Zone) -> Electricity:
        name, hours = f"grid/{choice.zone}/{choice.year}", choice.hours
        if choice.profile is None:
            return Electricity(Assumption.of(name, self.inputs.grid.find(choice.zone, choice.year, where)))
        profile = self.inputs.profiles.find(choice.profile, f"{where}.profile")
        figure = profile.over(hours, choice.zone, choice.year, where)
        label = f"{choice.profile}/{hours.label}" if hours else choice.profile
        if profile.entry.kind == "absolute":
            return Electricity(Assumption.of(f"{name}/{label}", figure))
        mean = Assumption.of(name, self.inputs.grid.find(choice.zone, choice.year, where))
        return Electricity(mean, Assumption.of(f"hours/{choice.zone}/{label}", figure))

    def side(
        self, name: str, settings: CloudAssumptions | EdgeAssumptions, grid: Electricity, site_factor: Assumption
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

    def prices(self, owner: Owner | None, charger: str | Quantity) -> Prices | None:
        if owner is None:
            return None
        # Idle chargers draw what they draw without a run too, so that its bill is that of one more charge.
        one_more = "marginal" if charger == "average" else charger
        paid = self.choice("edge.charger", one_more, self.inputs.charger_factor, Factor)
        tariff = self.choice("owner.tariff", owner.tariff, None, PricePerKilowattHour)
        battery = self.optional("owner.battery_price", owner.battery_price, None, Price)
        for field, price in (("tariff", tariff), ("battery_price", battery)):
            if price is not None and price.unit.removesuffix("/kWh") != owner.currency:
                raise UserError(
                    f"{self.file}: owner.{field}.unit: expected {owner.currency}, the owner's currency; found {price.unit}"
                )
        return Prices(owner.currency, tariff, battery, paid)

    def battery(self, field: str, choice: str | GivenBattery) -> BatteryWear:
        if isinstance(choice, str):
            return BatteryWear.of(choice, self.inputs.batteries.find(choice, f"{self.file}: {field}"))
        return BatteryWear(
            self.choice(f"{field}.embodied_share", choice.embodied_share, None, Share),
            self.choice(f"{field}.rated_cycles", choice.rated_cycles, None, Cycles),
            self.choice(f"{field}.capacity", choice.capacity, None, WattHours),
        )

    def path(self, field: str, choices: Sequence[str | Given | GivenRadio]) -> tuple[Segment, ...]:
        return tuple(self.segment(f"{field}.{index}", choice) for index, choice in enumerate(choices))

    def segment(self, field: str, choice: str | Given | GivenRadio) -> Segment:
        if isinstance(choice, str):
            return self.listed_segment(f"{self.file}: {field}", choice)
        # The same literal crossed again, on whichever path, is one segment, and must be drawn once.
        first = self.places.setdefault(choice, field)
        if isinstance(choice, Given):
            return Segment(per_gigabyte=self.choice(first, choice, None, KilowattHoursPerGigabyte))
        return Segment(
            watts=self.choice(f"{first}.watts", choice.watts, None, Watts),
            speed=self.choice(f"{first}.speed", choice.speed, None, MegabytesPerSecond),
        )

    def listed_segment(self, where: str, key: str) -> Segment:
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
