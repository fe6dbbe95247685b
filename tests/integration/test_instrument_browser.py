"""The page's instrument in a real browser: every slider gives the verdict that Python gives, and nothing leaves the page."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import duckdb
import pytest
import test_report_browser
from playwright.sync_api import Browser, Page
from test_report_browser import DESK, PHONE, Watched

import report_database
import report_instrument
from edgecarbon import report
from edgecarbon.report.instrument import Outcome, Parts, Settings, read, recompute

browser = test_report_browser.browser
DEVICES = ["rtx-a5000-bf16", "snapdragon-888", "workstation"]
WORKLOAD, CLOUD, EDGE, UNCHARGED = "opt-125m", *DEVICES
SUNNY = UNCHARGED  # made to run on its own sun
ATTRIBUTIONS = ("sunk", "marginal_wear", "time_share", "used_hours")
# A value to type for each slider, and one outside what the slider allows.
TYPED = {
    "energy_ratio": (1.37, 1e6),
    "cloud_grid_g_per_kwh": (31.5, 0),
    "edge_grid_g_per_kwh": (615.25, -1),
    "charger": (3.19, 0.5),
    "lifetime_years": (1.75, 99),
    "utilisation": (0.815, 1.2),
}
# What tells whether the sliders act upon a verdict that is close enough to call.
CLOSE = Settings(energy_ratio=1.6)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Parts]]:
    """The page, and the parts of the devices that it was built from."""
    folder = tmp_path_factory.mktemp("instrument")
    report_database.build(folder / "x.duckdb", repeats=1, samples=False, devices=DEVICES)
    with duckdb.connect(str(folder / "x.duckdb")) as connection, pytest.MonkeyPatch.context() as patch:
        patch.setattr(report.page, "CHARTS", {})  # they have their own tests, and take long to draw
        report_instrument.add(connection)
        connection.execute(
            "UPDATE instrument SET center = 0, draws = [0] WHERE device = ? AND part IN ('intensity', 'coordinator_kwh')",
            [SUNNY],
        )
        report.build(connection, folder / "report.html")
        return folder / "report.html", dict(read(connection, "default", WORKLOAD))


@pytest.fixture(scope="module")
def watched(browser: Browser, built: tuple[Path, dict[str, Parts]]) -> Iterator[Watched]:
    watched = Watched(browser, DESK)
    watched.open(built[0])
    yield watched
    assert watched.complaints == []
    assert [url for url in watched.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    watched.page.close()


@pytest.fixture
def page(watched: Watched) -> Page:
    """The page as it was opened."""
    page = watched.page
    choose(page, EDGE)
    page.click("#instrument-reset")
    attribute(page, "time_share")
    return page


@pytest.fixture
def parts(built: tuple[Path, dict[str, Parts]]) -> dict[str, Parts]:
    return built[1]


def choose(page: Page, edge: str) -> None:
    for name, value in {"workload": WORKLOAD, "cloud": CLOUD, "edge": edge}.items():
        page.select_option(f"#pick-{name}", value)


def attribute(page: Page, attribution: str) -> None:
    page.check(f"input[name=attribution][value={attribution}]")


def typed(page: Page, name: str, value: float) -> None:
    page.fill(f"#value-{name}", str(value))


def shown(page: Page) -> dict[str, str]:
    return page.eval_on_selector("#instrument-result", "result => ({...result.dataset})")


def expect(found: dict[str, str], wanted: Outcome) -> None:
    """What the page shows is what Python gives: to 0.1 %, and the probability to a draw."""
    names = {
        "ratio": wanted.ratio, "low": wanted.low, "high": wanted.high, "breakEven": wanted.break_even,
        "energyRatio": wanted.energy_ratio,
    }  # fmt: skip
    numbers = {name: float(found[name]) if found[name] else None for name in names}
    assert numbers == {name: None if one is None else pytest.approx(one, rel=1e-3) for name, one in names.items()}
    assert float(found["probability"]) == pytest.approx(wanted.probability, abs=1.01 / report_instrument.DRAWS)
    assert found["winner"] == wanted.winner


def test_it_opens_with_the_scenario_as_it_is(page: Page, parts: dict[str, Parts]) -> None:
    for attribution in ATTRIBUTIONS:
        attribute(page, attribution)
        expect(shown(page), recompute(parts[CLOUD], parts[EDGE], attribution))


def test_every_value_that_is_typed_under_every_attribution(page: Page, parts: dict[str, Parts]) -> None:
    close = 0
    for name, (value, _) in TYPED.items():
        typed(page, "energy_ratio", CLOSE.energy_ratio or 0.0)
        typed(page, name, value)
        settings = replace(CLOSE, **{name: value})
        for attribution in ATTRIBUTIONS:
            attribute(page, attribution)
            wanted = recompute(parts[CLOUD], parts[EDGE], attribution, settings)
            expect(shown(page), wanted)
            close += 0.02 < wanted.probability < 0.98
        page.click(f"[data-name={name}] .back")
    assert close >= 10, "where all draws are on one side, their share would tell nothing"
    typed(page, "energy_ratio", CLOSE.energy_ratio or 0.0)
    expect(shown(page), recompute(parts[CLOUD], parts[EDGE], ATTRIBUTIONS[-1], CLOSE))
    page.click("#instrument-reset")
    expect(shown(page), recompute(parts[CLOUD], parts[EDGE], ATTRIBUTIONS[-1]))


def test_every_slider_moves_by_keyboard(page: Page, parts: dict[str, Parts]) -> None:
    attribute(page, "used_hours")
    settings = Settings()
    before = shown(page)
    for name in TYPED:
        page.focus(f"#dial-{name}")
        for key in ("PageUp", "ArrowRight", "ArrowRight"):
            page.keyboard.press(key)
        settings = replace(settings, **{name: float(page.input_value(f"#value-{name}"))})
        expect(shown(page), recompute(parts[CLOUD], parts[EDGE], "used_hours", settings))
        assert shown(page) != before, name
        before = shown(page)


def test_a_value_out_of_bounds_changes_nothing_and_says_why(page: Page) -> None:
    before = shown(page)
    for name, (_, value) in TYPED.items():
        typed(page, name, value)
        assert "expected" in page.inner_text(f"#about-{name}")
    assert shown(page) == before
    page.locator("#value-utilisation").blur()
    assert page.input_value("#value-utilisation") == "0.2"
    assert "scenario: 0.2" in page.inner_text("#about-utilisation")


def test_a_device_without_a_charger_says_so(page: Page, parts: dict[str, Parts]) -> None:
    typed(page, "charger", 2.0)
    choose(page, UNCHARGED)
    typed(page, "edge_grid_g_per_kwh", 615.25)  # on its own sun no factor would show
    assert page.is_disabled("#dial-charger")
    assert "no battery" in page.inner_text("#about-charger")
    assert page.locator("#map-x option[value=charger]").count() == 0
    settings = Settings(edge_grid_g_per_kwh=615.25)
    expect(shown(page), recompute(parts[CLOUD], parts[UNCHARGED], "time_share", settings))


def test_an_edge_that_emits_nothing_wins_and_hides_no_flip(page: Page, parts: dict[str, Parts]) -> None:
    choose(page, SUNNY)
    typed(page, "cloud_grid_g_per_kwh", 10.0)
    typed(page, "utilisation", 0.01)
    settings = Settings(cloud_grid_g_per_kwh=10.0, utilisation=0.01)
    wanted = {name: recompute(parts[CLOUD], parts[SUNNY], name, settings) for name in ("used_hours", "sunk")}
    assert {name: (one.winner, one.ratio is None) for name, one in wanted.items()} == {
        "used_hours": ("cloud", False), "sunk": ("edge", True)
    }  # fmt: skip
    for name, outcome in wanted.items():
        attribute(page, name)
        expect(shown(page), outcome)
        assert "The winner flips with the attribution." in page.inner_text("#instrument-result .ratio")
    assert "The edge emits nothing at all" in page.inner_text("#instrument-result .ratio")
    assert "it emits less at any ratio" in page.inner_text("#instrument-result .even")
    page.select_option("#map-x", "lifetime_years")
    page.select_option("#map-y", "edge_grid_g_per_kwh")
    # The cross lies at the lower edge, which has no zero.
    cross = page.locator("#instrument-map path").nth(2).get_attribute("d") or ""
    assert cross.startswith("M")
    assert "Infinity" not in cross + (page.locator("#instrument-map path").nth(0).get_attribute("d") or "")


def test_the_map_holds_what_python_gives_for_its_cells(page: Page, parts: dict[str, Parts]) -> None:
    typed(page, "lifetime_years", 4.0)
    page.select_option("#map-x", "charger")
    page.select_option("#map-y", "energy_ratio")
    page.locator("#instrument-map").scroll_into_view_if_needed()
    box = page.locator("#instrument-map").bounding_box()
    assert box is not None
    ratios = []
    for across, upwards in ((0.15, 0.1), (0.5, 0.4), (0.9, 0.65)):
        page.mouse.move(box["x"] + across * box["width"], box["y"] + upwards * box["height"])
        cell = {
            key: float(value) for key, value in page.eval_on_selector("#map-readout", "p => ({...p.dataset})").items()
        }
        settings = Settings(lifetime_years=4.0, charger=cell["x"], energy_ratio=cell["y"])
        wanted = recompute(parts[CLOUD], parts[EDGE], "time_share", settings).ratio_default
        assert cell["ratio"] == pytest.approx(wanted, rel=1e-6)
        ratios.append(cell["ratio"])
    assert max(ratios) > 1 > min(ratios), "the line of equal carbon lies between them"
    assert page.locator("#instrument-map path[stroke='#1a1a1a']").first.get_attribute("d")

    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.4 * box["height"])
    charger, ratio = (float(page.input_value(f"#value-{name}")) for name in ("charger", "energy_ratio"))
    settings = Settings(lifetime_years=4.0, charger=charger, energy_ratio=ratio)
    expect(shown(page), recompute(parts[CLOUD], parts[EDGE], "time_share", settings))


def test_what_is_saved_is_what_is_shown(page: Page, parts: dict[str, Parts]) -> None:
    typed(page, "edge_grid_g_per_kwh", 44.0)
    verdict = list(csv.DictReader(io.StringIO(saved(page, "#save-verdict"), newline="")))
    assert [row["attribution"] for row in verdict] == list(ATTRIBUTIONS)
    for row in verdict:
        wanted = recompute(parts[CLOUD], parts[EDGE], row["attribution"], Settings(edge_grid_g_per_kwh=44.0))
        assert float(row["ratio_cloud_over_edge"]) == pytest.approx(wanted.ratio, rel=1e-3)
        assert (row["set_edge_grid_g_per_kwh"], row["set_charger"], row["edge_device"]) == ("44", "", EDGE)
    page.select_option("#map-x", "utilisation")
    page.select_option("#map-y", "lifetime_years")
    cells = list(csv.DictReader(io.StringIO(saved(page, "#save-map"), newline="")))
    assert len(cells) == 40 * 30
    for cell, (column, row) in ((cells[0], (0, 0)), (cells[-1], (39, 29))):
        assert float(cell["utilisation"]) == pytest.approx(0.01 * 100 ** ((column + 0.5) / 40))
        assert float(cell["lifetime_years"]) == pytest.approx(0.5 * 30 ** ((row + 0.5) / 30))
    picture = ElementTree.fromstring(saved(page, "#save-svg"))
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(picture.findall(".//{http://www.w3.org/2000/svg}rect")) > 40 * 30


def saved(page: Page, button: str) -> str:
    with page.expect_download() as download:
        page.click(button)
    return Path(download.value.path()).read_text(encoding="utf-8")


def test_an_address_carries_the_settings_to_another_reader(page: Page) -> None:
    attribute(page, "sunk")
    typed(page, "cloud_grid_g_per_kwh", 44.5)
    page.wait_for_function("location.hash.includes('44.5')")
    before, address = shown(page), page.url
    page.click("#instrument-reset")
    attribute(page, "used_hours")
    page.wait_for_function("!location.hash.includes('44.5')")
    assert shown(page) != before
    page.evaluate("address => { location.href = address }", address)
    page.wait_for_function("document.querySelector('#value-cloud_grid_g_per_kwh').value === '44.5'")
    assert shown(page) == before


def test_it_is_no_wider_than_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    try:
        page.wait_for_function("document.querySelector('#instrument-map').viewBox.baseVal.width < 390")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
        inside: Any = page.eval_on_selector(
            "#try",
            "one => [...one.querySelectorAll('*')].filter(x => x.getBoundingClientRect().right > innerWidth).length",
        )
        assert inside == 0
    finally:
        page.set_viewport_size({"width": DESK[0], "height": DESK[1]})
