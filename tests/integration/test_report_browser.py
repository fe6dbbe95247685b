"""The report and the charts in a real browser, from file://, at the width of a desk and of a phone."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

import report_database
from edgecarbon import report
from edgecarbon.charts import CHARTS, DECISION_CHARTS, save
from edgecarbon.charts.style import ATTRIBUTIONS
from edgecarbon.vocabulary import BOUNDARIES, FLAG_LABELS, FOOTPRINT_BOUNDARIES, PRIOR_WORDS

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
DESK, PHONE = (1280, 900), (390, 844)
# A browser that starts cold, or paints a long page in software beside other work, is slow and not at fault.
PATIENCE_MS = 240_000

# What each chart's drawing shows, in marks that are not text: fewer would mean that a layer is missing.
MARKS = """figure => ['symbol path', 'rule line', 'rect path', 'line path']
  .flatMap(mark => [...figure.querySelectorAll('svg.marks .mark-' + mark)])
  .filter(mark => { const box = mark.getBoundingClientRect(); return box.width + box.height > 0 }).length"""

# Texts that lie outside their drawing (cut), are smaller than 11 px, or lie on top of one another.
TEXT_FAULTS = """figure => {
  const svg = figure.querySelector('svg.marks'), frame = svg.getBoundingClientRect(), faults = [], boxes = [];
  for (const text of svg.querySelectorAll('text')) {
    const words = text.textContent.trim(), box = text.getBoundingClientRect();
    if (!words || text.closest('[opacity="0"]') || text.getAttribute('opacity') === '0') continue;
    if (box.left < frame.left - 1 || box.right > frame.right + 1) faults.push('cut: ' + words);
    if (box.top < frame.top - 1 || box.bottom > frame.bottom + 1) faults.push('cut: ' + words);
    if (parseFloat(getComputedStyle(text).fontSize) < 11) faults.push('small: ' + words);
    for (const [other, theirs] of boxes) {
      const across = Math.min(box.right, theirs.right) - Math.max(box.left, theirs.left);
      const down = Math.min(box.bottom, theirs.bottom) - Math.max(box.top, theirs.top);
      if (across > 2 && down > 5) faults.push('overlap: ' + words + ' / ' + other);
    }
    boxes.push([words, box]);
  }
  return faults;
}"""


# Every text of the page, what hovers over it, and what a reader of the screen says of a chart, which is in its tooltips.
SHOWN = """() => {
  for (const details of document.querySelectorAll('details')) details.open = true;
  const shown = [...document.querySelectorAll('[title], [aria-label]')]
    .flatMap(one => [one.getAttribute('title'), one.getAttribute('aria-label')]);
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode())
    if (!texts.currentNode.parentElement.closest('script, style, noscript')) shown.push(texts.currentNode.textContent);
  return shown.filter(Boolean);
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        pytest.fail("no Chromium to open the report with; install it: sudo apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS, timeout=PATIENCE_MS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with report.html and a chart page, from one database."""
    folder = tmp_path_factory.mktemp("browser")
    database = report_database.build(folder / "edgecarbon.duckdb")
    with duckdb.connect(str(database)) as connection:
        # One run has every flag, so that the page has to say them all.
        connection.execute("UPDATE runs SET flags = ? WHERE run_id = 'opt-125m/workstation/r1'", [list(FLAG_LABELS)])
    with duckdb.connect(str(database), read_only=True) as connection:
        report.build(connection, folder / "report.html", config_name="config/config.yaml", seed=1)
        save([("power", CHARTS["power"].draw(connection))], folder)
    return folder


class Watched:
    """A browser page with everything that it complained about or asked for."""

    def __init__(self, browser: Browser, size: tuple[int, int]) -> None:
        self.page: Page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        self.page.set_default_timeout(PATIENCE_MS)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, path: Path) -> Page:
        self.page.goto(path.as_uri())
        return self.page


@pytest.fixture(scope="module", params=[DESK, PHONE], ids=["desk", "phone"])
def opened(request: pytest.FixtureRequest, browser: Browser, built: Path) -> Iterator[Watched]:
    watched = Watched(browser, request.param)
    watched.open(built / "report.html").evaluate("window.charts")
    watched.page.screenshot(path=built / f"report-{request.param[0]}.png", full_page=True)
    yield watched
    watched.page.close()


def each_chart(page: Page, script: str) -> dict[str, Any]:
    names = [name for name in (*CHARTS, *DECISION_CHARTS) if name in CHARTS or page.locator(f"#chart-{name}").count()]
    return {name: page.locator(f"#chart-{name}").evaluate(script) for name in names}


def test_nothing_is_complained_of_and_nothing_leaves_the_page(opened: Watched) -> None:
    assert opened.complaints == []
    assert [url for url in opened.requests if not url.startswith(("file:", "data:", "blob:"))] == []


def test_every_chart_is_drawn_with_its_marks(opened: Watched) -> None:
    marks = each_chart(opened.page, MARKS)
    least = {
        "energy_per_step": 2 * 2 * len(report_database.DEVICES),
        "energy_per_million_tokens": 2 * 2 * len(report_database.DEVICES),
        "power": 2 * 3 * 3,
        "training": 2 * 3 * 3,
        "carbon": 2 * 4 * len(report_database.DEVICES) * 3,
        "verdict": 2 * 2 * 4 * 4 * 2,
        "break_even": 2 * 8 * 4,
        "tornado": 4 * (8 * 2 + 2),
        "sobol": 4 * 8 * 3,
        "break_even_map": 4 * 48,
        "probability": 2 * 8 * 4,
    }
    assert set(marks) == set(least)
    assert {name: count for name, count in marks.items() if count < least[name]} == {}


def test_the_page_is_no_wider_than_the_screen(opened: Watched) -> None:
    widths = opened.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert widths[0] <= widths[1]
    inside = each_chart(
        opened.page, "figure => { const b = figure.querySelector('.chart'); return b.scrollWidth - b.clientWidth }"
    )
    assert {name: more for name, more in inside.items() if more > 0} == {}


def test_the_verdict_comes_before_much_else(opened: Watched) -> None:
    page = opened.page
    assert page.locator("nav").evaluate("nav => nav.clientHeight") < 70
    chip = page.locator(".chips li").first
    assert chip.locator("a").get_attribute("title")
    assert page.locator(chip.locator("a").get_attribute("href") or "none").count() == 1
    chance = page.locator("#pairs tbody td.n:nth-last-of-type(3)").first.inner_text()
    assert chip.inner_text().endswith(f"P(edge) {chance}")


def test_no_text_is_cut_tiny_or_overlaid(opened: Watched) -> None:
    assert {name: faults for name, faults in each_chart(opened.page, TEXT_FAULTS).items() if faults} == {}


def test_a_tooltip_says_boundary_and_source(opened: Watched) -> None:
    opened.page.locator("#chart-energy_per_step svg.marks .mark-symbol path[fill='#0072B2']").first.hover()
    tooltip = opened.page.locator("#vg-tooltip-element.visible")
    tooltip.wait_for()
    for words in ("boundary", "GPU board", "source", "nvmlDeviceGetTotalEnergyConsumption", "provenance", "measured"):
        assert words in tooltip.inner_text()


def download(page: Page, section: str, number: int) -> list[list[str]]:
    """The rows of a section's table as its button gives them."""
    with page.expect_download() as waiting:
        page.locator(f"#{section} button.csv").nth(number).click()
    assert waiting.value.suggested_filename == f"edgecarbon-{section}-{number + 1}.csv"
    with open(waiting.value.path(), newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_no_code_is_shown_where_a_reader_needs_words(opened: Watched) -> None:
    shown = opened.page.evaluate(SHOWN)
    codes = [FLAG_LABELS, BOUNDARIES, FOOTPRINT_BOUNDARIES, PRIOR_WORDS, ATTRIBUTIONS]
    known = "|".join(sorted(code for names in codes for code in names if "_" in code))
    assert [text for text in shown if re.search(rf"(?<![\w/])({known})", text)] == []
    assert all(any(label in text for text in shown) for label in FLAG_LABELS.values())


def test_every_table_downloads_in_full_precision(opened: Watched, built: Path) -> None:
    page = opened.page
    assert page.locator("main table").count() == page.locator("button.csv").count() > 20
    with duckdb.connect(str(built / "edgecarbon.duckdb"), read_only=True) as database:
        pairs = database.execute(
            "SELECT ratio_cloud_over_edge, ratio_low, ratio_high, probability_edge_wins FROM verdicts"
        ).fetchall()
        energy = database.execute("SELECT joules_per_step FROM device_energy").fetchall()
    heading, *rows = download(page, "pairs", 0)
    assert heading[:5] == ["Cloud, edge", "Attribution", "Cloud / edge", "Cloud / edge: low", "Cloud / edge: high"]
    assert {len(row) for row in rows} == {len(heading)}
    assert all(row[0] for row in rows), "a cell over several rows is repeated"
    place = heading.index("P(edge wins)")
    assert {tuple(float(row[n]) for n in (2, 3, 4, place)) for row in rows} == set(pairs)
    heading, *rows = download(page, "ran", 0)
    assert {row[0] for row in rows} == set(report_database.WORKLOADS)
    place = heading.index("Energy a step (J)")
    assert {(float(row[place]),) for row in rows} == set(energy)
    assert opened.complaints == []


def test_a_download_is_no_formula_and_keeps_commas(opened: Watched) -> None:
    rows = [["=1+1", "-2.5", "+3", 'a, "b"'], ["@x", "-", "plain", "\n"]]
    text = opened.page.evaluate("rows => csv(rows)", rows)
    assert text == '\'=1+1,-2.5,+3,"a, ""b"""\r\n\'@x,\'-,plain,"\n"\r\n'


def test_charts_follow_a_turned_screen(browser: Browser, built: Path) -> None:
    watched = Watched(browser, PHONE)
    page = watched.open(built / "report.html")
    page.evaluate("window.charts")
    page.set_viewport_size({"width": PHONE[1], "height": PHONE[0]})
    page.wait_for_function("+document.querySelector('#chart-verdict').dataset.drawn > 700")
    width = page.locator("#chart-verdict svg.marks").evaluate("svg => svg.getBoundingClientRect().width")
    assert 700 < width < PHONE[1]
    assert watched.complaints == []


def test_it_prints_within_the_paper(browser: Browser, built: Path) -> None:
    watched = Watched(browser, DESK)
    page = watched.open(built / "report.html")
    page.evaluate("window.charts")
    page.emulate_media(media="print")
    # A4 less its margins, at 96 dots an inch.
    page.set_viewport_size({"width": 680, "height": 1000})
    assert page.evaluate("document.documentElement.scrollWidth") <= 680
    assert not page.locator("nav").is_visible()
    page.pdf(path=built / "report.pdf", format="A4", print_background=True)
    assert (built / "report.pdf").stat().st_size > 50_000


def test_a_chart_page_draws_by_itself(browser: Browser, built: Path) -> None:
    watched = Watched(browser, DESK)
    watched.open(built / "power.html").locator("svg.marks .mark-line path").first.wait_for()
    assert watched.complaints == []
    assert [url for url in watched.requests if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.mark.parametrize("devices", [["rtx-a5000-bf16", "laptop-without-sensor"], ["snapdragon-888"]])
def test_a_page_without_a_measured_device_draws_without_complaint(
    browser: Browser, tmp_path: Path, devices: list[str]
) -> None:
    database = report_database.build(tmp_path / "edgecarbon.duckdb", repeats=1, devices=devices)
    with duckdb.connect(str(database), read_only=True) as connection:
        report.build(connection, tmp_path / "report.html")
    watched = Watched(browser, PHONE)
    page = watched.open(tmp_path / "report.html")
    page.evaluate("window.charts")
    assert watched.complaints == []
    assert {name: faults for name, faults in each_chart(page, TEXT_FAULTS).items() if faults} == {}


def test_the_policy_stops_what_would_leave_the_page(browser: Browser, built: Path) -> None:
    watched = Watched(browser, DESK)
    page = watched.open(built / "report.html")
    blocked = page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', error => String(error))")
    assert "Failed to fetch" in blocked
    assert any("Content Security Policy" in complaint for complaint in watched.complaints)
