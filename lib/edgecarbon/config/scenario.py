"""`config/scenarios/*.yaml`: one set of carbon assumptions each, resolved against the inputs, sources and all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from edgecarbon.config.base import Name, Section, nearest, validate
from edgecarbon.config.based import read_scenarios
from edgecarbon.config.choice import Choice
from edgecarbon.config.inputs import Inputs, Table
from edgecarbon.config.practice import Counterfactual, Owner, Practice, Sensitivity
from edgecarbon.config.profiles import Hours
from edgecarbon.config.quantities import (
    BytesPerParameter,
    BytesPerToken,
    Factor,
    Given,
    GramsPerKilowattHour,
    HoursPerHour,
    Key,
    Kilograms,
    Multiplier,
    Part,
    Price,
    PricePerKilowattHour,
    Quantity,
    Share,
    Text,
    Watts,
    Years,
)
from edgecarbon.errors import UserError

Attribution = Literal["sunk", "time_share", "used_hours", "marginal_wear"]
BOUNDARIES = ("gpu_board", "cpu_package", "cpu_package_and_dram", "soc", "battery", "wall", "not_known")


def _kind_of_grid(value: Any) -> str | None:
    fields = value if isinstance(value, dict) else value.model_fields_set if isinstance(value, Section) else ()
    return "by zone" if "zone" in fields else "literal" if "value" in fields else None


class Zone(Section):
    """An area's electricity in one year, from the grid table of the inputs."""

    zone: Key
    """Three-letter code of the area, such as USA."""

    year: Annotated[int, Field(ge=1990, le=2100)]
    """Year; one that the table lacks is an error."""

    profile: Key | None = None
    """Hourly profile of the inputs; null takes the year's mean."""

    hours: Hours | None = None
    """Hours of the day in which electricity is drawn, of those of the profile; null takes all."""

    @model_validator(mode="after")
    def _hours_have_a_profile(self) -> Zone:
        if self.hours is not None and self.profile is None:
            raise ValueError("hours are given without a profile, and a year's mean has none: name a `profile`")
        return self


GridChoice = Annotated[
    Annotated[Zone, Tag("by zone")] | Annotated[Given, Tag("literal")],
    Discriminator(
        _kind_of_grid,
        custom_error_type="grid",
        custom_error_message="expected zone and year, or a literal in gCO2e/kWh with value, unit, source, year, "
        "boundary, licence and provenance, and low and high where it has a range",
    ),
]
"""Electricity by zone and year, or a carbon intensity given in full."""


class Boundaries(Section):
    """From what a meter saw to the whole machine, by the meter's boundary."""

    gpu_board: Choice
    """A GPU board's own sensor: the host (processors, memory, fans, power supply) is missing; the host factor."""

    cpu_package: Choice
    """A processor's counter: memory, board, storage and power supply are missing."""

    cpu_package_and_dram: Choice
    """Counters of processor and memory: board, storage and power supply are missing."""

    soc: Choice
    """A system-on-chip's counter: screen, storage and radio are missing."""

    battery: Choice
    """The whole device, from its battery."""

    wall: Choice
    """The whole device, at the plug."""

    not_known: Choice
    """A record that does not say what its energy covers."""


class CloudAssumptions(Section):
    """What is assumed of every cloud device."""

    grid: GridChoice
    """Electricity that it draws."""

    pue: Choice
    """Power usage effectiveness of its building."""

    lifetime: Choice | None = None
    """Service life, years; null takes the one beside the embodied entry."""

    utilisation: Choice
    """Share of its hours in which somebody rents it: the empty hours are borne by the others (multiplexing)."""

    resource_share: Choice
    """Share of the machine that a run holds while it runs; below 1 where tenants share one board."""

    idle_share: Choice | None = None
    """Draw of the machine in hours that nobody rents, over its draw in training; those hours are borne by the others.
    Measured idle goes first. Null leaves them out."""

    attribution: Literal["used_hours", "as_edge"] = "used_hours"
    """How its manufacturing is charged: by used hours, since it was bought for such work, or as the edge's is."""

    host_embodied: Choice | None = None
    """Manufacturing of the server around one board; null leaves it out. A device's own entry goes first."""

    practice: Practice = Practice()
    """What practice adds to energy and time."""

    data_path: list[Key]
    """Network segments that training data cross, each as often as it is crossed."""

    weights_path: list[Key] = []
    """Network segments that exchanged weights cross, both ends listed."""


class EdgeAssumptions(Section):
    """What is assumed of every edge device."""

    grid: GridChoice
    """Electricity that it draws."""

    charger: Choice
    """Energy at the plug over energy at the battery: `marginal`, `average` or a literal; for devices with a battery."""

    lifetime: Choice | None = None
    """Service life, years; null takes the one beside the embodied entry."""

    utilisation: Choice
    """Share of its life in which it is in use at all."""

    resource_share: Choice
    """Share of the device that a run holds while it runs."""

    battery: Key
    """Battery of a device with one whose embodied entry names none."""

    life_lost_per_hour: Choice | None = None
    """Hours of service life that an hour of training costs, counted as wear; null claims none."""

    coordinator: Choice | None = None
    """Draw of the servers that coordinate the training, for each device, W; on the cloud's grid and PUE. Null: none."""

    practice: Practice = Practice()
    """What practice adds to energy and time."""

    data_path: list[Key]
    """Network segments that training data cross, each as often as it is crossed."""

    weights_path: list[Key] = []
    """Network segments that exchanged weights cross, both ends listed."""


class Traffic(Section):
    """What a run moves over the network."""

    bytes_per_token: Choice
    """Training data, bytes for each token."""

    weights_every_steps: Annotated[int, Field(ge=1)] | None = None
    """Weights are sent and fetched every so many steps; null exchanges none."""

    bytes_per_parameter: Choice
    """Size of a parameter on its way, bytes."""


class Scenario(Section):
    """One set of carbon assumptions."""

    based_on: Name | None = None
    """Scenario beside this file that holds everything but title and description that is not given here."""

    title: Text
    """Name for the report."""

    description: Text
    """What the scenario stands for, in a sentence or two."""

    seed: Annotated[int, Field(ge=0)] = 1
    """Seed of the draws; the same seed gives the same intervals."""

    draws: Annotated[int, Field(ge=100, le=1_000_000)] = 4000
    """Draws behind each interval."""

    energy: Literal["gross", "net"] = "gross"
    """Energy that is charged: all that the meter saw, or what lies above idle."""

    attributions: Annotated[list[Attribution], Field(min_length=1)]
    """Ways to charge an edge device's manufacturing, printed side by side."""

    device_facts_first: bool = True
    """Whether a device's own lifetime, utilisation and grid zone go before the scenario's."""

    boundaries: Boundaries
    """From what a meter saw to the whole machine."""

    cloud: CloudAssumptions
    """Cloud devices."""

    edge: EdgeAssumptions
    """Edge devices."""

    traffic: Traffic
    """What a run moves over the network."""

    counterfactual: Counterfactual = Counterfactual()
    """What would have happened without the run."""

    owner: Owner | None = None
    """What the owner of an edge device pays; null leaves out the owner's view."""

    sensitivity: Sensitivity = Sensitivity()
    """How thoroughly it is asked which assumption decides."""

    @field_validator("attributions")
    @classmethod
    def _no_attribution_twice(cls, names: list[Attribution]) -> list[Attribution]:
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"'{twice[0]}' is listed twice; list each attribution once")
        return names


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


PRACTICE = ("availability", "churn", "recomputation", "replication", "throttling_energy", "throttling_time")
"""Fields of `Practice`, all of them optional."""


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
    settings = validate(Scenario, data, str(path))
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
