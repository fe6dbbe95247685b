"""The verdict of one pair as somebody would write it down who needs no more than this one: plain formulas over numbers.

`ratios` takes floats or arrays. Over arrays it is the body of a plain numpy loop; over floats the function that SALib's
documentation has one write, called for each row of the sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import carbon_cases
import numpy as np
from numpy.typing import NDArray

from edgecarbon.carbon.arms import build_arm
from edgecarbon.carbon.draws import Draws
from edgecarbon.carbon.pairs import Average, Pair, pairs_of
from edgecarbon.carbon.work import Judge

Array = NDArray[np.float64]
ATTRIBUTIONS = ("sunk", "time_share", "used_hours", "marginal_wear")
HALF_95 = 1.959963984540054

# Ten scenarios: what differs from the default in the scenario, and in the facts of the edge device.
CASES: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
    ({}, {}),
    ({"edge__grid": {"zone": "FRA", "year": 2024}}, {}),
    ({"cloud__grid": {"zone": "SWE", "year": 2024}, "cloud__pue": "aws"}, {}),
    ({"cloud__grid": {"zone": "POL", "year": 2024}, "edge__grid": {"zone": "POL", "year": 2024}}, {}),
    ({"edge__charger": "average", "cloud__pue": "on-premises"}, {}),
    ({"cloud__lifetime": "cloud-bloom", "edge__lifetime": "phone"}, {}),
    ({"cloud__host_embodied": "server-share-h100-node", "cloud__utilisation": "cloud-bloom"}, {}),
    ({"edge__data_path": ["data-centre-core", "fixed-network-2015", "wifi-half-watt"]}, {}),
    ({"cloud__grid": {"zone": "IND", "year": 2024}, "edge__utilisation": "owner-laptop"}, {}),
    ({"edge__grid": {"zone": "ZAF", "year": 2024}}, {"embodied": "fairphone-4"}),
)
RUNS = [
    carbon_cases.run(
        "board", "cloud", 2e7, 24.0, boundary="gpu_board", tokens=10**9,
        energy_low_joules=1.5e7, energy_high_joules=3e7,
    ),
    carbon_cases.run(
        "phone", "edge", 1e7, 500.0, boundary="battery", tokens=10**9,
        energy_low_joules=5e6, energy_high_joules=1.8e7,
    ),
]  # fmt: skip


def cases(folder: Path) -> list[tuple[Judge, Pair]]:
    """Each scenario's judge, with no more than a single draw, and its pair."""
    found = []
    for changes, edge in CASES:
        scenario = carbon_cases.scenario(folder, **changes)
        devices = {
            "board": carbon_cases.facts("cloud"),
            "phone": carbon_cases.facts("edge", **{"embodied": "snapdragon-888-phone", "battery": True, **edge}),
        }
        arms = {name: build_arm(name, facts, scenario, carbon_cases.INPUTS) for name, facts in devices.items()}
        judge = Judge(scenario, Draws(1, 1), arms)
        found.append((judge, next(pairs_of(judge, RUNS))))
    return found


def ratios(judge: Judge, pair: Pair, values: Mapping[str, Any]) -> list[Any]:
    """Cloud over edge under each of `ATTRIBUTIONS`; `values` by name of the input, others at their defaults."""
    bytes_per_token = judge.scenario.bytes_per_token.value
    cloud, edge = (_side(side, values, bytes_per_token) for side in (pair.cloud, pair.edge))
    # The cloud was bought for such work: by used hours, whatever the edge is charged by.
    total = cloud["used"] + cloud["making"] * 1000.0 * cloud["hours"] / (cloud["life"] * cloud["share"])
    making = (
        0.0,
        edge["making"] * 1000.0 * edge["hours"] / edge["life"],
        edge["making"] * 1000.0 * edge["hours"] / (edge["life"] * edge["share"]),
        edge["making"] * 1000.0 * edge["wear"],
    )
    return [total / (edge["used"] + one) for one in making]


def _side(side: Average, values: Mapping[str, Any], bytes_per_token: float) -> dict[str, Any]:
    """Grams but for the making, and what that follows from, for a run."""
    arm, mean = side.arm, side.mean

    def read(one: Any) -> Any:
        return values.get(one.name, one.value)

    at_machine = values[side.energy_name] / 3.6e6 * read(arm.boundary_factor(mean["boundary"]))
    network: Any = 0.0
    for segment in arm.side.data_path:
        if segment.per_gigabyte is not None:
            network = network + read(segment.per_gigabyte)
        else:
            network = network + read(segment.watts) / read(segment.speed) * 1e3 / 3.6e6
    used = at_machine * read(arm.side.site_factor) + network * mean["tokens"] * bytes_per_token / 1e9
    found = {
        "used": used * arm.grid.intensity(read),
        "hours": mean["duration_s"] / 3600.0,
        "making": sum(read(part) for part in arm.embodied),
        "life": read(arm.lifetime) * 8760.0,
        "share": read(arm.utilisation),
    }
    if arm.battery is not None:
        cycles = at_machine * 1000.0 / read(arm.battery.capacity)
        found["wear"] = read(arm.battery.embodied_share) * cycles / read(arm.battery.rated_cycles)
    return found


def drawn(judge: Judge, pair: Pair, unit: Mapping[str, Array]) -> dict[str, Array]:
    """Values of the pair's inputs at these quantiles of their priors: two log-uniform halves, energies two log-normal."""
    from scipy.special import ndtri

    energies = {side.energy_name: side.interval for side in (pair.cloud, pair.edge)}
    found = {}
    for one in pair.inputs(judge):
        place = unit[one.name]
        if one.name in energies:
            joules, low, high = energies[one.name] or (0.0, 0.0, 0.0)
            sigmas = ndtri(place) / HALF_95
            found[one.name] = joules * np.where(sigmas < 0, low / joules, high / joules) ** np.abs(sigmas)
        elif one.low > 0:
            place = 2.0 * place - 1.0
            ends = np.where(place < 0, math.log(one.value / one.low), math.log(one.high / one.value))
            found[one.name] = one.value * np.exp(ends * place)
        else:
            raise ValueError(f"{one.name}: a range from zero has no logarithm")
    return found
