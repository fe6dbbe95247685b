"""What every config section shares: strict models, YAML reading, and errors that name file, field and way out."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgecarbon.errors import UserError

# In C where PyYAML was built with it: several times faster, and every start of the workflow reads a dozen files.
try:
    from yaml import CSafeLoader as _FastLoader
except ImportError:
    from yaml import SafeLoader as _FastLoader  # type: ignore[assignment]


class Section(BaseModel):
    """A config section: no unknown keys, no silent conversions, field docstrings become the schema's descriptions."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


CURRENCY, CURRENCY_PER_KWH = r"^[A-Z]{3}$", r"^[A-Z]{3}/kWh$"
NAME = r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$"
Name = Annotated[str, Field(pattern=NAME)]
"""A name that is safe in paths, shell words and Snakemake wildcards: lower case, digits, '.', '_' and '-'."""

_PATTERN_WORDS = {
    NAME: "expected a name of lower case letters, digits, '.', '_' and '-'",
    CURRENCY: "expected a currency of three letters, such as EUR",
    CURRENCY_PER_KWH: "expected a currency of three letters per kWh, such as EUR/kWh",
}

PositiveFloat = Annotated[float, Field(gt=0)]

LONGEST_SHOWN = 200
"""Letters of a wrong value that an error shows."""

SectionType = TypeVar("SectionType", bound=Section)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        UserError: the file cannot be read, is not YAML, or is not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}). Check the path and its permissions.") from None
    try:
        data = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {_yaml_fault(error, text)}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected a mapping of sections at the top level, found {type(data).__name__}.")
    return data


def _yaml_fault(error: yaml.YAMLError, text: str) -> str:
    """What is wrong and where, in a line; PyYAML says it over four, and of a file of no name."""
    mark = getattr(error, "problem_mark", None)
    if not isinstance(error, yaml.MarkedYAMLError) or mark is None:
        return " ".join(str(error).split())
    fault = f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    if error.context_mark and error.context_mark.line < mark.line:
        fault += f" ({error.context}, which begins in line {error.context_mark.line + 1})"
    if text[: mark.index + 1].endswith("\t"):
        return f"{fault}; it is a tab: indent with spaces"
    if "mapping values" in str(error.problem):
        return f"{fault}; indent as the lines above, and put a text with ': ' in it in quotes"
    return fault


class _UniqueKeyLoader(_FastLoader):
    """SafeLoader that refuses a key given twice: the second would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"'{key}' is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def validate(model: type[SectionType], data: Any, source: str) -> SectionType:
    """Validate `data` against `model`.

    Args:
        source: the file (or option) that the data came from, named in every error.

    Raises:
        UserError: one line a problem, each with file, field, what was expected, and the nearest valid name.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = [_explain(problem, model, source, data) for problem in error.errors()]
        raise UserError("\n".join(lines)) from None


def nearest(word: str, choices: list[str]) -> str:
    """A hint naming the closest valid choice, or all of them where none is close."""
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"valid names: {', '.join(sorted(choices))}" if choices else "no names are defined"


def _explain(problem: Any, model: type[Section], source: str, data: Any) -> str:
    place = _without_tags(problem["loc"], data, problem["type"] == "value_error")
    location = [str(part) for part in place]
    field = ".".join(location) or "(top level)"
    if problem["type"] == "extra_forbidden":
        valid = _fields_at(model, place[:-1], data)
        return f"{source}: {field}: no such field; {nearest(location[-1], valid)}"
    if problem["type"] in ("missing", "union_tag_not_found"):
        wanted = ".".join([*location, str(problem["ctx"]["discriminator"]).strip("'")]) if "ctx" in problem else field
        return f"{source}: {wanted}: required, and not given"
    if problem["type"] == "union_tag_invalid":
        context = problem["ctx"]
        tags = [tag.strip(" '") for tag in context["expected_tags"].split(",")]
        name = str(context["discriminator"]).strip("'")
        return f"{source}: {field}.{name}: no such {name}; {nearest(context['tag'], tags)} (found {context['tag']!r})"
    message = _in_yaml(problem, model) or problem["msg"].removeprefix("Value error, ")
    given = repr(problem.get("input"))
    given = given if len(given) <= LONGEST_SHOWN else f"{given[:LONGEST_SHOWN]}…"
    shown = "" if isinstance(problem.get("input"), dict) else f" (found {given})"
    return f"{source}: {field}: {message}{shown}"


def _in_yaml(problem: Any, model: type[Section]) -> str | None:
    """What was expected, in the words of a YAML file, where pydantic speaks of Python; None where its words will do."""
    kind, given = problem["type"], problem.get("input")
    if kind == "list_type":
        return "expected a list, such as [a, b]; [] for none"
    if kind in ("dict_type", "model_type"):
        return "expected fields below it, each as `name: value`"
    if kind == "string_type" and isinstance(given, bool):
        return "YAML reads a bare no, yes, on or off as true or false: put it in quotes"
    if kind == "string_type":
        return "expected a text: put it in quotes"
    if kind == "float_type" and isinstance(given, str) and re.fullmatch(r"[-+.\deE]+", given):
        return f"{problem['msg']}; YAML reads it as a text: write it without quotes, 1e-4 as 1.0e-4, 1e5 as 1.0e+5"
    return _PATTERN_WORDS.get(problem["ctx"]["pattern"]) if kind == "string_pattern_mismatch" else None


def _without_tags(location: tuple[Any, ...], data: Any, of_a_section: bool) -> tuple[Any, ...]:
    """A problem's place less the names of union members, which pydantic puts in and no file has.

    Args:
        of_a_section: whether the place is a section or a field that is there, and not one that is missing.
    """
    place: list[Any] = []
    for index, part in enumerate(location):
        if isinstance(data, str):  # nothing of a file is below a text
            continue
        if isinstance(data, dict) and part not in data and (of_a_section or index < len(location) - 1):
            continue
        place.append(part)
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            data = None
    return tuple(place)


def _fields_at(model: type[BaseModel], location: tuple[Any, ...], data: Any) -> list[str]:
    """Field names of the model that `location` leads to, through lists, mappings and unions of models."""
    current: list[type[BaseModel]] = [model]
    for part in location:
        following: list[type[BaseModel]] = []
        for candidate in current:
            if part in candidate.model_fields:
                following += models_in(candidate.model_fields[part].annotation)
        # A list index or a mapping key stays at the same models.
        current = following or current
        data = data[part]
    tagged = [candidate for candidate in current if isinstance(data, dict) and _is_chosen(candidate, data)]
    current = tagged or current
    return sorted({field.alias or name for candidate in current for name, field in candidate.model_fields.items()})


def _is_chosen(model: type[BaseModel], data: dict[str, Any]) -> bool:
    """Whether every field of `model` that allows given values only is among them in `data`, as a union's tag is."""
    literals = {name: field for name, field in model.model_fields.items() if get_origin(field.annotation) is Literal}
    required = {name: field for name, field in literals.items() if field.is_required()}
    return bool(required) and all(data.get(name) in get_args(field.annotation) for name, field in required.items())


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models inside a field annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in models_in(inner)]
