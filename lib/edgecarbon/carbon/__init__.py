"""From energy to carbon: operational, embodied and network, on both sides, with uncertainty.

The package itself holds only the formulas and imports nothing heavier than numpy. `edgecarbon.carbon.evaluation`
applies them to runs under a scenario, and `edgecarbon.carbon.decisions` asks what decides it.
"""

from edgecarbon.carbon.formulas import (
    ATTRIBUTIONS,
    break_even_energy_ratio,
    embodied_grams,
    full_cycles,
    grid_mix,
    multiplexed_idle_kwh,
    network_grams,
    operational_grams,
    radio_joules,
    radio_kwh_per_gb,
    sci,
    wear_grams,
)

__all__ = [
    "ATTRIBUTIONS",
    "break_even_energy_ratio",
    "embodied_grams",
    "full_cycles",
    "grid_mix",
    "multiplexed_idle_kwh",
    "network_grams",
    "operational_grams",
    "radio_joules",
    "radio_kwh_per_gb",
    "sci",
    "wear_grams",
]
