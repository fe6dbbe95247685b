"""The owner's view: what a run costs who owns the edge device, and what it saves or causes beside the cloud."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgecarbon.carbon.arms import Look
from edgecarbon.carbon.draws import HIGH, LOW, quantiles
from edgecarbon.carbon.formulas import full_cycles
from edgecarbon.carbon.pairs import Average, Pair, parts
from edgecarbon.carbon.sensitivity import Row, finite, identity
from edgecarbon.carbon.work import Judge
from edgecarbon.config.assumptions import Prices

GRAMS_PER_KG = 1000.0


def owner_rows(judge: Judge, pair: Pair) -> list[Row]:
    """Rows of `owner` for a pair, one an attribution: costs of the edge's average run, carbon beside equal work in the
    cloud. None where the scenario has no prices, or an energy is not known."""
    prices = judge.scenario.prices
    if prices is None or not pair.known:
        return []
    center = replace(judge, draws=judge.center)
    plain, drawn = (_costs(one, pair.edge, prices) for one in (center, judge))
    cost_low, cost_high = np.quantile(drawn["cost"], (LOW, HIGH))
    tokens = pair.edge.mean["tokens"]
    saved, saved_drawn = (
        tokens * (parts(judge, pair.cloud, draws).total - parts(judge, pair.edge, draws).total)
        for draws in (center.draws, judge.draws)
    )
    rows = []
    lows, highs = quantiles(saved_drawn, (LOW, HIGH))
    for row, variant in enumerate(judge.scenario.settings.attributions):
        grams, cost = float(saved[row, 0]), float(plain["cost"])
        rows.append({
            **identity(judge, pair), "attribution": variant,
            **{name: float(plain[name]) for name in plain},
            "tariff_per_kwh": prices.tariff.value, "currency": prices.currency,
            "cost_low": finite(cost_low), "cost_high": finite(cost_high),
            "saved_grams": grams, "saved_low_grams": finite(lows[row]), "saved_high_grams": finite(highs[row]),
            "cost_per_kg_saved": cost / grams * GRAMS_PER_KG if grams > 0 else None,
        })  # fmt: skip
    return rows


def _costs(judge: Judge, edge: Average, prices: Prices) -> dict[str, Any]:
    """Electricity at the plug and wear of the battery, over the judge's draws.

    Work that is done again (churn, replication) may be done by devices of other owners: what the result costs them all.
    """
    look: Look = judge.draws.of
    boundary = edge.mean["boundary"]
    arm = replace(edge.arm, side=replace(edge.arm.side, site_factor=prices.charger))
    work = edge.work(judge)
    energy_kwh = np.squeeze(work.energy_kwh * arm.overhead(boundary, look))
    electricity = energy_kwh * look(prices.tariff)
    cycles: Any = 0.0
    battery: Any = 0.0
    if arm.battery is not None:
        # What the battery gives, not what the charger takes.
        through_kwh = np.squeeze(work.energy_kwh * look(arm.boundary_factor(boundary)))
        cycles = full_cycles(through_kwh, look(arm.battery.capacity))
        if prices.battery is not None:
            battery = look(prices.battery) * cycles / look(arm.battery.rated_cycles)
    return {
        "energy_kwh": energy_kwh,
        "hours": np.squeeze(work.hours),
        "electricity_cost": electricity,
        "full_cycles": cycles,
        "battery_cost": battery,
        "cost": electricity + battery,
    }
