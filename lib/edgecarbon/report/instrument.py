"""The section "Try it": what a verdict becomes when one assumption is set to a value, worked out by the page itself.

The page gets draws of each part of each device's total, as table `instrument` holds them, and does with them what
`recompute` does here. Parts are for a million tokens; those of a cloud device are meter_kwh, plug_kwh, network_kwh,
intensity and embodied_ATTRIBUTION_g; those of an edge device meter_kwh, device_kwh, charger (where it has one),
network_kwh, intensity, coordinator_kwh, coordinator_intensity, made_g_hours, lifetime_hours, utilisation,
wear_battery_g and wear_life_g_hours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import duckdb
import numpy as np

from edgecarbon.carbon.draws import Array
from edgecarbon.carbon.formulas import HOURS_PER_YEAR
from edgecarbon.carbon.instrument import MOST_DRAWS
from edgecarbon.carbon.verdicts import SURE
from edgecarbon.charts.style import ATTRIBUTIONS, Row, grouped
from edgecarbon.report import words
from edgecarbon.report.packing import Packer

MOST_BYTES = 6_000_000
"""Of all packed draws: the page is to open on a phone."""


@dataclass(frozen=True)
class Part:
    """A part of a device's total: with every input at its default, and its draws, shape (draws,) or (1,)."""

    center: float
    draws: Array


Parts = Mapping[str, Part]


@dataclass(frozen=True)
class Settings:
    """What the sliders are set to; None leaves the scenario's draws."""

    cloud_grid_g_per_kwh: float | None = None
    edge_grid_g_per_kwh: float | None = None
    lifetime_years: float | None = None
    utilisation: float | None = None
    charger: float | None = None
    energy_ratio: float | None = None


@dataclass(frozen=True)
class Dial:
    """A slider: a field of `Settings`, how the page calls it, and between which values it moves at least."""

    name: str
    label: str
    unit: str
    low: float
    high: float


DIALS = (
    Dial("energy_ratio", "Energy, cloud over edge", "×", 0.05, 50.0),
    Dial("cloud_grid_g_per_kwh", "Cloud grid", "gCO₂e/kWh", 10.0, 1000.0),
    Dial("edge_grid_g_per_kwh", "Edge grid", "gCO₂e/kWh", 10.0, 1000.0),
    Dial("charger", "Edge charger factor", "×", 1.0, 5.0),
    Dial("lifetime_years", "Edge lifetime", "years", 0.5, 15.0),
    Dial("utilisation", "Edge in use", "of its life", 0.01, 1.0),
)


@dataclass(frozen=True)
class Outcome:
    """A verdict: the ratio is cloud over edge; what is not a number, or has no bound, is None."""

    ratio: float | None
    """Median of the draws."""
    low: float | None
    high: float | None
    """5 and 95 % quantiles."""
    probability: float
    """Share of the draws in which the edge emits less."""
    winner: str
    ratio_default: float | None
    """With every input that is not set at its default."""
    energy_ratio: float
    """Energy at the cloud's meter over that at the edge's, at the defaults."""
    break_even: float | None
    """Energy ratio at which both emit the same, at the defaults; None where the edge's network alone emits more."""
    break_even_low: float | None
    break_even_high: float | None


def recompute(cloud: Parts, edge: Parts, attribution: str, settings: Settings | None = None) -> Outcome:
    """The verdict under settings, draw by draw.

    Time goes with energy, as a device's draw in watts is the same however efficient it is said to be.

    Raises:
        ValueError: an attribution that is not known, or a charger for an edge device without one.
    """
    chosen = settings or Settings()
    drawn, default = (
        _emitted(_values(cloud, kind), _values(edge, kind), attribution, chosen) for kind in ("draws", "center")
    )
    ratio, low, high = _quantiles(drawn.cloud_g, drawn.edge_g)
    _, even_low, even_high = _quantiles(drawn.break_even, 1.0)
    probability = float(np.mean((drawn.cloud_g > drawn.edge_g) + 0.5 * (drawn.cloud_g == drawn.edge_g)))
    return Outcome(
        ratio=ratio,
        low=low,
        high=high,
        probability=probability,
        winner="edge" if probability > SURE else "cloud" if probability < 1 - SURE else "unclear",
        ratio_default=_number(_over(default.cloud_g, default.edge_g)),
        energy_ratio=float(default.energy_ratio),
        break_even=_number(default.break_even),
        break_even_low=even_low,
        break_even_high=even_high,
    )


def _values(parts: Parts, kind: str) -> dict[str, Any]:
    return {name: getattr(part, kind) for name, part in parts.items()}


@dataclass(frozen=True)
class _Emitted:
    """gCO2e of both sides and the ratios of energy: scalars, or arrays over the draws."""

    cloud_g: Any
    edge_g: Any
    energy_ratio: Any
    break_even: Any


def _emitted(cloud: Mapping[str, Any], edge: Mapping[str, Any], attribution: str, settings: Settings) -> _Emitted:
    if settings.charger is not None and "charger" not in edge:
        raise ValueError("charger: this edge device has none, or was metered at the plug")
    cloud_grid = _or(settings.cloud_grid_g_per_kwh, cloud["intensity"])
    coordinator_grid = _or(settings.cloud_grid_g_per_kwh, edge["coordinator_intensity"])
    edge_grid = _or(settings.edge_grid_g_per_kwh, edge["intensity"])
    cloud_g = (cloud["plug_kwh"] + cloud["network_kwh"]) * cloud_grid + cloud[f"embodied_{attribution}_g"]
    network_g = edge["network_kwh"] * edge_grid
    # All that grows with the energy, and so with the time, that the edge takes.
    growing_g = (
        edge["device_kwh"] * _or(settings.charger, edge.get("charger", 1.0)) * edge_grid
        + edge["coordinator_kwh"] * coordinator_grid
        + _charged(edge, attribution, settings)
    )
    found = cloud["meter_kwh"] / edge["meter_kwh"]
    energy_ratio = _or(settings.energy_ratio, found)
    even = np.where(cloud_g > network_g, found * _over(growing_g, cloud_g - network_g), np.inf)
    return _Emitted(cloud_g, network_g + found / energy_ratio * growing_g, energy_ratio, even)


def _charged(edge: Mapping[str, Any], attribution: str, settings: Settings) -> Any:
    """Manufacturing that is charged to the run, g, as `carbon.formulas` has it."""
    years = settings.lifetime_years
    lifetime_hours = edge["lifetime_hours"] if years is None else years * HOURS_PER_YEAR
    if attribution == "sunk":
        return 0.0
    if attribution == "time_share":
        return edge["made_g_hours"] / lifetime_hours
    if attribution == "used_hours":
        return edge["made_g_hours"] / (lifetime_hours * _or(settings.utilisation, edge["utilisation"]))
    if attribution == "marginal_wear":
        return edge["wear_battery_g"] + edge["wear_life_g_hours"] / lifetime_hours
    raise ValueError(f"attribution: '{attribution}' is not one of {', '.join(ATTRIBUTIONS)}")


def _or(value: float | None, otherwise: Any) -> Any:
    return otherwise if value is None else value


def _quantiles(above: Any, below: Any) -> list[float | None]:
    with np.errstate(invalid="ignore"):  # between two that have no bound
        return [_number(one) for one in np.quantile(_over(above, below), (0.5, 1 - SURE, SURE))]


def _over(above: Any, below: Any) -> Any:
    """The quotient, without a word where nothing divides."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(above, below)


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def section(connection: duckdb.DuckDBPyConnection, verdict_rows: list[Row]) -> dict[str, Any]:
    """What the template needs; empty where table `instrument` holds no pair of devices, and then there is no section.

    Args:
        verdict_rows: of table `verdicts`, in the order of the page's table of pairs. Left out, and named with the reason,
            are pairs without a ratio of energies, and from the first on whose draws would be beyond `MOST_BYTES` all.
    """
    packer, full, drawn = Packer(), False, 0
    pairs: list[dict[str, Any]] = []
    left_out: list[str] = []
    limits = {dial.name: (dial.low, dial.high) for dial in DIALS}
    for (workload, scenario), members in grouped(verdict_rows, "workload", "scenario"):
        devices = read(connection, scenario, workload)
        for (cloud, edge), mine in grouped(members, "cloud_device", "edge_device"):
            if cloud not in devices or edge not in devices:
                continue
            sides = {(scenario, workload, device): devices[device] for device in (cloud, edge)}
            zero = " and ".join(name for name in (cloud, edge) if _may_be_nothing(devices[name]["meter_kwh"]))
            full = full or (not zero and packer.bytes_with(sides) > MOST_BYTES)
            if zero or full:
                why = f"the range of the energy of {zero} reaches zero" if zero else "to keep the page small"
                left_out.append(f"{workload}, {scenario}: {cloud} against {edge} ({why})")
                continue
            keys = packer.add(sides)
            drawn = max(drawn, *(part.draws.size for parts in sides.values() for part in parts.values()))
            pair = {"scenario": scenario, "workload": workload, "cloud": cloud, "edge": edge, "sides": keys}
            attributions = [row["attribution"] for row in mine]
            marks = _marks(devices[cloud], devices[edge])
            limits = {name: _widened(ends, marks.get(name)) for name, ends in limits.items()}
            pairs.append({**pair, "attributions": attributions, "marks": marks})
    if not pairs and not left_out:
        return {}
    dials = [{**asdict(dial), "low": limits[dial.name][0], "high": limits[dial.name][1]} for dial in DIALS]
    told = {"labels": {kind: words.LABELS[kind] for kind in ("edge", "cloud", "unclear")}, "names": ATTRIBUTIONS}
    data = {"pairs": pairs, "devices": packer.devices, "shapes": packer.shapes, "dials": dials, **told}
    counts = {"pairs": len(pairs) + len(left_out), "drawn": drawn if drawn >= MOST_DRAWS else 0}
    return {"data": data, "dials": dials, "left_out": left_out, **counts}


def _may_be_nothing(energy: Part) -> bool:
    """Whether an energy, above idle or of a coarse meter, may be zero, over which no ratio of energies could be set."""
    return min(energy.center, float(energy.draws.min())) <= 0


def read(connection: duckdb.DuckDBPyConnection, scenario: str, workload: str) -> dict[str, dict[str, Part]]:
    """The rows of table `instrument` by device and part."""
    query = "SELECT device, part, center, draws FROM instrument WHERE scenario = ? AND workload = ?"
    found = connection.execute(query, [scenario, workload]).fetchnumpy()
    devices: dict[str, dict[str, Part]] = {}
    for device, part, center, draws in zip(*found.values(), strict=True):
        devices.setdefault(device, {})[part] = Part(float(center), np.asarray(draws, np.float64))
    return devices


def _marks(cloud: Parts, edge: Parts) -> dict[str, tuple[float, float, float]]:
    """What the scenario has for each slider: default, low and high; an absent charger has none.

    An input's ends are those of its draws; those of the energy ratio, which has no hard ends, 5 and 95 %.
    """
    own = {
        "cloud_grid_g_per_kwh": (cloud["intensity"], 1.0),
        "edge_grid_g_per_kwh": (edge["intensity"], 1.0),
        "lifetime_years": (edge["lifetime_hours"], HOURS_PER_YEAR),
        "utilisation": (edge["utilisation"], 1.0),
        **({"charger": (edge["charger"], 1.0)} if "charger" in edge else {}),
    }
    ratio = cloud["meter_kwh"].center / edge["meter_kwh"].center
    ends = np.quantile(cloud["meter_kwh"].draws / edge["meter_kwh"].draws, (1 - SURE, SURE))
    marks = {"energy_ratio": (ratio, float(ends[0]), float(ends[1]))}
    for name, (part, unit) in own.items():
        marks[name] = (part.center / unit, float(part.draws.min()) / unit, float(part.draws.max()) / unit)
    return marks


def _widened(ends: tuple[float, float], mark: tuple[float, float, float] | None) -> tuple[float, float]:
    """Ends of a slider that hold the scenario's range too; a logarithmic one cannot reach zero."""
    return ends if mark is None else (min([ends[0], *(one for one in mark if one > 0)]), max(ends[1], *mark))
