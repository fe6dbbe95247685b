"""Seeded draws over ranges: an input is drawn once, under its name, wherever it is used."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from edgecarbon.config.scenario import Assumption

Array = NDArray[np.float64]
NORMAL_975 = 1.959963984540054


class Draws:
    """Draws by name. Equal seed and name give equal draws, whatever else is drawn and in whichever order.

    Each is stratified (one draw in each of `count` equal slices of probability), so medians hardly depend on the seed.
    """

    def __init__(self, seed: int, count: int) -> None:
        self.count = count
        self._seed = seed
        self._uniform: dict[str, Array] = {}
        self._assumed: dict[str, Array] = {}

    def of(self, assumption: Assumption) -> Any:
        """Draws of an assumption, shape (count,); its value alone where it has no range."""
        if assumption.low == assumption.high:
            return assumption.value
        if assumption.name not in self._assumed:
            uniform = self.uniform(assumption.name)
            self._assumed[assumption.name] = split_log_uniform(
                uniform, assumption.low, assumption.value, assumption.high
            )
        return self._assumed[assumption.name]

    def uniform(self, name: str) -> Array:
        """Stratified uniform draws in (0, 1), shape (count,)."""
        if name not in self._uniform:
            digest = hashlib.sha256(name.encode()).digest()
            generator = np.random.default_rng([self._seed, int.from_bytes(digest[:8], "big")])
            slices = generator.permutation(self.count) + generator.uniform(1e-6, 1.0 - 1e-6, self.count)
            self._uniform[name] = slices / self.count
        return self._uniform[name]

    def normal(self, name: str) -> Array:
        """Standard normal draws, shape (count,)."""
        return np.asarray(ndtri(self.uniform(name)), np.float64)

    def student(self, name: str, degrees_of_freedom: int) -> Array:
        """Student-t draws, shape (count,)."""
        return np.asarray(stdtrit(degrees_of_freedom, self.uniform(name)), np.float64)


def split_log_uniform(uniform: Array, low: float, value: float, high: float) -> Array:
    """The prior of every ranged input: half of the draws log-uniform from low to value, half from value to high.

    So the default is the median, wherever in its range it lies. A piece that starts at zero is uniform instead.
    """
    downward, upward = 1.0 - 2.0 * uniform, 2.0 * uniform - 1.0
    below = value * (low / value) ** downward if low > 0 else value - (value - low) * downward
    above = value * (high / value) ** upward if value > 0 else value + (high - value) * upward
    return np.where(uniform < 0.5, below, above)


def interval_draws(normal: Array, value: Array, low: Array, high: Array) -> Array:
    """Draws of energies from their 95 % intervals: two log-normal halves that meet at the value.

    Where an interval reaches down to zero (an energy net of idle may) the halves are normal, and cut at zero.

    Args:
        normal: standard normal draws, shape (draws,).
        value, low, high: energies and their intervals, shape (runs,).

    Returns:
        shape (runs, draws).
    """
    low, high = np.minimum(low, value), np.maximum(high, value)
    sigmas = normal[None, :] / NORMAL_975
    edge = np.where(sigmas < 0, low[:, None], high[:, None])
    value = value[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithmic = value * (edge / value) ** np.abs(sigmas)
    linear = np.maximum(value + np.abs(sigmas) * (edge - value), 0.0)
    return np.where(low[:, None] > 0, logarithmic, linear)
