"""What a meter is, what its channels are, and what a reading of them says.

A meter gives raw values of its channels at one moment; it never integrates, so that everything that can go wrong with a
counter (wrap, reset, stall, gap) is handled once, in `integrate`, whatever the meter.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

from edgecarbon.meters.access import Access

Quantity = Literal[
    "energy",
    "power",
    "temperature",
    "frequency",
    "utilisation",
    "throttle",
    "charge",
    "voltage",
    "current",
    "discharging",
]
RunsOn = Literal["device", "host"]
Provenance = Literal["measured", "modelled", "estimated", "published", "absent"]

# From the strongest to the weakest: a total is as strong as its weakest component.
PROVENANCES: tuple[Provenance, ...] = ("measured", "modelled", "estimated", "published", "absent")
THROTTLED_FOR_HEAT = 0x20
"""Value of a `throttle` channel, whatever the meter, where its source says no more than that heat slows the device down:
NVML's bit of a thermal slowdown (NvmlClocksEventReasons)."""
BOUNDARIES = ("wall", "battery", "gpu_board", "soc", "cpu_package", "dram")


@dataclass(frozen=True)
class Channel:
    """One quantity of one component, as one source tells it.

    `resolution` is the smallest step of the value, in `unit`. `accuracy_relative` is one relative standard uncertainty
    (a stated limit of ±a is a/√3), or None where nobody states one. `wrap_joules` is the energy at which a counter
    starts again from zero, None where that cannot be read. `max_watts` bounds what the component can draw. `duty` is the
    share of time that the sensor looks (0.25: 25 of every 100 ms), or None where nobody says: then a counter is taken to
    look always, and a power at one moment of each update. `flags` are carried by every reading of the channel.
    """

    id: str
    meter: str
    component: str
    quantity: Quantity
    unit: str
    boundary: str | None
    provenance: Provenance
    source: str
    update_period_s: float
    resolution: float
    accuracy_relative: float | None = None
    wraps: bool = False
    wrap_joules: float | None = None
    max_watts: float | None = None
    duty: float | None = None
    flags: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "flags": list(self.flags)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Channel:
        return cls(**{**data, "flags": tuple(data.get("flags", ()))})


@dataclass(frozen=True)
class Reading:
    """Energy over a window: None, never 0, where it could not be read. The uncertainty is one standard uncertainty."""

    joules: float | None
    uncertainty_joules: float | None
    provenance: Provenance
    boundary: str | None
    source: str
    update_period_s: float
    coverage: float
    flags: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "flags": list(self.flags)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Reading:
        """Other keys of `data` (window, meter, component) are left alone."""
        fields = {name: data[name] for name in cls.__dataclass_fields__}
        return cls(**{**fields, "flags": tuple(fields["flags"])})


class Meter(Protocol):
    """One source of truth. A module holds one kind, says as RUNS_ON where that runs, and opens it.

    It runs on the device, or on the host beside it (a wall meter; a phone's battery, which an app may not read).
    """

    @property
    def name(self) -> str: ...

    def channels(self) -> list[Channel]: ...

    def read(self) -> list[float | None]:
        """The values now, in the order of `channels()` and in their units; None for a failed read. Never raises."""

    def close(self) -> None: ...


class SlowMeter:
    """A meter whose source is slow to ask: it is asked at most once in `period_s`, and between its last answer holds."""

    period_s = 1.0

    def __init__(self, access: Access, channels: Sequence[Channel]) -> None:
        self._access, self._channels = access, list(channels)
        self._asked_s = float("-inf")
        self._values: list[float | None] = []

    def channels(self) -> list[Channel]:
        return list(self._channels)

    def read(self) -> list[float | None]:
        now_s = self._access.monotonic()
        if now_s - self._asked_s >= self.period_s:
            self._asked_s = now_s
            self._values = self.ask()
        return list(self._values)

    def close(self) -> None:
        self._access.close()

    def ask(self) -> list[float | None]:
        """The values now."""
        raise NotImplementedError


class MeterUnavailable(ValueError):
    """A meter cannot run here; the text says why and, where there is one, the way out."""


@dataclass(frozen=True)
class Options:
    """Where meters look and what they were told. Roots are parameters so that a tree of files stands in for a machine.

    `access` is the machine, or a trace of one. `wall` describes a wall meter, `adb` is the command line that reaches a
    phone (["adb", "-s", SERIAL]); both are for meters on the host. `cuda_devices` names the GPUs of the run, as
    ordinals among the visible ones or as UUIDs ("GPU-..."); None means every visible GPU, an empty sequence none.
    `nvml` is the library object; None imports pynvml.
    """

    access: Access = field(default_factory=Access)
    estimate: Mapping[str, Any] | None = None
    wall: Mapping[str, Any] | None = None
    adb: Sequence[str] | None = None
    cuda_devices: Sequence[int | str] | None = None
    sysfs: str = "/sys"
    procfs: str = "/proc"
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    nvml: Any = None


def folders(access: Access, root: str, prefix: str) -> list[str]:
    """Folders called `prefix` and a number, as the kernel names devices, in the order of their numbers."""
    names = [name for name in access.names(root) if name.startswith(prefix) and name[len(prefix) :].isdigit()]
    return [os.path.join(root, name) for name in sorted(names, key=lambda name: int(name[len(prefix) :]))]
