"""Write what follows from the config models: JSON schemas for editors, and every default with its explanation.

`python -m edgecarbon.config.generate` writes them; a test fails where they have drifted from the models.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from edgecarbon.config.base import Section, models_in
from edgecarbon.config.based import OWN, WHOLE
from edgecarbon.config.claims import ClaimsFile
from edgecarbon.config.devices import AdbDevice, BundleDevice, DevicesFile, LocalDevice, SshDevice
from edgecarbon.config.experiment import Experiment, ScalingStudy
from edgecarbon.config.fleet import Fleet
from edgecarbon.config.grid import GridFile
from edgecarbon.config.inputs import (
    BatteriesFile,
    EmbodiedFile,
    LifetimesFile,
    NetworkFile,
    OverheadsFile,
    ReferenceDevicesFile,
    UtilisationFile,
)
from edgecarbon.config.jobs import JobShape, PublishedJobsFile, TargetJob
from edgecarbon.config.meters import WallLog
from edgecarbon.config.parts import ComposedFile, PartsFile
from edgecarbon.config.profiles import ProfilesFile
from edgecarbon.config.scenario import Scenario
from edgecarbon.config.workload import Workload

WIDTH = 118
SCHEMAS: dict[str, type[Section]] = {
    "config": Experiment,
    "devices": DevicesFile,
    "scenario": Scenario,
    "inputs/batteries": BatteriesFile,
    "inputs/claims": ClaimsFile,
    "inputs/composed": ComposedFile,
    "inputs/embodied": EmbodiedFile,
    "inputs/grid": GridFile,
    "inputs/lifetimes": LifetimesFile,
    "inputs/network": NetworkFile,
    "inputs/overheads": OverheadsFile,
    "inputs/parts": PartsFile,
    "inputs/profiles": ProfilesFile,
    "inputs/published_jobs": PublishedJobsFile,
    "inputs/reference_devices": ReferenceDevicesFile,
    "inputs/utilisation": UtilisationFile,
}
DOCUMENTED: dict[str, type[Section]] = {
    "An experiment: config/config.yaml": Experiment,
    "A workload: an entry under `workloads`": Workload,
    "A device on this machine: an entry under `devices` in config/devices.yaml": LocalDevice,
    "A device reached with ssh": SshDevice,
    "A device reached with adb": AdbDevice,
    "A device that is reached by carrying files": BundleDevice,
    "The log of an external meter: `wall_log` of a device": WallLog,
    "A fleet that trains together: an entry under `fleets` in config/devices.yaml": Fleet,
    "A scaling study: `scaling` in an experiment": ScalingStudy,
    "A whole training job: an entry under `jobs` in an experiment": TargetJob,
    "The shape of its model: `shape` of a job": JobShape,
}


def generated(folder: Path) -> dict[Path, str]:
    """The content of every generated file, by its path under the config folder."""
    files = {folder / f"schema/{name}.schema.json": _schema(model) for name, model in SCHEMAS.items()}
    sections = [f"# {title}\n\n" + _document(model, 0) for title, model in DOCUMENTED.items()]
    header = "# Every field with its default. Made by `make schema` from the config models; not read by anything.\n\n"
    return {**files, folder / "defaults.yaml": header + "\n".join(sections)}


def _schema(model: type[Section]) -> str:
    schema = model.model_json_schema()
    return json.dumps(_with_bases(schema) if model is Scenario else schema, indent=1) + "\n"


def _with_bases(schema: dict[str, Any]) -> dict[str, Any]:
    """A scenario's schema, in which a file that is based on another need hold no more than says which one it is."""
    sections: dict[str, Any] = {}
    whole = _demanded(schema, schema["$defs"], sections)
    for section in sections.values():
        section.pop("required", None)
    based = {"properties": {"based_on": {"type": "string"}}, "required": ["based_on"]}
    return {**schema, "required": list(OWN), "if": based, "else": whole}


def _demanded(section: dict[str, Any], definitions: dict[str, Any], met: dict[str, Any]) -> dict[str, Any]:
    """What a section requires, and the sections in it that `based_on` merges field by field; those go into `met`."""
    inside = {}
    for name, field in section["properties"].items():
        for option in (field, *field.get("anyOf", ()), *field.get("oneOf", ())):
            kind = option.get("$ref", "").rpartition("/")[2]
            if kind and not WHOLE & definitions[kind]["properties"].keys():
                met[kind] = definitions[kind]
                inside[name] = _demanded(definitions[kind], definitions, met)
    asked = {"required": section.get("required"), "properties": {name: one for name, one in inside.items() if one}}
    return {name: part for name, part in asked.items() if part}


def _document(model: type[BaseModel], depth: int) -> str:
    lines = []
    pad = "  " * depth
    for name, field in model.model_fields.items():
        text = " ".join((field.description or "").split())
        lines += textwrap.wrap(text, WIDTH - len(pad), initial_indent=f"{pad}# ", subsequent_indent=f"{pad}# ")
        inner = models_in(field.annotation)
        is_section = isinstance(field.default, BaseModel) or field.default is PydanticUndefined
        if inner and is_section and not _is_mapping(field.annotation):
            lines += [f"{pad}{name}:", _document(inner[0], depth + 1).rstrip()]
        else:
            lines.append(f"{pad}{name}: {_value(field.default)}")
    return "\n".join(lines) + "\n"


def _is_mapping(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) is dict


def _value(default: Any) -> str:
    if default is PydanticUndefined:
        return "# required"
    return yaml.safe_dump(default, default_flow_style=True, width=10**6).removesuffix("\n").removesuffix("\n...")


def main() -> None:
    for path, text in generated(Path("config")).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
