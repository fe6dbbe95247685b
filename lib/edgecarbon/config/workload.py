"""What is trained: the `workloads` section of an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from edgecarbon.config.base import Section, nearest

Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, StringConstraints(min_length=1, pattern=r"^\S+$")]

NAMED_DATASETS = ["bundled", "mmlu"]
FILE_SUFFIXES = (".txt", ".jsonl")


class Data(Section):
    """The text that a model is trained on, and how it becomes tokens."""

    dataset: str = "bundled"
    """`bundled` (questions in MMLU's format that ship with edgecarbon), `mmlu` (cais/mmlu from the Hugging Face hub),
    or the path of a .txt or .jsonl file. A JSONL line has `text`, or MMLU's `question`, `choices` and `answer`."""

    split: Literal["test", "validation", "dev", "auxiliary_train"] = "test"
    """Which split of MMLU; the other data sets have none and ignore it."""

    tokenizer: Literal["auto", "own", "byte-level"] = "auto"
    """`own`: the model's own tokenizer, an error where it cannot be had. `byte-level`: one trained on the documents, of
    the model's vocabulary size. `auto`: the model's own where it can be had, else byte-level; the record says which."""

    @field_validator("dataset")
    @classmethod
    def _known_dataset(cls, dataset: str) -> str:
        if dataset in NAMED_DATASETS or dataset.endswith(FILE_SUFFIXES):
            return dataset
        hint = nearest(dataset, NAMED_DATASETS)
        raise ValueError(f"expected 'bundled', 'mmlu', or the path of a .txt or .jsonl file; {hint}")

    @property
    def file(self) -> Path | None:
        """The local file that the documents come from; None for a named data set."""
        return None if self.dataset in NAMED_DATASETS else Path(self.dataset).expanduser()


class Workload(Section):
    """One training run: the model, its optimiser and its data. The defaults are the published setting."""

    model: Name = "facebook/opt-125m"
    """A causal language model: a bundled architecture, a folder or JSON file with a transformers config, or a name on
    the Hugging Face hub."""

    revision: Name | None = None
    """Commit, tag or branch on the hub; null takes the bundled architecture, else the hub's main branch."""

    weights: Literal["random", "pretrained"] = "random"
    """`random` initialises the exact architecture from the seed and needs no download (energy and time do not depend on
    the values); `pretrained` loads the weights from the hub or from the model's folder."""

    batch_size: Count = 16
    """Sequences a step: the effective batch, whatever micro-batch fits the device."""

    sequence_length: Annotated[int, Field(ge=2)] = 512
    """Tokens a sequence."""

    steps: Count = 100
    """Optimiser steps inside the measured window."""

    warmup_steps: Count = 5
    """Optimiser steps before the measured window opens; at least one, in which the micro-batch that fits is found."""

    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    """AdamW's step size (dimensionless, constant over the run)."""

    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    """AdamW's decoupled weight decay (dimensionless)."""

    max_grad_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """Gradients are scaled down to this L2 norm; null leaves them as they are."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the matrix products; `auto` takes bf16 autocast where the hardware has it, else fp32."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    """Seed of the weights, of dropout and of the order of the documents."""

    micro_batch_size: Count | None = None
    """Sequences held on the device at once; null finds the largest that fits by trying."""

    activation_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory for about a third more compute."""

    compile: Literal["auto"] | bool = "auto"
    """Whether to run the model through torch.compile; `auto` does so where it is known to pay."""

    threads: Count | None = None
    """CPU threads of the training process; null leaves the choice to torch."""

    data: Data = Data()
    """The text that is trained on."""

    @model_validator(mode="after")
    def _micro_batch_fits_batch(self) -> Workload:
        if self.micro_batch_size is not None and self.micro_batch_size > self.batch_size:
            raise ValueError(
                f"micro_batch_size {self.micro_batch_size} is larger than batch_size {self.batch_size}; "
                "give at most the batch size, or null to find what fits"
            )
        return self

    @property
    def blocks(self) -> int:
        """Sequences that one run reads, warm-up included, so that none is read twice."""
        return (self.warmup_steps + self.steps) * self.batch_size

    def training(self) -> dict[str, Any]:
        """The `training` section of a worker's spec, field for field."""
        return self.model_dump(exclude={"model", "revision", "weights", "data"})
