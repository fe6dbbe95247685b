"""From a validated experiment to its runs: what is measured where, and what decides whether it must be measured again.

Light on purpose: every start of Snakemake imports it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecarbon.config.base import nearest, read_yaml, validate
from edgecarbon.config.based import scenario_files
from edgecarbon.config.devices import Device, DevicesFile, RemoteDevice
from edgecarbon.config.experiment import Experiment
from edgecarbon.config.fleet import Fleet
from edgecarbon.config.inputs import Inputs, ReferenceDevice, load_inputs
from edgecarbon.config.resolve import load_scenario
from edgecarbon.errors import UserError
from edgecarbon.order import Run
from edgecarbon.records import write_atomically
from edgecarbon.shipped import FOLDER as MEASURED
from edgecarbon.shipped import Arm, Work, load_arm

DEFAULT_CONFIG = "config/config.yaml"
INPUTS = "config/inputs"
SCENARIOS = "config/scenarios"


@dataclass(frozen=True)
class Project:
    """A validated experiment and the devices that it may use.

    Attributes:
        fleet: every device of the devices file; `devices` are those that the experiment names.
        references: every reference device that the experiment, or one of its fleets, names.
        fleets: the fleets that the experiment names.
        shipped: what the files of its `measured_devices` hold.
    """

    experiment: Experiment
    fleet: dict[str, Device]
    references: dict[str, ReferenceDevice]
    config_name: str
    fleets: dict[str, Fleet] = dataclasses.field(default_factory=dict)
    shipped: dict[str, Arm] = dataclasses.field(default_factory=dict)

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
    def shipped_runs(self) -> list[Run]:
        """As many as the files have; one of a workload that a file has no run of, which is then missing."""
        return [
            Run(workload, name, repeat)
            for workload in self.experiment.workloads
            for name, arm in self.shipped.items()
            for repeat in range(1, arm.repeats[workload] + 1)
        ]

    @property
    def runs(self) -> list[Run]:
        return self.measured_runs + self.modelled_runs + self.shipped_runs

    def fleet_runs(self, workload: str, fleet: str) -> list[Run]:
        """Measured runs of a fleet; none of one that is only modelled."""
        repeats = self.experiment.repeats if self.fleets[fleet].devices else 0
        return [Run(workload, fleet, repeat) for repeat in range(1, repeats + 1)]

    @property
    def all_fleet_runs(self) -> list[Run]:
        return [
            run
            for workload in self.experiment.workloads
            for fleet in self.fleets
            for run in self.fleet_runs(workload, fleet)
        ]

    def fleet_settings(self, workload: str, fleet: str) -> dict[str, Any]:
        """What decides a fleet's measurement, beside its plan."""
        members = self.fleets[fleet].devices
        first = self.run_settings(workload, members[0])
        devices = {name: self.run_settings(workload, name)["device"] for name in members}
        shared = {key: part for key, part in first.items() if key != "device"}
        return {**shared, "devices": devices, "fleet": self.fleets[fleet].measured_by()}

    def to_json(self) -> dict[str, Any]:
        """The resolved configuration, as written to `results/configs/` and read back by the scripts."""
        return {
            "config_name": self.config_name,
            "experiment": self.experiment.model_dump(mode="json"),
            "fleet": {name: device.model_dump(mode="json") for name, device in self.fleet.items()},
            "references": {name: device.model_dump(mode="json") for name, device in self.references.items()},
            "fleets": {name: fleet.model_dump(mode="json") for name, fleet in self.fleets.items()},
            "shipped": {name: arm.model_dump(mode="json") for name, arm in self.shipped.items()},
            "settings": {
                workload: {device: self.run_settings(workload, device) for device in self.devices}
                for workload in self.experiment.workloads
            },
            "validation": {device: self.validation_settings(device) for device in self.devices},
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

    def validation_settings(self, device: str) -> dict[str, Any]:
        """What decides the test of a device's meters."""
        return {
            "validation": self.experiment.validation.model_dump(mode="json"),
            "device": self.devices[device].measured_by(),
            "measurement": self.experiment.measurement.model_dump(mode="json"),
        }

    def reference_settings(self, workload: str, device: str) -> dict[str, Any]:
        """What decides the record of a modelled device."""
        return {"size": self.workload_size(workload), "device": self.references[device].model_dump(mode="json")}

    def shipped_settings(self, workload: str) -> dict[str, Any]:
        """What decides which run of a file is a workload's, beside the file."""
        return dataclasses.asdict(Work.of(self.experiment.workloads[workload]))

    def wall_log(self, device: str) -> dict[str, Any] | None:
        """The log of a device's external meter with its `files` that are there; None where it has none."""
        log = self.devices[device].wall_log if device in self.devices else None
        return None if log is None else {**log.model_dump(mode="json"), "files": log.files()}

    def carbon_facts(self) -> dict[str, dict[str, Any]]:
        """What the carbon model needs to know of each device. Changing it measures nothing again."""
        own = {**self.devices, **self.shipped}
        return {name: device.carbon.model_dump(mode="json") for name, device in own.items()} | {
            name: device.carbon_facts() for name, device in self.references.items()
        }

    def target_jobs(self) -> dict[str, Any]:
        """The whole jobs that runs are projected to."""
        return {name: job.model_dump(mode="json") for name, job in self.experiment.jobs.items()}

    @property
    def one_network(self) -> set[str]:
        """Fleets whose members share one access point."""
        return {name for name, fleet in self.fleets.items() if fleet.links.shared_medium_mbyte_per_s is not None}

    @property
    def shaped_workloads(self) -> list[str]:
        """Workloads whose model's shape is asked for: all, where a job states its own, else none."""
        return [name for name in self.experiment.workloads if any(job.shape for job in self.experiment.jobs.values())]

    def scenario_files(self, name: str) -> list[str]:
        """The files that a scenario is made of, its own last."""
        return [str(file) for file in scenario_files(Path(SCENARIOS) / f"{name}.yaml")]

    def scaling_settings(self) -> dict[str, Any]:
        """What decides the scaling study, beside the model."""
        study = self.experiment.scaling
        if study is None:
            return {}
        return {"study": study.model_dump(mode="json"), "device": self.references[study.device].model_dump(mode="json")}

    @property
    def validation_folders(self) -> list[Path]:
        """Where the devices' tests of their meters are, of those that were made."""
        folders = [Path("results/validation") / name for name in self.devices]
        return [folder for folder in folders if (folder / "record.json").exists()]

    @property
    def scaling_folders(self) -> list[Path]:
        """Where the scaling study's tables are, one folder a workload; none where there is no study."""
        return [Path("results/parquet/scaling") / name for name in self.experiment.workloads if self.experiment.scaling]

    @property
    def fleet_folders(self) -> list[Path]:
        """Where the fleets' tables are, WORKLOAD/FLEET."""
        return [
            Path("results/parquet/fleets") / name / fleet for name in self.experiment.workloads for fleet in self.fleets
        ]

    def plan_settings(self, workload: str, fleet: str) -> dict[str, Any]:
        """What decides a fleet's plan, beside its members' own runs: of a plan of one's own, that plan."""
        own = self.fleets[fleet]
        if own.plan is not None:
            decisive = own.model_dump(mode="json", include={"devices", "modelled", "plan", "micro_batches", "order"})
            return {"fleet": decisive, "batch": self.workload_size(workload)}
        found = self.forecast_settings(workload, fleet)
        if own.objective == "time":
            found = {key: part for key, part in found.items() if key not in ("carbon", "scenario")}
            found["fleet"] = {key: part for key, part in found["fleet"].items() if key not in ("radio", "idle_share")}
        return found

    def forecast_settings(self, workload: str, fleet: str) -> dict[str, Any]:
        """What decides a fleet's plan and simulation, beside its members' own runs."""
        kinds = dict.fromkeys(self.fleets[fleet].kinds())
        return {
            "fleet": self.fleets[fleet].decisive(),
            "size": self.workload_size(workload),
            "threads": self.experiment.workloads[workload].threads,
            "references": {
                name: self.references[name].model_dump(mode="json") for name in kinds if name in self.references
            },
            "carbon": {name: self.carbon_facts()[name] for name in kinds},
            "scenario": self.experiment.scenarios[0],
        }


def load_project(config_files: list[str], overrides: dict[str, Any] | None = None, root: Path = Path()) -> Project:
    """Read and check an experiment with everything that it names.

    Args:
        config_files: YAML files, later ones over earlier ones; empty takes the default.
        overrides: values given on the command line, over all files.

    Raises:
        UserError: one line a problem, with file, field, what was expected and the nearest valid name.
    """
    files = [_within(root, file) for file in config_files] or [DEFAULT_CONFIG]
    data: dict[str, Any] = {}
    for file in files:
        _overlay(data, read_yaml(root / file))
    source = ", ".join(files)
    if overrides:
        _overlay(data, overrides)
        source += ", --config"
    experiment = validate(Experiment, data, source)
    devices_path = root / experiment.devices_file
    devices_file = validate(DevicesFile, read_yaml(devices_path), experiment.devices_file)
    inputs = load_inputs(root / INPUTS)
    _check_names(experiment, devices_file, inputs, source, root)
    fleets = {name: devices_file.fleets[name] for name in experiment.fleets}
    modelled = [kind for fleet in fleets.values() for kind in fleet.modelled]
    modelled += [experiment.scaling.device] if experiment.scaling else []
    references = dict.fromkeys([*experiment.reference_devices, *modelled])
    arms = {name: load_arm(root, name, experiment.workloads) for name in experiment.measured_devices}
    for arm in arms.values():
        inputs.embodied.find(arm.carbon.embodied, f"{arm.file}: carbon.embodied")
    return Project(
        experiment,
        devices_file.devices,
        {name: inputs.reference_devices.entries[name] for name in references},
        source,
        fleets,
        arms,
    )


def read_project(path: Path) -> Project:
    """Read back what `Project.to_json` wrote."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return Project(
        validate(Experiment, data["experiment"], str(path)),
        validate(DevicesFile, {"devices": data["fleet"]}, str(path)).devices,
        {name: validate(ReferenceDevice, device, str(path)) for name, device in data["references"].items()},
        data["config_name"],
        {name: validate(Fleet, fleet, str(path)) for name, fleet in data["fleets"].items()},
        {name: validate(Arm, arm, str(path)) for name, arm in data["shipped"].items()},
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


def _within(root: Path, file: str) -> str:
    """A file as seen from the root, where it lies below it: Snakemake gives every path from the machine's own."""
    path, base = (root / file).absolute(), root.absolute()
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(file)


def _overlay(base: dict[str, Any], over: dict[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _overlay(base[key], value)
        else:
            base[key] = value


def _check_names(experiment: Experiment, devices_file: DevicesFile, inputs: Inputs, source: str, root: Path) -> None:
    fleet, fleets = devices_file.devices, devices_file.fleets
    if not experiment.devices and not experiment.reference_devices and not experiment.measured_devices:
        raise UserError(f"{source}: devices: name at least one device or reference device; {nearest('', list(fleet))}")
    references = inputs.reference_devices
    scenarios = [path.stem for path in (root / SCENARIOS).glob("*.yaml")]
    files = [path.stem for path in (root / MEASURED).glob("*.json")]
    problems = []
    for field, names, valid, where in (
        ("devices", experiment.devices, list(fleet), experiment.devices_file),
        ("reference_devices", experiment.reference_devices, list(references.entries), references.file),
        ("measured_devices", experiment.measured_devices, files, str(MEASURED)),
        ("scenarios", experiment.scenarios, scenarios, SCENARIOS),
        ("fleets", experiment.fleets, list(fleets), f"{experiment.devices_file}: fleets"),
        (
            "scaling.device",
            [experiment.scaling.device] if experiment.scaling else [],
            list(references.entries),
            references.file,
        ),
    ):
        unknown = [name for name in names if name not in valid]
        problems += [f"{source}: {field}: '{name}' is not in {where}; {nearest(name, valid)}" for name in unknown]
    for name in sorted(set(experiment.devices) & set(references.entries)):
        problems.append(f"{experiment.devices_file}: devices.{name}: {references.file} has this name too; rename yours")
    for name in experiment.measured_devices:
        # Also a device that this experiment does not name: its record would be replaced.
        taken = {experiment.devices_file: {*fleet, *fleets}, references.file: set(references.entries)}
        problems += [
            f"{source}: measured_devices: '{name}' is in {where} too; rename {MEASURED / name}.json"
            for where, names in taken.items()
            if name in names
        ]
    for name in experiment.fleets:
        problems += (
            _fleet_problems(name, fleets, experiment, list(references.entries), source) if name in fleets else []
        )
    if problems:
        raise UserError("\n".join(problems))
    for name in experiment.devices:
        where = f"{experiment.devices_file}: devices.{name}.carbon"
        inputs.embodied.find(fleet[name].carbon.embodied, f"{where}.embodied")
    for name in experiment.scenarios:
        load_scenario(root / SCENARIOS / f"{name}.yaml", inputs)


def _fleet_problems(
    name: str, fleets: dict[str, Fleet], experiment: Experiment, references: list[str], source: str
) -> list[str]:
    """What keeps a fleet from being planned."""
    where = f"{experiment.devices_file}: fleets.{name}"
    problems = [
        f"{where}.modelled: '{kind}' is no reference device; {nearest(kind, references)}"
        for kind in fleets[name].modelled
        if kind not in references
    ]
    # A fleet is planned from what its members do alone.
    alone = [member for member in fleets[name].devices if member not in experiment.devices]
    if alone:
        problems.append(
            f"{source}: devices: '{alone[0]}' is a member of fleet '{name}', which is planned from its own runs; add it to "
            "`devices`"
        )
    return problems
