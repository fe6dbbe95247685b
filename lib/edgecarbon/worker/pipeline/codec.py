"""How a tensor travels: as it is, in half precision, or in 8 bits with a scale a row."""

from __future__ import annotations

import ctypes
from typing import Literal, get_args

import torch
from torch import Tensor

Codec = Literal["fp32", "bf16", "fp16", "int8"]
CODECS: tuple[str, ...] = get_args(Codec)
_PLAIN = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_FP16_MOST = 65504.0


def wire_bytes(shape: torch.Size | tuple[int, ...], codec: Codec) -> int:
    """How many bytes a tensor of that shape takes on its way."""
    elements = torch.Size(shape).numel()
    if codec == "int8":
        return elements + 4 * (elements // shape[-1])
    return elements * _PLAIN[codec].itemsize


def empty(shape: torch.Size | tuple[int, ...], codec: Codec) -> Tensor:
    """Room on the CPU for such a tensor as it travels, uint8 (bytes,)."""
    return torch.empty(wire_bytes(shape, codec), dtype=torch.uint8)


def encode(tensor: Tensor, codec: Codec) -> Tensor:
    """The tensor as it travels, uint8 (bytes,) on the CPU; for fp32 on a CPU it shares the tensor's memory.

    fp16 is cut off at its largest value, so that a rare outlier does not become infinite. int8 takes the largest magnitude
    of each row of the last dimension as 127 (scales first, fp32, then the values).
    """
    tensor = tensor.detach()
    if codec == "int8":
        rows = tensor.float().reshape(-1, tensor.shape[-1])
        scales = rows.abs().amax(1, keepdim=True).clamp_(min=1e-30) / 127
        values = (rows / scales).round_().to(torch.int8)
        parts = [part.contiguous().view(torch.uint8).flatten() for part in (scales, values)]
        return torch.cat(parts).cpu()
    if codec == "fp16":
        tensor = tensor.clamp(-_FP16_MOST, _FP16_MOST)
    return tensor.to(_PLAIN[codec]).cpu().contiguous().flatten().view(torch.uint8)


def decode(wire: Tensor, shape: torch.Size | tuple[int, ...], codec: Codec, device: torch.device) -> Tensor:
    """The tensor again, fp32 on `device`; for fp32 on a CPU it shares the memory of `wire`."""
    if codec == "int8":
        rows = torch.Size(shape).numel() // shape[-1]
        scales, values = wire[: 4 * rows].view(torch.float32), wire[4 * rows :].view(torch.int8)
        return (values.view(rows, -1).to(device).float() * scales.to(device).unsqueeze(1)).view(shape)
    return wire.view(_PLAIN[codec]).view(shape).to(device).float()


def memory_of(tensor: Tensor) -> memoryview:
    """The bytes of a contiguous CPU tensor, in place. The caller keeps the tensor for as long."""
    size = tensor.numel() * tensor.element_size()
    return memoryview((ctypes.c_uint8 * size).from_address(tensor.data_ptr())).cast("B")
