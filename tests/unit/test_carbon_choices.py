"""Whatever a scenario decides stands in table `assumptions` or in table `scenarios`."""

from __future__ import annotations

import copy
import typing
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from carbon_cases import CONFIG, DEFAULT, INPUTS, literal

from edgecarbon.carbon.choices import scenario_row
from edgecarbon.config.base import Section
from edgecarbon.config.quantities import Given
from edgecarbon.config.resolve import load_scenario
from edgecarbon.config.scenario import Scenario
from edgecarbon.store.schema_scenarios import SCENARIOS

# Each with its column, and another value than the default's; where the column says it otherwise, how.
CHOICES: dict[str, tuple[Any, ...]] = {
    "title": ("title", "Mine"),
    "description": ("description", "What I think."),
    "seed": ("seed", 9),
    "draws": ("draws", 123),
    "energy": ("energy", "net"),
    "attributions": ("attributions", ["time_share"]),
    "device_facts_first": ("device_facts_first", False),
    "cloud.attribution": ("cloud_attribution", "as_edge"),
    "cloud.data_path": ("cloud_data_path", ["fixed-network", "fixed-network"], ["segments/fixed-network"] * 2),
    "cloud.weights_path": ("cloud_weights_path", ["data-centre-core"], ["segments/data-centre-core"]),
    "edge.data_path": ("edge_data_path", []),
    "edge.weights_path": ("edge_weights_path", ["wifi-half-watt"], ["radios/wifi-half-watt"]),
    "traffic.weights_every_steps": ("weights_every_steps", 50),
    "counterfactual.edge_already_on": ("edge_already_on", True),
    "sensitivity.sobol_samples": ("sobol_samples", 1024),
    "sensitivity.morris_trajectories": ("morris_trajectories", 30),
}
ELSEWHERE = {"based_on", "owner.currency"}
"""Tested below; and a column of table `owner`."""


def settings(section: type[Section], where: str = "") -> set[str]:
    """Fields that are no numbers with a source, however deep."""
    found = set()
    for name, field in section.model_fields.items():
        inner = list(flat(field.annotation))
        nested = section_of(inner)
        if nested is None or name.endswith("_path"):
            found.add(f"{where}{name}")
        elif Given not in inner:
            found |= settings(nested, f"{where}{name}.")
    return found


def flat(annotation: Any) -> typing.Iterator[Any]:
    yield annotation
    for part in typing.get_args(annotation):
        yield from flat(part)


def section_of(parts: list[Any]) -> Any:
    return next((one for one in parts if isinstance(one, type) and issubclass(one, Section)), None)


def test_no_setting_is_in_no_table() -> None:
    assert settings(Scenario) == CHOICES.keys() | ELSEWHERE


def test_each_choice_comes_out_in_its_column(tmp_path: Path) -> None:
    data = copy.deepcopy(DEFAULT)
    for field, (_, chosen, *_) in CHOICES.items():
        *sections, name = field.split(".")
        target = data
        for section in sections:
            target = target[section]
        assert target[name] != chosen, field
        target[name] = chosen
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    row = scenario_row(load_scenario(path, INPUTS))
    assert row == {"scenario": "mine", "based_on": None, **{column: told[-1] for column, *told in CHOICES.values()}}
    assert list(row) == SCENARIOS.column_names
    assert pa.Table.from_pylist([row], schema=SCENARIOS.arrow_schema()).to_pylist() == [row]


def test_a_base_is_named_and_what_it_decides_is_told() -> None:
    row = scenario_row(load_scenario(CONFIG / "scenarios/stress.yaml", INPUTS))
    assert (row["based_on"], row["edge_already_on"], row["energy"], row["draws"]) == ("default", True, "gross", 4000)


def test_a_segment_given_in_full_has_the_name_of_its_assumption(tmp_path: Path) -> None:
    data = copy.deepcopy(DEFAULT)
    data["edge"]["data_path"] = ["data-centre-core", literal(0.02, "kWh/GB")]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    scenario = load_scenario(path, INPUTS)
    assert scenario_row(scenario)["edge_data_path"] == ["segments/data-centre-core", "scenario/edge.data_path.1"]
