"""CPU time of the whole machine, from /proc/stat, and of this process."""

from __future__ import annotations

import os
import time

from edgecarbon.meters.access import Access

_FIRST_LINE_BYTES = 256


class MachineTime:
    """CPU seconds that were neither idle nor waiting for a disk, of all cores together."""

    def __init__(self, access: Access, path: str, cores: int, tick_s: float) -> None:
        self._access, self._path = access, path
        self.cores, self.tick_s = cores, tick_s

    @classmethod
    def open(cls, access: Access, procfs: str) -> MachineTime | None:
        """None where it cannot be read, or does not count: some containers show zeros, which would pass for rest."""
        path = os.path.join(procfs, "stat")
        lines = (access.read(path) or "").splitlines()
        cores = sum(1 for line in lines if line.startswith("cpu") and line[3:4].isdigit())
        tick_s = 1.0 / access.attempt("SC_CLK_TCK", lambda: os.sysconf("SC_CLK_TCK")) if lines else 0.01
        machine = cls(access, path, max(cores, 1), tick_s)
        return machine if machine.busy_seconds() else None

    def busy_seconds(self) -> float | None:
        first = (self._access.read(self._path, _FIRST_LINE_BYTES) or "").split("\n", 1)[0].split()
        try:
            user, nice, system, _idle, _iowait, irq, softirq = (int(value) for value in first[1:8])
        except ValueError:
            return None
        return (user + nice + system + irq + softirq) * self.tick_s


def own_seconds(access: Access) -> float | None:
    """CPU seconds of this process and of its children that have ended."""
    seconds: float | None = access.attempt("process CPU time", lambda: sum(os.times()[:4]))
    return seconds


def process_seconds(access: Access) -> float | None:
    """CPU seconds of this process alone, finely."""
    seconds: float | None = access.attempt("process_time", time.process_time)
    return seconds
