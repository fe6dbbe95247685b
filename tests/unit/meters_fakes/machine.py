"""Machines made of text: what tools and kernel files print, answered to a meter over the seconds of a test."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgecarbon.meters.access import Replayed
from edgecarbon.meters.base import Meter
from edgecarbon.meters.integrate import readings

FIXTURES = Path(__file__).parents[1] / "meter_fixtures"


def printed(name: str) -> str:
    """What a tool prints, as a fixture holds it."""
    return (FIXTURES / name).read_text(encoding="utf-8")


def files(name: str) -> dict[str, str | None]:
    """A fixture in the form of `grep -r . FOLDER`: a path, a colon and the file's text, both of which may hold colons."""
    lines = (re.fullmatch(r"(/.*/[^/:]+):(.*)", line) for line in printed(name).splitlines())
    return {line[1]: line[2] for line in lines if line}


def tree(content: Mapping[str, str | None], t_s: float = 0.0) -> list[dict[str, Any]]:
    """Trace entries of files (None: cannot be read) and of the folders that they lie in."""
    folders: dict[str, set[str]] = {}
    for path in content:
        for parent in Path(path).parents:
            child = Path(path).relative_to(parent).parts[0]
            folders.setdefault(str(parent), set()).add(child)
    listed = [{"t_s": t_s, "list": folder, "answer": sorted(names)} for folder, names in folders.items()]
    return [*listed, *reads(content, t_s)]


def reads(content: Mapping[str, str | None], t_s: float) -> list[dict[str, Any]]:
    """Trace entries of files alone: what they hold from `t_s` on."""
    return [{"t_s": t_s, "read": path, "answer": text} for path, text in content.items()]


def watch(meter: Meter, machine: Replayed, times: Iterable[float]) -> list[list[float | None]]:
    """The columns of the meter's channels at `times`."""
    rows = []
    for machine.now_s in times:
        rows.append(meter.read())
    return [list(column) for column in zip(*rows, strict=True)]


def energies(meter: Meter, times: Sequence[float], columns: Sequence[Sequence[float | None]]) -> dict[str, Any]:
    """The reading of each energy and power channel from the first moment to the last, by channel."""
    found = readings(
        meter.channels(), times, columns, "train", times[0], times[-1], sample_period_s=times[1] - times[0]
    )
    return {reading["channel"]: reading for reading in found}
