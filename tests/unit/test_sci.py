"""Every run has its SCI score, to the digit of table `carbon`, in the format of the Impact Framework."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

import report_database
from edgecarbon.carbon.formulas import sci as score
from edgecarbon.errors import UserError
from edgecarbon.report import sci


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report_database.build(tmp_path_factory.mktemp("sci") / "d.duckdb", repeats=2)


@pytest.fixture(scope="module")
def manifest(database: Path) -> dict[str, Any]:
    with duckdb.connect(str(database), read_only=True) as connection:
        sci.build(connection, database.parent / "deep" / "sci")
    found: dict[str, Any] = json.loads((database.parent / "deep" / "sci" / "default.json").read_text(encoding="utf-8"))
    return found


def nodes(manifest: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    workloads = manifest["tree"]["children"]
    return {(work, device): node for work, one in workloads.items() for device, node in one["children"].items()}


def compute(manifest: dict[str, Any], node: dict[str, Any]) -> list[dict[str, Any]]:
    """What the framework makes of a node's inputs: its builtins Multiply, Sum, Divide and Sci."""
    rows = [dict(row) for row in node["inputs"]]
    for step in node.get("pipeline", manifest["tree"]["pipeline"])["compute"]:
        plugin = manifest["initialize"]["plugins"][step]
        config = plugin["config"]
        for row in rows:
            if plugin["method"] == "Multiply":
                first, second = config["input-parameters"]
                row[config["output-parameter"]] = row[first] * row[second]
            elif plugin["method"] == "Sum":
                row[config["output-parameter"]] = sum(row[name] for name in config["input-parameters"])
            elif plugin["method"] == "Divide":
                row[config["output"]] = row[config["numerator"]] / row[config["denominator"]]
            else:
                assert plugin["method"] == "Sci"
                assert row["duration"] >= 1, "which it refuses"
                row["sci"] = row["carbon"] / row[config["functional-unit"]]
    return rows


def test_the_score_is_that_of_the_carbon_table(manifest: dict[str, Any], database: Path) -> None:
    columns = "run_id, functional_unit, attribution, operational_grams, embodied_grams, network_grams, total_grams"
    with duckdb.connect(str(database), read_only=True) as connection:
        rows = connection.execute(f"SELECT {columns} FROM carbon").fetchall()
        runs = {run for (run,) in connection.execute("SELECT run_id FROM runs").fetchall()}
    table = {(run, unit, attribution): grams for run, unit, attribution, *grams in rows}
    found = [row for node in nodes(manifest).values() for row in node["outputs"]]
    assert sorted(row["run-id"] for row in found) == sorted(runs), "each run once"
    for row in found:
        operational, embodied, network, total = table[row["run-id"], "run", "time_share"]
        assert (row["carbon-operational"], row["carbon-embodied"], row["network/carbon"], row["carbon"]) == (
            operational, embodied, network, total,
        )  # fmt: skip
        assert row["sci"] == table[row["run-id"], "million_tokens", "time_share"][3]
        assert row["sci"] == pytest.approx(score(operational + network, embodied, row["million-tokens"]), rel=1e-12)
        assert row["attribution"] == "time_share"
        for other in ("sunk", "marginal_wear", "used_hours"):
            assert row[f"{other}/carbon-embodied"] == table[row["run-id"], "run", other][1]
            assert row[f"{other}/carbon"] == table[row["run-id"], "run", other][3]
            assert row[f"{other}/sci"] == table[row["run-id"], "million_tokens", other][3]
        assert row["sci-low"] < row["sci"] < row["sci-high"]


def test_running_the_manifest_gives_its_own_outputs(manifest: dict[str, Any]) -> None:
    assert len(nodes(manifest)) == len(report_database.DEVICES) * len(report_database.WORKLOADS)
    for node in nodes(manifest).values():
        for told, computed in zip(node["outputs"], compute(manifest, node), strict=True):
            assert told.keys() == computed.keys()
            for name in ("carbon-operational", "carbon", "sci"):
                assert told[name] == pytest.approx(computed[name], rel=1e-12)


def test_a_run_below_a_second_takes_another_step(manifest: dict[str, Any]) -> None:
    """The framework's own step refuses it: "duration" must be at least 1."""
    short = {key for key, node in nodes(manifest).items() if any(row["duration"] < 1 for row in node["inputs"])}
    assert short == {key for key, node in nodes(manifest).items() if "pipeline" in node}
    assert 0 < len(short) < len(nodes(manifest))


def test_units_are_the_frameworks(manifest: dict[str, Any], database: Path) -> None:
    run = nodes(manifest)["opt-125m", "workstation"]["inputs"][0]
    query = "SELECT energy_joules, duration_s, tokens FROM runs WHERE run_id = ?"
    start = "SELECT started_unix_s + start_s FROM runs JOIN windows USING (run_id) WHERE run_id = ? AND name = 'train'"
    with duckdb.connect(str(database), read_only=True) as connection:
        joules, duration_s, tokens = connection.execute(query, [run["run-id"]]).fetchall()[0]
        ((began_unix_s,),) = connection.execute(start, [run["run-id"]]).fetchall()
    assert run["energy-at-meter"] == pytest.approx(joules / 3.6e6)
    assert run["energy"] == pytest.approx(joules / 3.6e6 * run["overhead-factor"]), "kWh"
    assert run["grid/carbon-intensity"] == 494.0
    assert run["duration"] == duration_s
    assert run["million-tokens"] == tokens / 1e6
    assert datetime.fromisoformat(run["timestamp"]).timestamp() == pytest.approx(began_unix_s, abs=1e-3)
    assert run["timestamp"].endswith("Z")
    assert (run["provenance"], run["boundary"], run["record-kind"]) == ("measured", "cpu_package", "measured")
    assert "timestamp" not in nodes(manifest)["opt-125m", "snapdragon-888"]["inputs"][0], "it was never run"


def test_the_manifest_has_the_frameworks_shape(manifest: dict[str, Any], database: Path) -> None:
    assert set(manifest) == {"name", "description", "tags", "initialize", "tree"}
    assert set(manifest["tags"]) == {"kind", "complexity", "category"}
    plugins = manifest["initialize"]["plugins"]
    assert all(set(plugin) == {"path", "method", "config"} for plugin in plugins.values())
    assert plugins["sci"]["config"] == {"functional-unit": "million-tokens"}
    assert "network/carbon" in manifest["description"]
    folder = database.parent / "deep" / "sci"
    assert sorted(path.name for path in folder.iterdir()) == ["default.json", "default.yaml"]
    assert yaml.safe_load((folder / "default.yaml").read_text(encoding="utf-8")) == manifest, "JSON is YAML"


def test_a_run_without_energy_has_no_score_and_is_counted(tmp_path: Path) -> None:
    path = report_database.build(tmp_path / "d.duckdb", repeats=1, samples=False, devices=["h200", "workstation"])
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE carbon SET total_grams = NULL, operational_grams = NULL WHERE device = 'h200'")
        sci.build(connection, tmp_path / "sci")
    manifest = json.loads((tmp_path / "sci" / "default.json").read_text(encoding="utf-8"))
    assert {device for _, device in nodes(manifest)} == {"workstation"}
    assert manifest["description"].endswith("Runs left out, as they have no energy: 2.")


def test_no_functional_unit_is_an_error_and_no_time_share_no_score(tmp_path: Path) -> None:
    path = report_database.build(tmp_path / "d.duckdb", repeats=1, samples=False, devices=["h200"])
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE runs SET tokens = 0 WHERE workload = 'opt-125m'")
        with pytest.raises(UserError, match="run opt-125m/h200/r1: no tokens"):
            sci.build(connection, tmp_path / "sci")
        connection.execute("DELETE FROM carbon WHERE attribution = 'time_share'")
        sci.build(connection, tmp_path / "none")
    assert list((tmp_path / "none").iterdir()) == []


def test_a_grid_without_carbon_keeps_its_energy(tmp_path: Path) -> None:
    path = report_database.build(tmp_path / "d.duckdb", repeats=1, samples=False, devices=["workstation"])
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE carbon SET intensity_g_per_kwh = 0, operational_grams = 0")
        sci.build(connection, tmp_path / "sci")
    row = nodes(json.loads((tmp_path / "sci" / "default.json").read_text()))["opt-125m", "workstation"]["inputs"][0]
    assert row["energy"] == pytest.approx(row["energy-at-meter"] * row["overhead-factor"])
    assert row["energy"] > 0
