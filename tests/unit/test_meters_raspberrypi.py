"""Raspberry Pi 5: the text of `vcgencmd`, replayed.

`vcgencmd_pmic_read_adc.txt` has the form and the twelve rails of real outputs; its figures are made up.
"""

from __future__ import annotations

from typing import Any

import pytest
from meters_fakes.machine import energies, printed, watch

from edgecarbon.meters import MeterUnavailable, Options, raspberrypi
from edgecarbon.meters.access import Replayed

ADC = printed("vcgencmd_pmic_read_adc.txt")
# By hand: 0.37 + 0.33 + 0.27 + 0.0055 + 0 + 0.22 + 0.24 + 1.28592 + 0 + 0.000202686 + 0.0024 + 0.102.
WATTS = 2.826022686


def said(t_s: float, command: str, answer: str | None) -> dict[str, Any]:
    return {"t_s": t_s, "run": ["vcgencmd", command], "answer": answer}


def pi(*later: dict[str, Any], adc: str | None = ADC) -> Replayed:
    begin = [
        said(0, "pmic_read_adc", adc),
        said(0, "measure_temp", "temp=52.1'C\n"),
        said(0, "get_throttled", "throttled=0x0\n"),
    ]
    return Replayed([*begin, *later])


def opened(machine: Replayed) -> raspberrypi.RaspberryPiMeter:
    return raspberrypi.open_meter(Options(access=machine))


def test_power_is_the_sum_over_rails_with_voltage_and_current() -> None:
    assert sum(raspberrypi.rail_watts(ADC).values()) == pytest.approx(WATTS)
    assert len(raspberrypi.rail_watts(ADC)) == 12  # neither EXT5V nor BATT
    machine = pi()
    meter = opened(machine)
    power, temperature, throttle = meter.channels()
    assert (power.id, power.boundary, power.provenance) == ("raspberrypi/board/power", "soc", "estimated")
    assert (temperature.component, throttle.component, throttle.unit) == ("cpu", "cpu", "bitmask (vcgencmd)")
    times = [t / 10 for t in range(1201)]
    columns = watch(meter, machine, times)
    assert [column[0] for column in columns] == [pytest.approx(WATTS), 52.1, 0.0]
    reading = energies(meter, times, columns)["raspberrypi/board/power"]
    assert reading["joules"] == pytest.approx(120 * WATTS)
    assert reading["provenance"] == "estimated"


def test_a_look_a_second_and_no_more() -> None:
    machine = pi(said(0.1, "measure_temp", "temp=60.0'C\n"))
    assert watch(opened(machine), machine, [0.0, 0.5, 0.99, 1.0])[1] == [52.1, 52.1, 52.1, 60.0]


@pytest.mark.parametrize(
    "broken",
    [
        None, "", "garbage\n", ADC[: len(ADC) // 2],
        ADC.replace("VDD_CORE_A current(7)=1.42880000A", "VDD_CORE_A current(7)=1.42"),
        ADC.replace("0.90000000V", "900.00000mV"), ADC.replace("0.90000000V", "9" * 5000 + ".0V"),
        'error=1 error_msg="Command not registered"\n',
    ],
)  # fmt: skip
def test_what_is_not_whole_is_none_and_comes_back(broken: str | None) -> None:
    machine = pi(
        said(1, "pmic_read_adc", broken), said(1, "measure_temp", "VCHI initialization failed\n"),
        said(1, "get_throttled", None), said(2, "pmic_read_adc", ADC), said(2, "measure_temp", "temp=48.0'C\n"),
    )  # fmt: skip
    power, temperature, throttle = watch(opened(machine), machine, [0.0, 1.0, 2.0])
    assert power == [pytest.approx(WATTS), None, pytest.approx(WATTS)]
    assert temperature == [52.1, None, 48.0]
    assert throttle == [0.0, None, None]


@pytest.mark.parametrize(
    ("told", "bits"),
    [
        ("throttled=0x0", 0), ("throttled=0x4", 0x20), ("throttled=0x8", 0x20), ("throttled=0xe000e", 0x20),
        ("throttled=0x2", 0), ("throttled=0x50005", 0), ("throttled=0xe0000", 0), ("throttled=", None), (None, None),
    ],
)  # fmt: skip
def test_throttling_for_heat_is_told_from_under_voltage(told: str | None, bits: int | None) -> None:
    assert raspberrypi.heat_bits(told) == bits


def test_a_pi_without_the_converter_and_another_machine_say_so() -> None:
    with pytest.raises(MeterUnavailable, match="only the Raspberry Pi 5"):
        opened(pi(adc='error=1 error_msg="Command not registered"\n'))
    with pytest.raises(MeterUnavailable, match="/dev/vcio"):
        opened(Replayed([]))


def test_firmware_that_tells_power_alone_is_enough() -> None:
    machine = Replayed([said(0, "pmic_read_adc", ADC)])
    assert [channel.quantity for channel in opened(machine).channels()] == ["power"]
