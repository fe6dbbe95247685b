"""What papers claim in numbers, and what this model gives for it under a scenario."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgecarbon.carbon.arms import Look
from edgecarbon.carbon.breakeven import energy_and_break_even
from edgecarbon.carbon.draws import HIGH, LOW, Array, Draws, Plan
from edgecarbon.carbon.pairs import TOKENS_PER_UNIT, Pair
from edgecarbon.carbon.sensitivity import Row, finite
from edgecarbon.carbon.work import Judge
from edgecarbon.config.assumptions import ResolvedScenario
from edgecarbon.config.claims import Claim

BY_ATTRIBUTION = ("carbon_ratio", "edge_carbon_ratio")


def charger_factor(scenario: ResolvedScenario, look: Look) -> Any:
    """Energy at the plug over energy at the battery."""
    return look(scenario.edge.site_factor)


def overhead_ratio(scenario: ResolvedScenario, look: Look) -> Any:
    """The charger's overhead over the data centre's: charger factor / PUE."""
    return charger_factor(scenario, look) / look(scenario.cloud.site_factor)


def grid_ratio(scenario: ResolvedScenario, look: Look) -> Any:
    """Carbon intensity of the edge's electricity over the cloud's."""
    return np.divide(scenario.edge.grid.intensity(look), scenario.cloud.grid.intensity(look))


def equal_energy_ratio(scenario: ResolvedScenario, look: Look) -> Any:
    """Carbon of the edge over the cloud's for equal computation energy: no making, no network, no host factor."""
    return overhead_ratio(scenario, look) * grid_ratio(scenario, look)


def _energy_ratio(judge: Judge, pair: Pair, draws: Draws) -> Array:
    return np.atleast_2d(energy_and_break_even(judge, pair, draws)[0])


def _carbon_ratio(judge: Judge, pair: Pair, draws: Draws) -> Array:
    return pair.ratio(judge, draws)


def _inverse(of: Callable[[Judge, Pair, Draws], Array]) -> Callable[[Judge, Pair, Draws], Array]:
    return lambda judge, pair, draws: 1.0 / of(judge, pair, draws)


_OF_SCENARIO: Mapping[str, Callable[[ResolvedScenario, Look], Any]] = {
    "charger_factor": charger_factor,
    "overhead_ratio": overhead_ratio,
    "grid_ratio": grid_ratio,
    "equal_energy_ratio": equal_energy_ratio,
}
# Shape (attributions, draws), or (1, draws) of what attribution plays no part in.
_OF_PAIR: Mapping[str, Callable[[Judge, Pair, Draws], Array]] = {
    "energy_ratio": _energy_ratio,
    "edge_energy_ratio": _inverse(_energy_ratio),
    "carbon_ratio": _carbon_ratio,
    "edge_carbon_ratio": _inverse(_carbon_ratio),
}


def claim_rows(judge: Judge, pairs: Sequence[Pair], claims: Sequence[Claim]) -> list[Row]:
    """Rows of `claims` for a scenario: one a claim; of a claim about devices one for each of its pairs that is among
    `pairs` with both energies known, and one an attribution where that plays a part."""
    return [row for claim in claims for row in _rows(judge, pairs, claim)]


def holds(claim: Claim, value: float | None, low: float | None, high: float | None) -> str | None:
    """`yes` where the value lies in what is claimed, `within range` where its interval reaches it, else `no`.

    None where there is no value.
    """
    if value is None:
        return None
    top = math.inf if claim.claimed_high is None else claim.claimed_high
    if claim.claimed_low <= value <= top:
        return "yes"
    reaches = low is not None and high is not None and low <= top and claim.claimed_low <= high
    return "within range" if reaches else "no"


def _rows(judge: Judge, pairs: Sequence[Pair], claim: Claim) -> Iterator[Row]:
    if not claim.of_a_pair:
        center, drawn = (
            np.atleast_1d(_OF_SCENARIO[claim.quantity](judge.scenario, draws.of)) * claim.energy_factor
            for draws in (judge.center, judge.draws)
        )
        yield _row(judge, claim, None, None, center, drawn)
        return
    named = {(one.cloud, one.edge) for one in claim.pairs}
    variants = judge.scenario.settings.attributions if claim.quantity in BY_ATTRIBUTION else [None]
    for pair in pairs:
        if pair.known and (pair.cloud.arm.device, pair.edge.arm.device) in named:
            of = _OF_PAIR[claim.quantity]
            both = (of(judge, pair, draws) for draws in _draws(judge, pair, claim))
            for variant, center, drawn in zip(variants, *both, strict=True):
                yield _row(judge, claim, pair, variant, center, drawn)


def _draws(judge: Judge, pair: Pair, claim: Claim) -> tuple[Draws, Draws]:
    """The defaults and the judge's draws, with the edge's energy as the claim states it where it does.

    The device's time goes with it, as its draw in watts is the same.
    """
    stated, settings = claim.stated_energy_ratio, judge.scenario.settings
    if stated is None:
        return judge.center, judge.draws
    span = math.log(stated.high / stated.low)

    def fixed(draws: Draws, share: Any) -> dict[str, Any]:
        ratio = stated.low * np.exp(span * share)
        joules = pair.cloud.drawn(replace(judge, draws=draws))[0][0] * TOKENS_PER_UNIT / pair.cloud.mean["tokens"]
        return {pair.edge.energy_name: joules / ratio}

    drawn = fixed(judge.draws, judge.draws.uniform(f"claims/{claim.name}"))
    return Plan(1, fixed=fixed(judge.center, 0.5)), Draws(settings.seed, judge.draws.count, drawn)


def _row(judge: Judge, claim: Claim, pair: Pair | None, attribution: str | None, center: Array, drawn: Array) -> Row:
    with np.errstate(invalid="ignore"):
        low, high = (finite(end) for end in np.quantile(drawn, (LOW, HIGH)))
    value = finite(center[0])
    return {
        "scenario": judge.scenario.name, "claim": claim.name, "paper": claim.paper, "statement": claim.statement,
        "source": claim.source, "needs": claim.needs, "own_scenario": claim.own_scenario, "quantity": claim.quantity,
        "workload": pair.workload if pair else None,
        "cloud_device": pair.cloud.arm.device if pair else None,
        "edge_device": pair.edge.arm.device if pair else None,
        "attribution": attribution,
        "claimed_low": claim.claimed_low, "claimed_high": claim.claimed_high,
        "value": value, "value_low": low, "value_high": high, "holds": holds(claim, value, low, high),
    }  # fmt: skip
