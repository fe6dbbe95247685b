"""Charts of what decides a verdict: they draw the tables' numbers, mark 1, and say what they leave out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_charts import data_rows, drawn_svg, found

import report_database
import report_decisions
from edgecarbon.charts import DECISION_CHARTS, break_even_map, decision_charts, decisions, style

Spec = dict[str, Any]


@pytest.fixture
def empty() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        report_database.create_schema(connection)
        yield connection


def put(connection: duckdb.DuckDBPyConnection, pairs: list[tuple[str, str, float]], **changed: dict[str, Any]) -> None:
    """Insert rows of all tables for (scenario, edge device, ratio), under two attributions; `changed` by table."""
    verdicts = [
        {
            "scenario": scenario, "workload": "w", "cloud_device": "board", "edge_device": edge, "flips": edge == "flips",
            "attribution": attribution, "ratio_cloud_over_edge": ratio * factor, "probability_edge_wins": 0.7,
        }
        for scenario, edge, ratio in pairs
        for attribution, factor in (("sunk", 2.0), ("time_share", 1.0))
    ]  # fmt: skip
    tables = {"verdicts": verdicts, **report_decisions.tables(verdicts)}
    for table, rows in tables.items():
        report_database.insert_rows(connection, table, [{**row, **changed.get(table, {})} for row in rows])


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        report_database.create_schema(connection)
        put(connection, [("default", "laptop", 1.2), ("default", "flips", 0.9), ("another", "laptop", 3.0)])
        yield connection


def spec_of(name: str, connection: duckdb.DuckDBPyConnection) -> Spec:
    """The chart as Vega-Lite, validated against its schema on the way."""
    return json.loads(DECISION_CHARTS[name].draw(connection).to_json())


@pytest.mark.parametrize("name", DECISION_CHARTS)
def test_every_chart_is_valid_draws_and_comes_out_the_same(name: str, database: duckdb.DuckDBPyConnection) -> None:
    spec = spec_of(name, database)
    svg = drawn_svg(spec)
    assert svg.count("<path") > 8
    assert "NaN" not in svg
    assert "No data" not in svg
    assert spec == spec_of(name, database)


@pytest.mark.parametrize("name", DECISION_CHARTS)
def test_every_chart_says_why_there_is_no_data(name: str, empty: duckdb.DuckDBPyConnection) -> None:
    assert "No data: no " in drawn_svg(spec_of(name, empty))
    assert list(decision_charts(empty)) == []


def test_axes_have_titles_and_units(database: duckdb.DuckDBPyConnection) -> None:
    expected = {
        "break_even": ["energy, cloud / edge", "energy ratio reached", "needed to break even"],
        "tornado": ["cloud / edge", "input at its 5 %", "input at its 95 %", "host factor of the cloud"],
        "sobol": ["part in the variance", "alone (first order)", "with others (total)", "100%"],
        "break_even_map": ["making of the edge device (kgCO2e)", "grid of the edge device (gCO2e/kWh)", "0.125"],
        "probability": ["sunk", "70 %", "another", "default"],
    }
    assert set(expected) == set(DECISION_CHARTS)
    for name, texts in expected.items():
        svg = drawn_svg(spec_of(name, database)).replace("\xa0", " ")
        for words in texts:
            assert words in svg, (name, words)


def test_only_the_main_scenario_and_attribution_are_drawn_and_flips_come_first(
    database: duckdb.DuckDBPyConnection,
) -> None:
    for name in ("tornado", "sobol", "break_even_map"):
        titles = [panel["title"] for panel in spec_of(name, database)["vconcat"]]
        assert [title["subtitle"] for title in titles] == ["board / flips", "board / laptop"]
        assert {title["text"] for title in titles} == {"w · time share"}


def test_without_the_main_ones_the_first_are_drawn(empty: duckdb.DuckDBPyConnection) -> None:
    put(empty, [("zebra", "laptop", 1.2), ("another", "laptop", 3.0)])
    for table in ("sensitivity", "break_even"):
        empty.execute(f"DELETE FROM {table} WHERE attribution = 'time_share'")
    (panel,) = spec_of("tornado", empty)["vconcat"]
    assert panel["title"]["text"] == "w · sunk"
    assert "Scenario: another." in json.dumps(spec_of("tornado", empty)["title"])


def test_tornado_has_the_tables_ends_around_the_default(database: duckdb.DuckDBPyConnection) -> None:
    rows = [row for row in data_rows(spec_of("tornado", database)) if "side" in row]
    stored = database.execute(
        "SELECT ratio_at_low, ratio_at_high FROM sensitivity WHERE scenario = 'default' AND attribution = 'time_share' "
        "AND sobol_total > 0.001"
    ).fetchall()
    assert {ratio for pair in stored for ratio in pair} <= {row["to"] for row in rows}
    assert {row["from"] for row in rows} == {1.2, 0.9}
    widths = [abs(math.log(row["to"] / row["from"])) for row in rows if row["from"] == 0.9][::2]
    assert widths == sorted(widths, reverse=True)
    for panel in spec_of("tornado", database)["vconcat"]:
        low, high = next(scale["domain"] for scale in found(panel, "scale") if scale.get("type") == "log")
        assert low < 1 < high


def test_sobol_bars_and_intervals_are_the_tables(database: duckdb.DuckDBPyConnection) -> None:
    rows = [row for row in data_rows(spec_of("sobol", database)) if "share" in row]
    grid = {row["kind"]: row for row in rows if row["input"] == "grid/WLD/2024"}
    assert grid[decisions.WITH_OTHERS]["share"] == pytest.approx(0.36)
    assert grid[decisions.WITH_OTHERS]["high"] == pytest.approx(0.38)
    assert grid[decisions.ALONE]["share"] == pytest.approx(0.30)
    assert grid[decisions.ALONE]["prior"] == "log-uniform halves"
    assert all(0 <= row["low"] <= row["share"] <= row["high"] for row in rows)


def test_an_index_estimated_below_zero_is_drawn_at_zero(empty: duckdb.DuckDBPyConnection) -> None:
    put(empty, [("default", "laptop", 1.2)], sensitivity={"sobol_first": -0.01})
    rows = [row for row in data_rows(spec_of("sobol", empty)) if row.get("kind") == decisions.ALONE]
    assert {row["share"] for row in rows} == {0.0}
    assert {row["figure"] for row in rows} == {"−1.0 % ± 1.0"}


def test_break_even_stands_beside_what_is_reached(database: duckdb.DuckDBPyConnection) -> None:
    rows = [row for row in data_rows(spec_of("break_even", database)) if "kind" in row]
    drawn = {(row["label"], row["kind"]): row["ratio"] for row in rows}
    stored = database.execute(
        "SELECT edge_device, energy_ratio, break_even_ratio FROM break_even WHERE scenario = 'default' "
        "AND attribution = 'time_share'"
    ).fetchall()
    assert len(stored) == 2
    for edge, reached, needed in stored:
        assert drawn[f"board\n/ {edge}", decisions.REACHED] == reached
        assert drawn[f"board\n/ {edge}", decisions.NEEDED] == needed


def test_a_break_even_without_bound_and_one_that_is_none_are_told(empty: duckdb.DuckDBPyConnection) -> None:
    put(empty, [("default", "laptop", 1.2)], break_even={"break_even_high": None})
    put(empty, [("default", "phone", 0.4)], break_even={"break_even_ratio": None, "break_even_low": None})
    spec = spec_of("break_even", empty)
    rows = {(row["label"], row["kind"]): row for row in data_rows(spec) if "kind" in row}
    assert rows["board\n/ laptop", decisions.NEEDED]["beyond"]
    assert not rows["board\n/ laptop", decisions.REACHED]["beyond"]
    assert "ratio" not in rows["board\n/ phone", decisions.NEEDED]
    assert "nothing breaks even" in drawn_svg(spec)


def test_a_break_even_of_zero_is_no_missing_one(empty: duckdb.DuckDBPyConnection) -> None:
    ends = {"break_even_low": 0.0, "break_even_high": 0.0}
    put(empty, [("default", "laptop", 1.2)], break_even={"break_even_ratio": 0.0, **ends})
    put(empty, [("default", "phone", 1.2)], break_even={"break_even_low": 0.0})
    spec = spec_of("break_even", empty)
    needed = {row["label"]: row for row in data_rows(spec) if row.get("kind") == decisions.NEEDED}
    assert needed["board\n/ laptop"]["text"] == "the edge emits less at any ratio"
    assert 0 < needed["board\n/ phone"]["low"] < needed["board\n/ phone"]["ratio"] / 10
    svg = drawn_svg(spec)
    assert "the edge emits less at any ratio" in svg
    assert "NaN" not in svg


def test_an_interval_far_beyond_the_figures_does_not_flatten_them(empty: duckdb.DuckDBPyConnection) -> None:
    put(empty, [("default", "laptop", 1.2)], break_even={"break_even_low": 1e-9, "break_even_high": 1e9})
    (low, high), *_ = (scale["domain"] for scale in found(spec_of("break_even", empty), "scale") if "domain" in scale)
    assert 0.01 < low < 1 < high < 100


def test_map_has_a_cell_a_point_its_defaults_and_the_line(database: duckdb.DuckDBPyConnection) -> None:
    rows = data_rows(spec_of("break_even_map", database))
    cells = [row for row in rows if "doublings" in row]
    maps = database.execute(
        "SELECT ratios FROM break_even_maps WHERE scenario = 'default' AND attribution = 'time_share'"
    ).fetchall()
    stored = sorted(round(math.log2(ratio), 4) for (ratios,) in maps for ratio in ratios)
    assert sorted(row["doublings"] for row in cells) == stored
    assert any(row.get("x") == 50.0 and row.get("y") == 494.0 for row in rows if "doublings" not in row)
    assert any("x2" in row and "doublings" not in row for row in rows), "both ratios cross 1 within the map"


@given(st.floats(0.5, 20.0), st.floats(0.0, 3.0))
def test_the_line_lies_where_the_ratio_is_one(level: float, slope: float) -> None:
    # cloud/edge = exp(x + slope y - level): its logarithm is linear, so the segments lie exactly on the line.
    columns, lines = [float(x) for x in range(8)], [float(y) for y in range(5)]
    ratios = [math.exp(x + slope * y - level) for y in lines for x in columns]
    segments = break_even_map.contour(columns, lines, ratios)
    for point in (point for segment in segments for point in segment):
        assert point[0] + slope * point[1] == pytest.approx(level, abs=1e-6)
    crossed = len({ratio > 1 for ratio in ratios}) == 2
    assert bool(segments) == crossed


def test_the_line_leaves_out_what_is_not_known() -> None:
    ratios: list[float | None] = [0.5, 2.0, 0.5, 2.0]
    assert break_even_map.contour([0.0, 1.0], [0.0, 1.0], ratios) == [((0.5, 0.0), (0.5, 1.0))]
    assert break_even_map.contour([0.0, 1.0], [0.0, 1.0], [None, *ratios[1:]]) == []


def test_probability_has_every_scenario_and_attribution(database: duckdb.DuckDBPyConnection) -> None:
    rows = data_rows(spec_of("probability", database))
    assert {(row["scenario"], row["edge_device"], row["charged"]) for row in rows} == {
        (scenario, edge, charged)
        for scenario, edge in (("default", "laptop"), ("default", "flips"), ("another", "laptop"))
        for charged in ("sunk", "time share")
    }
    assert {row["probability_edge_wins"] for row in rows} == {0.7}


def test_many_pairs_do_not_make_a_heavy_page(empty: duckdb.DuckDBPyConnection) -> None:
    put(empty, [("default", f"edge{number:02}", 1.2) for number in range(30)])
    for name, count in (("tornado", decisions.PAIRS_SHOWN), ("break_even_map", break_even_map.PAIRS_SHOWN)):
        spec = spec_of(name, empty)
        assert len(spec["vconcat"]) == count
        assert f"The first {count} of 30 pairs; the tables have all." in spec["title"]["subtitle"]
    for name in ("break_even", "probability"):
        subtitle = " ".join(spec_of(name, empty)["title"]["subtitle"])
        assert f"The first {decisions.ROWS_SHOWN} of 30 " in subtitle


def test_colours_are_okabe_and_itos() -> None:
    palette = {"#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#000000"}
    assert {decisions._FILL, *style.ROLE_COLOURS.values()} <= palette
