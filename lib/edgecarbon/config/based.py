"""`based_on` in a scenario: a file that holds only what differs from another scenario."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeGuard

from edgecarbon.config.base import nearest, read_yaml
from edgecarbon.errors import UserError

OWN = ("title", "description")
"""What says which scenario it is, and is never inherited."""
WHOLE = {"value", "zone"}
"""Keys that mark a literal or a choice of grid: part of one would go with a source that speaks of another."""


def scenario_files(path: Path) -> list[Path]:
    """The files that a scenario is made of: the one that is based on nothing first, `path` last.

    Raises:
        UserError: a base that is missing, a circle, or a file that cannot be read.
    """
    return [file for file, _ in _chain(path)]


def read_scenarios(path: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The files of `scenario_files`, each with its scenario in full: its own fields over those of its base.

    Raises:
        UserError: as `scenario_files`.
    """
    full: dict[str, Any] = {}
    found = []
    for file, own in _chain(path):
        full = _over({name: value for name, value in full.items() if name not in OWN}, own)
        found.append((file, full))
    return found


def _chain(path: Path) -> list[tuple[Path, dict[str, Any]]]:
    chain: list[tuple[Path, dict[str, Any]]] = []
    file: Path | None = path
    while file is not None:
        if file in (before for before, _ in chain):
            circle = " -> ".join([*(before.stem for before, _ in chain), file.stem])
            raise UserError(f"{path}: based_on: goes in a circle ({circle}); one of them must be based on nothing")
        data = read_yaml(file)
        chain.append((file, data))
        file = _base(file, data.get("based_on"))
    return chain[::-1]


def _base(file: Path, name: Any) -> Path | None:
    if name is None:
        return None
    if not isinstance(name, str):
        raise UserError(f"{file}: based_on: expected the name of a scenario beside this file (found {name!r})")
    others = sorted(other.stem for other in file.parent.glob("*.yaml") if other != file)
    if name not in (*others, file.stem):
        raise UserError(f"{file}: based_on: '{name}' is not in {file.parent}; {nearest(name, others)}")
    return file.parent / f"{name}.yaml"


def _over(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """`own` over `base`: sections field by field, everything else whole."""
    merged = dict(base)
    for name, value in own.items():
        old = merged.get(name)
        merged[name] = _over(old, value) if _is_section(old) and _is_section(value) else value
    return merged


def _is_section(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict) and not WHOLE & value.keys()
