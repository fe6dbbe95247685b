"""Reference devices in the carbon model: rate and draw are inputs of their own, with time and energy following from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from carbon_cases import INPUTS, certain, facts, literal, run, scenario, total

from edgecarbon.carbon import draws as draws_module
from edgecarbon.carbon.breakeven import break_even_rows
from edgecarbon.carbon.decisions import fingerprint
from edgecarbon.carbon.draws import Draws, Plan, quantile
from edgecarbon.carbon.evaluation import evaluate
from edgecarbon.carbon.labels import label
from edgecarbon.carbon.sensitivity import log_ratio, sensitivity_rows
from edgecarbon.carbon.work import Judge
from edgecarbon.config.assumptions import Assumption
from edgecarbon.config.inputs import Inputs, ReferenceDevice

GPU, PHONE = "rtx-a5000-bf16", "snapdragon-888-phone"
QUICK = {"draws": 400, "sensitivity": {"sobol_samples": 64, "morris_trajectories": 4}}
FLOPS = 6 * 125_239_296 * 1e6


def modelled(device: ReferenceDevice) -> dict[str, Any]:
    """Its run of a million tokens of OPT-125m, with the wide range that its record states."""
    seconds = FLOPS / (device.peak.value * 1e12 * device.sustained.value)
    joules = seconds * device.draw.value
    return run(
        device.name, device.role, joules, seconds / 3600, record_kind="modelled", provenance="modelled",
        boundary=device.boundary, energy_low_joules=joules / 3, energy_high_joules=joules * 5,
    )  # fmt: skip


def with_part(name: str, part: str, **changes: Any) -> Inputs:
    """The inputs with a part of a reference device changed."""
    entry = INPUTS.reference_devices.entries[name]
    changed = entry.model_copy(update={part: getattr(entry, part).model_copy(update=changes)})
    entries = {**INPUTS.reference_devices.entries, name: changed}
    return replace(INPUTS, reference_devices=replace(INPUTS.reference_devices, entries=entries))


def judged(folder, inputs: Inputs = INPUTS, names: tuple[str, ...] = (GPU, PHONE), **changes: Any):
    references = {name: inputs.reference_devices.entries[name] for name in names}
    devices = {name: device.carbon_facts() for name, device in references.items()}
    runs = [modelled(device) for device in references.values()]
    return evaluate(scenario(folder, **{**QUICK, **changes}), inputs, devices, runs)


def input_of(result, name: str) -> Assumption:
    (one,) = (one for one in result.pairs[0].inputs(result.judge) if one.name == name)
    return one


def center_of(result) -> Judge:
    """Every input at its default."""
    return replace(result.judge, draws=Plan(1))


# --- which inputs there are


def test_share_of_the_peak_and_draw_stand_in_place_of_the_energy(tmp_path):
    result = judged(tmp_path)
    found = {one.name: label(one) for one in result.pairs[0].inputs(result.judge)}
    assert {name: text for name, text in found.items() if name.startswith(("reference_devices/", "energy/"))} == {
        f"reference_devices/{name}/{part}": text.format(name)
        for name in (GPU, PHONE)
        for part, text in (("draw", "draw of {}"), ("sustained", "MFU of {} (sustained share of peak)"))
    }
    listed = {row["name"] for row in result.assumptions}
    assert {f"reference_devices/{GPU}/{part}" for part in ("peak", "sustained", "draw")} <= listed


def test_a_peak_with_a_range_is_an_input_too(tmp_path):
    result = judged(tmp_path, with_part(PHONE, "peak", low=1.5))
    one = input_of(result, f"reference_devices/{PHONE}/peak")
    assert (one.unit, one.low, label(one)) == ("TFLOP/s", 1.5, f"peak rate of {PHONE}")


def test_a_device_of_this_name_that_was_measured_has_its_meters_energy(tmp_path):
    devices = {PHONE: facts("edge"), "c": facts("cloud")}
    wide = {"energy_low_joules": 1e6, "energy_high_joules": 8e6}
    result = evaluate(scenario(tmp_path, **QUICK), INPUTS, devices, [run("c", "cloud"), run(PHONE, "edge", **wide)])
    names = [one.name for one in result.pairs[0].inputs(result.judge)]
    assert f"energy/{PHONE}" in names
    assert not any(
        name.startswith("reference_devices/") for name in names + [row["name"] for row in result.assumptions]
    )


# --- what follows from them


@pytest.mark.parametrize(
    ("part", "value", "energy", "time"),
    [
        ("sustained", 0.0145, 2.0, 2.0),
        ("sustained", 0.0087, 10 / 3, 10 / 3),
        ("sustained", 0.0407, 29 / 40.7, 29 / 40.7),
        ("draw", 6.5, 1.3, 1.0),
        ("draw", 3.5, 0.7, 1.0),
        ("peak", 0.86, 2.0, 2.0),
    ],
)
def test_rate_moves_time_and_energy_and_draw_the_energy_alone(tmp_path, part, value, energy, time):
    result = judged(tmp_path)
    edge = result.pairs[0].edge
    before, after = (
        edge.work(replace(result.judge, draws=plan))
        for plan in (Plan(1), Plan(1, fixed={f"reference_devices/{PHONE}/{part}": value}))
    )
    assert after.energy_kwh == pytest.approx(energy * before.energy_kwh)
    assert after.hours == pytest.approx(time * before.hours)
    assert after.data_bytes == before.data_bytes


def test_an_energy_that_is_set_keeps_the_draw_in_watts(tmp_path):
    result = judged(tmp_path)
    edge = result.pairs[0].edge
    hungry = {f"reference_devices/{PHONE}/draw": 6.5}
    for fixed, watts in (({}, 5.0), (hungry, 6.5)):
        work = edge.work(replace(result.judge, draws=Plan(1, fixed={"energy/snapdragon-888-phone": 9e4, **fixed})))
        assert work.energy_kwh == pytest.approx(9e4 / 3.6e6)
        assert work.energy_kwh * 1000 / work.hours == pytest.approx(watts)


def test_draws_are_those_of_the_two_priors(tmp_path):
    result = judged(tmp_path)
    edge, draws = result.pairs[0].edge, result.judge.draws
    work = edge.work(result.judge)
    share, watts = (draws.of(input_of(result, f"reference_devices/{PHONE}/{part}")) for part in ("sustained", "draw"))
    assert work.hours[0] == pytest.approx(FLOPS / (1.72e12 * share) / 3600)
    assert work.energy_kwh[0] == pytest.approx(work.hours[0] * watts / 1000)
    assert np.corrcoef(share, watts)[0, 1] == pytest.approx(0, abs=0.2)


def test_making_by_time_has_the_rates_range_and_not_the_draws(tmp_path):
    """Between the phone's corners time lies 0.71 to 3.33 times its default, while energy reaches from 0.50 to 4.33."""
    result = judged(tmp_path)
    hours, default = (result.pairs[0].edge.work(one).hours for one in (result.judge, center_of(result)))
    assert (hours.min() / default, hours.max() / default) == pytest.approx((0.7125, 3.333), rel=0.01)
    cool = judged(tmp_path, with_part(PHONE, "draw", low=1.0, high=20.0)).pairs[0].edge
    assert cool.work(result.judge).hours == pytest.approx(hours)


def test_the_table_of_runs_has_that_range_too(tmp_path):
    """On a grid without carbon all that is left is making, by time."""
    free = literal(0, "gCO2e/kWh")
    result = judged(tmp_path, **certain(edge__grid=free, attributions=["time_share"], draws=400))
    row = total(result, PHONE)
    hours, made = (
        result.pairs[0].edge.work(result.judge).hours[0],
        result.judge.draws.of(result.pairs[0].edge.arm.embodied[0]),
    )
    ends = np.quantile(hours * made, (0.05, 0.95)) * 1000 / (4 * 8760)
    assert (row["total_low_grams"], row["total_high_grams"]) == pytest.approx(tuple(ends))


def test_a_prior_that_is_stated_is_drawn(tmp_path):
    plain, even = (judged(tmp_path, inputs) for inputs in (INPUTS, with_part(GPU, "sustained", distribution="uniform")))
    rows = [total(result, GPU) for result in (plain, even)]
    assert rows[0]["total_grams"] == rows[1]["total_grams"]
    # Drawn evenly, the middle of 0.2 to 0.5 is the median, and no longer the default of 0.4.
    plain_hours, even_hours = (np.median(result.pairs[0].cloud.work(result.judge).hours) for result in (plain, even))
    assert even_hours / plain_hours == pytest.approx(0.4 / 0.35, rel=0.01)
    uniform = np.linspace(0.01, 0.99, 9)
    one = input_of(even, f"reference_devices/{GPU}/sustained")
    assert quantile(one, uniform) == pytest.approx(0.2 + 0.3 * uniform)
    shares = [sobol_of(result, f"reference_devices/{GPU}/sustained") for result in (plain, even)]
    assert shares[0] != pytest.approx(shares[1], rel=0.02)


def sobol_of(result, name: str) -> float:
    rows = sensitivity_rows(result.judge, result.pairs[0])
    (share,) = (row["sobol_total"] for row in rows if (row["input"], row["attribution"]) == (name, "sunk"))
    return share


# --- what decides


def test_the_share_of_the_peak_at_which_the_verdict_turns_is_told(tmp_path):
    """The published advantage of the edge stands or falls with how well the GPU was tuned."""
    result = judged(tmp_path)
    (pair,), judge = result.pairs, result.judge
    rows = sensitivity_rows(judge, pair)
    told = {(row["input"], row["attribution"]): row for row in rows}
    name = f"reference_devices/{GPU}/sustained"
    row = told[name, "sunk"]
    assert row["ratio_at_high"] < row["ratio_at_low"] < 1
    assert row["reversal_value"] < 0.2
    ratio = np.exp(log_ratio(judge, pair, Plan(1, fixed={name: row["reversal_value"]})))[0, 0]
    assert ratio == pytest.approx(1.0, abs=1e-3)
    assert row["sobol_total"] > 0.05
    deciding = {row["deciding_input"] for row in break_even_rows(judge, pair, rows)}
    assert deciding & {f"reference_devices/{device}/sustained" for device in (GPU, PHONE)}


@pytest.mark.parametrize("part", ["sustained", "draw"])
def test_a_changed_prior_is_worked_out_anew(tmp_path, part):
    prints = [
        fingerprint(result.judge, result.pairs[0], "one")
        for result in (judged(tmp_path), judged(tmp_path, with_part(GPU, part, distribution="uniform")))
    ]
    assert prints[0] != prints[1]


def test_a_very_great_many_draws_in_blocks_give_the_same(tmp_path, monkeypatch):
    result = judged(tmp_path)
    (pair,), judge, count = result.pairs, result.judge, result.judge.draws.count
    stated = {f"energy/{PHONE}": np.linspace(5e4, 9e4, count)}
    fixed = [{}, stated]
    whole = [pair.ratio(judge, Draws(judge.scenario.settings.seed, count, some)) for some in fixed]
    monkeypatch.setattr(draws_module, "KEPT_DRAWS", 100)
    monkeypatch.setattr(draws_module, "BLOCK", 70)
    for some, expected in zip(fixed, whole, strict=True):
        assert pair.ratio(judge, Draws(judge.scenario.settings.seed, count, some)) == pytest.approx(expected, rel=1e-13)
    assert whole[0] != pytest.approx(whole[1])
