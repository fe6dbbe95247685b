"""A device under test at the other end of a real link, and jobs for it."""

from __future__ import annotations

import secrets
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecarbon.dispatch import Job
from edgecarbon.dispatch.remote import RemoteTransport

SILENCE_S = 6.0


@dataclass
class Bench:
    """A device under test, its folder there, and what makes jobs for it."""

    link: Any
    folder: Path
    host: Path

    def transport(self, **changes: Any) -> RemoteTransport:
        settings = {"python": sys.executable, "command": None, "silence_s": SILENCE_S, "wait_s": 3.0, **changes}
        return RemoteTransport(self.link, directory=str(self.folder), **settings)

    def job(self, code: str = "", deadline_s: float = 30.0, on_event=lambda event: None) -> Job:
        """A job whose payload is a small Python program of the test's own, started as the payload would be."""
        key = secrets.token_hex(8)
        out = self.host / key
        out.mkdir(parents=True)
        (out / "spec.json").write_text("{}")
        payload = out.with_suffix(".py")
        payload.write_text(textwrap.dedent(code))
        tokens = self.host / "blocks.bin"
        tokens.write_bytes(b"1234" * 1000)
        return Job(key, "run", payload, {"tokens.bin": tokens}, out, deadline_s, 1.0, self.host / "log", on_event)
