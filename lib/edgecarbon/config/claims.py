"""`config/inputs/claims.yaml`: what papers claim in numbers, and what this model computes to hold against it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import model_validator

from edgecarbon.config.base import Name, PositiveFloat, Section, read_yaml, validate
from edgecarbon.config.quantities import Key, Text

OfScenario = Literal["charger_factor", "overhead_ratio", "grid_ratio", "equal_energy_ratio"]
"""Follow from a scenario alone."""
OfPair = Literal["energy_ratio", "edge_energy_ratio", "carbon_ratio", "edge_carbon_ratio"]
"""Need a cloud and an edge device that did the same work."""


class ClaimedPair(Section):
    """Two reference devices that a claim can be held against."""

    cloud: Key
    """Name in reference_devices.yaml of the device on the cloud's side."""

    edge: Key
    """Name in reference_devices.yaml of the device on the edge's side."""


class StatedRatio(Section):
    """An energy advantage that a claim takes for granted, as a range: log-uniform, its geometric middle as the default."""

    low: PositiveFloat
    """Energy of the cloud over that of the edge, lower end."""

    high: PositiveFloat
    """Upper end."""

    @model_validator(mode="after")
    def _in_order(self) -> StatedRatio:
        if self.low > self.high:
            raise ValueError(f"the range is upside down: low {self.low:g} is above high {self.high:g}")
        return self


class Claim(Section):
    """A quantitative claim of a publication."""

    name: str = ""
    """Filled from the entry's key."""

    paper: Text
    """Short name of the publication."""

    statement: Text
    """What it claims, in our words."""

    source: Text
    """Citation or address, and how far its text was available."""

    needs: Text
    """What has to be true for it to hold."""

    own_scenario: Name
    """Scenario that holds what the publication states, and this project's assumptions for the rest."""

    quantity: Literal[OfScenario, OfPair]
    """What is computed. `charger_factor`: energy at the plug over energy at the battery. `overhead_ratio`: that over the
    data centre's PUE. `grid_ratio`: carbon intensity at the edge over the cloud's. `equal_energy_ratio`: operational
    carbon of the edge over the cloud's at the same computation energy. `energy_ratio`: cloud's energy at its meter over
    the edge's. `carbon_ratio`: cloud's total over the edge's, by attribution. `edge_…`: the inverse."""

    claimed_low: PositiveFloat
    """Lower end of what is claimed; for a rounded figure, of what rounds to it."""

    claimed_high: PositiveFloat | None = None
    """Upper end; null where the claim is "at least"."""

    energy_factor: PositiveFloat = 1.0
    """Computation energy of the edge over the cloud's that the claim adds to an `equal_energy_ratio`."""

    stated_energy_ratio: StatedRatio | None = None
    """Energy ratio that the claim itself states, put in the place of the devices' own in a `carbon_ratio`."""

    pairs: list[ClaimedPair] = []
    """Reference devices that it is computed for, where an experiment has both; for claims about devices."""

    @property
    def of_a_pair(self) -> bool:
        """Whether it is about devices."""
        return self.quantity in get_args(OfPair)

    @model_validator(mode="after")
    def _fits_its_quantity(self) -> Claim:
        if self.claimed_high is not None and self.claimed_low > self.claimed_high:
            raise ValueError(
                f"the range is upside down: claimed_low {self.claimed_low:g} is above claimed_high {self.claimed_high:g}"
            )
        if self.of_a_pair != bool(self.pairs):
            wanted = "name at least one of `pairs`" if self.of_a_pair else "it is not about devices: leave out `pairs`"
            raise ValueError(f"quantity {self.quantity}: {wanted}")
        if self.energy_factor != 1 and self.quantity != "equal_energy_ratio":
            raise ValueError("energy_factor goes with the quantity equal_energy_ratio alone")
        if self.stated_energy_ratio is not None and self.quantity not in ("carbon_ratio", "edge_carbon_ratio"):
            raise ValueError("stated_energy_ratio goes with the quantities carbon_ratio and edge_carbon_ratio alone")
        return self


class ClaimsFile(Section):
    """`claims.yaml`."""

    claims: dict[Key, Claim]
    """Claims by key."""


def load_claims(path: Path) -> tuple[Claim, ...]:
    """Read the claims, each with its key as its name, in the order of the file.

    Raises:
        UserError: file, field, what was expected.
    """
    claims = validate(ClaimsFile, read_yaml(path), str(path)).claims
    return tuple(claim.model_copy(update={"name": key}) for key, claim in claims.items())
