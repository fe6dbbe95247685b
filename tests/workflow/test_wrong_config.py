"""A wrong configuration ends the start before any job, in plain words."""

import subprocess

import pytest

CASES = {
    "misspelt key": ("config/config.yaml", lambda data: data.update(repeets=3), "did you mean 'repeats'?"),
    "unknown device": ("config/config.yaml", lambda data: data.update(devices=["locla"]), "did you mean 'local'?"),
    "negative lifetime": (
        "config/devices.yaml",
        lambda data: data["devices"]["local"]["carbon"].update(lifetime_years=-1),
        "carbon.lifetime_years",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_wrong_value(fresh, case):
    file, change, words = CASES[case]
    fresh.write_config(change, file)
    finished = fresh.run()
    assert finished.returncode != 0
    assert words in finished.output
    assert file in finished.output
    assert "Traceback" not in finished.output
    assert not finished.jobs


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"repeats: [", b"- a\n- b\n"])
def test_broken_file(fresh, content):
    (fresh.path / "config/config.yaml").write_bytes(content)
    finished = fresh.run()
    assert finished.returncode != 0
    assert "config/config.yaml" in finished.output
    assert "Traceback" not in finished.output
    assert not finished.jobs


def test_missing_config_file(fresh):
    finished = fresh.run("--configfile", "config/papers.yaml")
    assert finished.returncode != 0
    # Snakemake reads files given with --configfile before anything of ours runs; the last line is its own.
    assert "config/papers.yaml" in finished.output.strip().splitlines()[-1]
    assert not finished.jobs


def test_missing_config_file_given_to_make(fresh):
    made = subprocess.run(
        ["make", "--old-file=.venv/.ready", "run", "CONFIG=config/papers.yaml"],
        cwd=fresh.path,
        capture_output=True,
        text=True,
    )
    assert made.returncode != 0
    assert "config/papers.yaml: cannot be read" in made.stderr


def test_mistake_on_the_command_line(fresh):
    finished = fresh.run("--config", "repeats=many")
    assert finished.returncode != 0
    assert "repeats" in finished.output
    assert "--config" in finished.output
    assert "Traceback" not in finished.output
