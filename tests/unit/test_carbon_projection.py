"""Whole training jobs: operations counted, runs scaled, and published jobs given again from their stated inputs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import yaml
from carbon_cases import CONFIG, INPUTS, KWH, facts, run
from hypothesis import given
from hypothesis import strategies as st

from edgecarbon.carbon.arms import build_arm
from edgecarbon.carbon.draws import Draws
from edgecarbon.carbon.evaluation import evaluate
from edgecarbon.carbon.formulas import HOURS_PER_YEAR, embodied_grams
from edgecarbon.carbon.jobs import model_shape, projection_rows, reproduce
from edgecarbon.carbon.projection import (
    Shape,
    device_hours,
    device_lifetimes,
    job_embodied_grams,
    job_kwh,
    scale_factor,
    training_flops_6nd,
    training_flops_exact,
)
from edgecarbon.carbon.work import Judge
from edgecarbon.config.base import validate
from edgecarbon.config.experiment import Experiment
from edgecarbon.config.jobs import TargetJob, load_published_jobs
from edgecarbon.config.resolve import load_scenario
from edgecarbon.errors import UserError
from edgecarbon.store.schema_jobs import PROJECTIONS, PUBLISHED_JOBS

MODELS = CONFIG.parent / "lib/edgecarbon/bundled/models"
PUBLISHED_FILE = CONFIG / "inputs/published_jobs.yaml"
PUBLISHED = load_published_jobs(PUBLISHED_FILE)
# Embeddings of OPT-125m: 50,272 token and 2,050 position rows of 768.
OPT_125M = Shape((50_272 + 2_050) * 768, 12, 768, 50_272, 512)
OPT_125M_PARAMETERS = 125_239_296

sizes = st.integers(1, 10**4)

# --- operations


def test_6nd_of_gpt3():
    assert training_flops_6nd(175e9, 300e9) == pytest.approx(3.15e23, rel=1e-12)


@given(batch=sizes, sequence=sizes, layers=sizes, hidden=sizes, vocabulary=sizes)
def test_exact_count_with_recomputation_is_megatrons(batch, sequence, layers, hidden, vocabulary):
    ours = training_flops_exact(
        batch * sequence, layer_parameters=12 * layers * hidden**2, layers=layers, hidden_size=hidden,
        vocabulary_size=vocabulary, sequence_length=sequence, recomputation=True,
    )  # fmt: skip
    terms = 1 + sequence / (6 * hidden) + vocabulary / (16 * layers * hidden)
    assert ours == pytest.approx(96 * batch * sequence * layers * hidden**2 * terms, rel=1e-12)


def test_exact_count_of_one_token_by_hand():
    # One layer of width 2 with 10 parameters, a sequence of 3, a head of 5 x 2; 2 FLOP a product, forward and twice back.
    scores_and_values = 2 * (2 * 2 * 3)
    expected = 3 * (2 * 10 + scores_and_values + 2 * 5 * 2)
    found = training_flops_exact(1, layer_parameters=10, layers=1, hidden_size=2, vocabulary_size=5, sequence_length=3)
    assert found == expected


@given(tokens=sizes, layer_parameters=sizes, layers=sizes, hidden=sizes, vocabulary=sizes, sequence=sizes)
def test_6nd_of_what_multiplies_is_at_most_the_exact_count(
    tokens, layer_parameters, layers, hidden, vocabulary, sequence
):
    def exact(length: int, recomputation: bool = False) -> float:
        return training_flops_exact(
            tokens, layer_parameters=layer_parameters, layers=layers, hidden_size=hidden,
            vocabulary_size=vocabulary, sequence_length=length, recomputation=recomputation,
        )  # fmt: skip

    plain = training_flops_6nd(layer_parameters + vocabulary * hidden, tokens)
    # What attention adds is 12·l·h·s a token; without a sequence nothing.
    assert exact(0) == pytest.approx(plain, rel=1e-12)
    assert exact(sequence) - plain == pytest.approx(12.0 * layers * hidden * sequence * tokens, rel=1e-6)
    assert exact(sequence) < exact(sequence, recomputation=True) <= 4 / 3 * exact(sequence)


def test_counts_take_arrays():
    tokens = np.array([1.0, 2.0])
    np.testing.assert_allclose(training_flops_6nd(10.0, tokens), [60.0, 120.0])


# --- hours, energy, manufacturing


def test_hours_energy_and_lifetimes_have_their_dimensions():
    # 3.6e15 FLOP at half of 2 TFLOP/s is an hour; at 500 W half a kWh, at PUE 1.2 0.6 kWh.
    assert device_hours(3.6e15, 2e12, 0.5) == pytest.approx(1.0)
    assert job_kwh(1.0, 500.0) == pytest.approx(0.5)
    assert job_kwh(1.0, 500.0, 1.2) == pytest.approx(0.6)
    assert device_lifetimes(8760.0 * 6, 3.0) == pytest.approx(2.0)


def test_a_job_may_outlive_devices_and_charges_each_hour_alike():
    life = 3 * 8760.0
    within = embodied_grams(50.0, life, life / 10, 0.5, "used_hours", 0.2)
    assert job_embodied_grams(50.0, life, life / 10, 0.5, "used_hours", 0.2) == pytest.approx(within, rel=1e-12)
    assert job_embodied_grams(50.0, life, 40 * life) == pytest.approx(40 * 50_000.0, rel=1e-12)
    assert job_embodied_grams(50.0, life, 40 * life, attribution="sunk") == 0.0


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: scale_factor(1.0, 0.0), "run_work: expected a number above zero, found 0"),
        (lambda: scale_factor(0.0, 1.0), "job_work: expected a number above zero, found 0"),
        (lambda: training_flops_6nd(-1.0, 1.0), "parameters: expected a number that is not negative, found -1"),
        (lambda: device_hours(1.0, 0.0, 0.5), "peak_flops_per_second: expected a number above zero"),
        (lambda: device_hours(1.0, 1.0, 1.5), "efficiency: expected a share"),
        (lambda: device_lifetimes(1.0, 0.0), "lifetime_years: expected a number above zero"),
    ],
)
def test_wrong_numbers_are_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()


# --- a run scaled to a job

RUNS = [
    run("phone", "edge", repeat=repeat, hours=hours, parameters=OPT_125M_PARAMETERS, tokens=1_000_000)
    for repeat, hours in ((1, 1.0), (2, 3.0))
]
CARBON = [
    {
        "scenario": "s", "run_id": one["run_id"], "workload": "w", "device": "phone", "attribution": attribution,
        "functional_unit": unit, "operational_grams": 100.0 / count, "embodied_grams": embodied / count,
        "network_grams": 10.0 / count, "total_grams": (110 + embodied) / count,
        "total_low_grams": 0.5 * (110 + embodied) / count, "total_high_grams": 2 * (110 + embodied) / count,
        "energy_joules": KWH / count, "boundary": "wall", "provenance": "measured",
    }
    for one in RUNS
    for attribution, embodied in (("sunk", 0.0), ("time_share", 40.0))
    for unit, count in (("run", 1), ("step", 100))
]  # fmt: skip
DEFAULT = load_scenario(CONFIG / "scenarios/default.yaml", INPUTS)
PHONE = facts("edge", lifetime_years=3.0)
JUDGE = Judge(DEFAULT, Draws(1, 16), {"phone": build_arm("phone", PHONE, DEFAULT, INPUTS)})


def exchanging(judge: Judge) -> Judge:
    """The same where devices exchange weights."""
    settings = judge.scenario.settings
    traffic = settings.traffic.model_copy(update={"weights_every_steps": 100})
    settings = settings.model_copy(update={"traffic": traffic})
    return replace(judge, scenario=replace(judge.scenario, settings=settings))


def project(
    job: TargetJob, carbon: list[dict[str, Any]] = CARBON, judge: Judge = JUDGE, **options: Any
) -> dict[str, dict[str, Any]]:
    rows = projection_rows(judge, carbon, RUNS, {"job": job}, **options)
    assert all(list(row) and set(row) == set(PROJECTIONS.column_names) for row in rows)
    return {row["attribution"]: row for row in rows}


def test_same_model_is_scaled_by_tokens():
    row = project(TargetJob(tokens=180_000_000_000))["time_share"]
    assert (row["scaling"], row["scale_factor"], row["parameters"]) == ("same model", 180_000, OPT_125M_PARAMETERS)
    assert row["energy_kwh"] == pytest.approx(180_000)
    # Repeats of one and three hours: two on average.
    assert row["device_hours"] == pytest.approx(360_000)
    assert row["device_lifetimes"] == pytest.approx(360_000 / 26_280)
    assert row["devices_at_least"] == 14
    found = [
        row[f"{name}_grams"] for name in ("operational", "embodied", "network", "total", "total_low", "total_high")
    ]
    assert found == pytest.approx([18e6, 7.2e6, 1.8e6, 27e6, 13.5e6, 54e6])
    assert (row["provenance"], row["run_provenance"], row["role"]) == ("modelled", "measured", "edge")


def test_another_model_is_scaled_by_its_operations():
    parameters = 10 * OPT_125M_PARAMETERS
    row = project(TargetJob(tokens=1_000_000, parameters=parameters))["sunk"]
    assert (row["scaling"], row["scale_factor"]) == ("6ND", pytest.approx(10.0))
    # Text does not grow with the model; weights that are exchanged do.
    assert row["network_grams"] == pytest.approx(10.0)
    # The interval stays half to twice the total.
    totals = [row[f"total{end}_grams"] for end in ("", "_low", "_high")]
    assert totals == pytest.approx([1010.0, 505.0, 2020.0])
    exchanged = project(TargetJob(tokens=1_000_000, parameters=parameters), judge=exchanging(JUDGE))["sunk"]
    assert exchanged["network_grams"] == pytest.approx(100.0)


def test_shapes_make_the_count_exact():
    # The same model with four times the sequence: attention's 12·l·h·s alone grows.
    shape = {"embedding_parameters": 40_183_296, "layers": 12, "hidden_size": 768, "vocabulary_size": 50_272}
    job = TargetJob(tokens=1_000_000, parameters=OPT_125M_PARAMETERS, shape={**shape, "sequence_length": 2048})
    row = project(job, shapes={"w": OPT_125M})["sunk"]
    linear, attention = 6 * (OPT_125M_PARAMETERS - 2_050 * 768), 12 * 12 * 768 * 512
    assert row["scaling"] == "exact"
    assert row["scale_factor"] == pytest.approx((linear + 4 * attention) / (linear + attention), rel=1e-12)
    assert row["energy_kwh"] == pytest.approx(row["scale_factor"])
    # Where the run's shape is not known, attention stays out of both counts.
    assert project(job)["sunk"]["scaling"] == "6ND"


def described(file: str, **changes: Any) -> dict[str, Any]:
    """A bundled model as the workflow describes it, with OPT-125m's counts."""
    config = json.loads((MODELS / file).read_text(encoding="utf-8"))
    counts = {"parameters": OPT_125M_PARAMETERS, "embedding_parameters": OPT_125M.embedding_parameters}
    return {"name": file, "config": {**config, **changes}, **counts}


def test_the_shape_of_a_model_is_known_for_certain_or_not_at_all():
    assert model_shape(described("facebook--opt-125m.json"), 512) == OPT_125M
    # Another family; and one of a known family with a width that the family's count does not know of.
    assert model_shape(described("facebook--opt-125m.json", model_type="bloom"), 512) is None
    assert model_shape({**described("facebook--opt-350m.json"), "parameters": 331_196_416}, 512) is None


@pytest.mark.parametrize(("kind", "energy_times", "hours_times"), [
    ("measured", 1.1 * 2.0, 1.1 * 2.0 / 0.5),
    ("modelled", 1.1 * 2.0 * 1.33 * 1.05, 1.1 * 2.0 * 1.33 * 1.5 / 0.5),
])  # fmt: skip
def test_energy_and_hours_have_what_practice_adds_as_the_grams_have(kind, energy_times, hours_times):
    stress = load_scenario(CONFIG / "scenarios/stress.yaml", INPUTS)
    mine = run("phone", "edge", hours=2.0, record_kind=kind, provenance=kind)
    result = evaluate(stress, INPUTS, {"phone": PHONE}, [mine])
    rows = projection_rows(result.judge, result.carbon, [mine], {"job": TargetJob(tokens=3_000_000)})
    row = next(row for row in rows if row["attribution"] == "time_share")
    assert row["energy_kwh"] == pytest.approx(3 * energy_times)
    assert row["device_hours"] == pytest.approx(3 * 2.0 * hours_times)
    arm = result.judge.arms["phone"]
    made_grams = 1000 * sum(part.value for part in arm.embodied)
    assert row["embodied_grams"] == pytest.approx(made_grams * row["device_hours"] / (3.0 * HOURS_PER_YEAR))
    assert row["embodied_grams"] == pytest.approx(made_grams * row["device_lifetimes"])


@given(
    tokens=st.integers(1, 10**13),
    times=st.integers(2, 1000),
    parameters=st.none() | st.integers(1, 10**12),
    exchanges=st.booleans(),
)
def test_scaling_tokens_scales_everything(tokens, times, parameters, exchanges):
    judge = exchanging(JUDGE) if exchanges else JUDGE
    small, large = (
        project(TargetJob(tokens=many, parameters=parameters), judge=judge)["time_share"]
        for many in (tokens, times * tokens)
    )
    for name in PROJECTIONS.column_names:
        if name.endswith(("_grams", "_kwh", "_hours", "_lifetimes", "tokens", "_factor")):
            assert large[name] == pytest.approx(times * small[name], rel=1e-9), name
    assert small["total_low_grams"] < small["total_grams"] < small["total_high_grams"]
    assert small["total_grams"] == pytest.approx(
        sum(small[f"{name}_grams"] for name in ("operational", "embodied", "network")), rel=1e-12
    )
    assert small["devices_at_least"] - 1 <= small["device_lifetimes"] <= small["devices_at_least"]


def test_what_cannot_be_scaled():
    unknown = [{**row, "energy_joules": None, "operational_grams": None, "total_grams": None} for row in CARBON]
    assert project(TargetJob(tokens=1), unknown) == {}
    idle = [{**one, "tokens": 0} for one in RUNS]
    with pytest.raises(ValueError, match="run_work: expected a number above zero"):
        projection_rows(JUDGE, CARBON, idle, {"job": TargetJob(tokens=1)})


@pytest.mark.parametrize(
    ("job", "text"),
    [
        ({"tokens": 0}, "jobs.j.tokens: Input should be greater than or equal to 1"),
        ({"token": 1}, "did you mean 'tokens'"),
        ({"tokens": 1, "shape": "SHAPE"}, "shape: given without parameters"),
        ({"tokens": 1, "parameters": 9, "shape": "SHAPE"}, "expected at most the 9 parameters of the model, found 10"),
    ],
)
def test_a_wrong_job_is_explained(job, text):
    shape = dict.fromkeys(("embedding_parameters", "layers", "hidden_size", "vocabulary_size", "sequence_length"), 10)
    data = {"name": "e", "workloads": {"w": {}}, "jobs": {"j": {**job, **({"shape": shape} if "shape" in job else {})}}}
    with pytest.raises(UserError, match=text):
        validate(Experiment, data, "config.yaml")


# --- published jobs


def reproduced(name: str) -> dict[str, float]:
    rows = reproduce(PUBLISHED[name])
    assert all(set(row) == set(PUBLISHED_JOBS.column_names) for row in rows)
    return {row["quantity"]: row["reproduced"] for row in rows}


def test_gpt3_again():
    found = reproduced("gpt-3")
    assert found["energy_mwh"] == pytest.approx(1289.4, abs=0.05)
    assert found["operational_tonnes"] == pytest.approx(553.1, abs=0.05)


def test_bloom_again():
    found = reproduced("bloom")
    expected = {"operational": 24.692, "idle": 14.629, "embodied": 11.211, "total": 50.532}
    assert found == {f"{name}_tonnes": pytest.approx(tonnes, abs=5e-4) for name, tonnes in expected.items()}


@pytest.mark.parametrize(
    ("name", "relative_error"),
    [("t5", -0.0206), ("gpt-3", 0.0023), ("gshard", 0.0326), ("switch", 0.0792), ("xlm", -0.0354)],
)
def test_llmcarbons_table_again(name, relative_error):
    """The same relative errors as its authors' code has on its own database, all within the error that they state."""
    rows = {row["quantity"]: row for row in reproduce(PUBLISHED[f"llmcarbon-{name}"])}
    row = rows["operational_tonnes"]
    assert row["relative_error"] == pytest.approx(relative_error, abs=5e-5)
    assert abs(row["relative_error"]) <= row["stated_error"] == 0.082
    assert row["method"] == "6ND"
    assert rows["zettaflop"]["reproduced"] == pytest.approx(rows["zettaflop"]["published"], rel=0.082)


def test_llmcarbons_embodied_table_again():
    (row,) = reproduce(PUBLISHED["llmcarbon-xlm-embodied"])
    assert row["reproduced"] == pytest.approx(0.648, abs=5e-4)
    assert row["relative_error"] == pytest.approx(-0.018, abs=5e-4)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda job: job.update(device_hours=1.0), "expected one of days, device_hours and work, found days and device_hours"),
        (lambda job: job.pop("days"), "expected one of days, device_hours and work, found none"),
        (lambda job: job.pop("electricity"), "published.energy_mwh: cannot be reckoned without 'electricity'"),
        (lambda job: job["published"].update(embodied_tonnes={"value": 1.0}), "cannot be reckoned without 'embodied'"),
        (lambda job: job.pop("source"), "jobs.gpt-3.source: required, and not given"),
        (lambda job: job["published"].update(tonnes={"value": 1.0}), "Input should be 'zettaflop'"),
    ],
)  # fmt: skip
def test_a_wrong_published_job_is_explained(tmp_path, change, text):
    data = yaml.safe_load(PUBLISHED_FILE.read_text(encoding="utf-8"))
    change(data["jobs"]["gpt-3"])
    path = tmp_path / "published_jobs.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    with pytest.raises(UserError, match=text):
        load_published_jobs(path)
