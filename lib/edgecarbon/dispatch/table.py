"""The probe's reports as a table for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from edgecarbon.progress import printable

Report = dict[str, Any]
UNKNOWN = "–"


def table(reports: Iterable[Report]) -> str:
    """One line a device, then what is missing on each with the way out, then the meters of each."""
    reports = list(reports)
    rows = [list(COLUMNS), *([_cell(draw, report) for draw in COLUMNS.values()] for report in reports)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    for title, entries in (("Meters", _meters), ("Missing", _missing)):
        # What a transport says may name its device already.
        told = [
            f"  {report['device']}: {printable(entry.removeprefix(report['device'] + ': '))}"
            for report in reports
            for entry in entries(report)
        ]
        lines += ["", f"{title}:", *(told or ["  nothing"])]
    return "\n".join(lines) + "\n"


def _cell(draw: Callable[[Report], Any], report: Report) -> str:
    """A cell's text. What a device says may be of any shape."""
    try:
        value = draw(report)
    except (TypeError, KeyError, IndexError, AttributeError, ValueError):
        value = None
    return UNKNOWN if value is None else printable(str(value))[:40]


def _gigabytes(value: float | None) -> str | None:
    return None if value is None else f"{value / 1e9:.1f} GB"


def _accelerators(report: Report) -> str:
    return ", ".join(one["accelerator"] for one in report["found"]["accelerators"])


def _battery(report: Report) -> str | None:
    condition = report["condition"]
    percent, charger = condition["battery_percent"], condition["charger_connected"]
    if percent is None:
        return None
    return f"{percent:.0f} %" + {True: ", charger on", False: ", charger off", None: ""}[charger]


def _hottest(report: Report) -> str | None:
    hottest = report["condition"]["hottest_celsius"]
    return None if hottest is None else f"{hottest:.0f} °C"


def _clock(report: Report) -> str:
    """The device's clock less this one; over a pipe on one machine it is far below a millisecond."""
    offset_us, unsure_us = (report["clock"][name] * 1e6 for name in ("offset_s", "uncertainty_s"))
    if max(abs(offset_us), unsure_us) < 1000:
        return f"{round(offset_us):+d} ± {round(unsure_us)} µs"
    # Adding zero takes the sign from what was rounded to nothing.
    return f"{round(offset_us / 1e3, 1) + 0.0:+.1f} ± {unsure_us / 1e3:.1f} ms"


COLUMNS: dict[str, Callable[[Report], Any]] = {
    "device": lambda report: report["device"],
    "by": lambda report: report["transport"],
    "reached": lambda report: "yes" if report["reachable"] else "no",
    "python": lambda report: report["found"]["python"],
    "torch": lambda report: report["found"]["torch"],
    "accelerators": _accelerators,
    "memory": lambda report: _gigabytes(report["condition"]["memory_total_bytes"]),
    "disk free": lambda report: _gigabytes(report["condition"]["disk_free_bytes"]),
    "battery": _battery,
    "hottest": _hottest,
    "throttled": lambda report: {True: "yes", False: "no", None: None}[report["condition"]["throttled"]],
    "clock": _clock,
}


def _meters(report: Report) -> list[str]:
    found = report["found"]
    there = found.get("meters") if isinstance(found, dict) else None
    lines = []
    for meter in [*(there if isinstance(there, list) else []), *report.get("beside", [])]:
        if isinstance(meter, dict) and meter.get("present"):
            channels = [one for one in meter.get("channels", []) if isinstance(one, dict)]
            kinds = sorted(
                {f"{one.get('boundary') or one.get('quantity')} ({one.get('provenance')})" for one in channels}
            )
            beside = ", read from here" if meter.get("runs_on") == "host" else ""
            lines.append(f"{meter.get('meter')}{beside}: {', '.join(kinds)}"[:200])
    return lines


def _missing(report: Report) -> list[str]:
    return [one["what"] + (f" → {one['remedy']}" if one["remedy"] else "") for one in report["missing"]]
