"""The carbon model's formulas: pure functions of numbers or of arrays of draws.

Energy in kWh, carbon in grams of CO2-equivalent (embodied totals in kg), time in hours unless a name says otherwise.
A negative or non-finite number raises ValueError in every one. `docs/carbon-model.md` explains them in plain words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgecarbon.carbon.checks import Number, number, plain, positive, positive_share, share

JOULES_PER_KWH = 3.6e6
BYTES_PER_GB = 1e9
HOURS_PER_YEAR = 8760.0
ATTRIBUTIONS = ("sunk", "time_share", "used_hours")
"""Ways to charge a device's manufacturing to a run; `wear_grams` is the fourth, with inputs of its own."""


def operational_grams(energy_kwh: Number, intensity_g_per_kwh: Number, overhead_factor: Number = 1.0) -> Any:
    """Carbon of the electricity that a run used: O = E · κ · I.

    Args:
        energy_kwh: energy E at the meter's boundary.
        intensity_g_per_kwh: carbon intensity I of the electricity.
        overhead_factor: κ, what the plug draws for each kWh at the meter: host factor × PUE, or the charger's factor.

    Returns:
        gCO2e; a float, or an array where any argument is one.

    Raises:
        ValueError: an argument is negative, not finite, or no number.
    """
    energy = number("energy_kwh", energy_kwh)
    intensity = number("intensity_g_per_kwh", intensity_g_per_kwh)
    return plain(energy * number("overhead_factor", overhead_factor) * intensity)


def embodied_grams(
    embodied_kg: Number,
    lifetime_hours: Number,
    used_hours_for_run: Number,
    resource_share: Number = 1.0,
    attribution: str = "time_share",
    lifetime_used_share: Number = 1.0,
) -> Any:
    """The part of a device's manufacturing that is charged to one run.

    `sunk` charges nothing: the device was bought for its owner. `time_share` is SCI 1.1 (ISO/IEC 21031:2024),
    M = TE · (TiR/EL) · (RR/ToR). `used_hours` spreads the same total over the hours that the device is in use at all,
    TE / (EL · u) · hours, as the BLOOM paper does (arXiv 2211.02001).

    Args:
        embodied_kg: TE, manufacturing total of the device, kgCO2e.
        lifetime_hours: EL, service life, hours.
        used_hours_for_run: TiR, hours that the run holds the device.
        resource_share: RR/ToR, share of the device that the run holds, 0 to 1.
        attribution: `sunk`, `time_share` or `used_hours`.
        lifetime_used_share: u, share of its life that the device is in use, above 0 to 1. Only `used_hours` reads it.

    Returns:
        gCO2e; a float, or an array where any argument is one.

    Raises:
        ValueError: a bad number, a zero lifetime or used share, a share above 1, a run longer than the lifetime, or an
            unknown attribution; the text says which argument and what was found.
    """
    if attribution not in ATTRIBUTIONS:
        raise ValueError(f"attribution: expected one of {', '.join(ATTRIBUTIONS)}, found {attribution!r}")
    total = number("embodied_kg", embodied_kg)
    lifetime = positive("lifetime_hours", lifetime_hours)
    hours = number("used_hours_for_run", used_hours_for_run)
    held = share("resource_share", resource_share)
    used = positive_share("lifetime_used_share", lifetime_used_share)
    _at_most_the_lifetime("used_hours_for_run", hours, lifetime)
    if attribution == "sunk":
        return plain(np.zeros(np.broadcast(total, lifetime, hours, held, used).shape))
    # One expression for both, so that rounding can never put time_share above used_hours.
    divisor = lifetime * used if attribution == "used_hours" else lifetime * np.ones_like(used)
    return plain(total * 1000.0 * hours * held / divisor)


def wear_grams(
    battery_kg: Number,
    full_cycle_equivalents: Number,
    rated_cycles: Number,
    embodied_kg: Number = 0.0,
    shortened_life_hours: Number = 0.0,
    lifetime_hours: Number = HOURS_PER_YEAR,
) -> Any:
    """Marginal wear: only what the run itself uses up of the device.

    Battery TE × full-cycle equivalents / rated cycles, plus TE × shortened life / EL where a scenario claims one.

    Args:
        battery_kg: manufacturing of the battery, kgCO2e.
        full_cycle_equivalents: energy through the battery over its capacity; see `full_cycles`.
        rated_cycles: full cycles that the battery is rated for.
        embodied_kg, shortened_life_hours, lifetime_hours: the device's total, and the life that the run costs it.

    Returns:
        gCO2e.

    Raises:
        ValueError: a bad number, zero rated cycles or lifetime, or a life shortened by more than all of it.
    """
    battery = number("battery_kg", battery_kg)
    cycles = number("full_cycle_equivalents", full_cycle_equivalents)
    rated = positive("rated_cycles", rated_cycles)
    lifetime = positive("lifetime_hours", lifetime_hours)
    shortened = number("shortened_life_hours", shortened_life_hours)
    _at_most_the_lifetime("shortened_life_hours", shortened, lifetime)
    return plain(1000.0 * (battery * cycles / rated + number("embodied_kg", embodied_kg) * shortened / lifetime))


def full_cycles(energy_kwh: Number, capacity_wh: Number) -> Any:
    """Full-cycle equivalents that an energy taken from a battery amounts to."""
    return plain(1000.0 * number("energy_kwh", energy_kwh) / positive("capacity_wh", capacity_wh))


def network_grams(
    transferred_bytes: Number, kwh_per_gb: Number, intensity_g_per_kwh: Number, ends: Number = 1.0
) -> Any:
    """Carbon of moving data over one segment (radio, access, core): bytes × kWh/GB × I × ends, with 1 GB = 10^9 bytes.

    Args:
        ends: how often the segment is crossed; 2 where sender and receiver both have one.

    Returns:
        gCO2e. The segments of a path are added by the caller.
    """
    gigabytes = number("transferred_bytes", transferred_bytes) / BYTES_PER_GB
    energy = gigabytes * number("kwh_per_gb", kwh_per_gb) * number("ends", ends)
    return plain(energy * number("intensity_g_per_kwh", intensity_g_per_kwh))


def radio_kwh_per_gb(radio_watts: Number, bytes_per_second: Number) -> Any:
    """What a radio of known draw and link speed takes for a GB: watts × seconds, kWh."""
    seconds = BYTES_PER_GB / positive("bytes_per_second", bytes_per_second)
    return plain(number("radio_watts", radio_watts) * seconds / JOULES_PER_KWH)


def radio_joules(transferred_bytes: Number, radio_watts: Number, bytes_per_second: Number) -> Any:
    """Energy of a radio that is on for as long as the transfer takes, J."""
    seconds = number("transferred_bytes", transferred_bytes) / positive("bytes_per_second", bytes_per_second)
    return plain(number("radio_watts", radio_watts) * seconds)


def sci(operational: Number, embodied: Number, functional_units: Number) -> Any:
    """SCI 1.1 (ISO/IEC 21031:2024): (O + M) per functional unit R, in g per unit.

    Raises:
        ValueError: a bad number, or no functional unit at all.
    """
    total = number("operational", operational) + number("embodied", embodied)
    return plain(total / positive("functional_units", functional_units))


def grid_mix(shares: Mapping[str, float], intensities_g_per_kwh: Mapping[str, float]) -> float:
    """Carbon intensity of a mix of sources, g/kWh: Σ share × intensity.

    Raises:
        ValueError: shares that do not add up to 1, or a source without an intensity.
    """
    missing = sorted(set(shares) - set(intensities_g_per_kwh))
    if missing:
        raise ValueError(f"intensities_g_per_kwh: no intensity for '{missing[0]}'")
    total = sum(float(share(f"shares[{source}]", part)) for source, part in shares.items())
    if abs(total - 1) > 1e-9:
        raise ValueError(f"shares: expected a sum of 1, found {total:g}")
    intensities = {
        source: number(f"intensities_g_per_kwh[{source}]", intensities_g_per_kwh[source]) for source in shares
    }
    return float(sum(part * intensities[source] for source, part in shares.items()))


def multiplexed_idle_kwh(idle_watts: Number, used_hours: Number, utilisation: Number, tenants: Number = 1.0) -> Any:
    """Energy of a cloud machine's empty hours that falls on a run, kWh: W × h × (1/utilisation − 1) / tenants."""
    unused = (1.0 / positive_share("utilisation", utilisation) - 1.0) / _tenants(tenants)
    return plain(number("idle_watts", idle_watts) * number("used_hours", used_hours) * unused / 1000.0)


def break_even_energy_ratio(
    *,
    edge_overhead_factor: Number,
    edge_intensity_g_per_kwh: Number,
    edge_embodied_kg: Number,
    edge_lifetime_years: Number,
    edge_watts: Number,
    edge_used_share: Number = 1.0,
    edge_attribution_weight: Number = 1.0,
    cloud_host_factor: Number,
    cloud_pue: Number,
    cloud_intensity_g_per_kwh: Number,
    cloud_embodied_g_per_kwh: Number = 0.0,
    network_g_per_kwh: Number = 0.0,
) -> Any:
    """How many times less energy than the cloud's GPU board the edge must use to break even.

    r* = [κ·I_e + α·TE_e·1000/(L_e·8760·u_e·P_kW)] / [h·PUE·I_c + m_c − n]. The edge wins when its energy ratio (cloud
    board energy over edge energy, both at their meters) exceeds r*.

    Args:
        edge_attribution_weight: α, 0 for `sunk`, 1 for `time_share` (with u_e = 1) and `used_hours`.
        edge_watts: the edge device's draw in training, W.
        cloud_embodied_g_per_kwh: m_c, the cloud's embodied charge for each kWh of board energy.
        network_g_per_kwh: n, what moving the data to the edge emits for each kWh of board energy that is avoided.

    Returns:
        r*; infinity where the denominator is not positive: then no ratio is enough.
    """
    hours_per_kwh = 1000.0 / positive("edge_watts", edge_watts)
    used_hours = positive("edge_lifetime_years", edge_lifetime_years) * HOURS_PER_YEAR
    used_hours = used_hours * positive_share("edge_used_share", edge_used_share)
    embodied = number("edge_embodied_kg", edge_embodied_kg) * 1000.0 / used_hours * hours_per_kwh
    overhead = number("edge_overhead_factor", edge_overhead_factor)
    edge = overhead * number("edge_intensity_g_per_kwh", edge_intensity_g_per_kwh)
    edge = edge + share("edge_attribution_weight", edge_attribution_weight) * embodied
    host, pue = number("cloud_host_factor", cloud_host_factor), number("cloud_pue", cloud_pue)
    cloud = host * pue * number("cloud_intensity_g_per_kwh", cloud_intensity_g_per_kwh)
    cloud = cloud + number("cloud_embodied_g_per_kwh", cloud_embodied_g_per_kwh)
    cloud = cloud - number("network_g_per_kwh", network_g_per_kwh)
    edge, cloud = np.broadcast_arrays(edge, cloud)
    return plain(np.divide(edge, cloud, out=np.full(cloud.shape, np.inf), where=cloud > 0))


def _at_most_the_lifetime(name: str, hours: Any, lifetime: Any) -> None:
    if np.any(hours > lifetime):
        longest, shortest = float(np.max(hours)), float(np.min(lifetime))
        raise ValueError(f"{name}: {longest:g} h is longer than the lifetime of {shortest:g} h")


def _tenants(tenants: Number) -> Any:
    array = positive("tenants", tenants)
    if np.any(array < 1):
        raise ValueError(f"tenants: expected at least 1, found {float(np.min(array)):g}")
    return array
