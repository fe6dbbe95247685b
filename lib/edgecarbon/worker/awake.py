"""Hold the machine awake for the length of a run: a laptop that falls asleep ruins it."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any

# Each ends when its standard input does, so that it goes with this process however that ends.
_UNTIL_EOF = ["sh", "-c", "cat >/dev/null"]
_HOLDERS = {
    "caffeinate": ["caffeinate", "-i", "-s", *_UNTIL_EOF],
    "systemd-inhibit": [
        "systemd-inhibit", "--what=sleep:idle", "--mode=block", "--who=edgecarbon", "--why=measuring a training run",
        *_UNTIL_EOF,
    ],
}  # fmt: skip
_SETTLE_S = 0.5
"""A holder that is refused ends within this time."""


@contextlib.contextmanager
def awake() -> Iterator[dict[str, Any]]:
    """Hold the machine awake inside the context. Never fails a run: where it cannot be done, it says so.

    Yields:
        `held_by`: the tool that holds it, or None; `reason`: why there is none.
    """
    if shutil.which("termux-wake-lock"):
        _termux("termux-wake-lock")
        try:
            yield {"held_by": "termux-wake-lock", "reason": None}
        finally:
            _termux("termux-wake-unlock")
        return
    name = next((name for name in _HOLDERS if shutil.which(name)), None)
    if name is None:
        yield {"held_by": None, "reason": f"none of {', '.join(_HOLDERS)} and termux-wake-lock is here"}
        return
    holder = subprocess.Popen(_HOLDERS[name], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        refused = _refusal(holder)
        yield {"held_by": None if refused else name, "reason": refused and f"{name}: {refused}"}
    finally:
        assert holder.stdin is not None
        with contextlib.suppress(OSError):
            holder.stdin.close()
        holder.terminate()
        holder.wait()


def _refusal(holder: subprocess.Popen[bytes]) -> str | None:
    """Why the holder ended at once, in its words; None where it holds."""
    end = time.monotonic() + _SETTLE_S
    while time.monotonic() < end:
        if holder.poll() is not None:
            said = holder.stderr.read(500).decode(errors="replace") if holder.stderr else ""
            return " ".join(said.split()) or f"exit code {holder.returncode}"
        time.sleep(0.02)
    return None


def _termux(command: str) -> None:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run([command], stdin=subprocess.DEVNULL, timeout=10, check=False)
