"""Record and attempt to Parquet: nothing lost, nothing invented, damage named."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import synthetic
from edgecarbon.errors import UserError
from edgecarbon.store import build_database, read_runs, write_run_parquet
from edgecarbon.store import parquet as parquet_module
from edgecarbon.store.schema_runs import NESTED, READINGS, RUNS, SAMPLES, STEPS

RUN_ID = "synthetic-opt/synthetic-gpu/r1"
HEADER = '{"schema":"edgecarbon.samples/1","channels":["a/b/energy"]}\n'


def write(tmp_path: Path, record: dict[str, Any], values: list[list[float | None]] | None = None) -> dict[str, Any]:
    """The row of `runs` that a record becomes."""
    return read_runs([synthetic.write_run(tmp_path, record, values)])[0]


def test_measured_record_keeps_its_fields(tmp_path: Path) -> None:
    readings = [synthetic.reading(5000.0, uncertainty_joules=50.0)]
    row = write(tmp_path, synthetic.record(steps=10, duration_s=100.0, readings=readings))
    assert row["run_id"] == RUN_ID
    assert (row["workload"], row["device"], row["repeat"], row["role"]) == ("synthetic-opt", "synthetic-gpu", 1, "edge")
    assert (row["record_kind"], row["provenance"]) == ("measured", "measured")
    assert (row["boundary"], row["energy_status"]) == ("wall", "complete")
    assert row["energy_joules"] == 5000.0
    assert (row["energy_low_joules"], row["energy_high_joules"]) == pytest.approx((5000 - 98, 5000 + 98))
    assert (row["steps"], row["tokens"], row["duration_s"]) == (10, 81_920, 100.0)
    assert (row["model"], row["dataset"], row["dataset_epochs"]) == ("synthetic/opt-125m", "synthetic", 1.0)
    assert row["flags"] == []
    assert len(row["record_sha256"]) == 64


def test_every_column_of_runs_is_filled_by_a_full_record(tmp_path: Path) -> None:
    idle = [synthetic.reading(60.0, window=window) for window in ("idle_before", "idle_after")]
    record = synthetic.record(readings=[synthetic.reading(5000.0), *idle])
    row = write(tmp_path, {**record, "condition": {"hottest_celsius": 31.0}})
    assert [name for name, value in row.items() if value is None] == []
    assert list(row) == RUNS.column_names


def test_net_energy_and_drift_come_from_the_idle_windows(tmp_path: Path) -> None:
    # 2 s of idle each: 30 W before, 33 W after; 100 s of training.
    idle = [synthetic.reading(60.0, window="idle_before"), synthetic.reading(66.0, window="idle_after")]
    row = write(tmp_path, synthetic.record(duration_s=100.0, readings=[synthetic.reading(10_000.0), *idle]))
    assert row["idle_watts"] == pytest.approx(31.5)
    assert row["net_energy_joules"] == pytest.approx(10_000 - 3150)
    assert row["idle_drift_relative"] == pytest.approx(0.1)
    assert row["flags"] == ["idle_drift"]


def test_absent_energy_is_null_and_never_zero(tmp_path: Path) -> None:
    row = write(tmp_path, synthetic.record(readings=[synthetic.reading(None)]))
    energy = [name for name in row if "joules" in name and not name.startswith("idle")]
    assert {name: row[name] for name in energy} == dict.fromkeys(energy)
    assert (row["energy_status"], row["provenance"]) == ("absent", "absent")
    readings = pq.read_table(synthetic.parquet_paths(tmp_path / "parquet", RUN_ID)["readings"]).to_pylist()
    assert [reading["joules"] for reading in readings] == [None]


def test_gpu_without_its_host_is_partial(tmp_path: Path) -> None:
    gpu = synthetic.reading(9000.0, "nvml/gpu0/energy", "gpu_board")
    host = synthetic.reading(None, "rapl/package-0/energy", "cpu_package")
    row = write(tmp_path, synthetic.record(kind="cuda", readings=[gpu, host]))
    assert (row["energy_joules"], row["boundary"], row["energy_status"]) == (9000.0, "gpu_board", "partial")


def test_interval_of_an_energy_stops_at_zero(tmp_path: Path) -> None:
    readings = [synthetic.reading(100.0, uncertainty_joules=60.0, provenance="estimated")]
    row = write(tmp_path, synthetic.record(readings=readings))
    assert (row["energy_low_joules"], row["energy_high_joules"]) == pytest.approx((0.0, 217.6))


def test_modelled_record_has_its_range_and_no_samples(tmp_path: Path) -> None:
    row = write(tmp_path, synthetic.modelled_record("synthetic-opt/synthetic-phone/r1", 600.0, 440.0, 770.0))
    assert (row["energy_joules"], row["energy_low_joules"], row["energy_high_joules"]) == (600.0, 440.0, 770.0)
    assert (row["record_kind"], row["provenance"]) == ("modelled", "modelled")
    assert (row["attempt"], row["dataset"]) == (None, None)
    paths = synthetic.parquet_paths(tmp_path / "parquet", "synthetic-opt/synthetic-phone/r1")
    assert pq.read_table(paths["steps"]).num_rows == pq.read_table(paths["samples"]).num_rows == 0


def test_samples_become_long_and_a_failed_read_null(tmp_path: Path) -> None:
    channels = synthetic.CHANNELS[:2]
    values: list[list[float | None]] = [[0.0, 1.5, 100.0], [0.1, None, 101.0], [0.2, 21.5, None]]
    synthetic.write_run(tmp_path, synthetic.record(channels=channels), values)
    table = pq.read_table(synthetic.parquet_paths(tmp_path / "parquet", RUN_ID)["samples"])
    energy, power = synthetic.NAMES[:2]
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        (RUN_ID, 0.0, energy, 1.5), (RUN_ID, 0.0, power, 100.0), (RUN_ID, 0.1, energy, None),
        (RUN_ID, 0.1, power, 101.0), (RUN_ID, 0.2, energy, 21.5), (RUN_ID, 0.2, power, None),
    ]  # fmt: skip


def test_samples_are_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_module, "TICKS_AT_ONCE", 7)
    synthetic.write_run(tmp_path, synthetic.record(steps=15), synthetic.ticks(100).tolist())
    paths = synthetic.parquet_paths(tmp_path / "parquet", RUN_ID)
    assert pq.ParquetFile(paths["samples"]).num_row_groups == 15  # 100 ticks by 7
    assert pq.read_table(paths["samples"])["value"].to_pylist() == synthetic.ticks(100)[:, 1:].ravel().tolist()
    assert pq.read_table(paths["steps"])["step"].to_pylist() == list(range(1, 16))


def test_parquet_has_the_documented_columns_and_zstd(tmp_path: Path) -> None:
    synthetic.write_run(tmp_path, synthetic.record())
    paths = synthetic.parquet_paths(tmp_path / "parquet", RUN_ID)
    for table in (READINGS, STEPS, SAMPLES):
        assert pq.read_schema(paths[table.name]).names == table.column_names
    assert pq.read_schema(paths["run"]).names == [*RUNS.column_names, *NESTED]
    for path in paths.values():
        assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"


def test_same_record_gives_the_same_bytes(tmp_path: Path) -> None:
    first = synthetic.write_run(tmp_path, synthetic.record())
    before = {path.name: path.read_bytes() for path in first.parent.iterdir()}
    synthetic.write_run(tmp_path, synthetic.record())
    assert {path.name: path.read_bytes() for path in first.parent.iterdir()} == before


@pytest.mark.parametrize("name", ["steps.jsonl", "samples.jsonl.gz"])
def test_damaged_attempt_file_is_named_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    record = synthetic.write_attempt(synthetic.record(), tmp_path / "attempt")
    damaged = tmp_path / "attempt" / name
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    outputs = synthetic.parquet_paths(tmp_path / "parquet", RUN_ID)
    with pytest.raises(UserError, match=rf"{name}: not the file that was recorded.*measured anew"):
        write_run_parquet(record, tmp_path / "attempt", outputs)
    assert not outputs["run"].exists()


def test_missing_and_unlisted_attempt_files(tmp_path: Path) -> None:
    record = synthetic.write_attempt(synthetic.record(), tmp_path / "attempt")
    outputs = synthetic.parquet_paths(tmp_path / "parquet", RUN_ID)
    (tmp_path / "attempt" / "samples.jsonl.gz").unlink()
    with pytest.raises(UserError, match=r"samples\.jsonl\.gz: cannot be read \(No such file"):
        write_run_parquet(record, tmp_path / "attempt", outputs)
    del record["attempt_files"]["steps.jsonl"]
    with pytest.raises(UserError, match=r"steps\.jsonl: the record .* does not list this file"):
        write_run_parquet(record, tmp_path / "attempt", outputs)


def rewrite(folder: Path, record: dict[str, Any], name: str, content: bytes) -> dict[str, Any]:
    """What a device that lies could send: a file that agrees with its hash and yet holds nonsense."""
    (folder / name).write_bytes(content)
    facts = {"sha256": parquet_module.file_sha256(folder / name), "bytes": len(content)}
    return synthetic.sealed({**record, "attempt_files": {**record["attempt_files"], name: facts}})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("samples.jsonl.gz", "[0, 1]\n", r"line 1: expected schema edgecarbon\.samples/1"),
        ("samples.jsonl.gz", HEADER + "[0.0, 1.0]\n[0.1]\n", "line 2 and following: expected a time and 1 numbers"),
        ("samples.jsonl.gz", HEADER + '[0.0, "x"]\n', "expected a time and 1 numbers"),
        ("samples.jsonl.gz", HEADER + "[0.0, 1.0\n", "not one JSON value a line"),
        ("samples.jsonl.gz", HEADER + "[0.0, 1.0], [1, 2]\n", "more than one JSON value"),
        ("samples.jsonl.gz", HEADER + "[null, 1.0]\n", "expected a time and 1 numbers"),
        ("samples.jsonl.gz", HEADER + f"[0.0, 1{'0' * 400}]\n", "expected a time and 1 numbers"),
        ("samples.jsonl.gz", HEADER + "[" * 60_000 + "\n", "not one JSON value a line"),
        ("samples.jsonl.gz", HEADER + "\n\n", "not one JSON value a line"),
        ("samples.jsonl.gz", HEADER + "[0.0, 1.0]", r"its last line has no end\. Delete the record of .*measured anew"),
        ("samples.jsonl.gz", HEADER + "[" + "0" * 3_000_000, "a line of more than 65536 bytes"),
        ("samples.jsonl.gz", HEADER.replace("a/b", "\\ud800"), "channels: expected names of at most 200 letters"),
        ("samples.jsonl.gz", HEADER.replace("a/b", "b" * 200), "channels: expected names of at most 200 letters"),
        ("samples.jsonl.gz", "", r"line 1: expected schema edgecarbon\.samples/1"),
        ("steps.jsonl", '{"step": "one"}\n', r"steps\.jsonl: step: "),
        ("steps.jsonl", "[1]\n", "expected one JSON object a line"),
        ("steps.jsonl", "\xff\xfe", "not one JSON value a line"),
    ],
)
def test_nonsense_in_an_attempt_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    folder = tmp_path / "attempt"
    content = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode("latin-1")
    record = rewrite(folder, synthetic.write_attempt(synthetic.record(), folder), name, content)
    with pytest.raises(UserError, match=message):
        write_run_parquet(record, folder, synthetic.parquet_paths(tmp_path / "parquet", RUN_ID))


@pytest.mark.parametrize(
    ("keep", "more", "message"),
    [
        (-9, b"", "it is cut short"),
        (1000, b"", "it is cut short"),
        (0, b"[0]\n", "it is no gzip"),
        (-4, b"1234", "damaged"),
    ],
)
def test_samples_that_do_not_unpack_are_refused(tmp_path: Path, keep: int, more: bytes, message: str) -> None:
    folder = tmp_path / "attempt"
    record = synthetic.write_attempt(synthetic.record(), folder, synthetic.ticks(200).tolist())
    content = (folder / "samples.jsonl.gz").read_bytes()
    record = rewrite(folder, record, "samples.jsonl.gz", content[:keep] + more)
    outputs = synthetic.parquet_paths(tmp_path / "parquet", RUN_ID)
    with pytest.raises(UserError, match=rf"samples\.jsonl\.gz: .*{message}.*Delete the record of {RUN_ID}"):
        write_run_parquet(record, folder, outputs)
    assert not outputs["run"].exists()
    assert not outputs["samples"].exists()


def test_long_lines_are_read_in_small_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_module, "BYTES_AT_ONCE", 1000)
    synthetic.write_run(tmp_path, synthetic.record(), synthetic.ticks(100).tolist())
    samples = synthetic.parquet_paths(tmp_path / "parquet", RUN_ID)["samples"]
    assert pq.ParquetFile(samples).num_row_groups > 3
    assert pq.read_table(samples)["value"].to_pylist() == synthetic.ticks(100)[:, 1:].ravel().tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "edgecarbon.record/9"}, "schema: expected edgecarbon.record/1"),
        ({"repeat": "two"}, "repeat: "),
        ({"result": {}}, "a field is missing.*KeyError: 'training'"),
        ({"result": {"training": None}}, "a field is missing or of the wrong type"),
    ],
)
def test_bad_record_is_a_user_error(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    record = synthetic.sealed({**synthetic.record(), **change})
    with pytest.raises(UserError, match=message):
        write_run_parquet(record, None, synthetic.parquet_paths(tmp_path, RUN_ID))


def test_read_runs_names_the_file_that_is_at_fault(tmp_path: Path) -> None:
    good = synthetic.write_run(tmp_path, synthetic.record())
    bad = tmp_path / "run.parquet"
    bad.write_bytes(b"no parquet")
    with pytest.raises(UserError, match=rf"^{bad}: cannot be read"):
        read_runs([good, bad])
    assert read_runs([]) == []


def test_paths_are_taken_literally(tmp_path: Path) -> None:
    """Brackets and stars in a folder's name are no patterns, an equals sign is no partition."""
    paths = [
        synthetic.write_run(tmp_path / folder, synthetic.record(f"synthetic-opt/{device}/r1"))
        for folder, device in (("[a]", "a"), ("*", "b"), ("x='c", "c"))
    ]
    assert [row["device"] for row in read_runs(paths)] == ["a", "b", "c"]
    build_database(tmp_path / "x.duckdb", paths)
    assert synthetic.stored_runs(tmp_path / "x.duckdb") == read_runs(paths)


def test_loss_of_a_diverged_run_stays_null(tmp_path: Path) -> None:
    data = synthetic.record()
    data["result"]["training"]["loss_last"] = None
    assert write(tmp_path, data)["loss_last"] is None


def test_the_thermal_story_of_a_run_and_its_flags_are_kept(tmp_path: Path) -> None:
    """100 s of training: from second 52 on the driver names heat, and the same step takes a fifth more energy."""
    channels = [
        synthetic.channel("wall/device/energy", "wall"),
        synthetic.channel("nvml/gpu0/temperature", None, "C"),
        synthetic.channel("nvml/gpu0/throttle", None, "bitmask"),
        synthetic.channel("load/others/utilisation", None, "1"),
    ]
    values: list[list[float | None]] = [
        [float(t), 100.0 * min(t, 52) + 120.0 * max(0, t - 52), min(90.0, 40.0 + t), 0x40 if t >= 52 else 0x0, 0.1]
        for t in range(105)
    ]
    path = synthetic.write_run(tmp_path, synthetic.record(channels=channels), values)
    row = pq.read_table(path).to_pylist()[0]
    assert row["flags"] == ["background_load", "thermal_throttling"]
    (heat,) = row["heat"]
    assert (heat["temperature_component"], heat["temperature_highest_celsius"]) == ("gpu0", 90.0)
    assert (heat["throttled_s"], heat["throttled_relative"], heat["throttling_began_s"]) == (50.0, 0.5, 52.0)
    assert (heat["evidence"], heat["split"], heat["frequency_start_mhz"]) == ("throttle_reasons", "throttling", None)
    per_token = 10.0 * 100.0 / (16 * 512)
    assert heat["before_joules_per_token"] == pytest.approx(per_token)
    assert heat["after_joules_per_token"] == pytest.approx(1.2 * per_token)
    assert heat["background_utilisation"] == pytest.approx(0.1)
    stretch = {"start_s": 52.0, "end_s": 102.0, "component": "gpu0", "evidence": "throttle_reasons"}
    assert row["throttled"] == [stretch]


def test_meters_of_the_device_and_of_its_parts_stand_side_by_side(tmp_path: Path) -> None:
    readings = [
        synthetic.reading(1000.0, uncertainty_joules=10.0),
        synthetic.reading(600.0, "nvml/gpu0/energy", "gpu_board", uncertainty_joules=5.0),
        synthetic.reading(None, "rapl/package-0/energy", "cpu_package"),
        synthetic.reading(50.0, window="idle_before"),
    ]
    path = synthetic.write_run(tmp_path, synthetic.record(kind="cuda", readings=readings))
    idle, wall, board = pq.read_table(path).to_pylist()[0]["totals"]
    assert (idle["window"], idle["boundary"], idle["mean_watts"]) == ("idle_before", "wall", 25.0)
    assert (wall["is_headline"], wall["joules"], wall["difference_joules"]) == (True, 1000.0, None)
    assert (wall["low_joules"], wall["high_joules"]) == pytest.approx((980.4, 1019.6))
    assert (board["is_headline"], board["difference_joules"], board["difference_relative"]) == (False, -400.0, -0.4)
    assert (board["status"], board["missing"], board["meters"]) == ("partial", ["cpu_package"], ["nvml"])


def test_a_modelled_run_has_no_story_and_its_stated_range(tmp_path: Path) -> None:
    path = synthetic.write_run(
        tmp_path, synthetic.modelled_record("synthetic-opt/synthetic-phone/r1", 600.0, 440.0, 770.0)
    )
    row = pq.read_table(path).to_pylist()[0]
    assert row["heat"] is None
    assert [(one["low_joules"], one["high_joules"]) for one in row["totals"]] == [(440.0, 770.0)]
