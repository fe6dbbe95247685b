"""Model FLOP utilisation: what a step must compute, over what the device could at most have computed.

The count is 6·N·D for N parameters and D tokens, forward and backward (Kaplan et al. 2020, arXiv 2001.08361, section 2.1);
attention's own products are not in it. Peaks are dense rates without sparsity, accumulated in fp32.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from .accelerator import Accelerator
from .spec import Peak

_H100 = "NVIDIA H100 Tensor Core GPU data sheet, SXM, dense"
_H200 = "NVIDIA H200 Tensor Core GPU data sheet, SXM, dense"
_A100 = "NVIDIA A100 Tensor Core GPU data sheet, dense"
_GA102 = "NVIDIA Ampere GA102 GPU architecture white paper, dense"
_ADA = "NVIDIA Ada GPU architecture white paper, dense"

# (bf16 tensor, fp32 without tensor cores) in TFLOP/s by the name that the driver gives, and the source. None: has no bf16.
PEAKS: dict[str, tuple[float | None, float, str]] = {
    "NVIDIA H200": (989.0, 67.0, _H200),
    "NVIDIA H100 80GB HBM3": (989.0, 67.0, _H100),
    "NVIDIA A100-SXM4-40GB": (312.0, 19.5, _A100),
    "NVIDIA A100-SXM4-80GB": (312.0, 19.5, _A100),
    "NVIDIA A100-PCIE-40GB": (312.0, 19.5, _A100),
    "NVIDIA A100 80GB PCIe": (312.0, 19.5, _A100),
    "NVIDIA RTX A5000": (111.1, 27.8, "NVIDIA RTX A5000 data sheet, tensor rate 222.2 with sparsity, half of it dense"),
    "NVIDIA RTX A6000": (154.8, 38.7, "NVIDIA RTX A6000 data sheet, tensor rate 309.7 with sparsity, half of it dense"),
    "NVIDIA GeForce RTX 3090": (71.0, 35.6, _GA102),
    "NVIDIA GeForce RTX 4090": (165.2, 82.6, _ADA),
    "NVIDIA L4": (121.0, 30.3, "NVIDIA L4 Tensor Core GPU data sheet, tensor rate 242 with sparsity, half of it dense"),
    "NVIDIA L40S": (362.05, 91.6, "NVIDIA L40S data sheet, dense"),
    "Tesla T4": (None, 8.1, "NVIDIA T4 data sheet"),
    "Tesla V100-SXM2-16GB": (None, 15.7, "NVIDIA V100 data sheet"),
    "Tesla V100-SXM2-32GB": (None, 15.7, "NVIDIA V100 data sheet"),
}

_MEASURE_S = 0.8


@dataclass(frozen=True)
class PeakRate:
    """FLOP/s at the run's precision, and where the figure comes from."""

    flops_per_second: float
    source: str


def flops_per_step(parameters: int, batch_size: int, sequence_length: int) -> float:
    """6 × parameters × tokens of a step."""
    return 6.0 * parameters * batch_size * sequence_length


def find_peak(accelerator: Accelerator, precision: str, given: Peak | None) -> PeakRate | None:
    """The peak that MFU is taken against: the user's, else a data sheet's, else on a CPU one measured now. Never a guess.

    A given peak of another precision than the run's says nothing about it.
    """
    if given is not None:
        return PeakRate(given.tflops * 1e12, given.source) if given.precision == precision else None
    if accelerator.kind == "cuda" and accelerator.name() in PEAKS:
        bf16, fp32, source = PEAKS[accelerator.name()]
        tflops = bf16 if precision == "bf16" else fp32
        return PeakRate(tflops * 1e12, source) if tflops else None
    if accelerator.kind == "cpu":
        return measure_cpu_peak(precision)
    return None


def measure_cpu_peak(precision: str) -> PeakRate:
    """The best rate of a square matrix product on this CPU, with the run's threads, in under a second."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    best, end_s = 0.0, time.monotonic() + _MEASURE_S
    for size in (1024, 2048):
        left, right = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
        left @ right  # the first product also builds the kernel
        while True:
            start_s = time.perf_counter()
            left @ right
            best = max(best, 2.0 * size**3 / (time.perf_counter() - start_s))
            if time.monotonic() > end_s - (_MEASURE_S / 2 if size == 1024 else 0.0):
                break
    return PeakRate(best, f"measured: largest {precision} square matmul on this machine")
