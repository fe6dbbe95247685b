"""The shipped inputs are complete, and a doctored copy of them is refused with file, field and way out."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgecarbon.config.inputs import load_inputs
from edgecarbon.errors import UserError

INPUTS = Path(__file__).resolve().parents[2] / "config/inputs"
REQUIRED = ("value", "unit", "low", "high", "source", "year", "boundary", "licence", "provenance")


@pytest.fixture(scope="module")
def inputs():
    return load_inputs(INPUTS)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(INPUTS, tmp_path / "inputs"))


def quantities(node: Any) -> list[dict[str, Any]]:
    """Every mapping with a value, wherever it stands in a file."""
    if isinstance(node, list):
        return [found for part in node for found in quantities(part)]
    if not isinstance(node, dict):
        return []
    return ([node] if "value" in node else []) + [found for part in node.values() for found in quantities(part)]


def doctor(path: Path, change) -> None:
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(data)
    path.write_text(yaml.safe_dump(data), encoding="utf-8")


def error_of(copy: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_inputs(copy)
    return str(caught.value)


# --- what ships


# What others state of their own jobs, and what they claim, is no assumption of this project, and has no range.
ASSUMED = sorted(set(INPUTS.glob("*.yaml")) - {INPUTS / "published_jobs.yaml", INPUTS / "claims.yaml"})


@pytest.mark.parametrize("path", ASSUMED, ids=lambda path: path.name)
def test_every_value_says_all_that_it_must(path: Path):
    found = quantities(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert found
    for entry in found:
        assert set(REQUIRED) <= set(entry), entry
        assert entry["low"] <= entry["value"] <= entry["high"]
        assert len(entry["source"]) > 10


@pytest.mark.parametrize(
    ("key", "value", "low", "high"),
    [
        ("nvidia-rtx-a5000", 188, 115, 300),
        ("nvidia-a100-sxm", 128, 128, 322),
        ("nvidia-h100-sxm", 164, 164, 575),
        ("nvidia-h200-sxm", 164, 164, 575),
        ("snapdragon-888-phone", 50, 15, 84),
        ("jetson-orin", 30, 15, 60),
        ("raspberry-pi", 5, 3, 10),
    ],
)
def test_published_ranges(inputs, key, value, low, high):
    entry = inputs.embodied.find(key, "test")
    assert (entry.value, entry.low, entry.high) == (value, low, high)


def test_published_values(inputs):
    embodied = {key: entry.value for key, entry in inputs.embodied.entries.items()}
    assert embodied["apple-macbook-pro-14-m2-pro"] == pytest.approx(243 * 0.79, abs=0.1)
    assert embodied["server-share-a100-node"] == 381
    assert embodied["server-share-h100-node"] == 712
    assert embodied["server-share-bloom"] == 2500 / 8
    assert embodied["generic-computer"] == pytest.approx((134 * 712) ** 0.5, abs=0.5)
    assert {key: entry.value for key, entry in inputs.pue.entries.items() if key != "none"} == {
        "aws": 1.135,
        "gcp": 1.1,
        "azure": 1.185,
        "on-premises": 1.58,
    }
    assert inputs.charger_factor.entries["average"].value == pytest.approx(2.9 * 1.10)
    segments = {key: entry.value for key, entry in inputs.segments.entries.items()}
    assert segments["fixed-network"] == pytest.approx(0.06 / 2**4.5, abs=1e-5)
    joules_per_gb = 130e-9 * 8e9
    assert segments["wifi-telemetry"] == pytest.approx(joules_per_gb / 3.6e6, abs=5e-6)


@pytest.mark.parametrize(
    ("zone", "intensity"),
    [
        ("USA", 384),
        ("GBR", 211),
        ("FRA", 44),
        ("DEU", 344),
        ("POL", 615),
        ("SWE", 36),
        ("NOR", 31),
        ("ZAF", 709),
        ("IND", 708),
        ("CHN", 560),
        ("JPN", 482),
        ("AUS", 552),
    ],
)
def test_grid_examples(inputs, zone, intensity):
    assert round(inputs.grid.find(zone, 2024, "test").value) == intensity


def test_grid_table_is_the_packages_own():
    digest = hashlib.sha256((INPUTS / "carbon-intensities.csv").read_bytes()).hexdigest()
    assert digest in (INPUTS / "README.md").read_text(encoding="utf-8")
    assert "CC BY 4.0" in (INPUTS / "README.md").read_text(encoding="utf-8")


def test_grid_holds_every_area_of_the_table_and_the_world(inputs):
    assert len(inputs.grid.entries) == 212 + 1
    entry = inputs.grid.find("USA", 2024, "test")
    assert (entry.low, entry.high) == pytest.approx((0.9 * entry.value, 1.1 * entry.value))
    assert "Ember" in entry.source
    assert inputs.grid.find("WORLD", 2023, "test").value == 481


# --- look-ups


@pytest.mark.parametrize(
    ("look_up", "says"),
    [
        (lambda i: i.embodied.find("nvidia-a5000", "devices.yaml: x"), "did you mean 'nvidia-rtx-a5000'?"),
        (lambda i: i.embodied.find("Raspberry-Pi", "devices.yaml: x"), "did you mean 'raspberry-pi'?"),
        (lambda i: i.pue.find("gpc", "devices.yaml: x"), "did you mean 'gcp'?"),
        (lambda i: i.grid.find("US", 2024, "devices.yaml: x"), "did you mean 'USA' (United States)?"),
        (lambda i: i.grid.find("Germany", 2024, "devices.yaml: x"), "did you mean 'DEU' (Germany)?"),
        (lambda i: i.grid.find("usa", 2024, "devices.yaml: x"), "did you mean 'USA' (United States)?"),
        (lambda i: i.grid.find("qqq", 2024, "devices.yaml: x"), "three-letter country codes"),
        (
            lambda i: i.grid.find("USA", 2019, "devices.yaml: x"),
            "has no 2019 for zone 'USA'; the nearest year there is 2024",
        ),
    ],
)
def test_an_inexact_key_is_an_error_that_names_the_nearest(inputs, look_up, says):
    with pytest.raises(UserError) as caught:
        look_up(inputs)
    assert str(caught.value).startswith("devices.yaml: x: ")
    assert says in str(caught.value)


# --- doctored copies


@pytest.mark.parametrize("field", REQUIRED)
def test_nothing_may_be_left_out(copy: Path, field: str):
    doctor(copy / "embodied.yaml", lambda data: data["embodied"]["raspberry-pi"].pop(field))
    assert f"embodied.yaml: embodied.raspberry-pi.{field}: required, and not given" in error_of(copy)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("source", "", "embodied.raspberry-pi.source: String should have at least 3 characters"),
        ("low", 11.0, "embodied.raspberry-pi: the range is upside down: low 11 is above high 10"),
        ("value", 12.0, "embodied.raspberry-pi: value 12 lies outside its range 3 to 10"),
        ("value", -1.0, "embodied.raspberry-pi.value: Input should be greater than or equal to 0"),
        ("value", "5", "embodied.raspberry-pi.value: Input should be a valid number"),
        ("value", float("nan"), "embodied.raspberry-pi.value: Input should be a finite number"),
        ("distribution", "gauss", "embodied.raspberry-pi.distribution: Input should be 'split_log_uniform'"),
        ("unit", "g", "embodied.raspberry-pi.unit: Input should be 'kgCO2e'"),
        ("provenance", "guessed", "embodied.raspberry-pi.provenance: Input should be 'measured'"),
        ("year", 24, "embodied.raspberry-pi.year: Input should be greater than or equal to 1990"),
        ("boundary", "box", "embodied.raspberry-pi.boundary: Input should be 'whole_device'"),
        ("lifetime", "single", "embodied.raspberry-pi.lifetime: 'single' is not in"),
        ("battery", "fone", "embodied.raspberry-pi.battery: 'fone' is not in"),
        ("sauce", "x", "embodied.raspberry-pi.sauce: no such field; did you mean 'source'?"),
    ],
)
def test_a_spoilt_entry_is_named_with_file_and_field(copy: Path, field: str, value: object, says: str):
    doctor(copy / "embodied.yaml", lambda data: data["embodied"]["raspberry-pi"].update({field: value}))
    message = error_of(copy)
    assert message.startswith(str(copy / "embodied.yaml"))
    assert says in message


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        (
            "lifetimes.yaml",
            lambda d: d["lifetimes"]["phone"].update(low=0.0),
            "lifetimes.phone.low: Input should be greater",
        ),
        (
            "utilisation.yaml",
            lambda d: d["utilisation"]["owner"].update(high=1.2),
            "utilisation.owner.high: Input should be",
        ),
        ("overheads.yaml", lambda d: d["pue"]["gcp"].update(unit="%"), "pue.gcp.unit: Input should be '1'"),
        ("network.yaml", lambda d: d["radios"]["wifi-half-watt"].pop("speed"), "radios.wifi-half-watt.speed: required"),
        (
            "network.yaml",
            lambda d: d["segments"].update({"wifi-half-watt": d["segments"]["fixed-network"]}),
            "rename one",
        ),
        (
            "batteries.yaml",
            lambda d: d["batteries"]["phone"].pop("rated_cycles"),
            "batteries.phone.rated_cycles: required",
        ),
        ("grid.yaml", lambda d: d.pop("source"), "grid.yaml: source: required, and not given"),
        ("grid.yaml", lambda d: d["spread"].update(low=1.2), "spread: the range is upside down"),
        ("grid.yaml", lambda d: d["zones"].append(dict(d["zones"][0])), "zone 'WORLD' is given twice for 2023"),
        (
            "reference_devices.yaml",
            lambda d: d["devices"]["h200-bf16"].update(embodied="h200"),
            "devices.h200-bf16.embodied",
        ),
        (
            "reference_devices.yaml",
            lambda d: d["devices"]["h200-bf16"].update(lifetime="x"),
            "devices.h200-bf16.lifetime",
        ),
        (
            "reference_devices.yaml",
            lambda d: d["devices"]["h200-bf16"].update(role="fog"),
            "devices.h200-bf16.role: Input",
        ),
        (
            "reference_devices.yaml",
            lambda d: d["devices"]["h200-bf16"].update(host_embodied="x"),
            "host_embodied: 'x' is not",
        ),
    ],
)
def test_every_file_is_checked(copy: Path, file: str, change, says: str):
    doctor(copy / file, change)
    message = error_of(copy)
    assert message.startswith(str(copy / file))
    assert says in message


@pytest.mark.parametrize(
    "name", ["embodied.yaml", "grid.yaml", "carbon-intensities.csv", "overheads.yaml", "parts.yaml", "composed.yaml"]
)
def test_a_missing_file_is_told(copy: Path, name: str):
    (copy / name).unlink()
    assert f"{copy / name}: cannot be read" in error_of(copy)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("Entity", "Country", "line 1: expected the columns"),
        (",383.5492", ",much", "expected a year and a number of gCO2e/kWh"),
        (",383.5492", ",-1", "expected a finite number that is not negative"),
        (",383.5492", ",inf", "expected a finite number that is not negative"),
        ("US,2024,United States,USA", "US,2024,United States,GBR", "zone 'GBR' is given twice for 2024"),
    ],
)
def test_a_spoilt_grid_table_is_told_with_its_line(copy: Path, old: str, new: str, says: str):
    table = copy / "carbon-intensities.csv"
    text = table.read_text(encoding="utf-8")
    assert old in text
    table.write_text(text.replace(old, new), encoding="utf-8")
    message = error_of(copy)
    assert message.startswith(f"{table}: line ")
    assert says in message
