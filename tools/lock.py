"""Resolve the project's dependencies anew and write the lock files: `make lock`.

Versions only, no hashes: torch comes as a different build for each kind of machine, of one and the same version.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH = "torch==2.13.0"
HEADER = "# Made by `make lock` from pyproject.toml; do not edit. Holds for Python 3.11 to 3.13.\n"


def resolve(requirement: str) -> list[str]:
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    report = subprocess.run([*command, TORCH, requirement], check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout
    found = {item["metadata"]["name"].lower(): item["metadata"]["version"] for item in json.loads(report)["install"]}
    # What belongs to one build of torch, or is the project itself, is not for the lock.
    return [
        f"{name}=={version.split('+')[0]}"
        for name, version in sorted(found.items())
        if name not in ("edgecarbon", "triton") and not name.startswith(("nvidia-c", "nvidia-n", "cuda-"))
    ]


def write_conda_environment(lines: list[str]) -> None:
    """The same versions for `snakemake --software-deployment-method conda`."""
    pins = "".join(f"      - {line}\n" for line in lines)
    text = HEADER + "channels: [conda-forge]\ndependencies:\n  - python=3.11\n  - pip\n  - pip:\n" + pins
    (ROOT / "workflow/envs/edgecarbon.yaml").write_text(text)


LOCKS = {"requirements.lock": "", "requirements-test.lock": "[test]", "requirements-bench.lock": "[bench]"}
for file, extra in LOCKS.items():
    found = resolve(f".{extra}")
    (ROOT / file).write_text(HEADER + "\n".join(found) + "\n")
    if not extra:
        write_conda_environment(found)
