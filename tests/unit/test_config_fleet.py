"""Fleets in the devices file: what is refused, by field, and what decides a measurement."""

from __future__ import annotations

from typing import Any

import pytest

from edgecarbon.config.base import validate
from edgecarbon.config.devices import DevicesFile
from edgecarbon.config.fleet import Fleet
from edgecarbon.errors import UserError

LOCAL = {"transport": "local", "carbon": {"role": "edge", "embodied": "generic-computer"}}
BUNDLE = {**LOCAL, "transport": "bundle"}


def devices_file(**fleet: Any) -> DevicesFile:
    data = {"devices": {"one": LOCAL, "two": LOCAL, "carried": BUNDLE}, "fleets": {"home": fleet}}
    return validate(DevicesFile, data, "config/devices.yaml")


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nobody": ({}, "give either `devices`, which are measured, or `modelled` ones"),
    "both kinds": ({"devices": ["one"], "modelled": {"phone": 2}}, "and not both"),
    "unknown member": ({"devices": ["one", "tow"]}, "'tow' is not in `devices`; did you mean 'two'?"),
    "twice": ({"devices": ["one", "one"]}, "listed twice"),
    "bundle": ({"devices": ["one", "carried"]}, "'carried' cannot be a member: it must be reached while it runs"),
    "stranger's address": ({"devices": ["one"], "addresses": {"two": "x"}}, "addresses: 'two' is no member"),
    "stranger's rate": (
        {"devices": ["one"], "links": {"devices": {"two": {"up_mbyte_per_s": 1.0, "down_mbyte_per_s": 1.0}}}},
        "links.devices: 'two' is no member",
    ),
    "stranger in plan": (
        {"devices": ["one"], "plan": {"grid": [["two"]], "layers": [2]}},
        "plan.grid: 'two' is no member",
    ),
    "ragged plan": (
        {"devices": ["one", "two"], "plan": {"grid": [["one"], ["two"]], "layers": [1, 1]}},
        "one member for each",
    ),
    "one place twice": ({"devices": ["one"], "plan": {"grid": [["one"], ["one"]], "layers": [1]}}, "named twice"),
    "int8 gradients": ({"devices": ["one"], "gradients": "int8"}, "gradients"),
    "no such link": ({"devices": ["one"], "link": "nccl"}, "link"),
    "no silence": ({"devices": ["one"], "silence_s": 0.1}, "silence_s"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_fleet_is_explained(case: str) -> None:
    fleet, words = WRONG[case]
    with pytest.raises(UserError) as caught:
        devices_file(**fleet)
    assert words in str(caught.value)
    assert str(caught.value).startswith("config/devices.yaml: ")


def test_a_fleet_and_a_device_do_not_share_a_name() -> None:
    data = {"devices": {"one": LOCAL}, "fleets": {"one": {"devices": ["one"]}}}
    with pytest.raises(UserError, match=r"fleets\.one: a device has this name too"):
        validate(DevicesFile, data, "config/devices.yaml")


def test_modelled_members_are_numbered() -> None:
    fleet = Fleet(modelled={"phone": 2, "laptop": 1})
    assert fleet.members() == ["phone-1", "phone-2", "laptop-1"]
    assert fleet.kinds() == ["phone", "phone", "laptop"]


def test_the_radio_of_the_published_setting() -> None:
    fleet = Fleet(devices=["one"])
    assert fleet.radio.joules_per_byte * 1e6 == pytest.approx(0.05)  # 0.5 W at 10 MB/s
    assert fleet.radio.joules_per_byte / 8 == pytest.approx(6.25e-9)
    assert Fleet(devices=["one"], radio={"covered": True}).radio.joules_per_byte == 0.0


def test_what_only_judges_a_run_does_not_measure_it_again() -> None:
    plain = Fleet(devices=["one"])
    for change in ({"radio": {"watts": 0.8}}, {"objective": "energy"}, {"port": 30000}, {"addresses": {"one": "h"}}):
        assert Fleet(devices=["one"], **change).measured_by() == plain.measured_by()
    assert Fleet(devices=["one"], boundary="int8").measured_by() != plain.measured_by()
