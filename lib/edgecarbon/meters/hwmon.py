"""Power and energy that Linux drivers show under /sys/class/hwmon: GPUs of AMD, a server's ACPI meter, sockets of AMD.

Every `powerN_input`, `powerN_average` (µW) and `energyN_input` (µJ) is logged. What it covers is known of three drivers
only, and only they are counted:

- `amdgpu`, boundary `gpu_board`, where the GPU is a card of its own. In a processor its figure holds the CPU as well
  (kernel documentation, "GPU Power/Thermal Controls"), which RAPL tells better: boundary none. That one tells the voltage
  of its northbridge, which a card has not.
- `power_meter` (ACPI), boundary `wall`, where it measures the whole machine and is no battery. Whether it sits before or
  behind the power supply's own loss, its maker knows.
- `amd_energy`, boundary `cpu_package`: the sockets. Its cores lie inside them and are left out. Like RAPL's on AMD, its
  counters behave like a model.

INA3221 sensors are left to `jetson`, batteries to `battery`. The layout is the kernel's Documentation/hwmon/
sysfs-interface.rst.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgecarbon.meters.access import Access
from edgecarbon.meters.base import Channel, MeterUnavailable, Options, Quantity, RunsOn, folders

RUNS_ON: RunsOn = "device"
AMD_GPU, ACPI_METER, AMD_SOCKETS = "amdgpu", "power_meter", "amd_energy"
_ELSEWHERE = ("ina3221",)
_MICRO = 1e-6
# Few drivers say how often they look. A processor's energy counters move each millisecond, as RAPL's do.
_POWER_PERIOD_S, _ENERGY_PERIOD_S = 1.0, 0.001
# A meter behind a management controller is slow to answer, and a chip's temperature and clock need no haste.
_SLOW_S = 1.0
_STATES: tuple[tuple[str, Quantity, str, float], ...] = (
    ("temp1_input", "temperature", "C", 1e-3),
    ("freq1_input", "frequency", "MHz", 1e-6),
)
_MEASURED_FILE = re.compile(r"(power|energy)(\d+)_(input|average)")
_WHOLE_MACHINE = "LNXSYBUS"  # the ACPI name of the bus that everything hangs on


@dataclass(frozen=True)
class _Sensor:
    channel: Channel
    path: str
    scale: float
    poll_s: float = 0.0


class HwmonMeter:
    """Component DRIVERn-LABEL, n counting the devices of one driver, the label its own or its number.

    Of a card that tells both, the power at a moment precedes the average: the first power channel is the one integrated.
    """

    name = "hwmon"

    def __init__(self, access: Access, sensors: Sequence[_Sensor]) -> None:
        self._access, self._sensors = access, sensors
        self._due_s = [float("-inf")] * len(sensors)
        self._values: list[float | None] = [None] * len(sensors)

    def channels(self) -> list[Channel]:
        return [sensor.channel for sensor in self._sensors]

    def read(self) -> list[float | None]:
        now_s = self._access.monotonic()
        for i, sensor in enumerate(self._sensors):
            if now_s >= self._due_s[i]:
                self._due_s[i] = now_s + sensor.poll_s
                self._values[i] = self._access.number(sensor.path, sensor.scale)
        return list(self._values)

    def close(self) -> None:
        self._access.close()


def open_meter(options: Options) -> HwmonMeter:
    root = os.path.join(options.sysfs, "class", "hwmon")
    found = list(find_sensors(options.access, options.sysfs))
    sensors = [sensor for sensor in found if options.access.number(sensor.path) is not None]
    if not any(sensor.channel.quantity in ("power", "energy") for sensor in sensors):
        hidden = [sensor.path for sensor in found if sensor.channel.quantity in ("power", "energy")]
        raise MeterUnavailable(
            f"{hidden[0]} cannot be read: energy counters are for root only (sudo chmod a+r opens it until the next "
            "boot), and a GPU that sleeps tells nothing"
            if hidden
            else f"no driver under {root} tells power or energy"
        )
    return HwmonMeter(options.access, sensors)


def find_sensors(access: Access, sysfs: str) -> Iterator[_Sensor]:
    """What drivers list, whether or not it can be read."""
    # hwmon shows every power supply again, under its name with "-" written "_".
    supplies = {name.replace("-", "_") for name in access.names(os.path.join(sysfs, "class", "power_supply"))}
    seen: Counter[str] = Counter()
    for entry in folders(access, os.path.join(sysfs, "class", "hwmon"), "hwmon"):
        # Older drivers keep their files in the device's own folder.
        folder = next((at for at in (entry, os.path.join(entry, "device")) if "name" in access.names(at)), entry)
        driver = access.read(os.path.join(folder, "name")) or ""
        if driver in _ELSEWHERE or driver in supplies:
            continue
        sensors = list(_of_driver(access, folder, driver, f"{driver}{seen[driver]}"))
        seen[driver] += 1
        yield from sensors


def _of_driver(access: Access, folder: str, driver: str, device: str) -> Iterator[_Sensor]:
    files = access.names(folder)
    matches = [match for name in files if (match := _MEASURED_FILE.fullmatch(name))]
    # By number; of one number the value at a moment ("input") before the average.
    matches.sort(key=lambda match: (match[1], int(match[2]), match[3] != "input"))
    labels = {
        match[1] + match[2]: access.read(os.path.join(folder, f"{match[1]}{match[2]}_label")) for match in matches
    }
    shared = {label for label, count in Counter(labels.values()).items() if count > 1}
    poll_s = _SLOW_S if driver == ACPI_METER else 0.0
    for match in matches:
        label = labels[match[1] + match[2]]
        if driver == AMD_SOCKETS and not (label or "").startswith("Esocket"):
            continue
        component = f"{device}-{label if label and label not in shared else match[2]}"
        path = os.path.join(folder, match[0])
        yield _Sensor(_channel(access, folder, driver, component, match, path), path, _MICRO, poll_s)
    if driver == AMD_GPU and matches:
        for name, quantity, unit, scale in _STATES:
            if name in files:
                path = os.path.join(folder, name)
                yield _Sensor(_state(device, quantity, unit, path), path, scale, _SLOW_S)


def _channel(access: Access, folder: str, driver: str, component: str, match: re.Match[str], path: str) -> Channel:
    energy = match[1] == "energy"
    interval_ms = access.number(os.path.join(folder, "power1_average_interval")) if driver == ACPI_METER else None
    return Channel(
        id=f"hwmon/{component}/{'energy' if energy else f'power_{match[3]}'}", meter="hwmon", component=component,
        quantity="energy" if energy else "power", unit="J" if energy else "W", boundary=boundary(access, folder, driver),
        provenance="modelled" if driver == AMD_SOCKETS else "measured", source=path,
        update_period_s=_ENERGY_PERIOD_S if energy else max(_POWER_PERIOD_S, (interval_ms or 0.0) * 1e-3),
        # The unit of the file, but for cards of AMD, whose firmware tells whole watts.
        resolution=1.0 if driver == AMD_GPU and not energy else _MICRO,
        accuracy_relative=_accuracy(access.read(os.path.join(folder, "power1_accuracy"))) if driver == ACPI_METER else None,
    )  # fmt: skip


def _state(device: str, quantity: Quantity, unit: str, path: str) -> Channel:
    return Channel(
        id=f"hwmon/{device}/{quantity}", meter="hwmon", component=device, quantity=quantity, unit=unit, boundary=None,
        provenance="measured", source=path, update_period_s=_POWER_PERIOD_S, resolution=1.0,
    )  # fmt: skip


def boundary(access: Access, folder: str, driver: str) -> str | None:
    """What a driver's figures cover, or None where nobody can say."""
    if driver == AMD_SOCKETS:
        return "cpu_package"
    if driver == AMD_GPU:
        return None if access.number(os.path.join(folder, "in1_input")) is not None else "gpu_board"
    if driver == ACPI_METER:
        measures = _measures(access, folder)
        whole = not measures or any(name.startswith(_WHOLE_MACHINE) for name in measures)
        return "wall" if whole and access.read(os.path.join(folder, "power1_is_battery")) != "1" else None
    return None


def _measures(access: Access, folder: str) -> list[str]:
    """The devices that an ACPI meter says it measures; none where it does not say."""
    return access.names(os.path.join(folder, "measures")) or access.names(os.path.join(folder, "device", "measures"))


def _accuracy(told: str | None) -> float | None:
    """ "95.0%" is right to ±5 %, a limit. What cannot be meant so (0 %, 100 %, less than half) is not stated."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)%", told or "")
    percent = float(found[1]) if found else 0.0
    return (1 - percent / 100) / math.sqrt(3) if 50 <= percent < 100 else None
