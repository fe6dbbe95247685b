"""Device entries: what is wrong is told by file and field as the user wrote them, and no text of theirs becomes a command."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgecarbon.config.base import validate
from edgecarbon.config.devices import VIRTUAL_SOURCE, DevicesFile
from edgecarbon.errors import UserError

CARBON = {"role": "edge", "embodied": "generic-computer"}
FILE = "config/devices.yaml"


def device(**entry: Any) -> Any:
    return validate(DevicesFile, {"devices": {"a": {"carbon": CARBON, **entry}}}, FILE).devices["a"]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({}, "devices.a.transport: required, and not given"),
        ({"transport": "shh"}, "devices.a.transport: no such transport; did you mean 'ssh'? (found 'shh')"),
        ({"transport": "ssh"}, "devices.a: give either `host`, what you would type after `ssh`, or `virtual`"),
        ({"transport": "ssh", "hots": "x"}, "devices.a.hots: no such field; did you mean 'host'?"),
        (
            {"transport": "ssh", "host": "x", "limits": {"wait": 3}},
            "devices.a.limits.wait: no such field; did you mean 'wait_s'?",
        ),
        ({"transport": "ssh", "host": "x", "directory": "here"}, "devices.a.directory: String should match pattern"),
        ({"transport": "ssh", "host": "-oProxyCommand=touch"}, "devices.a.host: String should match pattern"),
        ({"transport": "ssh", "host": "-V"}, "devices.a: host: starts with '-', which ssh would read as an option"),
        ({"transport": "ssh", "host": "x; touch y"}, "devices.a.host: String should match pattern"),
        ({"transport": "ssh", "host": "x\n"}, "devices.a.host: String should match pattern"),
        ({"transport": "adb"}, "devices.a: give either `serial`, as `adb devices` shows it, or `virtual`"),
        ({"transport": "adb", "serial": "$(x)"}, "devices.a.serial: String should match pattern"),
        ({"transport": "adb", "serial": "1", "shell": "plain"}, "devices.a: shell: plain needs `python`"),
        ({"transport": "adb", "serial": "1", "python": "a\0b"}, "devices.a.python"),
        (
            {"transport": "ssh", "virtual": {}},
            "devices.a: a virtual host has no energy of its own: give `meters: [estimate]`",
        ),
        ({"transport": "ssh", "virtual": {}, "host": "x", "meters": ["estimate"]}, "devices.a: give either `host`"),
        (
            {"transport": "local", "meters": ["nvlm"]},
            "devices.a.meters: no meter is called 'nvlm'; did you mean 'nvml'?",
        ),
        (
            {"transport": "local", "meters": ["battery"], "limits": {"charger": "on"}},
            "devices.a: meters: a battery's meter tells nothing while limits.charger is `on`",
        ),
        (
            {"transport": "local", "wall_meter": {"shelly": "192.168.1.20"}},
            "devices.a.wall_meter.shelly: String should",
        ),
        (
            {"transport": "bundle", "wall_meter": {"shelly": "http://10.0.0.2"}},
            "devices.a: wall_meter: nobody is there to read it while a bundle runs",
        ),
        (
            {"transport": "ssh", "virtual": {}, "meters": ["estimate"], "wall_meter": {"shelly": "http://10.0.0.2"}},
            "devices.a: wall_meter: a virtual host has no plug",
        ),
    ],
)
def test_what_is_wrong_is_told_by_the_users_own_fields(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as error:
        device(**entry)
    assert f"{FILE}: {words}" in str(error.value)


@pytest.mark.parametrize(
    "name", ["my laptop", "a$(touch x)", "a'b", 'a"b', "a\nb", "../a", "A", "-a", "", "a/b", "a`b`"]
)
def test_names_that_a_shell_or_a_path_would_trip_over_are_refused(name: str) -> None:
    with pytest.raises(UserError):
        validate(DevicesFile, {"devices": {name: {"transport": "local", "carbon": CARBON}}}, FILE)


def test_only_what_decides_a_measurement_is_in_its_settings() -> None:
    here = device(transport="ssh", host="here", limits={"wait_s": 5.0}, directory="/a")
    there = device(transport="ssh", host="there", ssh_config="x")
    assert here.measured_by() == there.measured_by()
    assert here.measured_by() != device(transport="ssh", host="here", meters=["rapl"]).measured_by()
    json.dumps(here.measured_by())


def test_a_virtual_hosts_estimate_says_whose_it_is() -> None:
    virtual = device(transport="adb", shell="plain", virtual={"cpu_percent": 25.0}, meters=["estimate"])
    settings = virtual.measured_by()
    assert settings["estimate"]["source"].startswith(VIRTUAL_SOURCE)
    assert settings["virtual"]["cpu_percent"] == 25.0


def test_who_names_a_batterys_meter_asks_for_the_charger_off() -> None:
    assert device(transport="local", meters=["battery"]).limits.charger == "off"
    assert device(transport="local", meters=["battery"], limits={"charger": "any"}).limits.charger == "any"
    assert device(transport="local", meters=["auto"]).limits.charger == "any"


def test_a_wall_meter_decides_what_is_measured() -> None:
    bare, beside = (
        device(transport="local", **more) for more in ({}, {"wall_meter": {"shelly": "http://192.168.1.20"}})
    )
    assert bare.measured_by() != beside.measured_by()
    assert beside.wall_meter.accuracy_percent == 5.0


def test_the_names_of_meters_are_those_that_there_are() -> None:
    from edgecarbon.config.meters import METERS as NAMES
    from edgecarbon.meters.factory import ALWAYS, METERS

    # A wall meter is named by its own entry, and what is always logged needs no name.
    assert set(NAMES) == {"auto", *METERS} - {"shelly", *ALWAYS}
