"""From rows of the table `runs` to the work that is charged: energy with its interval, time, and bytes moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgecarbon.carbon.arms import Arm, Look, Work
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


def drawn_energy(judge: Judge, device: str, intervals: Sequence[Interval]) -> Array:
    """Draws of energies of one device, shape (runs, draws): its meter, or its model, erred in all of them alike."""
    known = np.array([(0.0, 0.0, 0.0) if one[0] is None else one for one in intervals], np.float64)
    return interval_draws(judge.draws.normal(f"energy/{device}"), known[:, 0], known[:, 1], known[:, 2])


def work_of(judge: Judge, arm: Arm, runs: Sequence[Run], energy_joules: Array, look: Look) -> Work:
    """The work of an arm's runs with what practice adds, shape (runs, 1) or (runs, draws).

    A modelled run that takes more energy than its default also takes longer: both rest on the same assumed rate.

    Args:
        energy_joules: charged energy, shape (runs, 1) or (runs, draws).
    """
    scenario = judge.scenario
    hours = _column(runs, "duration_s") / 3600.0
    default = np.array([[energy(run, "gross")[0] or 1.0] for run in runs])
    modelled = np.array([[run["record_kind"] == "modelled"] for run in runs])
    every = scenario.settings.traffic.weights_every_steps
    exchanges = np.zeros_like(hours) if every is None else np.floor(_column(runs, "steps") / every)
    work = Work(
        energy_kwh=energy_joules / JOULES_PER_KWH,
        hours=hours * np.where(modelled, energy_joules / default, 1.0),
        data_bytes=_column(runs, "tokens") * look(scenario.bytes_per_token),
        # Sent and fetched: twice in each exchange.
        weights_bytes=2.0 * exchanges * _column(runs, "parameters") * look(scenario.bytes_per_parameter),
    )
    return arm.practised(work, modelled, look)


def _column(runs: Sequence[Run], name: str) -> Array:
    return np.array([[run[name] or 0.0] for run in runs], np.float64)
