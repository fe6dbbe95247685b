"""The byte-level tokenizer, the model's own, and which of them is taken."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from edgecarbon.data import tokenizer as tokenizers
from edgecarbon.data.documents import Documents
from edgecarbon.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ["The cat sat on the mat.", "The dog sat on the log.", "Ein Käfer läuft über die Straße. 一只猫 🐈"] * 3
DOCUMENTS = Documents(TEXTS, "test", "a hash")
MODEL = {"name": "edgecarbon/tiny-opt", "source": "bundled", "vocabulary_size": 400}


def test_any_text_comes_back_unchanged(tmp_path):
    found = tokenizers.load_tokenizer("byte-level", MODEL, DOCUMENTS, tmp_path)
    unseen = ["", "zzz \t\n", "<|endoftext|>", "<|unused399|>", "привет\x07 🧮"]
    ids = found.encode(TEXTS + unseen)
    file = next((tmp_path / "tokenizers").iterdir())
    decoder = Tokenizer.from_file(str(file))
    assert [decoder.decode(line) for line in ids] == TEXTS + unseen
    assert found.separator_id not in {id for line in ids for id in line}
    assert decoder.get_vocab_size() == 400
    assert max(max(line, default=0) for line in ids) < 400


def test_vocabulary_is_used_before_it_is_padded(tmp_path):
    found = tokenizers.load_tokenizer("byte-level", MODEL, DOCUMENTS, tmp_path)
    assert len(found.encode(["The cat sat on the mat."])[0]) < 10


def test_training_gives_the_same_bytes_in_every_process():
    program = (
        "import sys, hashlib; from edgecarbon.data.tokenizer import _train_byte_level;"
        "lines = open(sys.argv[1], encoding='utf-8').read().split('\\n');"
        "print(hashlib.sha256(_train_byte_level(2000, lines).encode()).hexdigest())"
    )
    text = str(ROOT / "lib/edgecarbon/bundled/questions.jsonl")
    hashes = set()
    for threads, hash_seed in (("1", "1"), ("2", "2"), ("3", "3")):
        environment = os.environ | {"RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": hash_seed}
        environment["PYTHONPATH"] = str(ROOT / "lib")
        hashes.add(subprocess.check_output([sys.executable, "-c", program, text], env=environment, text=True))
    assert len(hashes) == 1


def test_too_small_a_vocabulary_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"at least 257.*256"):
        tokenizers.load_tokenizer("byte-level", {**MODEL, "vocabulary_size": 256}, DOCUMENTS, tmp_path)


def test_tiny_models_have_no_tokenizer_of_their_own(tmp_path):
    with pytest.raises(UserError, match=r"edgecarbon/tiny-opt has no tokenizer of its own.*byte-level"):
        tokenizers.load_tokenizer("own", MODEL, DOCUMENTS, tmp_path)
    assert tokenizers.load_tokenizer("auto", MODEL, DOCUMENTS, tmp_path).kind == "byte-level"


@pytest.fixture
def folder(tmp_path):
    """A model's folder with a tokenizer that transformers can load."""
    path = tmp_path / "model"
    path.mkdir()
    content = json.loads(tokenizers._train_byte_level(300, TEXTS))
    (path / "tokenizer.json").write_text(json.dumps(content))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": tokenizers.SEPARATOR}
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    (path / "config.json").write_text(json.dumps({"model_type": "opt", "vocab_size": 400}))
    return path


def local(folder):
    return {**MODEL, "name": str(folder), "source": "local"}


@pytest.mark.parametrize("choice", ["own", "auto"])
def test_own_tokenizer_from_the_models_folder(folder, choice):
    found = tokenizers.load_tokenizer(choice, local(folder), DOCUMENTS, folder)
    assert found.kind == "own"
    assert found.source == str(folder)
    assert found.encode(["The cat"]) == [Tokenizer.from_file(str(folder / "tokenizer.json")).encode("The cat").ids]
    of_the_file = tokenizers.load_tokenizer(choice, local(folder / "config.json"), DOCUMENTS, folder)
    assert of_the_file.fingerprint == found.fingerprint


def test_own_tokenizer_that_the_model_has_no_room_for(folder):
    with pytest.raises(UserError, match=r"ids up to 299.*only 280"):
        tokenizers.load_tokenizer("own", {**local(folder), "vocabulary_size": 280}, DOCUMENTS, folder)


def test_folder_without_a_tokenizer_is_not_taken_for_an_empty_one(folder):
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(UserError, match=r"data\.tokenizer: own"):
        tokenizers.load_tokenizer("own", local(folder), DOCUMENTS, folder)
    assert tokenizers.load_tokenizer("auto", local(folder), DOCUMENTS, folder).kind == "byte-level"


def test_another_document_set_or_vocabulary_is_another_tokenizer(tmp_path):
    first = tokenizers.load_tokenizer("byte-level", MODEL, DOCUMENTS, tmp_path).fingerprint
    others = [
        tokenizers.load_tokenizer("byte-level", MODEL, Documents(TEXTS, "test", "b hash"), tmp_path),
        tokenizers.load_tokenizer("byte-level", {**MODEL, "vocabulary_size": 500}, DOCUMENTS, tmp_path),
    ]
    assert len({first, *(other.fingerprint for other in others)}) == 3
