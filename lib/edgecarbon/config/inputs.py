"""`config/inputs/`: the numbers that carbon assumptions rest on, each with unit, range, source, year and licence.

A key that matches no entry exactly is an error with the nearest valid name: nothing here ever falls back to a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from edgecarbon.config.base import Section, read_yaml, validate
from edgecarbon.config.claims import Claim, load_claims
from edgecarbon.config.grid import Grid, load_grid
from edgecarbon.config.parts import Composition, load_composed
from edgecarbon.config.profiles import Profile, load_profiles
from edgecarbon.config.quantities import (
    Cycles,
    Factor,
    Key,
    Kilograms,
    KilowattHoursPerGigabyte,
    MegabytesPerSecond,
    Share,
    TeraflopsPerSecond,
    Text,
    WattHours,
    Watts,
    Years,
)
from edgecarbon.config.table import Entry, Table
from edgecarbon.errors import UserError

__all__ = [
    "Battery",
    "Embodied",
    "Inputs",
    "Radio",
    "ReferenceDevice",
    "Table",
    "load_inputs",
    "load_reference_devices",
]


class Embodied(Kilograms):
    """Manufacturing of a device or of a part of one."""

    boundary: Literal["whole_device", "gpu_board", "server_share"]
    """What the footprint covers; a `gpu_board` needs a share of a server around it."""

    lifetime: Key
    """Key in lifetimes.yaml of the service life that goes with it."""

    battery: Key | None = None
    """Key in batteries.yaml of the battery inside; null for none, or for one that is not known."""


class Radio(Section):
    """A radio of known draw and link speed: its energy is watts × seconds."""

    watts: Watts
    """Draw while it sends or receives."""

    speed: MegabytesPerSecond
    """Link speed."""


class Battery(Section):
    """What a battery's wear is reckoned from."""

    embodied_share: Share
    """Share of the device's manufacturing that is the battery's."""

    rated_cycles: Cycles
    """Full cycles until it holds 80 % of its capacity."""

    capacity: WattHours
    """Energy of a full charge."""


class ReferenceDevice(Section):
    """A device that nobody measured here: modelled from its data sheet, within a range."""

    name: str = ""
    """Filled from the entry's key."""

    description: Text
    """What the device is, in a few words for the report."""

    is_not: Text
    """What the figure must not be taken for."""

    role: Literal["cloud", "edge"]
    """Which side of the comparison it stands on."""

    peak: TeraflopsPerSecond
    """Arithmetic peak at `precision`, dense."""

    precision: Literal["fp32", "bf16"]
    """Precision that it is taken to train in."""

    sustained: Share
    """Share of the peak that training sustains: its model FLOP utilisation."""

    draw: Watts
    """Draw in training, at `boundary`."""

    boundary: Literal["gpu_board", "cpu_package", "soc", "battery", "wall"]
    """What the draw covers."""

    battery: bool
    """Whether it draws its energy through a battery and a charger."""

    embodied: Key
    """Exact key in embodied.yaml or composed.yaml."""

    lifetime: Key
    """Exact key in lifetimes.yaml."""

    host_embodied: Key | None = None
    """Key in embodied.yaml of the share of a server around a board; null, and a scenario whose `device_facts_first` is
    false, take the scenario's."""

    def carbon_facts(self) -> dict[str, Any]:
        """What the carbon model needs to know of it, in the shape that measured devices have."""
        return {
            "role": self.role,
            "embodied": self.embodied,
            "host_embodied": self.host_embodied,
            "lifetime": self.lifetime,
            "lifetime_years": None,
            "owner_utilisation": None,
            "grid_zone": None,
            "battery": self.battery,
        }


class EmbodiedFile(Section):
    """`embodied.yaml`."""

    embodied: dict[Key, Embodied]
    """Manufacturing footprints by exact key."""


class LifetimesFile(Section):
    """`lifetimes.yaml`."""

    lifetimes: dict[Key, Years]
    """Service lives by key."""


class UtilisationFile(Section):
    """`utilisation.yaml`."""

    utilisation: dict[Key, Share]
    """Share of its life that a kind of device is in use, by key."""


class OverheadsFile(Section):
    """`overheads.yaml`."""

    pue: dict[Key, Factor]
    """Power usage effectiveness of data centres: power at their door over power at the machines, by key."""

    boundary_factor: dict[Key, Factor]
    """Power of a whole machine over the power inside a meter's boundary, by key."""

    charger_factor: dict[Key, Factor]
    """Energy at the plug over energy at the battery, by key."""


class NetworkFile(Section):
    """`network.yaml`."""

    segments: dict[Key, KilowattHoursPerGigabyte]
    """Parts of a network by their electricity for each GB."""

    radios: dict[Key, Radio]
    """Radios by draw and link speed."""


class BatteriesFile(Section):
    """`batteries.yaml`."""

    batteries: dict[Key, Battery]
    """Batteries by key."""


class ReferenceDevicesFile(Section):
    """`reference_devices.yaml`."""

    devices: dict[Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$")], ReferenceDevice]
    """Reference devices by name."""


@dataclass(frozen=True)
class Inputs:
    """Everything in an inputs directory, checked."""

    embodied: Table[Embodied]
    """Footprints of embodied.yaml, and those that were composed of parts."""

    composed: Table[Composition]
    lifetimes: Table[Years]
    utilisation: Table[Share]
    pue: Table[Factor]
    boundary_factor: Table[Factor]
    charger_factor: Table[Factor]
    segments: Table[KilowattHoursPerGigabyte]
    radios: Table[Radio]
    batteries: Table[Battery]
    reference_devices: Table[ReferenceDevice]
    grid: Grid
    profiles: Table[Profile]
    claims: tuple[Claim, ...]


def load_inputs(directory: Path) -> Inputs:
    """Read and check every input file of a directory, and that the keys in them lead somewhere.

    Raises:
        UserError: file, field, what was expected, and the nearest valid name.
    """
    overheads = _read(OverheadsFile, directory / "overheads.yaml")
    network = _read(NetworkFile, directory / "network.yaml")

    def table(file: str, field: str, entries: Mapping[str, Entry]) -> Table[Entry]:
        return Table(str(directory / file), field, entries)

    grid = load_grid(directory / "grid.yaml")
    composed = load_composed(directory, grid)
    inputs = Inputs(
        embodied=_with_composed(_read(EmbodiedFile, directory / "embodied.yaml"), directory, composed),
        composed=composed,
        lifetimes=table("lifetimes.yaml", "lifetimes", _read(LifetimesFile, directory / "lifetimes.yaml").lifetimes),
        utilisation=table(
            "utilisation.yaml", "utilisation", _read(UtilisationFile, directory / "utilisation.yaml").utilisation
        ),
        pue=table("overheads.yaml", "pue", overheads.pue),
        boundary_factor=table("overheads.yaml", "boundary_factor", overheads.boundary_factor),
        charger_factor=table("overheads.yaml", "charger_factor", overheads.charger_factor),
        segments=table("network.yaml", "segments", network.segments),
        radios=table("network.yaml", "radios", network.radios),
        batteries=table("batteries.yaml", "batteries", _read(BatteriesFile, directory / "batteries.yaml").batteries),
        reference_devices=table(
            "reference_devices.yaml", "devices", load_reference_devices(directory / "reference_devices.yaml")
        ),
        grid=grid,
        profiles=table("profiles.yaml", "profiles", load_profiles(directory / "profiles.yaml")),
        claims=load_claims(directory / "claims.yaml"),
    )
    _check_references(inputs, directory)
    return inputs


def load_reference_devices(path: Path) -> dict[str, ReferenceDevice]:
    """Read `reference_devices.yaml` alone: the devices by name, each with its name in it."""
    devices = _read(ReferenceDevicesFile, path).devices
    return {name: device.model_copy(update={"name": name}) for name, device in devices.items()}


FileType = TypeVar("FileType", bound=Section)


def _read(model: type[FileType], path: Path) -> FileType:
    return validate(model, read_yaml(path), str(path))


def _with_composed(file: EmbodiedFile, directory: Path, composed: Table[Composition]) -> Table[Embodied]:
    """The footprints of `embodied.yaml` and the composed ones, under one roof."""
    path = directory / "embodied.yaml"
    both = sorted(set(file.embodied) & set(composed.entries))
    if both:
        raise UserError(f"{composed.file}: devices.{both[0]}: {path} has the same key; rename one")
    fields = {
        key: {
            "value": made.total.value,
            "low": made.total.low,
            "high": made.total.high,
            "unit": "kgCO2e",
            "source": made.source,
            "year": made.year,
            "boundary": made.device.boundary,
            "licence": made.licence,
            "provenance": "modelled",
            "lifetime": made.device.lifetime,
            "battery": made.device.battery,
        }
        for key, made in composed.entries.items()
    }
    entries = {key: validate(Embodied, entry, f"{composed.file}: devices.{key}") for key, entry in fields.items()}
    return Table(f"{path} or {Path(composed.file).name}", "embodied", {**file.embodied, **entries})


def _check_references(inputs: Inputs, directory: Path) -> None:
    """Keys inside the entries; a mistake there would otherwise show only once a run needs the entry."""
    both = sorted(set(inputs.segments.entries) & set(inputs.radios.entries))
    if both:
        raise UserError(f"{inputs.radios.file}: radios.{both[0]}: a segment has the same key; rename one")
    for key, entry in inputs.embodied.entries.items():
        made = key in inputs.composed.entries
        where = f"{inputs.composed.file}: devices.{key}" if made else f"{directory / 'embodied.yaml'}: embodied.{key}"
        inputs.lifetimes.find(entry.lifetime, f"{where}.lifetime")
        if entry.battery is not None:
            inputs.batteries.find(entry.battery, f"{where}.battery")
    for name, device in inputs.reference_devices.entries.items():
        where = f"{inputs.reference_devices.file}: devices.{name}"
        inputs.embodied.find(device.embodied, f"{where}.embodied")
        inputs.lifetimes.find(device.lifetime, f"{where}.lifetime")
        if device.host_embodied is not None:
            inputs.embodied.find(device.host_embodied, f"{where}.host_embodied")
    for claim in inputs.claims:
        for index, pair in enumerate(claim.pairs):
            where = f"{directory / 'claims.yaml'}: claims.{claim.name}.pairs.{index}"
            for role, name in (("cloud", pair.cloud), ("edge", pair.edge)):
                if inputs.reference_devices.find(name, f"{where}.{role}").role != role:
                    raise UserError(f"{where}.{role}: '{name}' stands on the other side of the comparison")
