"""What a device says of itself: one script under several shells, the formats of the real tools, and hostile words."""

import math
import shutil
import subprocess
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecarbon.dispatch import facts

LIMITS = SimpleNamespace(battery_floor_percent=20.0, charger="any", ceiling_celsius=None, disk_floor_mbyte=0.0)
DUMPSYS = """Current Battery Service state:
  AC powered: false
  USB powered: {usb}
  Wireless powered: false
  Max charging current: 500000
  status: 3
  health: 2
  present: true
  level: {level}
  scale: 100
  voltage: 4017
  temperature: 287
  technology: Li-ion
"""
PMSET = """Now drawing from '{source}'
 -InternalBattery-0 (id=4653155)\t{percent}%; discharging; 4:15 remaining present: true
"""
THERM = (
    "Note: No thermal warning level has been recorded\n2026-01-01 CPU Power notify\n"
    "\tCPU_Scheduler_Limit \t= 100\n\tCPU_Speed_Limit \t= 72\n"
)


def tool(folder, name, *cases):
    """A stand-in for a tool of another system: what it prints for each set of arguments."""
    text = "".join(
        f"if [ \"$*\" = '{arguments}' ]; then cat <<'END'\n{output}\nEND\nfi\n" for arguments, output in cases
    )
    (folder / name).write_text(f"#!/bin/sh\n{text}")
    (folder / name).chmod(0o755)


def shells():
    found = [["dash"], ["bash", "--posix"], ["busybox", "sh"], ["sh"]]
    return [shell for shell in found if shutil.which(shell[0])]


def run(shell, tmp_path, sysfs=None, folder="/", path=None):
    script = facts.script(folder, str(sysfs or tmp_path / "nothing"))
    tools = path if path is not None else f"{tmp_path}:/usr/bin:/bin"
    command = [shutil.which(shell[0]), *shell[1:], "-c", script]
    ended = subprocess.run(command, env={"PATH": tools, "HOME": "/"}, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 0, ended.stderr
    return facts.parse(ended.stdout)


@pytest.fixture(params=shells(), ids=lambda shell: shell[0])
def shell(request):
    return request.param


def test_this_machine(shell, tmp_path):
    found = run(shell, tmp_path, sysfs="/sys", folder=str(tmp_path / "not/there yet"))
    assert found.system == "Linux"
    assert found.disk_free_bytes > 0
    assert found.memory_total_bytes > 2**28
    assert found.unix_s > 1.7e9


def test_no_tool_at_all(shell, tmp_path):
    assert run(shell, tmp_path, path=str(tmp_path)) == facts.Facts()


@pytest.mark.parametrize(("usb", "charger"), [("true", True), ("false", False)])
def test_android(shell, tmp_path, usb, charger):
    tool(
        tmp_path,
        "dumpsys",
        ("battery", DUMPSYS.format(usb=usb, level=71)),
        ("thermalservice", "IsStatusOverride: false\nThermal Status: 3"),
    )
    tool(tmp_path, "getprop", ("ro.build.version.release", "14"), ("ro.product.model", "SM-G991B"))
    tool(tmp_path, "settings", ("get global settings_enable_monitor_phantom_procs", "null"))
    found = run(shell, tmp_path)
    assert (found.battery_percent, found.charger_connected) == (71, charger)
    assert found.zones_celsius == {"battery": pytest.approx(28.7)}
    assert (found.android, found.model, found.throttled, found.phantom_killing) == ("14", "SM-G991B", True, True)
    tool(tmp_path, "settings", ("get global settings_enable_monitor_phantom_procs", "false"))
    assert run(shell, tmp_path).phantom_killing is False


@pytest.mark.parametrize(("source", "charger"), [("AC Power", True), ("Battery Power", False)])
def test_macos(shell, tmp_path, source, charger):
    tool(tmp_path, "pmset", ("-g batt", PMSET.format(source=source, percent=48)), ("-g therm", THERM))
    tool(tmp_path, "sysctl", ("-n hw.memsize", "17179869184"))
    found = run(shell, tmp_path)
    assert (found.battery_percent, found.charger_connected, found.throttled) == (48, charger, True)


@pytest.mark.parametrize(("online", "status"), [("1", "Charging"), ("0", "Discharging")])
def test_linux_laptop(shell, tmp_path, online, status):
    sysfs = tmp_path / "sys"
    tree = {
        "class/power_supply/AC/type": "Mains", "class/power_supply/AC/online": online,
        "class/power_supply/BAT0/type": "Battery", "class/power_supply/BAT0/capacity": "63",
        "class/power_supply/BAT0/status": status,
        "class/power_supply/hidpp_battery_0/type": "Battery", "class/power_supply/hidpp_battery_0/scope": "Device",
        "class/power_supply/hidpp_battery_0/capacity": "5",
        "class/thermal/thermal_zone0/type": "x86_pkg_temp", "class/thermal/thermal_zone0/temp": "54000",
        "class/hwmon/hwmon3/name": "coretemp", "class/hwmon/hwmon3/temp1_input": "61000",
    }  # fmt: skip
    for name, text in tree.items():
        (sysfs / name).parent.mkdir(parents=True, exist_ok=True)
        (sysfs / name).write_text(text + "\n")
    found = run(shell, tmp_path, sysfs)
    assert (found.battery_percent, found.battery_status, found.charger_connected) == (63, status, online == "1")
    assert found.zones_celsius == {"x86_pkg_temp": 54.0, "cpu": 61.0}
    assert found.hottest_celsius == 61.0


@given(st.text(max_size=400) | st.lists(st.sampled_from([
    "battery_percent=nan", "battery_percent=1e999", "zone x=-inf", "zone x=61000", "dumpsys=level: 7", "dumpsys=temperature:",
    "unix_s=", "=", "thermal_status=99", "disk_free_kbyte=-1", "online=\x00", "pmset=9999%", "memory_total_bytes=1e400",
])).map("\n".join))  # fmt: skip
def test_no_words_of_a_device_raise_or_become_a_number_that_is_none(text):
    found = facts.parse(text)
    numbers = [value for value in (*vars(found).values(), *found.zones_celsius.values()) if isinstance(value, float)]
    assert all(math.isfinite(value) for value in numbers)
    facts.troubles(found, LIMITS)
    facts.remedies(found, None)


@pytest.mark.parametrize(
    ("found", "changes", "words"),
    [
        ({"battery_percent": 12.0}, {}, "battery is at 12 %, and limits.battery_floor_percent asks for 20 %"),
        ({"charger_connected": True}, {"charger": "off"}, "charger is on, and limits.charger asks for off"),
        ({}, {"charger": "on"}, "charger is not to be told"),
        ({"hottest_celsius": 47.0}, {"ceiling_celsius": 40.0}, "at 47 °C, and limits.ceiling_celsius allows 40 °C"),
        (
            {"disk_free_bytes": 3e6},
            {"disk_floor_mbyte": 500.0},
            "3 MB of disk free, and limits.disk_floor_mbyte asks for 500 MB",
        ),
    ],
)
def test_what_keeps_a_device_from_a_run_is_told_with_the_way_out(found, changes, words):
    (trouble,) = facts.troubles(facts.Facts(**found), SimpleNamespace(**{**vars(LIMITS), **changes}))
    assert words in trouble.reason
    assert trouble.remedy
    assert facts.troubles(facts.Facts(**found), SimpleNamespace(**{**vars(LIMITS), "battery_floor_percent": 0.0})) == []


def test_missing_python_names_the_systems_own_command():
    (trouble,) = facts.remedies(facts.Facts(package_tool="pkg"), None)
    assert trouble.remedy.startswith("pkg install python")
    assert facts.remedies(facts.Facts(), {"problems": []}) == []
    (trouble,) = facts.remedies(
        facts.Facts(), {"problems": [{"what": "torch cannot be imported", "remedy": "setup_device_NAME"}]}
    )
    assert trouble.reason == "torch cannot be imported"
