"""`config/scenarios/*.yaml`: one set of carbon assumptions each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from edgecarbon.config.base import Name, Section
from edgecarbon.config.choice import BatteryChoice, Choice, SegmentChoice
from edgecarbon.config.practice import Counterfactual, Owner, Practice, Sensitivity
from edgecarbon.config.profiles import Hours
from edgecarbon.config.quantities import Given, Key, Text

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
    """Manufacturing of the server around one board; null leaves it out. A reference device's own entry goes before it,
    unless `device_facts_first` is false."""

    practice: Practice = Practice()
    """What practice adds to energy and time."""

    data_path: list[SegmentChoice]
    """Network segments that training data cross, each as often as it is crossed."""

    weights_path: list[SegmentChoice] = []
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

    battery: BatteryChoice
    """Battery of a device with one whose embodied entry names none."""

    life_lost_per_hour: Choice | None = None
    """Hours of service life that an hour of training costs, counted as wear; null claims none."""

    coordinator: Choice | None = None
    """Draw of the servers that coordinate the training, for each device, W; on the cloud's grid and PUE. Null: none."""

    practice: Practice = Practice()
    """What practice adds to energy and time."""

    data_path: list[SegmentChoice]
    """Network segments that training data cross, each as often as it is crossed."""

    weights_path: list[SegmentChoice] = []
    """Network segments that exchanged weights cross, and what members of a fleet send each other; both ends listed."""


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
    """Whether a device's own lifetime, utilisation, grid zone and server go before the scenario's. A lifetime that the
    scenario does not give is the device's all the same."""

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
