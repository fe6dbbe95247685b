"""Numbers as readers want them: as many digits as the uncertainty carries, SI prefixes, a value with its interval."""

from __future__ import annotations

import math

_PREFIXES = {-9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P"}
MINUS = "\u2212"
# When the interval's ends are this far apart, no common number of decimals suits both.
_WIDE = 3.0


def significant(value: float, digits: int = 2) -> str:
    """`value` rounded to `digits` significant digits, without an exponent: 0.042, 1.3, 47, 12,000."""
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, decimals)
    # Rounding up may add a digit: 9.96 at two digits is 10, not 10.0.
    decimals = digits - 1 - math.floor(math.log10(abs(rounded)))
    return grouped(rounded, decimals)


def grouped(value: float, decimals: int) -> str:
    """`value` with so many decimals (negative: rounded to tens, hundreds …), thousands grouped, a true minus sign."""
    rounded = round(value, decimals)
    return f"{rounded:,.{max(decimals, 0)}f}".replace("-", MINUS)


def interval(value: float, low: float | None, high: float | None) -> tuple[str, str]:
    """A value and its interval as texts.

    Two significant digits of the half-width decide the decimals of all three; where the ends are more than a factor 3
    apart, each number gets two significant digits of its own. One without an upper end goes on without bound. Without an
    interval: three digits and an empty text.
    """
    if low is not None and high is None:
        return significant(value), f"{significant(low)} and more"
    if low is None or high is None or high < low:
        return significant(value, 3), ""
    if low <= 0 or high / low > _WIDE:
        return significant(value), f"{significant(low)}–{significant(high)}"
    half = (high - low) / 2
    if half == 0:
        return significant(value, 3), ""
    decimals = 1 - math.floor(math.log10(half))
    return grouped(value, decimals), f"{grouped(low, decimals)}–{grouped(high, decimals)}"


def prefix_for(value: float) -> tuple[float, str]:
    """The SI prefix that brings `value` between 1 and 1000: (divisor, letter)."""
    if value == 0 or not math.isfinite(value):
        return 1.0, ""
    exponent = 3 * math.floor(math.log10(abs(value)) / 3)
    exponent = min(max(exponent, min(_PREFIXES)), max(_PREFIXES))
    return 10.0**exponent, _PREFIXES[exponent]


def quantity(value: float | None, low: float | None, high: float | None, unit: str) -> str:
    """A value with unit and interval, e.g. `13.2 kJ (11.9–14.5)`; `no reading` for None."""
    if value is None:
        return "no reading"
    divisor, letter = prefix_for(value)
    scaled_low, scaled_high = (None if end is None else end / divisor for end in (low, high))
    middle, ends = interval(value / divisor, scaled_low, scaled_high)
    text = f"{middle} {letter}{unit}"
    return f"{text} ({ends})" if ends else text


def duration(seconds: float | None) -> str:
    """Seconds as a reader says them: 8.4 s, 12 min, 3.1 h."""
    if seconds is None:
        return "–"
    if seconds < 120:
        return f"{significant(seconds)} s"
    return f"{significant(seconds / 60)} min" if seconds < 7200 else f"{significant(seconds / 3600)} h"


def percent(probability: float | None) -> str:
    """A probability as a percentage. It is a share of draws: were all on one side, that would still be no certainty."""
    if probability is None:
        return "–"
    if probability > 0.99:
        return "> 99 %"
    if probability < 0.01:
        return "< 1 %"
    return f"{100 * probability:.0f} %"


def plain(value: float | None) -> str:
    """A number as it was given, to six significant digits: 1.135, 50, 0.0000139, 12,000."""
    if value is None:
        return "–"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, 5 - math.floor(math.log10(abs(value))))
    text = grouped(value, decimals)
    return text.rstrip("0").rstrip(".") if "." in text else text
