"""What the page says in sentences: the verdict of each workload, and the notes that a reader needs before it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edgecarbon.charts import figures
from edgecarbon.charts.style import ATTRIBUTIONS, Row, grouped

LABELS = {
    "edge": "The edge emits less",
    "cloud": "The cloud emits less",
    "unclear": "Too close to call",
    "flips": "It flips with the attribution",
    "mixed": "It depends on the devices",
}
WHY_IT_FLIPS = (
    "Why it flips: the runs, the energy and the grid are the same each time. The attribution alone differs, that is, "
    "how much of the carbon of making the edge device is charged to this run."
)
PAIRS_SHOWN = 4
# Below this ratio, "times less" would say nothing.
_EQUAL = 1.05

MOST_LETTERS = 500
MOST_LETTERS_OF_A_NAME = 120
VIRTUAL_HOST = "virtual host: its energy is this host machine's estimate, not a device's"
NOTHING_CAME = (
    "Nothing was measured: every run that was asked for is missing, and no reference device stands beside them."
)

PROVENANCE_WORDS = {
    "measured": "a physical sensor showed it",
    "modelled": "computed from a data sheet, or by a vendor's or kernel's model; nobody ran a reference device here",
    "estimated": "assumed power times utilisation, as no sensor could be read: only as good as the assumption",
    "published": "taken from a paper or a data sheet as it stands",
    "absent": "there is no figure",
}
PRIOR_WORDS = {
    "split_log_uniform": "log-uniform halves",
    "log_uniform": "log-uniform",
    "uniform": "uniform",
    "triangular": "triangular",
    "normal": "normal, 95 %",
    "lognormal": "log-normal, 95 %",
    "student_t": "Student’s t",
}
FLAG_REASONS = {
    "short": "The measured window is shorter than a reportable run, 60 s or 100 updates of the sensor: its ends weigh much.",
    "partial": "A part of the machine was not read, or less than 95 % of the window: the true energy is higher.",
    "gap": "The sensor fell silent for more than three of its periods: what lies between is filled in.",
    "stalled": "The sensor stood still while work went on: what it missed is not in the figure.",
    "wrapped": "The counter passed its maximum and began again; that is counted in, and the figure is whole.",
    "wrap_unreadable": "The counter began again, and nothing tells from where: there is no energy.",
    "wrap_ambiguous": "The counter was unread for so long that it may have begun again more than once: there is no energy.",
    "reset": "The counter started anew, as when a driver is loaded: there is no energy.",
    "charging": "The battery was charged while it was to tell the energy that left it: there is no energy.",
    "counter_power_disagree": "The sensor's counter and its own power differ by more than 10 %: one of them is wrong.",
    "mig_whole_board": "A slice of the GPU did the work, and the sensor sees the whole board: the figure is too high.",
    "no_data": "The sensor gave too few readings to say anything.",
    "idle_drift": "Idle power before and after the runs differs by more than 5 %: energy above idle is unsure by as much.",
    "thermal_throttling": "Heat held the device back for more than 1 % of the window: speed and energy a token are those of a "
    "hot device.",
    "background_load": "Other programs used more than 5 % of all cores: their energy is in the figure, and they slow the run.",
    "current_scale_inferred": "The device does not say in which unit, and with which sign, it tells its battery's "
    "current: both were taken from how fast its charge fell.",
    "clock_offset_unsure": "How far the clocks of the device and of the meter's host lie apart is not known well: the window "
    "may be cut from the wrong time.",
    "log_misaligned": "The times in the meter's log do not fit the run's: the window may be cut from the wrong time.",
    "log_partial": "The meter's log does not reach over the whole window: what it lacks is not in the figure.",
}
ATTRIBUTION_WORDS = {
    "sunk": "Nothing of the device's making is charged: it was bought for its owner, and training only borrows it.",
    "marginal_wear": "Only what the run itself uses up is charged: battery cycles and, where claimed, shortened life.",
    "time_share": "The run's share of the device's whole lifetime is charged, as in the SCI standard, ISO/IEC 21031.",
    "used_hours": "The run's share of the hours in which the device is in use is charged; idle hours bear nothing.",
}


@dataclass(frozen=True)
class Pair:
    """One cloud device against one edge device: kind (a key of LABELS), sentence, and the rows by attribution."""

    cloud: str
    edge: str
    kind: str
    sentence: str
    rows: list[Row]

    @property
    def differs(self) -> bool:
        """Whether the winner is not the same under every attribution."""
        return len({row["winner"] for row in self.rows}) > 1


@dataclass(frozen=True)
class Verdict:
    """A workload under a scenario: kind, label, summary, the pairs to show first, and how many there are."""

    workload: str
    scenario: str
    kind: str
    label: str
    summary: str
    shown: list[Pair]
    pairs: int


def of_a_device(text: str | None, most: int = MOST_LETTERS) -> str:
    """A device's own words as one bounded line, without control characters and marks that turn the line's direction."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text or "").split())
    return line if len(line) <= most else line[:most] + "…"


def verdicts(rows: list[Row], measured: set[str]) -> list[Verdict]:
    """The verdict of every workload and scenario.

    Args:
        rows: of table `verdicts`, by workload, scenario, pair and attribution.
        measured: devices that were run; their pairs are shown before those of two modelled ones.
    """
    found = []
    for (workload, scenario), members in grouped(rows, "workload", "scenario"):
        pairs = [_pair(cloud, edge, mine) for (cloud, edge), mine in grouped(members, "cloud_device", "edge_device")]
        kind, label = _label([pair.kind for pair in pairs])
        pairs.sort(key=lambda pair: (pair.kind != "flips", not {pair.cloud, pair.edge} & measured))
        found.append(Verdict(workload, scenario, kind, label, _summary(pairs), pairs[:PAIRS_SHOWN], len(pairs)))
    return found


def _label(kinds: list[str]) -> tuple[str, str]:
    """The kind and the label of a workload with such pairs: a flip is never hidden behind a majority."""
    flips = kinds.count("flips")
    others = sorted({kind for kind in kinds if kind != "flips"})
    if not others:
        return "flips", LABELS["flips"]
    if len(others) == 1:
        rest = LABELS[others[0]]
    else:
        rest = LABELS["mixed"] if others[:2] == ["cloud", "edge"] else f"The {others[0]}, or too close to call"
    if not flips:
        return others[0] if len(others) == 1 else "mixed", rest
    return "flips", f"{rest}; {flips} of {len(kinds)} pairs {'flips' if flips == 1 else 'flip'}"


def _pair(cloud: str, edge: str, rows: list[Row]) -> Pair:
    winners = {row["winner"] for row in rows}
    kind = "flips" if rows[0]["flips"] else winners.pop() if len(winners) == 1 else "unclear"
    return Pair(cloud, edge, kind, _sentence(kind, rows), rows)


def _sentence(kind: str, rows: list[Row]) -> str:
    known = [row for row in rows if row["ratio_cloud_over_edge"]]
    if not known:
        return "No ratio: the energy of one side is absent."
    by_side = {
        side: [row for row in known if (row["ratio_cloud_over_edge"] > 1) == (side == "edge")]
        for side in ("edge", "cloud")
    }
    leaning = max(by_side, key=lambda side: len(by_side[side]))
    if kind == "flips":
        sides = [f"the {side} emits {_less(mine)} under {_listed(mine)}" for side, mine in by_side.items()]
        return f"The winner flips: {', '.join(sides)}.{_doubt(known)}"
    if kind == "unclear":
        return f"The {leaning} seems to emit {_less(by_side[leaning])}.{_doubt(known)}"
    return f"The {leaning} emits {_less(known)} under every attribution."


def _doubt(rows: list[Row]) -> str:
    unsure = [row for row in rows if row["winner"] == "unclear"]
    if not unsure:
        return ""
    where = "under any attribution" if len(unsure) == len(rows) else f"under {_listed(unsure)}"
    return f" It is not sure {where}."


def _less(rows: list[Row]) -> str:
    """How many times less the lower side emits, over the rows, from the median ratios."""
    factors = [max(row["ratio_cloud_over_edge"], 1 / row["ratio_cloud_over_edge"]) for row in rows]
    low, high = figures.significant(min(factors)), figures.significant(max(factors))
    if max(factors) < _EQUAL:
        return "barely less"
    if min(factors) < _EQUAL:
        return f"up to {high} times less"
    return f"{low} times less" if low == high else f"{low} to {high} times less"


def _listed(rows: list[Row]) -> str:
    return _and(ATTRIBUTIONS.get(str(row["attribution"]), str(row["attribution"])) for row in rows)


def _and(words: Iterable[str]) -> str:
    """The words as a list in a sentence."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _summary(pairs: list[Pair]) -> str:
    if len(pairs) == 1:
        return f"One pair of devices, {pairs[0].cloud} against {pairs[0].edge}."
    counts = {kind: sum(pair.kind == kind for pair in pairs) for kind in ("flips", "edge", "cloud", "unclear")}
    words = {
        "flips": ("flips", "flip", "with the attribution"),
        "edge": ("favours", "favour", "the edge under every attribution"),
        "cloud": ("favours", "favour", "the cloud under every attribution"),
        "unclear": ("is", "are", "too close to call under some attribution"),
    }
    parts = [f"{count} {words[kind][count > 1]} {words[kind][2]}" for kind, count in counts.items() if count]
    return f"Of {len(pairs)} pairs of devices, {_and(parts)}."


def notes(devices: list[Row], missing: bool = False) -> list[str]:
    """What the reader must know before the verdict.

    Args:
        devices: rows of view `device_energy`.
        missing: whether runs that were asked for are missing.
    """
    if not devices:
        return [NOTHING_CAME if missing else "This database holds no runs."]
    ran = [row for row in devices if row["record_kind"] == "measured"]
    said = []
    if not ran:
        said.append("Nothing was run: every device is modelled from its data sheet. The verdict is a calculation.")
    elif not any(row["provenance"] == "measured" for row in ran):
        said.append(
            "No energy sensor could be read on any device that ran. Its energy is an assumed power times its "
            "utilisation, so the verdict rests on that assumption; time, loss and throughput were measured."
        )
    else:
        said += _some(
            ran, lambda row: row["provenance"] == "estimated", "no sensor could be read on {}: its energy is estimated"
        )
    said += _some(
        ran,
        lambda row: "short" in row["flags"],
        "the measured window was shorter than a reportable run on {}: a look at the machinery, not a result to quote",
    )
    said += _some(
        ran,
        lambda row: "thermal_throttling" in row["flags"],
        "heat throttled {}: speed and energy a token are those of a hot device",
    )
    said += _some(
        ran,
        lambda row: "background_load" in row["flags"],
        "other programs were at work on {}: their energy is in the figure",
    )
    said += _some(
        ran,
        lambda row: row["energy_status"] == "partial",
        "the energy of {} is partial: a part of the machine is missing",
    )
    said += _some(ran, lambda row: row["energy_status"] == "absent", "there is no energy for {}: it has no verdict")
    virtual = sorted({row["device"] for row in ran if row.get("virtual_host")})
    if virtual:
        said.append(
            f"{_and(virtual)}: virtual {'host' if len(virtual) == 1 else 'hosts'} on one machine. The energy is that "
            "machine's estimate, not a device's."
        )
    modelled = sorted({row["device"] for row in devices if row["record_kind"] == "modelled"})
    if modelled and ran:
        said.append(f"Modelled from data sheets and never run here: {_and(modelled)}.")
    shipped = sorted({row["device"] for row in ran if row.get("shipped")})
    if shipped:
        said.append(f"Measured elsewhere, and taken from a file: {_and(shipped)}.")
    if ran and all(row["repeats"] == 1 for row in ran):
        said.append("Every run was done once: the intervals hold the sensor's uncertainty, not the scatter of repeats.")
    return said


def _some(rows: list[Row], test: Any, text: str) -> list[str]:
    names = sorted({row["device"] for row in rows if test(row)})
    if not names:
        return []
    sentence = text.format(_and(names))
    return [f"{sentence[0].upper()}{sentence[1:]}."]
