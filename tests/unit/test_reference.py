"""Reference devices: the shipped assumptions give the figures that they are said to, in the shape of a record."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecarbon.config.inputs import load_reference_devices
from edgecarbon.records import canonical_sha256
from edgecarbon.reference import modelled_record

PATH = Path(__file__).resolve().parents[2] / "config/inputs/reference_devices.yaml"
DEVICES = load_reference_devices(PATH)
OPT_125M = {
    "workload": "opt-125m",
    "name": "facebook/opt-125m",
    "parameters": 125_239_296,
    "batch_size": 16,
    "sequence_length": 512,
    "steps": 100,
}
FLOPS_PER_STEP = 6 * 125_239_296 * 16 * 512


@pytest.mark.parametrize(
    ("name", "peak_tflops", "precision", "watts", "role", "boundary"),
    [
        ("rtx-a5000-fp32", 27.8, "fp32", (180, 230, 230), "cloud", "gpu_board"),
        ("rtx-a5000-bf16", 111.1, "bf16", (180, 230, 230), "cloud", "gpu_board"),
        ("h200-bf16", 989.5, "bf16", (450, 700, 700), "cloud", "gpu_board"),
        ("macbook-pro-14-m2-pro", 6.8, "fp32", (25, 38, 50), "edge", "battery"),
        ("snapdragon-888-phone", 1.72, "fp32", (3.5, 5, 6.5), "edge", "battery"),
    ],
)
def test_what_ships(name, peak_tflops, precision, watts, role, boundary):
    device = DEVICES[name]
    assert (device.name, device.role, device.boundary, device.precision) == (name, role, boundary, precision)
    assert device.peak.value == peak_tflops
    assert (device.draw.low, device.draw.value, device.draw.high) == watts
    assert device.battery is (boundary == "battery")
    assert "measured" in device.is_not


def test_peaks_follow_from_their_chips():
    assert pytest.approx(19 * 128 * 2 * 1.398e9 / 1e12, abs=0.01) == DEVICES["macbook-pro-14-m2-pro"].peak.value
    assert pytest.approx(1024 * 2 * 840e6 / 1e12, abs=0.005) == DEVICES["snapdragon-888-phone"].peak.value
    assert pytest.approx(222.2 / 2) == DEVICES["rtx-a5000-bf16"].peak.value
    assert pytest.approx(1979 / 2) == DEVICES["h200-bf16"].peak.value


def gflop_per_joule(name: str, end: str) -> float:
    device = DEVICES[name]
    other = {"low": "high", "value": "value", "high": "low"}[end]
    return device.peak.value * 1e3 * getattr(device.sustained, end) / getattr(device.draw, other)


@pytest.mark.parametrize(
    ("name", "end", "expected"),
    [
        ("rtx-a5000-fp32", "value", 48),
        ("rtx-a5000-bf16", "value", 193),
        ("macbook-pro-14-m2-pro", "low", 41),
        ("macbook-pro-14-m2-pro", "high", 163),
        ("snapdragon-888-phone", "low", 2.3),
        ("snapdragon-888-phone", "high", 20),
    ],
)
def test_efficiency_in_gflop_per_joule(name, end, expected):
    assert gflop_per_joule(name, end) == pytest.approx(expected, rel=0.02)


def test_a_phone_needs_a_badly_tuned_gpu_to_be_better():
    """440 to 770 J a step at 5 W; a 230 W board 1.5 to 4 times worse sustains 0.46 to 2.15 TFLOP/s only."""
    best, worst = FLOPS_PER_STEP / 70e9 * 5, FLOPS_PER_STEP / 40e9 * 5
    assert (round(best, -1), round(worst, -1)) == (440, 770)
    assert 230 * FLOPS_PER_STEP / (1.5 * best) / 1e12 == pytest.approx(2.15, abs=0.01)
    assert 230 * FLOPS_PER_STEP / (4 * worst) / 1e12 == pytest.approx(0.46, abs=0.005)
    device = DEVICES["snapdragon-888-phone"]
    assert device.peak.value * device.sustained.high == pytest.approx(0.070, abs=1e-4)
    assert device.peak.value * device.sustained.low == pytest.approx(0.015, abs=1e-4)


def test_a_record_of_an_a5000():
    record = modelled_record(DEVICES["rtx-a5000-fp32"], OPT_125M)
    training, (reading,) = record["result"]["training"], record["result"]["readings"]
    duration_s = 100 * FLOPS_PER_STEP / (27.8e12 * 0.4)
    assert training["duration_s"] == pytest.approx(duration_s)
    assert record["result"]["windows"] == [{"name": "train", "start_s": 0.0, "end_s": training["duration_s"]}]
    assert reading["joules"] == pytest.approx(duration_s * 230)
    assert reading["low_joules"] == pytest.approx(100 * FLOPS_PER_STEP / (27.8e12 * 0.5) * 180)
    assert reading["high_joules"] == pytest.approx(100 * FLOPS_PER_STEP / (27.8e12 * 0.2) * 230)
    assert reading["uncertainty_joules"] == pytest.approx((reading["high_joules"] - reading["low_joules"]) / 3.92)
    assert (reading["provenance"], record["provenance"]) == ("modelled", "modelled")
    assert (training["tokens"], training["mfu"], training["precision"]) == (819_200, 0.4, "fp32")
    assert training["model_flops_per_second"] / training["peak_flops_per_second"] == pytest.approx(training["mfu"])
    assert record["content_sha256"] == canonical_sha256(record)
    assert (record["run_id"], record["role"], record["spec"]) == ("opt-125m/rtx-a5000-fp32/r1", "cloud", None)


@pytest.mark.parametrize("name", sorted(DEVICES))
def test_a_record_is_the_same_every_time_and_scales_with_the_steps(name):
    once, again = (modelled_record(DEVICES[name], OPT_125M) for _ in range(2))
    assert once == again
    twice = modelled_record(DEVICES[name], {**OPT_125M, "steps": 200})
    for field in ("joules", "low_joules", "high_joules"):
        ratio = twice["result"]["readings"][0][field] / once["result"]["readings"][0][field]
        assert ratio == pytest.approx(2.0)


def test_the_store_takes_the_record():
    parquet = pytest.importorskip("edgecarbon.store.parquet")
    (row,) = parquet.run_table(modelled_record(DEVICES["snapdragon-888-phone"], OPT_125M)).to_pylist()
    assert (row["record_kind"], row["boundary"], row["energy_status"]) == ("modelled", "battery", "complete")
    assert row["energy_low_joules"] < row["energy_joules"] < row["energy_high_joules"]
    assert row["model"] == "facebook/opt-125m"


def test_carbon_facts_have_the_fleets_shape():
    facts = DEVICES["macbook-pro-14-m2-pro"].carbon_facts()
    assert (facts["role"], facts["embodied"], facts["battery"]) == ("edge", "apple-macbook-pro-14-m2-pro", True)
    assert facts["grid_zone"] is None
