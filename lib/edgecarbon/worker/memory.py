"""Running out of memory: telling it from other errors, and meeting it as an exception rather than as a killed process."""

from __future__ import annotations

import ctypes
import platform
import sys
from pathlib import Path

import torch

# What torch and the libraries under it say where they raise no OutOfMemoryError of their own.
_SAYINGS = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc", "could not create a memory")
# Left to the rest of the system and to what torch's libraries take outside of its allocator.
_RESERVE_BYTES = 256 << 20
# glibc's mallopt parameters.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out, on any device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(saying in str(error) for saying in _SAYINGS)


def limit_to_free_memory() -> int | None:
    """Let allocations beyond the memory that is free now fail, where Linux would grant them and later kill the process.

    Returns the limit in bytes (RLIMIT_DATA, an existing lower limit stays), or None where the system has no such limit.
    """
    if sys.platform != "linux":
        return None
    import resource

    free = free_memory_bytes()
    used = _field(Path("/proc/self/status"), "VmData:")
    if free is None or used is None:
        return None
    wanted = used + max(free - _RESERVE_BYTES, free // 2)
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = min([wanted, *(bound for bound in (soft, hard) if bound != resource.RLIM_INFINITY)])
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    except (OSError, ValueError):
        return None
    return limit


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next allocation rather than give it back to the kernel.

    A CPU training step frees and takes its gradients and activations anew; with glibc's defaults each of their pages is
    faulted in and zeroed again, which cost 40 % of the time of a small OPT-125m step. Returns whether it was done.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


def free_memory_bytes() -> int | None:
    """Memory that this process can still take without swapping: the machine's, or less where a cgroup holds it."""
    free = [_field(Path("/proc/meminfo"), "MemAvailable:"), _cgroup_free_bytes()]
    known = [value for value in free if value is not None]
    return min(known) if known else None


def _cgroup_free_bytes() -> int | None:
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
        name = next(line[3:] for line in lines if line.startswith("0::"))
        folder = Path("/sys/fs/cgroup") / name.lstrip("/")
        if not (folder / "memory.max").exists():
            folder = Path("/sys/fs/cgroup")  # inside a container the path is the host's, the tree its own
        limit = int((folder / "memory.max").read_text(encoding="ascii"))  # "max" is no number: no limit
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        inactive = _field(folder / "memory.stat", "inactive_file", unit=1)
    except (OSError, ValueError, StopIteration):
        return None
    return max(0, limit - used + (inactive or 0))


def _field(path: Path, name: str, unit: int = 1024) -> int | None:
    try:
        for line in path.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * unit
    except (OSError, ValueError, IndexError):
        return None
    return None
