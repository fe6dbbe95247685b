"""What comes back in an inbox is looked at by fixed names and within bounds, whoever packed it."""

from __future__ import annotations

import json
import zipfile

import pytest

from edgecarbon.dispatch import Job
from edgecarbon.dispatch.base import RESULT_FILES
from edgecarbon.dispatch.bundle import BundleTransport
from edgecarbon.errors import DeviceTrouble


@pytest.fixture
def job(tmp_path):
    out = tmp_path / "attempt"
    out.mkdir()
    (out / "spec.json").write_text("{}")
    (tmp_path / "payload.pyz").write_bytes(b"payload")
    (tmp_path / "inbox").mkdir()
    return Job("abcdef0123456789", "w--d--r1", tmp_path / "payload.pyz", {}, out, 60.0, 0.0, tmp_path / "log")


@pytest.fixture
def transport(tmp_path):
    return BundleTransport("cluster", tmp_path / "inbox", tmp_path / "bundles")


def pack(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_a_bundle_waits_until_its_result_is_there(transport, job, tmp_path):
    with pytest.raises(DeviceTrouble, match=r"abcdef01\.zip is ready") as trouble:
        transport.run(job)
    assert trouble.value.kind == "waiting"
    with pytest.raises(DeviceTrouble, match="is ready"):
        transport.recover(job)
    pack(tmp_path / "inbox/any name.zip", {"key": job.key, "result.json": "{}", "steps.jsonl": ""})
    transport.recover(job)
    assert json.loads((job.out / "result.json").read_text()) == {}
    assert list((tmp_path / "bundles/cluster").iterdir()) == []


def test_names_that_lead_elsewhere_are_not_looked_at(transport, job, tmp_path):
    members = {"key": job.key, "result.json": "{}", "../evil": "x", "/tmp/evil": "x", "__main__.py": "x"}
    pack(tmp_path / "inbox/hostile.zip", members)
    transport.recover(job)
    assert sorted(path.name for path in job.out.iterdir()) == ["result.json", "spec.json"]
    assert not (tmp_path / "evil").exists()


def test_a_result_that_swells_is_refused_unread(transport, job, tmp_path):
    pack(tmp_path / "inbox/bomb.zip", {"key": job.key, "result.json": bytes(RESULT_FILES["result.json"] + 1)})
    assert (tmp_path / "inbox/bomb.zip").stat().st_size < 200_000
    with pytest.raises(DeviceTrouble, match="more than 67108864") as trouble:
        transport.recover(job)
    assert trouble.value.kind == "refused"
    assert not (job.out / "result.json").exists()


@pytest.mark.parametrize("members", [{}, {"key": "another run's"}, {"key": "x" * 10_000_000}])
def test_other_files_in_the_inbox_are_left_alone(transport, job, tmp_path, members):
    pack(tmp_path / "inbox/other.zip", members)
    (tmp_path / "inbox/broken.zip").write_bytes(b"PK\x03\x04 no zip")
    transport.recover(job)
    assert [path.name for path in job.out.iterdir()] == ["spec.json"]
