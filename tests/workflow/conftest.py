"""Real runs of the whole workflow, on a model small enough to train in a blink."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]

SMALL = {
    "name": "small",
    "workloads": {
        "tiny": {
            "model": "edgecarbon/tiny-opt",
            "batch_size": 2,
            "sequence_length": 32,
            "steps": 3,
            "warmup_steps": 1,
            "threads": 1,
            "data": {"tokenizer": "byte-level"},
        }
    },
    "devices": ["local"],
    "reference_devices": ["rtx-a5000-bf16", "snapdragon-888-phone"],
    "scenarios": ["default"],
    # 10,000 times a run's 3 steps of 2 x 32 tokens, with the same model's parameters and shape.
    "jobs": {
        "again": {
            "tokens": 1_920_000,
            "parameters": 198_528,
            "shape": {
                "embedding_parameters": 98_432,
                "layers": 2,
                "hidden_size": 64,
                "vocabulary_size": 1024,
                "sequence_length": 32,
            },
        }
    },
    "repeats": 2,
    "measurement": {"idle_before_s": 0.3, "idle_after_s": 0.3, "sample_period_s": 0.05},
}


@dataclass
class Finished:
    """A start of Snakemake that has ended: exit code, what it said, and the jobs that it ran, by rule."""

    returncode: int
    output: str
    jobs: Counter[str] = field(default_factory=Counter)


class Checkout:
    """A clone of the project with a configuration of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = {
            **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
            "XDG_CACHE_HOME": str(path / ".cache"),
            "HF_HUB_OFFLINE": "1",
        }

    def write_config(self, change=lambda data: None, file="config/config.yaml"):
        path = self.path / file
        data = yaml.safe_load(path.read_text())
        change(data)
        path.write_text(yaml.safe_dump(data))

    def command(self, *arguments: str, cores: int = 2) -> list[str]:
        return [sys.executable, "-m", "snakemake", "--cores", str(cores), *arguments]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.path,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # A test run started in the background ignores Ctrl-C, and its children would too.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, *arguments: str) -> Finished:
        process = self.start(*arguments)
        try:
            output, _ = process.communicate(timeout=400)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        ran = re.findall(r"^(?:local)?rule (\w+):", output, re.MULTILINE)
        return Finished(process.returncode, output, Counter(ran))

    def run_well(self, *arguments: str) -> Counter[str]:
        finished = self.run(*arguments)
        assert finished.returncode == 0, finished.output
        return Counter({rule: count for rule, count in finished.jobs.items() if rule != "all"})

    def records(self) -> list[Path]:
        return sorted((self.path / "results/runs").glob("*/*/*/record.json"))

    def attempts(self) -> list[Path]:
        return sorted(path for path in (self.path / "results/attempts").glob("*/*/*/*/"))


def new_checkout(path: Path) -> Checkout:
    """A copy of what git would commit, with the small configuration."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            target = path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    (path / "config/config.yaml").write_text(yaml.safe_dump(SMALL))
    return Checkout(path)


@pytest.fixture
def fresh(tmp_path) -> Checkout:
    """A checkout in which nothing has run."""
    return new_checkout(tmp_path / "edgecarbon")


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory) -> Checkout:
    checkout = new_checkout(tmp_path_factory.mktemp("finished") / "edgecarbon")
    checkout.run_well()
    return checkout


@pytest.fixture
def finished(finished_once, tmp_path) -> Checkout:
    """A checkout in which everything has run, for a test to change."""
    target = tmp_path / "edgecarbon"
    subprocess.run(["cp", "-a", str(finished_once.path), str(target)], check=True)
    return Checkout(target)
