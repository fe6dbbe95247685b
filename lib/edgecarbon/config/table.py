"""Entries of an input file, found by exact key: nothing falls back to a default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from edgecarbon.config.base import nearest
from edgecarbon.errors import UserError

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Table(Generic[Entry]):
    """The entries of one section of one input file."""

    file: str
    field: str
    entries: Mapping[str, Entry]

    def find(self, key: str, asked_by: str) -> Entry:
        """The entry of exactly this key.

        Args:
            asked_by: file and field that name the key, for the error.

        Raises:
            UserError: there is none; names the nearest.
        """
        if key not in self.entries:
            raise UserError(
                f"{asked_by}: '{key}' is not in {self.file} ({self.field}); {nearest(key, list(self.entries))}"
            )
        return self.entries[key]
