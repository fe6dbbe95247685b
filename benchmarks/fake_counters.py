"""A machine of known power whose counters move in virtual time: a powercap tree of files and the functions of NVML.

The fake is as good as the real ones are: RAPL moves every millisecond in steps of 2^-14 J and wraps; NVML's counter and
power move every 100 ms in mJ and mW. All of it is a function of the virtual time, so that the true energy is exact.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import heapq
import itertools
import math
import os
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

# Virtual wall clock at t = 0 (2027-01-15), and a monotonic clock that does not begin at zero either.
EPOCH_S, BOOT_S = 1.8e9, 5000.0


class Clock:
    """Virtual seconds, 0 at the window's start. What is due is done on the way, in order, and takes no time."""

    def __init__(self, start_s: float, wall_step: tuple[float, float] | None = None) -> None:
        self.now_s = start_s
        self.died: list[Exception] = []
        self._wall_step = wall_step
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._asleep = threading.Event()
        self._gates: list[threading.Event] = []
        self._closed = False
        self.moved: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return BOOT_S + self.now_s

    def wall(self) -> float:
        at_s, step_s = self._wall_step or (math.inf, 0.0)
        return EPOCH_S + self.now_s + (step_s if self.now_s >= at_s else 0.0)

    def call_in(self, seconds: float, function: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now_s + seconds, next(self._order), function))

    def advance(self, to_s: float) -> None:
        while self._due and self._due[0][0] <= to_s:
            self.now_s, _, function = heapq.heappop(self._due)
            self.moved()
            function()
        self.now_s = to_s
        self.moved()

    def spawn(self, target: Callable[..., object], *args: Any) -> None:
        """Runs `target` beside, up to its first `sleep` and on whenever that is over; its error is kept in `died`."""

        def body() -> None:
            try:
                target(*args)
            except Exception as error:
                self.died.append(error)
            finally:
                self._asleep.set()

        self._resume(threading.Thread(target=body, daemon=True).start)

    def sleep(self, seconds: float) -> None:
        """For what was spawned: hands back to `advance` until the time has come, and ends the thread at `close`."""
        gate = threading.Event()
        self._gates.append(gate)
        self.call_in(seconds, lambda: self._resume(gate.set))
        self._asleep.set()
        gate.wait()
        self._gates.remove(gate)
        if self._closed:
            raise SystemExit

    def _resume(self, go: Callable[[], None]) -> None:
        self._asleep.clear()
        go()
        self._asleep.wait()

    def close(self) -> None:
        self._closed = True
        for gate in list(self._gates):
            self._resume(gate.set)

    @contextlib.contextmanager
    def patched(self) -> Iterator[None]:
        """Python's own clocks; threads and their timeouts go on by the real one."""
        with (
            mock.patch.object(time, "time", self.wall),
            mock.patch.object(time, "monotonic", self.monotonic),
            mock.patch.object(time, "perf_counter", self.monotonic),
        ):
            yield


class Power:
    """Watts that change in steps: [(from_s, watts), ...]; the first hold since ever, the last for ever."""

    def __init__(self, *steps: tuple[float, float]) -> None:
        self._times = [from_s for from_s, _ in steps]
        self._watts = [watts for _, watts in steps]
        self._joules = [0.0]
        for (t0_s, watts), (t1_s, _) in itertools.pairwise(steps):
            self._joules.append(self._joules[-1] + watts * (t1_s - t0_s))

    def watts(self, t_s: float) -> float:
        return self._watts[self._index(t_s)]

    def joules(self, t_s: float) -> float:
        """Since the first step; negative before it."""
        i = self._index(t_s)
        return self._joules[i] + self._watts[i] * (t_s - self._times[i])

    def _index(self, t_s: float) -> int:
        return max(0, bisect_right(self._times, t_s) - 1)


@dataclass(frozen=True)
class Trouble:
    """What goes wrong, in seconds of the window: stretches are (from, to), and counters wrap or start again by themselves.

    `lost` is a stretch in which the counter stands still and which it never catches up with; `late` one with which it does.
    """

    lost: tuple[float, float] | None = None
    late: tuple[float, float] | None = None
    reset_s: float | None = None
    failing: tuple[float, float] | None = None
    wall_step: tuple[float, float] | None = None
    denied: bool = False
    no_counter: bool = False

    def fails(self, t_s: float) -> bool:
        return self.failing is not None and self.failing[0] <= t_s < self.failing[1]


@dataclass(frozen=True)
class Counter:
    """Joules since `start_joules` at t = 0, moving every `update_s`, in whole `resolution`s, wrapping at `wrap_joules`."""

    power: Power
    trouble: Trouble
    start_joules: float
    update_s: float
    resolution: float
    wrap_joules: float = math.inf

    def read(self, t_s: float) -> float:
        whole = self.unwrapped(t_s) % self.wrap_joules
        return math.floor(whole / self.resolution) * self.resolution

    def unwrapped(self, t_s: float) -> float:
        # Updates fall between the moments that a program is likely to read at.
        shown_s = last_update_s(t_s, self.update_s)
        joules = self._counted(shown_s) - self.power.joules(0.0)
        if self.trouble.reset_s is not None and shown_s >= self.trouble.reset_s:
            return joules - (self._counted(self.trouble.reset_s) - self.power.joules(0.0))
        return self.start_joules + joules

    def _counted(self, t_s: float) -> float:
        if self.trouble.late and self.trouble.late[0] <= t_s < self.trouble.late[1]:
            return self.power.joules(self.trouble.late[0])
        if self.trouble.lost:
            from_s, to_s = self.trouble.lost
            return self.power.joules(t_s) - (self.power.joules(min(max(t_s, from_s), to_s)) - self.power.joules(from_s))
        return self.power.joules(t_s)


def last_update_s(t_s: float, update_s: float) -> float:
    return (math.floor(t_s / update_s - 0.37) + 0.37) * update_s


class Powercap:
    """One package and its cores under `root`, linked together as the kernel does; the files follow the clock."""

    def __init__(self, root: Path, clock: Clock, counter: Counter) -> None:
        self.sysfs, self.procfs = root / "sys", root / "proc"
        self._root, self._clock, self._counter = str(root), clock, counter
        zone = self.sysfs / "devices/virtual/powercap/intel-rapl/intel-rapl:0"
        links = self.sysfs / "class/powercap"
        links.mkdir(parents=True)
        self._energies = [self._zone(zone, "package-0"), self._zone(zone / "intel-rapl:0:0", "core")]
        (zone.parent / "subsystem").symlink_to(links)
        for folder in (zone.parent, zone, zone / "intel-rapl:0:0"):
            (links / folder.name).symlink_to(folder)
        self.procfs.mkdir()
        (self.procfs / "cpuinfo").write_text("vendor_id\t: GenuineIntel\n")
        clock.moved = self.write
        self.write()

    @property
    def control(self) -> Path:
        return self.sysfs / "class/powercap/intel-rapl"

    def _zone(self, folder: Path, name: str) -> int:
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "max_energy_range_uj").write_text(f"{round(self._counter.wrap_joules * 1e6)}\n")
        return os.open(folder / "energy_uj", os.O_CREAT | os.O_RDWR)

    def write(self) -> None:
        joules = self._counter.read(self._clock.now_s)
        for file, share in zip(self._energies, (1.0, 0.6), strict=True):
            # The length never changes: a reader meets no half of a number.
            os.pwrite(file, f"{int(joules * share * 1e6):020d}\n".encode(), 0)

    def close(self) -> None:
        for file in self._energies:
            os.close(file)

    @contextlib.contextmanager
    def patched(self) -> Iterator[None]:
        """Reads of the counters fail when they should, whoever runs this: root may read everything."""
        real = SimpleNamespace(open=builtins.open, os_open=os.open, pread=os.pread, access=os.access)
        trouble, paths = self._counter.trouble, dict[int, str]()

        def is_counter(path: Any) -> bool:
            return str(path).startswith(self._root) and str(path).endswith("energy_uj")

        def check(path: Any) -> None:
            if is_counter(path) and trouble.denied:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            if is_counter(path) and trouble.fails(self._clock.now_s):
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

        def opened(path: Any, *args: Any, **kwargs: Any) -> Any:
            check(path)
            return real.open(path, *args, **kwargs)

        def os_opened(path: Any, *args: Any, **kwargs: Any) -> int:
            check(path)
            file: int = real.os_open(path, *args, **kwargs)
            paths[file] = str(path)
            return file

        def pread(file: int, *args: int) -> bytes:
            check(paths.get(file, ""))
            read: bytes = real.pread(file, *args)
            return read

        def access(path: Any, mode: int, **kwargs: Any) -> bool:
            return bool(real.access(path, mode, **kwargs)) and not (trouble.denied and is_counter(path))

        with (
            mock.patch.object(builtins, "open", opened),
            mock.patch.object(os, "open", os_opened),
            mock.patch.object(os, "pread", pread),
            mock.patch.object(os, "access", access),
        ):
            yield


def nvml_functions(pynvml: Any, clock: Clock, counter: Counter) -> dict[str, Callable[..., Any]]:
    """What of `pynvml` is replaced, for one A100; without an energy counter it is one of the Pascal generation."""
    trouble, power = counter.trouble, counter.power

    def answer(refused: bool, value: Callable[[], int]) -> int:
        if refused:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        if trouble.fails(clock.now_s):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_UNKNOWN)
        return value()

    def energy(_handle: Any) -> int:
        if trouble.denied:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NO_PERMISSION)
        return answer(trouble.no_counter, lambda: round(counter.read(clock.now_s) * 1000))

    def instant_mw() -> int:
        return round(power.watts(last_update_s(clock.now_s, counter.update_s)) * 1000)

    def average_mw() -> int:
        shown_s = last_update_s(clock.now_s, counter.update_s)
        return round((power.joules(shown_s) - power.joules(shown_s - 1.0)) * 1000)

    def fields(_handle: Any, asked: Sequence[Any]) -> list[Any]:
        told = {pynvml.NVML_FI_DEV_POWER_INSTANT: instant_mw, pynvml.NVML_FI_DEV_POWER_AVERAGE: average_mw}
        found = []
        for one in asked:
            number = one[0] if isinstance(one, tuple) else one
            try:
                milliwatts = answer(trouble.no_counter or number not in told, told.get(number, instant_mw))
                found.append(SimpleNamespace(nvmlReturn=0, value=SimpleNamespace(uiVal=milliwatts)))
            except pynvml.NVMLError as error:
                found.append(SimpleNamespace(nvmlReturn=error.value, value=SimpleNamespace(uiVal=0)))
        return found

    def unsupported(*_arguments: Any) -> Any:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    # Before Ampere and on an A100 the plain power reading is the sampled one, later an average of 1 s.
    plain: dict[str, Any] = {
        "nvmlInit": None, "nvmlShutdown": None, "nvmlDeviceGetCount": 1, "nvmlDeviceGetHandleByIndex": "gpu",
        "nvmlDeviceGetUUID": "GPU-00000000-0000-0000-0000-000000000000", "nvmlDeviceGetName": "a fake board",
        "nvmlDeviceGetPowerManagementLimitConstraints": (100_000, 400_000),
        "nvmlDeviceGetEnforcedPowerLimit": 400_000, "nvmlDeviceGetTemperature": 60, "nvmlDeviceGetClockInfo": 1410,
        "nvmlDeviceGetCurrentClocksEventReasons": 0, "nvmlDeviceGetComputeMode": 0,
        "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=90, memory=40),
        "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=1 << 36, free=1 << 35, used=1 << 35),
        "nvmlDeviceGetComputeRunningProcesses": (), "nvmlDeviceGetGraphicsRunningProcesses": (),
        "nvmlDeviceGetArchitecture":
            pynvml.NVML_DEVICE_ARCH_PASCAL if trouble.no_counter else pynvml.NVML_DEVICE_ARCH_AMPERE,
    }  # fmt: skip
    return {
        **{name: lambda *_arguments, value=value: value for name, value in plain.items()},
        "nvmlDeviceGetTotalEnergyConsumption": energy,
        "nvmlDeviceGetPowerUsage": lambda _handle: answer(False, instant_mw),
        "nvmlDeviceGetFieldValues": fields,
        "nvmlDeviceGetMigMode": unsupported,
        "nvmlDeviceGetC2cModeInfoV": unsupported,
    }
