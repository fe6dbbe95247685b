"""`config/config.yaml`: what is run, on what, how often, and under which assumptions it is judged."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from edgecarbon.config.base import Name, PositiveFloat, Section
from edgecarbon.config.jobs import TargetJob
from edgecarbon.config.workload import Workload


class Measurement(Section):
    """How every run is measured."""

    idle_before_s: Annotated[float, Field(ge=0)] = 60.0
    """Idle measured before training, s; 0 measures none, and no net energy can be given."""

    idle_after_s: Annotated[float, Field(ge=0)] = 60.0
    """Idle measured after training, s."""

    sample_period_s: Annotated[float, Field(ge=0.01, le=10)] = 0.1
    """How often the meters are read, s."""

    minimum_window_s: Annotated[float, Field(ge=0)] = 60.0
    """A measured window shorter than this is marked `short`, s."""


class Validation(Section):
    """How `validate_meters` puts a device's meters to the test: idle, each load, idle again."""

    window_s: PositiveFloat = 60.0
    """How long each is measured, s."""

    settle_s: Annotated[float, Field(ge=0)] = 10.0
    """How long each is held before that, s."""

    loads: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1)] = [0.5, 1.0]
    """Shares of the time in which the accelerator is kept busy."""


class ScalingStudy(Section):
    """Fleets of 2 to 1,000 equal modelled devices: how the energy of communication per token grows. All of it is modelled."""

    device: Name
    """What the fleets are made of: a reference device."""

    memory_gbyte: PositiveFloat = 8.0
    """Memory of each that training may use, GB (10⁹ bytes): it decides how many stages the model is cut into."""

    counts: Annotated[list[Annotated[int, Field(ge=2, le=1000)]], Field(min_length=1)] = [
        2,
        4,
        8,
        16,
        32,
        64,
        125,
        250,
        500,
        1000,
    ]
    """Numbers of devices."""

    mbyte_per_s: PositiveFloat = 10.0
    """What each can send, and receive, MB/s (10⁶ bytes)."""

    delay_ms: Annotated[float, Field(ge=0)] = 5.0
    """Delay between two of them, one way, ms."""


class Experiment(Section):
    """One experiment: every workload on every device, `repeats` times, judged under every scenario."""

    name: Name
    """Name of the experiment, shown in the report."""

    workloads: Annotated[dict[Name, Workload], Field(min_length=1)]
    """What is trained, by name."""

    devices: list[Name] = []
    """Devices to measure, by their name in the devices file."""

    reference_devices: list[Name] = []
    """Modelled devices to stand beside them, by their name in config/inputs/reference_devices.yaml."""

    measured_devices: list[Name] = []
    """Devices that were measured elsewhere to stand beside them, by the name of their file in config/inputs/measured."""

    fleets: list[Name] = []
    """Fleets that train together, by their name in the devices file: measured where their devices are real, and simulated."""

    scaling: ScalingStudy | None = None
    """A study of how communication grows with the size of a fleet; null makes none."""

    jobs: dict[Name, TargetJob] = {}
    """Whole training jobs that the runs are projected to, by name. Nothing of such a size is run: all of it is modelled."""

    scenarios: Annotated[list[Name], Field(min_length=1)] = ["default"]
    """Carbon scenarios, by file name in config/scenarios, without the ending."""

    repeats: Annotated[int, Field(ge=1, le=1000)] = 5
    """How often each workload is measured on each device."""

    measurement: Measurement = Measurement()
    """How every run is measured."""

    validation: Validation = Validation()
    """How the meters of a device are put to the test."""

    deadline_s: PositiveFloat = 7200.0
    """A run that takes longer than this is ended, s."""

    retry_missing: bool = True
    """Whether a start tries again the runs that are missing because their device was away or failed. `--config
    retry_missing=false` analyses what is there."""

    devices_file: str = "config/devices.yaml"
    """The fleet, relative to the project."""

    @field_validator("devices", "reference_devices", "measured_devices", "fleets", "scenarios")
    @classmethod
    def _no_name_twice(cls, names: list[str]) -> list[str]:
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"'{twice[0]}' is listed twice; list each name once")
        return names
