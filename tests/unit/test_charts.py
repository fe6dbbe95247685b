"""Every chart draws what the database holds, says what kind of figure it is, and does not fall over what is missing."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
import vl_convert
from jinja2 import Environment

import report_database
from edgecarbon import kept
from edgecarbon.charts import CHARTS, DECISION_CHARTS, FLEET_CHARTS, captions, export, save, series, style

Spec = dict[str, Any]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    path = report_database.build(tmp_path_factory.mktemp("charts") / "edgecarbon.duckdb")
    with duckdb.connect(str(path), read_only=True) as connection:
        yield connection


@pytest.fixture
def empty() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        report_database.create_schema(connection)
        yield connection


def spec_of(name: str, connection: duckdb.DuckDBPyConnection) -> Spec:
    """The chart as Vega-Lite, validated against its schema on the way."""
    return json.loads(CHARTS[name].draw(connection).to_json())


def found(node: Any, key: str) -> Iterator[Any]:
    """Every value of `key`, at any depth."""
    for name, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if name == key:
            yield value
        yield from found(value, key)


def data_rows(spec: Spec) -> list[dict[str, Any]]:
    """The rows of every data set that is a list."""
    sets = [*found(spec, "values"), *spec.get("datasets", {}).values()]
    return [row for rows in sets if isinstance(rows, list) for row in rows if isinstance(row, dict)]


def drawn_svg(spec: Spec) -> str:
    svg: str = vl_convert.vegalite_to_svg(spec, vl_version=export.VEGALITE_VERSION)
    return svg


@pytest.mark.parametrize("name", CHARTS)
def test_every_chart_is_valid_and_draws(name: str, database: duckdb.DuckDBPyConnection) -> None:
    svg = drawn_svg(spec_of(name, database))
    assert svg.count("<path") > 20
    assert "NaN" not in svg
    assert "No data" not in svg


@pytest.mark.parametrize("name", CHARTS)
def test_every_chart_says_why_there_is_no_data(name: str, empty: duckdb.DuckDBPyConnection) -> None:
    assert "No data: no " in drawn_svg(spec_of(name, empty))


@pytest.mark.parametrize("name", CHARTS)
def test_charts_come_out_the_same_each_time(name: str, database: duckdb.DuckDBPyConnection) -> None:
    assert spec_of(name, database) == spec_of(name, database)


@pytest.mark.parametrize("name", CHARTS)
def test_axes_have_titles_and_units(name: str, database: duckdb.DuckDBPyConnection) -> None:
    svg = drawn_svg(spec_of(name, database))
    expected = {
        "energy_per_step": ["energy per step", "kJ<"],
        "energy_per_million_tokens": ["energy per million tokens", "MJ<"],
        "power": ["power (W)", "temperature (°C)", "clock (MHz)", "time (s)"],
        "training": ["loss (nat per token)", "time of a step (s)", "step"],
        "carbon": ["CO₂e per million tokens", " g<"],
        "verdict": ["cloud / edge"],
    }
    for words in expected[name]:
        assert words in svg


def test_energy_is_the_views_energy(database: duckdb.DuckDBPyConnection) -> None:
    drawn = {
        (row["device"], row["mean"], row["low"], row["high"])
        for row in data_rows(spec_of("energy_per_step", database))
        if "mean" in row
    }
    stored = database.execute(
        "SELECT device, joules_per_step, joules_per_step_low, joules_per_step_high FROM device_energy"
    ).fetchall()
    assert drawn == set(stored)


def test_measured_is_solid_and_the_rest_hollow(database: duckdb.DuckDBPyConnection) -> None:
    spec = spec_of("energy_per_step", database)
    fills = next(value for value in found(spec, "fill") if isinstance(value, dict) and "scale" in value)["scale"]
    colours = dict(zip(fills["domain"], fills["range"], strict=True))
    assert colours.pop("measured") == style.INK
    assert set(colours.values()) == {"white"}
    dashes = next(iter(found(spec, "strokeDash")))["scale"]
    assert dict(zip(dashes["domain"], dashes["range"], strict=True))["measured"] == [1, 0]
    labels = {row["label"] for row in data_rows(spec) if "label" in row}
    assert "h200\nmeasured, GPU board" in labels
    assert "laptop-without-sensor\nestimated, system on chip" in labels
    assert "snapdragon-888\nmodelled, whole device" in labels


def test_tooltips_carry_boundary_source_and_interval(database: duckdb.DuckDBPyConnection) -> None:
    row = next(row for row in data_rows(spec_of("energy_per_step", database)) if row.get("device") == "workstation")
    assert row["sources"] == "intel-rapl:0/energy_uj"
    assert row["boundary_words"] == "CPU package"
    assert "(" in row["figure"]
    assert "–" in row["figure"]


def test_axis_is_logarithmic_only_where_spans_are_wide(tmp_path: Path) -> None:
    kinds = []
    for devices in (["workstation", "snapdragon-888"], ["h200", "snapdragon-888"]):
        path = report_database.build(tmp_path / f"{devices[0]}.duckdb", repeats=1, samples=False, devices=devices)
        with duckdb.connect(str(path), read_only=True) as connection:
            spec = spec_of("energy_per_step", connection)
        kinds.append({scale["type"] for scale in found(spec, "scale") if scale.get("type") in ("log", "linear")})
    assert kinds == [{"linear"}, {"log"}]


def add_run(connection: duckdb.DuckDBPyConnection, device: str, joules: float | None, **changed: Any) -> None:
    known = joules is not None
    facts = {
        "run_id": f"w/{device}/r1",
        "workload": "w",
        "device": device,
        "repeat": 1,
        "role": "edge",
        "steps": 1,
        "tokens": 10,
    }
    figure = {
        "record_kind": "measured", "provenance": "measured" if known else "absent",
        "boundary": "wall" if known else None,
        "energy_joules": joules, "energy_status": "complete" if known else "absent",
    }  # fmt: skip
    report_database.insert_named(connection, "runs", **{**facts, **figure, **changed})


def test_an_interval_down_to_zero_reaches_the_edge_of_a_logarithmic_axis(empty: duckdb.DuckDBPyConnection) -> None:
    add_run(empty, "small", 2.0, energy_low_joules=1.5, energy_high_joules=2.5)
    add_run(empty, "wide", 100.0, energy_low_joules=0.0, energy_high_joules=200.0)
    spec = spec_of("energy_per_step", empty)
    (low_end, _), *others = {tuple(scale["domain"]) for scale in found(spec, "scale") if scale.get("type") == "log"}
    assert not others
    row = next(row for row in data_rows(spec) if row.get("device") == "wide")
    assert row["drawn_low"] == low_end > 0.5
    assert row["figure"] == "100 J (0–200)"


def test_a_whisker_far_beyond_the_bars_is_cut_and_marked(tmp_path: Path) -> None:
    path = report_database.build(
        tmp_path / "far.duckdb", repeats=1, samples=False, devices=["workstation", "snapdragon-888"]
    )
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE carbon SET total_high_grams = 1000 * total_grams WHERE device = 'workstation'")
        spec = spec_of("carbon", connection)
    limits = [
        scale["domain"][1]
        for scale in found(spec, "scale")
        if isinstance(scale.get("domain"), list) and scale["domain"][0] == 0
    ]
    for row in data_rows(spec):
        if "beyond" in row:
            assert row["beyond"] == (row["device"] == "workstation")
            assert row["drawn_high"] <= max(limits)
            assert row["total"] * 1.5 < max(limits)


def test_a_device_without_energy_is_shown_and_not_dropped(empty: duckdb.DuckDBPyConnection) -> None:
    add_run(empty, "with", 100.0)
    add_run(empty, "without", None)
    svg = drawn_svg(spec_of("energy_per_step", empty))
    assert "without" in svg
    assert "no reading" in svg


def test_rows_of_one_device_that_differ_in_precision_stay_apart(empty: duckdb.DuckDBPyConnection) -> None:
    for precision in ("fp32", "bf16"):
        add_run(empty, "d", 100.0, run_id=f"w/d/{precision}", precision=precision)
    labels = {row["label"] for row in data_rows(spec_of("energy_per_step", empty)) if "label" in row}
    assert len(labels) == 2


def add_counter(connection: duckdb.DuckDBPyConnection, samples: int, watts: float) -> float:
    """A run with an energy counter read `samples` times, 10 ms apart, later at double power; returns its joules."""
    end = samples * 0.01
    report_database.insert_named(
        connection, "runs", run_id="w/d/r1", workload="w", device="d", repeat=1, role="edge", parameters=1
    )
    report_database.insert(connection, "windows", [("w/d/r1", "train", 0.0, end)])
    channel = ("w/d/r1", "rapl/package-0/energy", "rapl", "package-0", "energy", "J", "cpu_package", "measured", "rapl")
    report_database.insert(connection, "channels", [channel])
    connection.execute(
        """INSERT INTO samples SELECT 'w/d/r1', i * 0.01, 'rapl/package-0/energy',
             0.01 * ? * (i + greatest(i - ?, 0)) FROM range(0, ?) t(i)""",
        [watts, samples // 2, samples],
    )
    return 0.01 * watts * (samples - 1 + (samples - 1 - samples // 2))


def csv_points(spec: Spec) -> list[list[float]]:
    texts = [
        values for values in [*found(spec, "values"), *spec.get("datasets", {}).values()] if isinstance(values, str)
    ]
    return [[float(cell) for cell in line.split(",")] for text in texts for line in text.splitlines()[1:]]


def test_long_series_are_thinned_and_keep_their_energy(empty: duckdb.DuckDBPyConnection) -> None:
    joules = add_counter(empty, 200_000, 50.0)
    points = csv_points(spec_of("power", empty))
    assert 300 <= len(points) <= series.POINTS_PER_SERIES + 2
    width = 2000 / len(points)
    assert sum(watts * width for _, _, watts in points) == pytest.approx(joules, rel=0.01)
    assert min(watts for _, _, watts in points) == pytest.approx(50, rel=0.01)
    assert max(watts for _, _, watts in points) == pytest.approx(100, rel=0.01)


def test_power_shades_every_window_and_begins_at_the_measured_one(database: duckdb.DuckDBPyConnection) -> None:
    spec = spec_of("power", database)
    shaded = [row for row in data_rows(spec) if "window" in row]
    assert {row["window"] for row in shaded} == {"idle", "warm-up", "measured", style.THROTTLED}
    assert {row["start_s"] for row in shaded if row["window"] == "measured"} == {0.0}
    assert {row["run_id"] for row in shaded} == {
        run for (run,) in database.execute("SELECT DISTINCT run_id FROM windows").fetchall()
    }


def shades(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, float, float]]:
    """The shaded stretches of the power chart of a run from 0 to `end`, by their start."""
    rows = [row for row in data_rows(spec_of("power", connection)) if "window" in row]
    return sorted((row["window"], row["start_s"], row["end_s"]) for row in rows)


def test_throttled_stretches_are_cut_out_of_the_measured_window(empty: duckdb.DuckDBPyConnection) -> None:
    add_counter(empty, 1000, 50.0)
    ((end,),) = empty.execute("SELECT end_s FROM windows").fetchall()
    assert [name for name, *_ in shades(empty)] == ["measured"]
    assert style.THROTTLED not in json.dumps(spec_of("power", empty)), "a legend for what did not happen"
    report_database.insert(empty, "throttled", [("w/d/r1", 2.0, 4.0, "d", "x"), ("w/d/r1", 4.01, 5.0, "e", "x")])
    assert shades(empty) == [("measured", 0.0, 2.0), ("measured", 5.0, end), (style.THROTTLED, 2.0, 5.0)]
    report_database.insert(empty, "throttled", [("w/d/r1", 6.0, end, "d", "x")])
    assert ("measured", 5.0, 6.0) in shades(empty)
    assert not any(start == stop for _, start, stop in shades(empty))


def test_many_runs_do_not_make_a_heavy_page(empty: duckdb.DuckDBPyConnection) -> None:
    for device in range(30):
        for repeat in range(1, 9):
            run_id = f"w/d{device}/r{repeat}"
            report_database.insert_named(
                empty,
                "runs",
                run_id=run_id,
                workload="w",
                device=f"d{device}",
                repeat=repeat,
                role="edge",
                parameters=1,
            )
            report_database.insert(empty, "windows", [(run_id, "train", 0.0, 60.0)])
            channel = (run_id, "n/g/power", "n", "g", "power", "W", "gpu_board", "measured", "s")
            report_database.insert(empty, "channels", [channel])
    empty.execute("INSERT INTO samples SELECT run_id, i * 0.1, 'n/g/power', 100 + i % 7 FROM runs, range(600) t(i)")
    spec = spec_of("power", empty)
    assert len(csv_points(spec)) <= series.POINTS_PER_CHART * 1.05
    assert len(json.dumps(spec)) < 2_000_000
    notes = " ".join(spec["title"]["subtitle"])
    assert "first 5 repeats" in notes
    assert f"{series.DEVICES_SHOWN} of 30" in notes


def test_steps_before_the_window_are_at_and_below_zero(database: duckdb.DuckDBPyConnection) -> None:
    steps = {row["step"] for row in data_rows(spec_of("training", database)) if "step" in row}
    assert steps == set(range(1 - report_database.WARMUP, report_database.STEPS + 1))


def test_carbon_bars_add_up_under_each_attribution(database: duckdb.DuckDBPyConnection) -> None:
    spec = spec_of("carbon", database)
    titles = [panel["title"]["text"] for panel in spec["vconcat"]]
    assert titles[:4] == [f"opt-125m · {name}" for name in style.ATTRIBUTIONS.values()]
    sums: dict[tuple[str, ...], float] = {}
    totals: dict[tuple[str, ...], float] = {}
    for row in data_rows(spec):
        if "part" in row:
            key = row["workload"], row["attribution"], row["device"]
            sums[key] = sums.get(key, 0.0) + row["grams"]
            totals[key] = row["total"]
            assert row["low"] <= row["total"] <= row["high"]
    assert len(sums) == 2 * 4 * len(report_database.DEVICES)
    for key, total in totals.items():
        assert math.isclose(sums[key], total, rel_tol=1e-9)


def test_verdict_axis_holds_one_and_flags_flips(database: duckdb.DuckDBPyConnection) -> None:
    spec = spec_of("verdict", database)
    domains = {tuple(scale["domain"]) for scale in found(spec, "scale") if scale.get("type") == "log"}
    assert len(domains) == 1
    ((low, high),) = domains
    assert low < 1 < high
    flipped = [panel["title"] for panel in spec["vconcat"] if "FLIPS" in panel["title"]["text"]]
    assert {title["subtitle"] for title in flipped} == {"rtx-a5000-bf16 / snapdragon-888"}
    assert len(spec["vconcat"]) == 2 * 2 * 4


def test_several_scenarios_stand_in_the_headings(tmp_path: Path) -> None:
    path = report_database.build(tmp_path / "two.duckdb", repeats=1, samples=False)
    with duckdb.connect(str(path)) as connection:
        connection.execute("INSERT INTO carbon BY NAME SELECT * REPLACE ('other' AS scenario) FROM carbon")
        connection.execute("INSERT INTO verdicts BY NAME SELECT * REPLACE ('other' AS scenario) FROM verdicts")
        for name in ("carbon", "verdict"):
            titles = {panel["title"]["text"] for panel in spec_of(name, connection)["vconcat"]}
            assert {"default", "other"} == {title.split("scenario ")[1].split(" ")[0] for title in titles}


def test_a_side_that_emits_nothing_hides_no_flip(empty: duckdb.DuckDBPyConnection) -> None:
    rows = [
        ("s", "w", "c", "e", "sunk", None, None, None, 1.0, "edge", True, True, None),
        ("s", "w", "c", "e", "time_share", 2.0, 1.5, None, 0.98, "edge", True, True, None),
        ("s", "w", "c", "e", "used_hours", 0.5, 0.4, 0.6, 0.01, "cloud", True, True, None),
    ]
    report_database.insert(empty, "verdicts", rows)
    spec = spec_of("verdict", empty)
    drawn = {row["label"]: row for row in data_rows(spec) if "label" in row}
    assert drawn["sunk"]["figure"] == "the edge emits nothing"
    assert drawn["time share"]["figure"] == "2.0 (1.5 and more)"
    svg = drawn_svg(spec)
    assert "the edge emits nothing" in svg
    assert svg.index(">sunk<") < svg.index(">time share<") < svg.index(">used hours<")
    assert "&gt; 99 %" in svg
    assert "NaN" not in svg
    assert "undefined" not in svg


def test_a_verdict_without_a_ratio_is_left_to_the_table(empty: duckdb.DuckDBPyConnection) -> None:
    report_database.insert(
        empty, "verdicts", [("s", "w", "c", "e", "sunk", None, None, None, None, "unclear", False, False, "x")]
    )
    assert "No data" in drawn_svg(spec_of("verdict", empty))


def test_save_writes_svg_and_html_that_needs_nothing(tmp_path: Path, database: duckdb.DuckDBPyConnection) -> None:
    save([("c", CHARTS["energy_per_step"].draw(database))], tmp_path / "new")
    assert ElementTree.parse(tmp_path / "new/c.svg").getroot().tag.endswith("svg")
    text = (tmp_path / "new/c.html").read_text(encoding="utf-8").replace(export.javascript_bundle(), "")
    assert "<title>Energy per training step</title>" in text
    for loads in ('src="', "src='", "<link", "@import", "cdn."):
        assert loads not in text


def test_charts_saved_together_are_each_their_own(tmp_path: Path, database: duckdb.DuckDBPyConnection) -> None:
    drawn = {name: CHARTS[name].draw(database) for name in ("energy_per_step", "training", "verdict")}
    save(drawn.items(), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2 * len(drawn)
    for name, chart in drawn.items():
        spec = export.specification(chart)
        assert (tmp_path / f"{name}.svg").read_text(encoding="utf-8") == drawn_svg(spec)
        assert export.script_json(spec) in (tmp_path / f"{name}.html").read_text(encoding="utf-8")


def test_a_drawing_is_kept_until_its_chart_changes(tmp_path: Path, database: duckdb.DuckDBPyConnection) -> None:
    charts = {name: CHARTS[name].draw(database) for name in ("energy_per_step", "verdict")}
    save([("c", charts["verdict"])], tmp_path / "first", tmp_path)
    (drawing,) = (tmp_path / "drawings").iterdir()
    assert kept.read(drawing) == (tmp_path / "first/c.svg").read_bytes()
    kept.keep(drawing, b"<svg>of an earlier start</svg>")
    save([(name, charts[name]) for name in charts], tmp_path / "second", tmp_path)
    assert (tmp_path / "second/verdict.svg").read_bytes() == b"<svg>of an earlier start</svg>"
    assert b"Energy per training step" in (tmp_path / "second/energy_per_step.svg").read_bytes()
    assert len(list((tmp_path / "drawings").iterdir())) == 2


@pytest.mark.parametrize("left", [0, 5, 40, 47])
def test_a_drawing_that_was_cut_short_is_drawn_again(tmp_path: Path, left: int) -> None:
    drawn: list[str] = []
    renderer = SimpleNamespace(draw=lambda request: drawn.append(request) or "<svg>all of it</svg>")
    assert export._svg({}, renderer, tmp_path) == export._svg({}, renderer, tmp_path) == b"<svg>all of it</svg>"
    (drawing,) = (tmp_path / "drawings").iterdir()
    whole = drawing.read_bytes()
    assert (len(whole), len(drawn)) == (52, 1)
    drawing.write_bytes(whole[:left])
    assert export._svg({}, renderer, tmp_path) == b"<svg>all of it</svg>"
    assert (drawing.read_bytes(), len(drawn)) == (whole, 2)


def test_a_chart_that_cannot_be_drawn_ends_all_of_it(tmp_path: Path) -> None:
    broken = style.stacked([style.marks([{"a": 1}]).mark_text(text={"expr": "no such thing("})], "broken", [])
    with pytest.raises(RuntimeError, match="ended before all were drawn"):
        save([("first", broken), ("second", broken)], tmp_path)


def test_putting_panels_together_leaves_them_as_they_were() -> None:
    shared = style.marks([{"a": 1, "label": "one"}]).encode(y="label:N")
    apart = style.marks([{"a": 2}]).mark_point().encode(x="a:Q")
    panels = [
        style.layered([shared.mark_bar(), shared.mark_text()], height=20),
        style.layered([shared.mark_rule(), apart], height=30),
    ]
    before = [panel.to_dict() for panel in panels]
    spec = style.stacked(panels, "t", []).to_dict()
    style.stacked(panels[:1], "rows of a panel that is alone stand above it", [])
    assert [panel.to_dict() for panel in panels] == before
    assert [[list(layer) for layer in panel["layer"]] for panel in spec["vconcat"]] == [
        [["mark", "encoding"], ["mark", "encoding"]],
        [["data", "mark", "encoding"], ["data", "mark", "encoding"]],
    ]
    assert sorted(len(rows) for rows in spec["datasets"].values()) == [1, 1], "rows are held once"


@pytest.mark.parametrize(
    ("device", "limit"), [("phone", 0), ("a phone of a name that is far too long for any axis", 220)]
)
def test_only_labels_that_may_be_too_long_are_measured(
    device: str, limit: int, empty: duckdb.DuckDBPyConnection
) -> None:
    add_run(empty, device, 1.0)
    assert set(found(spec_of("energy_per_step", empty)["vconcat"], "labelLimit")) == {limit}


def test_many_scenarios_do_not_make_a_heavy_page(empty: duckdb.DuckDBPyConnection) -> None:
    add_run(empty, "phone", 1.0)
    for number in range(7):
        for attribution in style.ATTRIBUTIONS:
            report_database.insert_named(
                empty, "carbon", scenario=f"s{number}", run_id="w/phone/r1", workload="w", device="phone", repeat=1,
                role="edge", attribution=attribution, functional_unit="million_tokens", operational_grams=1.0,
                embodied_grams=1.0, network_grams=0.0, total_grams=2.0, provenance="measured", boundary="wall",
            )  # fmt: skip
    carbon = spec_of("carbon", empty)
    assert len(carbon["vconcat"]) == 24
    assert "The first 24 of 28 panels; the table has all." in carbon["title"]["subtitle"]


def test_the_bundle_is_kept_for_other_processes(tmp_path: Path) -> None:
    bundle = export.javascript_bundle(tmp_path)
    (file,) = tmp_path.iterdir()
    assert kept.read(file) == bundle.encode() == export.javascript_bundle().encode()
    kept.keep(file, b"// of an earlier start")
    assert export.javascript_bundle.__wrapped__(tmp_path) == "// of an earlier start"


def test_snakemakes_report_has_the_captions_of_the_page() -> None:
    template = (Path(__file__).resolve().parents[2] / captions.TEMPLATE).read_text(encoding="utf-8")
    assert template == captions.template(), "run: make schema"
    for name, entry in {**CHARTS, **FLEET_CHARTS, **DECISION_CHARTS}.items():
        snakemake = SimpleNamespace(wildcards=SimpleNamespace(chart=name))
        assert entry.caption in Environment().from_string(template).render(snakemake=snakemake)


def test_names_cannot_break_out_of_the_page(tmp_path: Path, empty: duckdb.DuckDBPyConnection) -> None:
    hostile = "</script><script>alert(1)</script>"
    report_database.insert_named(
        empty, "runs", run_id="w/d/r1", workload=hostile, device=hostile, repeat=1, role="edge", steps=10, tokens=10,
        record_kind="measured", provenance="measured", boundary="wall", energy_joules=1.0, energy_status="complete",
    )  # fmt: skip
    save([("c", CHARTS["energy_per_step"].draw(empty))], tmp_path)
    assert "alert(1)</script>" not in (tmp_path / "c.html").read_text(encoding="utf-8")
    ElementTree.parse(tmp_path / "c.svg")


def test_colours_are_okabe_and_itos() -> None:
    palette = {"#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#000000"}
    used = {*style.ROLE_COLOURS.values(), *style.CARBON_COLOURS.values(), *style.SERIES_COLOURS}
    assert used <= palette
    assert set(style.WINDOW_COLOURS.values()) - palette == {"#BDBDBD"}, "the idle windows alone are grey"


def test_many_pairs_and_steps_do_not_make_a_heavy_page(empty: duckdb.DuckDBPyConnection) -> None:
    for number in range(60):
        pair = ("s", "w", "cloud", f"edge{number:02}", "sunk", 2.0, 1.5, 3.0, 0.9, "unclear", number == 59, True, None)
        report_database.insert(empty, "verdicts", [pair])
        add_run(empty, f"edge{number:02}", 1.0)
    empty.execute(
        "INSERT INTO steps SELECT run_id, i, 'train', i, 1.0 + i % 7, 10 - i / 2000, 8 FROM runs, range(1, 2001) t(i)"
    )
    verdict, training = spec_of("verdict", empty), spec_of("training", empty)
    assert verdict["vconcat"][0]["title"]["subtitle"] == "cloud / edge59", "a flip is never among those left out"
    assert "The first 16 of 60 pairs; the table has all." in verdict["title"]["subtitle"]
    assert len(verdict["vconcat"]) == 16
    drawn = [row for row in data_rows(training) if "loss" in row]
    assert 60 * 100 < len(drawn) <= series.POINTS_PER_CHART * 1.05
