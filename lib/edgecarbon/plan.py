"""From a validated experiment to its runs: what is measured where, and what decides whether it must be measured again.

Light on purpose: every start of Snakemake imports it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecarbon.config.base import nearest, read_yaml, validate
from edgecarbon.config.devices import Device, DevicesFile, RemoteDevice
from edgecarbon.config.experiment import Experiment
from edgecarbon.config.inputs import Inputs, ReferenceDevice, load_inputs
from edgecarbon.config.scenario import load_scenario
from edgecarbon.errors import UserError
from edgecarbon.order import Run
from edgecarbon.records import write_atomically

DEFAULT_CONFIG = "config/config.yaml"
INPUTS = "config/inputs"
SCENARIOS = "config/scenarios"


@dataclass(frozen=True)
class Project:
    """A validated experiment and the devices that it may use.

    Attributes:
        fleet: every device of the devices file; `devices` are those that the experiment names.
    """

    experiment: Experiment
    fleet: dict[str, Device]
    references: dict[str, ReferenceDevice]
    config_name: str

    @property
    def devices(self) -> dict[str, Device]:
        return {name: self.fleet[name] for name in self.experiment.devices}

    @property
    def measured_runs(self) -> list[Run]:
        experiment = self.experiment
        return [
            Run(workload, device, repeat)
            for workload in experiment.workloads
            for device in experiment.devices
            for repeat in range(1, experiment.repeats + 1)
        ]

    @property
    def modelled_runs(self) -> list[Run]:
        experiment = self.experiment
        return [Run(workload, name, 1) for workload in experiment.workloads for name in experiment.reference_devices]

    @property
    def runs(self) -> list[Run]:
        return self.measured_runs + self.modelled_runs

    def to_json(self) -> dict[str, Any]:
        """The resolved configuration, as written to `results/configs/` and read back by the scripts."""
        return {
            "config_name": self.config_name,
            "experiment": self.experiment.model_dump(mode="json"),
            "fleet": {name: device.model_dump(mode="json") for name, device in self.fleet.items()},
            "references": {name: device.model_dump(mode="json") for name, device in self.references.items()},
            "settings": {
                workload: {device: self.run_settings(workload, device) for device in self.devices}
                for workload in self.experiment.workloads
            },
        }

    def virtual_hosts(self) -> dict[str, dict[str, Any]]:
        """What the stand of virtual hosts must know of each that the experiment names."""
        return {
            name: {"transport": device.transport, **device.virtual.model_dump()}
            for name, device in self.devices.items()
            if isinstance(device, RemoteDevice) and device.virtual
        }

    def data_settings(self, workload: str) -> dict[str, Any]:
        """What decides a workload's token blocks."""
        settings = self.experiment.workloads[workload]
        return {
            "model": settings.model,
            "revision": settings.revision,
            "data": settings.data.model_dump(mode="json"),
            "sequence_length": settings.sequence_length,
            "blocks": settings.blocks,
            "seed": settings.seed,
        }

    def data_files(self, workload: str) -> list[str]:
        """The local files that a workload's documents come from."""
        file = self.experiment.workloads[workload].data.file
        return [] if file is None else [str(file)]

    def workload_size(self, workload: str) -> dict[str, int]:
        """How much a workload's measured window computes."""
        return self.experiment.workloads[workload].model_dump(include={"batch_size", "sequence_length", "steps"})

    def run_settings(self, workload: str, device: str) -> dict[str, Any]:
        """What decides a measurement. A change of it, and of nothing else in the config, measures the run again."""
        settings = self.experiment.workloads[workload]
        return {
            "weights": settings.weights,
            "revision": settings.revision,
            "training": settings.training(),
            "device": self.devices[device].measured_by(),
            "measurement": self.experiment.measurement.model_dump(mode="json"),
        }

    def reference_settings(self, workload: str, device: str) -> dict[str, Any]:
        """What decides the record of a modelled device."""
        return {"size": self.workload_size(workload), "device": self.references[device].model_dump(mode="json")}

    def carbon_facts(self) -> dict[str, dict[str, Any]]:
        """What the carbon model needs to know of each device. Changing it measures nothing again."""
        return {name: device.carbon.model_dump(mode="json") for name, device in self.devices.items()} | {
            name: device.carbon_facts() for name, device in self.references.items()
        }


def load_project(config_files: list[str], overrides: dict[str, Any] | None = None, root: Path = Path()) -> Project:
    """Read and check an experiment with everything that it names.

    Args:
        config_files: YAML files, later ones over earlier ones; empty takes the default.
        overrides: values given on the command line, over all files.

    Raises:
        UserError: one line a problem, with file, field, what was expected and the nearest valid name.
    """
    files = [str(file) for file in config_files] or [DEFAULT_CONFIG]
    data: dict[str, Any] = {}
    for file in files:
        _overlay(data, read_yaml(root / file))
    source = ", ".join(files)
    if overrides:
        _overlay(data, overrides)
        source += ", --config"
    experiment = validate(Experiment, data, source)
    devices_path = root / experiment.devices_file
    fleet = validate(DevicesFile, read_yaml(devices_path), experiment.devices_file).devices
    inputs = load_inputs(root / INPUTS)
    _check_names(experiment, fleet, inputs, source, root)
    return Project(
        experiment,
        fleet,
        {name: inputs.reference_devices.entries[name] for name in experiment.reference_devices},
        source,
    )


def read_project(path: Path) -> Project:
    """Read back what `Project.to_json` wrote."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return Project(
        validate(Experiment, data["experiment"], str(path)),
        validate(DevicesFile, {"devices": data["fleet"]}, str(path)).devices,
        {name: validate(ReferenceDevice, device, str(path)) for name, device in data["references"].items()},
        data["config_name"],
    )


def write_project(project: Project, folder: Path) -> Path:
    """Write the resolved configuration under a name made of its content, so that runs beside each other cannot mix."""
    resolved = project.to_json()
    path = folder / f"{fingerprint(resolved)}.json"
    if not path.exists():
        write_atomically(path, json.dumps(resolved, indent=1, sort_keys=True) + "\n")
    return path


def fingerprint(settings: dict[str, Any]) -> str:
    """Short hash of settings, independent of the order of their keys."""
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _overlay(base: dict[str, Any], over: dict[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _overlay(base[key], value)
        else:
            base[key] = value


def _check_names(experiment: Experiment, fleet: dict[str, Device], inputs: Inputs, source: str, root: Path) -> None:
    if not experiment.devices and not experiment.reference_devices:
        raise UserError(f"{source}: devices: name at least one device or reference device; {nearest('', list(fleet))}")
    references = inputs.reference_devices
    scenarios = [path.stem for path in (root / SCENARIOS).glob("*.yaml")]
    problems = []
    for field, names, valid, where in (
        ("devices", experiment.devices, list(fleet), experiment.devices_file),
        ("reference_devices", experiment.reference_devices, list(references.entries), references.file),
        ("scenarios", experiment.scenarios, scenarios, SCENARIOS),
    ):
        unknown = [name for name in names if name not in valid]
        problems += [f"{source}: {field}: '{name}' is not in {where}; {nearest(name, valid)}" for name in unknown]
    for name in sorted(set(experiment.devices) & set(references.entries)):
        problems.append(f"{experiment.devices_file}: devices.{name}: {references.file} has this name too; rename yours")
    if problems:
        raise UserError("\n".join(problems))
    for name in experiment.devices:
        where = f"{experiment.devices_file}: devices.{name}.carbon"
        inputs.embodied.find(fleet[name].carbon.embodied, f"{where}.embodied")
    for name in experiment.scenarios:
        load_scenario(root / SCENARIOS / f"{name}.yaml", inputs)
