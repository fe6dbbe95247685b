"""How a scenario gives a number: the key of an entry in the inputs, or a literal in full."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from edgecarbon.config.quantities import Given, Key, Quantity


def _kind_of_choice(value: Any) -> str | None:
    return "key" if isinstance(value, str) else "literal" if isinstance(value, dict | Quantity) else None


Choice = Annotated[
    Annotated[Key, Tag("key")] | Annotated[Given, Tag("literal")],
    Discriminator(
        _kind_of_choice,
        custom_error_type="choice",
        custom_error_message="expected the key of an entry in config/inputs, or a literal with value, unit, source, "
        "year, boundary, licence and provenance, and low and high where it has a range",
    ),
]
"""A number by its key in the inputs, or given in full here."""
