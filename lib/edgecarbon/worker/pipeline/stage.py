"""One stage of a Hugging Face decoder: a run of its layers, with the embedding before the first and the head after the last.

The model's own code runs each stage. It is built without storage, what the stage does not own is taken out, and its forward
then starts from hidden states instead of words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel, initialization

from ..errors import WorkerError
from ..model import fetch, make_config
from ..spec import ModelSpec


@dataclass(frozen=True)
class Family:
    """Where a family of models keeps its parts: names relative to `base`, the module that runs the layers."""

    base: str
    embedding: str
    layers: str
    positions: str | None
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


_LLAMA = Family("model", "embed_tokens", "layers", None, after=("norm",))
FAMILIES = {
    "opt": Family(
        "model.decoder", "embed_tokens", "layers", "embed_positions", ("project_in",), ("final_layer_norm", "project_out")
    ),
    "gpt2": Family("transformer", "wte", "h", "wpe", ("drop",), ("ln_f",)),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
}  # fmt: skip


class _NoPositions(nn.Module):
    """In the place of the position embedding after the first stage: its hidden states know their positions already."""

    def forward(self, *_arguments: Any, **_more: Any) -> Tensor:
        return torch.zeros(1, 1, 1)


@dataclass
class Stage:
    """A stage, ready to train. Hidden states are (sequences, length, width).

    Attributes:
        base: the module that runs the layers.
        embedding: the first stage's input embedding, else None.
        head: the last stage's output layer, else None.
        tied: this stage's copy of the weight that embedding and head share, on the stages that have it; None where the
            model ties none, or where both are here.
        model: everything that this stage owns.
        width: of the hidden states.
    """

    base: Any
    embedding: nn.Module | None
    head: nn.Linear | None
    tied: nn.Parameter | None
    model: Any
    width: int
    layers: int
    parameters: int
    vocabulary_size: int

    def forward(self, inputs: Tensor) -> Tensor:
        """The last hidden state of this stage, from word ids (first stage, int64) or from hidden states."""
        name = "input_ids" if self.embedding is not None else "inputs_embeds"
        hidden: Tensor = self.base(**{name: inputs}, use_cache=False).last_hidden_state
        return hidden


def build_stage(spec: ModelSpec, layers: range, device: torch.device, seed: int) -> Stage:
    """Build the stage that owns `layers` of the model, with the very weights that the whole model would have.

    Random weights are made on the CPU, layer after layer in the model's own order, and what is not this stage's is dropped
    at once: no device holds more than its stage and one layer, and devices of different kinds agree.

    Raises:
        WorkerError: model; a family that cannot be cut.
    """
    config = make_config(spec.config)
    family = FAMILIES.get(config.model_type)
    if family is None:
        raise WorkerError(
            "model", f"{spec.name}: models of type {config.model_type} cannot be cut into stages yet; {', '.join(FAMILIES)} can"
        )  # fmt: skip
    if spec.weights == "pretrained":
        model = fetch(spec, "sdpa")
    else:
        with torch.device("meta"), initialization.no_init_weights():
            model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", dtype=torch.float32)
    base = model.get_submodule(family.base)
    total = len(base.get_submodule(family.layers))
    first, last = layers.start == 0, layers.stop == total
    owned = _owned(model, base, family, layers, first, last)
    if spec.weights != "pretrained":
        _initialise(model, owned, base.get_submodule(family.layers), seed)
    embedding, head = base.get_submodule(family.embedding), model.get_output_embeddings()
    tied = bool(config.get_text_config().tie_word_embeddings)
    if tied and first and last:
        head.weight = embedding.weight
    elif tied and last and spec.weights != "pretrained":
        head.weight = nn.Parameter(embedding.weight.detach().clone())
    _take_out(model, base, family, layers, first, last)
    model.to(device).train()
    model.config.get_text_config().use_cache = False
    shared = None
    if tied and first != last:
        shared = embedding.weight if first else head.weight
    return Stage(
        base=base,
        embedding=embedding if first else None,
        head=head if last else None,
        tied=shared,
        model=model,
        width=config.get_text_config().hidden_size,
        layers=len(layers),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        vocabulary_size=config.get_text_config().vocab_size,
    )


def _owned(model: Any, base: Any, family: Family, layers: range, first: bool, last: bool) -> set[nn.Module]:
    """Every module whose weights this stage needs, to keep or, of a tied head, to copy."""
    all_layers = base.get_submodule(family.layers)
    roots: list[nn.Module] = [all_layers[index] for index in layers]
    ends = [family.embedding, family.positions, *family.before] if first else []
    ends += list(family.after) if last else []
    roots += [part for name in ends if name and (part := getattr(base, name, None)) is not None]
    if last:
        tied = model.config.get_text_config().tie_word_embeddings
        roots.append(base.get_submodule(family.embedding) if tied else model.get_output_embeddings())
    inner = set(all_layers.modules()) | {module for root in roots for module in root.modules()}
    # What is neither a layer nor an end, such as Llama's rotary tables, is small and every stage's.
    ends_of_all = {family.embedding, family.positions, *family.before, *family.after}
    others = [child for name, child in base.named_children() if name != family.layers and name not in ends_of_all]
    return {module for root in roots for module in root.modules()} | {
        module for child in others for module in child.modules() if module not in inner
    }


@torch.no_grad()
def _initialise(model: Any, owned: set[nn.Module], layers: nn.ModuleList, seed: int) -> None:
    """Draw all of the model's weights in its own order, and keep those of `owned`."""
    torch.manual_seed(seed)
    inside = {module for layer in layers for module in layer.modules()} - set(layers)

    def keeping(original: Any) -> Any:
        def initialise(module: nn.Module) -> None:
            _make_room(module)
            original(module)
            if module not in inside:  # a layer may draw anew what its parts have drawn: it goes as a whole
                for part in module.modules() if module in set(layers) else (module,):
                    if part not in owned:
                        part.to_empty(device="meta", recurse=False)

        return initialise

    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            object.__setattr__(module, "_init_weights", keeping(module._init_weights))
    model.initialize_weights()


def _make_room(module: nn.Module) -> None:
    if any(tensor.is_meta for tensor in _own_tensors(module)):
        module.to_empty(device="cpu", recurse=False)


def _own_tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters(recurse=False)
    yield from module.buffers(recurse=False)


def _take_out(model: Any, base: Any, family: Family, layers: range, first: bool, last: bool) -> None:
    """Leave only this stage's parts in the model, so that its own forward runs them and nothing else."""
    all_layers = base.get_submodule(family.layers)
    setattr(base, family.layers, nn.ModuleList([all_layers[index] for index in layers]))
    if not first:
        setattr(base, family.embedding, None)
        if family.positions:
            setattr(base, family.positions, _NoPositions())
        _silence(base, family.before)
    if not last:
        _silence(base, family.after)
        model.lm_head = None


def _silence(base: Any, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(base, name, None) is not None:
            # OPT asks whether it has projections; the others are called in any case.
            setattr(base, name, None if name.startswith("project_") else nn.Identity())
