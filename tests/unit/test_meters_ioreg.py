"""A MacBook's registry entry as `ioreg -rn AppleSmartBattery -w0` prints it, replayed.

`ioreg_macbook.txt` has the form and the keys of real outputs, beside a charger that also charges: SystemPowerIn is
SystemLoad and BatteryPower. Its figures are made up.
"""

from __future__ import annotations

from typing import Any

import pytest
from meters_fakes.machine import energies, printed, watch

from edgecarbon.meters import MeterUnavailable, Options, ioreg
from edgecarbon.meters.access import Replayed

TEXT = printed("ioreg_macbook.txt")
SUM, COUNT = 1_360_000_000, 74_966
MINUTE = [float(t) for t in range(61)]


def said(t_s: float, milliwatts: int = 0, count: int = 0, **others: int) -> dict[str, Any]:
    """The entry when `milliwatts` and `count` were added to its counters."""
    text = TEXT.replace(f"={SUM},", f"={SUM + milliwatts},").replace(f"={COUNT},", f"={COUNT + count},")
    for name, value in others.items():
        text = text.replace('"SystemLoad"=20000', f'"{name}"={value}')
    return {"t_s": t_s, "run": ioreg.COMMAND, "answer": text}


def opened(machine: Replayed) -> ioreg.IoregMeter:
    return ioreg.open_meter(Options(access=machine))


def test_the_mean_load_of_a_minute_is_its_energy() -> None:
    machine = Replayed([said(0), said(60, 20_000 * 60, 60)])
    meter = opened(machine)
    assert [(c.id, c.boundary, c.provenance) for c in meter.channels()] == [
        ("ioreg/machine/energy", "battery", "measured"), ("ioreg/machine/power", "battery", "measured"),
        ("ioreg/battery/temperature", None, "measured"),
    ]  # fmt: skip
    columns = watch(meter, machine, MINUTE)
    assert [column[0] for column in columns] == [0.0, 20.0, pytest.approx(30.94)]
    told = energies(meter, MINUTE, columns)
    assert told["ioreg/machine/energy"]["joules"] == pytest.approx(1200)
    assert told["ioreg/machine/energy"]["boundary"] == "battery"
    assert told["ioreg/machine/power"]["joules"] == pytest.approx(1200)


def test_load_counts_beside_a_charger_too() -> None:
    assert '"IsCharging" = Yes' in TEXT
    machine = Replayed([said(0), said(60, 20_000 * 60, 60)])
    meter = opened(machine)
    assert not [channel for channel in meter.channels() if channel.quantity == "discharging"]
    assert "charging" not in energies(meter, MINUTE, watch(meter, machine, MINUTE))["ioreg/machine/energy"]["flags"]


def test_a_mean_over_however_many_loads_is_spread_over_the_time_between_publications() -> None:
    counter = ioreg.LoadCounter()
    assert counter.add(1000, 10, 100.0) == 0.0
    assert counter.add(1000, 10, 130.0) == 0.0
    # Four loads of 15 W on average in 45 s, then twelve of 30 W in 60 s.
    assert counter.add(61_000, 14, 145.0) == pytest.approx(15 * 45)
    assert counter.add(421_000, 26, 205.0) == pytest.approx(15 * 45 + 30 * 60)
    assert counter.add(421_000, 26, 206.0) == pytest.approx(15 * 45 + 30 * 60)


@pytest.mark.parametrize("after", [(-SUM + 5, -COUNT + 1), (1_000_000, -3), (-1000, 60), (1000, 0)])
def test_counters_that_start_again_leave_no_joules(after: tuple[int, int]) -> None:
    machine = Replayed([said(0), said(20, *after), said(60, after[0] + 20_000 * 60, after[1] + 60)])
    meter = opened(machine)
    columns = watch(meter, machine, MINUTE)
    assert columns[0][20] == -1.0
    assert columns[0][60] == pytest.approx(-1.0 + 20 * 40)
    assert energies(meter, MINUTE, columns)["ioreg/machine/energy"]["joules"] is None


@pytest.mark.parametrize(
    "broken",
    [
        None,
        "",
        "garbage",
        TEXT.replace(f"={COUNT},", f"={'9' * 5000},").replace("=20000,", f"={'9' * 5000},"),
        TEXT[: TEXT.index("SystemLoadAccumulatorCount") + 30],
    ],
)
def test_a_failed_look_is_none_and_the_next_one_spans_it(broken: str | None) -> None:
    lost = {"t_s": 5.0, "run": ioreg.COMMAND, "answer": broken}
    machine = Replayed([said(0), lost, said(30, 20_000 * 60, 60)])
    energy, power, _ = watch(opened(machine), machine, [0.0, 5.0, 30.0])
    assert energy == [0.0, None, pytest.approx(600)]
    assert power == [20.0, None, 20.0]


def test_ioreg_is_run_every_five_seconds() -> None:
    machine = Replayed([said(0), said(0.1, SystemLoad=30_000)])
    assert watch(opened(machine), machine, [0.0, 1.0, 4.9, 5.0])[1] == [20.0, 20.0, 20.0, 30.0]


def test_a_number_without_its_sign_gets_it_back() -> None:
    assert ioreg.signed(18446744073709546980) == -4636
    assert ioreg.signed(2**63 - 1) == 2**63 - 1
    assert ioreg.parse(TEXT)["AccumulatedBatteryDischarge"] == -548_915_542
    machine = Replayed([said(0, SystemLoad=18446744073709546980)])
    assert watch(opened(machine), machine, [0.0])[1] == [pytest.approx(-4.636)]


def test_without_the_load_now_and_the_temperature_energy_is_told_alone() -> None:
    text = TEXT.replace('"SystemLoad"=20000,', "").replace('"Temperature" = 3094', '"Temperature" = none')
    machine = Replayed([{"t_s": 0, "run": ioreg.COMMAND, "answer": text}])
    assert [channel.quantity for channel in opened(machine).channels()] == ["energy"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "part of macOS"),
        ("", "this Mac has no battery"),
        (TEXT.replace("PowerTelemetryData", "BatteryData"), "keeps no PowerTelemetryData"),
        (TEXT.replace("SystemLoadAccumulatorCount", "X"), "keeps no PowerTelemetryData"),
    ],
)
def test_where_there_is_none_the_reason_is_told(answer: str | None, why: str) -> None:
    with pytest.raises(MeterUnavailable, match=why):
        opened(Replayed([{"t_s": 0, "run": ioreg.COMMAND, "answer": answer}]))
