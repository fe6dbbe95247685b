"""What the page says in sentences: the verdict of each workload, and the notes that a reader needs before it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edgecarbon.charts import figures
from edgecarbon.charts.style import ATTRIBUTIONS, MAIN_ATTRIBUTION, Row, grouped

LABELS = {
    "edge": "The edge emits less",
    "cloud": "The cloud emits less",
    "unclear": "Too close to call",
    "partly": "Sure under some attributions only",
    "flips": "It flips with the attribution",
}
# How a label counts the pairs of each kind: one, and several.
_COUNTED = {
    "cloud": ("the cloud emits less in {}", "the cloud emits less in {}"),
    "edge": ("the edge emits less in {}", "the edge emits less in {}"),
    "unclear": ("{} is too close to call", "{} are too close to call"),
    "partly": ("{} is sure under some attributions only", "{} are sure under some attributions only"),
    "flips": ("{} flips with the attribution", "{} flip with the attribution"),
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
DIRECTLY, BY_ASSUMPTION, IN_DOUBT = "directly", "by assumption", "in doubt"
COMPARED = {
    DIRECTLY: "Both energies cover the same, or what lies between them was measured.",
    BY_ASSUMPTION: "The energies cover different parts of a machine, and the factors named beside the pair bring both to "
    "the plug. They are assumed; their ranges are in the interval. Wall meters take their place.",
    IN_DOUBT: "Something is wrong with a figure, or missing from it, that no range accounts for; it is named beside the "
    "pair. The ratio is shown all the same. Mend the cause and measure again.",
}
"""How two energies were set side by side, and what a user does to come to a better one."""
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
    def compared(self) -> str:
        """What the reader must know of how the two were set side by side; empty where it is nothing."""
        how = compared(self.rows[0])
        return "" if how == DIRECTLY else f"Compared {how}." if how == BY_ASSUMPTION else "In doubt: see why."

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


def compared(row: Row) -> str:
    """How the two sides of a row of `verdicts` were set side by side: a key of `COMPARED`."""
    if not row["comparable"]:
        return IN_DOUBT
    return BY_ASSUMPTION if row["bridged_by"] else DIRECTLY


def one_line(text: str | None) -> str:
    """Text of anybody as one line, without control characters and marks that turn the line's direction."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text or "").split())


def of_a_device(text: str | None, most: int = MOST_LETTERS) -> str:
    """A device's own words as one bounded line."""
    line = one_line(text)
    return line if len(line) <= most else line[:most] + "…"


def given(value: float | None) -> str:
    """A number as its source gave it; what was computed, as a mix of grids, to four digits. Whole numbers stay whole."""
    if value is None or value == 0 or not math.isfinite(value):
        return figures.plain(value)
    return figures.plain(round(value, max(0, 3 - math.floor(math.log10(abs(value))))))


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
    counts = {kind: kinds.count(kind) for kind in _COUNTED if kind in kinds}
    kind = "flips" if "flips" in counts else next(iter(counts)) if len(counts) == 1 else "mixed"
    if len(counts) == 1:
        return kind, LABELS[kind]
    parts: list[str] = []
    for one, count in counts.items():
        number = f"{count}" if parts else f"{count} of {len(kinds)} pairs"
        parts.append(_COUNTED[one][count > 1].format(number))
    text = "; ".join(parts)
    return kind, f"{text[0].upper()}{text[1:]}"


def main_row(members: list[Row]) -> Row:
    """The row under the main attribution, or the first where there is none."""
    return next((row for row in members if row["attribution"] == MAIN_ATTRIBUTION), members[0])


def _pair(cloud: str, edge: str, rows: list[Row]) -> Pair:
    winners = {row["winner"] for row in rows}
    kind = "flips" if rows[0]["flips"] else winners.pop() if len(winners) == 1 else "partly"
    return Pair(cloud, edge, kind, _sentence(rows), rows)


def _sentence(rows: list[Row]) -> str:
    """Who emits less under the main attribution, how many times and how sure; then whether the others differ."""
    known = [row for row in rows if _known(row)]
    neither = [row for row in rows if row["probability_edge_wins"] is not None and not _known(row)]
    nothing = f" No ratio under {_listed(neither)}: in some draws neither side emits anything." if neither else ""
    if not known:
        return nothing.strip() or "No ratio: the energy of one side is absent."
    main = main_row(known)
    seems = "seems to emit" if main["winner"] == "unclear" else "emits"
    first = f"The {_side(main)} {seems} {_less(main)} under {_listed([main])} ({_certainty(main)})."
    others = [row for row in known if row is not main]
    # A tie flips nothing.
    turned = [row for row in others if _side(row) != _side(main) and row["probability_edge_wins"] != 0.5]
    same = [row for row in others if row not in turned]
    if turned:
        flips = f" The winner flips: the {_side(turned[0])} emits {_by_factor(turned)}"
        second = f"{flips}; the {_side(main)} emits {_by_factor(same)}." if same else f"{flips}."
    else:
        second = f" So {'also' if neither else 'under every other attribution'}: {_by_factor(same)}." if same else ""
    return f"{first}{second}{nothing}{_doubt(known)}"


def _known(row: Row) -> bool:
    """Whether there is something to say: a ratio, or one without bound, as over an edge that emits nothing.

    Draws in which neither side emits anything leave no quantile at all.
    """
    odds, quantiles = row["probability_edge_wins"], (row["ratio_cloud_over_edge"], row["ratio_low"])
    return odds is not None and (row["winner"] != "unclear" or quantiles != (None, None))


def _ratio(row: Row) -> float:
    """Cloud over edge by the median, infinite where the edge emits nothing."""
    ratio = row["ratio_cloud_over_edge"]
    return (math.inf if _side(row) == "edge" else 0.0) if ratio is None else float(ratio)


def _side(row: Row) -> str:
    """Who emits less in most draws."""
    return "edge" if row["probability_edge_wins"] >= 0.5 else "cloud"


def _certainty(row: Row) -> str:
    """The interval of how many times less, and in what share of draws: `median; 5–95 %: 1.4–2.9; less in 97 % of the draws`."""
    parts = ["median"]
    low, high, odds = row["ratio_low"], row["ratio_high"], row["probability_edge_wins"]
    if low and high:
        if _side(row) == "cloud":
            low, high = 1 / high, 1 / low
        _, ends = figures.interval(_factor(row), low, high)
        if low < 1:
            ends = f"{figures.significant(1 / low)} times more to {figures.significant(high)} times less"
        parts.append(f"5–95 %: {ends}")
    if odds is not None:
        parts.append(f"less in {figures.percent(odds if _side(row) == 'edge' else 1 - odds)} of the draws")
    return "; ".join(parts)


def _doubt(rows: list[Row]) -> str:
    unsure = [row for row in rows if row["winner"] == "unclear"]
    if not unsure:
        return ""
    where = "under any attribution" if len(unsure) == len(rows) else f"under {_listed(unsure)}"
    return f" It is not sure {where}."


def _factor(row: Row) -> float:
    """How many times less the lower side emits, by the median; infinite where it emits nothing."""
    return max(_ratio(row), 1 / _ratio(row)) if _ratio(row) else math.inf


def _less(row: Row) -> str:
    if math.isinf(_factor(row)):
        return "nothing at all"
    return "barely less" if _factor(row) < _EQUAL else f"{figures.significant(_factor(row))} times less"


def _by_factor(rows: list[Row]) -> str:
    """Each median and the attributions that have it: `2.0 times less under sunk, barely less under used hours`."""
    texts = dict.fromkeys(_less(row) for row in rows)
    return ", ".join(f"{text} under {_listed([row for row in rows if _less(row) == text])}" for text in texts)


def _listed(rows: list[Row]) -> str:
    return _and(ATTRIBUTIONS.get(str(row["attribution"]), str(row["attribution"])) for row in rows)


def _and(words: Iterable[str]) -> str:
    """The words as a list in a sentence."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _summary(pairs: list[Pair]) -> str:
    """Between which pairs the medians lie under the main attribution, and how many pairs are sure."""
    if len(pairs) == 1:
        return f"One pair of devices, {pairs[0].cloud} against {pairs[0].edge}."
    known = [main_row(rows) for pair in pairs if (rows := [row for row in pair.rows if _known(row)])]
    if not known:
        return f"{len(pairs)} pairs of devices, none with a ratio."
    known.sort(key=_ratio)
    ends = " to ".join(
        f"the {_side(row)} emitting {_less(row)} ({row['cloud_device']} against {row['edge_device']})"
        for row in (known[0], known[-1])
    )
    sure = sum(row["winner"] != "unclear" for row in known)
    return (
        f"Under {_listed(known[:1])} the medians of {len(known)} pairs reach from {ends}; in {sure} of them one side emits "
        "less in 95 % of the draws."
    )


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
