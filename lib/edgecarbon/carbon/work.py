"""From rows of the table `runs` to the work that is charged: energy with its interval, time, and bytes moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgecarbon.carbon.arms import Arm, Look, Model, Work
from edgecarbon.carbon.draws import NORMAL_975, Array, Draws, Plan, interval_draws
from edgecarbon.carbon.formulas import JOULES_PER_KWH
from edgecarbon.config.assumptions import Assumption, ResolvedScenario

Run = Mapping[str, Any]
Interval = tuple[float | None, float, float]
"""J and its 95 % interval; None where the energy is absent."""


@dataclass(frozen=True)
class Judge:
    """What every step of an evaluation shares."""

    scenario: ResolvedScenario
    draws: Draws
    arms: Mapping[str, Arm]
    plans: Path | None = None
    """Folder that keeps plans of experiments from one start to the next; None keeps none."""
    center: Plan = field(default_factory=lambda: Plan(1))
    """Every input at its default."""


def value(assumption: Assumption) -> float:
    """Read an assumption as its default."""
    return assumption.value


def charged_energy(scenario: ResolvedScenario, arm: Arm) -> str:
    """Which energy an arm is charged with: gross, or net of the idle draw that there would be anyway."""
    settings = scenario.settings
    already_on = arm.role == "edge" and settings.counterfactual.edge_already_on
    return "net" if already_on else settings.energy


def energy(run: Run, kind: str) -> Interval:
    """Energy of a run, gross or net of idle. Where idle was not measured the gross energy stands in."""
    if kind == "net" and run["net_energy_joules"] is not None:
        joules, uncertainty = run["net_energy_joules"], run["net_uncertainty_joules"] or 0.0
        return (
            max(joules, 0.0),
            max(joules - NORMAL_975 * uncertainty, 0.0),
            max(joules + NORMAL_975 * uncertainty, 0.0),
        )
    joules, low, high = run["energy_joules"], run["energy_low_joules"], run["energy_high_joules"]
    if joules is None:
        return None, 0.0, 0.0
    if low is None or high is None:
        half = NORMAL_975 * (run["energy_uncertainty_joules"] or 0.0)
        low, high = max(joules - half, 0.0), joules + half
    return joules, low, high


def model_of(arm: Arm, run: Run) -> Model | None:
    """What a modelled run of a reference device is reckoned from; None for one that was measured."""
    return arm.model if run["record_kind"] == "modelled" else None


def drawn_energy(judge: Judge, arm: Arm, runs: Sequence[Run], intervals: Sequence[Interval]) -> tuple[Array, Any]:
    """Draws of charged energies of one device's runs, J, and how many times longer than at their defaults they take.

    A meter erred in all of its runs alike, and the clock did not. What is modelled follows from rate and draw.

    Returns:
        shape (runs, 1) or (runs, draws); a scalar, or shape (draws,).
    """
    known = np.array([(0.0, 0.0, 0.0) if one[0] is None else one for one in intervals], np.float64)
    model = model_of(arm, runs[0])
    if model is None:
        normal = judge.draws.normal(f"energy/{arm.device}")
        return interval_draws(normal, known[:, 0], known[:, 1], known[:, 2]), 1.0
    longer, hungrier = model.factors(judge.draws.of)
    return np.asarray(known[:, :1] * longer * hungrier), longer


def work_of(judge: Judge, arm: Arm, runs: Sequence[Run], energy_joules: Array, look: Look, longer: Any = 1.0) -> Work:
    """The work of an arm's runs with what practice adds, shape (runs, 1) or (runs, draws).

    Args:
        energy_joules: charged energy, shape (runs, 1) or (runs, draws).
        longer: how many times longer than recorded they take, a scalar or an array that broadcasts to that shape.
    """
    scenario = judge.scenario
    modelled = np.array([[run["record_kind"] == "modelled"] for run in runs])
    every = scenario.settings.traffic.weights_every_steps
    # No whole number: what a short run is charged for stands for its part of a long one.
    exchanges: Any = 0.0 if every is None else _column(runs, "steps") / every
    work = Work(
        energy_kwh=energy_joules / JOULES_PER_KWH,
        hours=_column(runs, "duration_s") / 3600.0 * longer,
        data_bytes=_column(runs, "tokens") * look(scenario.bytes_per_token),
        # Sent and fetched: twice in each exchange.
        weights_bytes=2.0 * exchanges * _column(runs, "parameters") * look(scenario.bytes_per_parameter),
    )
    return arm.practised(work, modelled, look)


def _column(runs: Sequence[Run], name: str) -> Array:
    return np.array([[run[name] or 0.0] for run in runs], np.float64)
