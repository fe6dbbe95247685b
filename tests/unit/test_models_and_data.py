"""Architectures, documents, tokenizers and token blocks."""

import hashlib
import json
from collections import Counter
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from edgecarbon import plan
from edgecarbon.data import build_tokens
from edgecarbon.errors import UserError
from edgecarbon.models import bundled_models, resolve_model

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """No test asks the hub, and none finds what an earlier one has fetched."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("facebook/opt-125m", 125_239_296), ("facebook/opt-1.3b", 1_315_758_080), ("gpt2", 124_439_808)],
)
def test_parameters_are_exact(name, parameters):
    facts = resolve_model(name)
    assert facts["parameters"] == parameters
    assert facts["source"] == "bundled"


def test_every_bundled_architecture_resolves():
    assert {"edgecarbon/tiny-opt", "edgecarbon/tiny-gpt2", "edgecarbon/tiny-llama"} <= set(bundled_models())
    for name in bundled_models():
        facts = resolve_model(name)
        assert 0 < facts["embedding_parameters"] < facts["parameters"]
        assert facts["vocabulary_size"] == facts["config"]["vocab_size"]


def test_model_from_a_folder_and_from_a_file(tmp_path):
    config = resolve_model("edgecarbon/tiny-opt")["config"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    for place in (tmp_path, tmp_path / "config.json"):
        facts = resolve_model(str(place))
        assert facts["source"] == "local"
        assert facts["parameters"] == resolve_model("edgecarbon/tiny-opt")["parameters"]
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json"):
        resolve_model(str(tmp_path))


def test_misspelt_model_and_unreachable_hub_name_the_ways_out():
    with pytest.raises(UserError) as caught:
        resolve_model("facebook/opt-125n")
    assert "facebook/opt-125m" in str(caught.value)
    assert "HF_HOME" in str(caught.value)


# ---- data


def settings(**changes):
    data = {"dataset": "bundled", "split": "test", "tokenizer": "byte-level", **changes.pop("data", {})}
    return {"data": data, "sequence_length": 32, "blocks": 20, "seed": 1, "revision": None, **changes}


@pytest.fixture(scope="module")
def tiny():
    return resolve_model("edgecarbon/tiny-opt")


def build(tmp_path, model, name="tokens", **changes):
    path, sidecar = build_tokens(settings(**changes), model, tmp_path / f"{name}.bin", tmp_path / "cache")
    blocks = np.fromfile(path, "<i4").reshape(sidecar["blocks"], sidecar["sequence_length"])
    return blocks, sidecar


def test_bundled_questions_are_well_made():
    lines = (resources.files("edgecarbon") / "bundled/questions.jsonl").read_text("utf-8").splitlines()
    questions = [json.loads(line) for line in lines]
    assert len(questions) >= 240
    assert len({question["question"] for question in questions}) == len(questions)
    assert len({question["subject"] for question in questions}) >= 20
    assert all(len(set(question["choices"])) == 4 for question in questions)
    answers = Counter(question["answer"] for question in questions)
    assert set(answers) == {0, 1, 2, 3}
    assert max(answers.values()) < 1.5 * min(answers.values())


def test_quick_run_is_filled_without_repeating(tmp_path):
    project = plan.load_project(["config/config.yaml"], root=ROOT)
    quick = project.data_settings("opt-125m")
    quick["data"] = {**quick["data"], "tokenizer": "byte-level"}
    model = resolve_model("facebook/opt-125m")
    path, sidecar = build_tokens(quick, model, tmp_path / "tokens.bin", tmp_path / "cache")
    assert sidecar["epochs"] <= 1.0
    assert sidecar["vocabulary_size"] == 50_272
    assert np.fromfile(path, "<i4").max() < 50_272


def test_blocks_are_what_their_description_says(tmp_path, tiny):
    blocks, sidecar = build(tmp_path, tiny)
    assert blocks.shape == (20, 32)
    assert blocks.min() >= 0
    assert blocks.max() < tiny["vocabulary_size"] == sidecar["vocabulary_size"]
    assert sidecar["sha256"] == hashlib.sha256((tmp_path / "tokens.bin").read_bytes()).hexdigest()
    assert json.loads((tmp_path / "tokens.json").read_text()) == sidecar
    assert "byte-level" in sidecar["tokenizer"]


def test_seed_decides_the_order(tmp_path, tiny):
    first, again = build(tmp_path, tiny)[0], build(tmp_path, tiny, "again")[0]
    other = build(tmp_path, tiny, "other", seed=2)[0]
    assert (first == again).all()
    assert (first != other).any()


def test_spoilt_cache_is_made_anew(tmp_path, tiny):
    first, _ = build(tmp_path, tiny)
    for path in (tmp_path / "cache").rglob("*"):
        if path.is_file():
            path.write_bytes(b"spoilt")
    assert (build(tmp_path, tiny, "again")[0] == first).all()


def test_short_text_is_repeated_and_the_record_says_so(tmp_path, tiny):
    (tmp_path / "short.txt").write_text("A short text.\n\nAnd another paragraph of it.\n")
    _, sidecar = build(tmp_path, tiny, data={"dataset": str(tmp_path / "short.txt")})
    assert sidecar["epochs"] > 2


def test_text_and_both_kinds_of_json_lines(tmp_path, tiny):
    (tmp_path / "a.txt").write_text("One.\n\nTwo.\n")
    (tmp_path / "b.jsonl").write_text('{"text": "One."}\n{"text": "Two."}\n')
    (tmp_path / "c.jsonl").write_text('{"question": "1 + 1?", "choices": ["1", "2"], "answer": 1}\n' * 2)
    for name in ("a.txt", "b.jsonl", "c.jsonl"):
        _, sidecar = build(tmp_path, tiny, name, data={"dataset": str(tmp_path / name)})
        assert sidecar["documents"] == 2


BAD = {
    "empty.txt": (b"", "empty"),
    "latin.txt": ("naïve".encode("latin-1"), "UTF-8"),
    "broken.jsonl": (b'{"text": "fine"}\n{"text": \n', r"broken\.jsonl:2"),
    "list.jsonl": (b"[1]\n", r"list\.jsonl:1.*JSON object"),
    "nothing.jsonl": (b'{"body": "x"}\n', r"nothing\.jsonl:1: question: required"),
    "answer.jsonl": (b'{"question": "?", "choices": ["a", "b"], "answer": 7}\n', r"answer\.jsonl:1: answer"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_told_with_line_and_field(tmp_path, tiny, name):
    content, words = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"(?s){words}"):
        build(tmp_path, tiny, data={"dataset": str(tmp_path / name)})


def test_missing_file(tmp_path, tiny):
    with pytest.raises(UserError, match=r"missing\.txt"):
        build(tmp_path, tiny, data={"dataset": str(tmp_path / "missing.txt")})


def test_mmlu_out_of_reach_names_both_ways_out(tmp_path, tiny):
    with pytest.raises(UserError, match=r"(?s)dataset: bundled.*\.jsonl.*HF_HOME"):
        build(tmp_path, tiny, data={"dataset": "mmlu"})


def test_own_tokenizer_out_of_reach_is_an_error_and_auto_is_recorded(tmp_path, tiny):
    model = {**tiny, "name": "facebook/opt-125m", "source": "bundled"}
    with pytest.raises(UserError, match="tokenizer"):
        build(tmp_path, model, data={"tokenizer": "own"})
    _, sidecar = build(tmp_path, model, data={"tokenizer": "auto"})
    assert "byte-level" in sidecar["tokenizer"]


def test_blocks_longer_than_the_model_takes(tmp_path, tiny):
    with pytest.raises(UserError, match="sequence_length"):
        build(tmp_path, tiny, sequence_length=10**6)
