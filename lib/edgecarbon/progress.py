"""What a person sees while a run is measured: one line on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

LOG_EVERY_S = 5.0
"""A stream that is no terminal gets a line this often, s."""
LONGEST = 500
"""Letters of a line at most: a device chose most of them."""


class ProgressLine:
    """Shows the payload's progress events of one run."""

    def __init__(self, run_id: str, stream: TextIO = sys.stderr) -> None:
        self.run_id = run_id
        self.stream = stream
        self.terminal = stream.isatty()
        self.shown_at = -LOG_EVERY_S
        self.width = 0

    def __call__(self, event: dict[str, Any]) -> None:
        text = describe(event)
        if text is None:
            return
        now = time.monotonic()
        passing = event.get("event") == "step" and event.get("step") != event.get("steps")
        if passing and not self.terminal and now - self.shown_at < LOG_EVERY_S:
            return
        self.shown_at = now
        self._write(printable(f"{self.run_id}: {text}")[:LONGEST], keep=not passing)

    def _write(self, line: str, keep: bool) -> None:
        if self.terminal:
            self.stream.write("\r" + line.ljust(self.width) + ("\n" if keep else ""))
            self.width = 0 if keep else len(line)
        else:
            self.stream.write(line + "\n")
        self.stream.flush()


def printable(text: str) -> str:
    """Text from a device without what a terminal would take for commands."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def describe(event: dict[str, Any]) -> str | None:
    """One progress event in words, None for one that is not for people. A device sent it: no field is trusted."""
    try:
        match event.get("event"):
            case "phase":
                seconds = event.get("seconds")
                return f"{event['phase'].replace('_', ' ')}" + (f", {seconds:.0f} s" if seconds else "")
            case "note":
                return str(event["message"])[:500]
            case "done":
                return f"done, {event['status']}"
            case "step":
                return _describe_step(event)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return None


def _describe_step(event: dict[str, Any]) -> str:
    words = [f"{event['phase']} step {event['step']}/{event['steps']}"]
    if event.get("loss") is not None:
        words.append(f"loss {event['loss']:.3f}")
    if event.get("tokens_per_second") is not None:
        words.append(f"{event['tokens_per_second']:,.0f} tokens/s")
    if event.get("watts") is not None:
        words.append(f"{event['watts']:.1f} W ({event.get('watts_provenance') or 'unlabelled'})")
    if event.get("remaining_s") is not None:
        minutes, seconds = divmod(round(event["remaining_s"]), 60)
        words.append(f"{minutes}:{seconds:02d} left")
    return ", ".join(words)
