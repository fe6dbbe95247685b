"""What each scenario stands for, and in words what it decides that is no number with a source: table `scenarios`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb

from edgecarbon.charts.style import ATTRIBUTIONS, Row, rows

_ABOVE_IDLE = "what lies above idle (all of it where no idle was measured)"


def told(connection: duckdb.DuckDBPyConnection) -> dict[str, Row]:
    """The rows of `scenarios` by name, each with its `choices`."""
    found = rows(connection, "SELECT * FROM scenarios ORDER BY scenario")
    return {row["scenario"]: {**row, "choices": choices(row)} for row in found}


def choices(row: Row) -> list[str]:
    """A phrase for each choice, the same in all scenarios that choose alike."""
    facts = "a device’s own lifetime, use, grid and server go first"
    if not row["device_facts_first"]:
        facts = "use, grid and server are the scenario’s for every device, and lifetime where the scenario gives one"
    return [
        _energy(row),
        _making(row),
        facts,
        f"training data cross {_path(row['cloud_data_path'])} to the cloud and {_path(row['edge_data_path'])} to the edge",
        _weights(row),
        f"what members of a fleet send each other crosses {_path(row['edge_weights_path'])}",
        f"{row['draws']:,} draws from seed {row['seed']}",
        f"Sobol’s N is {row['sobol_samples']:,}, with {row['morris_trajectories']:,} trajectories of Morris",
    ]


def seeds(found: Mapping[str, Row]) -> str:
    """The seed of the draws; where scenarios differ in it, each seed with its scenarios."""
    names: dict[int, list[str]] = {}
    for name, row in found.items():
        names.setdefault(row["seed"], []).append(name)
    if len(names) < 2:
        return "".join(map(str, names))
    return ", ".join(f"{seed} ({', '.join(members)})" for seed, members in names.items())


def _energy(row: Row) -> str:
    on_anyway = "edge devices would be on anyway; " if row["edge_already_on"] else ""
    if row["energy"] == "net":
        return f"{on_anyway}of all energy {_ABOVE_IDLE} is charged"
    if on_anyway:
        return f"{on_anyway}of their energy {_ABOVE_IDLE} is charged, and all of the cloud’s"
    return "all energy that the meters saw is charged"


def _making(row: Row) -> str:
    ways = [ATTRIBUTIONS.get(name, name) for name in row["attributions"]]
    cloud = "always by used hours" if row["cloud_attribution"] == "used_hours" else "likewise"
    return f"the making of edge devices is charged by {', '.join(ways)}, that of the cloud {cloud}"


def _weights(row: Row) -> str:
    if row["weights_every_steps"] is None:
        return "no weights are exchanged"
    cloud, edge = _path(row["cloud_weights_path"]), _path(row["edge_weights_path"])
    return f"weights are exchanged every {row['weights_every_steps']:,} steps, over {cloud} in the cloud and {edge} at the edge"


def _path(segments: Sequence[str]) -> str:
    return " + ".join(segments) or "no network"
