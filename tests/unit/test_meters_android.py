"""A phone's battery through adb: the blocks that the phone's loop prints, replayed, and the loop itself in a real shell.

The fixtures are a block as the loop prints it on a phone whose /sys can be read, `dumpsys battery` of Android 14, of a
Samsung of 2018 and with a faked state, and `dumpsys thermalservice`; most of their numbers are invented.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from edgecarbon.meters.access import Replayed
from edgecarbon.meters.android import COMMAND, AndroidMeter, Blocks, decode, open_meter, volts
from edgecarbon.meters.base import MeterUnavailable, Options
from edgecarbon.meters.integrate import readings

FIXTURES = Path(__file__).parent / "meter_fixtures"
BLOCK = (FIXTURES / "android_block.txt").read_text()
ADB = ["adb", "-s", "emulator-5554"]
REACHED = {"t_s": 0.0, "run": [*ADB, "get-state"], "answer": "device\n"}
COULOMBS = 3.6e-3


def dumpsys(name: str) -> str:
    lines = (FIXTURES / f"dumpsys_battery{name}.txt").read_text().splitlines()
    told = "".join(f"dumpsys {line.strip()}\n" for line in lines)
    return f"begin 0\nuptime=12.50 80.1\ncurrent_now=\n{told}end 0\n"


def block(number: int = 0, uptime_s: float | None = None, **changed: object) -> str:
    """The fixture with other values; a value of None leaves the line out."""
    values = {"uptime": f"{5213.47 + number if uptime_s is None else uptime_s:.2f} 31002.18", **changed}
    lines = []
    for line in BLOCK.splitlines()[1:-1]:
        key = line.partition("=")[0]
        if values.get(key, "") is not None:
            lines.append(f"{key}={values[key]}" if key in values else line)
    return "\n".join([f"begin {number}", *lines, f"end {number}", ""])


def opened(*printed: tuple[float, str]) -> tuple[AndroidMeter, Replayed]:
    words = [*ADB, "shell", "-T", COMMAND]
    machine = Replayed([REACHED, *({"t_s": t_s, "take": words, "answer": text} for t_s, text in printed)])
    return open_meter(Options(access=machine, adb=ADB)), machine


def polled(meter: AndroidMeter, machine: Replayed, times: Sequence[float]) -> list[list[float | None]]:
    rows = []
    for machine.now_s in times:
        rows.append(meter.read())
    return [list(column) for column in zip(*rows, strict=True)]


def drained(seconds: int, charge_uah: Callable[[int], float], **others: object) -> list[dict[str, object]]:
    """Readings of a run in which a block comes each second."""
    meter, machine = opened(
        *((float(t), block(t, charge_counter=round(charge_uah(t)), **others)) for t in range(seconds))
    )
    times = [t / 2 for t in range(2 * seconds - 1)]
    columns = polled(meter, machine, times)
    return readings(meter.channels(), times, columns, "run", 0.0, seconds - 1.0, sample_period_s=0.5)


def test_a_block_tells_all_channels_in_si_units() -> None:
    meter, _ = opened((0.0, BLOCK))
    assert {one.id: value for one, value in zip(meter.channels(), meter.read(), strict=True)} == {
        "android/battery/energy": 0.0,
        "android/battery/charge": pytest.approx(10_800.0),
        "android/battery/voltage": pytest.approx(3.85),
        "android/battery/current": -250_000.0,
        "android/battery/discharging": 1.0,
        "android/battery/temperature": 27.1,
        "android/cpu/frequency": pytest.approx((1803 + 2253 + 2802) / 3),
        "android/phone/throttle": 0.0,
    }
    energy = meter.channels()[0]
    assert (energy.boundary, energy.unit, energy.provenance) == ("battery", "J", "measured")
    assert energy.resolution == pytest.approx(13.86)  # 1 mAh
    assert {one.boundary for one in meter.channels()[1:]} == {None}


def test_60_milliampere_hours_at_3_85_volts_are_831_6_joules() -> None:
    [reading] = drained(601, lambda t: 3_000_000 - 100 * t)
    assert reading["joules"] == pytest.approx(831.6)
    assert reading["boundary"] == "battery"


def test_a_gauge_that_steps_by_a_whole_milliampere_hour() -> None:
    [reading] = drained(601, lambda t: 3_000_000 - 1000 * (t // 10))
    assert reading["joules"] == pytest.approx(831.6, abs=13.86)
    assert "stalled" not in reading["flags"]
    assert "short" in reading["flags"]  # 60 of the 100 steps that it takes
    meter, machine = opened((0.0, BLOCK), (1.0, block(1, charge_counter=2_999_000)))
    machine.now_s = 1.0
    assert meter.read()[0] == pytest.approx(13.86)


def test_a_charge_that_rises_gives_no_energy() -> None:
    for rising in (lambda t: 3_000_000 + 100 * t, lambda t: 3_000_000 - 100 * min(t, 300) + 1000 * max(0, t - 300)):
        [reading] = drained(601, rising)
        assert reading["joules"] is None
        assert "charging" in reading["flags"]


@pytest.mark.parametrize("others", [{"status": "Charging"}, {"status": "Full"}, {"online": "1"}])
def test_a_phone_on_a_charger_gives_no_energy(others: dict[str, object]) -> None:
    [reading] = drained(121, lambda t: 3_000_000 - 100 * t, **others)
    assert reading["joules"] is None
    assert "charging" in reading["flags"]


def test_blocks_in_pieces_and_several_at_once() -> None:
    text = block(0) + block(1, charge_counter=2_999_000) + block(2, charge_counter=2_998_000, voltage_now=3_750_000)
    for cut in (len(BLOCK) + 20, 2 * len(BLOCK) + 20):
        meter, machine = opened((0.0, text[:cut]), (0.2, text[cut : cut + 50]), (0.4, text[cut + 50 :]))
        machine.now_s = 0.4
        assert meter.read()[0] == pytest.approx(3.6 * 3.85 + 3.6 * 3.80)


def test_what_a_block_lacks_is_none_and_comes_back() -> None:
    meter, machine = opened(
        (0.0, BLOCK), (1.0, block(1, charge_counter=None)), (2.0, block(2, voltage_now="-", temp="hot")),
        (3.0, block(3, charge_counter=2_997_000)),
    )  # fmt: skip
    machine.now_s = 1.0
    assert meter.read()[:3] == [None, None, pytest.approx(3.85)]
    machine.now_s = 2.0
    assert meter.read()[:3] == [None, pytest.approx(10_800.0), None]
    machine.now_s = 3.0
    assert meter.read()[0] == pytest.approx(3 * 13.86)  # the charge that went by meanwhile is not lost


def test_a_block_that_does_not_come_is_a_failed_read() -> None:
    meter, machine = opened((0.0, BLOCK), (5.0, block(5)[:-7]), (40.0, "\n" + block(40)))
    columns = polled(meter, machine, [0.0, 14.9, 15.1, 39.0, 40.0])
    assert [value is not None for value in columns[0]] == [True, True, False, False, True]


def test_blocks_that_were_held_up_are_not_taken_for_now() -> None:
    """The network stands still for 30 s; then all that was printed comes at once, and later the end of it."""
    late = "".join(block(number) for number in range(2, 10))
    meter, machine = opened((0.0, BLOCK), (1.0, block(1)), (31.0, late), (32.0, block(31, charge_counter=2_990_000)))
    columns = polled(meter, machine, [1.0, 31.0, 32.0])
    assert [value is not None for value in columns[0]] == [True, False, True]
    assert columns[1][2] == pytest.approx(2_990_000 * COULOMBS)


def test_the_thermal_status_is_kept_between_the_blocks_that_tell_it() -> None:
    quiet = [(float(t), block(t, thermal=None)) for t in range(1, 40)]
    meter, machine = opened((0.0, block(0, thermal=2)), *quiet)
    columns = polled(meter, machine, [float(t) for t in range(40)])
    assert columns[-1][:21] == [32.0] * 21  # slowed down for heat, in NVML's bit
    assert columns[-1][25:] == [None] * 15


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", {"charge": 10_800.0, "voltage": 3.85, "discharging": 1.0, "temperature": 27.1, "current": None}),
        ("_samsung", {"charge": None, "voltage": 4.063, "discharging": 0.0, "temperature": 32.6, "current": 321.0}),
        ("_faked", {"charge": None, "voltage": None, "discharging": None, "temperature": None, "current": None}),
    ],
)
def test_dumpsys_battery(name: str, expected: dict[str, float | None]) -> None:
    [said] = Blocks().add(dumpsys(name))
    told = decode(said)
    assert {key: told[key] for key in expected} == {  # type: ignore[index]
        key: None if value is None else pytest.approx(value) for key, value in expected.items()
    }


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (3850, 3.85),
        (3_850_000, 3.85),
        (4, 4.0),
        (13, 13.0),
        (7700, 7.7),
        (0, None),
        (-3850, None),
        (385, None),
        (None, None),
    ],
)
def test_a_voltage_is_what_a_battery_can_have(printed: float | None, expected: float | None) -> None:
    assert volts(printed) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    "text",
    [
        "begin 0\n" + "x" * 5_000_000, "begin 0\n" + "a=1\n" * 5000 + "end 0\n", "begin 0\n" * 5000, "end 0\n" * 5000,
        "\0\xff" * 5000, "begin 1\nend 0\n",
    ],
)  # fmt: skip
def test_garbage_is_dropped_and_the_next_block_is_read(text: str) -> None:
    blocks = Blocks()
    started_s = time.process_time()
    assert blocks.add(text) == []
    assert [said["charge_counter"] for said in blocks.add("\n" + BLOCK)] == [["3000000"]]
    assert time.process_time() - started_s < 0.5


def test_a_phone_that_draws_from_usb_is_not_drained_whatever_its_status_says() -> None:
    [said] = Blocks().add(dumpsys("").replace("USB powered: false", "USB powered: true"))
    assert decode(said)["discharging"] == 0.0


def test_a_long_line_is_dropped() -> None:
    assert Blocks().add("begin 0\nx=" + "y" * 1000 + "\nz=1\nend 0\n") == [{"z": ["1"]}]


@pytest.mark.parametrize("value", ["9" * 40, "1e6", "0x10", "٣", "", "-", "3000"])
def test_a_number_that_is_none(value: str) -> None:
    [said] = Blocks().add(block(charge_counter=value))
    assert decode(said)["charge"] is None


@pytest.mark.parametrize(
    ("adb", "entries", "why"),
    [
        (None, [], "no phone is reached by adb"),
        (ADB, [], "get-state` does not say `device`: `adb connect` the phone"),
        (ADB, [{**REACHED, "answer": "offline\n"}], "does not say `device`"),
        (ADB, [REACHED], "printed nothing within 10 s"),
        (ADB, [REACHED, block(charge_counter=3000)], "charge counter says '3000', which is no charge in µAh"),
        (ADB, [REACHED, block(voltage_now=None)], "it tells no voltage"),
        (ADB, [REACHED, dumpsys("_samsung")], "charge counter says '0'"),
        (ADB, [REACHED, dumpsys("_faked")], "adb shell dumpsys battery reset"),
        (ADB, [REACHED, "/system/bin/sh: syntax error\n"], "printed nothing"),
    ],
)
def test_why_it_is_not_there(adb: list[str] | None, entries: list[object], why: str) -> None:
    words = [*ADB, "shell", "-T", COMMAND]
    trace = [one if isinstance(one, dict) else {"t_s": 0.0, "take": words, "answer": one} for one in entries]
    with pytest.raises(MeterUnavailable, match=why):
        open_meter(Options(access=Replayed(trace), adb=adb))


# The loop itself, in this machine's shell.


def phone(folder: Path, battery: str = "dumpsys_battery.txt") -> list[str]:
    """An adb whose phone is this machine, with an Android's tools."""
    tools = {
        "adb": f'[ "$1" = get-state ] && {{ echo device; exit; }}\nPATH={shlex.quote(str(folder))}:$PATH exec sh -c "$3"',
        "dumpsys": f'cat {shlex.quote(str(FIXTURES))}/"$([ "$1" = battery ] && echo {battery} || echo dumpsys_$1.txt)"',
        "cmd": '[ "$*" = "battery get -f current_now" ] && echo -250000',
    }
    folder.mkdir(exist_ok=True)
    for name, text in tools.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return [str(folder / "adb")]


def sysfs(root: Path, **changed: str) -> Path:
    files = {
        "class/power_supply/battery/charge_counter": "3000000", "class/power_supply/battery/voltage_now": "3850000",
        "class/power_supply/battery/current_now": "-250000", "class/power_supply/battery/status": "Discharging",
        "class/power_supply/battery/temp": "271", "class/power_supply/usb/online": "0",
        "devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "1803000",
        "devices/system/cpu/cpufreq/policy4/scaling_cur_freq": "2253000",
    }  # fmt: skip
    for name, text in {**files, **changed}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    return root


def test_the_loop_reads_sys_and_follows_it(tmp_path: Path) -> None:
    root = sysfs(tmp_path / "it's /sys")
    meter = open_meter(Options(adb=phone(tmp_path / "bin"), sysfs=str(root)))
    try:
        first = dict(zip((one.id.removeprefix("android/") for one in meter.channels()), meter.read(), strict=True))
        assert first == {
            "battery/energy": 0.0, "battery/charge": pytest.approx(10_800.0), "battery/voltage": pytest.approx(3.85),
            "battery/current": -250_000.0, "battery/discharging": 1.0, "battery/temperature": 27.1,
            "cpu/frequency": 2028.0, "phone/throttle": 0.0,
        }  # fmt: skip
        assert all("/sys/" in one.source or "thermalservice" in one.source for one in meter.channels())
        (root / "class/power_supply/battery/charge_counter").write_text("2999000\n")
        until_s = time.monotonic() + 60
        while not meter.read()[0] and time.monotonic() < until_s:  # nothing while the file is written
            time.sleep(0.05)
        assert meter.read()[0] == pytest.approx(13.86)
    finally:
        meter.close()


def test_the_loop_falls_back_to_dumpsys(tmp_path: Path) -> None:
    meter = open_meter(Options(adb=phone(tmp_path / "bin"), sysfs=str(tmp_path)))
    meter.close()
    assert [one.id.removeprefix("android/") for one in meter.channels()] == [
        "battery/energy", "battery/charge", "battery/voltage", "battery/current", "battery/discharging",
        "battery/temperature", "phone/throttle",
    ]  # fmt: skip
    assert meter.read()[1:5] == [pytest.approx(10_800.0), pytest.approx(3.85), -250_000.0, 1.0]
    assert {one.source for one in meter.channels()} == {"adb: dumpsys battery", "adb: dumpsys thermalservice"}
