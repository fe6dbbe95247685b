"""Charts of fleets: they draw what the tables hold, tell measured from modelled, and stay light."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import vl_convert
from test_charts import found

import report_database
import synthetic
from edgecarbon.charts import FLEET_CHARTS, export, fleet, fleet_charts, style
from edgecarbon.charts.fleet_compare import difference
from edgecarbon.store.build import build_database

MEASURED, SIMULATED = "synthetic-opt/pair/r1", "synthetic-opt/pair/simulated"
CROWD = "synthetic-opt/crowd/simulated"
VARIANTS = ("fp32", "int8, fp16 gradients, 64 local steps")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """One measured run of four members with its simulation, a simulated crowd of fifteen, a scaling study, carbon."""
    root = tmp_path_factory.mktemp("fleets")
    pair = [
        synthetic.fleet_run(MEASURED),
        synthetic.fleet_run("synthetic-opt/pair/r2", forward_s=0.6),
        synthetic.fleet_run(SIMULATED, forward_s=0.4),
    ]
    crowd = synthetic.fleet_run(CROWD, stages=5, replicas=3)
    folders = [synthetic.write_fleet(root / "fleets", *pair), synthetic.write_fleet(root / "fleets", crowd)]
    carbon = [*synthetic.fleet_carbon(MEASURED), *synthetic.fleet_carbon(CROWD, None)]
    scenario = synthetic.write_scenario(root / "carbon", "default", [], fleets=carbon)
    build_database(root / "x.duckdb", [], [scenario], folders, [synthetic.write_scaling(root / "s", variants=VARIANTS)])
    with duckdb.connect(str(root / "x.duckdb"), read_only=True) as connection:
        yield connection


@pytest.fixture
def empty() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        report_database.create_schema(connection)
        yield connection


def spec_of(name: str, connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """The chart as Vega-Lite, validated against its schema on the way."""
    return json.loads(FLEET_CHARTS[name].draw(connection).to_json())


def svg_of(spec: dict[str, Any]) -> str:
    svg: str = vl_convert.vegalite_to_svg(spec, vl_version=export.VEGALITE_VERSION)
    return svg


def panel_rows(spec: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The rows of each panel, of all its layers, each data set once."""
    panels = []
    for panel in spec["vconcat"]:
        # A data set that all panels share stands beside them.
        places = [*found(panel, "data"), *([spec["data"]] if "data" in spec else [])]
        sets = [data.get("values") or spec["datasets"][data["name"]] for data in places]
        distinct = dict.fromkeys(json.dumps(values) for values in sets)
        panels.append([row for text in distinct for row in json.loads(text)])
    return panels


@pytest.mark.parametrize("name", FLEET_CHARTS)
def test_every_chart_is_valid_draws_and_comes_out_the_same(name: str, database: duckdb.DuckDBPyConnection) -> None:
    spec = spec_of(name, database)
    svg = svg_of(spec)
    assert svg.count("<path") > 10
    assert "NaN" not in svg
    assert "No data" not in svg
    assert spec == spec_of(name, database)


@pytest.mark.parametrize("name", FLEET_CHARTS)
def test_every_chart_says_why_there_is_no_data(name: str, empty: duckdb.DuckDBPyConnection) -> None:
    assert "No data: no " in svg_of(spec_of(name, empty))
    assert list(fleet_charts(empty)) == []


def test_all_charts_are_there_where_there_is_data(database: duckdb.DuckDBPyConnection) -> None:
    assert [name for name, _, _ in fleet_charts(database)] == list(FLEET_CHARTS)


def test_axes_have_titles_and_units(database: duckdb.DuckDBPyConnection) -> None:
    expected = {
        "fleet_timeline": ["time in the step (s)", "stage 1 · member-1", "replica 3", "measured run", "all modelled"],
        "fleet_energy": ["energy of a step", " J<", "estimated, whole device", "modelled, whole device"],
        "fleet_prediction": ["time of a step", "sent in a step", "simulated (modelled) against measured"],
        "fleet_scaling": ["devices in the fleet", "radio energy per token", "modelled", "1,000", "mJ<"],
        "fleet_carbon": ["CO₂e of the workload", " g<", "fleet: 1.0", "synthetic-gpu: 2.00 g", "time share"],
    }
    for name, texts in expected.items():
        svg = svg_of(spec_of(name, database)).replace("\xa0", " ")
        for words in texts:
            assert words in svg, (name, words)


def test_timeline_has_every_span_of_the_first_repeat_and_one_axis_for_a_pair(
    database: duckdb.DuckDBPyConnection,
) -> None:
    spec = spec_of("fleet_timeline", database)
    assert [panel["title"]["text"].split(" · ")[1] for panel in spec["vconcat"]] == ["pair", "pair", "crowd"]
    for name, rows in zip((MEASURED, SIMULATED, CROWD), panel_rows(spec), strict=True):
        stored = database.execute("SELECT count(*) FROM fleet_spans WHERE fleet_run = ?", [name]).fetchone()
        assert stored == (len(rows),)
        assert {row["colour"] for row in rows} == set(style.SPAN_COLOURS)
    domains = [panel["layer"][0]["encoding"]["x"]["scale"]["domain"] for panel in spec["vconcat"]]
    assert domains[0] == domains[1] != domains[2]
    lanes = list(dict.fromkeys(row["label"] for row in panel_rows(spec)[0]))
    assert lanes == [f"stage {n} · member-{n}" for n in range(1, 5)]
    assert {row["peer"] for row in panel_rows(spec)[0] if row["colour"] == "transfer"} == {
        f"member-{n}" for n in range(1, 4)
    }


def test_a_message_from_before_the_step_begins_at_its_start(empty: duckdb.DuckDBPyConnection) -> None:
    run, _, spans = synthetic.fleet_run()
    put(empty, "fleet_runs", run)
    put(empty, "fleet_spans", [{**spans[0], "start_s": -1.0}, {**spans[1], "start_s": -2.0, "end_s": -1.0}])
    ((row,),) = panel_rows(spec_of("fleet_timeline", empty))
    assert row["start"] == 0.0


def test_a_big_fleet_does_not_make_a_heavy_page(empty: duckdb.DuckDBPyConnection) -> None:
    run, members, spans = synthetic.fleet_run(stages=10, replicas=5, micro_batches=120)
    for table, rows in (("fleet_runs", run), ("fleet_members", members), ("fleet_spans", spans)):
        put(empty, table, rows)
    for count in range(4):
        put(empty, "fleet_runs", [{**run[0], "fleet_run": f"w/{count}/r1", "fleet_work": f"w/{count}"}])
        put(empty, "fleet_spans", [{**spans[0], "fleet_run": f"w/{count}/r1", "fleet_work": f"w/{count}"}])
    spec = spec_of("fleet_timeline", empty)
    notes = " ".join(spec["title"]["subtitle"])
    assert len(spec["vconcat"]) == fleet.RUNS_SHOWN
    assert f"{fleet.RUNS_SHOWN} of 5 fleet runs" in notes
    assert f"the first {fleet.MEMBERS_SHOWN} of 50 members" in notes
    assert f"the {fleet.SPANS_SHOWN:,} longest of" in notes
    assert len(json.dumps(spec)) < 2_000_000
    assert f"first {fleet.MEMBERS_SHOWN} of 50" in " ".join(spec_of("fleet_energy", empty)["title"]["subtitle"])


def put(connection: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]]) -> None:
    """Insert rows by column names; through Arrow, since row by row takes seconds."""
    names = list(rows[0])
    connection.register("incoming", pa.table({name: [row.get(name) for row in rows] for name in names}))
    quoted = ", ".join(f'"{name}"' for name in names)
    connection.execute(f"INSERT INTO {table} ({quoted}) SELECT * FROM incoming")
    connection.unregister("incoming")


def test_energy_bars_add_up_and_carry_their_provenance(database: duckdb.DuckDBPyConnection) -> None:
    for name, rows in zip((MEASURED, SIMULATED, CROWD), panel_rows(spec_of("fleet_energy", database)), strict=True):
        parts = [row for row in rows if "part" in row]
        sql = "SELECT energy_joules_per_step FROM fleet_runs WHERE fleet_run = ?"
        assert sum(row["joules"] for row in parts) == pytest.approx(database.execute(sql, [name]).fetchall()[0][0])
        assert {row["known_as"] for row in parts if row["part"] == "radio"} == {"modelled"}
        others = {row["known_as"] for row in parts if row["part"] != "radio"}
        assert others == {"estimated" if name == MEASURED else "modelled"}


def test_a_member_without_energy_has_no_reading(empty: duckdb.DuckDBPyConnection) -> None:
    run, members, _ = synthetic.fleet_run()
    put(empty, "fleet_runs", run)
    put(empty, "fleet_members", [{**members[0], "compute_joules": None, "idle_joules": None}, *members[1:]])
    assert "no reading" in svg_of(spec_of("fleet_energy", empty))


def test_prediction_is_against_the_mean_of_the_repeats(database: duckdb.DuckDBPyConnection) -> None:
    seconds, moved = panel_rows(spec_of("fleet_prediction", database))
    assert [row["difference"] for row in seconds] == ["simulated −27 %"]
    assert seconds[0]["repeats"] == 2
    assert [row["difference"] for row in moved] == ["simulated 0 %"]


@pytest.mark.parametrize(
    ("predicted", "measured", "text"),
    [(1.1, 1.0, "+10 %"), (0.969, 1.0, "−3.1 %"), (1.0, 1.0, "0 %"), (3, 1, "+200 %")],
)
def test_difference(predicted: float, measured: float, text: str) -> None:
    assert difference(predicted, measured) == text


def test_scaling_has_a_dashed_line_a_variant_and_names_that_keep_apart(empty: duckdb.DuckDBPyConnection) -> None:
    sql = """INSERT INTO fleet_scaling (workload, device, variant, devices, radio_joules_per_token)
      SELECT 'w', 'd', 'variant of a long name, ' || v, n, 0.001 * n + v / 1e7 FROM range(9) a(v), range(2, 99) b(n)"""
    empty.execute(sql)
    spec = spec_of("fleet_scaling", empty)
    line = spec["vconcat"][0]["layer"][0]
    assert line["mark"]["strokeDash"] == style.DASHES[1]
    assert {line["encoding"][axis]["scale"]["type"] for axis in "xy"} == {"log"}
    labels = sorted((row for row in panel_rows(spec)[0] if "middle" in row), key=lambda row: row["middle"])
    assert len(labels) == 9
    for above, below in pairwise(labels):
        assert below["middle"] - above["middle"] >= 14 * (above["lines"] + below["lines"]) / 2
    assert labels[0]["middle"] > 0
    assert labels[-1]["middle"] < 400


def test_carbon_has_a_bar_a_side_and_only_the_fleet_a_range(database: duckdb.DuckDBPyConnection) -> None:
    pair, crowd = sorted(panel_rows(spec_of("fleet_carbon", database)), key=len, reverse=True)
    assert [(row["attribution"], row["name"], row["role"]) for row in pair] == [
        (name, side, role)
        for name in ("sunk", "time share")
        for side, role in (("fleet", "edge"), ("synthetic-gpu", "cloud"))
    ]
    assert {row["name"] for row in crowd} == {"fleet"}
    for row in pair:
        assert (row["low"] is None) == (row["role"] == "cloud")


def test_colours_are_okabe_and_itos_and_waiting_is_grey() -> None:
    palette = {"#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#000000"}
    used = {**style.SPAN_COLOURS, **style.FLEET_ENERGY_COLOURS}
    assert {name for name, colour in used.items() if colour not in palette} == {"wait", "idle (waiting)"}
    assert not set(used.values()) & set(style.ROLE_COLOURS.values())
