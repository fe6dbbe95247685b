"""`config/devices.yaml`: the machines that an experiment can run on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgecarbon.config.base import Section

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$")]
"""A name that is safe in paths, shell words and Snakemake wildcards: lower case, digits, '.', '_' and '-'."""

PositiveFloat = Annotated[float, Field(gt=0)]


class Estimate(Section):
    """What the labelled estimate assumes where there is no sensor: watts = idle + (busy - idle) × CPU utilisation."""

    idle_watts: Annotated[float, Field(ge=0)] = 5.0
    """Draw of the processor package with nothing to do, W."""

    busy_watts: PositiveFloat | None = None
    """Draw with every core busy, W; null assumes `idle_watts` plus 8 W a logical core."""

    relative_uncertainty: Annotated[float, Field(gt=0, le=1)] = 0.5
    """One standard uncertainty of the estimate, as a share of it."""

    source: str = "assumption of this project (5 W and 8 W a core), not a data sheet of this machine"
    """Where the watts come from; shown beside every figure that rests on them."""


class PeakRate(Section):
    """The arithmetic peak that model FLOP utilisation (MFU) is measured against."""

    value: PositiveFloat
    """Peak, TFLOP/s, dense."""

    precision: Literal["fp32", "bf16"]
    """The precision that the peak holds for."""

    source: str
    """Data sheet or measurement that gives it."""


class DeviceCarbon(Section):
    """What the carbon model needs to know of a device. Changing it never measures anything again."""

    role: Literal["cloud", "edge"]
    """Which side of the comparison the device stands on."""

    embodied: str
    """Exact key of its manufacturing footprint in config/inputs/embodied.yaml."""

    lifetime_years: PositiveFloat | None = None
    """Service life, years; null takes the one beside the embodied entry."""

    owner_utilisation: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of its life that the device is in use at all; null takes the scenario's value for its role."""

    grid_zone: str | None = None
    """Zone of the electricity it draws, as in config/inputs/carbon-intensities.csv; null takes the scenario's."""

    battery: bool = False
    """Whether it draws its energy through a battery and a charger."""


class LocalDevice(Section):
    """The machine that Snakemake itself runs on."""

    transport: Literal["local"]
    """How the device is reached."""

    python: str | None = None
    """Python that has torch and transformers, as a command or path; null takes the one that runs the workflow."""

    accelerator: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:[0-9]+)?)$")] = "auto"
    """What to train on: auto, cpu, cuda, cuda:N or mps."""

    meters: Annotated[list[str], Field(min_length=1)] = ["auto"]
    """Energy meters to read; auto takes every one that is found, and the labelled estimate where there is none."""

    estimate: Estimate = Estimate()
    """Assumptions behind the labelled estimate."""

    peak_tflops: PeakRate | None = None
    """Arithmetic peak for MFU; null takes the data sheet's for known GPUs, and measures a CPU's."""

    carbon: DeviceCarbon
    """What the carbon model needs to know of the device."""


Device = LocalDevice
"""A device of the fleet, by its transport. Another transport is another section here and a file in `dispatch`."""


class DevicesFile(Section):
    """The fleet, by device name."""

    devices: Annotated[dict[Name, Device], Field(min_length=1)]
    """Devices by name."""
