"""What a scenario stands for and decides, where that is no number with a source: the row of table `scenarios`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgecarbon.config.assumptions import ResolvedScenario, Segment


def scenario_row(scenario: ResolvedScenario) -> dict[str, Any]:
    """The row of `scenarios`: with the rows of `assumptions`, all that a scenario's file decides."""
    settings = scenario.settings
    return {
        "scenario": scenario.name,
        "title": settings.title,
        "description": settings.description,
        "based_on": settings.based_on,
        "energy": settings.energy,
        "edge_already_on": settings.counterfactual.edge_already_on,
        "attributions": list(settings.attributions),
        "cloud_attribution": settings.cloud.attribution,
        "device_facts_first": settings.device_facts_first,
        "cloud_data_path": _names(scenario.cloud.data_path),
        "edge_data_path": _names(scenario.edge.data_path),
        "weights_every_steps": settings.traffic.weights_every_steps,
        "cloud_weights_path": _names(scenario.cloud.weights_path),
        "edge_weights_path": _names(scenario.edge.weights_path),
        "seed": settings.seed,
        "draws": settings.draws,
        "sobol_samples": settings.sensitivity.sobol_samples,
        "morris_trajectories": settings.sensitivity.morris_trajectories,
    }


def _names(path: Sequence[Segment]) -> list[str]:
    """Names of segments, with which those of their assumptions begin."""
    return [segment.assumptions[0].name[: -len("/watts") if segment.watts else None] for segment in path]
