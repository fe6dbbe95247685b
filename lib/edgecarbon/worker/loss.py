"""Next-token cross entropy over a large vocabulary, without ever holding the logits in fp32.

For OPT's 50,272 words a batch of 16 × 512 has 1.6 GB of fp32 logits, and the plain loss makes three such tensors. Here the
head runs in chunks of tokens: logits in the compute precision, turned in place into their gradient, used at once for the
gradients of the hidden states and of the head, then overwritten by the next chunk. The arithmetic is that of the plain
loss (softmax in fp32), with no product computed twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Logits of one chunk. Fewer chunks mean fewer passes over the head's gradient; more mean less memory.
CHUNK_BYTES = 256 << 20
CUDA_CHUNK_BYTES = 512 << 20
# Of these, what is in fp32 at one time: on a CPU little enough to stay in its caches.
ROWS_BYTES = 2 << 20
CUDA_ROWS_BYTES = 128 << 20


def logits_to_gradient(logits: Tensor, targets: Tensor, scale: float) -> Tensor:
    """Turn `logits` (rows, vocabulary) in place into the gradient of scale × Σ −log softmax(logits)[target].

    Returns the unscaled sum of the losses, fp32. `targets` is (rows,) int64.
    """
    log_probabilities = torch.log_softmax(logits, dim=-1, dtype=torch.float32)
    index = targets.unsqueeze(1)
    loss = -log_probabilities.gather(1, index).sum()
    gradient = log_probabilities.exp_()
    gradient.scatter_add_(1, index, torch.full_like(index, -1, dtype=torch.float32))
    logits.copy_(gradient.mul_(scale))
    return loss


def logits_to_gradient_fusible(logits: Tensor, targets: Tensor, scale: float) -> Tensor:
    """`logits_to_gradient` in a form that a compiler makes two passes over the logits of: no scatter, nothing in place."""
    log_probabilities = torch.log_softmax(logits.float(), dim=-1)
    index = targets.unsqueeze(1)
    hit = torch.arange(logits.shape[1], device=logits.device).unsqueeze(0) == index
    loss = -log_probabilities.gather(1, index).sum()
    logits.copy_((log_probabilities.exp() - hit.float()) * scale)
    return loss


@dataclass
class ChunkedHead:
    """The output layer (vocabulary, width) with its loss. `dtype` is the precision of the products.

    `turn` is `logits_to_gradient`, or a compiled form of it, which holds nothing in fp32 and so needs no `rows_bytes`.
    """

    weight: Tensor
    bias: Tensor | None
    dtype: torch.dtype
    chunk_bytes: int = CHUNK_BYTES
    rows_bytes: int | None = ROWS_BYTES
    turn: Callable[[Tensor, Tensor, float], Tensor] = logits_to_gradient

    def cast_weight(self) -> Tensor:
        """The weight in the compute precision: once a step, however many micro-batches follow."""
        return self.weight.detach().to(self.dtype)

    @torch.no_grad()
    def loss_and_gradient(self, hidden: Tensor, targets: Tensor, scale: float, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of `hidden` (tokens, width) against `targets` (tokens,), and its gradient in `hidden`.

        Adds the gradients of weight and bias to their `.grad`. Both gradients are those of scale × Σ loss; the loss
        returned is the plain sum, fp32. `weight` comes from `cast_weight`.
        """
        hidden = hidden.to(self.dtype)
        gradient = torch.empty_like(hidden)
        loss = torch.zeros((), device=hidden.device)
        tokens, vocabulary = hidden.shape[0], weight.shape[0]
        chunks = max(1, -(-tokens * vocabulary * weight.element_size() // self.chunk_bytes))
        size = -(-tokens // chunks)
        bias = None if self.bias is None else self.bias.detach().to(self.dtype)
        for start in range(0, tokens, size):
            part, part_targets = hidden[start : start + size], targets[start : start + size]
            logits = nn.functional.linear(part, weight, bias)
            rows = max(1, self.rows_bytes // (4 * vocabulary)) if self.rows_bytes else size
            for row in range(0, logits.shape[0], rows):
                loss += self.turn(logits[row : row + rows], part_targets[row : row + rows], scale)
            torch.mm(logits, weight, out=gradient[start : start + size])
            _add_product(self.weight, logits, part)
            if self.bias is not None:
                _add(self.bias, logits.sum(0, dtype=torch.float32))
        return loss, gradient


def _add_product(parameter: Tensor, logits: Tensor, hidden: Tensor) -> None:
    """parameter.grad += logitsᵀ · hidden, without a second fp32 copy of the gradient where one is enough."""
    if parameter.grad is not None and logits.dtype == parameter.dtype:
        parameter.grad.addmm_(logits.t(), hidden)
    else:
        _add(parameter, logits.t() @ hidden)


def _add(parameter: Tensor, gradient: Tensor) -> None:
    if parameter.grad is None:
        parameter.grad = gradient.to(parameter.dtype)
    else:
        parameter.grad.add_(gradient)


def plain_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """The same sum of losses from whole logits, for the models whose head is not a plain linear layer."""
    return nn.functional.cross_entropy(logits.flatten(0, -2).float(), targets.flatten(), reduction="sum")
