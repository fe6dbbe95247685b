"""The model: any Hugging Face causal language model, its weights random from the seed or from the hub."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, initialization

from .errors import WorkerError
from .memory import is_out_of_memory
from .spec import ModelSpec


@dataclass
class LoadedModel:
    """A model in training mode, in fp32, on its device. `attention` is what it uses: `sdpa` or `eager`."""

    model: Any
    attention: str
    parameters: int
    vocabulary_size: int


def load(spec: ModelSpec, device: torch.device, sequence_length: int, seed: int) -> LoadedModel:
    """Build or fetch the model. Tied parameters count once. Raises WorkerError(model or out_of_memory)."""
    config = make_config(spec.config)
    try:
        model, attention = _load(spec, config, device, seed)
    except WorkerError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise WorkerError(
                "out_of_memory", f"{spec.name}: its weights do not fit on {device}: {_first(error)}"
            ) from error
        raise WorkerError("model", f"{spec.name}: cannot be built from model.config: {_first(error)}") from error
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if isinstance(limit, int) and 0 < limit < sequence_length:
        raise WorkerError(
            "model", f"{spec.name}: takes sequences of at most {limit}, training.sequence_length is {sequence_length}"
        )
    parameters = sum(parameter.numel() for parameter in model.parameters())
    model.config.get_text_config().use_cache = False  # keys and values are kept for generation only
    model.train()
    return LoadedModel(model, attention, parameters, model.get_input_embeddings().num_embeddings)


def make_config(config: dict[str, Any]) -> Any:
    """A transformers config from its dictionary form. Raises WorkerError(model)."""
    rest = {
        key: value
        for key, value in config.items()
        if key not in ("model_type", "transformers_version", "dtype", "torch_dtype")
    }
    try:
        return AutoConfig.for_model(config["model_type"], **rest)
    except Exception as error:
        raise WorkerError("model", f"model.config: {_first(error)}") from error


def _load(spec: ModelSpec, config: Any, device: torch.device, seed: int) -> tuple[Any, str]:
    for attention in ("sdpa", "eager"):
        try:
            if spec.weights == "pretrained":
                return fetch(spec, attention).to(device), attention
            return build_random(config, device, seed, attention), attention
        except (ValueError, ImportError) as error:
            # transformers refuses SDPA for the few models that cannot do it; everything else is a true failure.
            if attention == "eager" or "attention" not in str(error).lower():
                raise
    raise AssertionError("unreachable")


def build_random(config: Any, device: torch.device, seed: int, attention: str) -> Any:
    """Weights from the model's own initialisation under `seed`, made once and in place on the device.

    torch's layers would first fill themselves and transformers then fill them again; the first is left out.
    """
    torch.manual_seed(seed)
    with torch.device(device):
        with initialization.no_init_weights():
            model = AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=torch.float32)
        model.init_weights()
    return model


def fetch(spec: ModelSpec, attention: str) -> Any:
    """Pretrained weights from the hub or its cache. Raises WorkerError(model) naming both ways out."""
    try:
        return AutoModelForCausalLM.from_pretrained(
            spec.name, revision=spec.revision, attn_implementation=attention, dtype=torch.float32
        )
    except OSError as error:
        raise WorkerError(
            "model",
            f"{spec.name}: its pretrained weights cannot be had here ({_first(error)}). Either set weights: random, or warm "
            f"the cache on this device while it is online: hf download {spec.name}",
        ) from error


def _first(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def plain_head(model: Any) -> nn.Linear | None:
    """The output layer, if the model's logits are just that layer on its last hidden state, as its own forward shows.

    Some models scale or cap their logits, which hardly shows on the small logits of random weights: so one pass runs with
    the layer's output replaced by large known values, which must come out unchanged. Other models keep their own way.
    """
    head, base = model.get_output_embeddings(), model.base_model
    if type(head) is not nn.Linear or base is model:
        return None
    ids = torch.arange(8, device=head.weight.device).unsqueeze(0) % head.out_features
    known = torch.linspace(-300.0, 300.0, ids.numel() * head.out_features, device=ids.device).view(1, 8, -1)
    inputs: list[torch.Tensor] = []

    def replace(_module: nn.Module, arguments: tuple[torch.Tensor, ...], _output: torch.Tensor) -> torch.Tensor:
        inputs.append(arguments[0])
        return known

    training, handle = model.training, head.register_forward_hook(replace)
    model.eval()
    try:
        with torch.no_grad():
            logits = model(input_ids=ids).logits
            hidden = base(input_ids=ids).last_hidden_state
            plain = torch.equal(logits, known) and len(inputs) == 1
            return head if plain and torch.allclose(inputs[0], hidden, rtol=1e-3, atol=1e-4) else None
    except (AttributeError, TypeError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        return None
    finally:
        handle.remove()
        model.train(training)
