"""The section "Training together": there where fleets are, says how each figure is known, and no name can break it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from test_report_page import Page

import report_database
import synthetic
from edgecarbon import report
from edgecarbon.charts import FLEET_CHARTS, export
from edgecarbon.report.page import SECTIONS
from edgecarbon.store.build import build_database

MEASURED, SIMULATED = "synthetic-opt/pair/r1", "synthetic-opt/pair/simulated"
HOSTILE = "\"'></script><!--<script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}"


def build(root: Path, fleets: list[list[list[list[dict[str, Any]]]]], carbon: list[dict[str, Any]]) -> Page:
    """The page of a database that holds these fleets (each a list of runs), and little else."""
    folders = [synthetic.write_fleet(root / "fleets", *runs) for runs in fleets]
    scenario = synthetic.write_scenario(root / "carbon", "default", [], fleets=carbon)
    runs = [synthetic.write_run(root, synthetic.record(role="cloud"))]
    build_database(root / "x.duckdb", runs, [scenario], folders, [synthetic.write_scaling(root / "scaling")])
    with duckdb.connect(str(root / "x.duckdb")) as connection:
        connection.execute("DELETE FROM verdicts")  # they are made up, and of other devices
        report.build(connection, root / "r.html")
    return Page(root / "r.html")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    pair = [synthetic.fleet_run(MEASURED, virtual_host=True), synthetic.fleet_run(SIMULATED, forward_s=0.4)]
    crowd = [synthetic.fleet_run("synthetic-opt/crowd/simulated", stages=5, replicas=3, left_out=["slow-one"])]
    away = [synthetic.missing_fleet_run("synthetic-opt/away/r1", "synthetic-phone was away.")]
    root = tmp_path_factory.mktemp("report")
    return build(root, [pair, crowd, away], synthetic.fleet_carbon(MEASURED))


@pytest.fixture
def empty() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        report_database.create_schema(connection)
        yield connection


def together(page: Page) -> str:
    """The text of the section."""
    return page.text[page.text.index("Several devices train one model") : page.text.rindex("Assumptions")]


def test_the_section_stands_after_the_pairs_and_is_linked(page: Page) -> None:
    names = list(SECTIONS)
    names.insert(names.index("pairs") + 1, "together")
    assert [one for one in page.ids if one in names] == names
    assert [link for link in page.links if link.startswith("#")][: len(names)] == [f"#{name}" for name in names]
    assert [one[6:] for one in page.ids if one[6:] in FLEET_CHARTS] == list(FLEET_CHARTS)
    assert len(set(page.ids)) == len(page.ids)


def test_without_fleets_there_is_no_section(tmp_path: Path, empty: duckdb.DuckDBPyConnection) -> None:
    report.build(empty, tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert "together" not in page.ids
    assert "#together" not in page.links
    assert "Training together" not in page.text
    assert not any(one.startswith("chart-fleet") for one in page.ids)


def test_a_fleet_that_never_ran_is_told_without_charts(tmp_path: Path, empty: duckdb.DuckDBPyConnection) -> None:
    report_database.insert_named(
        empty, "fleet_runs", fleet_work="w/f", fleet_run="w/f/r1", workload="w", fleet="f", repeat=1,
        record_kind="missing", missing_reason="the hub was off.", provenance="absent", virtual_host=False,
    )  # fmt: skip
    report.build(empty, tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert "the hub was off." in together(page)
    assert not any(one.startswith("chart-fleet") for one in page.ids)


def test_the_table_says_what_ran_and_what_was_simulated(page: Page) -> None:
    text = together(page)
    for words in (
        "measured ran on its devices", "modelled simulated", "4 stages × 1 replica", "5 stages × 3 replicas", "15",
        "left out: slow-one", "virtual hosts on one machine", "optimal for the cost model", "gpipe", "30.0",
        "no run: synthetic-phone was away.",
    ):  # fmt: skip
        assert words in text, words
    step_s = synthetic.fleet_run(MEASURED)[0][0]["step_s"]
    assert f"{step_s:.1f} s" in text
    assert re.search(r"\d J estimated", text)
    assert re.search(r"\d % modelled", text)


def test_who_emits_less_under_each_attribution(page: Page) -> None:
    text = together(page)
    table = text[text.index("Who emits less, the fleet or one cloud device") :]
    for words in (
        "fleet 9.00 kJ estimated", "computing 67 %, waiting 22 %, radio 11 %; 15 min", "cloud 4.00 kJ measured", "20 s",
        "sunk 1.00 g network 200 mg 0.70–1.60 2.00 g 2.00 1.50–2.50 fleet fleet in 97 %",
        "time share 5.0 g network 200 mg 3.5–8.0 2.00 g 0.40 0.30–0.50 cloud fleet in 2 %",
    ):  # fmt: skip
        assert words in table, (words, table)


def test_who_emits_less_is_unclear_where_the_draws_do_not_agree(tmp_path: Path) -> None:
    carbon = synthetic.fleet_carbon(MEASURED, probability_fleet_wins=0.4)
    page = build(tmp_path, [[synthetic.fleet_run(MEASURED)]], carbon)
    assert "unclear fleet in 40 %" in together(page)


def test_a_fleet_without_a_cloud_device_has_no_ratio(tmp_path: Path) -> None:
    page = build(tmp_path, [[synthetic.fleet_run(MEASURED)]], synthetic.fleet_carbon(MEASURED, None))
    assert "no cloud device" in together(page)
    assert "virtual host" not in together(page)


def test_a_radio_that_the_meter_covers_has_no_share(tmp_path: Path) -> None:
    run = synthetic.fleet_run(MEASURED)
    for member in run[1]:
        member |= {"radio_joules": 0.0, "radio_provenance": "covered"}
    assert "in the meter's figure" in together(build(tmp_path, [[run]], []))


def test_no_name_and_no_words_of_a_device_can_break_the_page(tmp_path: Path) -> None:
    hostile = HOSTILE.replace("/", "|")
    names = [f"synthetic-opt/{hostile}/{which}" for which in ("r1", "simulated")]
    runs = [synthetic.fleet_run(name, plan_statement=HOSTILE, left_out=[HOSTILE], provenance=HOSTILE) for name in names]
    for run in runs:
        for rows in run[1:]:
            for row in rows:
                row |= {"member": HOSTILE + row["member"], **({"peer": HOSTILE} if "kind" in row else {})}
    # Control characters and marks that turn the line's direction, too.
    missing = synthetic.missing_fleet_run(f"synthetic-opt/{hostile}/r2", f"\u202e{HOSTILE}\x07" + "long " * 500)
    for run in (*runs, missing):
        run[0][0]["fleet_work"] = "synthetic-opt/x"
        for rows in run[1:]:
            for row in rows:
                row["fleet_work"] = "synthetic-opt/x"
    page = build(tmp_path, [[*runs, missing]], synthetic.fleet_carbon(names[0], HOSTILE))
    assert "img" not in page.tags
    assert "alert(1)</script>" not in page.source
    assert HOSTILE in "".join(page.words)
    assert "\u202e" not in page.source
    assert "\x07" not in page.source
    assert "long " * 120 not in page.source
    assert len(page.specs) == len(re.findall(r'class="spec"', page.source))
    assert export.script_json(HOSTILE)[1:-1] in page.source
