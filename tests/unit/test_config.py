"""A wrong configuration is told in plain words: file, field, what was expected, the nearest valid name."""

import shutil
from pathlib import Path

import pytest
import yaml

from edgecarbon import plan
from edgecarbon.config.base import read_yaml
from edgecarbon.config.claims import load_claims
from edgecarbon.config.generate import generated
from edgecarbon.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path):
    """A copy of the shipped config that a test may spoil."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    return tmp_path


def load(project, **overrides):
    return plan.load_project([], overrides, project)


def spoil(project, file, change):
    path = project / file
    data = yaml.safe_load(path.read_text())
    change(data)
    path.write_text(yaml.safe_dump(data))


@pytest.mark.parametrize("name", ["config.yaml", "paper.yaml"])
def test_shipped_configs_are_valid(name):
    project = plan.load_project([f"config/{name}"], root=ROOT)
    assert len(project.measured_runs) == (
        len(project.experiment.workloads) * len(project.experiment.devices) * project.experiment.repeats
    )


def test_the_published_setting_has_the_devices_that_claims_are_held_against():
    claims = load_claims(ROOT / "config/inputs/claims.yaml")
    named = {device for claim in claims for pair in claim.pairs for device in (pair.cloud, pair.edge)}
    assert named <= set(plan.load_project(["config/paper.yaml"], root=ROOT).experiment.reference_devices)


WRONG = {
    "misspelt key": (
        "config/config.yaml",
        lambda data: data.update(repeets=3),
        ["config/config.yaml", "repeets", "did you mean 'repeats'?"],
    ),
    "misspelt key further down": (
        "config/config.yaml",
        lambda data: data["workloads"]["opt-125m"].update(batchsize=3),
        ["workloads.opt-125m.batchsize", "did you mean 'batch_size'?"],
    ),
    "misspelt key of a device": (
        "config/devices.yaml",
        lambda data: data["devices"]["local"].update(acelerator="cpu"),
        ["config/devices.yaml", "devices.local", "acelerator", "did you mean 'accelerator'?"],
    ),
    "unknown device": (
        "config/config.yaml",
        lambda data: data.update(devices=["locale"]),
        ["config/config.yaml", "devices", "'locale'", "config/devices.yaml", "did you mean 'local'?"],
    ),
    "unknown reference device": (
        "config/config.yaml",
        lambda data: data.update(reference_devices=["rtx-a5000-bf17"]),
        ["reference_devices", "did you mean 'rtx-a5000-bf16'?"],
    ),
    "unknown scenario": (
        "config/config.yaml",
        lambda data: data.update(scenarios=["defautl"]),
        ["scenarios", "config/scenarios", "did you mean 'default'?"],
    ),
    "negative lifetime": (
        "config/devices.yaml",
        lambda data: data["devices"]["local"]["carbon"].update(lifetime_years=-4),
        ["config/devices.yaml", "carbon.lifetime_years", "greater than 0", "-4"],
    ),
    "wrong type": (
        "config/config.yaml",
        lambda data: data.update(repeats="five"),
        ["config/config.yaml", "repeats", "valid integer", "'five'"],
    ),
    "device listed twice": (
        "config/config.yaml",
        lambda data: data.update(devices=["local", "local"]),
        ["config/config.yaml", "devices", "'local' is listed twice"],
    ),
    "missing field": (
        "config/devices.yaml",
        lambda data: data["devices"]["local"]["carbon"].pop("embodied"),
        ["config/devices.yaml", "carbon.embodied", "required"],
    ),
    "unknown transport": (
        "config/devices.yaml",
        lambda data: data["devices"]["local"].update(transport="loca"),
        ["config/devices.yaml", "devices.local", "transport", "'local'"],
    ),
    "one device without its list": (
        "config/config.yaml",
        lambda data: data.update(devices="local"),
        ["config/config.yaml: devices: expected a list, such as [a, b]", "'local'"],
    ),
    "a number where fields are": (
        "config/config.yaml",
        lambda data: data.update(measurement=5),
        ["config/config.yaml: measurement: expected fields below it", "found 5"],
    ),
    "a number that YAML takes for a text": (
        "config/config.yaml",
        lambda data: data["workloads"]["opt-125m"].update(learning_rate="1e-4"),
        ["workloads.opt-125m.learning_rate: ", "1e-4 as 1.0e-4", "found '1e-4'"],
    ),
    "a text that YAML takes for no": (
        "config/config.yaml",
        lambda data: data["workloads"]["opt-125m"].update(model=False),
        ["workloads.opt-125m.model: YAML reads a bare no", "put it in quotes"],
    ),
    "a name that no path would bear": (
        "config/config.yaml",
        lambda data: data.update(name="My Lab"),
        ["config/config.yaml: name: expected a name of lower case letters", "'My Lab'"],
    ),
    "nothing to run on": (
        "config/config.yaml",
        lambda data: data.update(devices=[], reference_devices=[]),
        ["config/config.yaml", "devices", "at least one"],
    ),
    "embodied key that is not there": (
        "config/devices.yaml",
        lambda data: data["devices"]["local"]["carbon"].update(embodied="generic-computre"),
        ["config/devices.yaml", "devices.local.carbon.embodied", "did you mean 'generic-computer'?"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_config_is_explained(project, case):
    file, change, words = WRONG[case]
    spoil(project, file, change)
    with pytest.raises(UserError) as caught:
        load(project)
    for word in words:
        assert word in str(caught.value)


def test_device_defined_twice_in_the_file(project):
    path = project / "config/devices.yaml"
    devices, *rest = path.read_text().split("\n# Devices that train one model together")
    path.write_text(
        "".join([devices, devices.split("devices:\n")[1], "\n# Devices that train one model together", *rest])
    )
    with pytest.raises(UserError, match=r"config/devices\.yaml.*'local' is given twice"):
        load(project)


def test_unreadable_files(project):
    path = project / "config/devices.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"devices\.yaml: cannot be read"):
        load(project)
    path.write_text("devices: [unclosed")
    with pytest.raises(UserError, match=r"devices\.yaml: not valid YAML"):
        load(project)
    path.unlink()
    with pytest.raises(UserError, match=r"devices\.yaml: cannot be read"):
        load(project)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: [1,\nc: 2\n", ["line 4, column 1: ", "begins in line 2)"]),
        ("title: Phones: in France\n", ["line 1, column 14: ", "put a text with ': ' in it in quotes"]),
        ("a:\n\tb: 1\n", ["line 2, column 1: ", "it is a tab: indent with spaces"]),
        ("a: 1\na: 2\n", ["line 2, column 1: 'a' is given twice"]),
        ("a: \x00", ["position 3"]),
    ],
)
def test_a_fault_in_yaml_is_told_in_a_line(tmp_path, text, told):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_yaml(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: not valid YAML: ")
    assert "\n" not in message
    assert [words for words in told if words not in message] == []


def test_every_problem_is_told_at_once(project):
    spoil(project, "config/config.yaml", lambda data: data.update(repeets=1, deadline_s=-1))
    with pytest.raises(UserError) as caught:
        load(project)
    assert len(str(caught.value).splitlines()) == 2


def test_command_line_overrides_the_files(project):
    assert load(project, repeats=7).experiment.repeats == 7
    nested = load(project, measurement={"idle_before_s": 1})
    assert nested.experiment.measurement.idle_before_s == 1
    assert nested.experiment.measurement.idle_after_s == load(project).experiment.measurement.idle_after_s


def test_a_config_is_named_as_seen_from_the_clone(project):
    # Snakemake gives every path from the machine's own root.
    def named(*files):
        return plan.load_project(list(files), root=project).config_name

    assert named() == named(project / "config/config.yaml") == named("config/config.yaml") == "config/config.yaml"
    outside = project.parent / f"{project.name}.yaml"
    shutil.copy(project / "config/config.yaml", outside)
    assert named("config/config.yaml", outside) == f"config/config.yaml, {outside}"


def test_resolved_config_reads_back_the_same(project):
    loaded = load(project)
    path = plan.write_project(loaded, project / "results/configs")
    assert plan.read_project(path).to_json() == loaded.to_json()
    assert plan.write_project(loaded, project / "results/configs") == path


def test_only_what_decides_a_measurement_is_in_its_settings(project):
    before = load(project)
    settings = before.run_settings("opt-125m", "local")
    spoil(project, "config/devices.yaml", lambda data: data["devices"]["local"]["carbon"].update(lifetime_years=2))
    spoil(project, "config/config.yaml", lambda data: data.update(repeats=9, name="other"))
    after = load(project)
    assert after.run_settings("opt-125m", "local") == settings
    assert after.carbon_facts() != before.carbon_facts()
    spoil(project, "config/devices.yaml", lambda data: data["devices"]["local"].update(accelerator="cpu"))
    assert load(project).run_settings("opt-125m", "local") != settings


def test_generated_files_match_the_models():
    drifted = [path.name for path, text in generated(ROOT / "config").items() if path.read_text() != text]
    assert not drifted, "run `make schema`"
