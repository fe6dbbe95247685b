"""What practice adds, what would be otherwise, what owners pay: each switch by hand, and no unit in another's place."""

from __future__ import annotations

import copy
import fnmatch
import json
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml
from carbon_cases import CONFIG, DEFAULT, INPUTS, KWH, certain, facts, literal, run, scenario, total, verdict
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecarbon.carbon.evaluation import evaluate
from edgecarbon.config import inputs, parts, profiles
from edgecarbon.config.assumptions import Assumption
from edgecarbon.config.base import Section, models_in, validate
from edgecarbon.config.grid import GridFile
from edgecarbon.config.quantities import Given, Quantity
from edgecarbon.config.resolve import load_scenario
from edgecarbon.config.scenario import Scenario
from edgecarbon.errors import UserError

GRID_G = 400.0
MADE_G = 5000 / (4 * 8760)  # of a small computer of 5 kg and 4 years, for each hour that a run holds it


def judged(folder: Path, runs: list[dict[str, Any]], devices: dict[str, Any] | None = None, /, **changes: Any):
    """Runs under a scenario of round numbers."""
    named = devices or {one["device"]: facts(one["role"]) for one in runs}
    return evaluate(scenario(folder, **certain(**changes)), INPUTS, named, runs)


# --- practice

MOVES = {
    "traffic__weights_every_steps": 50,
    "edge__data_path": ["fixed-network"],
    "edge__weights_path": ["fixed-network"],
}
# Four bytes for each of a million tokens; two exchanges there and back of a thousand parameters of four bytes.
MOVED_G = (4e6 + 2 * 2 * 1000 * 4) / 1e9 * 0.00265 * GRID_G


@pytest.mark.parametrize(
    ("kind", "practice", "energy", "time", "moved"),
    [
        ("measured", {}, 1, 1, 1),
        ("measured", {"availability": 0.5}, 1, 2, 1),
        ("measured", {"churn": 1.25}, 1.25, 1.25, 1.25),
        ("measured", {"replication": 3.0}, 3, 3, 3),
        ("measured", {"recomputation": 1.3, "throttling_energy": 1.2, "throttling_time": 1.5}, 1, 1, 1),
        ("modelled", {"recomputation": 1.3}, 1.3, 1.3, 1),
        ("modelled", {"throttling_energy": 1.2}, 1.2, 1, 1),
        ("modelled", {"throttling_time": 1.5}, 1, 1.5, 1),
        (
            "modelled",
            {"availability": 0.5, "churn": 1.25, "replication": 2.0, "recomputation": 1.3, "throttling_time": 1.5},
            1.25 * 2 * 1.3,
            1.25 * 2 * 1.3 * 1.5 / 0.5,
            1.25 * 2,
        ),
    ],
)
def test_practice_multiplies_energy_time_and_traffic(tmp_path, kind, practice, energy, time, moved):
    given_ = {name: literal(value) for name, value in practice.items()}
    row = total(judged(tmp_path, [run("d", "edge", record_kind=kind)], **MOVES, edge__practice=given_), "d")
    assert row["operational_grams"] == pytest.approx(energy * GRID_G)
    assert row["embodied_grams"] == pytest.approx(time * MADE_G)
    assert row["network_grams"] == pytest.approx(moved * MOVED_G)
    assert row["energy_joules"] == KWH  # what was metered stays what it is


def test_practice_of_one_side_leaves_the_other_alone(tmp_path):
    runs = [run("c", "cloud"), run("e", "edge")]
    plain, more = (judged(tmp_path, runs, cloud__practice=practice) for practice in ({}, {"replication": literal(2)}))
    assert total(more, "e") == total(plain, "e")
    for part in ("operational_grams", "embodied_grams"):
        assert total(more, "c")[part] == pytest.approx(2 * total(plain, "c")[part])
    ratios = [verdict(one, "time_share")["ratio_cloud_over_edge"] for one in (plain, more)]
    assert ratios[1] == pytest.approx(2 * ratios[0])


def test_what_practice_adds_is_named(tmp_path):
    result = judged(tmp_path, [run("d", "edge")], edge__practice={"availability": literal(0.5, low=0.4, high=0.6)})
    (row,) = (row for row in result.assumptions if row["name"] == "scenario/edge.practice.availability")
    assert (row["value"], row["low"], row["high"], row["used_by"]) == (0.5, 0.4, 0.6, "d")


# --- empty hours in the cloud

METERED_IDLE = Assumption("device/c/idle", 80, 80, 80, "W", "idle windows", None, "c", "ours", "measured")


@pytest.mark.parametrize(
    ("changes", "idle", "idle_kwh"),
    [
        ({}, None, 0.0),
        ({}, METERED_IDLE, 0.0),
        # 1 kWh in 2 h is 500 W. In use half of the time, each hour bears an empty one at 150 W.
        ({"cloud__idle_share": literal(0.3)}, None, 0.3),
        ({"cloud__idle_share": literal(0.3), "cloud__utilisation": literal(0.2)}, None, 4 * 0.3),
        ({"cloud__idle_share": literal(0.3), "cloud__utilisation": literal(1)}, None, 0.0),
        ({"cloud__idle_share": literal(0.3), "cloud__resource_share": literal(0.25)}, None, 0.3 / 4),
        ({"cloud__idle_share": literal(0.3), "cloud__practice": {"churn": literal(2)}}, None, 2 * 0.3),
        ({"cloud__idle_share": literal(0.3)}, METERED_IDLE, 2 * 0.08),
        # Hours in which a machine cannot train are not those that it trains in.
        (
            {"cloud__idle_share": literal(0.3), "cloud__practice": {"availability": literal(0.5)}},
            METERED_IDLE,
            2 * 0.08,
        ),
    ],
)
def test_empty_hours_are_borne_by_those_who_use_the_machine(tmp_path, changes, idle, idle_kwh):
    devices = {"c": facts("cloud", idle_watts=idle), "e": facts("edge", idle_watts=idle)}
    result = judged(tmp_path, [run("c", "cloud", KWH, 2.0), run("e", "edge", KWH, 2.0)], devices, **changes)
    again = 2 if changes.get("cloud__practice", {}).get("churn") else 1
    assert total(result, "c")["operational_grams"] == pytest.approx((again + idle_kwh) * 1.1 * GRID_G)
    assert total(result, "e")["operational_grams"] == pytest.approx(GRID_G)
    names = {row["name"] for row in result.assumptions}
    assert ("device/c/idle" in names) == (idle is not None and "cloud__idle_share" in changes)
    assert ("scenario/cloud.idle_share" in names) == (idle is None and "cloud__idle_share" in changes)


def test_a_quarter_of_a_board_bears_a_quarter_of_its_making(tmp_path):
    whole, quarter = (
        total(judged(tmp_path, [run("c", "cloud")], cloud__resource_share=literal(share)), "c")["embodied_grams"]
        for share in (1.0, 0.25)
    )
    assert (whole, quarter) == pytest.approx((188e3 / (5 * 8760 * 0.5), 47e3 / (5 * 8760 * 0.5)))


# --- coordinator, counterfactuals


def test_a_coordinator_draws_from_the_clouds_grid_through_its_building(tmp_path):
    changes = {"edge__grid": literal(0, "gCO2e/kWh"), "edge__practice": {"availability": literal(0.5)}}
    runs = [run("c", "cloud", KWH, 3.0), run("e", "edge", KWH, 3.0)]
    alone, led = (judged(tmp_path, runs, **changes, edge__coordinator=watts) for watts in (None, literal(20, "W")))
    assert total(alone, "e")["operational_grams"] == 0
    # Held for 6 h, since it can train half of the time.
    assert total(led, "e")["operational_grams"] == pytest.approx(0.02 * 6 * 1.1 * GRID_G)
    assert total(led, "c") == total(alone, "c")
    used_by = {row["name"]: row["used_by"] for row in led.assumptions}
    assert used_by["scenario/edge.coordinator"] == "e"
    assert used_by["scenario/cloud.pue"] == used_by["scenario/cloud.grid"] == "c, e"


@pytest.mark.parametrize(("avoided", "counted"), [(None, 1.0), (1.0, 1.0), (0.5, 0.5), (0.0, 0.0)])
def test_hardware_that_stands_there_anyway_is_not_avoided(tmp_path, avoided, counted):
    switch = {"cloud_hardware_avoided": None if avoided is None else literal(avoided)}
    result = judged(tmp_path, [run("c", "cloud"), run("e", "edge")], counterfactual=switch)
    for name in DEFAULT["attributions"]:
        assert total(result, "c", name)["embodied_grams"] == pytest.approx(counted * 188e3 / (5 * 8760 * 0.5))
    assert total(result, "e")["embodied_grams"] == pytest.approx(MADE_G)


def test_a_device_that_is_on_anyway_is_charged_with_what_lies_above_its_idle(tmp_path):
    net = {"net_energy_joules": KWH / 4, "net_uncertainty_joules": 0.0}
    runs = [run("c", "cloud", **net), run("e", "edge", **net)]
    result = judged(tmp_path, runs, counterfactual={"edge_already_on": True})
    assert total(result, "e")["operational_grams"] == pytest.approx(GRID_G / 4)
    assert total(result, "c")["operational_grams"] == pytest.approx(1.1 * GRID_G)
    assert verdict(result)["comparable"] is True
    unknown = judged(tmp_path, [runs[0], run("e", "edge")], counterfactual={"edge_already_on": True})
    assert total(unknown, "e")["operational_grams"] == pytest.approx(GRID_G)
    assert "e: no idle was measured, gross energy is charged" in verdict(unknown)["caveat"]
    assert "c: no idle" not in verdict(unknown)["caveat"]


# --- what is refused

OWNER = {"currency": "USD", "tariff": literal(0.2, "USD/kWh"), "battery_price": literal(50, "USD")}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"edge__practice": {"churn": literal(1.1, low=0.9, high=1.2)}}, "edge.practice.churn: low: Input should be"),
        ({"cloud__practice": {"replication": literal(0.5)}}, "cloud.practice.replication: low: Input should be"),
        ({"edge__practice": {"availability": literal(0)}}, "edge.practice.availability: low: Input should be"),
        ({"edge__practice": {"availability": literal(1.2)}}, "edge.practice.availability: high: Input should be"),
        ({"edge__practice": {"churn": "usual"}}, "edge.practice.churn: expected a literal in full; found 'usual'"),
        ({"edge__practice": {"chrun": literal(1)}}, "edge.practice.chrun: no such field; did you mean 'churn'?"),
        ({"cloud__idle_share": literal(1.5)}, "cloud.idle_share: high: Input should be"),
        ({"edge__idle_share": literal(0.5)}, "edge.idle_share: no such field"),
        ({"edge__coordinator": literal(0, "W")}, "edge.coordinator: low: Input should be greater than 0"),
        (
            {"counterfactual": {"cloud_hardware_avoided": literal(1.5)}},
            "counterfactual.cloud_hardware_avoided: high: Input should be",
        ),
        (
            {"owner": {**OWNER, "currency": "EUR"}},
            "owner.tariff.unit: expected EUR, the owner's currency; found USD/kWh",
        ),
        (
            {"owner": {**OWNER, "battery_price": literal(50, "GBP")}},
            "owner.battery_price.unit: expected USD, the owner's currency; found GBP",
        ),
        (
            {"owner": {**OWNER, "battery_price": literal(50, "USD/kWh")}},
            "owner.battery_price: unit: expected a currency of three letters, such as EUR",
        ),
        ({"owner": {**OWNER, "currency": "dollars"}}, "owner.currency: expected a currency of three letters"),
        ({"owner": {"currency": "USD"}}, "owner.tariff: required, and not given"),
        ({"sensitivity": {"sobol_samples": 500}}, "sensitivity: sobol_samples: expected a power of two, found 500"),
        (
            {"sensitivity": {"sobol_samples": 8}},
            "sensitivity.sobol_samples: Input should be greater than or equal to 16",
        ),
    ],
)
def test_a_mistake_is_told(tmp_path, changes, says):
    with pytest.raises(UserError) as caught:
        scenario(tmp_path, **changes)
    assert f"test.yaml: {says}" in str(caught.value)


# --- units


def fields_with_a_number(model: type[Section], place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where a scenario takes a literal; of a list as its first entry, or in its second."""
    found = []
    for name, field in model.model_fields.items():
        models = models_in(field.annotation)
        many = get_origin(field.annotation) is list
        if Given in models:
            found.append((*place, name, *([0] if many else [])))
        for inner in models:
            if not issubclass(inner, Quantity):
                found += fields_with_a_number(inner, (*place, name, *([1] if many else [])))
    return found


FIELDS = fields_with_a_number(Scenario)
UNIT_OF = {
    "grid": "gCO2e/kWh", "lifetime": "years", "host_embodied": "kgCO2e", "life_lost_per_hour": "h/h",
    "coordinator": "W", "bytes_per_token": "B/token", "bytes_per_parameter": "B/parameter", "tariff": "USD/kWh",
    "battery_price": "USD", 0: "kWh/GB", "watts": "W", "speed": "MB/s", "rated_cycles": "cycles", "capacity": "Wh",
}  # fmt: skip


def stated_units(kind: type[Quantity]) -> set[str]:
    """Units that a kind of quantity, or one made from it, may come in."""
    annotation = kind.model_fields["unit"].annotation
    own = set(get_args(annotation)) if get_origin(annotation) is Literal else set()
    return own.union(*(stated_units(one) for one in kind.__subclasses__()))


UNITS = sorted(stated_units(Quantity) | {"USD", "EUR", "USD/kWh", "EUR/kWh", "%", "kW", "days", "gCO2e"})


def with_a_literal_everywhere() -> dict[str, Any]:
    data = copy.deepcopy(DEFAULT) | {"owner": {"currency": "USD"}}
    data["edge"]["battery"] = {}
    for side in (data["cloud"], data["edge"]):
        side |= {"data_path": [{}, {}], "weights_path": [{}, {}]}
    for *sections, name in FIELDS:
        target = data
        for section in sections:
            target = target[section] if isinstance(target, list) else target.setdefault(section, {})
        target[name] = literal(1, UNIT_OF.get(name, "1"))
    return data


def test_a_literal_may_stand_wherever_a_number_does(tmp_path):
    assert {".".join(map(str, field)) for field in FIELDS} >= {
        "boundaries.wall", "cloud.data_path.0", "edge.weights_path.1.speed", "edge.battery.capacity", "cloud.grid",
        "cloud.idle_share", "cloud.practice.churn", "edge.practice.throttling_time",
        "edge.coordinator", "counterfactual.cloud_hardware_avoided", "owner.tariff", "traffic.bytes_per_token",
    }  # fmt: skip
    path = tmp_path / "full.yaml"
    path.write_text(json.dumps(with_a_literal_everywhere()), encoding="utf-8")
    full = load_scenario(path, INPUTS)
    assert (full.prices.tariff.unit, full.coordinator.unit, len(full.edge.practice)) == ("USD/kWh", "W", 6)


def test_the_readme_tells_the_unit_of_each():
    def quoted(cell: str) -> list[str]:
        return re.findall("`([^`]+)`", cell)

    table = (CONFIG / "README.md").read_text(encoding="utf-8").partition("| field | unit |")[2].partition("\n\n")[0]
    units_by_field = {".".join(map(str, field)): UNIT_OF.get(field[-1], "1") for field in FIELDS}
    told: dict[str, str] = {}
    for _, places, units, *_ in (row.split("|") for row in table.splitlines()[2:]):
        patterns, each = quoted(places), quoted(units)
        for pattern, unit in zip(patterns, each if len(each) > 1 else each * len(patterns), strict=True):
            told |= dict.fromkeys(fnmatch.filter(units_by_field, pattern.replace(".N", ".[01]")), unit)
    assert told == units_by_field


@given(st.sampled_from(FIELDS), st.sampled_from(UNITS))
@settings(max_examples=60, deadline=None)
def test_a_scenario_takes_no_number_of_another_unit(tmp_path_factory, field, unit):
    data = with_a_literal_everywhere()
    target = data
    for part in field:
        target = target[part]
    if target["unit"] == unit:
        return
    target["unit"] = unit
    path = tmp_path_factory.getbasetemp() / "mixed.yaml"
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_scenario(path, INPUTS)
    assert f"{path}: {'.'.join(map(str, field))}: unit" in str(caught.value)


FILES: dict[str, type[Section]] = {
    "batteries": inputs.BatteriesFile, "composed": parts.ComposedFile, "embodied": inputs.EmbodiedFile,
    "grid": GridFile, "lifetimes": inputs.LifetimesFile, "network": inputs.NetworkFile,
    "overheads": inputs.OverheadsFile, "parts": parts.PartsFile, "profiles": profiles.ProfilesFile,
    "reference_devices": inputs.ReferenceDevicesFile, "utilisation": inputs.UtilisationFile,
}  # fmt: skip


def places(node: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where the quantities of an input file stand."""
    if isinstance(node, dict) and "value" in node:
        return [place]
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [found for key, part in pairs for found in places(part, (*place, key))]


CONTENTS = {name: yaml.load((CONFIG / f"inputs/{name}.yaml").read_text("utf-8"), yaml.CSafeLoader) for name in FILES}
# A part comes in units of several kinds; that its amount and its constant agree is told in test_carbon_parts.
QUANTITIES = [
    (name, place)
    for name, data in CONTENTS.items()
    for place in places(data)
    if place[-1] != "amount" and place[0] != "constants"
]


@given(st.sampled_from(QUANTITIES), st.sampled_from(UNITS))
@settings(max_examples=100, deadline=None)
def test_an_input_takes_no_number_of_another_unit(quantity, unit):
    name, place = quantity
    data = copy.deepcopy(CONTENTS[name])
    target = data
    for part in place:
        target = target[part]
    if unit == target["unit"]:
        return
    target["unit"] = unit
    with pytest.raises(UserError) as caught:
        validate(FILES[name], data, name)
    assert f"{name}: {'.'.join(map(str, place))}.unit: Input should be" in str(caught.value)
