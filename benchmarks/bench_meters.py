"""Is the figure right? These meters, Zeus and codecarbon read the same counters, whose true energy is known.

The counters are fakes that move in virtual time (fake_counters.py); the tools are the real ones, and what they call (the
RAPL files, pynvml, the clocks, a timer) is put in its place beneath them. Nothing is timed and nothing is a property of
this machine: what is compared is what each tool makes of a counter that wraps, fails, stands still or starts again.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import logging
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pynvml

from edgecarbon.meters import open_meters
from edgecarbon.meters.integrate import readings
from edgecarbon.meters.totals import headline
from fake_counters import Clock, Counter, Power, Powercap, Trouble, nvml_functions

PERIOD_S = 0.1
# Before the window, when tools are made ready, and how long our recorder runs on, as it does between two windows.
BEFORE_S = 5.0
MARGIN_S = 1.0
# A figure off by more than this share of the truth is wrong.
RIGHT_WITHIN = 0.01
DESKTOP_WRAP_JOULES, SERVER_WRAP_JOULES = 262143.328850, 65532.610987

HUNDRED = Power((0.0, 100.0))
STEP = Power((0.0, 60.0), (5.0, 300.0))
# Neither length is a multiple of anyone's period.
BURSTS = Power(*((1.73 * i + after_s, watts) for i in range(-5, 45) for after_s, watts in ((0.5, 400.0), (0.73, 60.0))))


@dataclass(frozen=True)
class Case:
    """Power over a window of `duration_s`, and what goes wrong; `start_joules` is the counter at the window's start."""

    name: str
    trouble: Trouble = field(default_factory=Trouble)
    power: Power = HUNDRED
    duration_s: float = 60.0
    start_joules: float = 100_000.0
    wrap_joules: float = DESKTOP_WRAP_JOULES
    sources: tuple[str, ...] = ("rapl", "nvml")

    @property
    def true_joules(self) -> float:
        return self.power.joules(self.duration_s) - self.power.joules(0.0)

    def counter(self, source: str) -> Counter:
        if source == "rapl":
            return Counter(self.power, self.trouble, self.start_joules, 0.001, 2.0**-14, self.wrap_joules)
        return Counter(self.power, self.trouble, self.start_joules, 0.1, 0.001)

    def counter_error(self, source: str) -> float:
        """What the counter itself misses between the window's ends, wraps and resets aside: no tool's fault."""
        counter = self.counter(source)
        counter = replace(counter, trouble=replace(self.trouble, reset_s=None))
        return counter.unwrapped(self.duration_s) - counter.unwrapped(0.0) - self.true_joules


RAPL, NVML = ("rapl",), ("nvml",)
CASES = (
    Case("steady 100 W"),
    Case("5 s at 60 W, then 55 s at 300 W", power=STEP),
    Case("400 W for 0.23 s in every 1.73 s, else 60 W", power=BURSTS),
    Case("the same on a board without a counter", Trouble(no_counter=True), BURSTS, sources=NVML),
    Case("wraps once, after 30 s", start_joules=DESKTOP_WRAP_JOULES - 3000, sources=RAPL),
    Case("wraps twice in 10 min at 300 W", power=Power((0.0, 300.0)), duration_s=600.0, start_joules=10_000.0,
         wrap_joules=SERVER_WRAP_JOULES, sources=RAPL),
    Case("wraps 0.03 s before the end", duration_s=60.05, start_joules=DESKTOP_WRAP_JOULES - 6002, sources=RAPL),
    Case("every read at 30 s fails, for 0.1 s", Trouble(failing=(29.95, 30.05))),
    Case("the same, and wraps 15 s later", Trouble(failing=(29.95, 30.05)),
         start_joules=DESKTOP_WRAP_JOULES - 4500, sources=RAPL),
    Case("every read at the start fails, for 0.1 s", Trouble(failing=(-0.05, 0.05))),
    Case("every read at the end fails, for 0.1 s", Trouble(failing=(59.95, 60.05))),
    Case("stands still for 10 s, then catches up", Trouble(late=(25.02, 35.02))),
    Case("stands still for 10 s, never catches up", Trouble(lost=(25.02, 35.02))),
    Case("stands still over the last 10 s", Trouble(late=(50.02, 61.52))),
    Case("starts again from 0 after 30 s", Trouble(reset_s=30.02)),
    Case("the wall clock goes back an hour", Trouble(wall_step=(30.02, -3600.0))),
    Case("permission denied", Trouble(denied=True)),
)  # fmt: skip


@dataclass
class Told:
    """What a tool made of a case: None where it has no figure, and every word that it said of it."""

    joules: float | None = None
    uncertainty_joules: float | None = None
    said: list[str] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class World:
    source: str
    case: Case
    clock: Clock
    powercap: Powercap | None


@contextlib.contextmanager
def world(source: str, case: Case) -> Iterator[World]:
    """A machine with a package (`rapl`) or a board (`nvml`), never both, in virtual time."""
    clock = Clock(-BEFORE_S, case.trouble.wall_step)
    counter = case.counter(source)

    def no_driver() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    functions = nvml_functions(pynvml, clock, counter) if source == "nvml" else {"nvmlInit": no_driver}
    with tempfile.TemporaryDirectory(prefix="bench-meters-") as folder, contextlib.ExitStack() as stack:
        powercap = Powercap(Path(folder), clock, counter) if source == "rapl" else None
        if powercap:
            stack.callback(powercap.close)
            stack.enter_context(powercap.patched())
        stack.enter_context(mock.patch.multiple(pynvml, **functions))
        stack.enter_context(clock.patched())
        stack.callback(clock.close)
        yield World(source, case, clock, powercap)


class Words(logging.Handler):
    """What a tool's logger warns of, each message once and without the fake's folder."""

    def __init__(self, here: World) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []
        self._root = str(here.powercap.sysfs.parent) if here.powercap else ""

    def emit(self, record: logging.LogRecord) -> None:
        self.add(record.getMessage())

    def add(self, text: str) -> None:
        short = " ".join(text.replace(self._root, "").split())
        if short not in self.said:
            self.said.append(short)


def edgecarbon(here: World) -> Told:
    """The recorder's schedule and marks, by virtual time, into its own integrator."""
    places: dict[str, Any] = (
        {"sysfs": str(here.powercap.sysfs), "procfs": str(here.powercap.procfs)} if here.powercap else {}
    )
    try:
        meters = open_meters([here.source], nvml=pynvml, environ={}, **places)
    except ValueError as error:
        words = Words(here)
        words.add(f"raises {type(error).__name__}: {error}")
        return Told(said=words.said)
    end_s = here.case.duration_s
    polls = (
        round(PERIOD_S * i, 6) for i in range(-round(MARGIN_S / PERIOD_S), round((end_s + MARGIN_S) / PERIOD_S) + 1)
    )
    times, rows = sorted({*polls, end_s}), []
    for t_s in times:
        here.clock.advance(t_s)
        rows.append([value for meter in meters for value in meter.read()])
    channels = [channel for meter in meters for channel in meter.channels()]
    for meter in meters:
        meter.close()
    columns = list(zip(*rows, strict=True))
    found = readings(channels, times, columns, "run", 0.0, end_s, sample_period_s=PERIOD_S)
    total = headline(found, "run", "cuda" if here.source == "nvml" else "cpu")
    counted = next((one for one in found if one["channel"] in total.channels), found[0])
    said = [words_of(one, one is counted) for one in found if one["flags"]]
    kept = ("channel", "joules", "uncertainty_joules", "coverage", "flags")
    all_found = [{name: one[name] for name in kept} for one in found]
    return Told(counted["joules"], counted["uncertainty_joules"], said, {"readings": all_found})


def words_of(reading: dict[str, Any], counted: bool) -> str:
    """The flags of a reading, and its joules where another one counts in its place."""
    joules = reading["joules"]
    aside = "" if counted else " (none, not counted)" if joules is None else f" ({joules:,.1f} J, not counted)"
    return f"{reading['channel'].rsplit('/', 1)[1]}{aside}: {', '.join(reading['flags'])}"


def zeus(here: World) -> Told:
    """ZeusMonitor's begin_window and end_window; its child process that counts wraps runs as a thread, at once."""
    if here.case.trouble.no_counter:
        return Told(more={"not_driven": "without a counter it polls as fast as it can, in a process and by real time"})
    cpus, rapl, gpus, nvidia = modules("zeus.device", "cpu", "cpu.rapl", "gpu", "gpu.nvidia")
    (energy,) = modules("zeus.monitor", "energy")
    rapl.rapl_is_available.cache_clear()
    nvidia.nvml_is_available.cache_clear()
    folder = str(here.powercap.control) if here.powercap else "/nowhere"
    words = Words(here)
    with contextlib.ExitStack() as stack:
        for module, name, value in (
            (cpus, "_cpus", None),
            (gpus, "_gpus", None),
            (gpus, "amdsmi_is_available", lambda: False),
            (rapl, "RAPL_DIR", folder),
            (rapl, "CONTAINER_RAPL_DIR", "/nowhere"),
            (rapl, "time", SimpleNamespace(sleep=here.clock.sleep)),
            (rapl, "mp", SimpleNamespace(get_context=lambda _method: _Threads(here.clock))),
            (energy, "time", here.clock.wall),
        ):
            stack.enter_context(mock.patch.object(module, name, value))
        caught = stack.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("always")
        logger = logging.getLogger("zeus")
        logger.addHandler(words)
        stack.callback(logger.removeHandler, words)
        told = Told(said=words.said)
        try:
            monitor = energy.ZeusMonitor(**({"gpu_indices": []} if here.source == "rapl" else {"cpu_indices": []}))
            here.clock.advance(0.0)
            monitor.begin_window("run", sync_execution=False)
            here.clock.advance(here.case.duration_s)
            measured = monitor.end_window("run", sync_execution=False)
        except Exception as error:
            words.add(f"raises {type(error).__name__}: {error}")
        else:
            told.joules = ((measured.cpu_energy if here.source == "rapl" else measured.gpu_energy) or {}).get(0)
            told.more["duration_s"] = measured.time
        for warning in caught:
            words.add(str(warning.message))
        for cause in here.clock.died:
            words.add(f"its process that counts wraps ends, with a traceback: {type(cause).__name__}: {cause}")
    return told


def modules(package: str, *names: str) -> list[Any]:
    """Modules of a tool. What AMD's library prints, and what is logged on the way, is no part of any case."""
    with contextlib.redirect_stdout(None), mock.patch.dict(os.environ, {"CODECARBON_LOG_LEVEL": "critical"}):
        return [importlib.import_module(f"{package}.{name}") for name in names]


class _Threads:
    """What Zeus takes of a multiprocessing context, by virtual time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def Value(self, _kind: str, value: int) -> Any:
        return SimpleNamespace(value=value, get_lock=contextlib.nullcontext)

    def Process(self, target: Callable[..., None], args: tuple[Any, ...]) -> Any:
        idle = SimpleNamespace(terminate=lambda: None, join=lambda timeout: None, kill=lambda: None)
        return SimpleNamespace(start=lambda: self._clock.spawn(target, *args), **vars(idle))


def codecarbon(here: World, period_s: float | None) -> Told:
    """OfflineEmissionsTracker's start and stop; its threading.Timer runs by virtual time. It sees no CPU beside a GPU."""
    cpu, gpu, gpu_nvidia, resources = modules("codecarbon.core", "cpu", "gpu", "gpu_nvidia", "resource_tracker")
    hardware, scheduler = modules("codecarbon.external", "hardware", "scheduler")
    (emissions,) = modules("codecarbon", "emissions_tracker")
    modules("codecarbon.core", "hardware_cache")[0].clear_cache()
    folder = str(here.powercap.control / "subsystem") if here.powercap else "/nowhere"
    with contextlib.ExitStack() as stack:
        for module, name, value in (
            (scheduler, "Timer", partial(_Timer, here.clock)),
            (cpu, "is_rapl_available", partial(cpu.is_rapl_available, folder)),
            (hardware, "IntelRAPL", lambda rapl_dir, **chosen: cpu.IntelRAPL(rapl_dir=folder, **chosen)),
            (gpu, "is_nvidia_system", lambda: here.source == "nvml"),
            (gpu, "is_rocm_system", lambda: False),
            *([(resources.ResourceTracker, "set_CPU_tracking", lambda _self: None)] if here.source == "nvml" else []),
            (gpu, "PYNVML_AVAILABLE", True),
            (gpu, "AMDSMI_AVAILABLE", False),
            (gpu_nvidia, "pynvml", pynvml),
        ):
            stack.enter_context(mock.patch.object(module, name, value))
        chosen = {} if period_s is None else {"measure_power_secs": period_s}
        logger = logging.getLogger("codecarbon")
        logger.setLevel(logging.ERROR)
        tracker = emissions.OfflineEmissionsTracker(country_iso_code="SWE", save_to_file=False, **chosen)
        words = Words(here)
        stack.enter_context(mock.patch.object(logger, "handlers", [words]))
        logger.setLevel(logging.WARNING)
        here.clock.advance(0.0)
        tracker.start()
        here.clock.advance(here.case.duration_s)
        tracker.stop()
    told = Told(said=words.said)
    final = getattr(tracker, "final_emissions_data", None)
    if final is not None and all(getattr(one, "_mode", "intel_rapl") == "intel_rapl" for one in tracker._hardware):
        told.joules = 3.6e6 * (final.cpu_energy if here.source == "rapl" else final.gpu_energy)
    elif final is not None:
        told.more["note"] = "gives a guess from the CPU's load in place of a measured figure"
    return told


class _Timer:
    """threading.Timer by virtual time."""

    def __init__(self, clock: Clock, interval: float, function: Callable[[], None]) -> None:
        self._clock, self._interval, self._function, self._cancelled = clock, interval, function, False

    def start(self) -> None:
        self._clock.call_in(self._interval, lambda: None if self._cancelled else self._function())

    def cancel(self) -> None:
        self._cancelled = True


TOOLS: dict[str, Callable[[World], Told]] = {
    f"edgecarbon {1 / PERIOD_S:.0f} Hz": edgecarbon,
    "zeus": zeus,
    "codecarbon 1 s": partial(codecarbon, period_s=1.0),
    "codecarbon, its default (15 s)": partial(codecarbon, period_s=None),
}
DRIVEN = {
    "edgecarbon": "open_meters, read every 0.1 s and at both ends as the recorder does, edgecarbon.meters.integrate",
    "zeus": "ZeusMonitor.begin_window and end_window, reading the counter at both; wraps are counted by its own polling",
    "codecarbon": "OfflineEmissionsTracker.start at the window's start and stop at its end; cpu_energy or gpu_energy; "
    "it looks for its hardware at start, as in any fresh process",
}


def verdict(case: Case, told: Told) -> str:
    """right, or wrong or none and whether the tool said anything at all."""
    if "not_driven" in told.more:
        return "not driven"
    spoke = "said so" if told.said or "note" in told.more else "silent"
    if told.joules is None:
        return f"none, {spoke}"
    return "right" if abs(told.joules - case.true_joules) <= RIGHT_WITHIN * case.true_joules else f"wrong, {spoke}"


def measure(source: str, case: Case) -> dict[str, Any]:
    rows = []
    for name, tool in TOOLS.items():
        try:
            with world(source, case) as here:
                told = tool(here)
        except ImportError as error:
            told = Told(more={"not_driven": f"not installed ({error.name}): pip install 'edgecarbon[bench]'"})
        error_joules = None if told.joules is None else told.joules - case.true_joules
        rows.append({
            "tool": name, "joules": told.joules, "error_joules": error_joules,
            "uncertainty_joules": told.uncertainty_joules, "verdict": verdict(case, told), "said": told.said, **told.more,
        })  # fmt: skip
    return {
        "source": source, "case": case.name, "duration_s": case.duration_s, "true_joules": case.true_joules,
        "counter_error_joules": case.counter_error(source), "rows": rows,
    }  # fmt: skip


def table(one: dict[str, Any]) -> str:
    """Errors in joules, and beneath each what the tool said."""
    beside = "" if one["source"] == "nvml" and "without" in one["case"] else (
        f", the counter's own error {one['counter_error_joules']:+.2f} J"
    )  # fmt: skip
    lines = [f"\n{one['source'].upper()}: {one['case']} (true: {one['true_joules']:,.1f} J{beside})"]
    for row in one["rows"]:
        error = "—" if row["error_joules"] is None else f"{row['error_joules']:+,.2f} J"
        spread = "" if row["uncertainty_joules"] is None else f" ± {row['uncertainty_joules']:,.2f}"
        lines.append(f"  {row['tool']:32}{error:>18}{spread:12} {row['verdict']}")
        aside = [row[key] for key in ("not_driven", "note") if key in row]
        # Zeus's duration comes from the wall clock.
        if abs(row.get("duration_s", one["duration_s"]) - one["duration_s"]) > 1e-3:
            aside.append(f"tells a duration of {row['duration_s']:.1f} s")
        lines += [f"      {text[:180]}" for text in [*aside, *row["said"]]]
    return "\n".join(lines)


def summary(found: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """How many cases ended how, for each tool."""
    counts: dict[str, dict[str, int]] = {name: {} for name in TOOLS}
    for one in found:
        for row in one["rows"]:
            of_tool = counts[row["tool"]]
            of_tool[row["verdict"]] = of_tool.get(row["verdict"], 0) + 1
    return counts


def within_two(found: list[dict[str, Any]]) -> tuple[int, int]:
    """In how many cases our error is within two standard uncertainties, and of how many."""
    ours = [row for one in found for row in one["rows"] if row["uncertainty_joules"] is not None]
    return sum(abs(row["error_joules"]) <= 2 * row["uncertainty_joules"] for row in ours), len(ours)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", help="only cases whose name holds this")
    parser.add_argument("--out", type=Path, help="where the figures go, as JSON")
    arguments = parser.parse_args()
    began_s = time.perf_counter()
    for name, how in DRIVEN.items():
        print(f"{name}: {how}")
    found = []
    for case in CASES:
        for source in case.sources:
            if arguments.case is None or arguments.case in case.name:
                found.append(measure(source, case))
                print(table(found[-1]), flush=True)
    counts = summary(found)
    print(f"\nOf {len(found)} cases, right being within {100 * RIGHT_WITHIN:.0f} %:")
    for name, of_tool in counts.items():
        print(f"  {name:32}" + "; ".join(f"{kind}: {count}" for kind, count in sorted(of_tool.items())))
    covered, told = within_two(found)
    print(f"edgecarbon's error is within two of its standard uncertainties in {covered} of {told}")
    print(f"{time.perf_counter() - began_s:.0f} s")
    if arguments.out:
        versions = {}
        for package in ("zeus", "codecarbon", "nvidia-ml-py"):
            with contextlib.suppress(metadata.PackageNotFoundError):
                versions[package] = metadata.version(package)
        facts = {"machine": platform.machine(), "python": platform.python_version(), **versions}
        result = {"benchmark": "meters", "machine": facts, "driven": DRIVEN, "cases": found, "counts": counts,
                  "within_two_uncertainties": [covered, told]}  # fmt: skip
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
