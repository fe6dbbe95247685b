"""Altair charts of the database. Adding one is one function and its line in CHARTS."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import duckdb

from edgecarbon.charts import carbon, energy, series
from edgecarbon.charts.export import save
from edgecarbon.charts.style import Chart

__all__ = ["CHARTS", "Chart", "ChartEntry", "save"]


class ChartEntry(NamedTuple):
    """What the registry holds of a chart: connection in, chart out; its title; its caption in plain text."""

    draw: Callable[[duckdb.DuckDBPyConnection], Chart]
    title: str
    caption: str


CHARTS: dict[str, ChartEntry] = {
    "energy_per_step": ChartEntry(
        energy.energy_per_step,
        "Energy per training step",
        "What one optimiser step takes on each device, within the boundary named below it.",
    ),
    "energy_per_million_tokens": ChartEntry(
        energy.energy_per_million_tokens,
        "Energy per million tokens",
        "The same energy for a million training tokens, so that runs of different batch or sequence length compare.",
    ),
    "power": ChartEntry(
        series.power,
        "Power over time",
        "What the sensors gave, with temperature and clock where the device shows them. Shaded: idle before and after, "
        "warm-up, and the measured window, whose energy is the one reported.",
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
