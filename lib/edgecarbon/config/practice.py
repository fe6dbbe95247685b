"""Sections of a scenario beyond energy and manufacturing: what practice adds, what would be otherwise, what owners pay."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edgecarbon.config.base import CURRENCY, Section
from edgecarbon.config.choice import Choice


class Practice(Section):
    """What practice adds to the energy and time of the run itself; null adds nothing."""

    availability: Choice | None = None
    """Share of the time in which the device can train: it is held for 1/availability of the time that training takes."""

    churn: Choice | None = None
    """Factor on energy and time for work lost when devices leave, done again by others; at least 1."""

    recomputation: Choice | None = None
    """Factor on energy and time for activations computed twice; at least 1. A measured run has its own inside."""

    replication: Choice | None = None
    """Factor on energy and time for the same work done on several devices, to check or to outlive them; at least 1."""

    throttling_energy: Choice | None = None
    """Factor on energy once heat holds the device back; a measured run has its own inside."""

    throttling_time: Choice | None = None
    """Factor on time once heat holds the device back; a measured run has its own inside."""


PRACTICE = ("availability", "churn", "recomputation", "replication", "throttling_energy", "throttling_time")
"""Fields of `Practice`, all of them optional."""


class Counterfactual(Section):
    """What would have happened without the run."""

    edge_already_on: bool = False
    """Whether the edge device would have been on anyway: it is then charged with what lies above its idle draw alone."""

    cloud_hardware_avoided: Choice | None = None
    """Share of the cloud hardware's making that is avoided when the run does not take place there; null avoids all."""


class Owner(Section):
    """What the owner of an edge device pays."""

    currency: Annotated[str, Field(pattern=CURRENCY)]
    """Three-letter code of the currency, such as USD."""

    tariff: Choice
    """Price of electricity, for each kWh."""

    battery_price: Choice | None = None
    """Price of a new battery, fitted; null charges no wear."""


class Sensitivity(Section):
    """How thoroughly it is asked which assumption decides."""

    sobol_samples: Annotated[int, Field(ge=16, le=65536)] = 512
    """Base samples N of Sobol's method, a power of two: N x (inputs + 2) evaluations for each pair of devices."""

    morris_trajectories: Annotated[int, Field(ge=4, le=1000)] = 20
    """Trajectories of the Morris screen: so many x (inputs + 1) evaluations."""

    def model_post_init(self, _: object) -> None:
        if self.sobol_samples & (self.sobol_samples - 1):
            raise ValueError(f"sobol_samples: expected a power of two, found {self.sobol_samples}")
