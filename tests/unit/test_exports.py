"""Every table comes out as CSV with its unit; the main ones as LaTeX and Markdown in which any text is but text."""

from __future__ import annotations

import csv
import itertools
import re
import shutil
import subprocess
from pathlib import Path
from unicodedata import normalize

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import report_database
from edgecarbon.report import exports, paper, words
from edgecarbon.store.schema import TABLES
from edgecarbon.store.views import VIEWS

HOSTILE = "a_b & $x$ \\input{/etc/passwd}"
NASTY = [
    HOSTILE,
    "[1pt]",
    "*",
    "--- ?` ``''",
    "^^41 \\end{tabular}",
    '<script>|</td>&amp;"',
    "% # ~ ü 中",
    "`x` **y** | z",
]
TEXTS = st.text(st.sampled_from("a1 \\{}$&#_%~^[]*-`'\"<>|,!?éőñß–×−中\n|@()") | st.characters(), max_size=40)
PARSER = MarkdownIt("commonmark").enable("table")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report_database.build(tmp_path_factory.mktemp("exports") / "d.duckdb", repeats=2)


@pytest.fixture(scope="module")
def folder(database: Path) -> Path:
    with duckdb.connect(str(database), read_only=True) as connection:
        exports.build(connection, database.parent / "deep" / "tables")
    return database.parent / "deep" / "tables"


def lines(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def table_of(headers: list[str], *alignments: str) -> paper.PaperTable:
    columns = tuple(zip(headers, alignments or [paper.LEFT] * len(headers), strict=True))
    return paper.PaperTable("t", "Title", columns, lambda connection: [])


def test_every_table_but_those_left_out_is_written(folder: Path) -> None:
    names = {table.name for table in (*TABLES, *VIEWS)}
    assert names >= exports.LEFT_OUT, "a name that no table has"
    expected = {f"{name}.csv" for name in names - exports.LEFT_OUT} | {"columns.csv"}
    assert {path.name for path in folder.glob("*.csv")} == expected
    assert not expected & {"samples.csv", "steps.csv", "readings.csv", "channels.csv", "power.csv", "ingested.csv"}
    assert expected >= {"runs.csv", "device_energy.csv", "carbon.csv", "verdicts.csv", "fleet_runs.csv"}


def test_csv_holds_what_the_database_holds(folder: Path, database: Path) -> None:
    with duckdb.connect(str(database), read_only=True) as connection:
        for table in exports.written():
            header, *found = lines(folder / f"{table.name}.csv")
            assert header == table.column_names
            assert connection.execute(f"SELECT count(*) FROM {table.name}").fetchone() == (len(found),)
        joules = connection.execute(
            "SELECT energy_joules FROM runs WHERE run_id = 'opt-125m/workstation/r1'"
        ).fetchone()
    header, *found = lines(folder / "runs.csv")
    run = dict(zip(header, next(row for row in found if row[0] == "opt-125m/workstation/r1"), strict=True))
    assert joules == (float(run["energy_joules"]),), "no digit is lost"
    assert run["flags"] == "thermal_throttling"
    assert run["net_energy_joules"] == "", "unknown is empty, not 0"


def test_every_column_has_its_unit_and_meaning_beside_it(folder: Path) -> None:
    header, *found = lines(folder / "columns.csv")
    told = {(row[0], row[1]): dict(zip(header, row, strict=True)) for row in found}
    for table in exports.written():
        for column in table.columns:
            assert told[table.name, column.name]["unit"] == column.unit
            assert told[table.name, column.name]["meaning"] == column.meaning
    assert told["device_energy", "joules_per_step"]["unit"] == "J"
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert all(f"`{one.name}`" in readme for one in exports.written())
    assert all(f"`{one.name}{'-SCENARIO' * one.by_scenario}`" in readme for one in paper.PAPER_TABLES)


def test_the_same_database_makes_the_same_bytes(folder: Path, database: Path, tmp_path: Path) -> None:
    with duckdb.connect(str(database), read_only=True) as connection:
        exports.build(connection, tmp_path / "it's")
    again = {path.name: path.read_bytes() for path in (tmp_path / "it's").iterdir()}
    assert again == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_tables_for_a_paper_have_figures_as_the_page_gives_them(folder: Path) -> None:
    energy = (folder / "energy_by_device.md").read_text(encoding="utf-8")
    assert "| Energy a step (J) | 95 % (J) |" in energy
    row = next(row for row in cells_of_markdown(energy) if row[:2] == ["opt-125m", "h200"])
    assert row[2:8] == ["measured", "GPU board", "bf16", "2", "7.98", "7.66–8.30"]
    assert row[8:] == ["0.974", "0.934–1.013", "551,000", "42", "short window"]
    verdict = next(
        line
        for line in (folder / "verdicts-default.md").read_text(encoding="utf-8").splitlines()
        if "time share" in line
    )
    cells = [cell.strip() for cell in verdict.strip("|").split("|")]
    assert cells[3:9] == ["time share", "1.2", "0.53–2.8", "71", "unclear", "yes"]
    assumptions = (folder / "assumptions-default.tex").read_text(encoding="utf-8")
    assert (
        "grid.world & 494 & 440{--}550 & g\\slash{}kWh & log-uniform halves & Ember & 2024 & published \\\\"
        in assumptions
    )
    assert "0.0000139 & {--} & kWh\\slash{}GB & {--}" in assumptions, "no range, and so no prior"


@pytest.mark.parametrize("table", paper.PAPER_TABLES, ids=lambda table: table.name)
def test_each_row_has_a_cell_a_column_in_both_formats(folder: Path, table: paper.PaperTable) -> None:
    name = f"{table.name}-default" if table.by_scenario else table.name
    rendered = cells_of_markdown((folder / f"{name}.md").read_text(encoding="utf-8"))
    printed = rows_of_latex((folder / f"{name}.tex").read_text(encoding="utf-8"))
    assert len(printed) == len(rendered) > 1
    assert {len(row) for row in rendered} == {len(row) for row in printed} == {len(table.columns)}
    assert rendered[0] == [header for header, _ in table.columns]


def test_what_follows_from_a_scenario_has_a_file_for_each(database: Path, tmp_path: Path) -> None:
    shutil.copy(database, tmp_path / "two.duckdb")
    with duckdb.connect(str(tmp_path / "two.duckdb")) as connection:
        for name in ("verdicts", "assumptions", "break_even", "standard"):
            connection.execute(f"INSERT INTO {name} BY NAME SELECT * REPLACE ('other' AS scenario) FROM {name} LIMIT 3")
        exports.build(connection, tmp_path / "tables")
    found = {path.stem for path in (tmp_path / "tables").glob("*.tex")}
    named = {table.name for table in paper.PAPER_TABLES if table.by_scenario}
    assert named == {"verdicts", "assumptions", "break_even", "standard"}
    assert found >= {f"{name}-{scenario}" for name in named for scenario in ("default", "other")}
    assert not found & named
    for name in named:
        text = (tmp_path / "tables" / f"{name}-other.md").read_text(encoding="utf-8")
        assert len(cells_of_markdown(text)) == 1 + 3
        assert "Scenario other" in text.splitlines()[0]


SOURCE = "An author, a title that goes on, " * 30 + "doi 10.1000/182"


@pytest.mark.parametrize("count", [1, 8])
def test_a_table_fits_the_line_and_breaks_where_a_page_has_no_room(count: int) -> None:
    """A source of a thousand letters is whole, however many rows there are."""
    table = table_of(["Name", "Value", "Source"], paper.LEFT, paper.RIGHT, paper.LEFT)
    tex = paper.latex(table, [[f"input/{number}", "1.5", SOURCE] for number in range(count)])
    long = count > 1
    shares = [float(share) for share in re.findall(r"p\{\\dimexpr([\d.]+)\\linewidth-2\\tabcolsep\\relax\}", tex)]
    assert len(shares) == 3
    assert 0.99 < sum(shares) <= 1
    assert shares[2] > 2 * shares[0] > 2 * shares[1] > 0
    assert tex.count("\\begin{longtable}") == tex.count("\\end{longtable}") == long
    assert tex.count("\\begin{tabular}") == tex.count("\\end{tabular}") == (not long)
    assert ("longtable" in re.search(r"^% \\usepackage\{(.+)\}$", tex, re.MULTILINE)[1]) == long
    assert "% \\begin{landscape}\\input{t}\\end{landscape}" in tex
    assert [read_latex(row[2]) for row in rows_of_latex(tex)[1:]] == [SOURCE] * count


def test_a_small_table_is_as_wide_as_its_cells_and_stands_upright() -> None:
    tex = paper.latex(table_of(["Name", "Same"]), [["a", "some words"]])
    assert re.findall(r"p\{\\dimexpr([\d.]+)", tex) == ["0.0500", "0.1100"]
    assert "landscape" not in tex


def test_an_empty_database_makes_tables_of_a_head_alone(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        report_database.create_schema(connection)
        exports.build(connection, tmp_path)
    assert len(lines(tmp_path / "runs.csv")) == 1
    assert len(cells_of_markdown((tmp_path / "energy_by_device.md").read_text(encoding="utf-8"))) == 1


def test_a_hostile_device_is_text_in_every_file(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        report_database.create_schema(connection)
        report_database.insert_named(
            connection, "runs", run_id="r", workload="w", device=HOSTILE, repeat=1, role="edge", steps=10, tokens=10,
            record_kind="measured", provenance="measured", boundary=HOSTILE, energy_joules=1.0, flags=[HOSTILE, "b;"],
        )  # fmt: skip
        exports.build(connection, tmp_path)
    tex = (tmp_path / "energy_by_device.tex").read_text(encoding="utf-8")
    assert "a\\_b \\& \\$x\\$ \\textbackslash{}input\\{\\slash{}etc\\slash{}passwd\\}" in tex
    assert not re.search(r"^[^%]*\\input", tex, re.MULTILINE)
    assert cells_of_markdown((tmp_path / "energy_by_device.md").read_text(encoding="utf-8"))[1][1] == HOSTILE
    assert lines(tmp_path / "runs.csv")[1][2] == HOSTILE


@settings(max_examples=300, deadline=None)
@given(TEXTS)
@example(HOSTILE)
@example("\\|")
@example("--–--")
@example("<b>x</b> __y__ a_b_ _c &lt; ~~z~~ `w` ![i](j)")
@example("by “whole machine” × 1.3, ‘’")
def test_any_text_comes_out_of_both_formats_as_it_went_in(text: str) -> None:
    line = words.one_line(text) or paper.NOTHING
    assert read_latex(paper.latex_text(text)) == printed(line)
    table = table_of(["a", "b"])
    assert cells_of_markdown(paper.markdown(table, [[text, "end"]]))[1] == [line, "end"]


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
MARKS = {"`": "\u0300", "'": "\u0301", "^": "\u0302", "~": "\u0303", '"': "\u0308", "v": "\u030c", "c": "\u0327"}
READ = {
    **{letter: letter for letter in f"{LETTERS}0123456789 .,;:!?()=+@-'"},
    **{f"\\{letter}": letter for letter in "{}$&#_%"},
    **{f"{{{letter}}}": letter for letter in "[]*`,-'"},
    **{f"\\{sign}{{{base}}}": normalize("NFC", base + mark) for sign, mark in MARKS.items() for base in LETTERS},
    **{f"\\{sign}{{\\{base}}}": normalize("NFC", base + mark) for sign, mark in MARKS.items() for base in "ij"},
    "\\slash{}": "/", "\\textbackslash{}": "\\", "\\textasciitilde{}": "~", "\\textasciicircum{}": "^", "\\textless{}": "<",
    "\\textgreater{}": ">", "\\textbar{}": "|", "{\\char34}": '"', "\\dots{}": "…", "\\ss{}": "ß", "\\o{}": "ø",
    "\\O{}": "Ø", "\\ae{}": "æ", "\\AE{}": "Æ", "{--}": "–", "{---}": "—",
    "{``}": "“", "{''}": "”", "\\textquoteleft{}": "‘", "\\textquoteright{}": "’", "$-$": "−", "$\\times$": "×", "$\\cdot$": "·",
    "$\\pm$": "±", "$\\leq$": "≤", "$\\geq$": "≥", "$\\mu$": "µ", "$^\\circ$": "°", "$^2$": "²", "$^3$": "³",
}  # fmt: skip
TOKEN = re.compile("|".join(map(re.escape, sorted(READ, key=len, reverse=True))))
LIGATURES = {"--", "''", ",,", "``", "<<", ">>", "!`", "?`"}


def read_latex(source: str) -> str:
    """What LaTeX prints for it, and an error for whatever is not known to be harmless."""
    pieces = TOKEN.findall(source)
    assert "".join(pieces) == source
    assert not LIGATURES & {first + second for first, second in itertools.pairwise(pieces)}
    return "".join(READ[piece] for piece in pieces)


def printed(line: str) -> str:
    """The same, with letters named that not every LaTeX has."""
    known = set(READ.values())
    letters = normalize("NFC", line).replace("μ", "µ")
    return "".join(letter if letter in known else f"U+{ord(letter):04X}" for letter in letters)


def rows_of_latex(text: str) -> list[list[str]]:
    """The head and the rows of the one table in it, a heading for a further page as that of the first; all else around
    them is of the form that LaTeX wants."""
    form = re.fullmatch(
        r"(?:% [^\n]+\n){3}\\begingroup\\footnotesize\\setlength\{\\tabcolsep\}\{3pt\}\n"
        r"(?:\\noindent)?\\begin\{(\w+)\}\{\n(?P<columns>(?:  >\{[^\n]+\}\n)+)\}\n(?P<content>.+)\\end\{\1\}\n\\endgroup\n",
        text,
        re.DOTALL,
    )
    assert form
    head = r"\\toprule\n(?P<{}>[^\n]+ \\\\\n)\\midrule\n"
    once = r"\\caption\{[^\n]+\}\\label\{tab:[^\n{}]+\}\\\\\n" + head.format("first") + r"\\endfirsthead\n"
    long = once + head.format("again") + r"\\endhead\n\\bottomrule\n\\endfoot\n(?P<rows>.*)"
    short = head.format("first") + r"(?P<rows>.*)\\bottomrule\n"
    found = re.fullmatch(long if form[1] == "longtable" else short, form["content"], re.DOTALL)
    assert found
    assert found.groupdict().get("again", found["first"]) == found["first"]
    lines = (found["first"] + found["rows"]).splitlines()
    assert all(line.endswith(" \\\\") for line in lines)
    rows = [line.removesuffix(" \\\\").split(" & ") for line in lines]
    assert {len(row) for row in rows} == {form["columns"].count("\n")}
    return rows


def cells_of_markdown(text: str) -> list[list[str]]:
    """The rows of the one table in it, as a reader sees them; no other markup may be in its cells."""
    tokens = PARSER.parse(text)
    assert sum(token.type == "table_open" for token in tokens) == 1
    rows: list[list[str]] = []
    inside = False
    for token in tokens:
        inside = (inside or token.type == "table_open") and token.type != "table_close"
        if token.type == "tr_open":
            rows.append([])
        elif inside and token.type == "inline":
            assert {child.type for child in token.children or []} <= {"text", "text_special"}, token.content
            rows[-1].append("".join(child.content for child in token.children or []))
    return rows


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX here; escaping and form are tested above")
def test_latex_takes_it(folder: Path, tmp_path: Path) -> None:
    table = table_of(["Name", "Same"])
    (tmp_path / "nasty.tex").write_text(paper.latex(table, [[one, other] for one in NASTY for other in NASTY]))
    inputs = [tmp_path / "nasty.tex", *sorted(folder.glob("*.tex"))]
    body = "\n\n".join(f"\\input{{{path}}}" for path in inputs)
    packages = "\\usepackage{array,booktabs,longtable,pdflscape}"
    (tmp_path / "d.tex").write_text(
        f"\\documentclass{{article}}{packages}\\begin{{document}}\\begin{{landscape}}{body}\\end{{landscape}}\\end{{document}}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-draftmode", "d.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout[-2000:]
