"""Codes of the database in a reader's words: what a figure covers, what casts doubt on it, which prior it has.

Columns that are read by machines keep the codes; whatever a person reads goes through here.
"""

from __future__ import annotations

from collections.abc import Iterable

BOUNDARIES = {
    "gpu_board": "GPU board",
    "cpu_package": "CPU package",
    "dram": "memory",
    "soc": "system on chip",
    "battery": "whole device, from its battery",
    "wall": "whole device, at the wall",
}
"""What a sensor sees."""
FOOTPRINT_BOUNDARIES = {"whole_device": "whole device", "server_share": "its share of a server"}
"""What was made, where that is no boundary of a sensor."""
FLAG_LABELS = {
    "short": "short window",
    "partial": "partial",
    "gap": "readings missing",
    "stalled": "sensor stood still",
    "wrapped": "counter wrapped",
    "wrap_unreadable": "counter wrapped, maximum unknown",
    "wrap_ambiguous": "counter may have wrapped twice",
    "reset": "counter started anew",
    "charging": "battery was charged",
    "counter_power_disagree": "counter and power disagree",
    "mig_whole_board": "whole board, slice used",
    "no_data": "too few readings",
    "idle_drift": "idle power drifted",
    "thermal_throttling": "throttled for heat",
    "background_load": "other programs at work",
    "clock_offset_unsure": "clocks unsure",
    "current_scale_inferred": "current's unit inferred",
    "log_misaligned": "log out of step",
    "log_partial": "log too short",
}
PRIOR_WORDS = {
    "split_log_uniform": "log-uniform halves",
    "log_uniform": "log-uniform",
    "uniform": "uniform",
    "triangular": "triangular",
    "normal": "normal, 95 %",
    "lognormal": "log-normal, 95 %",
    "student_t": "Student’s t",
}


def boundary_words(boundary: str | None) -> str:
    """A boundary, or several joined by +, as a reader says it; an unknown one as it stands."""
    if not boundary:
        return "boundary unknown"
    known = BOUNDARIES | FOOTPRINT_BOUNDARIES
    return " + ".join(known.get(part, part) for part in boundary.split("+"))


def short_boundary(boundary: str | None) -> str:
    """The same in the fewest words, for axis labels."""
    return " + ".join(part.split(",")[0] for part in boundary_words(boundary).split(" + "))


def flag_words(flags: Iterable[str] | None) -> list[str]:
    """Flags as a reader says them; an unknown one as it stands."""
    return [FLAG_LABELS.get(flag, flag) for flag in flags or []]
