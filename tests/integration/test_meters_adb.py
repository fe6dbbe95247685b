"""A phone's meters through a real adb and adbd; the phone's /sys and perfetto are stand-ins."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from edgecarbon.meters import android, odpm
from edgecarbon.meters.base import MeterUnavailable, Options
from peers import Adbd


def reach(adbd: Adbd, serial: str | None = None) -> list[str]:
    words = [f"{key}={value}" for key, value in adbd.environment.items()]
    return ["env", *words, "adb", "-s", serial or adbd.serial]


def loops(adbd: Adbd) -> list[psutil.Process]:
    """The phone's shells that run a meter's loop; one that ends as it is looked at has ended."""

    def runs(process: psutil.Process) -> bool:
        try:
            command = " ".join(process.cmdline())
            return process.name() == "sh" and "while " in command and "sleep 1" in command
        except psutil.NoSuchProcess:  # a zombie too
            return False

    return [one for one in psutil.Process(adbd.process.pid).children(recursive=True) if runs(one)]


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    until_s = time.monotonic() + seconds
    while not holds() and time.monotonic() < until_s:
        time.sleep(0.05)
    return holds()


def test_a_battery_is_followed_and_nothing_is_left_on_the_phone(adbd: Adbd, tmp_path: Path) -> None:
    battery = tmp_path / "sys/class/power_supply/battery"
    battery.mkdir(parents=True)
    told = {"charge_counter": 3_000_000, "voltage_now": 3_850_000, "current_now": -250_000, "status": "Discharging"}
    for name, value in told.items():
        (battery / name).write_text(f"{value}\n")
    meter = android.open_meter(Options(adb=reach(adbd), sysfs=str(tmp_path / "sys")))
    try:
        assert [one.quantity for one in meter.channels()] == ["energy", "charge", "voltage", "current", "discharging"]
        assert meter.read() == [0.0, pytest.approx(10_800.0), pytest.approx(3.85), -250_000.0, 1.0]
        (battery / "charge_counter").write_text("2999000\n")
        assert within(30, lambda: (meter.read()[0] or 0.0) > 0)
        assert meter.read()[0] == pytest.approx(13.86)
        assert loops(adbd)
    finally:
        meter.close()
    assert within(30, lambda: not loops(adbd))


def test_bytes_of_a_trace_pass_unchanged(adbd: Adbd) -> None:
    """The phone has no perfetto: its loop prints the empty packets that say so, until the connection ends."""
    stream = Options().access.stream([*reach(adbd), "shell", "-T", android.COMMAND], odpm._SCRIPT)
    printed = []
    try:
        assert within(30, lambda: len("".join(printed)) >= 4 or bool(printed.append(stream.take())))
        assert "".join(printed)[:4] == "\n\0\n\0"
        assert loops(adbd)
    finally:
        stream.close()
    assert within(30, lambda: not loops(adbd))


def test_a_phone_that_is_not_there(adbd: Adbd) -> None:
    with pytest.raises(MeterUnavailable, match="does not say `device`"):
        android.open_meter(Options(adb=reach(adbd, "nobody")))
