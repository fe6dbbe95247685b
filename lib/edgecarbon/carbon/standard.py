"""The standard table: each verdict under the lifetimes and utilisations that publications differ in."""

from __future__ import annotations

from dataclasses import replace

from edgecarbon.carbon.formulas import HOURS_PER_YEAR
from edgecarbon.carbon.pairs import Pair
from edgecarbon.carbon.sensitivity import Row, identity, longest_hours
from edgecarbon.carbon.verdicts import ratio_quantiles
from edgecarbon.carbon.work import Judge
from edgecarbon.config.assumptions import Assumption

LIFETIMES_YEARS = (2.0, 4.0)
UTILISATIONS = (0.2, 0.8)


def standard_rows(judge: Judge, pair: Pair) -> list[Row]:
    """Rows of `standard` for a pair: one an attribution, lifetime and utilisation of the edge device; without figures where
    a run would outlast that lifetime."""
    if not pair.known:
        return []
    attributions = judge.scenario.settings.attributions
    held_hours = longest_hours(judge, pair.edge, judge.draws)
    rows = []
    for years in LIFETIMES_YEARS:
        for used in UTILISATIONS:
            found: list[tuple[float | None, ...]] = [(None,) * 4] * len(attributions)
            if held_hours <= years * HOURS_PER_YEAR:
                changed = _with_edge(judge, pair, years, used)
                found = ratio_quantiles(changed.ratio(judge, judge.draws))
            for variant, (median, low, high, probability) in zip(attributions, found, strict=True):
                rows.append({
                    **identity(judge, pair), "attribution": variant, "lifetime_years": years, "utilisation": used,
                    "ratio_cloud_over_edge": median, "ratio_low": low, "ratio_high": high,
                    "probability_edge_wins": probability,
                })  # fmt: skip
    return rows


def _with_edge(judge: Judge, pair: Pair, lifetime: float, utilisation: float) -> Pair:
    """`with_edge`, with the same edge device for all cloud devices, so that its draws are worked out once."""
    edge = judge.draws.kept((pair.edge,), (lifetime, utilisation), lambda: with_edge(pair, lifetime, utilisation).edge)
    return replace(pair, edge=edge)


def with_edge(pair: Pair, lifetime: float, utilisation: float) -> Pair:
    """The pair with lifetime (years) and utilisation of its edge device alone replaced by values without a range."""
    arm = pair.edge.arm
    changed = replace(arm, lifetime=_stated(arm.lifetime, lifetime), utilisation=_stated(arm.utilisation, utilisation))
    return replace(pair, edge=replace(pair.edge, arm=changed))


def _stated(one: Assumption, value: float) -> Assumption:
    return replace(one, name=f"{one.name}={value:g}", value=value, low=value, high=value)
