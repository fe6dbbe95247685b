"""The probe's table: clocks in digits that say something, and no device named twice in a line."""

from __future__ import annotations

from typing import Any

import pytest

from edgecarbon.dispatch.table import table


def report(**changed: Any) -> dict[str, Any]:
    usual = {
        "device": "my-laptop",
        "transport": "ssh",
        "reachable": True,
        "condition": None,
        "found": None,
        "missing": [],
    }
    return {**usual, "clock": None, **changed}


@pytest.mark.parametrize(
    ("offset_s", "uncertainty_s", "text"),
    [(-2.1e-6, 8.4e-6, "-2 ± 8 µs"), (-4e-7, 0.0, "+0 ± 0 µs"), (0.0312, 0.0021, "+31.2 ± 2.1 ms"),
     (-0.0004, 0.0015, "-0.4 ± 1.5 ms"), (1e-5, 0.0041, "+0.0 ± 4.1 ms"), (-1e-5, 0.0041, "+0.0 ± 4.1 ms")],
)  # fmt: skip
def test_a_clock_on_the_same_machine_is_told_in_microseconds(offset_s: float, uncertainty_s: float, text: str) -> None:
    told = table([report(clock={"offset_s": offset_s, "uncertainty_s": uncertainty_s})])
    assert f"  {text}\n" in told


def test_what_is_missing_names_its_device_once() -> None:
    missing = [{"what": "my-laptop: ssh: could not resolve the hostname.", "remedy": "try `ssh my-laptop true`"}]
    told = table([report(missing=missing)])
    assert "\n  my-laptop: ssh: could not resolve the hostname. → try `ssh my-laptop true`\n" in told
