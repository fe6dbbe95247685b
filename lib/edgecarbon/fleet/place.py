"""Place a model's training on devices that a network joins, and write who does what.

    python -m edgecarbon.fleet.place NETWORK.json -o PLACEMENT.json [--objective communication|time|energy|carbon]

NETWORK.json has delay_ms and bandwidth_gbps, a row and a column a device. The objective `communication` (DT-FM's problem)
reads groups, group_size, gradient_gigabytes and activation_gigabytes besides; the others read devices, model, batch_size and,
where given, micro_batches.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecarbon.errors import UserError
from edgecarbon.fleet import communication, communication_search
from edgecarbon.fleet.edge import OBJECTIVES, place_edge
from edgecarbon.fleet.model import Machine, ModelShape, Network

DEVICE_FIELDS = {
    "flops_per_s": "what it sustains in training",
    "memory_gigabytes": "free for training",
    "busy_watts": "while computing",
    "idle_watts": "while waiting",
    "radio_joules_per_megabyte": "0 where the watts cover it",
    "grams_per_kwh": "of its electricity",
    "embodied_grams_per_hour": "0 to leave it out",
}
MODEL_FIELDS = ("layers", "width", "ffn", "vocabulary", "positions", "sequence_length")
MOST_LAYERS, MOST_SEQUENCES = 1000, 4096
"""Of a model, and of a step's batch: beyond, the search would take hours."""


def main(words: Sequence[str] | None = None) -> int:
    """Exit code: 0, or 1 with one line on stderr that says what is wrong with the input."""
    summary, _, text = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m edgecarbon.fleet.place",
        description=summary,
        epilog=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("network", type=Path, metavar="NETWORK.json")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PLACEMENT.json")
    parser.add_argument("--objective", choices=("communication", *OBJECTIVES), default="communication")
    parser.add_argument("--seconds", type=seconds, default=30.0, help="ceiling of the search's time (default: 30)")
    parser.add_argument("--seed", type=seed, default=0)
    options = parser.parse_args(words)
    try:
        placement = run(options.network, options.objective, options.seconds, options.seed)
        _write(options.output, placement)
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def run(path: Path, objective: str, seconds: float, seed: int) -> dict[str, Any]:
    """The placement as it is written: for the network in a file."""
    data = _Fields(path, "", _read(path))
    links = {name: data.matrix(name) for name in ("delay_ms", "bandwidth_gbps")}
    shapes = {name: len(matrix) for name, matrix in links.items()}
    if len(set(shapes.values())) > 1:
        raise data.error(
            "bandwidth_gbps",
            f"has {shapes['bandwidth_gbps']} rows, but delay_ms has {shapes['delay_ms']}; give every device one in each",
        )
    if objective == "communication":
        return _communication(data, links["delay_ms"], links["bandwidth_gbps"], seconds, seed)
    return _edge(data, links["delay_ms"], links["bandwidth_gbps"], objective, seconds, seed)


def _communication(
    data: _Fields, delay_ms: NDArray[np.float64], gbps: NDArray[np.float64], seconds: float, seed: int
) -> dict[str, Any]:
    groups, size = data.whole("groups"), data.whole("group_size")
    if groups * size != len(delay_ms):
        raise data.error(
            "groups, group_size",
            f"{groups} × {size} places, but delay_ms has {len(delay_ms)} devices; their product must be the number of devices",
        )
    sizes = data.number("gradient_gigabytes"), data.number("activation_gigabytes")
    try:
        problem = communication.Problem(delay_ms / 1000, gbps, groups, size, *sizes)
        found = communication_search.place(problem, seconds, seed)
    except UserError as error:
        raise UserError(f"{data.path}: {error}") from None
    return {
        "name": data.name(),
        "objective": "communication",
        "seed": seed,
        "partition": [list(group) for group in found.partition],
        "pipeline_order": list(found.pipeline_order),
        "data_parallel_cost_s": found.data_parallel_cost_s,
        "pipeline_cost_s": found.pipeline_cost_s,
        "total_cost_s": found.total_cost_s,
        "lower_bound_s": found.lower_bound_s,
        "optimal": found.optimal,
    }


def _edge(
    data: _Fields,
    delay_ms: NDArray[np.float64],
    gbps: NDArray[np.float64],
    objective: str,
    seconds: float,
    seed: int,
) -> dict[str, Any]:
    count = len(delay_ms)
    machines = _machines(data, count)
    given = data.inside("model")
    sizes = {name: given.whole(name) for name in MODEL_FIELDS}
    if sizes["layers"] > MOST_LAYERS:
        raise given.error("layers", f"must be at most {MOST_LAYERS}, is {sizes['layers']}")
    layers, width, ffn, vocabulary, positions, length = (given.whole(name) for name in MODEL_FIELDS)
    if layers > MOST_LAYERS:
        raise given.error("layers", f"must be at most {MOST_LAYERS}, is {layers}")
    shape = ModelShape(layers, width, ffn, vocabulary, positions, length, given.truth("tied"))
    batch = data.whole("batch_size")
    if batch > MOST_SEQUENCES:
        raise data.error("batch_size", f"must be at most {MOST_SEQUENCES} sequences, is {batch}")
    candidates = None
    if "micro_batches" in data.values:
        candidates = [data.as_whole(f"micro_batches[{at}]", one) for at, one in enumerate(data.list("micro_batches"))]
        if not candidates:
            raise data.error("micro_batches", "is empty; list at least one number, or leave the field out")
    rate = gbps * 1e9 / 8
    np.fill_diagonal(rate, np.inf)
    np.fill_diagonal(delay_ms, 0.0)
    free = np.full(count, np.inf)
    network = Network(delay_ms / 1000, rate, free, free, np.full(count, -1), np.array([]))
    try:
        found = place_edge(
            shape, machines, network, batch, objective, seconds=seconds, seed=seed, micro_batches=candidates
        )
    except UserError as error:
        raise UserError(f"{data.path}: {error}") from None
    units = {"time": "s", "energy": "joules", "carbon": "grams"}
    return {
        "name": data.name(),
        "objective": objective,
        "seed": seed,
        "grid": [list(row) for row in found.plan.grid],
        "layers": list(found.plan.layers),
        "micro_batches": found.plan.micro_batches,
        "sequences": found.plan.sequences,
        "order": found.plan.order,
        "left_out": list(found.left_out),
        "step_s": found.step_s,
        "energy_joules": found.energy_joules,
        "carbon_grams": found.carbon_grams,
        f"lower_bound_{units[objective]}": found.lower_bound,
        "optimal": found.optimal,
        "statement": found.statement,
    }


def _machines(data: _Fields, count: int) -> list[Machine]:
    devices = data.list("devices")
    if len(devices) != count:
        raise data.error(
            "devices",
            f"has {len(devices)}, but delay_ms has {count} rows; describe every device once, in the same order",
        )
    machines = []
    for at, values in enumerate(devices):
        one = _Fields(data.path, f"devices[{at}].", values)
        figures = {name: one.number(name, f"a number, {meaning}") for name, meaning in DEVICE_FIELDS.items()}
        for name in ("flops_per_s", "memory_gigabytes"):
            if figures[name] <= 0:
                raise one.error(name, "must be above 0; leave out a device that has none")
        machines.append(
            Machine(
                name=one.name(f"device {at}"),
                flops_per_s=figures["flops_per_s"],
                memory_bytes=figures["memory_gigabytes"] * 1e9,
                busy_watts=figures["busy_watts"],
                idle_watts=figures["idle_watts"],
                radio_joules_per_byte=figures["radio_joules_per_megabyte"] / 1e6,
                grams_per_kwh=figures["grams_per_kwh"],
                embodied_grams_per_s=figures["embodied_grams_per_hour"] / 3600,
            )
        )
    names = [machine.name for machine in machines]
    for at, name in enumerate(names):
        if name in names[:at]:
            raise data.error(f"devices[{at}].name", f"'{name}' is also devices[{names.index(name)}]; give each its own")
    return machines


class _Fields:
    """A JSON object of a file. Each reader checks its field, and its error names the file, the field and the way out."""

    def __init__(self, path: Path, place: str, values: Any) -> None:
        self.path, self.place = path, place
        if not isinstance(values, dict):
            where = place.rstrip(".") or "the top level"
            raise UserError(f"{path}: {where}: must be a JSON object with named fields, is {_kind(values)}.")
        self.values: dict[str, Any] = values

    def error(self, field: str, what: str) -> UserError:
        return UserError(f"{self.path}: {self.place}{field}: {what}.")

    def get(self, field: str, expected: str) -> Any:
        if field not in self.values:
            raise self.error(field, f"is missing; add it ({expected})")
        return self.values[field]

    def inside(self, field: str) -> _Fields:
        return _Fields(self.path, f"{self.place}{field}.", self.get(field, "an object"))

    def list(self, field: str) -> list[Any]:
        value = self.get(field, "a list")
        if not isinstance(value, list):
            raise self.error(field, f"must be a list, is {_kind(value)}")
        return value

    def name(self, default: str = "") -> str:
        value = self.values.get("name", default)
        if not isinstance(value, str):
            raise self.error("name", f"must be a text, is {_kind(value)}")
        return value

    def truth(self, field: str) -> bool:
        value = self.get(field, "true or false")
        if not isinstance(value, bool):
            raise self.error(field, f"must be true or false, is {_kind(value)}")
        return value

    def whole(self, field: str) -> int:
        return self.as_whole(field, self.get(field, "a whole number of at least 1"))

    def as_whole(self, field: str, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**40:
            raise self.error(field, f"must be a whole number of at least 1, is {_kind(value)}")
        return value

    def number(self, field: str, expected: str = "a number of at least 0") -> float:
        return self.as_number(field, self.get(field, expected))

    def as_number(self, field: str, value: Any) -> float:
        if not _is_number(value) or value < 0:
            raise self.error(field, f"must be a finite number of at least 0, is {_kind(value)}")
        return float(value)

    def matrix(self, field: str) -> NDArray[np.float64]:
        """(n, n), symmetric, finite and of at least 0, a bandwidth above 0; the diagonal is not read and comes back as 1."""
        rows = self.list(field)
        count = len(rows)
        if count == 0:
            raise self.error(field, "is empty; give a row and a column for each device")
        for at, row in enumerate(rows):
            if not isinstance(row, list) or len(row) != count:
                length = f"{len(row)} numbers" if isinstance(row, list) else _kind(row)
                raise self.error(f"{field}[{at}]", f"must be a list of {count} numbers, one a device, is {length}")
            for other, value in enumerate(row):
                least = "above 0" if field == "bandwidth_gbps" else "of at least 0"
                if at == other:
                    continue
                if not _is_number(value) or value < 0 or (value == 0 and field == "bandwidth_gbps"):
                    raise self.error(f"{field}[{at}][{other}]", f"must be a finite number {least}, is {_kind(value)}")
        for at in range(count):
            for other in range(at):
                one, two = rows[at][other], rows[other][at]
                if not math.isclose(one, two, rel_tol=1e-9):
                    raise self.error(
                        f"{field}[{at}][{other}]",
                        f"is {one}, but [{other}][{at}] is {two}; a link has one figure for both directions: make them equal",
                    )
        matrix = np.array(
            [[1.0 if at == other else row[other] for other in range(count)] for at, row in enumerate(rows)]
        )
        return matrix


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < 1e300  # not NaN, not infinite, and a whole number that a float can hold


def _kind(value: Any) -> str:
    """A value in few words: lists and objects are not shown."""
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "an object"
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 40 else f"{shown[:40]}…"


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}). Check the path and its permissions.") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not JSON ({error}). Mend it there, or give another file.") from None


def _write(path: Path, placement: dict[str, Any]) -> None:
    text = json.dumps(placement, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}). Choose another place with -o.") from None


def seconds(word: str) -> float:
    value = float(word)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"must be above 0, is {word}")
    return value


def seed(word: str) -> int:
    value = int(word)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be 0 or more, is {word}")
    return value


if __name__ == "__main__":
    sys.exit(main())
