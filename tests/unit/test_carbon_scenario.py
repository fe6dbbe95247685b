"""Scenarios: the shipped one resolves with its sources; mistakes are told with file, field and way out."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgecarbon.carbon.arms import build_arm
from edgecarbon.config.based import read_scenarios
from edgecarbon.config.inputs import load_inputs
from edgecarbon.config.practice import PRACTICE
from edgecarbon.config.resolve import load_scenario
from edgecarbon.errors import UserError

CONFIG = Path(__file__).resolve().parents[2] / "config"
INPUTS = load_inputs(CONFIG / "inputs")
DEFAULT = yaml.safe_load((CONFIG / "scenarios/default.yaml").read_text(encoding="utf-8"))
LITERAL = DEFAULT["edge"]["resource_share"]


def written(folder: Path, field: str, value: Any) -> Path:
    """The default scenario with one field (`section.field`) replaced, or left out for None."""
    data = copy.deepcopy(DEFAULT)
    *sections, name = field.split(".")
    target = data
    for section in sections:
        target = target[section]
    if value is None:
        del target[name]
    else:
        target[name] = value
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted((CONFIG / "scenarios").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_scenarios_resolve(path: Path):
    scenario = load_scenario(path, INPUTS)
    assert scenario.name == path.stem
    for side in (scenario.cloud, scenario.edge):
        for assumption in (*side.grid.assumptions, side.site_factor, side.utilisation, side.resource_share):
            assert assumption.source
            assert assumption.low <= assumption.value <= assumption.high


def test_the_default_is_what_it_says():
    scenario = load_scenario(CONFIG / "scenarios/default.yaml", INPUTS)
    assert scenario.cloud.grid is scenario.edge.grid
    assert (scenario.cloud.grid.mean.name, scenario.cloud.grid.mean.value) == ("grid/USA/2024", 383.5492)
    assert (scenario.cloud.site_factor.name, scenario.edge.site_factor.name) == ("pue/gcp", "charger_factor/marginal")
    assert scenario.boundaries["gpu_board"].value == 1.3
    assert scenario.settings.traffic.weights_every_steps is None
    assert scenario.bytes_per_token.value == 4
    assert [len(part.assumptions) for part in scenario.edge.data_path] == [1, 1, 2]


def test_the_published_sides_and_their_combinations_are_what_they_say():
    def grids(name: str) -> list[list[str]]:
        """Of cloud and edge, what a device draws from that names a zone of its own."""
        scenario = load_scenario(CONFIG / f"scenarios/{name}.yaml", INPUTS)
        mine = {"embodied": "generic-computer", "grid_zone": "POL"}
        arms = (build_arm("d", {**mine, "role": role}, scenario, INPUTS) for role in ("cloud", "edge"))
        return [[one.name for one in arm.grid.assumptions] for arm in arms]

    cloud_side = load_scenario(CONFIG / "scenarios/cacm2024.yaml", INPUTS)
    assert cloud_side.edge.site_factor.value / cloud_side.cloud.site_factor.value == pytest.approx(2.9)
    assert "Not stated by the paper" in cloud_side.cloud.grid.mean.source
    edge_side = load_scenario(CONFIG / "scenarios/hotcarbon2025.yaml", INPUTS)
    (radio,) = edge_side.edge.data_path
    assert (radio.watts.value, radio.speed.value) == (0.5, 10.0)
    assert edge_side.cloud.grid is edge_side.edge.grid
    assert grids("clean-edge") == [["grid/USA/2024"], ["grid/FRA/2024"]]
    assert grids("clean-cloud") == [["grid/FRA/2024"], ["grid/USA/2024"]]
    assert grids("carbon-aware-hours") == [["grid/DEU/2024"], ["grid/DEU/2024", "hours/DEU/germany-2020/greenest-8"]]


def test_stress_switches_on_all_that_the_default_leaves_off():
    def off(node: Any, field: str = "") -> set[str]:
        if not isinstance(node, dict):
            return {field} if node is None or node is False else set()
        return {one for name, part in node.items() for one in off(part, f"{field}.{name}".lstrip("."))}

    files = {name: CONFIG / f"scenarios/{name}.yaml" for name in ("default", "stress")}
    default, stress = (read_scenarios(path)[-1][1] for path in files.values())
    # Lifetimes are null for what stands beside each footprint; a cloud machine is not a phone that leaves or overheats.
    apart = {f"cloud.practice.{name}" for name in PRACTICE} | {"cloud.lifetime", "edge.lifetime"}
    assert off(stress) <= apart
    assert len(off(default) - apart) >= 12
    for side in (load_scenario(files["stress"], INPUTS).cloud, load_scenario(files["stress"], INPUTS).edge):
        assert all("This project's assumption" in one.source for one in side.practice.values())


def test_a_literal_stands_in_for_a_key(tmp_path: Path):
    scenario = load_scenario(written(tmp_path, "cloud.pue", {**LITERAL, "value": 1.2, "high": 1.5}), INPUTS)
    assert (scenario.cloud.site_factor.name, scenario.cloud.site_factor.value) == ("scenario/cloud.pue", 1.2)
    assert scenario.name == "mine"


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("cloud.pue", "gpc", "cloud.pue: 'gpc' is not in"),
        ("cloud.pue", 1.1, "cloud.pue: expected the key of an entry in config/inputs, or a literal"),
        ("cloud.pue", {**LITERAL, "unit": "%"}, "cloud.pue: unit: Input should be '1'"),
        ("cloud.pue", {"value": 1.1}, "source: required, and not given"),
        ("cloud.pue", {**LITERAL, "low": 2.0}, "the range is upside down: low 2 is above high 1"),
        (
            "cloud.lifetime",
            {**LITERAL, "unit": "years", "low": 0.0},
            "cloud.lifetime: low: Input should be greater than 0",
        ),
        (
            "cloud.lifetime",
            {**LITERAL, "unit": "years", "value": -4.0},
            "value: Input should be greater than or equal to 0",
        ),
        (
            "cloud.utilisation",
            {**LITERAL, "high": 1.5},
            "cloud.utilisation: high: Input should be less than or equal to 1",
        ),
        ("cloud.host_embodied", "server-share", "cloud.host_embodied: 'server-share' is not in"),
        ("cloud.attribution", "half", "cloud.attribution: Input should be 'used_hours' or 'as_edge'"),
        ("cloud.grid", "USA", "cloud.grid: expected zone and year, or a literal in gCO2e/kWh"),
        ("cloud.grid", {"zone": "US", "year": 2024}, "cloud.grid: zone 'US' is not in"),
        ("cloud.grid", {"zone": "USA", "year": 2019}, "has no 2019 for zone 'USA'; the nearest year there is 2024"),
        ("cloud.grid", {"zone": "USA"}, "year: required, and not given"),
        ("cloud.grid", LITERAL, "cloud.grid: unit: Input should be 'gCO2e/kWh'"),
        ("edge.grid", {"zone": "Frnace", "year": 2024}, "did you mean 'FRA' (France)?"),
        ("edge.charger", "averag", "edge.charger: 'averag' is not in"),
        ("edge.battery", "fone", "edge.battery: 'fone' is not in"),
        ("edge.data_path", ["fixed-netwrk"], "edge.data_path.0: 'fixed-netwrk' is not in"),
        ("edge.life_lost_per_hour", "heat", "edge.life_lost_per_hour: expected a literal in full; found 'heat'"),
        ("edge.utilisation", "ownr", "did you mean 'owner'?"),
        ("boundaries.soc", None, "boundaries.soc: required, and not given"),
        ("boundaries.soc", "around-sock", "boundaries.soc: 'around-sock' is not in"),
        ("boundaries.sock", "around-soc", "boundaries.sock: no such field; did you mean 'soc'?"),
        (
            "cloud.idle_share",
            {**LITERAL, "high": 1.2},
            "cloud.idle_share: high: Input should be less than or equal to 1",
        ),
        (
            "edge.practice.churn",
            {**LITERAL, "low": 0.9},
            "edge.practice.churn: low: Input should be greater than or equal",
        ),
        (
            "edge.practice.availability",
            {**LITERAL, "low": 0.0},
            "edge.practice.availability: low: Input should be greater",
        ),
        ("edge.practice.chrun", LITERAL, "edge.practice.chrun: no such field; did you mean 'churn'?"),
        ("edge.coordinator", LITERAL, "edge.coordinator: unit: Input should be 'W'"),
        (
            "counterfactual.cloud_hardware_avoided",
            {**LITERAL, "high": 2.0},
            "high: Input should be less than or equal to 1",
        ),
        ("owner.currency", "EUR", "owner.tariff.unit: expected EUR, the owner's currency; found USD/kWh"),
        ("owner.tariff", None, "owner.tariff: required, and not given"),
        ("owner.tariff.unit", "cents", "a currency of three letters per kWh, such as EUR/kWh (found 'cents')"),
        ("sensitivity.sobol_samples", 500, "sobol_samples: expected a power of two, found 500"),
        ("traffic.weights_every_steps", 0, "traffic.weights_every_steps: Input should be greater than or equal to 1"),
        ("traffic.bytes_per_token", "four", "traffic.bytes_per_token: expected a literal in full; found 'four'"),
        ("attributions", ["sunk", "sunk"], "attributions: 'sunk' is listed twice; list each attribution once"),
        ("attributions", ["sank"], "attributions.0: Input should be 'sunk'"),
        ("attributions", [], "attributions: List should have at least 1 item"),
        ("energy", "nett", "energy: Input should be 'gross' or 'net'"),
        ("draws", 10, "draws: Input should be greater than or equal to 100"),
        ("seed", "one", "seed: Input should be a valid integer"),
        ("titel", "x", "titel: no such field; did you mean 'title'?"),
        ("cloud", None, "cloud: required, and not given"),
    ],
)
def test_a_mistake_is_told_with_file_and_field(tmp_path: Path, field: str, value: Any, says: str):
    path = written(tmp_path, field, value)
    with pytest.raises(UserError) as caught:
        load_scenario(path, INPUTS)
    assert str(caught.value).startswith(f"{path}: ")
    assert says in str(caught.value)


def test_a_missing_scenario_is_told(tmp_path: Path):
    with pytest.raises(UserError, match="cannot be read"):
        load_scenario(tmp_path / "none.yaml", INPUTS)
