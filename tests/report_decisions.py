"""Invented rows of what decides the verdicts: sensitivity, break-even, conventions, the owner's view and claims."""

from __future__ import annotations

import math
from typing import Any

Rows = list[dict[str, Any]]

# name, in words, unit, default, low, high, prior, share of the variance
INPUTS = [
    ("grid/WLD/2024", "grid of the edge device", "gCO2e/kWh", 494.0, 440.0, 550.0, "split_log_uniform", 0.30),
    ("embodied/phone", "making of the edge device", "kgCO2e", 50.0, 15.0, 84.0, "log_uniform", 0.25),
    ("energy/edge", "energy of the edge device", "kWh", 0.5, 0.25, 1.0, "lognormal", 0.20),
    ("charger/marginal", "charger factor", "1", 1.15, 1.05, 1.18, "triangular", 0.02),
    ("overheads/host", "host factor of the cloud", "1", 1.3, 1.1, 1.9, "split_log_uniform", 0.12),
    ("lifetimes/phone", "lifetime of the edge device", "years", 3.0, 2.0, 5.0, "uniform", 0.08),
]
REVERSING = "embodied/phone"
MORE_INPUTS = 10
HOURS_AND_KWH = (24.0, 0.5)
CURRENCY = "EUR"


def tables(verdicts: Rows) -> dict[str, Rows]:
    """Rows by table for rows of table `verdicts`; deterministic, and consistent with one another where they meet."""
    pairs = [row for row in verdicts if row["ratio_cloud_over_edge"]]
    return {
        "break_even": [_break_even(row) for row in pairs],
        "sensitivity": [one for row in pairs for one in _sensitivity(row)],
        "standard": [one for row in pairs for one in _standard(row)],
        "break_even_maps": [_map(row) for row in pairs],
        "owner": [_owner(row) for row in pairs],
        "claims": [*_claims("hotcarbon2025", 2.0), *_claims("default", 0.8)],
    }


def _key(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("scenario", "workload", "cloud_device", "edge_device", "attribution")}


def _break_even(row: dict[str, Any]) -> dict[str, Any]:
    """An input of the pair decides where one can: beyond its range, within it, or (for sunk) none at all."""
    ratio = row["ratio_cloud_over_edge"]
    energy = 1.4 * ratio
    decides = row["attribution"] != "sunk"
    return {
        **_key(row), "ratio_default": ratio, "energy_ratio": energy, "energy_ratio_low": energy / 1.8,
        "energy_ratio_high": energy * 1.8, "break_even_ratio": energy / ratio, "break_even_low": energy / ratio / 1.5,
        "break_even_high": None if row["attribution"] == "used_hours" else energy / ratio * 2,
        "deciding_input": REVERSING if decides else None, "deciding_value": _reversal(ratio) if decides else None,
        "deciding_unit": "kgCO2e" if decides else None, "deciding_distance": _distance(ratio) if decides else None,
    }  # fmt: skip


def _reversal(ratio: float) -> float:
    return 50.0 * ratio


def _distance(ratio: float) -> float:
    value = _reversal(ratio)
    return max(15.0 / value, value / 84.0)


def _sensitivity(row: dict[str, Any]) -> Rows:
    ratio = row["ratio_cloud_over_edge"]
    more = [
        (f"network/segment-{number}", f"network, segment {number}", "kWh/GB", 0.001, 0.0005, 0.002, "log_uniform", 1e-4)
        for number in range(MORE_INPUTS)
    ]
    found = []
    for name, label, unit, value, low, high, distribution, share in [*INPUTS, *more]:
        reverses = name == REVERSING and row["attribution"] != "sunk"
        swing = math.exp(share)
        found.append({
            **_key(row), "input": name, "label": label, "value": value, "low": low, "high": high, "unit": unit,
            "distribution": distribution, "morris_mu_star": 2 * share, "morris_sigma": share / 2,
            "sobol_first": share, "sobol_first_confidence": 0.01, "sobol_total": 1.2 * share,
            "sobol_total_confidence": 0.02, "ratio_at_low": ratio * swing, "ratio_at_high": ratio / swing,
            "reversal_value": _reversal(ratio) if reverses else None,
            "reversal_distance": _distance(ratio) if reverses else None,
        })  # fmt: skip
    return found


def _standard(row: dict[str, Any]) -> Rows:
    found = []
    for years in (2.0, 4.0):
        for share in (0.2, 0.8):
            ratio = row["ratio_cloud_over_edge"] * (years / 4) * share**0.5
            probability = 1 / (1 + math.exp(-6 * math.log(ratio)))
            found.append({
                **_key(row), "lifetime_years": years, "utilisation": share, "ratio_cloud_over_edge": ratio,
                "ratio_low": ratio / 2.2, "ratio_high": ratio * 2.4, "probability_edge_wins": probability,
            })  # fmt: skip
    return found


def _map(row: dict[str, Any]) -> dict[str, Any]:
    columns = [15.0 * 1.5**step for step in range(8)]
    lines = [50.0 * 1.6**step for step in range(6)]
    ratios = [row["ratio_cloud_over_edge"] * (50 / kg) ** 0.5 * (494 / grid) for grid in lines for kg in columns]
    return {
        **_key(row), "x_input": REVERSING, "x_label": "making of the edge device", "x_unit": "kgCO2e",
        "x_values": columns, "y_input": "grid/WLD/2024", "y_label": "grid of the edge device", "y_unit": "gCO2e/kWh",
        "y_values": lines, "ratios": ratios,
    }  # fmt: skip


def _owner(row: dict[str, Any]) -> dict[str, Any]:
    hours, kwh = HOURS_AND_KWH
    saved = 100 * math.log(row["ratio_cloud_over_edge"])
    cycles = 12.0 if row["edge_device"] == "snapdragon-888" else 0.0
    cost = kwh * 0.3 + cycles * 0.08
    return {
        **_key(row), "energy_kwh": kwh, "hours": hours, "tariff_per_kwh": 0.3, "electricity_cost": kwh * 0.3,
        "full_cycles": cycles, "battery_cost": cycles * 0.08, "cost": cost, "cost_low": 0.7 * cost,
        "cost_high": 1.6 * cost, "currency": CURRENCY, "saved_grams": saved, "saved_low_grams": saved - 30,
        "saved_high_grams": saved + 30, "cost_per_kg_saved": 1000 * cost / saved if saved > 0 else None,
    }  # fmt: skip


def _claims(scenario: str, value: float) -> Rows:
    about_devices = {
        "scenario": scenario, "claim": "total-carbon", "paper": "HotCarbon 2025",
        "statement": "Total carbon of the edge is 3.5 to 8 times lower.", "source": "arXiv 2507.01803, abstract",
        "needs": "embodied carbon of the cloud charged in full, that of the edge not at all",
        "own_scenario": "hotcarbon2025", "quantity": "total carbon of the cloud over that of the edge",
        "claimed_low": 3.5, "claimed_high": 8.0,
    }  # fmt: skip
    rows = []
    for edge, factor, holds in (("snapdragon-888", 2.0, "yes"), ("macbook-pro-m2-pro", 1.0, "within range")):
        rows.append({
            **about_devices, "workload": "opt-125m", "cloud_device": "rtx-a5000-bf16", "edge_device": edge,
            "attribution": "sunk", "value": factor * value, "value_low": factor * value / 2,
            "value_high": factor * value * 2, "holds": holds if scenario == "hotcarbon2025" else "no",
        })  # fmt: skip
    rows.append({
        "scenario": scenario, "claim": "charger-overhead", "paper": "CACM 2024",
        "statement": "Chargers use about three times the energy of the phones themselves.",
        "source": "CACM, February 2024", "needs": "idle chargers spread over what they charge",
        "own_scenario": "cacm2024", "quantity": "energy at the plug over that of the phone", "workload": None,
        "cloud_device": None, "edge_device": None, "attribution": None, "claimed_low": 3.0, "claimed_high": None,
        "value": 1.15, "value_low": 1.05, "value_high": 1.18, "holds": "no",
    })  # fmt: skip
    return rows
