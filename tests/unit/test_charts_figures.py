"""Numbers as texts: as many digits as the uncertainty carries, and no false certainty."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecarbon.charts import figures


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(0, 2, "0"), (0.0421, 2, "0.042"), (1.26, 2, "1.3"), (9.96, 2, "10"), (0.0999, 2, "0.10"), (47.3, 2, "47"),
     (12_345, 2, "12,000"), (12_345, 3, "12,300"), (-1.26, 2, "−1.3")],
)  # fmt: skip
def test_significant(value: float, digits: int, text: str) -> None:
    assert figures.significant(value, digits) == text


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (123.456, 117.8, 129.1, ("123.5", "117.8–129.1")),
        (13.244, 11.9, 14.6, ("13.2", "11.9–14.6")),
        (98_765.0, 97_300.0, 100_200.0, ("98,800", "97,300–100,200")),
        (1.5, 0.12, 45.0, ("1.5", "0.12–45")),
        (1.5, 0.0, 3.0, ("1.5", "0–3.0")),
        (5.0, 5.0, 5.0, ("5.00", "")),
        (5.0, None, None, ("5.00", "")),
        (5.0, 6.0, 4.0, ("5.00", "")),
    ],
)
def test_interval(value: float, low: float | None, high: float | None, expected: tuple[str, str]) -> None:
    assert figures.interval(value, low, high) == expected


@pytest.mark.parametrize(
    ("value", "low", "high", "unit", "text"),
    [
        (13_244.0, 11_900.0, 14_600.0, "J", "13.2 kJ (11.9–14.6)"),
        (0.000_42, 0.000_3, 0.000_54, "g", "420 µg (300–540)"),
        (0.42, None, None, "g", "420 mg"),
        (999.9, None, None, "J", "1,000 J"),
        (9.9e14, None, None, "FLOP/s", "990 TFLOP/s"),
        (0.0, None, None, "g", "0 g"),
        (None, None, None, "J", "no reading"),
    ],
)
def test_quantity(value: float | None, low: float | None, high: float | None, unit: str, text: str) -> None:
    assert figures.quantity(value, low, high, unit) == text


@given(st.floats(1e-12, 1e18), st.floats(0.001, 0.9))
def test_a_quantity_keeps_its_value_within_its_uncertainty(value: float, relative: float) -> None:
    text = figures.quantity(value, value * (1 - relative), value * (1 + relative), "J")
    number, _, unit = text.split(" (")[0].partition(" ")
    exponent = {letter: power for power, letter in figures._PREFIXES.items()}[unit.removesuffix("J")]
    assert float(number.replace(",", "")) * 10.0**exponent == pytest.approx(value, rel=max(0.06, relative * 0.06))


@pytest.mark.parametrize(
    ("probability", "text"),
    [(0.0, "< 1 %"), (0.004, "< 1 %"), (0.5, "50 %"), (0.995, "> 99 %"), (1.0, "> 99 %"), (None, "–")],
)
def test_percent_never_claims_a_certainty(probability: float | None, text: str) -> None:
    assert figures.percent(probability) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.135, "1.135"),
        (50.0, "50"),
        (1.39e-5, "0.0000139"),
        (35_040.0, "35,040"),
        (0.0, "0"),
        (None, "–"),
        (-0.5, "−0.5"),
    ],
)
def test_plain_keeps_a_number_as_it_was_given(value: float | None, text: str) -> None:
    assert figures.plain(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.296, "0.30 s"), (61.0, "61 s"), (481.0, "8.0 min"), (26_000.0, "7.2 h"), (None, "–")]
)
def test_duration(seconds: float | None, text: str) -> None:
    assert figures.duration(seconds) == text
