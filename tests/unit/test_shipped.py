"""What one lab measured, in a file: it names nobody's machine, says what it holds, and stands beside another lab's runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

import synthetic
from edgecarbon import plan, report, shipped
from edgecarbon.config.workload import Workload
from edgecarbon.errors import UserError
from edgecarbon.housekeeping import forget_missing, tell_missing
from edgecarbon.order import Run
from edgecarbon.records import canonical_sha256, damage, write_record
from edgecarbon.store import build_database
from edgecarbon.store.parquet import run_table, write_run_parquet

ROOT = Path(__file__).resolve().parents[2]
CARBON = {
    "role": "cloud", "embodied": "generic-computer", "lifetime_years": 4.0, "owner_utilisation": 0.9,
    "grid_zone": "FRA", "battery": False,
}  # fmt: skip
MODEL = {"name": "synthetic/opt-125m", "parameters": synthetic.PARAMETERS}
UUID = "GPU-5f0c7d8a-1b2c-3d4e-5f60-718293a4b5c6"
# Whatever of a lab must not leave it.
NAMES = ["alice", "fpga-lab", "192.168.1.20", "plug.lab.example", UUID, "results/attempts", "secret-zone"]


def workload(**changes: Any) -> Workload:
    settings = {"model": MODEL["name"], "batch_size": 16, "sequence_length": 512, "steps": 10, "precision": "auto"}
    return Workload(**{**settings, **changes})


def lab_record(run_id: str = "lab-opt/h200/r1", **changes: Any) -> dict[str, Any]:
    """The record of a run as a lab has it, full of what names the lab. `changes` are of its workload."""
    source = f"nvmlDeviceGetTotalEnergyConsumption (NVIDIA H200, {UUID})"
    record = synthetic.record(run_id, role="cloud", kind="cuda", readings=[
        synthetic.reading(4200.0, "nvml/gpu0/energy", "gpu_board", source=source),
        synthetic.reading(6100.0, "shelly/wall/energy", source="http://192.168.1.20/rpc/Switch.GetStatus?id=0 aenergy"),
        synthetic.reading(40.0, "rapl/package-0/energy", "cpu_package", source="/sys/class/powercap/intel-rapl:0/energy_uj"),
    ])  # fmt: skip
    record["result"]["channels"] = [
        synthetic.channel(
            "shelly/wall/power", "wall", "W", source="http://plug.lab.example/rpc/Switch.GetStatus?id=0 apower"
        )
    ]
    asked = workload(**changes)
    record["spec"] |= {
        "model": {"name": asked.model, "weights": asked.weights},
        "training": asked.training(),
        "device": {"accelerator": "cuda", "virtual": False},
        "measurement": {"estimate": {"source": "a paper, https://doi.org/10.1000/182, and ~alice/notes/watts.txt"}},
    }
    record["data"] |= {
        "dataset": "/home/alice/My texts/mine.jsonl",
        "dataset_source": "file:///home/alice/texts/mine.jsonl",
    }
    record["result"]["training"] |= {"precision": "bf16" if asked.precision == "auto" else asked.precision}
    condition = {"hottest_celsius": 34.4, "zones_celsius": {"cpu": 34.4}, "disk_free_bytes": 1e9, "release": "fpga-lab"}
    beside = {"clock": None, "absent": {"shelly": "http://192.168.1.20 does not answer"}}
    attempt = {"attempt": f"results/attempts/{run_id}/x", "attempt_files": {"zones secret-zone": {"bytes": 1}}}
    return synthetic.sealed(
        {**record, **attempt, "condition": {**condition, "battery_percent": None}, "beside": beside}
    )


def written(folder: Path, *lab: dict[str, Any]) -> list[Path]:
    """The lab's records, on its disk."""
    paths = [folder / record["run_id"] / "record.json" for record in lab]
    for path, record in zip(paths, lab, strict=True):
        write_record(path, record)
    return paths


def file_of(folder: Path, *lab: dict[str, Any]) -> Path:
    found = shipped.measured("h200", written(folder / "lab", *lab))
    return shipped.ship("h200", CARBON, found, folder / "measured").path


def spoil(path: Path, change: Any, seal: bool = True) -> None:
    data = json.loads(path.read_text())
    change(data)
    for run in data["runs"] if seal else []:
        run["content_sha256"] = canonical_sha256(run)
    path.write_text(json.dumps(data))


def test_a_file_names_no_machine_and_keeps_what_was_measured(tmp_path: Path) -> None:
    lab = lab_record()
    path = file_of(tmp_path, lab)
    text = path.read_text()
    assert [name for name in NAMES if name in text] == []
    data = json.loads(text)
    assert data["carbon"] == {"role": "cloud", "embodied": "generic-computer", "lifetime_years": 4.0, "battery": False}
    (run,) = data["runs"]
    assert run["condition"] == {"hottest_celsius": 34.4, "zones_celsius": {"cpu": 34.4}}
    assert run["origin_sha256"] == lab["content_sha256"]
    sources = [reading.pop("source") for reading in run["result"]["readings"]]
    for reading in lab["result"]["readings"]:
        del reading["source"]
    same = ("readings", "windows", "training", "versions", "device_facts", "started_unix_s")
    assert {key: run["result"][key] for key in same} == {key: lab["result"][key] for key in same}
    assert sources == [
        "nvmlDeviceGetTotalEnergyConsumption (NVIDIA H200)",
        "http://address/rpc/Switch.GetStatus?id=0 aenergy",
        "/sys/class/powercap/intel-rapl:0/energy_uj",
    ]
    assert run["spec"]["measurement"]["estimate"]["source"] == "a paper, https://doi.org/10.1000/182, and watts.txt"
    assert (run["data"]["dataset"], run["data"]["dataset_source"]) == ("mine.jsonl", "mine.jsonl")


def test_a_file_is_written_anew_only_where_the_runs_differ(tmp_path: Path) -> None:
    path = file_of(tmp_path, lab_record())
    spoil(path, lambda data: data.update(written="2026-01-31"), seal=False)
    before = path.read_bytes()
    assert file_of(tmp_path, lab_record()).read_bytes() == before
    assert file_of(tmp_path, lab_record(), lab_record("lab-opt/h200/r2")).read_bytes() != before
    assert shipped.read(path).written != "2026-01-31"


def test_the_round_trip_gives_the_same_figures(tmp_path: Path) -> None:
    lab = lab_record()
    path = file_of(tmp_path, lab)
    record = shipped.record_of(path, Run("my-opt", "their-gpu", 1), workload(), MODEL)
    write_record(tmp_path / "record.json", record)
    assert damage(tmp_path / "record.json") is None
    assert (record["run_id"], record["provenance"], record["attempt"]) == ("my-opt/their-gpu/r1", "measured", None)
    assert set(record["shipped"]) == {"file", "sha256", "written"}
    (mine,), (theirs,) = (run_table(synthetic.sealed(one)).to_pylist() for one in (record, lab))
    assert (mine["shipped"], theirs["shipped"]) == (True, False)
    own = {"run_id", "workload", "device", "shipped", "attempt", "dataset", "record_sha256", "channels"}
    assert {k: v for k, v in mine.items() if k not in own} == {k: v for k, v in theirs.items() if k not in own}
    assert (mine["record_kind"], mine["condition_celsius"], mine["energy_joules"]) == ("measured", 34.4, 6100.0)


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "synthetic/opt-350m"},
        {"weights": "pretrained"},
        {"batch_size": 8},
        {"sequence_length": 256},
        {"steps": 100},
        {"precision": "fp32"},
        {"activation_checkpointing": True},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_another_work_is_missing_and_told(tmp_path: Path, changed: dict[str, Any]) -> None:
    path = file_of(tmp_path, lab_record())
    other = workload(**changed)
    record = shipped.record_of(path, Run("my-opt", "their-gpu", 1), other, MODEL)
    missing = record["missing"]
    assert (record["provenance"], missing["kind"]) == ("absent", "unmatched")
    assert str(shipped.Work.of(other)) in missing["reason"]
    assert f"What it has: {shipped.Work.of(workload())}." in missing["reason"]
    write_run_parquet(synthetic.sealed(record), None, synthetic.parquet_paths(tmp_path, record["run_id"]))


def test_how_a_device_does_a_work_does_not_make_it_another(tmp_path: Path) -> None:
    path = file_of(tmp_path, lab_record())
    same = workload(micro_batch_size=1, threads=2, compile=True, seed=7, learning_rate=1.0, warmup_steps=1)
    assert shipped.record_of(path, Run("my-opt", "their-gpu", 1), same, MODEL)["provenance"] == "measured"


def test_auto_is_what_the_device_chose_and_nothing_else(tmp_path: Path) -> None:
    chose = shipped.read(file_of(tmp_path, lab_record()))
    assert chose.runs_of("w", shipped.Work.of(workload(precision="bf16")))
    told = shipped.read(file_of(tmp_path / "told", lab_record(precision="bf16")))
    assert told.runs_of("w", shipped.Work.of(workload(precision="bf16")))
    assert not told.runs_of("w", shipped.Work.of(workload(precision="auto")))


def test_a_model_of_this_name_and_another_size_is_missing(tmp_path: Path) -> None:
    path = file_of(tmp_path, lab_record(model="./fpga-lab/mine.json"))
    assert "fpga-lab" not in path.read_text()
    run, other = Run("my-opt", "their-gpu", 1), workload(model="./mine.json")
    assert shipped.record_of(path, run, other, MODEL)["provenance"] == "measured"
    record = shipped.record_of(path, run, other, {**MODEL, "parameters": 7})
    assert "mine.json with 125,239,296 parameters, not 7." in record["missing"]["reason"]


def test_repeats_are_of_one_workload_and_never_mixed(tmp_path: Path) -> None:
    ids = ["a/h200/r1", "a/h200/r2", "a/h200/r4", "b/h200/r1"]
    file = shipped.read(file_of(tmp_path, *map(lab_record, ids), lab_record("a/h200/r3", steps=99)))
    for name, expected in (("a", ids[:3]), ("b", ids[3:]), ("mine", ids[:3])):
        assert [run.record["run_id"] for run in file.runs_of(name, shipped.Work.of(workload()))] == expected
    second = shipped.record_of(file.path, Run("mine", "x", 3), workload(), MODEL)
    assert (second["repeat"], second["spec"]["run_id"]) == (3, "a/h200/r4")


def test_what_cannot_be_shipped_is_told(tmp_path: Path) -> None:
    def look(*paths: Path) -> None:
        assert shipped.measured("h200", paths)

    missing = written(tmp_path, synthetic.missing_record("lab-opt/h200/r2"))
    with pytest.raises(UserError, match=r"h200: no run of it .* has been measured\. List it under `devices`"):
        look(tmp_path / "none.json", *missing)
    virtual = lab_record("lab-opt/h200/r3")
    virtual["spec"]["device"]["virtual"] = True
    with pytest.raises(UserError, match="h200: a virtual host is no device"):
        look(*written(tmp_path, synthetic.sealed(virtual)))
    (path,) = written(tmp_path, lab_record())
    look(path, *missing)
    path.write_text(path.read_text().replace("4200.0", "420.0"))
    with pytest.raises(UserError, match=r"record\.json: the record's content does not match its hash\. Start again"):
        look(path)


def first(section: str, field: str, value: Any) -> Any:
    def change(data: dict[str, Any]) -> None:
        place = data["runs"][0]
        for part in section.split("."):
            place = place[part]
        if value is None:
            del place[field]
        else:
            place[field] = value

    return change


MALFORMED = {
    "schema": (lambda data: data.update(schema="edgecarbon.measured/2"), True, "schema: "),
    "unknown field": (lambda data: data.update(energy=3), True, "energy: no such field"),
    "embodied": (lambda data: data["carbon"].pop("embodied"), True, "carbon.embodied: required"),
    "no runs": (lambda data: data.update(runs=[]), True, "runs: "),
    "edited": (first("result.training", "tokens", 7), False, "runs.0: its content does not match its content_sha256"),
    "not finite": (first("result.training", "mfu", float("nan")), False, "runs.0: its content does not match"),
    "no steps": (first("spec.training", "steps", None), True, "runs.0: spec.training.steps: required"),
    "modelled": (lambda data: data["runs"][0].update(provenance="modelled"), True, "runs.0: provenance: "),
    "negative": (lambda data: data["runs"][0]["result"]["readings"][0].update(joules=-1.0), True, "is no energy"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_is_told(tmp_path: Path, case: str) -> None:
    change, seal, words = MALFORMED[case]
    path = file_of(tmp_path, lab_record())
    spoil(path, change, seal)
    with pytest.raises(UserError) as caught:
        shipped.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)
    assert "Get the file anew" in str(caught.value)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_file_that_is_none_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "h200.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"h200\.json: [^\0]*Get the file anew"):
        shipped.read(path)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the shipped config with a file of a measured device, and an experiment of one workload that it knows."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    lab = [lab_record(f"lab-opt/h200/r{repeat}") for repeat in (1, 2, 3)]
    shipped.ship("h200", CARBON, lab, tmp_path / shipped.FOLDER)
    path = tmp_path / "config/config.yaml"
    settings = workload().model_dump(include={"model", "batch_size", "sequence_length", "steps"})
    experiment = {
        "name": "x", "workloads": {"mine": settings, "long": {**settings, "steps": 11}}, "devices": ["local"],
        "measured_devices": ["h200"], "repeats": 2,
    }  # fmt: skip
    path.write_text(yaml.safe_dump(experiment, sort_keys=False))
    return tmp_path


def test_the_graph_knows_how_often_a_file_has_each_workload(project: Path) -> None:
    loaded = plan.load_project([], root=project)
    assert [run.run_id for run in loaded.shipped_runs] == [
        "mine/h200/r1", "mine/h200/r2", "mine/h200/r3", "long/h200/r1"
    ]  # fmt: skip
    assert len(loaded.runs) == 4 + 4
    facts = loaded.carbon_facts()
    assert set(facts["h200"]) == set(facts["local"])
    assert (facts["h200"]["role"], facts["h200"]["grid_zone"], facts["h200"]["owner_utilisation"]) == (
        "cloud",
        None,
        None,
    )
    path = plan.write_project(loaded, project / "results/configs")
    assert plan.read_project(path).to_json() == loaded.to_json()
    assert plan.load_project([], {"devices": []}, root=project).measured_runs == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("local", "measured_devices: 'local' is in config/devices.yaml too; rename config/inputs/measured/local.json"),
        ("rtx-a5000-bf16", "'rtx-a5000-bf16' is in {root}/config/inputs/reference_devices.yaml too; rename"),
        ("h201", "measured_devices: 'h201' is not in config/inputs/measured; did you mean 'h200'?"),
    ],
)
def test_names_that_cannot_stand_in_an_experiment(project: Path, name: str, text: str) -> None:
    folder = project / shipped.FOLDER
    if name != "h201":
        shutil.copy(folder / "h200.json", folder / f"{name}.json")
    with pytest.raises(UserError) as caught:
        plan.load_project([], {"devices": [], "measured_devices": [name]}, root=project)
    assert text.format(root=project) in str(caught.value)


def test_an_embodied_key_that_is_not_here_is_told(project: Path) -> None:
    path = project / shipped.FOLDER / "h200.json"
    spoil(path, lambda data: data["carbon"].update(embodied="generic-computr"))
    with pytest.raises(UserError, match=r"measured/h200\.json: carbon\.embodied: .*did you mean 'generic-computer'"):
        plan.load_project([], root=project)


def test_a_work_that_no_file_has_is_not_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = file_of(tmp_path, lab_record())
    record = tmp_path / "runs/mine/h200/r1/record.json"
    write_record(record, shipped.record_of(path, Run("mine", "h200", 1), workload(steps=9), MODEL))
    away = tmp_path / "runs/mine/phone/r1/record.json"
    write_record(away, synthetic.missing_record("mine/phone/r1"))
    tell_missing([str(record)])
    assert "(unmatched)" in (told := capsys.readouterr().err)
    assert "The next start tries them again" not in told
    forget_missing([str(record), str(away)])
    assert (record.exists(), away.exists()) == (True, False)


def test_the_page_says_where_and_when_it_was_measured(tmp_path: Path) -> None:
    path = file_of(tmp_path, lab_record(), lab_record("lab-opt/h200/r2"))
    runs = [synthetic.write_run(tmp_path, synthetic.record("mine/phone/r1"))]
    for repeat in (1, 2):
        record = shipped.record_of(path, Run("mine", "h200", repeat), workload(), MODEL)
        outputs = synthetic.parquet_paths(tmp_path, record["run_id"])
        write_run_parquet(synthetic.sealed(record), None, outputs)
        runs.append(outputs["run"])
    build_database(tmp_path / "x.duckdb", runs)
    with duckdb.connect(str(tmp_path / "x.duckdb"), read_only=True) as connection:
        report.build(connection, tmp_path / "report.html")
        assert connection.execute(
            "SELECT count(*) FROM run_heat JOIN runs USING (run_id) WHERE shipped"
        ).fetchone() == (0,)
    page = (tmp_path / "report.html").read_text()
    assert page.count("<small>measured elsewhere, 2023-11-14; 34 °C before it began</small>") == 1
    assert "Measured elsewhere, and taken from a file: h200." in page
