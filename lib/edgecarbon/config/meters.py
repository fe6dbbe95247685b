"""Meters of a device that need to be told where they are: one between the device and its socket."""

from __future__ import annotations

import os
from glob import glob
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from edgecarbon.config.base import Section

METERS = (
    "auto", "nvml", "rapl", "battery", "apple", "ioreg", "jetson", "raspberrypi", "hwmon", "android", "odpm", "estimate",
)  # fmt: skip
"""What `meters` of a device may name."""

Column = Annotated[str, Field(min_length=1, max_length=200)]
"""A name in the header of a log."""


class WallMeter(Section):
    """A wall meter that this machine reads over the network while the device runs. It must be there then."""

    shelly: Annotated[str, Field(pattern=r"^https?://[^\s/]+/?$", max_length=300)]
    """Address of a Shelly plug or meter of the second generation or later, such as http://192.168.1.20."""

    id: Annotated[int, Field(ge=0, le=15)] = 0
    """Which of its switches the device hangs on."""

    accuracy_percent: Annotated[float, Field(gt=0, le=50)] = 5.0
    """Limit of its error, ± % of the energy; 5 is for a plug that nobody calibrated."""


class WallLog(Section):
    """The CSV log of a meter that logs by itself. It is read when runs are analysed: a change of it measures nothing again."""

    file: Annotated[str, Field(pattern=r"^[^\x00]+$", max_length=1000)]
    """Path, relative to the project; `logs/*.csv` takes every file that fits. It may be put there after the runs."""

    time: Column
    """Column with the times: ISO 8601, or Unix seconds or milliseconds."""

    watts: Column | None = None
    """Column with the power, W."""

    watt_hours: Column | None = None
    """Column with a counter of energy, Wh."""

    joules: Column | None = None
    """Column with a counter of energy, J."""

    utc_offset_hours: Annotated[float, Field(ge=-14, le=14)] | None = None
    """Zone of times that name none, hours ahead of UTC."""

    accuracy_percent: Annotated[float, Field(gt=0, le=50)] = 5.0
    """Limit of its error, ± % of the energy; 5 is for a plug that nobody calibrated."""

    clock_offset_s: float = 0.0
    """How far the log's clock is ahead of true time, where that is known, s."""

    @model_validator(mode="after")
    def _tells_energy(self) -> Self:
        if not (self.watts or self.watt_hours or self.joules):
            raise ValueError("name a column: `watts`, `watt_hours` or `joules`")
        if self.watt_hours and self.joules:
            raise ValueError("give `watt_hours` or `joules`, and not both")
        return self

    def files(self) -> list[str]:
        """The log's files that are there now."""
        return [self.file] if Path(self.file).is_file() else sorted(filter(os.path.isfile, glob(self.file)))
