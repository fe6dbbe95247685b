"""Laptop batteries: sysfs as the kernel lays it out, replayed. The layouts are real, the figures are made up.

`sysfs_battery_energy.txt` is a gauge that tells energy, beside a mouse's battery and an empty bay;
`sysfs_battery_charge.txt` one that tells charge, with a current below 0 and a temperature in tenths of a degree.
"""

from __future__ import annotations

from typing import Any

import pytest
from meters_fakes.machine import energies, files, reads, tree, watch

from edgecarbon.meters import MeterUnavailable, Options, battery
from edgecarbon.meters.access import Replayed

ROOT = "/sys/class/power_supply"
ENERGY, CHARGE = f"{ROOT}/BAT0", f"{ROOT}/CMB0"
SECONDS = [float(t) for t in range(601)]


def laptop(fixture: str, changes: dict[str, str | None] | None = None, later: Any = ()) -> Replayed:
    return Replayed([*tree({**files(fixture), **(changes or {})}), *later])


def opened(machine: Replayed) -> battery.BatteryMeter:
    return battery.open_meter(Options(access=machine))


def drained(per_second_microwatt_hours: float) -> list[dict[str, Any]]:
    """The gauge steps by 10 mWh, as real ones do."""
    entries = []
    for t in range(1, 601):
        left = 40_000_000 - int(per_second_microwatt_hours * t) // 10_000 * 10_000
        entries += reads({f"{ENERGY}/energy_now": str(left)}, float(t))
    return entries


def test_a_gauge_of_energy_tells_what_left_it() -> None:
    machine = laptop("sysfs_battery_energy.txt", later=drained(12e6 / 3600))
    meter = opened(machine)
    assert [(c.id, c.unit, c.boundary) for c in meter.channels()] == [
        ("battery/BAT0/energy", "J", "battery"), ("battery/BAT0/power", "W", "battery"),
        ("battery/BAT0/voltage", "V", None), ("battery/BAT0/discharging", "1", None),
    ]  # fmt: skip
    columns = watch(meter, machine, SECONDS)
    assert [column[0] for column in columns] == [0.0, 12.0, 15.7, 1.0]
    told = energies(meter, SECONDS, columns)
    # 12 W for 600 s are 2 Wh, less what the gauge's step of 36 J has not shown yet.
    energy = told["battery/BAT0/energy"]
    assert energy["joules"] == pytest.approx(7200, abs=36)
    assert (
        energy["joules"] - 2 * energy["uncertainty_joules"] < 7200 < energy["joules"] + 2 * energy["uncertainty_joules"]
    )
    assert (energy["boundary"], energy["provenance"]) == ("battery", "measured")
    assert told["battery/BAT0/power"]["joules"] == pytest.approx(7200)


def test_a_gauge_of_charge_is_integrated_with_its_voltage() -> None:
    falling = [
        entry for t in range(1, 601) for entry in reads({f"{CHARGE}/charge_now": str(3_000_000 - 100 * t)}, float(t))
    ]
    machine = laptop("sysfs_battery_charge.txt", later=falling)
    meter = opened(machine)
    columns = watch(meter, machine, SECONDS)
    ids = [channel.id.rsplit("/", 1)[1] for channel in meter.channels()]
    assert ids == ["energy", "power", "charge", "voltage", "current", "temperature", "discharging"]
    first = dict(zip(ids, (column[0] for column in columns), strict=True))
    # The current is kept as the driver signs it; what it draws is power.
    assert first == pytest.approx(
        {"energy": 0.0, "power": 1.386, "charge": 10_800, "voltage": 3.85, "current": -0.36, "temperature": 31.3,
         "discharging": 1.0}
    )  # fmt: skip
    told = energies(meter, SECONDS, columns)
    assert told["battery/CMB0/energy"]["joules"] == pytest.approx(831.6)
    assert told["battery/CMB0/power"]["joules"] == pytest.approx(831.6)
    assert "counter_power_disagree" not in told["battery/CMB0/energy"]["flags"]


def test_charging_in_the_middle_leaves_no_joules() -> None:
    plugged = reads({f"{ENERGY}/status": "Charging", f"{ENERGY}/energy_now": "39990000"}, 200.0)
    machine = laptop("sysfs_battery_energy.txt", later=[*plugged, *reads({f"{ENERGY}/energy_now": "40100000"}, 400.0)])
    meter = opened(machine)
    columns = watch(meter, machine, SECONDS)
    assert columns[1][300] == -12.0
    for reading in energies(meter, SECONDS, columns).values():
        assert reading["joules"] is None
        assert "charging" in reading["flags"]


def test_mains_in_the_middle_leaves_no_joules_although_nothing_flows_back() -> None:
    machine = laptop(
        "sysfs_battery_energy.txt", later=[*drained(12e6 / 3600), *reads({f"{ENERGY}/status": "Full"}, 300.0)]
    )
    meter = opened(machine)
    columns = watch(meter, machine, SECONDS)
    assert columns[3][299:301] == [1.0, 0.0]
    for reading in energies(meter, SECONDS, columns).values():
        assert (reading["joules"], "charging" in reading["flags"]) == (None, True)


def test_a_battery_that_charges_another_one_is_no_measure_of_the_machine() -> None:
    with pytest.raises(MeterUnavailable, match="BAT0 Discharging, BAT1 Charging"):
        opened(Replayed(tree(two_batteries({"status": "Charging"}))))


def test_a_failed_read_is_none_until_the_next_good_one_which_counts_the_gap() -> None:
    later = [
        *reads({f"{CHARGE}/charge_now": "2999000"}, 1.0), *reads({f"{CHARGE}/voltage_now": None}, 2.0),
        *reads({f"{CHARGE}/voltage_now": "3850000", f"{CHARGE}/charge_now": "2997000"}, 3.0),
        *reads({f"{CHARGE}/charge_now": "garbage"}, 4.0),
    ]  # fmt: skip
    machine = laptop("sysfs_battery_charge.txt", later=later)
    energy, power, charge, *_ = watch(opened(machine), machine, [0.0, 1.0, 2.0, 3.0, 4.0])
    assert energy == [0.0, pytest.approx(3.6 * 3.85), None, pytest.approx(10.8 * 3.85), None]
    assert power[2] is None
    assert charge[4] is None


def test_the_controller_is_asked_at_most_once_a_second() -> None:
    machine = laptop("sysfs_battery_energy.txt", later=reads({f"{ENERGY}/power_now": "20000000"}, 0.1))
    power = watch(opened(machine), machine, [0.0, 0.5, 0.9, 1.0])[1]
    assert power == [12.0, 12.0, 12.0, 20.0]


def two_batteries(second: dict[str, str | None]) -> dict[str, str | None]:
    first = {path: text for path, text in files("sysfs_battery_energy.txt").items() if path.startswith(f"{ENERGY}/")}
    other = {path.replace("BAT0", "BAT1"): text for path, text in first.items()}
    return {**first, **other, **{f"{ROOT}/BAT1/{name}": text for name, text in second.items()}}


def test_two_batteries_are_counted_as_one_while_one_of_them_stands_still() -> None:
    content = two_batteries({"status": "Not charging", "power_now": "0"})
    machine = Replayed([*tree(content), *drained(12e6 / 3600)])
    meter = opened(machine)
    assert [c.component for c in meter.channels() if c.boundary == "battery"] == ["batteries", "batteries"]
    told = energies(meter, SECONDS, watch(meter, machine, SECONDS))
    assert told["battery/batteries/energy"]["joules"] == pytest.approx(7200, abs=36)
    assert told["battery/BAT0/energy"]["boundary"] is None


def test_of_two_batteries_one_that_fails_or_is_charged_leaves_no_sum() -> None:
    later = [
        *reads({f"{ROOT}/BAT1/energy_now": None}, 1.0),
        *reads({f"{ROOT}/BAT1/energy_now": "40000000", f"{ROOT}/BAT1/status": "Charging"}, 2.0),
    ]
    machine = Replayed([*tree(two_batteries({})), *later])
    energy, power, discharging, *_ = watch(opened(machine), machine, [0.0, 1.0, 2.0])
    assert energy == [0.0, None, 0.0]
    assert power == [24.0, 24.0, 0.0]
    assert discharging == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("status", ["Charging", "Full", "Not charging", "Unknown", None])
def test_beside_a_charger_there_is_nothing_to_measure(status: str | None) -> None:
    with pytest.raises(MeterUnavailable, match="unplug the charger"):
        opened(laptop("sysfs_battery_energy.txt", {f"{ENERGY}/status": status}))


def test_a_machine_without_a_battery_of_its_own_says_so() -> None:
    mouse = {path: text for path, text in files("sysfs_battery_energy.txt").items() if "hidpp" in path}
    with pytest.raises(MeterUnavailable, match="no battery of this machine under /sys/class/power_supply"):
        opened(Replayed(tree(mouse)))


def test_a_battery_that_tells_only_a_percentage_is_refused() -> None:
    silent: dict[str, str | None] = dict.fromkeys((f"{ENERGY}/energy_now", f"{ENERGY}/power_now"))
    with pytest.raises(MeterUnavailable, match="BAT0 tells neither energy_now"):
        opened(laptop("sysfs_battery_energy.txt", silent))
