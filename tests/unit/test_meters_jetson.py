"""Jetson: hwmon of its INA3221 sensors, replayed. Labels, shunts and layout are real, the readings are made up.

`hwmon_jetson_orin_nano.txt` has a rail that feeds the whole module; `hwmon_jetson_agx_orin.txt` three that do so
together, on two sensors, with an input that is not connected.
"""

from __future__ import annotations

import pytest
from meters_fakes.machine import energies, files, reads, tree, watch

from edgecarbon.meters import MeterUnavailable, Options, jetson
from edgecarbon.meters.access import Replayed

NANO, AGX = "hwmon_jetson_orin_nano.txt", "hwmon_jetson_agx_orin.txt"
SENSOR = "/sys/class/hwmon/hwmon1"


def opened(machine: Replayed) -> jetson.JetsonMeter:
    return jetson.open_meter(Options(access=machine))


def test_one_rail_is_the_module_and_the_others_lie_inside_it() -> None:
    machine = Replayed(tree(files(NANO)))
    meter = opened(machine)
    assert [(c.id, c.unit, c.boundary) for c in meter.channels()] == [
        ("jetson/module/power", "W", "soc"), ("jetson/VDD_CPU_GPU_CV/power", "W", None),
        ("jetson/VDD_SOC/power", "W", None), ("jetson/VDD_IN/voltage", "V", None), ("jetson/VDD_IN/current", "A", None),
    ]  # fmt: skip
    times = [t / 10 for t in range(1201)]
    columns = watch(meter, machine, times)
    assert [column[0] for column in columns] == pytest.approx([8.0, 4.984 * 0.6, 4.992 * 0.328, 5.0, 1.6])
    reading = energies(meter, times, columns)["jetson/module/power"]
    assert reading["joules"] == pytest.approx(120 * 8.0)
    assert (reading["provenance"], reading["boundary"]) == ("measured", "soc")


def test_the_sensor_states_its_step_and_its_period() -> None:
    power, *_, current = opened(Replayed(tree(files(NANO)))).channels()
    assert current.resolution == pytest.approx(0.008)  # 40 µV over 5 mΩ
    assert power.resolution == pytest.approx(5.0 * 0.008)
    assert power.update_period_s == pytest.approx(0.016)


def test_three_rails_together_are_the_module_and_the_memory_lies_inside_one() -> None:
    machine = Replayed(tree(files(AGX)))
    meter = opened(machine)
    module, *rails = meter.channels()[:5]
    assert (module.component, module.boundary) == ("module", "soc")
    assert [rail.component for rail in rails] == ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"]
    assert {rail.boundary for rail in rails} == {None}
    columns = watch(meter, machine, [0.0])
    assert [column[0] for column in columns[:5]] == pytest.approx([20 + 8 + 6, 20.0, 8.0, 6.0, 1.0])
    # 20 mA steps, at 20, 20 and 5 V.
    assert module.resolution == pytest.approx(0.02 * 45)


def test_older_modules() -> None:
    nano = {path: (text or "").replace("VDD_IN", "POM_5V_IN") for path, text in files(NANO).items()}
    assert opened(Replayed(tree(nano))).channels()[0].component == "module"
    labels = ["GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"]
    xavier: dict[str, str | None] = {}
    for index, label in enumerate(labels):
        folder, number = f"/sys/class/hwmon/hwmon{index // 3}", index % 3 + 1
        xavier |= {f"{folder}/name": "ina3221", f"{folder}/in{number}_label": label}
        xavier |= {f"{folder}/in{number}_input": "10000", f"{folder}/curr{number}_input": "100"}
    machine = Replayed(tree(xavier))
    assert watch(opened(machine), machine, [0.0])[0] == [pytest.approx(6.0)]


def test_a_rail_that_fails_is_none_and_so_is_a_sum_without_it() -> None:
    later = [
        *reads({"/sys/class/hwmon/hwmon3/curr2_input": None}, 1.0),
        *reads({"/sys/class/hwmon/hwmon3/curr2_input": "garbage"}, 2.0),
        *reads({"/sys/class/hwmon/hwmon3/curr2_input": "450"}, 3.0),
    ]
    machine = Replayed([*tree(files(AGX)), *later])
    columns = watch(opened(machine), machine, [0.0, 1.0, 2.0, 3.0])
    assert columns[0] == [pytest.approx(34.0), None, None, pytest.approx(35.0)]
    assert columns[1] == [20.0] * 4
    assert columns[2] == [pytest.approx(8.0), None, None, pytest.approx(9.0)]


def test_rails_of_an_unknown_module_are_logged_and_counted_nowhere() -> None:
    unknown = {path: (text or "").replace("VDD_IN", "VDD_NEW") for path, text in files(NANO).items()}
    found = opened(Replayed(tree(unknown))).channels()
    assert [channel.component for channel in found] == ["VDD_NEW", "VDD_CPU_GPU_CV", "VDD_SOC"]
    assert {channel.boundary for channel in found} == {None}


@pytest.mark.parametrize("gone", ["in1_input", "curr1_input", "in1_label"])
def test_a_module_whose_input_cannot_be_read_has_no_total(gone: str) -> None:
    found = opened(Replayed(tree({**files(NANO), f"{SENSOR}/{gone}": None}))).channels()
    assert [(channel.component, channel.boundary) for channel in found] == [("VDD_CPU_GPU_CV", None), ("VDD_SOC", None)]


def test_another_machine_says_so() -> None:
    with pytest.raises(MeterUnavailable, match="no Jetson"):
        opened(Replayed(tree({**files(NANO), f"{SENSOR}/name": "coretemp"})))
