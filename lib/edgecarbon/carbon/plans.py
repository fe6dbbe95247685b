"""Plans of experiments, which are SALib's (J. Herman, W. Usher, JOSS 2(9), 2017), and where they are kept.

They follow from a few whole numbers alone. To import what makes them takes longer than all that is asked of a pair, so
that each is made once in a project.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecarbon import kept
from edgecarbon.carbon.draws import Array, Column, Plan

LEVELS = 4


def sobol_plan(names: Sequence[str], samples: int, seed: int, folder: Path | None = None) -> Plan:
    """Sobol's plan of samples × (inputs + 2) experiments. Never filter or sort them: their order counts.

    Args:
        folder: keeps plans from one start to the next; None keeps none.
    """
    inputs = len(names)
    levels, places = _sobol_levels(inputs, samples, seed, folder), _sobol_places(inputs, samples)
    columns = {name: Column(levels[number], places[number]) for number, name in enumerate(names)}
    return Plan(samples * (inputs + 2), columns)


@cache
def _sobol_levels(inputs: int, samples: int, seed: int, folder: Path | None) -> Array:
    """Quantiles that each input takes, shape (inputs, 2 × samples): those of the plan's first sample, then its second."""

    def make() -> Array:
        from SALib.sample import sobol

        unit = sobol.sample(_problem(inputs), samples, calc_second_order=False, seed=seed)
        blocks = np.clip(unit, 1e-6, 1.0 - 1e-6).reshape(samples, inputs + 2, inputs)
        return np.ascontiguousarray(np.concatenate((blocks[:, 0], blocks[:, -1])).T)

    return _kept(folder, f"sobol-{inputs}-{samples}-{seed}", make)


@cache
def _sobol_places(inputs: int, samples: int) -> NDArray[np.intp]:
    """Which of its quantiles each input has in each experiment, shape (inputs, experiments).

    Of each sample: the first one, the first with one input after another from the second, the second one.
    """
    places = np.tile(np.arange(samples)[:, None], (inputs, 1, inputs + 2))
    for number in range(inputs):
        places[number, :, [1 + number, -1]] += samples
    return places.reshape(inputs, -1)


@cache
def morris_sample(inputs: int, trajectories: int, seed: int, folder: Path | None = None) -> Array:
    """Morris's trajectories in the unit cube, shape (trajectories × (inputs + 1), inputs). `folder` as of `sobol_plan`."""

    def make() -> Array:
        from SALib.sample import morris

        return np.asarray(morris.sample(_problem(inputs), trajectories, num_levels=LEVELS, seed=seed), np.float64)

    return _kept(folder, f"morris-{inputs}-{trajectories}-{seed}", make)


def plan_of(names: Sequence[str], unit: Array) -> Plan:
    """The plan whose experiments have these quantiles, shape (experiments, inputs)."""
    return Plan(len(unit), {name: np.ascontiguousarray(unit[:, column]) for column, name in enumerate(names)})


def _problem(inputs: int) -> dict[str, Any]:
    names = [f"x{number}" for number in range(inputs)]
    return {"num_vars": inputs, "names": names, "bounds": [[0.0, 1.0]] * inputs}


def _kept(folder: Path | None, name: str, make: Callable[[], Array]) -> Array:
    """The plan from its file, or made and put there."""
    if folder is None:
        return make()
    file = folder / f"{name}-salib-{version('SALib')}-scipy-{version('scipy')}.npy"
    if (stored := kept.read(file)) is not None:
        found: Array = np.load(BytesIO(stored))
        return found
    made = make()
    content = BytesIO()
    np.save(content, made)
    kept.keep(file, content.getvalue())
    return made
