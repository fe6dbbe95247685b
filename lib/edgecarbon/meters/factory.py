"""The one place that knows every meter. A new meter is one file with RUNS_ON and `open_meter`, and a line in METERS."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from edgecarbon.meters import (
    android,
    apple,
    battery,
    hwmon,
    ioreg,
    jetson,
    load,
    nvml,
    odpm,
    rapl,
    raspberrypi,
    shelly,
    thermal,
)
from edgecarbon.meters import estimate as estimate_meter
from edgecarbon.meters.base import Meter, MeterUnavailable, Options, RunsOn


class Kind(Protocol):
    """A module of one kind of meter."""

    RUNS_ON: RunsOn

    def open_meter(self, options: Options) -> Meter: ...


# In the order in which they are opened. The estimate is last, because it stands in for what the others do not tell.
METERS: dict[str, Kind] = {
    "nvml": nvml,
    "rapl": rapl,
    "battery": battery,
    "hwmon": hwmon,
    "jetson": jetson,
    "raspberrypi": raspberrypi,
    "apple": apple,
    "ioreg": ioreg,
    "android": android,
    "odpm": odpm,
    "shelly": shelly,
    "thermal": thermal,
    "load": load,
    "estimate": estimate_meter,
}
# What tells no energy is logged wherever it can be, asked for or not: a figure is judged by it.
ALWAYS = ("thermal", "load")


def open_meters(
    names: Sequence[str],
    estimate: Mapping[str, Any] | None = None,
    *,
    on: RunsOn = "device",
    on_absent: Callable[[str, str], None] | None = None,
    **places: Any,
) -> list[Meter]:
    """The meters called `names` that run on the device (or, with `on`, on the host), opened; the caller closes them (a
    `Recorder` does).

    "auto" stands for every meter that is present here, with the estimate only where no other one tells the energy of
    the CPU; `on_absent(name, reason)` hears of the others. A meter asked for by its own name must be present.
    `places` are the other fields of `Options`, above all `cuda_devices=[uuid]` for the GPU that the run uses and
    `cuda_devices=[]` for a run on the CPU.

    Raises ValueError for an unknown name, and MeterUnavailable (a ValueError) where a named meter cannot run here.
    """
    for name in names:
        if name != "auto" and name not in METERS:
            raise ValueError(_unknown(name))
    options = Options(estimate=estimate, **places)
    meters: list[Meter] = []
    try:
        for name, kind in METERS.items():
            if on != kind.RUNS_ON or (name == "estimate" and name not in names and _tells_cpu_energy(meters)):
                continue
            if name in names or "auto" in names or name in ALWAYS:
                try:
                    meters.append(kind.open_meter(options))
                except MeterUnavailable as error:
                    if name in names:
                        raise MeterUnavailable(f"{name}: {error}") from error
                    if on_absent:
                        on_absent(name, str(error))
    except Exception:
        for meter in meters:
            meter.close()
        raise
    return meters


def probe(options: Options, on: RunsOn = "device") -> list[dict[str, Any]]:
    """For each meter that runs `on` there: whether it is present, the reason and the way out where not, what it tells."""
    return [_probe_one(name, options) for name, kind in METERS.items() if on == kind.RUNS_ON]


def _probe_one(name: str, options: Options) -> dict[str, Any]:
    try:
        meter = METERS[name].open_meter(options)
    except ValueError as error:
        return {"meter": name, "present": False, "reason": str(error), "runs_on": METERS[name].RUNS_ON, "channels": []}
    channels, values = meter.channels(), meter.read()
    meter.close()
    return {
        "meter": name,
        "present": True,
        "reason": None,
        "runs_on": METERS[name].RUNS_ON,
        "channels": [{**channel.to_json(), "value": value} for channel, value in zip(channels, values, strict=True)],
    }


def _tells_cpu_energy(meters: Sequence[Meter]) -> bool:
    """Whether some meter's boundary holds the CPU. A battery or a wall meter holds it too."""
    return any(
        channel.quantity in ("energy", "power") and channel.boundary in ("cpu_package", "soc", "battery", "wall")
        for meter in meters
        for channel in meter.channels()
    )


def _unknown(name: str) -> str:
    valid = ["auto", *METERS]
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.4)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    return f'unknown meter "{name}": expected one of {", ".join(valid)}{hint}'
