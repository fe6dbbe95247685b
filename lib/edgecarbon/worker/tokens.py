"""The token blocks: mapped from the file, checked once, and handed out in an order that the seed fixes."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator

import torch
from torch import Tensor

from .errors import WorkerError
from .spec import DataSpec


def open_blocks(data: DataSpec, vocabulary_size: int) -> Tensor:
    """The blocks as int32 (blocks, sequence_length), mapped from the file and not copied. Raises WorkerError(data)."""
    wanted_bytes = 4 * data.blocks * data.sequence_length
    try:
        found_bytes = data.path.stat().st_size
        if found_bytes != wanted_bytes:
            raise WorkerError(
                "data",
                f"{data.path.name}: expected {wanted_bytes} bytes, {data.blocks} blocks × {data.sequence_length} int32, "
                f"found {found_bytes}",
            )
        with data.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WorkerError("data", f"{data.path}: cannot be read: {error.strerror or error}") from error
    if digest != data.sha256:
        raise WorkerError(
            "data", f"{data.path.name}: its SHA-256 is {digest}, the spec says {data.sha256}: copy it again"
        )
    count = data.blocks * data.sequence_length
    blocks = torch.from_file(str(data.path), shared=False, size=count, dtype=torch.int32)
    if sys.byteorder == "big":
        blocks = blocks.view(torch.uint8).view(-1, 4).flip(1).contiguous().view(torch.int32).view(-1)
    low, high = int(blocks.min()), int(blocks.max())
    if low < 0 or high >= vocabulary_size:
        raise WorkerError(
            "data", f"{data.path.name}: holds ids {low} to {high}, the model's vocabulary is 0 to {vocabulary_size - 1}"
        )
    return blocks.view(data.blocks, data.sequence_length)


def batches(blocks: Tensor, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Endless batches (batch_size, sequence_length), int32: every block once in a shuffled order, then all again anew."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.int64)
    while True:
        while len(order) < batch_size:
            order = torch.cat([order, torch.randperm(len(blocks), generator=generator)])
        yield blocks[order[:batch_size]]
        order = order[batch_size:]
