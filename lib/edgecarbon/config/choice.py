"""How a scenario gives a number, a network segment or a battery: the key of an entry in the inputs, or in full."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from edgecarbon.config.base import Section
from edgecarbon.config.quantities import Given, Key, Quantity

_LITERAL = (
    "a literal with value, unit, source, year, boundary, licence and provenance, and low and high where it has a range"
)


class GivenRadio(Section):
    """A radio given in full in a scenario."""

    watts: Given
    """Draw while it sends or receives, W."""

    speed: Given
    """Link speed, MB/s."""


class GivenBattery(Section):
    """A battery given in full in a scenario."""

    embodied_share: Given
    """Share of the device's manufacturing that is the battery's."""

    rated_cycles: Given
    """Full cycles until it holds 80 % of its capacity."""

    capacity: Given
    """Energy of a full charge, Wh."""


def _kind_of_choice(value: Any) -> str | None:
    return "key" if isinstance(value, str) else "literal" if isinstance(value, dict | Quantity) else None


Choice = Annotated[
    Annotated[Key, Tag("key")] | Annotated[Given, Tag("literal")],
    Discriminator(
        _kind_of_choice,
        custom_error_type="choice",
        custom_error_message=f"expected the key of an entry in config/inputs, or {_LITERAL}",
    ),
]
"""A number by its key in the inputs, or given in full here."""


def _kind_of_segment(value: Any) -> str | None:
    names = value if isinstance(value, dict) else ()
    is_radio = isinstance(value, GivenRadio) or "watts" in names or "speed" in names
    return "radio" if is_radio else _kind_of_choice(value)


SegmentChoice = Annotated[
    Annotated[Key, Tag("key")] | Annotated[Given, Tag("literal")] | Annotated[GivenRadio, Tag("radio")],
    Discriminator(
        _kind_of_segment,
        custom_error_type="segment",
        custom_error_message="expected the key of an entry in config/inputs/network.yaml, or in kWh/GB "
        f"{_LITERAL}, or a radio's watts and speed, each such a literal",
    ),
]
"""A network segment by its key in the inputs, or given in full: its electricity for each GB, or a radio."""


def _kind_of_battery(value: Any) -> str | None:
    return "key" if isinstance(value, str) else "parts" if isinstance(value, dict | GivenBattery) else None


BatteryChoice = Annotated[
    Annotated[Key, Tag("key")] | Annotated[GivenBattery, Tag("parts")],
    Discriminator(
        _kind_of_battery,
        custom_error_type="battery",
        custom_error_message="expected the key of an entry in config/inputs/batteries.yaml, or embodied_share, "
        "rated_cycles and capacity, each a literal",
    ),
]
"""A battery by its key in the inputs, or given in full."""
