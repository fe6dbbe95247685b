"""The page holds everything that it shows, says what a reader must know, and no name can break it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import duckdb
import pytest

import report_database
from edgecarbon import report
from edgecarbon.charts import CHARTS, DECISION_CHARTS, export
from edgecarbon.report.page import OPTIONAL, SECTIONS, _command


class Page(HTMLParser):
    """The page's visible text, element ids, addresses that it would load or link, and embedded specifications."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8").replace(export.javascript_bundle(), "")
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.links: list[str] = []
        self.specs: list[dict[str, object]] = []
        self.words: list[str] = []
        self.tags: list[str] = []
        self._inside: list[str] = []
        self.feed(self.source)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = dict(attrs)
        self.tags.append(tag)
        self.ids += [facts["id"]] if facts.get("id") else []
        self.loads += [facts["src"]] if facts.get("src") else []
        if facts.get("href"):
            (self.links if tag == "a" else self.loads).append(str(facts["href"]))
        self._inside = ["spec" if facts.get("class") == "spec" else tag] if tag in ("script", "style") else []

    def handle_endtag(self, tag: str) -> None:
        self._inside = []

    def handle_data(self, data: str) -> None:
        if self._inside == ["spec"]:
            self.specs.append(json.loads(data))
        elif not self._inside:
            self.words.append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("report")
    path = report_database.build(folder / "edgecarbon.duckdb")
    with duckdb.connect(str(path), read_only=True) as connection:
        report.build(connection, folder / "deep" / "report.html", config_name="config/paper.yaml", seed=11)
    return Page(folder / "deep" / "report.html")


@pytest.fixture
def empty() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        report_database.create_schema(connection)
        yield connection


def test_every_section_stands_in_order_and_is_linked(page: Page) -> None:
    assert [one for one in page.ids if one in SECTIONS] == list(SECTIONS)
    present = [one for one in page.ids if one in {*SECTIONS, *OPTIONAL}]
    assert [link for link in page.links if link.startswith("#")][: len(present)] == [f"#{name}" for name in present]


def test_every_chart_is_on_the_page_once(page: Page) -> None:
    names = [*CHARTS, *DECISION_CHARTS]
    assert sorted(one for one in page.ids if one.startswith("chart-")) == sorted(f"chart-{name}" for name in names)
    assert len(set(page.ids)) == len(page.ids)
    assert len(page.specs) == len(names)
    assert not any("title" in spec for spec in page.specs), "the page says it, where it wraps"


def test_the_page_loads_nothing(page: Page) -> None:
    assert page.loads == []
    assert all(link.startswith("#") for link in page.links)
    assert "default-src 'none'" in html.unescape(page.source)
    assert "@import" not in page.source
    assert page.source.count("url(") == 0


def test_vega_is_there_once(tmp_path: Path, empty: duckdb.DuckDBPyConnection) -> None:
    report.build(empty, tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text(encoding="utf-8").count(export.javascript_bundle()) == 1


def test_the_verdict_comes_first_with_its_reasons(page: Page) -> None:
    assert "The cloud emits less in 7 of 8 pairs; 1 flips with the attribution" in page.text
    assert "how much of the carbon of making the edge device is charged to this run" in page.text
    assert "cloud rtx-a5000-bf16 modelled against edge snapdragon-888 modelled The edge seems to emit" in page.text
    assert "No sensor could be read on laptop-without-sensor" in page.text
    assert "shorter than a reportable run on h200" in page.text


def test_what_ran_names_figure_boundary_peak_and_flags(page: Page) -> None:
    for words in (
        "measured", "modelled", "estimated", "GPU board", "whole device, from its battery", "42 %",
        "of 1.00 PFLOP/s bf16", "1.00 PFLOP/s bf16: measured matrix product", "3 × 20 steps",
        "short window", "The measured window is shorter than a reportable run, 60 s",
        "throttled for heat", "Heat held the device back for more than 1 % of the window",
    ):  # fmt: skip
        assert words in page.text


def test_assumptions_carry_source_year_range_and_licence(page: Page) -> None:
    assert all(words in page.text for words in ("440–550 log-uniform halves", "1.05–1.18 normal, 95 %"))
    for words in ("grid.world", "494", "440–550", "g/kWh", "Ember", "2024", "CC BY 4.0", "0.0000139", "for h200"):
        assert words in page.text


def test_a_scenario_is_explained_where_it_is_first_named_and_above_its_numbers(page: Page) -> None:
    words = "Default assumptions : Both sides on one grid."
    assert page.text.count(words) == 2, "once for both workloads"
    assert f"opt-125m scenario default {words} The cloud emits less" in page.text
    assert f"Scenario default 5 assumptions {words} Based on base. Chosen: all energy that the meters saw" in page.text


def test_the_page_says_how_to_make_it_again(page: Page) -> None:
    for words in (
        "config/paper.yaml", "The training runs have seed 11. The draws behind the intervals have seed 1.",
        "Change an assumption and give snakemake --cores all --configfile config/paper.yaml : only",
        "byte-level, 50,272 entries", "duckdb", "125,239,296",
    ):  # fmt: skip
        assert words in page.text


COMMANDS = {
    "the default": ("config/config.yaml", ""),
    "another": ("config/paper.yaml", " --configfile config/paper.yaml"),
    "several": ("config/config.yaml, my own.yaml", " --configfile config/config.yaml 'my own.yaml'"),
    "values": ("config/config.yaml, --config", " --config …"),
    "both": ("config/paper.yaml, --config", " --configfile config/paper.yaml --config …"),
}


@pytest.mark.parametrize(("config_name", "options"), COMMANDS.values(), ids=COMMANDS)
def test_the_command_is_of_the_same_experiment(config_name: str, options: str) -> None:
    assert _command(config_name) == f"snakemake --cores all{options}"


def test_workloads_are_ordered_by_size(page: Page) -> None:
    ran = page.text[page.text.index("Energy a step") :]
    assert ran.index("opt-125m") < ran.index("opt-1.3b")


def test_an_empty_database_still_makes_a_page(tmp_path: Path, empty: duckdb.DuckDBPyConnection) -> None:
    report.build(empty, tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert "This database holds no runs." in page.text
    assert "There is no verdict" in page.text
    assert all("No data" in json.dumps(spec) for spec in page.specs)


def test_the_same_database_makes_the_same_bytes(tmp_path: Path) -> None:
    path = report_database.build(tmp_path / "d.duckdb", repeats=2)
    with duckdb.connect(str(path), read_only=True) as connection:
        for name in ("a", "b"):
            report.build(connection, tmp_path / f"{name}.html", config_name="c")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_assumptions_of_one_scenario_alone_stand_open(tmp_path: Path, empty: duckdb.DuckDBPyConnection) -> None:
    for scenario in ("a", "b"):
        report_database.insert_named(empty, "assumptions", scenario=scenario, name="pue/x", value=1.0, unit="1")
    report.build(empty, tmp_path / "r.html")
    folds = re.findall(r"<details( open)?>\s*<summary><h3>Scenario (.)</h3>", (tmp_path / "r.html").read_text())
    assert folds == [(" open", "a"), ("", "b")]


def test_no_name_can_break_the_page(tmp_path: Path, empty: duckdb.DuckDBPyConnection) -> None:
    hostile = "\"'></script><!--<script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}"
    report_database.insert_named(
        empty, "runs", run_id="r", workload=hostile, device=hostile, repeat=1, role="edge", record_kind="measured",
        steps=10, tokens=10, provenance="measured", boundary=hostile, energy_joules=1.0, energy_status="complete",
        flags=[hostile],
        model=hostile, dataset=hostile, tokenizer=hostile, peak_source=hostile, peak_flops_per_second=1.0, mfu=0.1,
    )  # fmt: skip
    report_database.insert(
        empty,
        "verdicts",
        [(hostile, hostile, hostile, hostile, hostile, 2.0, 1.5, 3.0, 0.99, "edge", False, False, hostile)],
    )
    report_database.insert(
        empty,
        "assumptions",
        [(hostile, hostile, 1.0, 1.0, 2.0, hostile, hostile, hostile, 2020, hostile, hostile, "published", hostile)],
    )
    report_database.insert_named(
        empty, "scenarios", **{**report_database.DEFAULT, "scenario": hostile, "title": hostile, "description": hostile},
    )  # fmt: skip
    report.build(empty, tmp_path / "r.html", config_name=hostile)
    page = Page(tmp_path / "r.html")
    assert "img" not in page.tags
    assert "alert(1)</script>" not in page.source
    assert hostile in "".join(page.words)
    assert len(page.specs) == len(CHARTS)
