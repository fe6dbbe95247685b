"""Plans of experiments: SALib's own, and kept from one start to the next."""

from __future__ import annotations

import numpy as np
import pytest
from SALib.sample import morris, sobol

from edgecarbon.carbon import plans

NAMES = ["a", "b", "c"]
PROBLEM = {"num_vars": 3, "names": NAMES, "bounds": [[0.0, 1.0]] * 3}


@pytest.fixture(autouse=True)
def nothing_remembered():
    yield
    for remembers in (plans._sobol_levels, plans._sobol_places, plans.morris_sample):
        remembers.cache_clear()


def experiments(folder=None, samples: int = 16, seed: int = 3) -> np.ndarray:
    """Quantiles of Sobol's plan, shape (experiments, inputs), as a start of its own has them."""
    plans._sobol_levels.cache_clear()
    plan = plans.sobol_plan(NAMES, samples, seed, folder)
    return np.stack([plan.uniform(name) for name in NAMES], axis=1)


def test_plans_are_salibs():
    theirs = sobol.sample(PROBLEM, 16, calc_second_order=False, seed=3)
    assert np.array_equal(experiments(), np.clip(theirs, 1e-6, 1 - 1e-6))
    assert np.array_equal(plans.morris_sample(3, 5, 3), morris.sample(PROBLEM, 5, num_levels=plans.LEVELS, seed=3))


def test_a_plan_is_made_once(tmp_path, monkeypatch):
    first, effects = experiments(tmp_path), plans.morris_sample(3, 5, 3, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr(sobol, "sample", None)
    monkeypatch.setattr(morris, "sample", None)
    plans.morris_sample.cache_clear()
    assert np.array_equal(experiments(tmp_path), first)
    assert np.array_equal(plans.morris_sample(3, 5, 3, tmp_path), effects)
    for other in ({"samples": 32}, {"seed": 4}):
        with pytest.raises(TypeError):  # another plan has to be made
            experiments(tmp_path, **other)


@pytest.mark.parametrize("left", [0, 20, 200])
def test_a_damaged_plan_is_made_anew(tmp_path, left):
    first = experiments(tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:left])
    assert np.array_equal(experiments(tmp_path), first)
    assert file.read_bytes() == whole
