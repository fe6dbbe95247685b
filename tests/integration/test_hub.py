"""Models, tokenizers and MMLU through the real Hugging Face clients: from a hub on this machine, from the cache, and
with no hub in reach."""

import json
import os
import socket
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from edgecarbon import models
from local_hub import COMMIT, local_hub

ROOT = Path(__file__).resolve().parents[2]
OUT_OF_REACH = "http://127.0.0.1:9"  # the discard port: nothing listens

# Everything that asks the hub, in one process: the clients take seconds to import, and read HF_ENDPOINT only then.
CLIENT = """
import json, sys, time
from pathlib import Path
from edgecarbon.data import build_tokens
from edgecarbon.errors import UserError
from edgecarbon.models import resolve_model

def attempt(call, *arguments):
    start = time.monotonic()
    try:
        value = call(*arguments)
    except UserError as error:
        value = str(error)
    return value, time.monotonic() - start

def tokens(model, **data):
    settings = {"data": data, "sequence_length": 16, "blocks": 4, "seed": 1, "revision": None}
    return build_tokens(settings, model, Path("tokens.bin"), Path("cache"))[1]

resolve_model("edgecarbon/tiny-opt")  # imports everything, so that the seconds below are the hub's
found, seconds = attempt(resolve_model, "lab/opt")
model = found if isinstance(found, dict) else resolve_model("edgecarbon/tiny-opt") | {"name": "lab/opt"}
print(json.dumps({
    "model": found,
    "revision": attempt(resolve_model, "lab/opt", "v2")[0],
    "misspelt": attempt(resolve_model, "facebook/opt-125")[0],
    "own": attempt(lambda: tokens(model, tokenizer="own"))[0],
    "auto": attempt(lambda: tokens(model))[0],
    "mmlu": attempt(lambda: tokens(model, dataset="mmlu", tokenizer="byte-level"))[0],
    "seconds": seconds,
}))
"""


@pytest.fixture(scope="module")
def hub_files(tmp_path_factory):
    """A model with a tokenizer in the files that OPT has, and a small data set under MMLU's name."""
    folder = tmp_path_factory.mktemp("hub")
    model = folder / "lab/opt"
    model.mkdir(parents=True)
    bundled = resources.files("edgecarbon") / "bundled"
    (model / "config.json").write_text((bundled / "models/edgecarbon--tiny-opt.json").read_text("utf-8"))
    from tokenizers import pre_tokenizers

    entries = ["<s>", "<pad>", "</s>", "<unk>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "th", "the"]
    (model / "vocab.json").write_text(json.dumps({entry: id for id, entry in enumerate(entries)}))
    (model / "merges.txt").write_text("#version: 0.2\nt h\nth e\n")
    special = {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"}
    settings = {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, **special}
    (model / "tokenizer_config.json").write_text(json.dumps(settings))

    questions = folder / "datasets/cais/mmlu"
    (questions / "all").mkdir(parents=True)
    table = pyarrow.table(
        {
            "question": [f"What is {number} plus {number}?" for number in range(40)],
            "subject": ["sums"] * 40,
            "choices": [[str(2 * number), "none", "all", "both"] for number in range(40)],
            "answer": pyarrow.array([0] * 40, pyarrow.int64()),
        }
    )
    pyarrow.parquet.write_table(table, questions / "all/test-00000-of-00001.parquet")
    description = {"configs": [{"config_name": "all", "data_files": [{"split": "test", "path": "all/test-*"}]}]}
    (questions / "README.md").write_text(f"---\n{json.dumps(description)}\n---\n")
    return folder


def ask(folder, endpoint, home):
    folder.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "PYTHONPATH": str(ROOT / "lib"),
        "NO_PROXY": "127.0.0.1",
    }
    run = subprocess.run(
        [sys.executable, "-c", CLIENT], cwd=folder, env=environment, capture_output=True, text=True, timeout=240
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def answers(hub_files, tmp_path_factory):
    """What the same questions bring with a hub, then from the cache it left, then with neither."""
    folder = tmp_path_factory.mktemp("answers")
    with local_hub(hub_files) as endpoint:
        online = ask(folder / "online", endpoint, folder / "home")
    return {
        "online": online,
        "cached": ask(folder / "cached", OUT_OF_REACH, folder / "home"),
        "alone": ask(folder / "alone", OUT_OF_REACH, folder / "empty home"),
    }


@pytest.mark.parametrize("source", ["online", "cached"])
def test_hub_and_cache_give_model_tokenizer_and_mmlu(answers, source):
    found = answers[source]
    assert found["model"]["source"] == "hub"
    assert found["model"]["parameters"] == models.resolve_model("edgecarbon/tiny-opt")["parameters"]
    assert "_name_or_path" not in found["model"]["config"]
    for choice in ("own", "auto"):
        assert isinstance(found[choice], dict), found[choice]
        assert found[choice]["tokenizer"] == "own"
        assert found[choice]["tokenizer_source"] == "lab/opt"
    assert found["mmlu"]["documents"] == 40
    assert found["mmlu"]["dataset_source"] == f"cais/mmlu@{COMMIT}"
    assert found["mmlu"]["split"] == "test"


def test_hub_names_the_nearest_bundled_model(answers):
    assert "did you mean 'facebook/opt-125m'" in answers["online"]["misspelt"]
    assert "cannot be reached" not in answers["online"]["misspelt"]
    assert answers["online"]["revision"]["source"] == "hub"


def test_without_hub_every_answer_names_the_ways_out_and_nothing_falls_back_silently(answers):
    alone = answers["alone"]
    for question in ("model", "revision", "misspelt"):
        assert "cannot be reached" in alone[question]
        assert "HF_HOME" in alone[question]
    assert "`tokenizer: auto` or `byte-level`" in alone["own"]
    assert "`dataset: bundled`" in alone["mmlu"]
    assert ".jsonl" in alone["mmlu"]
    assert alone["auto"]["tokenizer"] == "byte-level"
    assert "lab/opt's own tokenizer could not be had" in alone["auto"]["tokenizer_source"]


def test_without_hub_the_answer_comes_soon(answers):
    assert answers["alone"]["seconds"] < 5


def test_hub_that_swallows_connections_is_given_up_after_three_seconds():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        # Once the queue of a server that never accepts is full, further connections get no answer at all.
        waiting = [socket.socket() for _ in range(3)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        start = time.monotonic()
        assert not models._accepts_connection("http://{}:{}".format(*server.getsockname()))
        assert 1 < time.monotonic() - start < models.PROBE_TIMEOUT_S + 5
        for client in waiting:
            client.close()


def test_hub_behind_a_proxy_is_asked_through_it(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("https_proxy", "http://{}:{}".format(*proxy.getsockname()))
        monkeypatch.setenv("no_proxy", "")
        assert models._accepts_connection("https://hub.invalid")
        monkeypatch.setenv("no_proxy", "hub.invalid")
        assert not models._accepts_connection("https://hub.invalid")
