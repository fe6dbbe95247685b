"""What the report page needs to work out verdicts by itself: each device's total in parts, for a million tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgecarbon.carbon.arms import Look, Work
from edgecarbon.carbon.draws import Draws
from edgecarbon.carbon.formulas import HOURS_PER_YEAR
from edgecarbon.carbon.pairs import TOKENS_PER_UNIT, Average, Pair
from edgecarbon.carbon.sensitivity import Row
from edgecarbon.carbon.work import Judge
from edgecarbon.config.scenario import Attribution

# Parts that do not grow with the work.
CONSTANT = {
    "intensity": "gCO2e/kWh", "coordinator_intensity": "gCO2e/kWh", "charger": "1", "lifetime_hours": "h",
    "utilisation": "1",
}  # fmt: skip
MOST_DRAWS = 10_000
"""Draws for the page, which is to open on a phone; a scenario may have a million."""
ALL_ATTRIBUTIONS: tuple[Attribution, ...] = ("sunk", "time_share", "used_hours", "marginal_wear")


def instrument_rows(judge: Judge, pairs: Sequence[Pair]) -> list[Row]:
    """Rows of `instrument`: the parts of every device that stands in a pair, with their draws, at most `MOST_DRAWS`.

    A cloud device emits (plug_kwh + network_kwh) · intensity + embodied_ATTRIBUTION_g. An edge device emits
    device_kwh · charger · intensity + network_kwh · intensity + coordinator_kwh · coordinator_intensity + its making:
    made_g_hours / lifetime_hours by time share, that over utilisation by used hours, and
    wear_battery_g + wear_life_g_hours / lifetime_hours by wear.
    """
    sides = {(pair.workload, side.arm.device): side for pair in pairs if pair.known for side in (pair.cloud, pair.edge)}
    # Fewer are drawn anew: they are then as evenly spread as the scenario's, which a part of those would not be.
    few = judge.draws if judge.draws.count <= MOST_DRAWS else Draws(judge.scenario.settings.seed, MOST_DRAWS)
    rows = []
    for (workload, device), side in sorted(sides.items()):
        center, drawn = (_parts(judge, side, draws) for draws in (judge.center, few))
        for name, values in drawn.items():
            rows.append({
                "scenario": judge.scenario.name, "workload": workload, "device": device, "role": side.arm.role,
                "part": name, "unit": CONSTANT.get(name) or {"kwh": "kWh", "g": "g", "hours": "g h"}[name.split("_")[-1]],
                "center": float(center[name][0]), "draws": values.tolist(),
            })  # fmt: skip
    return rows


def _parts(judge: Judge, side: Average, draws: Draws) -> dict[str, Any]:
    judge = replace(judge, draws=draws)
    look, arm, boundary = draws.of, side.arm, side.mean["boundary"]
    work = side.work(judge)
    found: dict[str, Any] = {"meter_kwh": work.energy_kwh, "intensity": arm.grid.intensity(look)}
    found["network_kwh"] = arm.network(work, lambda one: 1.0 if one in arm.grid.assumptions else look(one))
    if arm.role == "cloud":
        found["plug_kwh"] = (work.energy_kwh + work.idle_kwh) * arm.overhead(boundary, look)
        for variant in ALL_ATTRIBUTIONS:
            found[f"embodied_{variant}_g"] = arm.charged(work, boundary, variant, look)
    else:
        found |= _edge_parts(side, work, look)
    scale = TOKENS_PER_UNIT / side.mean["tokens"]
    return {
        name: np.asarray(values, np.float64).reshape(-1) * (1.0 if name in CONSTANT else scale)
        for name, values in found.items()
    }


def _edge_parts(side: Average, work: Work, look: Look) -> dict[str, Any]:
    arm, boundary = side.arm, side.mean["boundary"]
    lifetime_hours = look(arm.lifetime) * HOURS_PER_YEAR
    found = {
        "device_kwh": work.energy_kwh * look(arm.boundary_factor(boundary)),
        "coordinator_kwh": 0.0,
        "coordinator_intensity": arm.side.grid.intensity(look),
        "made_g_hours": arm.embodied_kg(look) * 1000.0 * work.hours * look(arm.side.resource_share),
        "lifetime_hours": lifetime_hours,
        "utilisation": look(arm.utilisation),
        "wear_battery_g": arm.charged(replace(work, hours=0.0), boundary, "marginal_wear", look),
        "wear_life_g_hours": arm.charged(replace(work, energy_kwh=0.0), boundary, "marginal_wear", look)
        * lifetime_hours,
    }
    site = arm.site_factor(boundary)
    if site is not None:
        found["charger"] = look(site)
    if arm.coordinator is not None:
        _, pue, grid = arm.coordinator
        found["coordinator_kwh"] = arm.coordinator_kwh(work, look) * look(pue)
        found["coordinator_intensity"] = grid.intensity(look)
    return found
