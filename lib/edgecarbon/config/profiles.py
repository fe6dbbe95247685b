"""`config/inputs/profiles.yaml` and the CSV files in `profiles/`: carbon intensity of electricity hour by hour.

A profile is hourly figures over whole days: one average day, or any number of days in a row. A scenario that names one
says which hours it draws electricity in; the mean over those hours is its carbon intensity.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from edgecarbon.config.base import Section, read_yaml, validate
from edgecarbon.config.grid import UNIT
from edgecarbon.config.quantities import Factor, GramsPerGram, GramsPerKilowattHour, Key, Quantity, Text
from edgecarbon.errors import UserError

DAY = 24
MEAN_TOLERANCE = 0.02
"""How far the mean of a relative profile may lie from 1: its factors may be rounded."""
COLUMNS = (["hour", "intensity"], ["time", "intensity"])

HourOfDay = Annotated[int, Field(ge=0, lt=DAY)]


class Greenest(Section):
    """The hours of least carbon of each day, known beforehand."""

    choose: Literal["greenest"]
    """Which hours."""

    per_day: Annotated[int, Field(ge=1, le=DAY)]
    """How many of each 24, one after another or not."""

    @property
    def label(self) -> str:
        return f"greenest-{self.per_day}"

    @property
    def words(self) -> str:
        return f"mean of the {self.per_day} greenest hours of each day"


class Window(Section):
    """The same hours every day; past midnight where `to` is the smaller."""

    start: Annotated[HourOfDay, Field(alias="from")]
    """First hour, local, 0 to 23."""

    to: HourOfDay
    """Hour that is no longer in it, local; 0 for midnight."""

    @model_validator(mode="after")
    def _is_a_part_of_the_day(self) -> Window:
        if self.start == self.to:
            raise ValueError(f"from and to are both {self.to}; leave `hours` out to take the whole day")
        return self

    @property
    def label(self) -> str:
        return f"{self.start}-to-{self.to}"

    @property
    def words(self) -> str:
        return f"mean of the hours from {self.start} to {self.to} of each day"

    def holds(self, hour: int) -> bool:
        """Whether an hour of the day lies in it."""
        return (hour - self.start) % DAY < (self.to - self.start) % DAY


def _kind_of_hours(value: Any) -> str | None:
    if isinstance(value, dict):
        return "greenest" if "choose" in value or "per_day" in value else "window"
    return "greenest" if isinstance(value, Greenest) else "window" if isinstance(value, Window) else None


Hours = Annotated[
    Annotated[Greenest, Tag("greenest")] | Annotated[Window, Tag("window")],
    Discriminator(
        _kind_of_hours,
        custom_error_type="hours",
        custom_error_message="expected hours such as {choose: greenest, per_day: 8} or {from: 22, to: 6}",
    ),
]
"""Hours of the day in which electricity is drawn."""


class ProfileEntry(Section):
    """What a profile is, and where it is from. Its figures stand in `profiles/KEY.csv`."""

    kind: Literal["relative", "absolute"]
    """`relative`: factors of a zone's yearly mean; their own mean is 1. `absolute`: gCO2e/kWh."""

    zone: Key | None = None
    """Zone that the figures are of; required for absolute ones. A relative profile without one goes with any zone."""

    source: Text
    """Citation or address, or that it is this project's assumption."""

    year: Annotated[int, Field(ge=1990, le=2100)]
    """Year that the figures are of, or were made in."""

    boundary: Text
    """What the figures cover."""

    licence: Text
    """Terms under which they may be passed on."""

    provenance: Literal["measured", "modelled", "estimated", "published"]
    """How they came about."""

    spread: Factor
    """Range about the mean of any choice of hours, as factors of it, and its prior. Its value is 1."""

    utc_offset_hours: Annotated[float, Field(ge=-12, le=14)] | None = None
    """Local time less UTC, h, the year round; null reads hours of the day in UTC. Only for files with a column `time`."""

    @model_validator(mode="after")
    def _says_what_it_is_of(self) -> ProfileEntry:
        if self.kind == "absolute" and self.zone is None:
            raise ValueError("absolute figures are those of one zone: name it as `zone`")
        if self.spread.value != 1:
            raise ValueError(f"spread: the value is the figures' own factor and must be 1; found {self.spread.value:g}")
        return self


class ProfilesFile(Section):
    """`profiles.yaml`."""

    profiles: dict[Key, ProfileEntry]
    """Profiles by key; the figures of each stand in `profiles/KEY.csv`."""


@dataclass(frozen=True)
class Profile:
    """A profile with its figures."""

    key: str
    entry: ProfileEntry
    figures: tuple[float, ...]
    """Hour by hour over whole days: factors or gCO2e/kWh, as its kind says."""
    first_hour: int
    """Local hour of the day of the first figure."""

    def mean(self, hours: Greenest | Window | None) -> float:
        """Mean figure over the chosen hours of all days, each day counted from the first figure; null takes all."""
        if isinstance(hours, Greenest):
            days = [self.figures[start : start + DAY] for start in range(0, len(self.figures), DAY)]
            chosen = [figure for day in days for figure in sorted(day)[: hours.per_day]]
        elif isinstance(hours, Window):
            chosen = [one for index, one in enumerate(self.figures) if hours.holds((self.first_hour + index) % DAY)]
        else:
            chosen = list(self.figures)
        return math.fsum(chosen) / len(chosen)

    def over(self, hours: Greenest | Window | None, zone: str, year: int, where: str) -> Quantity:
        """Mean figure over the chosen hours, with its source: of a relative profile a factor of the zone's year.

        The ends of its range are the mean times the spread's.

        Args:
            where: file and field that ask, for errors.

        Raises:
            UserError: a zone or year that the profile is not of.
        """
        entry, mean, spread = self.entry, self.mean(hours), self.entry.spread
        if entry.zone is not None and zone != entry.zone:
            raise UserError(f"{where}.profile: '{self.key}' is of zone '{entry.zone}', not of '{zone}'")
        if entry.kind == "absolute" and year != entry.year:
            raise UserError(f"{where}.profile: '{self.key}' holds intensities of {entry.year}, not of {year}")
        words = hours.words if hours else "mean of all hours"
        kind, unit = (GramsPerGram, "g/g") if entry.kind == "relative" else (GramsPerKilowattHour, UNIT)
        fields = {
            "value": mean,
            "unit": unit,
            "low": mean * spread.low,
            "high": mean * spread.high,
            "distribution": spread.distribution,
            "source": f"profile '{self.key}', {words}: {entry.source}",
            "year": entry.year,
            "boundary": f"{words}; {entry.boundary}",
            "licence": entry.licence,
            "provenance": entry.provenance,
        }
        return validate(kind, fields, where)


def load_profiles(path: Path) -> Mapping[str, Profile]:
    """Read `profiles.yaml` and the figures of every profile in it.

    Raises:
        UserError: file and line or field: a file that is missing or not described, figures that are not hourly, finite
            and whole days, or factors whose mean is not 1.
    """
    entries = validate(ProfilesFile, read_yaml(path), str(path)).profiles
    folder = path.parent / path.stem
    for table in sorted(folder.glob("*.csv")):
        if table.stem not in entries:
            raise UserError(f"{table}: {path} says nothing of it; describe it there as '{table.stem}', or remove it")
    return {key: _load(key, entry, folder / f"{key}.csv", str(path)) for key, entry in entries.items()}


def _load(key: str, entry: ProfileEntry, table: Path, file: str) -> Profile:
    header, rows = _rows(table)
    by_hour = header == COLUMNS[0]
    if by_hour and entry.utc_offset_hours is not None:
        raise UserError(
            f"{file}: profiles.{key}.utc_offset_hours: the hours of {table} are local already; leave it out"
        )
    first_hour = 0 if by_hour else _check_times(rows, table, entry.utc_offset_hours or 0.0)
    if by_hour:
        _check_hours(rows, table)
    figures = tuple(_parsed(float, row[1], f"{table}: line {line}", "a number") for line, row in rows)
    for (line, _), figure in zip(rows, figures, strict=True):
        if not (math.isfinite(figure) and figure >= 0):
            raise UserError(f"{table}: line {line}: expected a finite number that is not negative; found {figure}")
    profile = Profile(key, entry, figures, first_hour)
    mean = profile.mean(None)
    if entry.kind == "relative" and abs(mean - 1) > MEAN_TOLERANCE:
        raise UserError(
            f"{table}: the mean of a relative profile is 1, and here it is {mean:.4g}: divide each figure by the mean, "
            f"or, if they are {UNIT}, describe them as `kind: absolute`"
        )
    return profile


_Rows = list[tuple[int, list[str]]]


def _rows(table: Path) -> tuple[list[str], _Rows]:
    """The header of a table, and its rows with the line of each."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            rows = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{table}: cannot be read ({error}). Each entry of {table.parent}.yaml has its table."
        ) from None
    if header not in COLUMNS:
        raise UserError(f"{table}: line 1: expected the columns hour,intensity or time,intensity; found {header}")
    for line, row in rows:
        if len(row) != len(header):
            raise UserError(f"{table}: line {line}: expected {' and '.join(header)}; found {row}")
    if not rows or len(rows) % DAY:
        raise UserError(f"{table}: expected whole days, a row for each hour; found {len(rows)} rows")
    return header, rows


def _check_hours(rows: _Rows, table: Path) -> None:
    if len(rows) != DAY:
        raise UserError(
            f"{table}: expected one average day, {DAY} rows; found {len(rows)}. Several days have a `time`."
        )
    for expected, (line, (text, _)) in enumerate(rows):
        if _parsed(int, text, f"{table}: line {line}", "an hour of the day") != expected:
            raise UserError(f"{table}: line {line}: expected hour {expected}, as hours go from 0 to 23; found {text}")


def _check_times(rows: _Rows, table: Path, utc_offset_hours: float) -> int:
    """Local hour of the day of the first row, whose followers come an hour after one another."""
    times: list[datetime] = []
    for line, (text, _) in rows:
        time = _parsed(datetime.fromisoformat, text, f"{table}: line {line}", "a time such as 2024-01-01T00:00Z")
        if time.tzinfo is None:
            raise UserError(f"{table}: line {line}: expected a time with its UTC offset, such as {text}Z; found {text}")
        times.append(time.astimezone(UTC))
        if len(times) > 1 and times[-1] - times[-2] != timedelta(hours=1):
            due = (times[-2] + timedelta(hours=1)).isoformat()
            raise UserError(f"{table}: line {line}: expected {due}, an hour after the row before; found {text}")
    return (times[0] + timedelta(hours=utc_offset_hours)).hour


def _parsed(parse: Callable[[str], Any], text: str, where: str, expected: str) -> Any:
    try:
        return parse(text)
    except ValueError:
        raise UserError(f"{where}: expected {expected}; found '{text}'") from None
