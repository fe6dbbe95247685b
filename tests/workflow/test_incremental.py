"""What a change sets off, counted in jobs of real runs."""

import json

import duckdb
import pyarrow.parquet as pq

AFTER_CARBON = {"carbon": 1, "database": 1, "charts": 1, "page": 1, "tables": 1}


def append(path, text):
    path.write_text(path.read_text() + text)


def test_whole_graph(finished_once):
    path = finished_once.path
    assert len(finished_once.records()) == 4
    page = (path / "results/report.html").read_text()
    assert "snapdragon-888-phone" in page
    with duckdb.connect(str(path / "results/edgecarbon.duckdb"), read_only=True) as database:
        kinds = database.execute("SELECT record_kind, count(*) FROM runs GROUP BY ALL ORDER BY ALL").fetchall()
        assert kinds == [("measured", 2), ("modelled", 2)]
        assert database.execute("SELECT count(DISTINCT attribution) FROM carbon").fetchall() == [(4,)]
        steps = database.execute("SELECT count(*) FROM steps WHERE phase = 'train'").fetchone()
        assert steps == (6,)
        scaled = "SELECT DISTINCT scaling, round(scale_factor, 6) FROM projections"
        assert database.execute(scaled).fetchall() == [("exact", 10_000.0)]


def test_nothing_changed(finished):
    assert finished.run_well() == {}


def test_touched_file_sets_off_nothing(finished):
    (finished.path / "lib/edgecarbon/worker/training.py").touch()
    (finished.path / "config/inputs/embodied.yaml").touch()
    assert finished.run_well() == {}


def test_carbon_input_changed(finished):
    path = finished.path / "config/inputs/embodied.yaml"
    append(path, "\n# a remark that changes the file\n")
    assert finished.run_well() == AFTER_CARBON


def test_scenario_changed(finished):
    append(finished.path / "config/scenarios/default.yaml", "\n# a remark that changes the file\n")
    assert finished.run_well() == AFTER_CARBON


def test_scenario_changed_that_another_is_based_on(finished):
    """What is based on it is judged again too, and not the other way round."""
    folder = finished.path / "config/scenarios"
    mine = "based_on: default\ntitle: Mine\ndescription: Made for a test.\n"
    (folder / "mine.yaml").write_text(mine)
    finished.write_config(lambda data: data.update(scenarios=["default", "mine"]))
    tables = [f"results/carbon/{name}" for name in ("default", "mine")]
    assert finished.run_well(*tables) == {"carbon": 1}
    (folder / "mine.yaml").write_text(mine + "# a remark that changes the file\n")
    assert finished.run_well("--dry-run", *tables) == {"carbon": 1}
    (folder / "mine.yaml").write_text(mine)
    append(folder / "default.yaml", "\n# a remark that changes the file\n")
    assert finished.run_well("--dry-run", *tables) == {"carbon": 2}


def test_carbon_facts_of_a_device_changed(finished):
    def shorten(data):
        data["devices"]["local"]["carbon"]["lifetime_years"] = 2

    finished.write_config(shorten, "config/devices.yaml")
    assert finished.run_well() == AFTER_CARBON


def test_chart_edited(finished):
    charts = sorted((finished.path / "lib/edgecarbon/charts").glob("*.py"))
    append(charts[-1], "\n# a remark that changes the file\n")
    assert finished.run_well() == {"charts": 1, "page": 1, "tables": 1}


def test_host_code_edited_measures_nothing_again(finished):
    for module in ("config/base.py", "plan.py", "dispatch/local.py", "records.py"):
        append(finished.path / "lib/edgecarbon" / module, "\n# a remark that changes the file\n")
    jobs = finished.run_well()
    assert jobs["carbon"] == 1
    assert not {"payload", "model", "tokens", "measure"} & set(jobs)


def test_device_added(finished):
    def add(data):
        data["devices"]["second"] = data["devices"]["local"]

    finished.write_config(add, "config/devices.yaml")
    finished.write_config(lambda data: data["devices"].append("second"))
    assert finished.run_well() == {"measure": 2, "parquet": 2, **AFTER_CARBON}


def test_log_of_an_external_meter_put_there_later(finished):
    """It reaches the analysis of its device's runs, and nothing is measured again."""

    def announce(data):
        data["devices"]["local"]["wall_log"] = {"file": "logs/*.csv", "time": "t", "watts": "w"}

    def wall(repeat):
        run = finished.path / f"results/parquet/tiny/local/r{repeat}"
        rows = pq.read_table(run / "readings.parquet", filters=[("meter", "=", "wall_log"), ("window", "=", "train")])
        return rows.to_pylist()[0]["joules"], "log_partial" in pq.read_table(run / "run.parquet")["flags"][0].as_py()

    runs = [f"results/parquet/tiny/local/r{repeat}/run.parquet" for repeat in (1, 2)]
    finished.write_config(announce, "config/devices.yaml")
    assert finished.run_well(*runs) == {"parquet": 2}
    assert [wall(1), wall(2)] == [(None, True)] * 2
    started = [json.loads(path.read_text())["result"] for path in finished.records()]
    start = min(result["started_unix_s"] for result in started if result.get("started_unix_s"))
    (finished.path / "logs").mkdir()
    log = finished.path / "logs/bench.csv"
    log.write_text("t,w\n" + "".join(f"{start + second / 4},{20 + second % 3}\n" for second in range(-100, 4000)))
    assert finished.run_well() == {"parquet": 2, **AFTER_CARBON}
    assert [told and not partial for told, partial in (wall(1), wall(2))] == [True, True]


def test_workload_added(finished):
    def add(data):
        data["workloads"]["longer"] = {**data["workloads"]["tiny"], "steps": 4}

    finished.write_config(add)
    assert finished.run_well() == {
        "model": 1, "tokens": 1, "measure": 2, "reference": 2, "parquet": 4, **AFTER_CARBON,
    }  # fmt: skip


def test_repeat_added(finished):
    finished.write_config(lambda data: data.update(repeats=3))
    assert finished.run_well() == {"measure": 1, "parquet": 1, **AFTER_CARBON}


def test_damaged_record(finished):
    """Only the damaged one is measured again; it is kept aside, and so is its attempt."""
    record = finished.path / "results/runs/tiny/local/r2/record.json"
    intact = finished.path / "results/runs/tiny/local/r1/record.json"
    before = intact.read_bytes()
    attempts = finished.attempts()
    damaged = record.read_bytes()[:-200]
    record.write_bytes(damaged)
    assert finished.run_well() == {"measure": 1, "parquet": 1, **AFTER_CARBON}
    assert intact.read_bytes() == before
    (aside,) = (finished.path / "results/quarantine").iterdir()
    assert aside.read_bytes() == damaged
    assert set(attempts) < set(finished.attempts())
    assert len(finished.attempts()) == len(attempts) + 1
    assert finished.run_well() == {}


def test_forced_measurement_keeps_the_old_attempt(finished):
    """A rerun deletes Snakemake's outputs; what was measured before must survive it."""
    before = finished.attempts()
    old = {path: (path / "result.json").read_bytes() for path in before}
    jobs = finished.run_well("--force", "results/runs/tiny/local/r1/record.json")
    assert jobs == {"measure": 1}
    assert len(finished.attempts()) == len(before) + 1
    assert all((path / "result.json").read_bytes() == content for path, content in old.items())
    record = json.loads((finished.path / "results/runs/tiny/local/r1/record.json").read_text())
    assert finished.path / record["attempt"] not in before
