"""Real peers, one of each for all tests that need one."""

from __future__ import annotations

from pathlib import Path

import pytest

import peers

TESTS = Path(__file__).parent


def pytest_itemcollected(item):
    """Where several processes share the tests: those that start daemons, namespaces or workflows stay in one of them."""
    if "unit" not in item.path.parent.relative_to(TESTS).parts:
        item.add_marker(pytest.mark.xdist_group("machine"))


@pytest.fixture(scope="session")
def sshd(tmp_path_factory):
    with peers.sshd(tmp_path_factory.mktemp("sshd")) as peer:
        yield peer


@pytest.fixture(scope="session")
def adbd(tmp_path_factory):
    with peers.adbd(tmp_path_factory.mktemp("adbd")) as peer:
        yield peer
