"""Draws as text for a page: two bytes a draw, and what several devices share stored once."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

_STEPS = 65_535
# Half a step of the logarithm's span is the relative error: below 1e-4 as long as the ends are no further apart.
_WIDEST = math.exp(2 * _STEPS * 0.9e-4)
_BYTES_OF_A_PART = 80

Key = tuple[str, str, str]
"""Scenario, workload, device."""
Packed = tuple[list[Any], bytes]


class Drawn(Protocol):
    """A number with its draws."""

    @property
    def center(self) -> float: ...
    @property
    def draws(self) -> NDArray[np.float64]: ...


def pack(part: Drawn) -> Packed:
    """The entry of a part without its shape's number, and the bytes of its shape.

    Entries are `[center, low, high]` with a shape of little-endian 16-bit codes, logarithmic from low to high, relative
    error below 1e-4; `[center, 0, scale]` with 32-bit floats to be multiplied by the scale, where there are zeros or
    the ends lie too far apart; `[center, value]` and no bytes for a constant. Draws in proportion to one another have
    one shape.
    """
    draws = np.asarray(part.draws, np.float64)
    low, high = float(draws.min()), float(draws.max())
    if low == high:
        return [part.center, low], b""
    if low > 0 and high / low < _WIDEST:
        codes = np.rint(np.log(draws / low) * (_STEPS / math.log(high / low)))
        return [part.center, low, high], codes.astype("<u2").tobytes()
    scale = max(-low, high)
    return [part.center, 0, scale], (draws / scale).astype("<f4").tobytes()


class Packer:
    """Collects devices: `devices` holds each one's entries by part, `shapes` what the entries refer to, base64."""

    def __init__(self) -> None:
        self.devices: list[dict[str, list[Any]]] = []
        self.shapes: list[str] = []
        self._numbers: dict[bytes, int] = {}
        self._keys: dict[Key, int] = {}
        self._packed: dict[Key, dict[str, Packed]] = {}
        self._bytes = 0

    def bytes_with(self, sides: Mapping[Key, Mapping[str, Drawn]]) -> int:
        """Bytes on the page once these are added, about."""
        new = [packed for key, parts in sides.items() if key not in self._keys for packed in self._pack(key, parts)]
        fresh = {content for _, content in new if content and content not in self._numbers}
        return self._bytes + _BYTES_OF_A_PART * len(new) + sum(map(_base64_bytes, fresh))

    def add(self, sides: Mapping[Key, Mapping[str, Drawn]]) -> list[int]:
        """Add what is not there yet; returns each one's place in `devices`."""
        self._bytes = self.bytes_with(sides)
        for key, parts in sides.items():
            if key not in self._keys:
                self._keys[key] = len(self.devices)
                packed = self._pack(key, parts)
                self.devices.append({name: self._entry(*one) for name, one in zip(parts, packed, strict=True)})
                del self._packed[key]
        return [self._keys[key] for key in sides]

    def _pack(self, key: Key, parts: Mapping[str, Drawn]) -> list[Packed]:
        if key not in self._packed:
            self._packed[key] = {name: pack(part) for name, part in parts.items()}
        return list(self._packed[key].values())

    def _entry(self, numbers: list[Any], content: bytes) -> list[Any]:
        if not content:
            return numbers
        if content not in self._numbers:
            self._numbers[content] = len(self.shapes)
            self.shapes.append(base64.b64encode(content).decode())
        return [*numbers, self._numbers[content]]


def _base64_bytes(content: bytes) -> int:
    return 4 * math.ceil(len(content) / 3)
