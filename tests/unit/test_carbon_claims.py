"""The published claims: known answers of the arithmetic behind them, what holds, and a doctored file that is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import carbon_cases as cases
import pytest
import yaml

from edgecarbon.carbon.arms import build_arm
from edgecarbon.carbon.claims import claim_rows, holds
from edgecarbon.carbon.draws import Draws
from edgecarbon.carbon.pairs import pairs_of
from edgecarbon.carbon.work import Judge
from edgecarbon.config.assumptions import ResolvedScenario
from edgecarbon.config.claims import Claim
from edgecarbon.config.inputs import load_inputs
from edgecarbon.config.resolve import load_scenario
from edgecarbon.errors import UserError

CLAIMS = {claim.name: claim for claim in cases.INPUTS.claims}
CLOUD, LAPTOP, PHONE = "rtx-a5000-fp32", "macbook-pro-14-m2-pro", "snapdragon-888-phone"


def shipped(name: str) -> ResolvedScenario:
    return load_scenario(cases.CONFIG / f"scenarios/{name}.yaml", cases.INPUTS)


def rows(scenario: ResolvedScenario, *claims: Claim, runs: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    runs = runs or []
    references = cases.INPUTS.reference_devices.entries
    arms = {
        name: build_arm(name, references[name].carbon_facts(), scenario, cases.INPUTS)
        for name in {run["device"] for run in runs}
    }
    judge = Judge(scenario, Draws(1, 400), arms)
    return claim_rows(judge, list(pairs_of(judge, runs)), claims)


def claim(quantity: str, **changes: Any) -> Claim:
    return CLAIMS["cacm-equal-energy"].model_copy(update={"quantity": quantity, **changes})


def on_overhead(folder: Path, **changes: Any) -> ResolvedScenario:
    """An overhead of 2.9, and otherwise the default."""
    return cases.scenario(
        folder, edge__charger=cases.literal(3.19), cloud__pue=cases.literal(1.1), **changes
    )  # fmt: skip


# --- known answers


@pytest.mark.parametrize(("advantage", "expected"), [(1.5, 1.93), (4.0, 0.725)])
def test_same_grid_and_an_overhead_of_29(tmp_path: Path, advantage: float, expected: float):
    """The edge k times more efficient emits 2.9/k of the cloud, making left out."""
    (row,) = rows(on_overhead(tmp_path), claim("equal_energy_ratio", energy_factor=1 / advantage))
    assert row["value"] == pytest.approx(2.9 / advantage, rel=1e-12)
    assert row["value"] == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize(("energy_factor", "expected"), [(1.0, 25.0), (12.0, 300.0)])
def test_a_cleaner_cloud_makes_it_25_and_300(tmp_path: Path, energy_factor: float, expected: float):
    grids = {f"{side}__grid": cases.literal(value, "gCO2e/kWh") for side, value in (("edge", 862.0), ("cloud", 100.0))}
    (row,) = rows(on_overhead(tmp_path, **grids), claim("equal_energy_ratio", energy_factor=energy_factor))
    assert row["value"] == pytest.approx(expected, rel=1e-3)
    assert (row["value_low"], row["value_high"]) == pytest.approx((row["value"], row["value"]))


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [("charger_factor", 3.0), ("overhead_ratio", 1.5), ("grid_ratio", 4.0), ("equal_energy_ratio", 6.0)],
)
def test_what_follows_from_a_scenario_alone(tmp_path: Path, quantity: str, expected: float):
    grids = {f"{side}__grid": cases.literal(value, "gCO2e/kWh") for side, value in (("edge", 400.0), ("cloud", 100.0))}
    mine = cases.scenario(tmp_path, edge__charger=cases.literal(3.0), cloud__pue=cases.literal(2.0), **grids)
    (row,) = rows(mine, claim(quantity))
    assert row["value"] == pytest.approx(expected)
    assert (row["workload"], row["cloud_device"], row["edge_device"], row["attribution"]) == (None,) * 4


# --- the papers under their own assumptions and under the default


def test_the_clouds_side_holds_under_its_own_assumptions_and_not_under_the_default():
    claims = [one for one in CLAIMS.values() if one.paper == "CACM 2024" and not one.of_a_pair]
    assert len(claims) == 5
    assert {row["claim"]: row["holds"] for row in rows(shipped("cacm2024"), *claims)} == dict.fromkeys(
        (one.name for one in claims), "yes"
    )
    assert {row["holds"] for row in rows(shipped("default"), *claims)} == {"no"}


def device_runs() -> list[dict[str, Any]]:
    """A GPU that takes three times the laptop's energy and a twelfth of the phone's, all for the same tokens."""
    return [
        cases.run(CLOUD, "cloud", 3 * cases.KWH, boundary="gpu_board"),
        cases.run(LAPTOP, "edge", 1 * cases.KWH, boundary="battery"),
        cases.run(PHONE, "edge", 36 * cases.KWH, boundary="battery"),
        cases.run("h200-bf16", "cloud", None, boundary="gpu_board"),
    ]


def test_claims_about_devices_are_computed_for_the_pairs_they_name():
    found = rows(shipped("hotcarbon2025"), CLAIMS["hotcarbon-energy"], runs=device_runs())
    assert [(row["edge_device"], row["cloud_device"]) for row in found] == [(LAPTOP, CLOUD), (PHONE, CLOUD)]
    assert [row["value"] for row in found] == pytest.approx([3.0, 1 / 12])
    assert [(row["holds"], row["workload"], row["attribution"]) for row in found] == [
        ("yes", "w", None),
        ("no", "w", None),
    ]
    (inverse,) = rows(shipped("cacm2024"), CLAIMS["cacm-computation-energy"], runs=device_runs())
    assert (inverse["value"], inverse["holds"], inverse["edge_device"]) == (pytest.approx(12.0), "yes", PHONE)


def test_total_carbon_is_held_against_every_attribution():
    mine = shipped("hotcarbon2025")
    found = rows(mine, CLAIMS["hotcarbon-carbon"], claim("edge_carbon_ratio", pairs=CLAIMS["hotcarbon-carbon"].pairs),
                 runs=device_runs()[:2])  # fmt: skip
    assert [row["attribution"] for row in found] == 2 * mine.settings.attributions
    one_way, other = found[:4], found[4:]
    # Sunk: 3 kWh x 1.3 x 1.1 over 1 kWh x 1.15, and the GPU's making on top.
    assert one_way[0]["value"] > 3 * 1.3 * 1.1 / 1.15
    assert one_way[0]["value"] > one_way[1]["value"] > one_way[2]["value"]
    for row, inverse in zip(one_way, other, strict=True):
        assert row["value"] * inverse["value"] == pytest.approx(1.0)
        assert row["value_low"] < row["value"] < row["value_high"]


def test_a_stated_energy_ratio_stands_in_for_the_devices_own():
    """At 1.5 to 4 times less energy than the GPU's 3 kWh, the edge takes 0.75 to 2 kWh, its default between them, and as
    many hours at its 1 kW."""
    mine, one = shipped("hotcarbon2025"), CLAIMS["hotcarbon-carbon-at-its-energy"]
    found = rows(mine, one, runs=device_runs()[:3])
    laptop = [row for row in found if row["edge_device"] == LAPTOP]
    exact = [cases.run(CLOUD, "cloud", 3 * cases.KWH, boundary="gpu_board"),
             cases.run(LAPTOP, "edge", 3 / 6**0.5 * cases.KWH, 3 / 6**0.5, boundary="battery")]  # fmt: skip
    direct = rows(mine, CLAIMS["hotcarbon-carbon"], runs=exact)
    for row, told in zip(laptop, direct, strict=True):
        assert row["value"] == pytest.approx(told["value"])
        assert row["value_low"] < row["value"] < row["value_high"]
    sunk = {row["edge_device"]: row["value"] for row in found if row["attribution"] == "sunk"}
    assert sunk[PHONE] == pytest.approx(sunk[LAPTOP], rel=1e-9), "their own energies play no part"


@pytest.mark.parametrize(
    ("high", "value", "ends", "expected"),
    [
        (8.0, 3.5, (3.0, 4.0), "yes"),
        (8.0, 8.0, (3.0, 9.0), "yes"),
        (8.0, 3.4, (2.0, 3.5), "within range"),
        (8.0, 9.0, (7.9, 12.0), "within range"),
        (8.0, 3.4, (2.0, 3.49), "no"),
        (8.0, 9.0, (8.1, 12.0), "no"),
        (None, 1e6, (1e5, 1e7), "yes"),
        (None, 3.0, (2.0, None), "no"),
        (8.0, None, (None, None), None),
    ],
)
def test_what_holds(high: float | None, value: float | None, ends: tuple[Any, Any], expected: str | None):
    claimed = claim("carbon_ratio", claimed_low=3.5, claimed_high=high)
    assert holds(claimed, value, *ends) == expected


# --- the file


def test_own_scenarios_ship():
    ours = {path.stem for path in (cases.CONFIG / "scenarios").glob("*.yaml")}
    assert {one.own_scenario for one in CLAIMS.values()} <= ours
    assert len(CLAIMS) >= 9


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("source", None, "claims.hotcarbon-energy.source: required, and not given"),
        ("claimed_low", 5.0, "the range is upside down: claimed_low 5 is above claimed_high 4"),
        ("claimed_low", 0.0, "claimed_low: Input should be greater than 0"),
        ("pairs", [], "quantity energy_ratio: name at least one of `pairs`"),
        ("quantity", "grid_ratio", "quantity grid_ratio: it is not about devices: leave out `pairs`"),
        ("quantity", "carbon", "claims.hotcarbon-energy.quantity: Input should be 'charger_factor', "),
        ("energy_factor", 12.0, "energy_factor goes with the quantity equal_energy_ratio alone"),
        ("stated_energy_ratio", {"low": 4.0, "high": 1.5}, "the range is upside down: low 4 is above high 1.5"),
        (
            "stated_energy_ratio",
            {"low": 1.5, "high": 4.0},
            "goes with the quantities carbon_ratio and edge_carbon_ratio",
        ),
        ("pairs", [{"cloud": "rtx-a5000", "edge": PHONE}], "pairs.0.cloud: 'rtx-a5000' is not in"),
        ("pairs", [{"cloud": CLOUD, "edge": CLOUD}], f"pairs.0.edge: '{CLOUD}' stands on the other side"),
    ],
)
def test_a_mistake_in_the_file_is_told(tmp_path: Path, field: str, value: Any, says: str):
    folder = Path(shutil.copytree(cases.CONFIG / "inputs", tmp_path / "inputs"))
    data = yaml.safe_load((folder / "claims.yaml").read_text(encoding="utf-8"))
    data["claims"]["hotcarbon-energy"][field] = value
    if value is None:
        del data["claims"]["hotcarbon-energy"][field]
    (folder / "claims.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_inputs(folder)
    assert str(caught.value).startswith(f"{folder / 'claims.yaml'}: ")
    assert says in str(caught.value)
