"""The energy that left a battery, from the charge or the energy that is left in it."""

from __future__ import annotations


class Drain:
    """∫V·dQ by the trapezoid, in joules, as a counter that starts at 0 and falls while the battery is charged.

    A reading that failed is left out: the next one spans the gap.
    """

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None
        self._joules = 0.0

    def add(self, coulombs: float | None, volts: float | None) -> float | None:
        """Takes the charge left and the voltage; returns the joules drawn so far, or None where either is missing."""
        if coulombs is None or volts is None:
            return None
        if self._last is not None:
            self._joules += (volts + self._last[1]) / 2 * (self._last[0] - coulombs)
        self._last = (coulombs, volts)
        return self._joules
