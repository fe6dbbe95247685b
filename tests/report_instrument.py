"""Invented rows of table `instrument` for the devices of `report_database`: draws of the parts of each total."""

from __future__ import annotations

import json

import duckdb
import numpy as np
from numpy.typing import NDArray

import report_database

DRAWS = 500
WITHOUT_CHARGER = {"workstation", "macbook-pro-m2-pro"}
Parts = dict[str, tuple[float, NDArray[np.float64]]]


def add(connection: duckdb.DuckDBPyConnection, count: int = DRAWS) -> None:
    """Rows for every workload and device that has carbon figures."""
    pairs = connection.execute("SELECT DISTINCT workload, device, role FROM carbon ORDER BY ALL").fetchall()
    randomness = np.random.default_rng(5)
    # What both sides share is drawn once, and cancels where it should.
    grid = _spread(randomness, 494.0, 1.1, count)
    found = []
    for workload, device, role in pairs:
        parts = (_cloud if role == "cloud" else _edge)(randomness, workload, device, grid, count)
        for part, (center, draws) in parts.items():
            row = {"scenario": "default", "workload": workload, "device": device, "role": role, "part": part}
            found.append({**row, "unit": "", "center": center, "draws": draws.tolist()})
    columns = ("scenario", "workload", "device", "role", "part", "unit", "center")
    kinds = ", ".join(f"json_extract_string(value, '$.{name}')" for name in columns)
    connection.execute(
        f"INSERT INTO instrument SELECT {kinds}, (value->'draws')::DOUBLE[] FROM json_each(?::JSON)",
        [json.dumps(found)],
    )


def _spread(
    randomness: np.random.Generator, value: float, factor: float, count: int
) -> tuple[float, NDArray[np.float64]]:
    """A value whose draws lie within that factor of it."""
    return value, value * factor ** randomness.uniform(-1, 1, count)


def _meter(
    randomness: np.random.Generator, workload: str, device: str, count: int
) -> tuple[float, NDArray[np.float64]]:
    known = report_database.DEVICES[device]
    kwh = 6e6 * report_database.WORKLOADS[workload] / known.flops * known.watts / 3.6e6
    return kwh, kwh * np.exp(randomness.normal(0, known.half_width / 1.96, count))


def _times(*parts: tuple[float, NDArray[np.float64]] | float) -> tuple[float, NDArray[np.float64]]:
    center, draws = 1.0, np.ones(1)
    for part in parts:
        one, many = (part, np.array([part])) if isinstance(part, float) else part
        center, draws = center * one, draws * many
    return center, draws


def _cloud(
    randomness: np.random.Generator, workload: str, device: str, grid: tuple[float, NDArray[np.float64]], count: int
) -> Parts:
    known = report_database.DEVICES[device]
    meter = _meter(randomness, workload, device, count)
    hours = 6e6 * report_database.WORKLOADS[workload] / known.flops / 3600
    making = _spread(randomness, 1000 * known.embodied_kg * hours / known.life_hours / 0.6, 1.7, count)
    charged = {f"embodied_{name}_g": making for name in ("sunk", "time_share", "used_hours", "marginal_wear")}
    return {
        "meter_kwh": meter,
        "plug_kwh": _times(meter, _spread(randomness, 1.3, 1.3, count), 1.1),
        "network_kwh": _times(4e-6),
        "intensity": grid,
        **charged,
    }


def _edge(
    randomness: np.random.Generator, workload: str, device: str, grid: tuple[float, NDArray[np.float64]], count: int
) -> Parts:
    known = report_database.DEVICES[device]
    meter = _meter(randomness, workload, device, count)
    hours = 6e6 * report_database.WORKLOADS[workload] / known.flops / 3600
    zeros = np.maximum(randomness.uniform(-0.5, 1.0, count), 0.0)
    return {
        "meter_kwh": meter,
        "device_kwh": _times(meter, _spread(randomness, 1.2, 1.2, count)),
        **({} if device in WITHOUT_CHARGER else {"charger": _spread(randomness, 1.15, 1.05, count)}),
        "network_kwh": _spread(randomness, 2.4e-4, 3.0, count),
        "intensity": grid,
        "coordinator_kwh": _times(meter, 0.01),
        "coordinator_intensity": grid,
        "made_g_hours": _times(_spread(randomness, 1000 * known.embodied_kg * hours, 1.9, count)),
        "lifetime_hours": _spread(randomness, known.life_hours, 1.4, count),
        "utilisation": _spread(randomness, 0.2, 2.0, count),
        # Some draws are zero, as of an energy that may be nothing above idle.
        "wear_battery_g": (0.25 * hours, hours * zeros),
        "wear_life_g_hours": _times(20.0 * known.embodied_kg * hours),
    }
