"""`config/inputs/parts.yaml` and `composed.yaml`: footprints put together from parts, where a maker publishes none.

A die is reckoned as ACT does (U. Gupta et al., ACT: Designing Sustainable Computer Systems with an Architectural Carbon
Modeling Tool, ISCA 2022); every other part, memory and packages among them, is an amount times a constant.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from edgecarbon.config.base import Section, read_yaml, validate
from edgecarbon.config.grid import Grid
from edgecarbon.config.quantities import AboveZero, GramsPerKilowattHour, Key, Quantity, Share, Text
from edgecarbon.config.table import Table
from edgecarbon.errors import UserError

GRAMS_PER_KILOGRAM = 1000.0
DIES = "dies"
"""What all dies share when ranges are added: the grid, the node's figures and the yield err together."""


class KilowattHoursPerSquareCentimetre(AboveZero):
    """Electricity of a fab for each area of wafer (EPA)."""

    unit: Literal["kWh/cm2"]
    """Kilowatt-hours a square centimetre."""


class KilogramsPerSquareCentimetre(Quantity):
    """Gases (GPA) or materials (MPA) of a fab for each area of wafer."""

    unit: Literal["kgCO2e/cm2"]
    """Kilograms of CO2-equivalent a square centimetre."""


class SquareCentimetres(AboveZero):
    """Area of a die."""

    unit: Literal["cm2"]
    """Square centimetres."""


class Node(Section):
    """What a process node emits for each area of wafer."""

    energy: KilowattHoursPerSquareCentimetre
    """Electricity (EPA)."""

    gases: KilogramsPerSquareCentimetre
    """Process gases that escape abatement (GPA)."""

    materials: KilogramsPerSquareCentimetre
    """Raw materials (MPA)."""


class Constant(Quantity):
    """What one unit of a part emits when it is made."""

    unit: Literal["kgCO2e/GB", "kgCO2e/kWh", "kgCO2e/cm2", "kgCO2e/kg", "kgCO2e/tkm", "kgCO2e/package", "kgCO2e/piece"]
    """Kilograms of CO2-equivalent for each unit of the part."""


class Amount(AboveZero):
    """How much of a part is in a device."""

    unit: Literal["GB", "kWh", "cm2", "kg", "tkm", "package", "piece"]
    """Unit of the amount, that of its constant; 1 GB is 10^9 bytes, tkm a tonne carried a kilometre."""


class PartsFile(Section):
    """`parts.yaml`."""

    nodes: dict[Key, Node]
    """Process nodes of logic chips by key."""

    fab_yield: Share
    """Good dies over dies made, for a die that states none."""

    constants: dict[Key, Constant]
    """Parts by key."""


class Die(Section):
    """A logic chip."""

    area: SquareCentimetres
    """Area of the die."""

    node: Key
    """Exact key of its process node in parts.yaml."""

    fab: Key
    """Grid zone of the fab, as in carbon-intensities.csv."""

    fab_yield: Share | None = None
    """Good dies over dies made; null takes that of parts.yaml."""


class Component(Section):
    """Anything in a device but a logic chip."""

    constant: Key
    """Exact key of its constant in parts.yaml."""

    amount: Amount
    """How much of it the device has."""


class ComposedDevice(Section):
    """A device as its parts."""

    description: Text
    """What the device is, and what of it was left out."""

    boundary: Literal["whole_device", "gpu_board"]
    """What the parts add up to; a `gpu_board` needs a share of a server around it."""

    lifetime: Key
    """Key in lifetimes.yaml of the service life that goes with it."""

    battery: Key | None = None
    """Key in batteries.yaml of the battery inside; null for none."""

    dies: dict[Key, Die] = {}
    """Logic chips by name."""

    components: dict[Key, Component] = {}
    """All else by name."""

    @model_validator(mode="after")
    def _has_parts(self) -> ComposedDevice:
        if not self.dies and not self.components:
            raise ValueError("a device needs at least one entry under dies or components")
        both = sorted(set(self.dies) & set(self.components))
        if both:
            raise ValueError(f"'{both[0]}' is both under dies and under components; rename one")
        return self


class ComposedFile(Section):
    """`composed.yaml`."""

    devices: dict[Key, ComposedDevice]
    """Devices by the key that a fleet's entry names as its footprint."""


@dataclass(frozen=True)
class Estimate:
    """Kilograms of CO2-equivalent: default and ends of the range."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """One part of a device, reckoned."""

    name: str
    made_of: str
    errs_with: str
    """The constant that it shares with other parts, which are then off together."""

    kilograms: Estimate


@dataclass(frozen=True)
class Composition:
    """A device reckoned from its parts."""

    device: ComposedDevice
    lines: tuple[Line, ...]
    total: Estimate
    year: int
    """Newest year of the numbers behind it."""

    licence: str

    @property
    def source(self) -> str:
        """Every part with its kilograms and its constant, largest first."""
        largest_first = sorted(self.lines, key=lambda line: -line.kilograms.value)
        listed = "; ".join(f"{line.name} {line.kilograms.value:.3g} kg ({line.made_of})" for line in largest_first)
        return (
            f"Composed of parts: {listed}. Dies as in ACT (U. Gupta et al., ISCA 2022). Each constant with its source "
            "in parts.yaml, each amount in composed.yaml."
        )


def die_kilograms(area: SquareCentimetres, intensity: GramsPerKilowattHour, node: Node, fab_yield: Share) -> Estimate:
    """Manufacturing of a die: area × (CI · EPA + GPA + MPA) / yield, ACT's formula (Gupta et al., ISCA 2022).

    Args:
        area: cm2.
        intensity: carbon intensity CI of the fab's electricity, gCO2e/kWh.
        node: EPA in kWh/cm2, GPA and MPA in kgCO2e/cm2.
        fab_yield: good dies over dies made, above 0 to 1.

    Returns:
        kgCO2e; the range is from corner to corner, the lowest with the highest yield.
    """

    def kilograms(numbers: list[float], good: float) -> float:
        cm2, grams, energy, gases, materials = numbers
        return cm2 * (grams / GRAMS_PER_KILOGRAM * energy + gases + materials) / good

    inputs = (area, intensity, node.energy, node.gases, node.materials)
    return Estimate(
        kilograms([each.value for each in inputs], fab_yield.value),
        kilograms([each.low for each in inputs], fab_yield.high),
        kilograms([each.high for each in inputs], fab_yield.low),
    )


def component_kilograms(amount: Amount, constant: Constant) -> Estimate:
    """Manufacturing of a component: amount × constant, kgCO2e, the range from corner to corner.

    Raises:
        ValueError: the constant is for another unit.
    """
    if constant.unit != f"kgCO2e/{amount.unit}":
        raise ValueError(f"the amount is in {amount.unit}, its constant in {constant.unit}")
    return Estimate(amount.value * constant.value, amount.low * constant.low, amount.high * constant.high)


def add_up(lines: Sequence[Line]) -> Estimate:
    """Sum of parts, kgCO2e.

    Parts that share a constant are off together, so their half-widths add; those of different constants err
    independently and are added in quadrature, the lower and the upper side apart. So the low end is at least the sum of
    the parts' low ends.
    """
    below: defaultdict[str, float] = defaultdict(float)
    above: defaultdict[str, float] = defaultdict(float)
    for line in lines:
        below[line.errs_with] += line.kilograms.value - line.kilograms.low
        above[line.errs_with] += line.kilograms.high - line.kilograms.value
    value = math.fsum(line.kilograms.value for line in lines)
    # Parts that all reach down to zero may miss it by a rounding.
    low = max(value - math.hypot(*below.values()), 0.0)
    return Estimate(value, low, value + math.hypot(*above.values()))


def compose(device: ComposedDevice, parts: PartsFile, grid: Grid, parts_path: str, where: str) -> Composition:
    """Reckon a device from its parts.

    Args:
        parts_path: the file of `parts`, for errors.
        where: file and field of the device, for errors.

    Raises:
        UserError: an unknown node, grid zone or constant, with the nearest; a constant for another unit.
    """
    nodes = Table(parts_path, "nodes", parts.nodes)
    constants = Table(parts_path, "constants", parts.constants)
    lines: list[Line] = []
    numbers: list[Quantity] = []
    for name, die in device.dies.items():
        node = nodes.find(die.node, f"{where}.dies.{name}.node")
        intensity = grid.find(die.fab, None, f"{where}.dies.{name}.fab")
        good = die.fab_yield or parts.fab_yield
        made_of = f"die of {die.area.value:g} cm2, {die.node}, fab in {die.fab}, yield {good.value:g}"
        lines.append(Line(name, made_of, DIES, die_kilograms(die.area, intensity, node, good)))
        numbers += [die.area, intensity, node.energy, node.gases, node.materials, good]
    for name, component in device.components.items():
        constant = constants.find(component.constant, f"{where}.components.{name}.constant")
        try:
            kilograms = component_kilograms(component.amount, constant)
        except ValueError as error:
            raise UserError(f"{where}.components.{name}: {error} ({component.constant} in {parts_path})") from None
        amount = f"{component.amount.value:g} {component.amount.unit}"
        made_of = f"{amount} at {constant.value:g} {constant.unit}, {component.constant}"
        lines.append(Line(name, made_of, component.constant, kilograms))
        numbers += [component.amount, constant]
    licence = "; ".join(sorted({terms for number in numbers for terms in number.licence.split("; ")}))
    return Composition(device, tuple(lines), add_up(lines), max(number.year for number in numbers), licence)


def load_composed(directory: Path, grid: Grid) -> Table[Composition]:
    """Read `parts.yaml` and `composed.yaml`, and reckon every device in them.

    Raises:
        UserError: file, field, what was expected, and the nearest valid name.
    """
    parts_path, path = directory / "parts.yaml", directory / "composed.yaml"
    parts = validate(PartsFile, read_yaml(parts_path), str(parts_path))
    devices = validate(ComposedFile, read_yaml(path), str(path)).devices
    entries = {
        key: compose(device, parts, grid, str(parts_path), f"{path}: devices.{key}") for key, device in devices.items()
    }
    return Table(str(path), "devices", entries)
