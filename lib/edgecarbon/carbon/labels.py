"""Names of inputs in words, for tables and axes."""

from __future__ import annotations

from edgecarbon.config.assumptions import Assumption
from edgecarbon.config.practice import PRACTICE

# By the first part of an input's name; {} is the rest.
_KINDS = {
    "energy": "energy of {}",
    "repeats": "spread of repeats, {}",
    "grid": "grid intensity, {}",
    "hours": "hours of the day, {}",
    "embodied": "making of {}",
    "lifetimes": "lifetime, {}",
    "utilisation": "utilisation, {}",
    "pue": "PUE, {}",
    "charger_factor": "charger, {}",
    "segments": "network, {}",
    "radios": "radio, {}",
    "batteries": "battery, {}",
    "device": "{} (its own)",
}
_OF_A_REFERENCE_DEVICE = {
    "peak": "peak rate of {}",
    "sustained": "MFU of {} (sustained share of peak)",
    "draw": "draw of {}",
}


def label(one: Assumption) -> str:
    """An input in words: `grid/USA/2024` is `grid intensity, USA 2024`."""
    kind, _, rest = one.name.partition("/")
    if kind == "boundary_factor":
        return f"whole machine, {rest.replace('-', ' ')}"
    if kind in ("energy", "embodied"):
        return _KINDS[kind].format(rest)
    if kind == "reference_devices":
        device, _, part = rest.rpartition("/")
        return _OF_A_REFERENCE_DEVICE[part].format(device)
    words = rest.replace("/", " ").replace("_", " ")
    if kind == "scenario":
        section, _, field = rest.partition(".")
        field = field.removeprefix("practice.").removeprefix("practice_")
        return (
            f"{section}: {field.replace('_', ' ').replace('.', ' ')}"
            if field not in PRACTICE
            else f"{field.replace('_', ' ')} ({section})"
        )
    return _KINDS.get(kind, kind + ", {}").format(words)
