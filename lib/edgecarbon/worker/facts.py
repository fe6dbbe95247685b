"""What the device is: versions and hardware. No host name, no user name, no path."""

from __future__ import annotations

import os
import platform
from typing import Any

import torch
import transformers

from edgecarbon import __version__

from .accelerator import Accelerator, cpu_model, machine_memory_bytes


def versions() -> dict[str, str]:
    return {
        "edgecarbon": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "transformers": transformers.__version__,
    }


def device_facts(accelerator: Accelerator) -> dict[str, Any]:
    """The `device_facts` of a result."""
    return {
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "cpu_model": cpu_model(),
        "logical_cores": os.cpu_count(),
        "memory_bytes": machine_memory_bytes(),
        "accelerator": {
            "kind": accelerator.kind,
            "name": accelerator.name(),
            "memory_bytes": accelerator.memory_bytes(),
        },
    }
