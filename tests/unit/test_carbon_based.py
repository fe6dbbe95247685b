"""Scenarios that are based on others: what is inherited, what is replaced whole, and whose mistake is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import carbon_cases as cases
import pytest
import yaml

from edgecarbon.config.based import read_scenarios, scenario_files
from edgecarbon.config.resolve import load_scenario
from edgecarbon.errors import UserError

OWN = {"based_on": "default", "title": "Mine", "description": "Made for a test."}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "default", cases.DEFAULT)
    return tmp_path


def write(folder: Path, name: str, data: dict[str, Any]) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


def full(path: Path) -> dict[str, Any]:
    return read_scenarios(path)[-1][1]


def test_what_is_not_given_is_inherited(folder: Path):
    path = write(folder, "mine", {**OWN, "cloud": {"pue": "aws"}, "edge": {"practice": {"churn": cases.literal(1.5)}}})
    found, default = load_scenario(path, cases.INPUTS), load_scenario(folder / "default.yaml", cases.INPUTS)
    assert (found.name, found.settings.title, found.file) == ("mine", "Mine", str(path))
    assert found.cloud.site_factor.name == "pue/aws"
    assert found.edge.practice["churn"].value == 1.5
    # The neighbours of what was given, in the same section and elsewhere.
    assert found.cloud.utilisation == default.cloud.utilisation
    assert found.settings.edge.data_path == default.settings.edge.data_path
    assert found.prices == default.prices
    assert default.cloud.site_factor.name == "pue/gcp"


def test_a_file_with_nothing_of_its_own_is_its_base(folder: Path):
    found = load_scenario(write(folder, "mine", OWN), cases.INPUTS)
    default = load_scenario(folder / "default.yaml", cases.INPUTS)
    assert (found.cloud, found.edge, found.boundaries) == (default.cloud, default.edge, default.boundaries)


def test_literals_grids_and_lists_are_replaced_whole(folder: Path):
    literal = {**cases.literal(0.5), "source": "another"}
    del literal["low"], literal["high"]
    grid = cases.literal(50.0, "gCO2e/kWh")
    path = write(folder, "mine", {
        **OWN, "attributions": ["sunk"], "cloud": {"grid": grid, "resource_share": literal},
        "edge": {"grid": {"zone": "FRA", "year": 2024}, "data_path": []},
    })  # fmt: skip
    found = full(path)
    assert found["cloud"]["resource_share"] == literal
    assert (found["cloud"]["grid"], found["edge"]["grid"]) == (grid, {"zone": "FRA", "year": 2024})
    assert (found["attributions"], found["edge"]["data_path"]) == (["sunk"], [])
    # A grid by zone over a literal, and over one by zone whose profile must not stay.
    other, hourly = {"zone": "DEU", "year": 2024}, {"zone": "FRA", "year": 2024, "profile": "illustration-solar-dip"}
    grown = write(folder, "grown", {**OWN, "based_on": "mine", "cloud": {"grid": other}, "edge": {"grid": hourly}})
    last = write(folder, "last", {**OWN, "based_on": "grown", "edge": {"grid": other}})
    assert (full(grown)["cloud"]["grid"], full(grown)["edge"]["grid"]) == (other, hourly)
    assert full(last)["edge"]["grid"] == other
    # Half a literal over a whole one would go under the other's source.
    half = write(folder, "half", {**OWN, "cloud": {"resource_share": {"value": 0.5}}})
    with pytest.raises(UserError, match=r"half\.yaml: cloud\.resource_share\.unit: required, and not given"):
        load_scenario(half, cases.INPUTS)


def test_null_takes_away_what_the_base_has(folder: Path):
    assert load_scenario(folder / "default.yaml", cases.INPUTS).prices is not None
    assert load_scenario(write(folder, "mine", {**OWN, "owner": None}), cases.INPUTS).prices is None


def test_a_chain_takes_the_nearest(folder: Path):
    write(folder, "first", {**OWN, "cloud": {"pue": "aws"}, "edge": {"charger": "average"}})
    path = write(folder, "second", {**OWN, "based_on": "first", "cloud": {"pue": "azure"}})
    found = load_scenario(path, cases.INPUTS)
    assert (found.cloud.site_factor.name, found.edge.site_factor.name) == ("pue/azure", "charger_factor/average")
    assert scenario_files(path) == [folder / "default.yaml", folder / "first.yaml", path]
    assert scenario_files(folder / "default.yaml") == [folder / "default.yaml"]


@pytest.mark.parametrize("missing", ["title", "description"])
def test_title_and_description_are_its_own(folder: Path, missing: str):
    path = write(folder, "mine", {name: value for name, value in OWN.items() if name != missing})
    with pytest.raises(UserError, match=rf"mine\.yaml: {missing}: required, and not given"):
        load_scenario(path, cases.INPUTS)


def test_differences_from_nothing_are_told_of_a_base(folder: Path):
    own = {**OWN, "edge": {"grid": {"zone": "FRA", "year": 2024}}}
    del own["based_on"]
    with pytest.raises(UserError, match=r"mine\.yaml: cloud: required, and not given\n(.*\n)*.*`based_on: default`"):
        load_scenario(write(folder, "mine", own), cases.INPUTS)


def test_a_mistake_in_the_base_is_told_as_the_bases(folder: Path):
    write(folder, "first", {**OWN, "cloud": {"pue": "gpc"}})
    path = write(folder, "second", {**OWN, "based_on": "first"})
    with pytest.raises(UserError) as caught:
        load_scenario(path, cases.INPUTS)
    assert str(caught.value).startswith(f"{folder / 'first.yaml'}: cloud.pue: 'gpc' is not in")


def test_a_mistake_of_its_own_is_told_as_its_own(folder: Path):
    path = write(folder, "mine", {**OWN, "edge": {"chargr": "average"}})
    with pytest.raises(UserError) as caught:
        load_scenario(path, cases.INPUTS)
    assert str(caught.value) == f"{path}: edge.chargr: no such field; did you mean 'charger'?"


@pytest.mark.parametrize(
    ("base", "says"),
    [
        ("defautl", "based_on: 'defautl' is not in .*; did you mean 'default'"),
        ("default.yaml", "based_on: 'default.yaml' is not in .*; did you mean 'default'"),
        (["default"], "based_on: expected the name of a scenario beside this file"),
        ("mine", r"based_on: goes in a circle \(mine -> mine\)"),
    ],
)
def test_a_base_that_is_none(folder: Path, base: Any, says: str):
    with pytest.raises(UserError, match=says):
        load_scenario(write(folder, "mine", {**OWN, "based_on": base}), cases.INPUTS)


def test_a_circle_is_told(folder: Path):
    write(folder, "first", {**OWN, "based_on": "second"})
    path = write(folder, "second", {**OWN, "based_on": "first"})
    with pytest.raises(UserError, match=r"second -> first -> second"):
        load_scenario(path, cases.INPUTS)
