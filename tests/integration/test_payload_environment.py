"""The payload on a machine that has torch and transformers, and nothing of this project."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from payload_job import result_of, run_payload, write_job

ROOT = Path(__file__).resolve().parents[2]
# pydantic may come with transformers; that the payload does not import it is an import contract.
ABSENT = ("duckdb", "altair", "datasets", "snakemake", "pynvml", "edgecarbon")


@pytest.fixture(scope="session")
def bare_python():
    """Python of a virtual environment with torch and transformers alone, kept between test runs."""
    lock = (ROOT / "requirements.lock").read_text()
    pins = [re.search(rf"^{name}==.*$", lock, re.MULTILINE)[0] for name in ("torch", "transformers")]
    name = f"bare-{sys.version_info.major}.{sys.version_info.minor}-" + "-".join(pin.split("==")[1] for pin in pins)
    folder = ROOT / ".cache" / name
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(folder / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", *pins]
        subprocess.run(install, check=True, env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"})
        (folder / "ready").touch()
    return str(folder / "bin/python")


def test_environment_is_bare(bare_python):
    code = f"import importlib.util, json; print(json.dumps([n for n in {ABSENT} if importlib.util.find_spec(n)]))"
    found = subprocess.run([bare_python, "-I", "-c", code], check=True, capture_output=True, text=True).stdout
    assert json.loads(found) == []


def test_payload_trains_and_measures(bare_python, tmp_path):
    spec = write_job(tmp_path / "job")
    run = run_payload(bare_python, spec)
    assert run.returncode == 0, run.stderr
    result = result_of(spec)
    assert result["status"] == "ok"
    assert result["nonce"] == "0123456789abcdef" * 2
    assert [window["name"] for window in result["windows"]] == ["idle_before", "warmup", "train", "idle_after"]
    assert result["training"]["tokens"] == 3 * 4 * 16
    train = [reading for reading in result["readings"] if reading["window"] == "train" and reading["joules"]]
    assert train
    assert all(reading["provenance"] and reading["boundary"] and reading["source"] for reading in train)
    assert all("short" in reading["flags"] for reading in train)


def test_probe_tells_what_is_there(bare_python, tmp_path):
    spec = write_job(tmp_path / "job")
    command = [bare_python, str(spec.parent / "payload.pyz"), "probe"]
    run = subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
    assert run.returncode == 0, run.stderr
    facts = json.loads(run.stdout)
    assert "torch" in json.dumps(facts)
    assert "nvml" in json.dumps(facts)
