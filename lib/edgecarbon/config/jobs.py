"""Whole training jobs: those that an experiment's runs are projected to, and published ones with what they state."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from edgecarbon.config.base import PositiveFloat, Section, read_yaml, validate
from edgecarbon.config.quantities import Key, Text

Whole = Annotated[int, Field(ge=1)]

Published = Literal[
    "zettaflop",
    "days",
    "energy_mwh",
    "operational_tonnes",
    "idle_tonnes",
    "embodied_tonnes",
    "total_tonnes",
]
"""What a publication may state: work (10²¹ FLOP), length (d), energy at the building's door (MWh), and tonnes CO2e."""


class JobShape(Section):
    """The shape of a job's model, a decoder-only transformer: with it, attention is counted too."""

    embedding_parameters: Whole
    """Of the model's parameters, those in embeddings and output head, tied ones counted once."""

    layers: Whole
    """Decoder layers."""

    hidden_size: Whole
    """Width of attention: heads × width of a head."""

    vocabulary_size: Whole
    """Rows of the output head."""

    sequence_length: Whole
    """Tokens a sequence."""


class TargetJob(Section):
    """A whole training job that every run is projected to."""

    tokens: Whole
    """Tokens to train on."""

    parameters: Whole | None = None
    """Parameters of the model, tied ones counted once; null: the workload's own model, at the same J a token."""

    shape: JobShape | None = None
    """Shape of that model; null counts its operations as 6 × parameters × tokens."""

    @model_validator(mode="after")
    def _shape_fits_the_parameters(self) -> TargetJob:
        if self.shape is None:
            return self
        if self.parameters is None:
            raise ValueError("shape: given without parameters; the workload's own model has its own shape")
        if self.shape.embedding_parameters > self.parameters:
            raise ValueError(
                f"shape.embedding_parameters: expected at most the {self.parameters} parameters of the model, "
                f"found {self.shape.embedding_parameters}"
            )
        return self


class Work(Section):
    """What a job computed, and how fast its devices did."""

    parameters: PositiveFloat
    """Parameters that one token passes through; of a mixture of experts, those of the base model."""

    tokens: PositiveFloat
    """Tokens trained on."""

    peak_tflops: PositiveFloat
    """Arithmetic peak of a device, 10¹² FLOP/s."""

    efficiency: Annotated[float, Field(gt=0, le=1)]
    """Share of the peak that training sustained."""


class Electricity(Section):
    """What a job drew, and how clean it was."""

    watts: PositiveFloat
    """Mean draw of one device with its share of the machine, W."""

    pue: Annotated[float, Field(ge=1)]
    """Power at the building's door over power at the machines; 1 where the publication adds nothing."""

    intensity_g_per_kwh: PositiveFloat
    """Carbon intensity of the electricity, gCO2e/kWh."""

    idle_kwh: Annotated[float, Field(ge=0)] = 0.0
    """Energy that the publication charges to idle machines beside the job, kWh."""


class MadePart(Section):
    """A part whose manufacturing is charged to the job by the hour."""

    part: Text
    """What it is."""

    kilograms: PositiveFloat
    """Manufacturing of one, kgCO2e."""

    per_device: PositiveFloat
    """How many there are for each device; 0.125 for a server of eight."""

    lifetime_years: PositiveFloat
    """Service life, years of 8,760 hours."""

    used_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of its life that it is in use."""


class Figure(Section):
    """A published figure."""

    value: PositiveFloat
    """In the unit that the quantity's name ends in."""

    stated_error: Annotated[float, Field(gt=0, lt=1)] | None = None
    """How far off the publication's own formulas are at most, by its own words, as a share of the figure."""


class PublishedJob(Section):
    """A training job as its publication states it: inputs on one side, results on the other."""

    name: str = ""
    """Filled from the entry's key."""

    title: Text
    """What was trained, by which account."""

    source: Text
    """Where inputs and results are from. Second hand: read in another publication than the one that they are from."""

    year: Annotated[int, Field(ge=1990, le=2100)]
    """Year of the publication."""

    licence: Text
    """Terms under which the figures may be passed on."""

    device: Text
    """What it was trained on."""

    devices: Whole
    """How many of them."""

    days: PositiveFloat | None = None
    """How long it took, where the publication reckons from that."""

    device_hours: PositiveFloat | None = None
    """Hours of all devices together, where it reckons from those."""

    work: Work | None = None
    """Operations and rate, where it reckons from those."""

    electricity: Electricity | None = None
    """What it drew; null where only its manufacturing is told."""

    embodied: list[MadePart] = []
    """Parts whose manufacturing is charged to it."""

    published: Annotated[dict[Published, Figure], Field(min_length=1)]
    """What was published, by quantity."""

    @model_validator(mode="after")
    def _says_what_its_figures_need(self) -> PublishedJob:
        given = [name for name in ("days", "device_hours", "work") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"expected one of days, device_hours and work, found {' and '.join(given) or 'none'}")
        needs = {"zettaflop": "work", "days": "work", "embodied_tonnes": "embodied"}
        for quantity in self.published:
            needed = needs.get(quantity, "electricity")
            if not getattr(self, needed):
                raise ValueError(f"published.{quantity}: cannot be reckoned without '{needed}'")
        return self


class PublishedJobsFile(Section):
    """`published_jobs.yaml`."""

    jobs: dict[Key, PublishedJob]
    """Published jobs by key."""


def load_published_jobs(path: Path) -> dict[str, PublishedJob]:
    """Read `published_jobs.yaml`: the jobs by name, each with its name in it.

    Raises:
        UserError: file, field, what was expected, and the nearest valid name.
    """
    jobs = validate(PublishedJobsFile, read_yaml(path), str(path)).jobs
    return {name: job.model_copy(update={"name": name}) for name, job in jobs.items()}
