"""What is found on a device, before anything is asked of it: software, accelerators, memory, disk, meters."""

from __future__ import annotations

import os
import platform
import shutil
from typing import Any

from edgecarbon import __version__
from edgecarbon.meters import Options
from edgecarbon.meters import probe as probe_meters

# What the estimate reads is shown here; what it assumes is the device entry's to say.
ESTIMATE = {"idle_watts": 5.0, "busy_watts": None, "relative_uncertainty": 0.5, "source": "the defaults"}

SCHEMA = "edgecarbon.probe/1"


def probe() -> dict[str, Any]:
    """Facts as JSON. `problems` tells what is missing, each with its `remedy`; nothing missing raises."""
    problems: list[dict[str, str]] = []
    facts: dict[str, Any] = {
        "schema": SCHEMA,
        "edgecarbon": __version__,
        "python": platform.python_version(),
        "torch": _version("torch", problems),
        "transformers": _version("transformers", problems),
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "logical_cores": os.cpu_count(),
        "disk_free_bytes": shutil.disk_usage(".").free,
    }
    facts |= _torch_facts() if facts["torch"] else {"cpu_model": None, "memory_bytes": None, "accelerators": []}
    facts["meters"] = probe_meters(Options(estimate=ESTIMATE))
    return {**facts, "problems": problems}


def _version(name: str, problems: list[dict[str, str]]) -> str | None:
    try:
        return str(__import__(name).__version__)
    except Exception as error:  # a half-installed torch raises OSError, ImportError and others
        reason = str(error).strip().splitlines()
        problems.append(
            {
                "what": f"{name} cannot be imported ({reason[0] if reason else type(error).__name__})",
                "remedy": "snakemake --cores 1 setup_device_NAME, or python -m pip install torch transformers",
            }
        )
        return None


def _torch_facts() -> dict[str, Any]:
    import torch

    from . import accelerator
    from .memory import free_memory_bytes

    names = ["cpu"]
    if torch.backends.mps.is_available():
        names.append("mps")
    if torch.cuda.is_available():
        names += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    found = [accelerator.Accelerator(torch.device(name)) for name in names]
    return {
        "cpu_model": accelerator.cpu_model(),
        "memory_bytes": accelerator.machine_memory_bytes(),
        "memory_free_bytes": free_memory_bytes(),
        "accelerators": [
            {
                "accelerator": str(one.device),
                "name": one.name(),
                "memory_bytes": one.memory_bytes(),
                "bf16": (lack := accelerator.lack_of_bf16(one)) is None,
                "bf16_lack": lack,
            }
            for one in found
        ],
    }
