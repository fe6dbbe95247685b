"""RAPL, the estimate, temperature and the factory: on real trees of files, and on the real /proc/stat."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from meters_fakes.nvml import Nvml

from edgecarbon.meters import METERS, MeterUnavailable, Options, factory, open_meters, probe, rapl, thermal
from edgecarbon.meters import estimate as estimate_meter
from edgecarbon.meters.access import Access, Replayed
from edgecarbon.meters.integrate import Window, integrate

ESTIMATE = {"idle_watts": 5.0, "busy_watts": 20.0, "relative_uncertainty": 0.5, "source": "assumed for a test"}


def write(root: Path, files: dict[str, str | int]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="ascii")
    return root


def zone(path: str, name: str, energy_uj: int, maximum_uj: int | str = 262_143_328_850) -> dict[str, str | int]:
    folder = f"class/powercap/{path}"
    return {f"{folder}/name": name, f"{folder}/energy_uj": energy_uj, f"{folder}/max_energy_range_uj": maximum_uj}


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """Two packages with cores, memory and a platform domain, and the same package again through MMIO."""
    return write(
        tmp_path / "sys",
        {
            **zone("intel-rapl:0", "package-0", 261_993_328_850),
            **zone("intel-rapl:0:0", "core", 1),
            **zone("intel-rapl:0:1", "dram", 7_000_000),
            **zone("intel-rapl:1", "package-1", 5_000_000),
            **zone("intel-rapl:2", "psys", 9_000_000),
            **zone("intel-rapl-mmio:0", "package-0", 3),
            "class/powercap/intel-rapl/enabled": 1,
        },
    )


# RAPL.


def test_rapl_reads_packages_and_memory_and_nothing_inside_them(sysfs: Path) -> None:
    meter = rapl.open_meter(Options(sysfs=str(sysfs)))
    channels = meter.channels()
    assert [(c.id, c.boundary) for c in channels] == [
        ("rapl/package-0/energy", "cpu_package"), ("rapl/dram-0/energy", "dram"),
        ("rapl/package-1/energy", "cpu_package"),
    ]  # fmt: skip
    assert meter.read() == pytest.approx([261_993.32885, 7.0, 5.0])
    assert channels[0].wrap_joules == pytest.approx(262_143.32885)
    meter.close()


def test_rapl_counter_150_joules_before_its_maximum_wraps(sysfs: Path) -> None:
    meter = rapl.open_meter(Options(sysfs=str(sysfs)))
    first = meter.read()[0]
    write(sysfs, {"class/powercap/intel-rapl:0/energy_uj": 50_000_000})
    second = meter.read()[0]
    reading = integrate(meter.channels()[0], [0.0, 1.0], [first, second], Window(0, 1, 1.0))
    assert reading.joules == pytest.approx(200)
    assert "wrapped" in reading.flags
    meter.close()


def test_rapl_with_an_unreadable_maximum_cannot_tell_a_wrap(sysfs: Path) -> None:
    (sysfs / "class/powercap/intel-rapl:0/max_energy_range_uj").unlink()
    meter = rapl.open_meter(Options(sysfs=str(sysfs)))
    assert meter.channels()[0].wraps
    assert meter.channels()[0].wrap_joules is None
    meter.close()


def test_a_failed_rapl_read_is_none_and_the_next_one_counts(sysfs: Path) -> None:
    meter = rapl.open_meter(Options(sysfs=str(sysfs)))
    write(sysfs, {"class/powercap/intel-rapl:1/energy_uj": "nonsense"})
    assert meter.read()[2] is None
    write(sysfs, {"class/powercap/intel-rapl:1/energy_uj": 6_000_000})
    assert meter.read()[2] == pytest.approx(6.0)
    meter.close()


def test_rapl_for_root_only_says_how_to_open_it(sysfs: Path) -> None:
    class NotRoot(Access):
        def read(self, path: str, most_bytes: int = 4096) -> str | None:
            return None if path.endswith("energy_uj") else super().read(path, most_bytes)

    with pytest.raises(MeterUnavailable, match=r"root only since CVE-2020-8694: sudo chmod a\+r"):
        rapl.open_meter(Options(access=NotRoot(), sysfs=str(sysfs)))


def test_rapl_on_a_machine_without_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(MeterUnavailable, match="virtual"):
        rapl.open_meter(Options(sysfs=str(tmp_path)))


@pytest.mark.parametrize(("vendor", "provenance"), [("GenuineIntel", "measured"), ("AuthenticAMD", "modelled")])
def test_rapl_of_amd_is_a_model(sysfs: Path, tmp_path: Path, vendor: str, provenance: str) -> None:
    write(tmp_path / "proc", {"cpuinfo": f"vendor_id\t: {vendor}"})
    meter = rapl.open_meter(Options(sysfs=str(sysfs), procfs=str(tmp_path / "proc")))
    assert {channel.provenance for channel in meter.channels()} == {provenance}
    meter.close()


# The estimate.


def burn(duration_s: float) -> None:
    end_s = time.process_time() + duration_s
    while time.process_time() < end_s:
        pass


def test_the_estimate_lies_between_idle_and_busy_and_is_labelled() -> None:
    meter = estimate_meter.open_meter(Options(estimate=ESTIMATE))
    channel = meter.channels()[0]
    assert (channel.provenance, channel.boundary, channel.accuracy_relative) == ("estimated", "cpu_package", 0.5)
    assert "assumed for a test" in channel.source
    start_s, first = time.monotonic(), meter.read()[0]
    burn(0.4)
    elapsed_s, (last, utilisation) = time.monotonic() - start_s, meter.read()
    assert first is not None
    assert last is not None
    assert utilisation is not None
    assert 5 * elapsed_s < last - first <= 20 * elapsed_s + 10 * channel.resolution
    assert 0 < utilisation <= 1
    meter.close()


@pytest.mark.parametrize("stat", [None, "cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0", "garbage"])
def test_without_a_usable_proc_stat_this_process_is_counted(tmp_path: Path, stat: str | None) -> None:
    if stat is not None:
        write(tmp_path, {"stat": stat})
    meter = estimate_meter.open_meter(Options(estimate=ESTIMATE, procfs=str(tmp_path)))
    assert "this process" in meter.channels()[0].source
    start_s, first = time.monotonic(), meter.read()[0] or 0.0
    burn(0.3)
    joules, elapsed_s = (meter.read()[0] or 0.0) - first, time.monotonic() - start_s
    assert joules == pytest.approx(5 * elapsed_s + 15 * 0.3 / (os.cpu_count() or 1), rel=0.1)
    meter.close()


def test_the_estimate_counts_busy_ticks_of_all_cores(tmp_path: Path) -> None:
    def stat(busy: int) -> dict[str, str | int]:
        return {"stat": f"cpu  {busy} 0 0 1000 50 0 0 0 0 0\ncpu0 1 0 0 0\ncpu1 1 0 0 0\nintr 1"}

    write(tmp_path, stat(100))
    meter = estimate_meter.open_meter(Options(estimate={**ESTIMATE, "idle_watts": 0.0}, procfs=str(tmp_path)))
    write(tmp_path, stat(300))
    assert meter.read()[0] == pytest.approx(20.0 * 2.0 / 2)  # 2 s of CPU on 2 cores
    write(tmp_path, {"stat": ""})
    assert meter.read() == [None, None]
    meter.close()


def test_without_busy_watts_the_cores_are_counted_and_the_source_says_so() -> None:
    guess = {key: value for key, value in ESTIMATE.items() if key != "busy_watts"}
    meter = estimate_meter.open_meter(Options(estimate=guess))
    channel = meter.channels()[0]
    assert channel.max_watts == 5 + estimate_meter.WATTS_PER_CORE * (os.cpu_count() or 1)
    assert "assuming 8 W a busy core" in channel.source
    meter.close()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"idle_watts": None}, "idle_watts"), ({"source": ""}, "source"), ({"busy_watts": 1.0}, "busy_watts"),
        ({"idle_watts": -1.0}, "idle_watts"), ({"relative_uncertainty": 0.0}, "relative_uncertainty"),
        ({"busy_watts": float("nan")}, "busy_watts"),
    ],
)  # fmt: skip
def test_a_wrong_estimate_is_refused(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        estimate_meter.open_meter(Options(estimate={**ESTIMATE, **change}))


# Temperature and clocks.


def test_thermal_tells_the_hottest_sensor_and_the_mean_clock(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "class/hwmon/hwmon0/name": "nvme", "class/hwmon/hwmon0/temp1_input": 90_000,
            "class/hwmon/hwmon1/name": "coretemp", "class/hwmon/hwmon1/temp1_input": 55_000,
            "class/hwmon/hwmon1/temp2_input": 61_500,
            **{f"devices/system/cpu/cpufreq/policy{n}/scaling_cur_freq": 1_000_000 + 100_000 * n for n in range(20)},
        },
    )  # fmt: skip
    meter = thermal.open_meter(Options(sysfs=str(tmp_path)))
    assert [channel.id for channel in meter.channels()] == ["thermal/cpu/temperature", "thermal/cpu/frequency"]
    celsius, megahertz = meter.read()
    assert celsius == pytest.approx(61.5)
    assert 1000 < (megahertz or 0) < 2900
    assert "and 6 more" in meter.channels()[1].source  # every third of twenty
    meter.close()


def test_thermal_zones_stand_in_and_a_sensor_that_refuses_is_left_out(tmp_path: Path) -> None:
    zones = tmp_path / "class/thermal"
    write(zones, {"thermal_zone0/type": "acpitz", "thermal_zone0/temp": 30_000})
    write(zones, {"thermal_zone1/type": "x86_pkg_temp", "thermal_zone1/temp": "-"})
    meter = thermal.open_meter(Options(sysfs=str(tmp_path)))
    assert meter.read() == [30.0]
    meter.close()
    with pytest.raises(MeterUnavailable, match="virtual machine"):
        thermal.open_meter(Options(sysfs=str(tmp_path / "nothing")))


# The factory.


def names(meters: list[Any]) -> list[str]:
    found = [meter.name for meter in meters if meter.name not in factory.ALWAYS]
    for meter in meters:
        meter.close()
    return found


def test_auto_takes_the_estimate_only_where_nothing_tells_the_cpu(sysfs: Path, tmp_path: Path) -> None:
    gpu, none = Nvml({}), str(tmp_path / "none")
    assert names(open_meters(["auto"], ESTIMATE, cuda_devices=[], sysfs=str(sysfs))) == ["rapl"]
    assert names(open_meters(["auto"], ESTIMATE, cuda_devices=[], sysfs=none)) == ["estimate"]
    assert names(open_meters(["auto"], ESTIMATE, nvml=gpu, environ={}, sysfs=none)) == ["nvml", "estimate"]
    assert names(open_meters(["auto"], ESTIMATE, nvml=gpu, environ={}, sysfs=str(sysfs))) == ["nvml", "rapl"]
    assert names(open_meters(["auto", "estimate"], ESTIMATE, cuda_devices=[], sysfs=str(sysfs))) == ["rapl", "estimate"]


def test_auto_tells_what_is_absent_and_why(tmp_path: Path) -> None:
    absent: dict[str, str] = {}
    nowhere = str(tmp_path)
    found = open_meters(
        ["auto"],
        None,
        on_absent=absent.__setitem__,
        cuda_devices=[],
        sysfs=nowhere,
        procfs=nowhere,
        access=Replayed([]),
    )
    assert found == []
    assert set(absent) == {name for name, kind in METERS.items() if kind.RUNS_ON == "device"}
    assert "idle_watts" in absent["estimate"]


@pytest.mark.parametrize(("name", "near"), [("nvlm", "nvml"), ("Rapl", "rapl"), ("estimates", "estimate")])
def test_an_unknown_meter_is_refused_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ValueError, match=f'expected one of auto, .*; did you mean "{near}"'):
        open_meters([name], ESTIMATE)


def test_a_meter_asked_for_by_name_must_be_there(tmp_path: Path) -> None:
    gpu = Nvml({})
    with pytest.raises(MeterUnavailable, match="rapl: no intel-rapl package"):
        open_meters(["nvml", "rapl"], ESTIMATE, nvml=gpu, environ={}, sysfs=str(tmp_path))
    assert gpu.open == 0  # what was opened before it is closed again


def test_probe_tells_each_meter_with_its_channels_or_the_reason(sysfs: Path) -> None:
    told = {entry["meter"]: entry for entry in probe(Options(estimate=ESTIMATE, cuda_devices=[], sysfs=str(sysfs)))}
    assert set(told) == {name for name, kind in METERS.items() if kind.RUNS_ON == "device"}
    assert told["rapl"]["present"]
    assert told["rapl"]["channels"][1]["value"] == pytest.approx(7.0)
    assert told["estimate"]["runs_on"] == "device"
    assert told["nvml"] == {
        "meter": "nvml", "present": False, "reason": "this run uses no CUDA GPU", "runs_on": "device", "channels": [],
    }  # fmt: skip
