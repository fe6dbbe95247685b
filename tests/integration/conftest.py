"""A real device by either transport."""

from __future__ import annotations

import pytest

from edgecarbon.dispatch.adb import AdbLink
from edgecarbon.dispatch.ssh import SshLink
from remote_bench import SILENCE_S, Bench


@pytest.fixture(params=["ssh", "adb"])
def bench(request, tmp_path):
    """A real device by either transport, whose folder there has a name that a shell would trip over."""
    if request.param == "ssh":
        link = SshLink("peer", str(request.getfixturevalue("sshd").config), SILENCE_S)
    else:
        peer = request.getfixturevalue("adbd")
        link = AdbLink(peer.serial, False, peer.environment, str(peer.folder / "tmp"))
    return Bench(link, tmp_path / "on 'the' $(device)\n\"x\"", tmp_path / "host")
