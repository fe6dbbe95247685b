"""Real peers: one sshd and one adbd for all tests of a transport."""

from __future__ import annotations

import secrets
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import peers
from edgecarbon.dispatch import Job
from edgecarbon.dispatch.adb import AdbLink
from edgecarbon.dispatch.remote import RemoteTransport
from edgecarbon.dispatch.ssh import SshLink

SILENCE_S = 6.0


@pytest.fixture(scope="session")
def sshd(tmp_path_factory):
    with peers.sshd(tmp_path_factory.mktemp("sshd")) as peer:
        yield peer


@pytest.fixture(scope="session")
def adbd(tmp_path_factory):
    with peers.adbd(tmp_path_factory.mktemp("adbd")) as peer:
        yield peer


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


@pytest.fixture(params=["ssh", "adb"])
def bench(request, tmp_path):
    """A real device by either transport, whose folder there has a name that a shell would trip over."""
    if request.param == "ssh":
        link = SshLink("peer", str(request.getfixturevalue("sshd").config), SILENCE_S)
    else:
        peer = request.getfixturevalue("adbd")
        link = AdbLink(peer.serial, termux=False, environment=peer.environment)
    return Bench(link, tmp_path / "on 'the' $(device)\n\"x\"", tmp_path / "host")
