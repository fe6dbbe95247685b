"""The section "Try it": what it packs comes out again, and its arithmetic is the carbon model's."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from test_report_page import Page

import report_database
import report_instrument
from edgecarbon import report
from edgecarbon.carbon.formulas import break_even_energy_ratio
from edgecarbon.report import instrument, tables
from edgecarbon.report.instrument import DIALS, Part, Settings, read, recompute, section
from edgecarbon.report.packing import Packer, pack

HOSTILE = "\"'></script><!--<script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}"
ATTRIBUTIONS = ("sunk", "time_share", "used_hours", "marginal_wear")


def fixed(**values: float) -> dict[str, Part]:
    return {name: Part(value, np.array([value])) for name, value in values.items()}


# CARBON's tenth known answer: 1 kWh at the board of a GPU, and a phone that takes 2.5 times less.
CLOUD = fixed(
    meter_kwh=1.0, plug_kwh=1.3 * 1.1, network_kwh=0.0, intensity=400.0,
    **{f"embodied_{name}_g": 188_000 * 5 / (5 * 8760 * 0.6) for name in ATTRIBUTIONS},
)  # fmt: skip
PHONE = fixed(
    meter_kwh=0.4, device_kwh=0.4, charger=1.2, network_kwh=10 * 0.005, intensity=400.0, coordinator_kwh=0.0,
    coordinator_intensity=400.0, made_g_hours=67_000 * 0.4 / 0.005, lifetime_hours=3 * 8760.0, utilisation=0.2,
    wear_battery_g=7.0, wear_life_g_hours=3 * 8760.0 * 5.0,
)  # fmt: skip


def drawn(value: float, draws: list[float]) -> Part:
    return Part(value, np.array(draws))


def unpacked(entry: list[Any], shapes: list[str]) -> Any:
    """The draws of an entry, as the page's script reads them."""
    if len(entry) == 2:
        return np.array([entry[1]])
    _, low, high, shape = entry
    content = base64.b64decode(shapes[shape])
    if low == 0:
        return np.frombuffer(content, "<f4").astype(np.float64) * high
    return low * np.exp(np.frombuffer(content, "<u2") / 65_535 * math.log(high / low))


@pytest.mark.parametrize(
    ("draws", "bytes_each"),
    [
        (np.exp(np.linspace(-1, 1, 999)), 2),
        (1e-30 * np.exp(np.linspace(-5.8, 5.8, 999)), 2),
        (np.exp(np.linspace(-9, 9, 999)), 4),
        (np.maximum(np.linspace(-1, 3, 999), 0.0), 4),
        (np.linspace(-1, 3, 999), 4),
        (np.full(999, 7.3), 0),
        (np.zeros(1), 0),
    ],
    ids=["narrow", "wide", "too wide", "zeros", "negative", "constant", "one"],
)
def test_draws_come_out_as_they_went_in(draws: Any, bytes_each: int) -> None:
    packer = Packer()
    packer.add({("s", "w", "d"): {"part": Part(2.5, draws)}})
    (entry,) = packer.devices[0].values()
    found = np.broadcast_to(unpacked(entry, packer.shapes), draws.shape)
    assert entry[0] == 2.5
    assert np.all(np.abs(found - draws) <= 1e-4 * np.abs(draws))
    assert sum(len(base64.b64decode(one)) for one in packer.shapes) == bytes_each * len(draws)


def test_what_is_in_proportion_is_stored_once() -> None:
    draws = np.random.default_rng(1).lognormal(0, 0.5, 300)
    first = {"intensity": Part(1.0, draws), "wear": Part(0.5, np.maximum(draws - 1, 0.0))}
    second = {"intensity": Part(1.0, draws), "plug": Part(3.0, 3.3 * draws), "other": Part(1.0, draws[::-1])}
    packer = Packer()
    sides = {("s", "w", "a"): first, ("s", "w", "b"): second}
    told = packer.bytes_with(sides)
    assert packer.add(sides) == [0, 1]
    assert packer.add(sides) == [0, 1]
    assert len(packer.devices) == 2
    assert len(packer.shapes) == 3
    assert packer.bytes_with({}) == told > sum(map(len, packer.shapes))
    np.testing.assert_allclose(unpacked(packer.devices[1]["plug"], packer.shapes), 3.3 * draws, rtol=1e-4)


def test_a_shape_is_two_bytes_a_draw() -> None:
    assert len(pack(Part(1.0, np.linspace(1, 2, 50)))[1]) == 100


def test_the_known_answer() -> None:
    found = {name: recompute(CLOUD, PHONE, name) for name in ATTRIBUTIONS}
    answers = {name: round(one.ratio or 0, 3) for name, one in found.items() if name != "marginal_wear"}
    assert answers == {"time_share": 1.461, "sunk": 2.867, "used_hours": 0.493}
    assert found["marginal_wear"].ratio == pytest.approx(607.769 / (212 + 7 + 5), rel=1e-5)
    assert [found[name].winner for name in ("sunk", "used_hours")] == ["edge", "cloud"]
    assert found["sunk"].energy_ratio == 2.5


@pytest.mark.parametrize(("attribution", "share"), [("sunk", None), ("time_share", 1.0), ("used_hours", 0.2)])
def test_the_break_even_ratio_is_that_of_the_formula(attribution: str, share: float | None) -> None:
    wanted = break_even_energy_ratio(
        edge_overhead_factor=1.2, edge_intensity_g_per_kwh=400.0, edge_embodied_kg=67.0, edge_lifetime_years=3.0,
        edge_watts=5.0, edge_used_share=share or 1.0, edge_attribution_weight=0.0 if share is None else 1.0,
        cloud_host_factor=1.3, cloud_pue=1.1, cloud_intensity_g_per_kwh=400.0,
        cloud_embodied_g_per_kwh=188_000 * 5 / (5 * 8760 * 0.6), network_g_per_kwh=20.0,
    )  # fmt: skip
    found = recompute(CLOUD, PHONE, attribution)
    assert found.break_even == pytest.approx(wanted, rel=1e-12)
    assert found.break_even is not None
    at_it = recompute(CLOUD, PHONE, attribution, Settings(energy_ratio=found.break_even))
    assert at_it.ratio == pytest.approx(1.0)
    assert at_it.break_even == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("settings", "cloud_g", "edge_g"),
    [
        (Settings(cloud_grid_g_per_kwh=50.0), 1.43 * 50 + 35.7686, 192 + 20 + 1.0 * 50 + 1019.787),
        (Settings(edge_grid_g_per_kwh=50.0), 607.7686, 24 + 2.5 + 400 + 1019.787),
        (Settings(lifetime_years=6.0), 607.7686, 192 + 20 + 400 + 1019.787 / 2),
        (Settings(utilisation=0.8), 607.7686, 192 + 20 + 400 + 1019.787 / 4),
        (Settings(charger=3.0), 607.7686, 480 + 20 + 400 + 1019.787),
        (Settings(energy_ratio=5.0), 607.7686, 20 + (192 + 400 + 1019.787) / 2),
    ],
    ids=[field.name for field in fields(Settings)],
)
def test_a_setting_takes_the_place_of_its_part(settings: Settings, cloud_g: float, edge_g: float) -> None:
    phone = {**PHONE, **fixed(coordinator_kwh=1.0)}
    assert recompute(CLOUD, phone, "used_hours", settings).ratio == pytest.approx(cloud_g / edge_g, rel=1e-5)


def test_draws_go_together_one_by_one() -> None:
    """Equal draws on both sides cancel; the quantiles, ties and bounds are those of the draws."""
    grid = drawn(400.0, [100.0, 400.0, 900.0])
    cloud = {**CLOUD, **fixed(embodied_sunk_g=0.0), "intensity": grid, "plug_kwh": drawn(1.0, [0.5, 1.0, 2.0])}
    edge = {**PHONE, **fixed(device_kwh=1.0, charger=1.0, network_kwh=0.0), "intensity": grid}
    found = recompute(cloud, edge, "sunk")
    assert (found.ratio, found.probability, found.winner) == (1.0, 0.5, "unclear")
    assert found.low == pytest.approx(0.55)
    assert found.high == pytest.approx(1.9)
    # Two of three draws have a network beyond the cloud, so the break-even ratio has no upper bound.
    far = recompute(cloud, {**edge, "network_kwh": drawn(0.1, [0.6, 0.1, 2.1])}, "sunk")
    assert far.break_even == pytest.approx(2.5 / 0.9)
    assert far.break_even_high is None
    assert recompute(cloud, {**edge, **fixed(network_kwh=3.0)}, "sunk").break_even is None


def test_what_cannot_be_is_refused() -> None:
    bare = {name: part for name, part in PHONE.items() if name != "charger"}
    assert recompute(CLOUD, bare, "sunk").ratio == pytest.approx(607.7686 / (160 + 20), rel=1e-5)
    with pytest.raises(ValueError, match="charger"):
        recompute(CLOUD, bare, "sunk", Settings(charger=1.1))
    with pytest.raises(ValueError, match="'fair' is not one of"):
        recompute({**CLOUD, **fixed(embodied_fair_g=0.0)}, PHONE, "fair")


def test_each_setting_has_a_slider() -> None:
    assert {dial.name for dial in DIALS} == {field.name for field in fields(Settings)}


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    path = tmp_path_factory.mktemp("report") / "d.duckdb"
    report_database.build(path, repeats=1, samples=False, devices=["rtx-a5000-bf16", "workstation", "snapdragon-888"])
    with duckdb.connect(str(path)) as connection:
        report_instrument.add(connection, 50)
        yield connection


def test_a_page_that_would_be_too_big_keeps_the_first_pairs(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = tables.verdicts(connection)
    whole = section(connection, rows)
    monkeypatch.setattr(instrument, "MOST_BYTES", 7_000)
    less = section(connection, rows)
    assert whole["left_out"] == []
    assert 0 < len(less["data"]["pairs"]) < len(whole["data"]["pairs"]) == whole["pairs"] == less["pairs"]
    assert less["data"]["pairs"] == whole["data"]["pairs"][: len(less["data"]["pairs"])]
    assert len(less["left_out"]) == less["pairs"] - len(less["data"]["pairs"])

    monkeypatch.setattr(report.page, "CHARTS", {})
    report.build(connection, tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert page.ids.index("verdict") < page.ids.index("try") < page.ids.index("ran")
    assert page.links.count("#try") == 1
    assert len(set(page.ids)) == len(page.ids)
    assert f"{len(less['left_out'])} of {less['pairs']} pairs are not here" in page.text
    assert less["left_out"][-1] in page.text
    assert less["left_out"][-1].endswith("(to keep the page small)")

    # The section stands by what it lacks alone.
    monkeypatch.setattr(instrument, "MOST_BYTES", 10)
    none = section(connection, rows)
    assert (none["data"]["pairs"], len(none["left_out"])) == ([], whole["pairs"])
    source = rendered(none)
    assert 'id="try"' in source
    assert "<form" not in source
    assert "<script" not in source
    assert f"{whole['pairs']} of {whole['pairs']} pairs are not here" in source


def rendered(found: dict[str, Any]) -> str:
    """The section alone."""
    return report.page._environment().get_template("instrument.html").render(instrument=report.page._instrument(found))


@pytest.mark.parametrize(
    ("center", "draws"), [(0.0, "[0.0]"), (1.0, "[0.0, 1.0]")], ids=["nothing", "nothing in a draw"]
)
def test_a_pair_without_a_ratio_of_energies_is_left_out_and_named(
    connection: duckdb.DuckDBPyConnection, center: float, draws: str
) -> None:
    rows = tables.verdicts(connection)
    connection.execute("BEGIN")
    try:
        connection.execute(
            f"UPDATE instrument SET center = {center}, draws = {draws} WHERE device = 'workstation' AND part = 'meter_kwh'"
        )
        found = section(connection, rows)
    finally:
        connection.execute("ROLLBACK")
    assert {pair["edge"] for pair in found["data"]["pairs"]} == {"snapdragon-888"}
    assert len(found["left_out"]) == found["pairs"] / 2
    assert found["left_out"][0].endswith("against workstation (the range of the energy of workstation reaches zero)")


def test_a_page_of_fewer_draws_than_its_scenario_says_so(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tables.verdicts(connection)
    words = {50: "at most 50 draws; of a scenario with more, the table of pairs has them all", 51: "the same draws as"}
    for most, told in words.items():
        monkeypatch.setattr(instrument, "MOST_DRAWS", most)
        source = rendered(section(connection, rows))
        assert [text in source for text in words.values()] == [text == told for text in words.values()]


def test_sliders_reach_over_every_scenario_range(connection: duckdb.DuckDBPyConnection) -> None:
    found = section(connection, tables.verdicts(connection))
    phone = read(connection, "default", "opt-125m")["snapdragon-888"]
    for dial in found["dials"]:
        marks = [pair["marks"][dial["name"]] for pair in found["data"]["pairs"] if dial["name"] in pair["marks"]]
        assert all(dial["low"] <= low <= center <= high <= dial["high"] for center, low, high in marks)
    (mine,) = [one for one in found["data"]["pairs"] if (one["workload"], one["cloud"], one["edge"]) ==
               ("opt-125m", "rtx-a5000-bf16", "snapdragon-888")]  # fmt: skip
    lifetimes = [26_000 / 8760, phone["lifetime_hours"].draws.min() / 8760, phone["lifetime_hours"].draws.max() / 8760]
    assert mine["marks"]["lifetime_years"] == pytest.approx(lifetimes)


def test_a_page_gets_the_draws_of_the_table(connection: duckdb.DuckDBPyConnection) -> None:
    data = section(connection, tables.verdicts(connection))["data"]
    for pair in data["pairs"]:
        devices = read(connection, pair["scenario"], pair["workload"])
        for side, key in zip(("cloud", "edge"), pair["sides"], strict=True):
            parts, packed = devices[pair[side]], data["devices"][key]
            assert set(packed) == set(parts)
            for name, part in parts.items():
                draws = np.broadcast_to(unpacked(packed[name], data["shapes"]), part.draws.shape)
                assert packed[name][0] == part.center
                np.testing.assert_allclose(draws, part.draws, rtol=1e-4)


def test_no_rows_no_section(tmp_path: Path) -> None:
    with duckdb.connect() as empty:
        report_database.create_schema(empty)
        report.build(empty, tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert "try" not in page.ids
    assert "#try" not in page.links


def test_no_name_can_break_the_section(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    with duckdb.connect() as hostile:
        report_database.create_schema(hostile)
        sides = {f"{HOSTILE} cloud": ("cloud", CLOUD), f"{HOSTILE} edge": ("edge", PHONE)}
        for device, (role, parts) in sides.items():
            for name, part in parts.items():
                report_database.insert_named(
                    hostile, "instrument", scenario=HOSTILE, workload=HOSTILE, device=device, role=role, part=name,
                    center=part.center, draws=part.draws.tolist(),
                )  # fmt: skip
        report_database.insert(
            hostile,
            "verdicts",
            [(HOSTILE, HOSTILE, *sides, "sunk", 2.0, 1.0, 3.0, 0.9, "unclear", False, True, None)],
        )
        report.build(hostile, tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert "try" in page.ids
    assert "img" not in page.tags
    assert "alert(1)</script>" not in page.source
