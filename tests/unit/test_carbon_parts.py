"""Footprints put together from parts: ACT's formula by hand, properties, errors, and what ships."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edgecarbon.config.grid import load_grid
from edgecarbon.config.inputs import load_inputs
from edgecarbon.config.parts import ComposedDevice, PartsFile, compose, load_composed
from edgecarbon.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
INPUTS = ROOT / "config/inputs"
GRID = load_grid(INPUTS / "grid.yaml")
COMPOSED = load_composed(INPUTS, GRID).entries
TEXT = {"year": 2022, "provenance": "modelled"} | dict.fromkeys(("source", "boundary", "licence"), "made for a test")
PER_CM2 = {"unit": "kgCO2e/cm2"}


def number(value: float, unit: str, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    ends = {"low": value if low is None else low, "high": value if high is None else high}
    return {"value": float(value), "unit": unit, **ends, **TEXT}


def parts(**changes: Any) -> PartsFile:
    """Numbers with round products: a wafer of 1.6, 2.0 and 2.6 kgCO2e/cm2 on a grid of 1,000 g/kWh."""
    node = {
        "energy": number(1.0, "kWh/cm2", 0.8, 1.2),
        "gases": number(0.2, **PER_CM2, low=0.1, high=0.4),
        "materials": number(0.8, **PER_CM2, low=0.7, high=1.0),
    }
    data = {
        "nodes": {"7nm": node},
        "fab_yield": number(0.8, "1", 0.5, 1.0),
        "constants": {
            "dram": number(0.5, "kgCO2e/GB", 0.25, 1.0),
            "nand": number(0.5, "kgCO2e/GB", 0.25, 1.0),
            "package": number(0.15, "kgCO2e/package"),
        },
    }
    return PartsFile.model_validate(data | changes)


class FlatGrid:
    """Every zone at the same intensity, in g/kWh."""

    def __init__(self, grams: float) -> None:
        self.ends = dict.fromkeys(("value", "low", "high"), grams)

    def find(self, zone: str, year: int | None, asked_by: str):
        return GRID.find(zone, year, asked_by).model_copy(update=self.ends)


def device(dies: dict[str, Any] | None = None, components: dict[str, Any] | None = None) -> ComposedDevice:
    return ComposedDevice.model_validate(
        {
            "description": "made for a test",
            "boundary": "whole_device",
            "lifetime": "phone",
            "dies": dies or {},
            "components": components or {},
        }
    )


def die(cm2: float = 2.0, fab_yield: dict[str, Any] | None = None, node: str = "7nm") -> dict[str, Any]:
    return {"area": number(cm2, "cm2"), "node": node, "fab": "TWN", "fab_yield": fab_yield}


def component(constant: str, amount: float, unit: str = "GB", spread: float = 1.0) -> dict[str, Any]:
    return {"constant": constant, "amount": number(amount, unit, amount / spread, amount * spread)}


def total(made: ComposedDevice, of: PartsFile | None = None, grams: float = 1000.0):
    return compose(made, of or parts(), FlatGrid(grams), "parts.yaml", "composed.yaml: devices.x").total


def ends(estimate: Any) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


# --- by hand


def test_a_die_is_acts_formula_from_corner_to_corner():
    # 2 cm2 x (1 kg/kWh x 1 kWh/cm2 + 0.2 + 0.8) / 0.8; the lowest wafer with the highest yield, and the other way.
    assert ends(total(device({"soc": die()}))) == pytest.approx((5.0, 2 * 1.6 / 1.0, 2 * 2.6 / 0.5))


def test_the_fabs_grid_is_its_zones():
    made = compose(device({"soc": die()}), parts(), GRID, "parts.yaml", "x")
    assert made.total.value == pytest.approx(2 * (0.63565106 + 0.2 + 0.8) / 0.8)


def test_a_dies_own_yield_goes_before_the_common_one():
    assert total(device({"soc": die(fab_yield=number(0.5, "1"))})).value == pytest.approx(2 * 2.0 / 0.5)


def test_the_shipped_nodes_give_acts_own_figure():
    """A cm2 at 8 nm on ACT's grid for Taiwan, 583 g/kWh: (583 x 1.52 + 195 + 500) / 0.875 g."""
    shipped = PartsFile.model_validate(yaml.safe_load((INPUTS / "parts.yaml").read_text(encoding="utf-8")))
    assert total(device({"soc": die(1.0, node="8nm")}), shipped, 583.0).value == pytest.approx(1.80704, abs=1e-6)


def test_different_constants_add_in_quadrature_and_a_shared_one_adds_up():
    apart = total(device(components={"a": component("dram", 4), "b": component("nand", 4)}))
    together = total(device(components={"a": component("dram", 4), "b": component("dram", 4)}))
    assert ends(apart) == pytest.approx((4.0, 4 - 2**0.5, 4 + 8**0.5))
    assert ends(together) == pytest.approx((4.0, 2.0, 8.0))


def test_dies_are_off_together():
    one, two = total(device({"a": die(4.0)})), total(device({"a": die(2.0), "b": die(2.0)}))
    assert ends(one) == pytest.approx(ends(two))


# --- properties

POSITIVE = st.floats(0.01, 100.0)
GROWTH = st.floats(1.0, 50.0)


def sample(cm2: float, good: float, gigabytes: float, packages: float) -> ComposedDevice:
    return device(
        {"soc": die(cm2, number(good, "1", good / 2, min(1.0, good * 1.1)))},
        {
            "memory": component("dram", gigabytes, spread=2.0),
            "flash": component("nand", gigabytes),
            "packages": component("package", packages, "package"),
        },
    )


def never_below(larger: Any, smaller: Any) -> None:
    for big, small in zip(ends(larger), ends(smaller), strict=True):
        assert big >= small * (1 - 1e-9)


@given(cm2=POSITIVE, good=st.floats(0.05, 1.0), gigabytes=POSITIVE, packages=POSITIVE, by=GROWTH)
def test_more_silicon_more_memory_and_a_lower_yield_never_lower_the_figure(cm2, good, gigabytes, packages, by):
    base = total(sample(cm2, good, gigabytes, packages))
    assert 0 <= base.low <= base.value <= base.high
    never_below(total(sample(cm2 * by, good, gigabytes, packages)), base)
    never_below(total(sample(cm2, good / by, gigabytes, packages)), base)
    never_below(total(sample(cm2, good, gigabytes * by, packages)), base)
    never_below(total(sample(cm2, good, gigabytes, packages * by)), base)


@given(cm2=POSITIVE, good=st.floats(0.05, 1.0), gigabytes=POSITIVE, packages=POSITIVE)
def test_doubling_every_part_doubles_figure_and_range(cm2, good, gigabytes, packages):
    once = total(sample(cm2, good, gigabytes, packages))
    twice = total(sample(2 * cm2, good, 2 * gigabytes, 2 * packages))
    assert ends(twice) == pytest.approx([2 * end for end in ends(once)], rel=1e-9, abs=1e-9)


# --- what ships


def test_composed_footprints_stand_among_the_others():
    inputs = load_inputs(INPUTS)
    for key, made in COMPOSED.items():
        entry = inputs.embodied.find(key, "test")
        assert (entry.value, entry.low, entry.high) == ends(made.total)
        assert (entry.provenance, entry.boundary) == ("modelled", made.device.boundary)
        assert entry.low < entry.value < entry.high
        listed = re.findall(r"(?:: |; )([a-z-]+) ([0-9.]+) kg \(", entry.source)
        assert {name for name, _ in listed} == {*made.device.dies, *made.device.components}
        assert sum(float(kilograms) for _, kilograms in listed) == pytest.approx(entry.value, rel=0.01)
        assert "ISCA 2022" in entry.source
        assert "MIT (ACT)" in entry.licence
        assert entry.year == 2025


def test_the_documented_comparison_is_what_comes_out():
    inputs = load_inputs(INPUTS)
    rows = re.findall(
        r"^\| `(parts-[\w-]+)` \| (\S+ \(\S+\)) \| `([\w-]+)` \| (\S+ \(\S+\)) \|$",
        (ROOT / "docs/carbon-model.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert {row[0] for row in rows} == set(COMPOSED)
    for composed, figure, published, beside in rows:
        for key, shown in ((composed, figure), (published, beside)):
            entry = inputs.embodied.find(key, "docs/carbon-model.md")
            assert shown == f"{entry.value:.0f} ({entry.low:.0f}–{entry.high:.0f})"


# --- errors


def spoilt(tmp_path: Path, file: str, change: Any) -> str:
    copy = Path(shutil.copytree(INPUTS, tmp_path / "inputs"))
    data = yaml.safe_load((copy / file).read_text(encoding="utf-8"))
    change(data)
    (copy / file).write_text(yaml.safe_dump(data), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_inputs(copy)
    return str(caught.value).replace(f"{copy}/", "")


def of_the_board(data: dict[str, Any]) -> dict[str, Any]:
    return data["devices"]["parts-rtx-a5000-board"]


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        (
            "composed.yaml",
            lambda d: of_the_board(d)["dies"]["gpu"].update(node="8 nm"),
            "composed.yaml: devices.parts-rtx-a5000-board.dies.gpu.node: String should match",
        ),
        (
            "composed.yaml",
            lambda d: of_the_board(d)["dies"]["gpu"].update(node="9nm"),
            "composed.yaml: devices.parts-rtx-a5000-board.dies.gpu.node: '9nm' is not in parts.yaml (nodes); did you mean",
        ),
        (
            "composed.yaml",
            lambda d: of_the_board(d)["dies"]["gpu"].update(fab="KO"),
            "dies.gpu.fab: zone 'KO' is not in carbon-intensities.csv; did you mean",
        ),
        (
            "composed.yaml",
            lambda d: of_the_board(d)["components"]["memory"].update(constant="gdr6"),
            "components.memory.constant: 'gdr6' is not in parts.yaml (constants); did you mean 'gddr6'?",
        ),
        (
            "composed.yaml",
            lambda d: of_the_board(d)["components"]["memory"].update(constant="pcb"),
            "components.memory: the amount is in GB, its constant in kgCO2e/cm2 (pcb in parts.yaml)",
        ),
        (
            "composed.yaml",
            lambda d: of_the_board(d)["dies"]["gpu"]["fab_yield"].update(value=0.0, low=0.0),
            "dies.gpu.fab_yield.low: Input should be greater than 0",
        ),
        ("parts.yaml", lambda d: d["fab_yield"].update(low=0.0), "parts.yaml: fab_yield.low: Input should be greater"),
        ("parts.yaml", lambda d: d["fab_yield"].update(high=1.1), "parts.yaml: fab_yield.high: Input should be less"),
        (
            "parts.yaml",
            lambda d: d["nodes"]["8nm"]["energy"].update(low=3.0),
            "parts.yaml: nodes.8nm.energy: the range is upside down: low 3 is above high 2.28",
        ),
        ("parts.yaml", lambda d: d["constants"]["nand"].pop("source"), "parts.yaml: constants.nand.source: required"),
        (
            "composed.yaml",
            lambda d: of_the_board(d)["components"]["board"]["amount"].pop("source"),
            "components.board.amount.source: required, and not given",
        ),
        (
            "composed.yaml",
            lambda d: of_the_board(d).update(dies={}, components={}),
            "devices.parts-rtx-a5000-board: a device needs at least one entry under dies or components",
        ),
        (
            "composed.yaml",
            lambda d: of_the_board(d)["components"].update(gpu=of_the_board(d)["components"]["memory"]),
            "devices.parts-rtx-a5000-board: 'gpu' is both under dies and under components",
        ),
        (
            "composed.yaml",
            lambda d: of_the_board(d).update(lifetime="cloud"),
            "composed.yaml: devices.parts-rtx-a5000-board.lifetime: 'cloud' is not in lifetimes.yaml",
        ),
        (
            "composed.yaml",
            lambda d: of_the_board(d).update(battery="fone"),
            "composed.yaml: devices.parts-rtx-a5000-board.battery: 'fone' is not in batteries.yaml",
        ),
        (
            "composed.yaml",
            lambda d: d["devices"].update({"raspberry-pi": of_the_board(d)}),
            "composed.yaml: devices.raspberry-pi: embodied.yaml has the same key; rename one",
        ),
    ],
)
def test_a_mistake_is_named_with_file_field_and_way_out(tmp_path: Path, file: str, change: Any, says: str):
    assert says in spoilt(tmp_path, file, change)


def test_an_unknown_footprint_names_the_nearest_of_both_files():
    with pytest.raises(UserError, match=r"embodied\.yaml or composed\.yaml .*did you mean 'parts-rtx-a5000-board'\?"):
        load_inputs(INPUTS).embodied.find("parts-a5000-board", "devices.yaml: x")
