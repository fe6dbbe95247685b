"""hwmon: trees of files as drivers lay them out, replayed. The layouts are real, the figures are made up.

`hwmon_server.txt` holds an ACPI meter, which keeps its files in its device's folder, sockets and cores of AMD, and a
card of AMD; `hwmon_laptop.txt` power supplies shown again, a GPU inside a processor, an INA3221, and a driver unheard of.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
from meters_fakes.machine import energies, files, reads, tree, watch

from edgecarbon.meters import MeterUnavailable, Options, hwmon
from edgecarbon.meters.access import Replayed
from edgecarbon.meters.base import Channel

ROOT = "/sys/class/hwmon"
ACPI = f"{ROOT}/hwmon0/device"


def machine(fixture: str, changes: dict[str, str | None] | None = None, later: Any = ()) -> Replayed:
    return Replayed([*tree({**files(fixture), **(changes or {})}), *later])


def opened(at: Replayed) -> hwmon.HwmonMeter:
    return hwmon.open_meter(Options(access=at))


def channels(fixture: str, changes: dict[str, str | None] | None = None) -> dict[str, Channel]:
    return {channel.id: channel for channel in opened(machine(fixture, changes)).channels()}


def test_known_drivers_tell_what_they_cover() -> None:
    at = machine("hwmon_server.txt")
    found = {channel.id: channel for channel in opened(at).channels()}
    assert {name: channel.boundary for name, channel in found.items()} == {
        "hwmon/power_meter0-1/power_average": "wall",
        "hwmon/amd_energy0-Esocket0/energy": "cpu_package",
        "hwmon/amdgpu0-PPT/power_input": "gpu_board",
        "hwmon/amdgpu0-PPT/power_average": "gpu_board",
        "hwmon/amdgpu0/temperature": None,
        "hwmon/amdgpu0/frequency": None,
    }
    assert found["hwmon/amd_energy0-Esocket0/energy"].provenance == "modelled"
    values = dict(zip(found, (column[0] for column in watch(opened(at), at, [0.0])), strict=True))
    assert list(values.values()) == pytest.approx([345.0, 50.0, 100.0, 92.0, 61.0, 2105.0])


def test_joules_of_a_minute() -> None:
    later = [entry for t in range(1, 61) for entry in reads(
        {f"{ROOT}/hwmon1/energy3_input": str(50_000_000 + t * 80_000_000)}, float(t)
    )]  # fmt: skip
    at = machine("hwmon_server.txt", later=later)
    meter, times = opened(at), [float(t) for t in range(61)]
    told = energies(meter, times, watch(meter, at, times))
    joules = {name: reading["joules"] for name, reading in told.items()}
    # Of the card the power at a moment is integrated, not the average.
    assert joules == pytest.approx({
        "hwmon/power_meter0-1/power_average": 345 * 60, "hwmon/amd_energy0-Esocket0/energy": 80 * 60,
        "hwmon/amdgpu0-PPT/power_input": 100 * 60,
    })  # fmt: skip


def test_an_acpi_meter_states_its_period_and_accuracy() -> None:
    channel = channels("hwmon_server.txt")["hwmon/power_meter0-1/power_average"]
    assert channel.update_period_s == 2.0
    assert channel.accuracy_relative == pytest.approx(0.05 / math.sqrt(3))


@pytest.mark.parametrize("told", ["0.0%", "100.0%", "5.0%", "high", None])
def test_an_accuracy_that_cannot_be_meant_is_not_stated(told: str | None) -> None:
    [channel, *_] = channels("hwmon_server.txt", {f"{ACPI}/power1_accuracy": told}).values()
    assert channel.accuracy_relative is None


def test_an_acpi_meter_of_a_battery_or_of_a_part_is_counted_nowhere() -> None:
    name = "hwmon/power_meter0-1/power_average"
    assert channels("hwmon_server.txt", {f"{ACPI}/power1_is_battery": "1"})[name].boundary is None
    content = files("hwmon_server.txt")
    part = {path.replace("LNXSYBUS:00", "ACPI0004:00"): text for path, text in content.items()}
    [channel, *_] = opened(Replayed(tree(part))).channels()
    assert (channel.id, channel.boundary) == (name, None)
    # Newer kernels keep the files in hwmon's own folder, and the devices behind it.
    newer = {
        path.replace("device/power1", "power1").replace("device/name", "name"): text for path, text in part.items()
    }
    [channel, *_] = opened(Replayed(tree(newer))).channels()
    assert (channel.source, channel.boundary) == (f"{ROOT}/hwmon0/power1_average", None)


def test_what_others_tell_is_left_to_them_and_what_nobody_knows_is_counted_nowhere() -> None:
    found = channels("hwmon_laptop.txt")
    assert {name: channel.boundary for name, channel in found.items()} == {
        "hwmon/amdgpu0-slowPPT/power_average": None,  # a processor's
        "hwmon/newdriver0-pin/power_input": None,
        "hwmon/newdriver0-2/power_input": None,  # a label that is not its own
        "hwmon/newdriver0-3/power_input": None,
    }


def test_two_cards_are_two_components() -> None:
    card = {p: text for p, text in files("hwmon_server.txt").items() if "hwmon2/" in p}
    other = {p.replace("hwmon2/", "hwmon10/"): text for p, text in card.items()}
    found = opened(Replayed(tree({**card, **other}))).channels()
    assert [c.component for c in found if c.id.endswith("power_input")] == ["amdgpu0-PPT", "amdgpu1-PPT"]


def test_a_failed_read_is_none_and_a_slow_source_is_asked_once_a_second() -> None:
    power, average = f"{ROOT}/hwmon2/power1_input", f"{ACPI}/power1_average"
    later = [
        *reads({power: None, average: "garbage"}, 0.5), *reads({power: "120000000", average: "300000000"}, 1.5),
    ]  # fmt: skip
    at = machine("hwmon_server.txt", later=later)
    columns = watch(opened(at), at, [0.0, 0.5, 1.0, 1.5, 2.0])
    assert columns[0] == [345.0, 345.0, None, None, 300.0]
    assert columns[2] == [100.0, None, None, 120.0, 120.0]


def test_counters_for_root_only_say_so() -> None:
    sockets = {p: text for p, text in files("hwmon_server.txt").items() if "hwmon1/" in p}
    hidden: dict[str, str | None] = {p: None if p.endswith("_input") else text for p, text in sockets.items()}
    with pytest.raises(MeterUnavailable, match=r"energy3_input cannot be read: .*sudo chmod a\+r"):
        opened(Replayed(tree(hidden)))


def test_a_machine_that_shows_temperatures_only_says_so() -> None:
    with pytest.raises(MeterUnavailable, match="no driver under /sys/class/hwmon tells power or energy"):
        opened(Replayed(tree({f"{ROOT}/hwmon0/name": "nvme", f"{ROOT}/hwmon0/temp1_input": "38850"})))
