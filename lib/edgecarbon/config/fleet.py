"""`fleets` in `config/devices.yaml`: devices that train one model together, and the network between them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from edgecarbon.config.base import Name, PositiveFloat, Section

Count = Annotated[int, Field(ge=1)]


class LinkRate(Section):
    """What one device can send and receive, where it differs from the others."""

    up_mbyte_per_s: PositiveFloat
    """What it can send, MB/s (10⁶ bytes)."""

    down_mbyte_per_s: PositiveFloat
    """What it can receive, MB/s (10⁶ bytes)."""


class Links(Section):
    """The network between the members, as the planner and the simulator take it."""

    source: Literal["given", "measured"] = "given"
    """`given`: the values below. `measured`: the workflow measures delay and bandwidth of every pair before it plans."""

    file: str | None = None
    """A network file with `delay_ms` and `bandwidth_gbps`, one row and column a member in the order of the fleet, relative
    to the project; in place of the values below."""

    up_mbyte_per_s: PositiveFloat = 10.0
    """What a member can send in all, MB/s (10⁶ bytes)."""

    down_mbyte_per_s: PositiveFloat = 10.0
    """What a member can receive in all, MB/s (10⁶ bytes)."""

    delay_ms: Annotated[float, Field(ge=0)] = 2.0
    """Delay between two members, one way, ms."""

    devices: dict[Name, LinkRate] = {}
    """Members whose rates differ, by name."""

    shared_medium_mbyte_per_s: PositiveFloat | None = None
    """All members are on one Wi-Fi access point, which carries so much in all, MB/s: every transfer crosses it twice, and
    nothing beyond it. Null: their links do not touch each other, and a scenario's network lies between them."""


class Radio(Section):
    """What the members' radios draw, where no meter covers them."""

    watts: Annotated[float, Field(ge=0)] = 0.5
    """Draw while sending or receiving, W."""

    mbyte_per_s: PositiveFloat = 10.0
    """Rate at which it has that draw, MB/s: 0.5 W at 10 MB/s is 6.25 nJ a bit."""

    covered: bool = False
    """Whether the members' meters cover their radios already (a whole-device meter does): then nothing is added."""

    source: str = "arXiv 2507.01803: Wi-Fi radio, 0.5 W at 10 MB/s"
    """Where the figures are from."""

    @property
    def joules_per_byte(self) -> float:
        return 0.0 if self.covered else self.watts / (self.mbyte_per_s * 1e6)


class StagePlan(Section):
    """A plan of one's own in place of the planner's."""

    grid: Annotated[list[list[Name]], Field(min_length=1)]
    """One list a replica, with the member that has each stage, from the first."""

    layers: Annotated[list[Count], Field(min_length=1)]
    """How many layers each stage has."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        members = [name for row in self.grid for name in row]
        if any(len(row) != len(self.layers) for row in self.grid):
            raise ValueError(f"every replica needs one member for each of the {len(self.layers)} stages of `layers`")
        if len(set(members)) != len(members):
            raise ValueError("a member is named twice; each has one stage")
        return self


class Fleet(Section):
    """Devices that train one model together: real ones, which are measured, or modelled ones, which are simulated."""

    devices: list[Name] = []
    """Members, by their name in `devices`."""

    modelled: dict[Name, Count] = {}
    """Members that nobody has at hand: reference devices of config/inputs/reference_devices.yaml, and how many of each."""

    memory_gbyte: PositiveFloat | None = None
    """Memory of each member that training may use, GB (10⁹ bytes); null does not limit modelled members, and takes what
    the others report."""

    idle_share: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Draw of a modelled member while it waits, as a share of its draw in training: an assumption of this project. Measured
    members show their own."""

    objective: Literal["time", "energy", "carbon"] = "time"
    """What the planner makes least."""

    plan: StagePlan | None = None
    """Stages and replicas of one's own; null lets the planner choose."""

    micro_batches: Count | None = None
    """Micro-batches of each replica a step; null lets the planner choose."""

    order: Literal["gpipe", "1f1b", "eager-1f1b"] | None = None
    """Order of the passes; null lets the planner choose."""

    link: Literal["tls", "gloo"] = "tls"
    """`tls`: encrypted and authenticated, on every system. `gloo`: torch.distributed, between Linux machines on a network
    that is trusted."""

    boundary: Literal["fp32", "bf16", "fp16", "int8"] = "fp32"
    """How hidden states travel between stages."""

    gradients: Literal["fp32", "bf16", "fp16"] = "fp32"
    """How gradients travel between replicas."""

    links: Links = Links()
    """The network between the members."""

    radio: Radio = Radio()
    """What the members' radios draw."""

    addresses: dict[Name, str] = {}
    """Host name or IP address at which the others reach a member; needed where it is not what ssh knows it by."""

    port: Annotated[int, Field(ge=1024, le=65000)] = 29400
    """TCP port that each member listens on, and the next one above it."""

    join_s: PositiveFloat = 120.0
    """How long the members wait for each other at the start, s."""

    silence_s: Annotated[float, Field(ge=3)] = 10.0
    """A member from which nothing is heard for so long is lost, and the run ends, s."""

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        if bool(self.devices) == bool(self.modelled):
            raise ValueError("give either `devices`, which are measured, or `modelled` ones, and not both")
        if len(set(self.devices)) != len(self.devices):
            raise ValueError("devices: one is listed twice; list each name once")
        for field, names in (("addresses", self.addresses), ("links.devices", self.links.devices)):
            strange = sorted(set(names) - set(self.devices))
            if strange and self.devices:
                raise ValueError(
                    f"{field}: '{strange[0]}' is no member of the fleet; its members are {', '.join(self.devices)}"
                )
        if self.plan:
            strange = sorted({name for row in self.plan.grid for name in row} - set(self.members()))
            if strange:
                raise ValueError(f"plan.grid: '{strange[0]}' is no member; the members are {', '.join(self.members())}")
        return self

    def members(self) -> list[str]:
        """Every member's name; modelled ones are numbered."""
        return self.devices or [f"{name}-{n}" for name, count in self.modelled.items() for n in range(1, count + 1)]

    def kinds(self) -> list[str]:
        """For each member, the device or reference device that it is."""
        return self.devices or [name for name, count in self.modelled.items() for _ in range(count)]

    def decisive(self) -> dict[str, Any]:
        """What decides the plan and the simulation: how the members are reached does not."""
        return self.model_dump(mode="json", exclude={"addresses", "port", "join_s", "silence_s"})

    def measured_by(self) -> dict[str, Any]:
        """What decides a measurement beside the plan."""
        return self.model_dump(mode="json", include={"link", "boundary", "gradients"})
