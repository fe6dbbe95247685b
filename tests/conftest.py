"""Real peers, one of each for all tests that need one."""

from __future__ import annotations

import pytest

import peers


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Where several processes share the tests: those that start daemons, namespaces or workflows stay in one of them."""
    from xdist.scheduler import LoadScopeScheduling

    class OneForTheMachine(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.split("::")[0]
            return file if file.startswith("tests/unit/") else "machine"

    return OneForTheMachine(config, log)


@pytest.fixture(scope="session")
def sshd(tmp_path_factory):
    with peers.sshd(tmp_path_factory.mktemp("sshd")) as peer:
        yield peer


@pytest.fixture(scope="session")
def adbd(tmp_path_factory):
    with peers.adbd(tmp_path_factory.mktemp("adbd")) as peer:
        yield peer
