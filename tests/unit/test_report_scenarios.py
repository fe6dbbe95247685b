"""Every choice of a scenario that is no number with a source has words."""

from __future__ import annotations

from typing import Any

import pytest

import report_database
from edgecarbon.report import scenarios

ABOVE_IDLE = "what lies above idle (all of it where no idle was measured)"
PHRASES = {
    "gross": ({}, "all energy that the meters saw is charged"),
    "edge already on": (
        {"edge_already_on": True},
        f"edge devices would be on anyway; of their energy {ABOVE_IDLE} is charged, and all of the cloud’s",
    ),
    "net": ({"energy": "net"}, f"of all energy {ABOVE_IDLE} is charged"),
    "net and already on": (
        {"energy": "net", "edge_already_on": True},
        f"edge devices would be on anyway; of all energy {ABOVE_IDLE} is charged",
    ),
    "attributions": (
        {"attributions": ["sunk", "used_hours"]},
        "the making of edge devices is charged by sunk, used hours, that of the cloud always by used hours",
    ),
    "cloud as edge": (
        {"attributions": ["time_share"], "cloud_attribution": "as_edge"},
        "the making of edge devices is charged by time share, that of the cloud likewise",
    ),
    "own facts": ({}, "a device’s own lifetime, use, grid and server go first"),
    "the scenario's facts": (
        {"device_facts_first": False},
        "use, grid and server are the scenario’s for every device, and lifetime where the scenario gives one",
    ),
    "paths": ({}, "training data cross core to the cloud and core + radio to the edge"),
    "no weights": ({}, "no weights are exchanged"),
    "weights": (
        {"weights_every_steps": 1000},
        "weights are exchanged every 1,000 steps, over no network in the cloud and radio + radio at the edge",
    ),
    "fleets": ({}, "what members of a fleet send each other crosses radio + radio"),
    "draws": ({"seed": 7}, "4,000 draws from seed 7"),
    "plans": ({"sobol_samples": 4096}, "Sobol’s N is 4,096, with 20 trajectories of Morris"),
}


@pytest.mark.parametrize(("changed", "phrase"), PHRASES.values(), ids=PHRASES)
def test_each_choice_is_said(changed: dict[str, Any], phrase: str) -> None:
    assert phrase in scenarios.choices({**report_database.DEFAULT, **changed})


def test_a_choice_changes_one_phrase_alone() -> None:
    usual = set(scenarios.choices(report_database.DEFAULT))
    for changed, _ in PHRASES.values():
        others = set(scenarios.choices({**report_database.DEFAULT, **changed})) - usual
        assert len(others) == bool(changed), others


def test_seeds_are_told_apart_where_they_differ() -> None:
    def of(*members: tuple[str, int]) -> str:
        return scenarios.seeds({name: {"seed": seed} for name, seed in members})

    assert (of(), of(("a", 3), ("b", 3)), of(("a", 3), ("b", 4), ("c", 3))) == ("", "3", "3 (a, c), 4 (b)")
