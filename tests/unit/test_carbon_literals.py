"""Numbers given in full in a scenario: where they may stand, what comes of them, and that the documents say so."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
import yaml
from carbon_cases import CONFIG, DEFAULT, INPUTS, certain, facts, literal, run, scenario, total, verdict

from edgecarbon.carbon.evaluation import Result, evaluate
from edgecarbon.carbon.labels import label
from edgecarbon.config.base import read_yaml
from edgecarbon.config.quantities import Distribution
from edgecarbon.config.resolve import load_scenario
from edgecarbon.errors import UserError

README = (CONFIG / "README.md").read_text(encoding="utf-8")
SCHEMA = jsonschema.Draft202012Validator(json.loads((CONFIG / "schema/scenario.schema.json").read_text("utf-8")))
OWN = {"based_on": "default", "title": "Mine", "description": "Made for a test."}
NETWORK = literal(0.005, "kWh/GB", 0.0025, 0.01)
RADIO = {"watts": literal(0.5, "W"), "speed": literal(10, "MB/s")}
BATTERY = {
    "embodied_share": literal(0.03), "rated_cycles": literal(500, "cycles"), "capacity": literal(17, "Wh"),
}  # fmt: skip


# --- what comes of a literal


def judged(folder: Path, device: dict[str, Any], **changes: Any) -> Result:
    """A million tokens of 10,000 bytes, so 10 GB, at the edge, on 400 g/kWh."""
    changes = {"draws": 400, "traffic__bytes_per_token": literal(10_000, "B/token"), **changes}
    runs = [run("e", "edge", boundary="battery"), run("c", "cloud")]
    devices = {"e": {**facts("edge"), **device}, "c": facts("cloud")}
    return evaluate(scenario(folder, **certain(**changes)), INPUTS, devices, runs)


@pytest.mark.parametrize(
    ("path", "grams"),
    [
        ([NETWORK], 10 * 0.005 * 400),
        ([NETWORK, "data-centre-core", NETWORK], 10 * (0.005 + 0.001 + 0.005) * 400),
        ([RADIO], 10_000 / 10 * 0.5 / 3.6e6 * 400),
    ],
    ids=["once", "twice", "radio"],
)
def test_a_segment_given_in_full_is_crossed_as_often_as_it_is_listed(tmp_path: Path, path: list[Any], grams: float):
    found = total(judged(tmp_path, {}, edge__data_path=path), "e")
    assert found["network_grams"] == pytest.approx(grams, rel=1e-12)


def test_the_same_literal_in_several_places_is_one_assumption(tmp_path: Path):
    other = {**NETWORK, "source": "made for a test, by another"}
    found = scenario(tmp_path, cloud__data_path=["data-centre-core", NETWORK], edge__data_path=[NETWORK, other, NETWORK],
                     edge__weights_path=[RADIO, NETWORK, RADIO])  # fmt: skip
    first = found.cloud.data_path[1]
    assert first.per_gigabyte.name == "scenario/cloud.data_path.1"
    assert (found.edge.data_path[0], found.edge.data_path[2], found.edge.weights_path[1]) == (first, first, first)
    assert found.edge.data_path[1].per_gigabyte.name == "scenario/edge.data_path.1"
    radio = found.edge.weights_path[0]
    assert [one.name for one in radio.assumptions] == [f"scenario/edge.weights_path.0.{n}" for n in ("watts", "speed")]
    assert found.edge.weights_path[2] == radio
    assert label(radio.watts) == "edge: weights path 0 watts"


def test_what_both_sides_cross_cancels_between_them(tmp_path: Path):
    """The network outweighs all else a thousand times: both totals have its range, their ratio has none."""
    loud = literal(100, "kWh/GB", 50, 200)
    result = judged(tmp_path, {}, attributions=["sunk"], cloud__data_path=[loud], edge__data_path=[loud])
    row = total(result, "e", "sunk")
    assert row["total_high_grams"] / row["total_low_grams"] > 3
    found = verdict(result, "sunk")
    assert found["ratio_high"] / found["ratio_low"] == pytest.approx(1, abs=0.01)
    (told,) = (one for one in result.assumptions if one["name"].endswith("data_path.0"))
    assert (told["name"], told["unit"], told["low"], told["high"]) == ("scenario/cloud.data_path.0", "kWh/GB", 50, 200)


def test_a_battery_given_in_full_stands_where_the_footprint_names_none(tmp_path: Path):
    def wear(battery: Any, **device: Any) -> float:
        result = judged(tmp_path, {"battery": True, **device}, edge__battery=battery)
        return total(result, "e", "marginal_wear")["embodied_grams"]

    phone = INPUTS.batteries.entries["phone"].model_dump()
    assert wear(phone) == wear("phone") > 0
    sooner = {**phone, "rated_cycles": literal(250, "cycles")}
    assert wear(sooner) == pytest.approx(2 * wear(phone), rel=1e-12)
    # A footprint that names its battery keeps it.
    owned = {"embodied": "snapdragon-888-phone"}
    assert wear(sooner, **owned) == wear(phone, **owned)
    names = [one.name for one in vars(scenario(tmp_path, edge__battery=phone).battery).values()]
    assert names == [f"scenario/edge.battery.{part}" for part in phone]


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("edge__data_path", [{**NETWORK, "unit": "kWh"}], "edge.data_path.0: unit: Input should be 'kWh/GB' (found 'kWh')"),
        ("edge__weights_path", ["wifi-half-watt", {**NETWORK, "low": 1.0}], "edge.weights_path.1: the range is upside down"),
        ("cloud__data_path", [{"value": 0.06}], "cloud.data_path.0.unit: required, and not given"),
        ("cloud__data_path", [{**NETWORK, "sorce": "s"}], "cloud.data_path.0.sorce: no such field; did you mean 'source'?"),
        ("cloud__data_path", [0.06], "data_path.0: expected the key of an entry in config/inputs/network.yaml, or in kWh/GB"),
        ("cloud__data_path", NETWORK, "cloud.data_path: expected a list, such as [a, b]"),
        ("edge__data_path", ["fixed-network", "fixed-netwrk"], "edge.data_path.1: 'fixed-netwrk' is not in"),
        ("edge__data_path", [{"watts": literal(0.5, "W")}], "edge.data_path.0.speed: required, and not given"),
        ("edge__data_path", [{**RADIO, "speed": literal(10, "Mbit/s")}], "edge.data_path.0.speed: unit: Input should be 'MB/s'"),
        ("edge__battery", "fone", "edge.battery: 'fone' is not in"),
        ("edge__battery", "my phone", "edge.battery: String should match"),
        ("edge__battery", 500, "edge.battery: expected the key of an entry in config/inputs/batteries.yaml, or embodied_share"),
        ("edge__battery", {**BATTERY, "capasity": literal(17, "Wh")}, "edge.battery.capasity: no such field; did you mean"),
        ("edge__battery", {"capacity": literal(17, "Wh")}, "edge.battery.embodied_share: required, and not given"),
        ("edge__battery", {**BATTERY, "capacity": literal(17, "mAh")}, "edge.battery.capacity: unit: Input should be 'Wh'"),
    ],
    ids=[
        "unit", "range", "half", "misspelt", "number", "no-list", "key", "half-radio", "radio-unit", "battery-key", "no-key",
        "battery-number", "battery-misspelt", "battery-half", "battery-unit",
    ],
)  # fmt: skip
def test_a_literal_that_is_wrong_is_told_with_its_field(tmp_path: Path, field: str, value: Any, says: str):
    with pytest.raises(UserError) as caught:
        scenario(tmp_path, **{field: value})
    assert says in str(caught.value)


# --- what the documents and the schema say


def test_the_example_of_the_readme_is_a_scenario(tmp_path: Path):
    example = README.partition("```yaml\n")[2].partition("```")[0]
    shutil.copy(CONFIG / "scenarios/default.yaml", tmp_path)
    (tmp_path / "mine.yaml").write_text(example, encoding="utf-8")
    found = load_scenario(tmp_path / "mine.yaml", INPUTS)
    assert found.edge.grid.mean.name == "grid/FRA/2024"
    network = found.edge.data_path[1].per_gigabyte
    assert (network.name, network.distribution) == ("scenario/edge.data_path.1", "log_uniform")
    assert network.value == pytest.approx((network.low * network.high) ** 0.5, rel=1e-3)
    SCHEMA.validate(yaml.safe_load(example))


def test_the_readme_tells_each_distribution():
    table = README.partition("| `distribution` |")[2].partition("\n\n")[0]
    assert re.findall("^\\| `(\\w+)`", table, re.MULTILINE) == list(get_args(Distribution))


@pytest.mark.parametrize("path", sorted((CONFIG / "scenarios").glob("*.yaml")), ids=lambda path: path.stem)
def test_editors_find_shipped_scenarios_right(path: Path):
    SCHEMA.validate(read_yaml(path))
    line = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert json.loads((path.parent / line).read_text(encoding="utf-8")) == SCHEMA.schema


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (OWN, None),
        ({**OWN, "owner": {"currency": "EUR"}, "edge": {"battery": {"capacity": BATTERY["capacity"]}}}, None),
        ({name: value for name, value in OWN.items() if name != "title"}, "'title' is a required property"),
        ({**OWN, "based_on": None}, "'cloud' is a required property"),
        ({**OWN, "edge": {"chargr": "average"}}, "'chargr' was unexpected"),
        ({**OWN, "cloud": {"pue": {"value": 1.2}}}, "is not valid under any of the given schemas"),
        ({**OWN, "edge": {"data_path": [{"watts": RADIO["watts"]}]}}, "is not valid under any of the given schemas"),
        (DEFAULT, None),
        ({**DEFAULT, "traffic": {}}, "'bytes_per_token' is a required property"),
        ({**DEFAULT, "owner": {"currency": "EUR"}}, "'tariff' is a required property"),
        ({**DEFAULT, "owner": None}, None),
    ],
    ids=[
        "bare", "parts", "untitled", "based-on-nothing", "misspelt", "half-literal", "half-radio", "whole", "half-section",
        "half-owner", "no-owner",
    ],
)  # fmt: skip
def test_editors_ask_of_a_scenario_what_its_base_does_not_give(data: dict[str, Any], fault: str | None):
    messages = [error.message for error in SCHEMA.iter_errors(data)]
    assert (messages == []) if fault is None else any(fault in message for message in messages)
