"""Records are sealed, attempts are kept, and nothing that comes from a device is trusted."""

import json

import pytest

from edgecarbon import records
from edgecarbon.errors import UserError

CORE = {"schema": "edgecarbon.spec/1", "run_id": "w/d/r1", "training": {"steps": 3}}


def result_of(spec, **changes):
    return {
        "schema": "edgecarbon.result/1",
        "nonce": spec["nonce"],
        "run_id": spec["run_id"],
        "status": "ok",
        "windows": [{"name": "train", "start_s": 0.0, "end_s": 2.0}],
        "readings": [{"component": "package-0", "joules": 20.0, "uncertainty_joules": 1.0}],
        "training": {"duration_s": 2.0, "tokens": 64},
        **changes,
    }


@pytest.fixture
def attempt(tmp_path):
    path, nonce = records.new_attempt(tmp_path / "attempts")
    spec = {**CORE, "nonce": nonce, "deadline_s": 60}
    (path / "spec.json").write_text(json.dumps(spec))
    (path / "result.json").write_text(json.dumps(result_of(spec)))
    return path


def spec_of(attempt):
    return json.loads((attempt / "spec.json").read_text())


def sealed(tmp_path, attempt):
    path = tmp_path / "runs/w/d/r1/record.json"
    record = {
        "schema": records.RECORD_SCHEMA,
        "run_id": "w/d/r1",
        "attempt": str(attempt),
        "attempt_files": records.attempt_files(attempt),
        "result": records.check_attempt(attempt, spec_of(attempt)),
    }
    records.register(attempt, record, path)
    return path


def test_record_reads_back(tmp_path, attempt):
    record = records.read_record(sealed(tmp_path, attempt))
    assert record["result"]["readings"][0]["joules"] == 20.0
    assert record["attempt_files"]["result.json"]["bytes"] == (attempt / "result.json").stat().st_size


def test_damaged_record_is_noticed_and_kept_aside(tmp_path, attempt):
    path = sealed(tmp_path, attempt)
    path.write_text(path.read_text().replace("20.0", "10.0"))
    damaged = path.read_text()
    with pytest.raises(UserError, match="does not match its hash"):
        records.read_record(path)
    ((moved_from, moved_to, problem),) = records.set_aside_damaged([path], tmp_path / "quarantine")
    assert moved_from == path
    assert not path.exists()
    assert moved_to.read_text() == damaged
    assert "hash" in problem


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema": "something/1"}', b"\xff\xfe"])
def test_any_damage_is_noticed(tmp_path, attempt, content):
    path = sealed(tmp_path, attempt)
    path.write_bytes(content)
    assert records.damage(path)


def test_record_of_a_cut_off_attempt_is_set_aside(tmp_path, attempt):
    (attempt / "samples.jsonl.gz").write_text("[0.0, 1.0]\n" * 10)
    path = sealed(tmp_path, attempt)
    assert records.set_aside_damaged([path], tmp_path / "quarantine") == []
    (attempt / "samples.jsonl.gz").chmod(0o644)
    (attempt / "samples.jsonl.gz").write_text("[0.0, 1.0]\n")
    ((_, _, problem),) = records.set_aside_damaged([path], tmp_path / "quarantine")
    assert "samples.jsonl.gz has 11 bytes, 110 were recorded" in problem


def test_missing_records_are_not_damaged(tmp_path):
    assert records.set_aside_damaged([tmp_path / "none.json"], tmp_path / "quarantine") == []


def test_finished_attempt_is_taken_up_once(tmp_path, attempt):
    attempts = attempt.parent
    assert records.finished_attempt(attempts, CORE) == attempt
    assert records.finished_attempt(attempts, {**CORE, "training": {"steps": 4}}) is None
    sealed(tmp_path, attempt)
    assert records.finished_attempt(attempts, CORE) == attempt, "the host may die before anybody hears of the record"
    records.mark_used(attempt)
    assert records.finished_attempt(attempts, CORE) is None


def test_unfinished_and_failed_attempts_are_passed_over(attempt):
    (attempt / "result.json").write_text(json.dumps(result_of(spec_of(attempt), status="failed")))
    assert records.finished_attempt(attempt.parent, CORE) is None
    (attempt / "result.json").write_text("{")
    assert records.finished_attempt(attempt.parent, CORE) is None
    (attempt / "result.json").unlink()
    assert records.finished_attempt(attempt.parent, CORE) is None
    assert attempt.exists()


REFUSED = {
    "wrong nonce": (lambda spec: result_of(spec, nonce="0" * 32), "nonce"),
    "another run": (lambda spec: result_of(spec, run_id="w/d/r2"), "run_id"),
    "wrong schema": (lambda spec: result_of(spec, schema="edgecarbon.result/0"), "schema"),
    "NaN joules": (
        lambda spec: result_of(spec, readings=[{"component": "x", "joules": float("nan"), "uncertainty_joules": 1.0}]),
        "NaN",
    ),
    "negative joules": (
        lambda spec: result_of(spec, readings=[{"component": "x", "joules": -5.0, "uncertainty_joules": 1.0}]),
        r"readings\.x\.joules",
    ),
    "negative time": (
        lambda spec: result_of(spec, windows=[{"name": "train", "start_s": 5.0, "end_s": 2.0}]),
        r"windows\.train",
    ),
    "no time": (lambda spec: result_of(spec, training={"duration_s": 0.0, "tokens": 64}), "training"),
    "a list": (lambda spec: [1, 2, 3], "schema"),
    "words for numbers": (lambda spec: result_of(spec, training={"duration_s": "long", "tokens": 64}), "wrong type"),
    "no readings": (lambda spec: {k: v for k, v in result_of(spec).items() if k != "readings"}, "readings"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_results_are_refused_with_the_reason(attempt, case):
    make, reason = REFUSED[case]
    (attempt / "result.json").write_text(json.dumps(make(spec_of(attempt))))
    with pytest.raises(UserError, match=reason):
        records.check_attempt(attempt, spec_of(attempt))


def test_failure_on_the_device_is_told_in_its_own_words(attempt):
    failed = result_of(spec_of(attempt), status="failed", error={"kind": "out_of_memory", "message": "needs 20 GB"})
    (attempt / "result.json").write_text(json.dumps(failed))
    with pytest.raises(UserError, match=r"failed on the device \(out_of_memory\): needs 20 GB"):
        records.check_attempt(attempt, spec_of(attempt))


def test_atomic_write_leaves_no_partial_file(tmp_path):
    records.write_atomically(tmp_path / "deep/file.json", "{}")
    records.write_atomically(tmp_path / "deep/file.json", "[]")
    assert [(path.name, path.read_text()) for path in (tmp_path / "deep").iterdir()] == [("file.json", "[]")]
