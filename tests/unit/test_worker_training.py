"""The training loop computes what plain Hugging Face training computes, in less memory."""

import copy

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from edgecarbon.worker import training
from edgecarbon.worker.accelerator import select
from edgecarbon.worker.attention import unpadded_causal_attention
from edgecarbon.worker.errors import WorkerError
from edgecarbon.worker.flops import find_peak, flops_per_step
from edgecarbon.worker.model import load
from edgecarbon.worker.spec import ModelSpec, Peak, TrainingSpec
from edgecarbon.worker.training import Engine

BATCH, SEQUENCE, VOCABULARY = 4, 24, 512
CONFIGS = {
    "opt": {"model_type": "opt", "vocab_size": VOCABULARY, "hidden_size": 32, "word_embed_proj_dim": 32,
            "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 64, "max_position_embeddings": 64,
            "dropout": 0.0},
    "opt, untied": {"model_type": "opt", "vocab_size": VOCABULARY, "hidden_size": 32, "word_embed_proj_dim": 32,
                    "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 64, "max_position_embeddings": 64,
                    "dropout": 0.0, "tie_word_embeddings": False},
    "gpt2": {"model_type": "gpt2", "vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64,
             "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "llama": {"model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 64,
              "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64},
}  # fmt: skip


def spec(**changes):
    return TrainingSpec(
        **{
            "batch_size": BATCH, "sequence_length": SEQUENCE, "steps": 3, "warmup_steps": 1, "learning_rate": 1e-3,
            "weight_decay": 0.0, "max_grad_norm": None, "precision": "fp32", "seed": 1, "micro_batch_size": None,
            "activation_checkpointing": False, "compile": False, "threads": None, **changes,
        }
    )  # fmt: skip


def engine_of(name, **changes):
    loaded = load(ModelSpec(name, dict(CONFIGS[name]), "random", None), torch.device("cpu"), SEQUENCE, 1)
    return Engine(loaded, spec(**changes), select("cpu"), "fp32", lambda note: None)


def batch():
    return torch.randint(VOCABULARY, (BATCH, SEQUENCE), dtype=torch.int32, generator=torch.Generator().manual_seed(3))


def after_one_step(name, **changes):
    """Loss of one step, and every parameter after it."""
    with unpadded_causal_attention():
        engine = engine_of(name, **changes)
        loss = engine.step(batch())
    return float(loss), {key: value.detach().clone() for key, value in engine.model.named_parameters()}


def plain_step(name):
    """The same step as anybody would write it: whole logits, the library's own loss, plain AdamW."""
    torch.manual_seed(1)
    config = dict(CONFIGS[name])
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(config.pop("model_type"), **config))
    reference = engine_of(name).model
    model.load_state_dict(copy.deepcopy(reference.state_dict()))
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    ids = batch().long()
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    optimizer.step()
    return float(loss), dict(model.named_parameters())


def assert_same(left, right, tolerance):
    assert left.keys() == right.keys()
    for key in left:
        # Adam divides by the gradient's own size: a gradient that is zero but for rounding moves either way.
        if "k_proj.bias" not in key and "c_attn.bias" not in key:
            torch.testing.assert_close(left[key], right[key], rtol=1e-4, atol=tolerance, msg=key)


@pytest.mark.parametrize("name", CONFIGS)
def test_step_equals_plain_training(name):
    loss, parameters = after_one_step(name)
    plain_loss, plain_parameters = plain_step(name)
    assert loss == pytest.approx(plain_loss, rel=1e-5)
    assert_same(parameters, plain_parameters, tolerance=2e-5)


@pytest.mark.parametrize("micro_batch_size", [1, 2, 3])
def test_micro_batches_make_the_same_step(micro_batch_size):
    """Also where they do not divide the batch: three and one, weighted by their tokens."""
    whole, parts = after_one_step("opt"), after_one_step("opt", micro_batch_size=micro_batch_size)
    assert parts[0] == pytest.approx(whole[0], rel=1e-5)
    assert_same(parts[1], whole[1], tolerance=2e-5)


def test_recomputed_activations_make_the_same_step():
    kept, recomputed = after_one_step("opt"), after_one_step("opt", activation_checkpointing=True)
    assert recomputed[0] == pytest.approx(kept[0], rel=1e-6)
    assert_same(recomputed[1], kept[1], tolerance=1e-6)


def test_clipping_is_that_of_the_whole_model():
    free, clipped = after_one_step("opt", max_grad_norm=None), after_one_step("opt", max_grad_norm=1e9)
    assert_same(free[1], clipped[1], tolerance=1e-7)


def test_loss_falls_on_a_repeated_batch():
    with unpadded_causal_attention():
        engine = engine_of("llama", learning_rate=3e-3)
        losses = [float(engine.step(batch())) for _ in range(20)]
    assert losses[-1] < losses[0] - 1.0


class TooBig:
    """A body that needs memory in proportion to its batch: above a size it asks the allocator for more than there is."""

    def __init__(self, body, largest):
        self.body, self.largest = body, largest

    def __call__(self, *arguments, **named):
        if named["input_ids"].shape[0] > self.largest:
            torch.empty(2**62, dtype=torch.uint8)  # the real allocator's real refusal
        return self.body(*arguments, **named)


def test_out_of_memory_halves_the_micro_batch_and_is_recorded():
    with unpadded_causal_attention():
        engine = engine_of("opt")
        engine.body = TooBig(engine.body, largest=1)
        losses = list(engine.warm_up(iter([batch()])))
    assert engine.micro_batch_size == 1
    assert [event["micro_batch_size"] for event in engine.out_of_memory] == [4, 2]
    assert engine.accumulation_steps == 4
    assert float(losses[0]) == pytest.approx(after_one_step("opt")[0], rel=1e-5)


def test_nothing_fits():
    with unpadded_causal_attention():
        engine = engine_of("opt")
        engine.body = TooBig(engine.body, largest=0)
        with pytest.raises(WorkerError, match="not even a micro-batch of one") as caught:
            list(engine.warm_up(iter([batch()])))
    assert caught.value.kind == "out_of_memory"


def test_flops_of_the_published_setting():
    """6ND at batch 16 × 512: 6.156e12 for OPT-125m, 6.467e13 for OPT-1.3B."""
    assert flops_per_step(125_239_296, 16, 512) == pytest.approx(6.156e12, rel=1e-3)
    assert flops_per_step(1_315_758_080, 16, 512) == pytest.approx(6.467e13, rel=1e-3)


def test_peak_is_given_or_measured_and_says_which():
    given = find_peak(select("cpu"), "fp32", Peak(1.5, "fp32", "data sheet"))
    assert (given.flops_per_second, given.source) == (1.5e12, "data sheet")
    measured = find_peak(select("cpu"), "fp32", None)
    assert measured.flops_per_second > 1e8
    assert "measured" in measured.source


def test_compile_is_left_alone_on_a_cpu():
    assert training.wants_compile("auto", select("cpu")) is False
    assert training.wants_compile(True, select("cpu")) is True
