"""Bytes a day of samples at 10 Hz, a meter: the real meters read fake machines for a virtual hour, into the real file.

What packs badly is noise, so the fakes are noisy: training-like power that jumps between two levels every few tenths of a
second and is scattered about them, a drift, a temperature, clock, load and throttle reasons that change every second, and
samples late by up to a millisecond.
"""

from __future__ import annotations

import gzip
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml

from edgecarbon.meters import Meter, Options, estimate, nvml, rapl
from edgecarbon.meters.samples import SampleWriter
from fake_counters import Clock, Counter, Power, Powercap, Trouble, nvml_functions

HOUR_S, DAY_S = 3600.0, 86400.0
LATE_S = 1e-3
CORES, TICKS_PER_S = 8, 100
# Nobody's measured power: the figure does not matter here, only the work of coming by it.
ESTIMATE = {"idle_watts": 5.0, "busy_watts": 20.0, "relative_uncertainty": 0.5, "source": "a placeholder"}
Opened = tuple[Meter, Callable[[], object]]
"""A meter, and what closes the machine that it reads."""


def training(low_watts: float, high_watts: float, chance: random.Random) -> Power:
    """An hour between two levels, 0.7 s at the one and 1.4 s at the other, with 3 % of scatter and a drift of 5 %."""
    drift, steps = 0.0, []
    for i in range(round(HOUR_S * 10) + 1):
        drift = 0.999 * drift + chance.gauss(0, 0.002)
        level = low_watts if i // 7 % 3 == 0 else high_watts
        steps.append((i / 10, max(0.0, level * (1 + drift + chance.gauss(0, 0.03)))))
    return Power(*steps)


def an_estimate(clock: Clock, folder: Path, chance: random.Random) -> Opened:
    cores = "".join(f"cpu{i} 1 0 0 1 0 0 0 0 0 0\n" for i in range(CORES))
    path, busy = folder / "stat", [1, 0.0]

    def move() -> None:
        elapsed_s, busy[1] = clock.now_s - busy[1], clock.now_s
        busy[0] += round(elapsed_s * CORES * TICKS_PER_S * min(1.0, chance.gauss(0.95, 0.03)))
        # In place: the meter keeps the file open.
        with path.open("r+b" if path.exists() else "wb") as file:
            file.write(f"cpu  {busy[0]:020d} 0 0 1 0 0 0 0 0 0\n{cores}".encode())

    clock.moved = move
    move()
    return estimate.open_meter(Options(procfs=str(folder), estimate=ESTIMATE)), lambda: None


def a_package(clock: Clock, folder: Path, chance: random.Random) -> Opened:
    counter = Counter(training(15.0, 100.0, chance), Trouble(), 50_000.0, 0.001, 2.0**-14, 262143.328850)
    powercap = Powercap(folder, clock, counter)
    return rapl.open_meter(Options(sysfs=str(powercap.sysfs), procfs=str(powercap.procfs))), powercap.close


def a_board(clock: Clock, folder: Path, chance: random.Random) -> Opened:
    counter = Counter(training(210.0, 360.0, chance), Trouble(), 123_456.0, 0.1, 0.001)
    slow: dict[str, Callable[..., Any]] = {
        "nvmlDeviceGetTemperature": lambda *_: round(chance.gauss(62, 1)),
        "nvmlDeviceGetClockInfo": lambda *_: chance.choice((1935, 1950, 1965, 1980)),
        "nvmlDeviceGetCurrentClocksEventReasons": lambda *_: chance.choice((0, 0, 0, 4)),
        "nvmlDeviceGetUtilizationRates": lambda *_: SimpleNamespace(gpu=chance.randint(88, 100), memory=40),
    }
    library = SimpleNamespace(**{**nvml_functions(pynvml, clock, counter), **slow})
    return nvml.open_meter(Options(nvml=library, environ={})), lambda: None


MACHINES = {
    "estimate, 8 cores": an_estimate,
    "rapl, a package of 15 to 100 W": a_package,
    "nvml, a board of 210 to 360 W": a_board,
}


def sizes(period_s: float) -> list[dict[str, Any]]:
    return [size(name, machine, period_s) for name, machine in MACHINES.items()]


def size(name: str, machine: Callable[[Clock, Path, random.Random], Opened], period_s: float) -> dict[str, Any]:
    """Bytes a day of one meter, packed and as text, and the CPU time that writing takes a sample."""
    chance, clock, rows = random.Random(1), Clock(0.0), []
    with tempfile.TemporaryDirectory(prefix="bench-recorder-") as folder:
        with clock.patched():
            meter, close = machine(clock, Path(folder), chance)
            for i in range(1, round(HOUR_S / period_s)):
                clock.advance(i * period_s + chance.uniform(0, LATE_S))
                rows.append((round(clock.now_s, 4), meter.read()))
        path, channels = Path(folder) / "samples.jsonl.gz", meter.channels()
        meter.close()
        close()
        started_s = time.process_time()
        writer = SampleWriter(path, channels)
        for t_s, values in rows:
            writer.write(t_s, values)
        writer.close()
        spent_s = time.process_time() - started_s
        packed_bytes = path.stat().st_size
        text_bytes = len(gzip.decompress(path.read_bytes()))
    return {
        "meter": name,
        "channels": len(channels),
        "bytes_a_day": round(packed_bytes * DAY_S / HOUR_S),
        "text_bytes_a_day": round(text_bytes * DAY_S / HOUR_S),
        "write_us_a_sample": 1e6 * spent_s / len(rows),
        "failed_reads": sum(value is None for _, values in rows for value in values),
    }


def sizes_table(found: list[dict[str, Any]], hertz: float) -> str:
    lines = [
        f"{f'samples at {hertz:.0f} Hz':32} {'channels':>8} {'MB a day':>9} {'as text':>8} {'CPU, µs a sample':>17}"
    ]
    for one in found:
        packed, text = one["bytes_a_day"] / 1e6, one["text_bytes_a_day"] / 1e6
        lines.append(
            f"{one['meter']:32} {one['channels']:>8} {packed:>9.1f} {text:>8.1f} {one['write_us_a_sample']:>17.1f}"
        )
    lines.append("Fake machines with noise, a virtual hour times 24; the CPU time is that of the file alone.")
    return "\n".join(lines)
