"""Real peers, one of each for all tests that need one; and how several processes share the tests."""

from __future__ import annotations

import tempfile

import pytest

import peers

WORKFLOW = "tests/workflow/"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Where several processes share the tests: whole workflows stay in one of them, as each fills a machine."""
    from xdist.scheduler import LoadScopeScheduling

    class OneWorkflowAtATime(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return WORKFLOW if nodeid.startswith(WORKFLOW) else nodeid.split("::")[0]

    return OneWorkflowAtATime(config, log)


def pytest_collection_modifyitems(items):
    """Workflows first: with them the longest share begins at once."""
    items.sort(key=lambda item: not item.nodeid.startswith(WORKFLOW))


@pytest.fixture(scope="session", autouse=True)
def own_temporary_folder():
    """Of each process that runs tests, so that its locks on devices are no other's. Short, for the sockets in it."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="ec-") as folder:
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(scope="session")
def sshd(tmp_path_factory):
    with peers.sshd(tmp_path_factory.mktemp("sshd")) as peer:
        yield peer


@pytest.fixture(scope="session")
def adbd(tmp_path_factory):
    with peers.adbd(tmp_path_factory.mktemp("adbd")) as peer:
        yield peer
