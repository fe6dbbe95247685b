"""Runs that are missing: the notice above the verdict, and how many of a device's runs the table "What ran" lacks."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from edgecarbon.charts.style import Row, grouped, rows
from edgecarbon.report import words

LINES_SHOWN = 30
"""A notice longer than this would bury the verdict. Reasons that each name another file make a line a run."""

_REASONS = """
WITH asked AS (
  SELECT workload, device, count(*) AS asked
  FROM (SELECT workload, device FROM runs UNION ALL SELECT workload, device FROM missing_runs) GROUP BY ALL)
SELECT m.workload, m.device, m.role, m.kind, m.reason, arg_min(m.remedy, m.repeat) AS remedy, count(*) AS runs,
  any_value(asked.asked) AS asked
FROM missing_runs m JOIN asked ON asked.workload = m.workload AND asked.device = m.device
GROUP BY m.workload, m.device, m.role, m.kind, m.reason ORDER BY m.device, m.workload, min(m.repeat), m.reason
"""


@dataclass(frozen=True)
class Gap:
    """A device that lacks runs of a workload: how many of how many, and the kinds of reason."""

    workload: str
    device: str
    role: str
    runs: int
    asked: int
    kinds: str


def reasons(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    """One row a device, workload and reason, its texts fit to be shown: `runs` of `asked` are missing."""
    found = rows(connection, _REASONS)
    for row in found:
        row["reason"] = words.of_a_device(row["reason"]) or "no reason is known."
        row["remedy"] = words.of_a_device(row["remedy"])
    return found


def gaps(found: list[Row]) -> dict[tuple[str, str], Gap]:
    """The rows of `reasons` by workload and device."""
    gathered = {}
    for (workload, device), members in grouped(found, "workload", "device"):
        kinds = ", ".join(dict.fromkeys(row["kind"] for row in members))
        runs = sum(row["runs"] for row in members)
        gathered[workload, device] = Gap(workload, device, members[0]["role"], runs, members[0]["asked"], kinds)
    return gathered


def beside(ran: list[Row], missing: dict[tuple[str, str], Gap]) -> list[tuple[str, list[Row], list[Gap]]]:
    """Each workload with the rows of "What ran" and, after them, the devices of which no run came about."""
    by_workload = {workload: members for (workload,), members in grouped(ran, "workload")}
    present = {(row["workload"], row["device"]) for row in ran}
    absent = [gap for key, gap in sorted(missing.items()) if key not in present]
    names = dict.fromkeys([*by_workload, *(gap.workload for gap in absent)])
    return [(name, by_workload.get(name, []), [gap for gap in absent if gap.workload == name]) for name in names]
