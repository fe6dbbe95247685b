"""Argument checks that the formulas share: each says which argument is wrong and what was found."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Number = float | NDArray[np.float64]
"""A scalar or an array of draws. Every formula takes either; where all arguments are scalars it returns a float."""


def number(name: str, value: object) -> NDArray[np.float64]:
    """`value` as an array, if it is a finite number that is not negative (or an array of such).

    Raises:
        ValueError: naming the argument and what was found.
    """
    if isinstance(value, float) and 0.0 <= value < math.inf:
        # The common case, at a tenth of the price.
        return np.asarray(value)
    found: NDArray[Any] = np.asarray(value)
    if found.dtype.kind not in "iuf":
        raise ValueError(f"{name}: expected a number, found {value!r}")
    array = found.astype(np.float64, copy=False)
    if not array.size or (array.min() >= 0 and array.max() < math.inf):  # false for what is not a number, too
        return array
    _require(name, array, np.isfinite(array), "a finite number")
    _require(name, array, array >= 0, "a number that is not negative")
    return array


def positive(name: str, value: object) -> NDArray[np.float64]:
    """As `number`, and above zero."""
    array = number(name, value)
    if array.size and array.min() <= 0:
        _require(name, array, array > 0, "a number above zero")
    return array


def share(name: str, value: object) -> NDArray[np.float64]:
    """As `number`, and at most 1."""
    array = number(name, value)
    if array.size and array.max() > 1:
        _require(name, array, array <= 1, "a share from 0 to 1")
    return array


def positive_share(name: str, value: object) -> NDArray[np.float64]:
    """As `share`, and above zero."""
    return share(name, positive(name, value))


def plain(result: NDArray[np.float64]) -> Any:
    """A float for a result without dimensions, the array otherwise."""
    return float(result) if np.ndim(result) == 0 else result


def _require(name: str, array: NDArray[np.float64], holds: NDArray[np.bool_], expected: str) -> None:
    if not holds.all():
        worst = array[~holds].flat[0] if array.ndim else array
        raise ValueError(f"{name}: expected {expected}, found {float(worst):g}")
