"""Where the verdict turns: the energy ratio that breaks even, the assumption that reverses, and maps over two inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgecarbon.carbon.draws import HIGH, LOW, Array, Draws, Plan
from edgecarbon.carbon.labels import label
from edgecarbon.carbon.pairs import Pair, parts
from edgecarbon.carbon.sensitivity import Row, center_ratio, finite, identity, log_ratio, nearness
from edgecarbon.carbon.work import Judge
from edgecarbon.config.assumptions import Assumption

MAP_CELLS = 25


def energy_and_break_even(judge: Judge, pair: Pair, draws: Draws) -> tuple[Array, Array]:
    """The energy ratio (cloud's meter over edge's) and r*, that at which both emit the same.

    The edge device keeps its draw, so that with its energy goes its time: its electricity and its charged making scale
    alike, the network does not. With V the former and F the latter at the present energy, r* = ratio · V / (cloud − F);
    infinite where the network alone emits more than the cloud. For one boundary, grid and lifetime a side this is the
    formula of `formulas.break_even_energy_ratio`.

    Returns:
        shapes (draws,) or (1,), and (attributions, draws) or (attributions, 1).
    """
    cloud, edge = parts(judge, pair.cloud, draws), parts(judge, pair.edge, draws)
    with np.errstate(divide="ignore", invalid="ignore"):
        energy_ratio = cloud.meter_kwh / edge.meter_kwh
        left = np.broadcast_to(cloud.total - edge.network, np.broadcast_shapes(cloud.total.shape, edge.total.shape))
        needed = energy_ratio * (edge.own + edge.making) / left
    return energy_ratio, np.where(left > 0, needed, np.inf)


def break_even_rows(judge: Judge, pair: Pair, sensitivity: Sequence[Row]) -> list[Row]:
    """Rows of `break_even` for a pair, one an attribution. None where an energy is not known.

    Args:
        sensitivity: the pair's rows of `sensitivity`.
    """
    if not pair.known:
        return []
    ratios = center_ratio(judge, pair)
    energy_ratio, needed = energy_and_break_even(judge, pair, judge.center)
    drawn_ratio, drawn_needed = energy_and_break_even(judge, pair, judge.draws)
    energy_low, energy_high = np.quantile(drawn_ratio, (LOW, HIGH))
    # Not between neighbours: one of them may be infinite.
    needed_low = np.quantile(drawn_needed, LOW, axis=1, method="lower")
    needed_high = np.quantile(drawn_needed, HIGH, axis=1, method="higher")
    rows = []
    for row, variant in enumerate(judge.scenario.settings.attributions):
        turning = [one for one in sensitivity if one["attribution"] == variant and one["reversal_value"] is not None]
        deciding = min(turning, key=_nearness, default=None)
        rows.append({
            **identity(judge, pair), "attribution": variant, "ratio_default": finite(ratios[row]),
            "energy_ratio": finite(energy_ratio[0]),
            "energy_ratio_low": finite(energy_low),
            "energy_ratio_high": finite(energy_high),
            "break_even_ratio": finite(needed[row, 0]),
            "break_even_low": finite(needed_low[row]), "break_even_high": finite(needed_high[row]),
            "deciding_input": deciding["input"] if deciding else None,
            "deciding_value": deciding["reversal_value"] if deciding else None,
            "deciding_unit": deciding["unit"] if deciding else None,
            "deciding_distance": deciding["reversal_distance"] if deciding else None,
        })  # fmt: skip
    return rows


def _nearness(row: Row) -> tuple[float, float]:
    return nearness(row["reversal_distance"], row["reversal_value"], row["value"])


def map_rows(judge: Judge, pair: Pair, sensitivity: Sequence[Row]) -> list[Row]:
    """Rows of `break_even_maps` for a pair: by attribution, over the two inputs of the largest total Sobol index."""
    if not pair.known:
        return []
    by_name = {one.name: one for one in pair.inputs(judge) if one.unit != "J"}
    rows = []
    drawn: dict[tuple[str, str], Array] = {}
    for row, variant in enumerate(judge.scenario.settings.attributions):
        ranked = sorted(
            (one for one in sensitivity if one["attribution"] == variant and one["input"] in by_name),
            key=lambda one: -(one["sobol_total"] or 0.0),
        )
        if len(ranked) < 2:
            continue
        across, up = (by_name[one["input"]] for one in ranked[:2])
        x_values, y_values = (_axis(one) for one in (across, up))
        names = across.name, up.name
        if names not in drawn:
            drawn[names] = break_even_map(judge, pair, (across, x_values), (up, y_values))
        rows.append({
            **identity(judge, pair), "attribution": variant,
            "x_input": across.name, "x_label": label(across), "x_unit": across.unit, "x_values": x_values.tolist(),
            "y_input": up.name, "y_label": label(up), "y_unit": up.unit, "y_values": y_values.tolist(),
            "ratios": drawn[names][row].reshape(-1).tolist(),
        })  # fmt: skip
    return rows


def break_even_map(judge: Judge, pair: Pair, x: tuple[Assumption, Array], y: tuple[Assumption, Array]) -> Array:
    """Cloud over edge across any two inputs, all others at their defaults.

    Args:
        x, y: an input of the pair, and the values that it takes.

    Returns:
        shape (attributions, y values, x values).
    """
    grid_y, grid_x = (grid.reshape(-1) for grid in np.meshgrid(y[1], x[1], indexing="ij"))
    logs = log_ratio(judge, pair, Plan(len(grid_x), fixed={x[0].name: grid_x, y[0].name: grid_y}))
    return np.exp(logs).reshape(-1, len(y[1]), len(x[1]))


def _axis(one: Assumption) -> Array:
    """Values over an input's range; logarithmic where it does not reach zero."""
    spaced: Any = np.geomspace if one.low > 0 else np.linspace
    return np.asarray(spaced(one.low, one.high, MAP_CELLS))
