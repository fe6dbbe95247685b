"""Real peers, one of each for all tests that need one; and how several processes share the tests."""

from __future__ import annotations

import tempfile

import pytest
from hypothesis import HealthCheck, settings

import peers

WORKFLOW = "tests/workflow/"
# It waits most of its time, for links that are slow on purpose: beside the others it costs none.
APART = "tests/workflow/test_virtual.py"

# How long an example takes says how busy the machine is, not whether the code is right. With CI in the environment the
# examples are the same ones each time, as hypothesis has it.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def _scope(nodeid):
    file = nodeid.split("::")[0]
    return WORKFLOW if file.startswith(WORKFLOW) and file != APART else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Where several processes share the tests: whole workflows stay in one of them, as each fills a machine, but for APART."""
    from xdist.scheduler import LoadScopeScheduling

    class OneWorkflowAtATime(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return _scope(nodeid)

    return OneWorkflowAtATime(config, log)


def pytest_collection_modifyitems(items):
    """Workflows first: with them the longest share begins at once."""
    first = [WORKFLOW, APART]
    items.sort(key=lambda item: first.index(scope) if (scope := _scope(item.nodeid)) in first else len(first))


@pytest.fixture(scope="session", autouse=True)
def own_temporary_folder():
    """Of each process that runs tests, so that its locks on devices are no other's. Short, for the sockets in it."""
    made = tempfile.TemporaryDirectory(prefix="ec-", ignore_cleanup_errors=True)
    with pytest.MonkeyPatch.context() as patch, made as folder:
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
