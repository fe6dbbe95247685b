"""One optimiser step, made fast: autocast, fused AdamW, a chunked loss, micro-batches that fit, and no needless waiting."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from .accelerator import Accelerator
from .errors import WorkerError
from .loss import CUDA_CHUNK_BYTES, CUDA_ROWS_BYTES, ChunkedHead, logits_to_gradient_fusible, plain_loss
from .memory import is_out_of_memory
from .model import LoadedModel, plain_head
from .spec import TrainingSpec

Note = Callable[[str], None]


class Engine:
    """A model with its optimiser. `step` trains on one whole batch, in as many micro-batches as memory asks for."""

    def __init__(
        self, loaded: LoadedModel, spec: TrainingSpec, accelerator: Accelerator, precision: str, note: Note
    ) -> None:
        self.model, self.spec, self.accelerator, self.precision, self.note = (
            loaded.model,
            spec,
            accelerator,
            precision,
            note,
        )
        self.micro_batch_size = spec.micro_batch_size or spec.batch_size
        self.out_of_memory: list[dict[str, Any]] = []
        if spec.activation_checkpointing:
            self.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self.head = self._make_head()
        self.body: Callable[..., Any] = self.model if self.head is None else self.model.base_model
        self.compiled, self._proven = False, False
        if wants_compile(spec.compile, accelerator):
            self._compile()
        self.optimizer = make_optimizer(self.model, spec.learning_rate, spec.weight_decay)
        self._allocate_state(loaded.parameters)

    @property
    def accumulation_steps(self) -> int:
        return -(-self.spec.batch_size // self.micro_batch_size)

    def warm_up(self, batches: Iterator[Tensor]) -> Iterator[Tensor]:
        """Train for the warm-up steps, halving the micro-batch until it fits; yields each step's loss.

        The last step was always made with the micro-batch that the window will use.
        """
        steps = 0
        while steps < self.spec.warmup_steps:
            batch = next(batches)
            while (loss := self._try_step(batch)) is None:
                pass
            steps += 1
            yield loss

    def step(self, batch: Tensor) -> Tensor:
        """One optimiser step on `batch` (batch_size, sequence) int32. Returns the mean loss, on the device, not waited for."""
        if self.accelerator.kind == "cuda":
            batch = batch.pin_memory()
        ids = batch.to(self.accelerator.device, non_blocking=True).long()
        # Every micro-batch is weighted by its share of all predicted tokens, so that their sizes may differ.
        scale = 1.0 / (ids.shape[0] * (ids.shape[1] - 1))
        weight = self.head.cast_weight() if self.head else None
        loss = torch.zeros((), device=ids.device)
        for part in ids.split(self.micro_batch_size):
            loss += self._forward_backward(part, scale, weight)
        if self.spec.max_grad_norm is not None:
            clip_in_step(self.optimizer, self.spec.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss * scale

    def _forward_backward(self, ids: Tensor, scale: float, weight: Tensor | None) -> Tensor:
        """Add the gradients of scale × Σ loss over `ids` (sequences, length); returns Σ loss."""
        targets = ids[:, 1:].flatten()
        with self._autocast():
            output = self.body(input_ids=ids)
        if self.head is None or weight is None:
            loss = plain_loss(output.logits[:, :-1], targets)
            (loss * scale).backward()
            return loss.detach()
        hidden = output.last_hidden_state
        loss, inner = self.head.loss_and_gradient(hidden.detach()[:, :-1].flatten(0, 1), targets, scale, weight)
        gradient = torch.zeros_like(hidden)  # the last position of a sequence predicts nothing
        gradient[:, :-1] = inner.view(ids.shape[0], ids.shape[1] - 1, -1)
        hidden.backward(gradient)
        return loss

    def _try_step(self, batch: Tensor) -> Tensor | None:
        """A step, or None where something was changed (a smaller micro-batch, no compilation) and it is to be tried again."""
        failure = None
        try:
            loss = self.step(batch)
            self.accelerator.synchronize()
            self._proven = True
            return loss
        except Exception as error:
            if not is_out_of_memory(error) and not (self.compiled and not self._proven):
                raise
            failure = error.with_traceback(None)  # its frames hold the tensors that are to be freed
            failure.__cause__ = failure.__context__ = None
        self.optimizer.zero_grad(set_to_none=True)
        gc.collect()
        self.accelerator.empty_cache()
        if is_out_of_memory(failure):
            self._halve(failure)
        else:
            self._give_up_compiling(failure)
        return None

    def _halve(self, error: BaseException) -> None:
        message = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        self.out_of_memory.append({"micro_batch_size": self.micro_batch_size, "message": message})
        if self.micro_batch_size == 1:
            way_out = "a shorter sequence_length or a smaller model"
            if not self.spec.activation_checkpointing:
                way_out = f"activation_checkpointing: true, {way_out}"
            raise WorkerError(
                "out_of_memory", f"not even a micro-batch of one sequence fits ({message}); try {way_out}"
            )
        self.micro_batch_size = (self.micro_batch_size + 1) // 2
        self.note(f"out of memory: going on with micro-batches of {self.micro_batch_size}")

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.accelerator.kind, dtype=torch.bfloat16)

    def _make_head(self) -> ChunkedHead | None:
        layer = plain_head(self.model)
        if layer is None:
            self.note("this model's head is not a plain linear layer: its loss is computed from whole logits")
            return None
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        head = ChunkedHead(layer.weight, layer.bias, dtype)
        embedding = self.model.get_input_embeddings()
        if self.accelerator.kind == "cpu" and self.spec.compile is not True and embedding.weight is layer.weight:
            # The head has made the dense gradient already: add the rows of the words in the batch to it, not a second one.
            embedding.sparse = True
        if self.accelerator.kind != "cpu":
            head.chunk_bytes, head.rows_bytes = CUDA_CHUNK_BYTES, CUDA_ROWS_BYTES
        return head

    def _compile(self) -> None:
        self.compiled, self._eager = True, (self.body, self.head)
        self.body = torch.compile(self.body, dynamic=False)
        if self.head is not None:
            turn = torch.compile(logits_to_gradient_fusible, dynamic=False)
            self.head = ChunkedHead(
                self.head.weight, self.head.bias, self.head.dtype, self.head.chunk_bytes, None, turn
            )

    def _give_up_compiling(self, error: BaseException) -> None:
        message = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
        if self.spec.compile != "auto":
            raise WorkerError(
                "model", f"training.compile: torch.compile failed ({message}); use compile: auto or false"
            )
        self.compiled = False
        self.body, self.head = self._eager
        self.note(f"torch.compile failed, going on without it ({message})")

    def _allocate_state(self, parameters: int) -> None:
        """Make AdamW's state before the first batch, so that the micro-batch is tried against all of it.

        A step with a learning rate of zero on zero gradients changes no weight.
        """
        try:
            for parameter in self.model.parameters():
                parameter.grad = torch.zeros_like(parameter)
            rates = [group["lr"] for group in self.optimizer.param_groups]
            for group in self.optimizer.param_groups:
                group["lr"] = 0.0
            self.optimizer.step()
            for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
                group["lr"] = rate
            for state in self.optimizer.state.values():
                state["step"].zero_()
            self.optimizer.zero_grad(set_to_none=True)
            self.accelerator.synchronize()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            message = (
                f"weights, gradients and AdamW's state of {parameters} parameters take {16 * parameters / 2**30:.1f} GiB, "
                f"more than {self.accelerator.name()} has free; take a smaller model or a device with more memory"
            )
            raise WorkerError("out_of_memory", message) from error


def make_optimizer(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW, fused where torch has it for the device. Biases and normalisation weights (vectors) do not decay."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in parameters if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    try:
        return torch.optim.AdamW(groups, lr=learning_rate, fused=True)
    except RuntimeError:
        return torch.optim.AdamW(groups, lr=learning_rate)


def clip_in_step(optimizer: torch.optim.AdamW, max_norm: float) -> None:
    """Clip the gradients to a total norm of `max_norm`, as `clip_grad_norm_` does.

    A fused optimiser divides by `grad_scale` as it reads the gradients, which saves a pass over all of them.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    if not optimizer.defaults["fused"]:
        nn.utils.clip_grad_norm_(parameters, max_norm)
        return
    norm = nn.utils.get_total_norm([p.grad for p in parameters])
    optimizer.grad_scale = ((norm + 1e-6) / max_norm).clamp(min=1.0)  # type: ignore[attr-defined]  # the fused step reads it


def wants_compile(wanted: str | bool, accelerator: Accelerator) -> bool:
    """`auto` compiles where it pays and can be done: on CUDA with a working Triton."""
    if wanted != "auto":
        return bool(wanted)
    if accelerator.kind != "cuda":
        return False
    try:
        from torch.utils._triton import has_triton

        return bool(has_triton())
    except Exception:  # whatever a broken Triton raises on import, the answer is no
        return False
