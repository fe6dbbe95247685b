"""NVML: on the real library where there is one, and on a played one for what a machine without GPUs cannot show."""

from __future__ import annotations

import time

import pytest
from meters_fakes.nvml import Nvml

from edgecarbon.meters import MeterUnavailable, Options, nvml, probe
from edgecarbon.meters.integrate import Window, integrate


def nvml_meter(library: Nvml, devices: list[int | str] | None = None, **environ: str) -> nvml.NvmlMeter:
    return nvml.open_meter(Options(nvml=library, cuda_devices=devices, environ=environ))


def test_nvml_tells_counter_both_powers_and_the_thermal_state() -> None:
    library = Nvml({"mj": 1_234_567})
    meter = nvml_meter(library)
    told = {channel.id.split("/", 2)[2]: value for channel, value in zip(meter.channels(), meter.read(), strict=True)}
    assert told == {
        "energy": 1234.567, "power_instant": 250.0, "power_average": 240.0, "temperature": 61.0, "clock_sm": 1410.0,
        "throttle": 4.0, "utilisation": 0.93,
    }  # fmt: skip
    energy = meter.channels()[0]
    assert (energy.boundary, energy.provenance) == ("gpu_board", "measured")
    assert (energy.wraps, energy.max_watts) == (False, 400.0)
    assert energy.duty == 0.25
    assert energy.source == "nvmlDeviceGetTotalEnergyConsumption (A100, GPU-0aaa, driver 580.65.06)"
    assert nvml_meter(Nvml({"capability": (8, 9)})).channels()[0].duty is None
    meter.close()
    assert library.open == 0


def test_a_field_that_the_board_lacks_is_found_by_asking() -> None:
    old = Nvml({"refused": ("nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetUtilizationRates"), "w": {}})
    assert nvml_meter(old).channels()[0].id == "nvml/gpu0/power"
    silent = Nvml({"refused": ("nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetPowerUsage"), "w": {}})
    with pytest.raises(MeterUnavailable, match="neither energy nor power"):
        nvml_meter(silent)
    assert silent.open == 0


def test_a_failed_nvml_read_is_none_and_a_reloaded_driver_a_reset() -> None:
    library = Nvml({"mj": 500_000})
    meter = nvml_meter(library)
    values = [meter.read()[0]]
    library.boards[0]["refused"] = ("nvmlDeviceGetTotalEnergyConsumption",)
    values.append(meter.read()[0])
    library.boards[0].update(refused=(), mj=10_000)
    values.append(meter.read()[0])
    assert values == [500.0, None, 10.0]
    reading = integrate(meter.channels()[0], [0.0, 1.0, 2.0], values, Window(0, 2, 1.0))
    assert reading.joules is None
    assert "reset" in reading.flags


def test_mig_readings_say_that_they_are_of_the_whole_board() -> None:
    for library, devices in ((Nvml({"mig": 1}), None), (Nvml({}, {"slices": ["MIG-77"]}), ["MIG-77"])):
        energy, *_, utilisation = nvml_meter(library, devices).channels()
        assert energy.flags == ("mig_whole_board",)
        assert utilisation.flags == ()


@pytest.mark.parametrize(
    ("devices", "visible", "components"),
    [
        (None, None, ["gpu0", "gpu1", "gpu2"]),
        (None, "2,0", ["gpu2", "gpu0"]),
        (None, "1,-1,0", ["gpu1"]),
        (None, "GPU-2a", ["gpu2"]),
        ([0], None, ["gpu0"]),
        ([1], "2,0", ["gpu0"]),
        ([0, 0], "2", ["gpu2"]),
        (["GPU-1aaa"], "2", ["gpu1"]),
        (["1aaa"], None, ["gpu1"]),
    ],
)
def test_only_the_gpus_of_the_run_are_read(
    devices: list[int | str] | None, visible: str | None, components: list[str]
) -> None:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    meter = nvml_meter(Nvml({}, {}, {}), devices, **environ)
    assert list(dict.fromkeys(channel.component for channel in meter.channels())) == components


@pytest.mark.parametrize(
    ("devices", "environ", "why"),
    [
        ([], {}, "no CUDA GPU"),
        ([3], {}, "no GPU 3: 2 visible"),
        (["GPU-9"], {}, 'no GPU "GPU-9": here are GPU-0aaa, GPU-1aaa'),
        (None, {"CUDA_VISIBLE_DEVICES": ""}, "no GPU is visible"),
    ],
)
def test_a_gpu_that_is_not_there_is_named(devices: list[int | str] | None, environ: dict[str, str], why: str) -> None:
    with pytest.raises(MeterUnavailable, match=why):
        nvml_meter(Nvml({}, {}), devices, **environ)


def test_ordinals_among_unlike_gpus_need_the_order_of_their_addresses() -> None:
    with pytest.raises(MeterUnavailable, match="CUDA_DEVICE_ORDER"):
        nvml_meter(Nvml({}, {"name": "T4"}), [0])
    assert nvml_meter(Nvml({}, {"name": "T4"}), [1], CUDA_DEVICE_ORDER="PCI_BUS_ID").channels()[0].component == "gpu1"
    assert nvml_meter(Nvml({}, {"name": "T4"}), ["GPU-1aaa"]).channels()[0].component == "gpu1"


def test_the_real_library_answers_or_says_why_not() -> None:
    [told] = [entry for entry in probe(Options()) if entry["meter"] == "nvml"]
    if not told["present"]:
        assert "NVML" in told["reason"]
        return
    meter = nvml.open_meter(Options())
    first = dict(zip([c.id for c in meter.channels()], meter.read(), strict=True))
    time.sleep(0.5)
    last = dict(zip([c.id for c in meter.channels()], meter.read(), strict=True))
    for name in (name for name in first if name.endswith("/energy")):
        assert 0 < (last[name] or 0) - (first[name] or 0) < 1000
    meter.close()
