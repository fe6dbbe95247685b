"""The device that computes: CPU, CUDA or MPS behind one small object, and what it can do."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from .errors import WorkerError


@dataclass(frozen=True)
class Accelerator:
    """One compute device. `kind` is `cpu`, `cuda` or `mps`."""

    device: torch.device

    @property
    def kind(self) -> str:
        return self.device.type

    def synchronize(self) -> None:
        """Wait until all work given to the device is done."""
        if self.kind == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.kind == "mps":
            torch.mps.synchronize()

    def empty_cache(self) -> None:
        """Hand cached memory back, so that a smaller attempt starts from unbroken space."""
        if self.kind == "cuda":
            torch.cuda.empty_cache()
        elif self.kind == "mps":
            torch.mps.empty_cache()

    def name(self) -> str:
        if self.kind == "cuda":
            return torch.cuda.get_device_name(self.device)
        return "Apple GPU" if self.kind == "mps" else cpu_model()

    def memory_bytes(self) -> int | None:
        """Memory that the device can use: the GPU's own, Metal's recommended limit, or the machine's."""
        if self.kind == "cuda":
            return int(torch.cuda.get_device_properties(self.device).total_memory)
        if self.kind == "mps":
            return int(torch.mps.recommended_max_memory())
        return machine_memory_bytes()

    def reset_peak_memory(self) -> None:
        if self.kind == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak_memory_bytes(self) -> int | None:
        """CUDA: most bytes held by tensors since the reset. CPU: the process's largest resident size. MPS tells no peak."""
        if self.kind == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        if self.kind == "mps":
            return None
        try:
            import resource
        except ImportError:  # Windows
            return None
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024

    def uuids(self) -> list[str]:
        """The NVIDIA UUIDs of the GPUs in use, as NVML spells them; empty for another device."""
        if self.kind != "cuda":
            return []
        return [f"GPU-{torch.cuda.get_device_properties(self.device).uuid}"]


def select(wanted: str) -> Accelerator:
    """The accelerator called `wanted`; `auto` takes CUDA, then MPS, then the CPU. Raises WorkerError(bad_spec)."""
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    kind, _, index = wanted.partition(":")
    if kind == "auto":
        kind = "cuda" if cuda else "mps" if mps else "cpu"
    present = [
        "cpu",
        *(["mps"] if mps else []),
        *(f"cuda:{n}" for n in range(torch.cuda.device_count() if cuda else 0)),
    ]
    if kind == "cuda":
        index = index or "0"
    name = f"{kind}:{int(index)}" if index else kind
    if name not in present:
        hint = _why_no_cuda() if kind == "cuda" and not cuda else f"here are: {', '.join(present)}"
        raise WorkerError("bad_spec", f'spec: device.accelerator: "{wanted}" is not on this machine; {hint}')
    if kind == "cuda":
        torch.cuda.set_device(int(index))
    return Accelerator(torch.device(name))


def _why_no_cuda() -> str:
    if torch.version.cuda is None:
        return f"torch {torch.__version__} was built without CUDA: install a CUDA build of torch there, or use cpu"
    return "torch was built with CUDA but finds no working GPU: check the driver with nvidia-smi, or use cpu"


def choose_precision(wanted: str, accelerator: Accelerator) -> str:
    """`fp32` or `bf16`; `auto` is bf16 where the hardware multiplies it. Raises WorkerError(bad_spec) if bf16 is not there."""
    if wanted == "fp32":
        return "fp32"
    lack = lack_of_bf16(accelerator)
    if lack is None:
        return "bf16"
    if wanted == "bf16":
        raise WorkerError("bad_spec", f"spec: training.precision: bf16 is not to be had here: {lack}; use auto or fp32")
    return "fp32"


def lack_of_bf16(accelerator: Accelerator) -> str | None:
    """Why bf16 autocast would not run on this hardware's own arithmetic, or None where it does."""
    if accelerator.kind == "cuda":
        major, minor = torch.cuda.get_device_capability(accelerator.device)
        return None if major >= 8 else f"{accelerator.name()} has compute capability {major}.{minor}, bf16 needs 8.0"
    if accelerator.kind == "mps":
        try:
            with torch.autocast("mps", dtype=torch.bfloat16):
                ones = torch.ones(8, 8, device="mps")
                ok = bool((ones @ ones).dtype == torch.bfloat16)
        except (RuntimeError, TypeError) as error:
            return str(error).splitlines()[0]
        return None if ok else "autocast on mps does not give bf16"
    return None if cpu_has_bf16() else "this CPU has no bf16 arithmetic (AMX or AVX512_BF16 on x86-64, BF16 on Arm)"


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bf16 itself and torch makes use of it."""
    flags = cpu_flags()
    if platform.machine().lower() in ("x86_64", "amd64"):
        if flags:
            return bool({"amx_bf16", "avx512_bf16"} & flags)
        asks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        return any(getattr(torch.cpu, ask, lambda: False)() for ask in asks)
    # On Arm torch's fast bf16 path is oneDNN with the Arm Compute Library, which the macOS builds do not have.
    return sys.platform == "linux" and "bf16" in flags and torch.backends.mkldnn.is_available()


def cpu_flags() -> set[str]:
    """The CPU's feature names as Linux lists them; empty on other systems."""
    for line in _cpuinfo():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return set(value.split())
    return set()


def cpu_model() -> str:
    """The CPU's product name, or the architecture where the system tells no name."""
    if sys.platform == "darwin":
        import subprocess

        found = subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
        )
        return found.stdout.strip() or platform.machine()
    for wanted in ("model name", "Hardware", "Model"):
        for line in _cpuinfo():
            key, _, value = line.partition(":")
            if key.strip() == wanted and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def machine_memory_bytes() -> int | None:
    """Physical memory of the machine."""
    try:
        import os

        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
