"""Seeded draws over ranges: an input is drawn once, under its name, wherever it is used."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit

from edgecarbon.config.assumptions import Assumption

Array = NDArray[np.float64]
LOW, HIGH = 0.05, 0.95
"""Quantiles that every interval of carbon is told by."""
NORMAL_975 = 1.959963984540054
KEPT_DRAWS = 2**20
"""Room for what `Draws.kept` keeps: so many draws in all, of everything that one result consists of."""
BLOCK = 2**14
"""Draws at once where there are very many: so many figures of a few dozen quantities stay near the processor."""

Kept = TypeVar("Kept")


class Draws:
    """Draws by name. Equal seed and name give equal draws, whatever else is drawn and in whichever order.

    Each is stratified (one draw in each of `count` equal slices of probability), so medians hardly depend on the seed.
    """

    def __init__(self, seed: int, count: int, fixed: Mapping[str, Any] | None = None) -> None:
        """
        Args:
            count: draws of each input.
            fixed: values (or arrays of them) that stand in for the draws of the inputs of these names.
        """
        self.count = count
        self.fixed = fixed or {}
        self._seed = seed
        self._assumed: dict[str, Array] = {}
        self._kept: dict[Hashable, tuple[object, Any]] = {}

    @property
    def keeps(self) -> bool:
        """Whether there is room to keep the results of these draws."""
        return 2 * self.count <= KEPT_DRAWS

    def blocks(self) -> Iterator[tuple[slice, Draws]]:
        """These draws in parts of `BLOCK`, each with where it lies among them."""
        whole: dict[Hashable, Any] = {}
        for start in range(0, self.count, BLOCK):
            part = slice(start, min(start + BLOCK, self.count))
            yield part, _Block(self, part, whole)

    def kept(self, about: tuple[object, ...], what: Hashable, make: Callable[[], Kept]) -> Kept:
        """What `make` gives, worked out once for a question about these very objects, as long as there is room for it.

        A device stands in many pairs, and its draws are the same in all of them. With very many draws nothing is kept.
        """
        key = (*map(id, about), what)
        if key in self._kept:
            found: Kept = self._kept[key][1]
            return found
        made = make()
        if self.keeps:
            while len(self._kept) >= KEPT_DRAWS // self.count:
                del self._kept[next(iter(self._kept))]  # the oldest
            self._kept[key] = about, made  # they live on, so that no other object takes their ids
        return made

    def of(self, assumption: Assumption) -> Any:
        """Draws of an assumption, shape (count,); its value alone where it has no range."""
        if assumption.name in self.fixed:
            return self.fixed[assumption.name]
        if assumption.low == assumption.high:
            return assumption.value
        if assumption.name not in self._assumed:
            self._assumed[assumption.name] = self._drawn(assumption)
        return self._assumed[assumption.name]

    def _drawn(self, assumption: Assumption) -> Array:
        return _of_assumption(self._seed, self.count, assumption)

    def uniform(self, name: str) -> Array:
        """Stratified uniform draws in (0, 1), shape (count,)."""
        return _stratified(self._seed, self.count, name)

    def normal(self, name: str) -> Array:
        """Standard normal draws, shape (count,)."""
        return _standard_normal(self._seed, self.count, name)

    def student(self, name: str, degrees_of_freedom: int) -> Array:
        """Student-t draws, shape (count,)."""

        def drawn() -> Array:
            return np.asarray(stdtrit(degrees_of_freedom, self.uniform(name)), np.float64)

        return self.kept((), ("student", name, degrees_of_freedom), drawn)


class _Block(Draws):
    """A part of other draws."""

    def __init__(self, draws: Draws, part: slice, whole: dict[Hashable, Any]) -> None:
        """
        Args:
            whole: what all parts of these draws share, so that nothing is drawn again for each.
        """
        fixed = {name: self._cut(value, part) for name, value in draws.fixed.items()}
        super().__init__(0, part.stop - part.start, fixed)
        self._draws, self._part, self._whole = draws, part, whole

    @staticmethod
    def _cut(values: Any, part: slice) -> Any:
        return values if np.size(values) == 1 else values[part]

    def _of_whole(self, what: Hashable, draw: Callable[[], Any]) -> Any:
        if what not in self._whole:
            self._whole[what] = draw()
        return self._cut(self._whole[what], self._part)

    def of(self, assumption: Assumption) -> Any:
        return self._of_whole(("of", assumption.name), lambda: self._draws.of(assumption))

    def uniform(self, name: str) -> Array:
        return np.asarray(self._of_whole(("uniform", name), lambda: self._draws.uniform(name)))

    def normal(self, name: str) -> Array:
        return np.asarray(self._of_whole(("normal", name), lambda: self._draws.normal(name)))

    def student(self, name: str, degrees_of_freedom: int) -> Array:
        what = "student", name, degrees_of_freedom
        return np.asarray(self._of_whole(what, lambda: self._draws.student(name, degrees_of_freedom)))


@dataclass(frozen=True)
class Column:
    """An input's quantiles in a plan that repeats a few of them many times: each is looked up in its prior once."""

    levels: Array
    places: NDArray[np.intp]
    """Shape (experiments,): which of the levels each has."""


class Plan(Draws):
    """A plan of experiments in place of random draws: inputs move as it says, all others stand at their defaults."""

    def __init__(
        self, count: int, moved: Mapping[str, Array | Column] | None = None, fixed: Mapping[str, Any] | None = None
    ):
        """
        Args:
            count: experiments.
            moved: by name of an input, the quantile of its prior in each experiment, shape (count,). What is not moved
                has shape (1,).
            fixed: by name of an input, its value in each, shape (count,) or a scalar.
        """
        super().__init__(0, count, fixed)
        self._moved = moved or {}

    def of(self, assumption: Assumption) -> Any:
        stands = assumption.name not in self._moved and assumption.name not in self.fixed
        return assumption.value if stands else super().of(assumption)

    def _drawn(self, assumption: Assumption) -> Array:
        return self._looked_up(assumption.name, lambda uniform: quantile(assumption, uniform))

    def uniform(self, name: str) -> Array:
        return self._looked_up(name, lambda uniform: uniform)

    def normal(self, name: str) -> Array:
        return self._looked_up(name, lambda uniform: np.asarray(ndtri(uniform), np.float64))

    def student(self, name: str, degrees_of_freedom: int) -> Array:
        return self._looked_up(name, lambda uniform: np.asarray(stdtrit(degrees_of_freedom, uniform), np.float64))

    def _looked_up(self, name: str, prior: Callable[[Array], Array]) -> Array:
        column = self._moved.get(name)
        if isinstance(column, Column):
            return prior(column.levels)[column.places]
        return prior(np.array([0.5]) if column is None else column)


# Scenarios of equal seed share what they have in common; so much of it that a million draws fit into a small machine.
@lru_cache(maxsize=32)
def _of_assumption(seed: int, count: int, assumption: Assumption) -> Array:
    return _shared(quantile(assumption, _stratified(seed, count, assumption.name)))


@lru_cache(maxsize=4)
def _standard_normal(seed: int, count: int, name: str) -> Array:
    return _shared(np.asarray(ndtri(_stratified(seed, count, name)), np.float64))


def _shared(values: Array) -> Array:
    values.flags.writeable = False
    return values


@lru_cache(maxsize=4)
def _stratified(seed: int, count: int, name: str) -> Array:
    digest = hashlib.sha256(name.encode()).digest()
    generator = np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])
    slices = generator.permutation(count) + generator.uniform(1e-6, 1.0 - 1e-6, count)
    slices /= count
    return _shared(slices)


def quantile(assumption: Assumption, uniform: Array) -> Array:
    """Draws of an assumption's prior from uniform draws in (0, 1), of their shape and in their order."""
    low, value, high = assumption.low, assumption.value, assumption.high
    if low == high:
        return np.full_like(uniform, value)
    # A pure number within 0 to 1 is a share, and one from 1 upward a multiplier: neither passes 1.
    pure = assumption.unit == "1"
    floor, ceiling = float(pure and low >= 1), 1.0 if pure and high <= 1 else math.inf
    match assumption.distribution:
        case "split_log_uniform":
            return split_log_uniform(uniform, low, value, high)
        case "log_uniform":
            return np.clip(low * np.exp(uniform * math.log(high / low)), low, high)
        case "uniform":
            return low + uniform * (high - low)
        case "triangular":
            return _triangular(uniform, low, value, high)
        case "normal":
            return _normal_halves(uniform, (low, value, high), (floor, ceiling))
        case "lognormal":
            ends = (math.log(low), math.log(value), math.log(high))
            return np.exp(_normal_halves(uniform, ends, (math.log(floor) if floor else -math.inf, math.log(ceiling))))
    raise ValueError(f"{assumption.name}: distribution: no prior is called '{assumption.distribution}'")


def split_log_uniform(uniform: Array, low: float, value: float, high: float) -> Array:
    """The prior of every ranged input that states no other: half log-uniform from low to value, half on to high.

    So the default is the median, wherever in its range it lies. A piece that starts at zero is uniform instead.
    """
    # From -1 at the low end to 1 at the high end. In place, since a million draws are limited by memory.
    position = 2.0 * uniform
    position -= 1.0
    if low == 0:
        upper = value * (high / value) ** np.maximum(position, 0.0) if value > 0 else high * position
        return np.where(position < 0, value + value * position, upper)
    drawn = np.where(position < 0, math.log(value / low), math.log(high / value))
    drawn *= position
    np.exp(drawn, out=drawn)
    drawn *= value
    # Rounding must not push a share above 1.
    return np.clip(drawn, low, high, out=drawn)


def _triangular(uniform: Array, low: float, mode: float, high: float) -> Array:
    width = high - low
    rising = low + np.sqrt(uniform * width * (mode - low))
    falling = high - np.sqrt((1.0 - uniform) * width * (high - mode))
    return np.where(uniform * width < mode - low, rising, falling)


def _normal_halves(uniform: Array, interval: tuple[float, float, float], limits: tuple[float, float]) -> Array:
    """Two normal halves that meet at the median and have the 95 % interval; each is cut at its limit by itself.

    So the value stays the median wherever the limit cuts. The interval narrows by what is cut off: for a low end at
    the limit itself, it begins at the 2.5 % quantile of what is left.

    Args:
        interval: low end, median, high end.
        limits: least and greatest possible draw, no nearer to the median than the interval's ends.
    """
    low, median, high = interval
    below, above = (median - low) / NORMAL_975, (high - median) / NORMAL_975
    bottom = float(ndtr((limits[0] - median) / below)) if below > 0 else 0.0
    top = float(ndtr((limits[1] - median) / above)) if above > 0 else 1.0
    lower, upper = 2.0 * (0.5 - bottom) * uniform + bottom, 2.0 * (top - 0.5) * (uniform - 0.5) + 0.5
    deviates = ndtri(np.where(uniform < 0.5, lower, upper))
    return np.clip(median + deviates * np.where(uniform < 0.5, below, above), *limits)


def quantiles(rows: Array, ranks: Sequence[float]) -> Array:
    """What `numpy.quantile` gives along the second axis, shape (ranks, rows), to the last bit.

    numpy sorts by vector instructions, which takes a fraction of the time that it takes to part rows at several ranks.
    """
    ordered = np.sort(rows, axis=1)
    last = rows.shape[1] - 1
    found = np.empty((len(ranks), len(rows)))
    for number, rank in enumerate(ranks):
        place, share = divmod(rank * last, 1.0)
        here, after = ordered[:, int(place)], ordered[:, min(int(place) + 1, last)]
        # From the nearer end, as numpy does.
        found[number] = after - (after - here) * (1.0 - share) if share >= 0.5 else here + (after - here) * share
    found[:, np.isnan(ordered[:, -1])] = np.nan
    return found


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
    low, value, high = low[:, None], value[:, None], high[:, None]
    sigmas = normal[None, :] / NORMAL_975
    below = sigmas < 0
    np.abs(sigmas, out=sigmas)
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithmic = value * np.where(below, low / value, high / value) ** sigmas
    if (low > 0).all():
        return np.asarray(logarithmic)
    linear = np.maximum(value + sigmas * (np.where(below, low, high) - value), 0.0)
    return np.where(low > 0, logarithmic, linear)
