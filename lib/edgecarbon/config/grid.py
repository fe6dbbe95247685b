"""`config/inputs/grid.yaml` and the open table beside it: carbon intensity of electricity by area and year."""

from __future__ import annotations

import csv
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgecarbon.config.base import Section, read_yaml, validate
from edgecarbon.config.quantities import Factor, GramsPerKilowattHour, Key, Text
from edgecarbon.errors import UserError

UNIT = "gCO2e/kWh"
COLUMNS = ("alpha-2", "Year", "Entity", "Code", "Carbon intensity of electricity (gCO2eq/kWh)")


class GridEntry(GramsPerKilowattHour):
    """Carbon intensity of an area's electricity in one year."""

    zone: Key
    """Zone that a scenario or a device names: the area's three-letter code."""

    entity: Text
    """Name of the area."""


class GridFile(Section):
    """`grid.yaml`."""

    table: Text
    """The CSV file of the open data set, beside this file."""

    source: Text
    """Citation of the data set, with its attribution."""

    boundary: Text
    """What its figures cover."""

    licence: Text
    """Licence of the data set."""

    spread: Factor
    """Range about each figure of the table, as factors of it, and its prior: the table gives no uncertainty of its own."""

    zones: list[GridEntry] = []
    """Areas that the table lacks."""


@dataclass(frozen=True)
class Grid:
    """Carbon intensities by zone and year."""

    file: str
    entries: Mapping[str, Mapping[int, GridEntry]]
    aliases: Mapping[str, str]
    """Names and two-letter codes, lower case, to zones: for hints only, never for a look-up."""

    def find(self, zone: str, year: int | None, asked_by: str) -> GridEntry:
        """The entry of exactly this zone and year; a null year takes the latest that the data holds for the zone.

        Args:
            asked_by: file and field that name the zone, for the error.

        Raises:
            UserError: an unknown zone, or a year that the data lacks; names the nearest.
        """
        if zone not in self.entries:
            raise UserError(f"{asked_by}: zone '{zone}' is not in {self.file}; {self._nearest(zone)}")
        years = self.entries[zone]
        if year is None:
            return years[max(years)]
        if year not in years:
            held = min(years, key=lambda other: abs(other - year))
            raise UserError(
                f"{asked_by}: {self.file} has no {year} for zone '{zone}'; the nearest year there is {held}"
            )
        return years[year]

    def _nearest(self, zone: str) -> str:
        names = {**{code.lower(): code for code in self.entries}, **self.aliases}
        close = difflib.get_close_matches(zone.lower(), list(names), n=1, cutoff=0.6)
        if not close:
            return "zones are three-letter country codes such as 'USA', 'GBR' or 'IND'"
        code = names[close[0]]
        return f"did you mean '{code}' ({self.entries[code][max(self.entries[code])].entity})?"


def load_grid(path: Path) -> Grid:
    """Read `grid.yaml` and the table that it names.

    Raises:
        UserError: a file that cannot be read, a column or a number that is not as expected, an area given twice.
    """
    settings = validate(GridFile, read_yaml(path), str(path))
    table = path.parent / settings.table
    entries: dict[str, dict[int, GridEntry]] = {}
    aliases: dict[str, str] = {}
    for line, row in _rows(table):
        entry = _entry(row, settings, f"{table}: line {line}")
        _add(entries, entry, f"{table}: line {line}")
        aliases |= {row["alpha-2"].lower(): entry.zone, entry.entity.lower(): entry.zone}
    for index, entry in enumerate(settings.zones):
        _add(entries, entry, f"{path}: zones.{index}")
        aliases[entry.entity.lower()] = entry.zone
    return Grid(str(table), entries, aliases)


def _rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with table.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise UserError(
                    f"{table}: line 1: expected the columns {', '.join(COLUMNS)}; found {reader.fieldnames}"
                )
            return [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{table}: cannot be read ({error}). It is copied from the package carbontracker; restore it."
        ) from None


def _entry(row: dict[str, str], settings: GridFile, where: str) -> GridEntry:
    try:
        intensity, year = float(row[COLUMNS[4]]), int(row["Year"])
    except (TypeError, ValueError):
        raise UserError(f"{where}: expected a year and a number of {UNIT}; found {row}") from None
    if not (math.isfinite(intensity) and intensity >= 0):
        raise UserError(f"{where}: {COLUMNS[4]}: expected a finite number that is not negative; found {intensity}")
    fields = {
        "zone": row["Code"],
        "entity": row["Entity"],
        "value": intensity,
        "unit": UNIT,
        "low": intensity * settings.spread.low,
        "high": intensity * settings.spread.high,
        "distribution": settings.spread.distribution,
        "source": settings.source,
        "year": year,
        "boundary": settings.boundary,
        "licence": settings.licence,
        "provenance": "published",
    }
    return validate(GridEntry, fields, where)


def _add(entries: dict[str, dict[int, GridEntry]], entry: GridEntry, where: str) -> None:
    years = entries.setdefault(entry.zone, {})
    if entry.year in years:
        raise UserError(f"{where}: zone '{entry.zone}' is given twice for {entry.year}; keep one")
    years[entry.year] = entry
