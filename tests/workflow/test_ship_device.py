"""A device measured in one experiment stands in another as a file, and nothing is measured for it."""

import json

import duckdb
import yaml


def test_a_measured_device_is_shipped_and_used(finished):
    assert finished.run_well("ship_device_local") == {"ship_device_local": 1}
    folder = finished.path / "config/inputs/measured"
    assert str(finished.path) not in (folder / "local.json").read_text()
    (folder / "local.json").rename(folder / "their-laptop.json")
    attempts = finished.attempts()
    other = yaml.safe_load((finished.path / "config/config.yaml").read_text())
    other |= {"name": "other", "devices": [], "measured_devices": ["their-laptop"], "repeats": 1}
    (finished.path / "config/other.yaml").write_text(yaml.safe_dump(other))
    use = ["--configfile", "config/other.yaml"]
    jobs = finished.run_well(*use)
    assert jobs == {"shipped": 2, "parquet": 2, "carbon": 1, "database": 1, "charts": 1, "page": 1, "tables": 1}
    assert finished.attempts() == attempts
    assert finished.run_well(*use) == {}
    with duckdb.connect(str(finished.path / "results/edgecarbon.duckdb"), read_only=True) as database:
        query = "SELECT repeat, record_kind, mfu > 0, attempt FROM runs WHERE shipped AND device = 'their-laptop' ORDER BY 1"
        assert database.execute(query).fetchall() == [(1, "measured", True, None), (2, "measured", True, None)]
        judged = (
            "SELECT count(*) FROM verdicts WHERE edge_device = 'their-laptop' AND ratio_cloud_over_edge IS NOT NULL"
        )
        assert database.execute(judged).fetchone() != (0,)
    assert "measured elsewhere, " in (finished.path / "results/report.html").read_text()
    mine, theirs = (
        json.loads((finished.path / f"results/runs/tiny/{name}/r2/record.json").read_text())["result"]
        for name in ("local", "their-laptop")
    )
    assert mine["training"] == theirs["training"]
