"""The main tables for a paper, as LaTeX and as Markdown: the cells of the page's tables, with the units in the header."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import duckdb

from edgecarbon.charts import figures
from edgecarbon.charts.style import ATTRIBUTIONS, Row, rows
from edgecarbon.report import decisions, scenarios, tables, words

_PAIR = ("scenario", "workload", "cloud_device", "edge_device")
_BREAK_EVEN = """
SELECT b.*, s.label FROM break_even b
LEFT JOIN sensitivity s ON s.scenario = b.scenario AND s.workload = b.workload AND s.cloud_device = b.cloud_device
  AND s.edge_device = b.edge_device AND s.attribution = b.attribution AND s.input = b.deciding_input
ORDER BY b.scenario, b.workload, b.cloud_device, b.edge_device, list_position($attributions, b.attribution)
"""
_STANDARD = """
SELECT * FROM standard ORDER BY scenario, workload, cloud_device, edge_device, list_position($attributions, attribution),
  lifetime_years, utilisation
"""

LEFT, RIGHT = "raggedright", "raggedleft"
NOTHING = "–"
# What a page with margins of an inch holds in footnotesize: letters of a line, upright and turned, and lines when turned.
UPRIGHT_LETTERS, TURNED_LETTERS, PAGE_LINES = 100, 150, 40


@dataclass(frozen=True)
class PaperTable:
    """A table: its file's name, title, columns (header with unit, and LEFT or RIGHT), and rows of texts.

    Of one `by_scenario` each row begins with the scenario, which is no column: every scenario has a file of its own.
    """

    name: str
    title: str
    columns: tuple[tuple[str, str], ...]
    rows: Callable[[duckdb.DuckDBPyConnection], list[list[str]]]
    by_scenario: bool = False

    def parts(self, connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[PaperTable, list[list[str]]]]:
        """The table and its rows; of one `by_scenario` a table each, called NAME-SCENARIO."""
        found = self.rows(connection)
        if not self.by_scenario:
            yield self, found
            return
        for scenario in dict.fromkeys(row[0] for row in found):
            title = f"{self.title}. Scenario {scenario}"
            mine = [row[1:] for row in found if row[0] == scenario]
            yield replace(self, name=f"{self.name}-{scenario}", title=title, by_scenario=False), mine


def energy_by_device(connection: duckdb.DuckDBPyConnection) -> list[list[str]]:
    """One row a workload, device and kind of figure."""
    found = []
    for row in tables.devices(connection):
        step = _interval(row["joules_per_step"], row["joules_per_step_low"], row["joules_per_step_high"])
        ends = (row[f"joules_per_million_tokens{end}"] for end in ("", "_low", "_high"))
        tokens = _interval(*(None if end is None else end / 1e3 for end in ends))
        facts = [row["workload"], row["device"], row["provenance"], row["boundary_words"], row["precision"]]
        rates = [row["throughput"], _percent(row["mfu_words"]), ", ".join(row["flag_words"])]
        found.append([*facts, str(row["repeats"]), *step, *tokens, *rates])
    return found


def verdicts(connection: duckdb.DuckDBPyConnection) -> list[list[str]]:
    """One row a scenario, workload, pair of devices and attribution."""
    return [
        [
            *(row[name] for name in ("scenario", "workload", "cloud_device", "edge_device", "attribution_words")),
            *(row["ratio"], row["ratio_interval"], _percent(row["probability"]), row["winner"]),
            "yes" if row["flips"] else "no",
            row["compared"],
            row["caveat"],
        ]
        for row in tables.verdicts(connection)
    ]


def assumptions(connection: duckdb.DuckDBPyConnection) -> list[list[str]]:
    """One row a scenario and input."""
    return [
        [
            *(row[name] for name in ("scenario", "name", "value_words", "range")),
            "" if row["unit"] == "1" else row["unit"],
            *(row["prior"], row["source"], "" if row["year"] is None else str(row["year"]), row["provenance"]),
        ]
        for row in tables.assumptions(connection)
    ]


def choices(connection: duckdb.DuckDBPyConnection) -> list[list[str]]:
    """One row a scenario: what it stands for, and what it decides that is no number with a source."""
    return [
        [name, row["title"], row["description"], row["based_on"] or "", "; ".join(row["choices"])]
        for name, row in scenarios.told(connection).items()
    ]


def break_even(connection: duckdb.DuckDBPyConnection) -> list[list[str]]:
    """One row a scenario, workload, pair of devices and attribution: the energy ratio needed, and what turns the verdict."""
    found = []
    for row in rows(connection, _BREAK_EVEN, {"attributions": list(ATTRIBUTIONS)}):
        turns = decisions.with_unit(row["deciding_value"], row["deciding_unit"]) if row["deciding_input"] else NOTHING
        found.append([
            *(row[name] for name in _PAIR), _attribution(row),
            *decisions.ratio_words(row, "energy_ratio", "energy_ratio_low", "energy_ratio_high"),
            *decisions.ratio_words(row, "break_even_ratio", "break_even_low", "break_even_high"),
            row["label"] or row["deciding_input"] or NOTHING, turns, decisions.distance_words(row["deciding_distance"]),
        ])  # fmt: skip
    return found


def standard(connection: duckdb.DuckDBPyConnection) -> list[list[str]]:
    """One row a scenario, workload, pair of devices, attribution, lifetime and utilisation."""
    return [
        [
            *(row[name] for name in _PAIR), _attribution(row),
            figures.plain(row["lifetime_years"]), figures.plain(100 * row["utilisation"]),
            *decisions.ratio_words(row, "ratio_cloud_over_edge", "ratio_low", "ratio_high"),
            _percent(figures.percent(row["probability_edge_wins"])),
        ]
        for row in rows(connection, _STANDARD, {"attributions": list(ATTRIBUTIONS)})
    ]  # fmt: skip


PAPER_TABLES = (
    PaperTable(
        "energy_by_device",
        "Energy by device, with 95 % intervals",
        (
            ("Workload", LEFT),
            ("Device", LEFT),
            ("Known as", LEFT),
            ("Covers", LEFT),
            ("Precision", LEFT),
            ("Runs", RIGHT),
            ("Energy a step (J)", RIGHT),
            ("95 % (J)", RIGHT),
            ("Energy a million tokens (kJ)", RIGHT),
            ("95 % (kJ)", RIGHT),
            ("Throughput (tokens/s)", RIGHT),
            ("MFU (%)", RIGHT),
            ("Flags", LEFT),
        ),
        energy_by_device,
    ),
    PaperTable(
        "verdicts",
        "Carbon of the cloud over that of the edge, by attribution; above 1 the edge emits less",
        (
            ("Workload", LEFT),
            ("Cloud", LEFT),
            ("Edge", LEFT),
            ("Attribution", LEFT),
            ("Cloud/edge", RIGHT),
            ("5–95 %", RIGHT),
            ("P(edge emits less) (%)", RIGHT),
            ("Emits less", LEFT),
            ("Flips", LEFT),
            ("Compared", LEFT),
            ("Caveat", LEFT),
        ),
        verdicts,
        by_scenario=True,
    ),
    PaperTable(
        "assumptions",
        "Assumptions, with ranges, priors and sources",
        (
            ("Assumption", LEFT),
            ("Value", RIGHT),
            ("Range", RIGHT),
            ("Unit", LEFT),
            ("Prior", LEFT),
            ("Source", LEFT),
            ("Year", RIGHT),
            ("Known as", LEFT),
        ),
        assumptions,
        by_scenario=True,
    ),
    PaperTable(
        "scenarios",
        "What each scenario stands for, and its choices beside the assumptions",
        (
            ("Scenario", LEFT),
            ("Title", LEFT),
            ("Stands for", LEFT),
            ("Based on", LEFT),
            ("Choices", LEFT),
        ),
        choices,
    ),
    PaperTable(
        "break_even",
        "Energy ratio reached and needed to break even, and the one input that would most easily turn the verdict",
        (
            ("Workload", LEFT),
            ("Cloud", LEFT),
            ("Edge", LEFT),
            ("Attribution", LEFT),
            ("Energy, cloud/edge", RIGHT),
            ("5–95 %", RIGHT),
            ("Needed", RIGHT),
            ("5–95 %", RIGHT),
            ("Turns with", LEFT),
            ("At", RIGHT),
            ("That is", LEFT),
        ),
        break_even,
        by_scenario=True,
    ),
    PaperTable(
        "standard",
        "Carbon of the cloud over that of the edge under lifetimes and use of the edge device that publications differ in",
        (
            ("Workload", LEFT),
            ("Cloud", LEFT),
            ("Edge", LEFT),
            ("Attribution", LEFT),
            ("Lifetime (years)", RIGHT),
            ("In use (%)", RIGHT),
            ("Cloud/edge", RIGHT),
            ("5–95 %", RIGHT),
            ("P(edge emits less) (%)", RIGHT),
        ),
        standard,
        by_scenario=True,
    ),
)
"""Another one is a function and an entry here; `exports` writes it."""


def _attribution(row: Row) -> str:
    return str(ATTRIBUTIONS.get(row["attribution"], row["attribution"]))


def _interval(value: float | None, low: float | None, high: float | None) -> tuple[str, str]:
    return (NOTHING, "") if value is None else figures.interval(value, low, high)


def _percent(cell: str) -> str:
    """A cell of percents under a header that says the unit."""
    return cell.removesuffix(" %")


def latex(table: PaperTable, rows: Sequence[Sequence[str | None]]) -> str:
    """A booktabs table no wider than the line, to be put into a document with `\\input`; its first lines say how.

    Where a page has no room for it, it is a longtable, which breaks across pages, but not in a document of two columns.
    """
    letters = _letters(table, rows)
    wide, long = sum(letters) > UPRIGHT_LETTERS, _lines(rows, letters) > PAGE_LINES
    packages = ["array", "booktabs", *(["longtable"] if long else []), *(["pdflscape"] if wide else [])]
    put = f"\\input{{{table.name}}}"
    if wide:
        put = f"\\begin{{landscape}}{put}\\end{{landscape}}"
    head = ["\\toprule", _latex_row([header for header, _ in table.columns]), "\\midrule"]
    body = [_latex_row(row) for row in rows]
    if long:
        caption = f"\\caption{{{latex_text(table.title)}}}\\label{{tab:{table.name}}}\\\\"
        begin, end = "\\begin{longtable}{", "\\end{longtable}"
        heads = [caption, *head, "\\endfirsthead", *head, "\\endhead"]
        content = [*heads, "\\bottomrule", "\\endfoot", *body]
    else:
        begin, end = "\\noindent\\begin{tabular}{", "\\end{tabular}"
        content = [*head, *body, "\\bottomrule"]
    return "\n".join([
        f"% {table.title}.",
        f"% \\usepackage{{{','.join(packages)}}}",
        f"% {put}",
        "\\begingroup\\footnotesize\\setlength{\\tabcolsep}{3pt}",
        begin, *_latex_columns(table, letters, TURNED_LETTERS if wide else UPRIGHT_LETTERS), "}", *content, end,
        "\\endgroup",
        "",
    ])  # fmt: skip


def _latex_columns(table: PaperTable, letters: Sequence[float], line: int) -> Iterator[str]:
    """What each column is: its alignment, and its share of the line, rounded down so that all together fit."""
    for (_, alignment), width in zip(table.columns, letters, strict=True):
        share = math.floor(1e4 * width / line) / 1e4
        yield f"  >{{\\{alignment}\\arraybackslash}}p{{\\dimexpr{share:.4f}\\linewidth-2\\tabcolsep\\relax}}"


def _letters(table: PaperTable, rows: Sequence[Sequence[str | None]]) -> list[float]:
    """Widths of the columns in letters: that of the longest cell; or, where the line is too short for all of them, of the
    longest word, and of what is left of the line the more, the longer its cells are."""
    columns = [[header, *(row[number] or NOTHING for row in rows)] for number, (header, _) in enumerate(table.columns)]
    least = [max(len(word) for cell in column for word in _BREAKS.split(cell)) + 1 for column in columns]
    most = [max(word, *(len(cell) + 1 for cell in column[1:]), 0) for word, column in zip(least, columns, strict=True)]
    if sum(most) <= TURNED_LETTERS:
        return [float(letters) for letters in most]
    room = TURNED_LETTERS - sum(least)
    if room <= 0:
        return [TURNED_LETTERS * word / sum(least) for word in least]
    wants = [math.sqrt(longest - word) for word, longest in zip(least, most, strict=True)]
    return [word + room * want / sum(wants) for word, want in zip(least, wants, strict=True)]


def _lines(rows: Sequence[Sequence[str | None]], letters: Sequence[float]) -> int:
    """About how many lines the rows take in columns of these widths."""
    return sum(
        max(math.ceil(len(cell or NOTHING) / width) for cell, width in zip(row, letters, strict=True)) for row in rows
    )


def markdown(table: PaperTable, rows: Iterable[list[str]]) -> str:
    """A table in GitHub's Markdown, under its title."""
    rule = ["---:" if alignment == RIGHT else "---" for _, alignment in table.columns]
    body = [_markdown_row(row) for row in rows]
    head = [_markdown_row([header for header, _ in table.columns]), f"| {' | '.join(rule)} |"]
    return "\n".join([f"**{markdown_text(table.title)}**", "", *head, *body, ""])


def _latex_row(cells: Iterable[str | None]) -> str:
    return f"{' & '.join(latex_text(cell) for cell in cells)} \\\\"


def _markdown_row(cells: Iterable[str | None]) -> str:
    return f"| {' | '.join(markdown_text(cell) for cell in cells)} |"


# What does not stand for itself in every LaTeX document: [ and * after a line's end would be an argument of it, " is a
# shorthand in some languages, < and > are other letters in the oldest font encoding, and no line ends after a plain /.
_LATEX = {
    **{letter: f"\\{letter}" for letter in "{}$&#_%"},
    **{letter: f"{{{letter}}}" for letter in "[]*`"},
    "/": "\\slash{}", "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", '"': "{\\char34}",
    "<": "\\textless{}", ">": "\\textgreater{}", "|": "\\textbar{}", "–": "{--}", "—": "{---}", "…": "\\dots{}",
    "“": "{``}", "”": "{''}", "‘": "\\textquoteleft{}", "’": "\\textquoteright{}",
    figures.MINUS: "$-$", "×": "$\\times$", "·": "$\\cdot$", "±": "$\\pm$", "≤": "$\\leq$", "≥": "$\\geq$",
    "µ": "$\\mu$", "μ": "$\\mu$", "°": "$^\\circ$", "²": "$^2$", "³": "$^3$", "ß": "\\ss{}", "ø": "\\o{}", "Ø": "\\O{}",
    "æ": "\\ae{}", "Æ": "\\AE{}",
}  # fmt: skip
_DOTLESS = {"i": "\\i", "j": "\\j"}  # as they stand under an accent
_ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u030c": "v", "\u0327": "c"}
_BREAKS = re.compile(r"\s|(?<=[-/])")  # where a line may end
_LIGATURES = "-',"  # two of them would become one other sign
# As references of characters, which Markdown never takes for its own signs, nor GitHub for formulas and names.
_MARKDOWN = {
    **{letter: f"\\{letter}" for letter in "\\`*[]~#"},
    "&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "$": "&#36;", "@": "&#64;",
}  # fmt: skip
# Within a word it is no emphasis, and an escape would break an address.
_OUTER_LINE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")


def latex_text(text: str | None) -> str:
    """Any text as one line of LaTeX that prints it. A letter that not every TeX has is named: U+4E2D."""
    line = ""
    for letter in unicodedata.normalize("NFC", words.one_line(text)) or NOTHING:
        line += f"{{{letter}}}" if letter in _LIGATURES and line.endswith(letter) else _latex_letter(letter)
    return line


def _latex_letter(letter: str) -> str:
    if letter in _LATEX:
        return _LATEX[letter]
    if letter.isascii():
        return letter
    base, accents = (decomposed := unicodedata.normalize("NFD", letter))[0], decomposed[1:]
    if accents in _ACCENTS and base.isascii():
        return f"\\{_ACCENTS[accents]}{{{_DOTLESS.get(base, base)}}}"
    return f"U+{ord(letter):04X}"


def markdown_text(text: str | None) -> str:
    """Any text as one line of Markdown that shows it, fit for a cell."""
    line = "".join(_MARKDOWN.get(letter, letter) for letter in words.one_line(text) or NOTHING)
    return _OUTER_LINE.sub(r"\_", line)
