"""What a workload may say."""

import math

import pytest

from edgecarbon.config.base import validate
from edgecarbon.config.workload import Data, Workload
from edgecarbon.errors import UserError

TRAINING_FIELDS = {
    *("batch_size", "sequence_length", "steps", "warmup_steps", "learning_rate", "weight_decay", "max_grad_norm"),
    *("precision", "seed", "micro_batch_size", "activation_checkpointing", "compile", "threads"),
}


def test_training_section_is_exactly_the_workers():
    assert set(Workload().training()) == TRAINING_FIELDS


def test_defaults_are_the_published_setting():
    workload = Workload()
    assert (workload.model, workload.batch_size, workload.sequence_length) == ("facebook/opt-125m", 16, 512)
    assert workload.blocks == (100 + 5) * 16
    assert workload.data.file is None


def test_every_field_says_what_it_means():
    for section in (Data, Workload):
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("batch_size", value) for value in (0, -1, 1.5, True, "16")),
        *(("sequence_length", value) for value in (1, 0)),
        *(("steps", value) for value in (0, None)),
        ("warmup_steps", -1),
        *(("learning_rate", value) for value in (0, -1e-4, math.nan, math.inf, "fast")),
        *(("weight_decay", value) for value in (-0.1, math.inf)),
        *(("max_grad_norm", value) for value in (0, -1.0)),
        *(("seed", value) for value in (-1, 2**32)),
        ("precision", "fp16"),
        ("compile", "maybe"),
        ("threads", 0),
        ("micro_batch_size", 17),
        ("model", ""),
        ("model", "facebook/opt 125m"),
        ("weights", "trained"),
        ("data", {"dataset": "texts.csv"}),
        ("data", {"split": "train"}),
        ("data", {"tokenizer": "bpe"}),
        ("batchsize", 4),
    ],
)
def test_wrong_value_is_told_with_its_field(field, value):
    with pytest.raises(UserError) as caught:
        validate(Workload, {field: value}, "config.yaml")
    assert str(caught.value).startswith("config.yaml: ")
    assert field in str(caught.value)


def test_misspelt_data_set_is_told_the_nearest():
    with pytest.raises(UserError, match=r"data\.dataset.*did you mean 'bundled'"):
        validate(Workload, {"data": {"dataset": "bundeld"}}, "config.yaml")


@pytest.mark.parametrize("name", ["texts/a.txt", "b.jsonl"])
def test_local_file_is_a_data_set(name):
    assert str(Data(dataset=name).file) == name


def test_micro_batch_may_be_the_whole_batch():
    assert validate(Workload, {"batch_size": 4, "micro_batch_size": 4, "compile": False}, "x").micro_batch_size == 4
