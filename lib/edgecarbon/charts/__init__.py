"""Altair charts of the database. Adding one is one function and its line in CHARTS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import duckdb
from altair.utils.schemapi import debug_mode

from edgecarbon.charts import break_even_map, carbon, decisions, energy, fleet, fleet_compare, fleet_scaling, series
from edgecarbon.charts.export import save
from edgecarbon.charts.style import Chart, is_empty

__all__ = [
    "CHARTS",
    "DECISION_CHARTS",
    "FLEET_CHARTS",
    "Chart",
    "ChartEntry",
    "decision_charts",
    "fleet_charts",
    "save",
]


class ChartEntry(NamedTuple):
    """What the registry holds of a chart: connection in, chart out; its title; its caption in plain text."""

    function: Callable[[duckdb.DuckDBPyConnection], Chart]
    title: str
    caption: str

    def draw(self, connection: duckdb.DuckDBPyConnection) -> Chart:
        """The chart. Altair would validate each part as it is made, which takes most of the time; the tests do."""
        with debug_mode(False):
            return self.function(connection)


CHARTS: dict[str, ChartEntry] = {
    "energy_per_step": ChartEntry(
        energy.energy_per_step,
        "Energy per training step",
        "What one optimiser step takes on each device, within the boundary named below it.",
    ),
    "energy_per_million_tokens": ChartEntry(
        energy.energy_per_million_tokens,
        "Energy per million tokens",
        "What a million training tokens take on each device, so that runs of different batch or sequence length compare.",
    ),
    "power": ChartEntry(
        series.power,
        "Power over time",
        "What the sensors gave, with temperature and clock where the device shows them. Shaded: idle before and after, "
        "warm-up, and the measured window, whose energy is the one reported; in it, where heat throttled the device.",
    ),
    "training": ChartEntry(
        series.training,
        "Loss and step time",
        "That the work was done: the loss falls alike on every device. The step time shows throttling and disturbance.",
    ),
    "carbon": ChartEntry(
        carbon.carbon,
        "Carbon under each attribution",
        "Operational, embodied and network carbon of a million tokens. The panels differ only in how much of the "
        "device's making is charged to the run.",
    ),
    "verdict": ChartEntry(
        carbon.verdict,
        "Verdict",
        "Carbon of the cloud over carbon of the edge, for every pair of devices and every attribution. A line that "
        "crosses 1 is no clear verdict.",
    ),
}

FLEET_CHARTS: dict[str, ChartEntry] = {
    "fleet_timeline": ChartEntry(
        fleet.fleet_timeline,
        "One step of a fleet",
        "What every member does in one step, and when. Grey is waiting: the time that training together costs.",
    ),
    "fleet_energy": ChartEntry(
        fleet.fleet_energy,
        "Energy of a step, by member",
        "What each member takes in one step: computing, waiting at its idle draw, and the radio.",
    ),
    "fleet_prediction": ChartEntry(
        fleet_compare.fleet_prediction,
        "Prediction against measurement",
        "Step time and bytes as the simulation has them, beside what was measured on the same fleet.",
    ),
    "fleet_scaling": ChartEntry(
        fleet_scaling.fleet_scaling,
        "Energy of communication, as a fleet grows",
        "What the radios take for a token, from two devices to a thousand, by how the messages travel. Modelled.",
    ),
    "fleet_carbon": ChartEntry(
        fleet_compare.fleet_carbon,
        "A fleet against one cloud device",
        "Carbon of the whole workload on the fleet and on one cloud device, under each attribution.",
    ),
}
"""Charts of devices that train together: a database may well hold none of them."""


DECISION_CHARTS: dict[str, ChartEntry] = {
    "break_even": ChartEntry(
        decisions.break_even,
        "Needed to break even, and reached",
        "How many times less energy than the cloud the edge uses, beside how many times less it would have to use for "
        "both to emit the same.",
    ),
    "tornado": ChartEntry(
        decisions.tornado,
        "One input at a time",
        "Cloud over edge as each input alone moves over its range, the others at their defaults. A bar that crosses 1 "
        "turns the verdict by itself.",
    ),
    "sobol": ChartEntry(
        decisions.sobol,
        "Part in the uncertainty",
        "How much of the spread of the verdict each input has a part in, and how much it explains alone.",
    ),
    "break_even_map": ChartEntry(
        break_even_map.break_even_map,
        "Where the verdict turns",
        "Cloud over edge across the two inputs that decide most, the others at their defaults. Along the line both emit "
        "the same.",
    ),
    "probability": ChartEntry(
        decisions.probability,
        "Probability that the edge wins",
        "Share of the draws in which the edge emits less, for every pair, scenario and attribution.",
    ),
}
"""Charts of what decides the verdicts: a database without an analysis of sensitivity holds none of them."""


def fleet_charts(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, ChartEntry, Chart]]:
    """Those of FLEET_CHARTS that have something to show, drawn."""
    return _drawn(FLEET_CHARTS, connection)


def decision_charts(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, ChartEntry, Chart]]:
    """Those of DECISION_CHARTS that have something to show, drawn."""
    return _drawn(DECISION_CHARTS, connection)


def _drawn(
    entries: dict[str, ChartEntry], connection: duckdb.DuckDBPyConnection
) -> Iterator[tuple[str, ChartEntry, Chart]]:
    for name, entry in entries.items():
        chart = entry.draw(connection)
        if not is_empty(chart):
            yield name, entry, chart
