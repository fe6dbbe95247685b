"""The pure carbon functions: known answers, errors, properties."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecarbon import carbon

YEAR_HOURS = 8760.0

# --- known answers


def test_sci_time_share():
    assert carbon.embodied_grams(1000.0, 4 * 365 * 24, 1.0) == pytest.approx(28.538813, abs=5e-7)


def test_impact_framework_pipeline():
    assert carbon.operational_grams(1.584375e-5, 800.0) == pytest.approx(0.012675, abs=5e-10)


def test_gpt3_operational():
    energy_kwh = 10_000 * 0.330 * 14.8 * 24
    assert energy_kwh * 1.1 / 1000 == pytest.approx(1289.4, abs=0.05)
    assert carbon.operational_grams(energy_kwh, 429.0, 1.1) / 1e6 == pytest.approx(553.1, abs=0.05)


def test_bloom():
    gpu_hours, gpus = 1_082_990.0, 384
    dynamic = carbon.operational_grams(gpu_hours * 0.4, 57.0) / 1e6
    idle = carbon.operational_grams(256_646.0, 57.0) / 1e6
    # Of each GPU, because a run cannot be longer than a device's life.
    hours = gpu_hours / gpus
    gpu = carbon.embodied_grams(150.0, 6 * YEAR_HOURS, hours, attribution="used_hours", lifetime_used_share=0.85)
    server = carbon.embodied_grams(2500.0, 6 * YEAR_HOURS, hours, 1 / 8, "used_hours", 0.85)
    embodied = gpus * (gpu + server) / 1e6
    assert dynamic == pytest.approx(24.692, abs=5e-4)
    assert idle == pytest.approx(14.629, abs=5e-4)
    assert embodied == pytest.approx(11.211, abs=5e-4)
    assert dynamic + idle + embodied == pytest.approx(50.532, abs=5e-4)


def test_hgx_per_gpu_hour():
    grams = carbon.embodied_grams(1312 / 8, 5 * YEAR_HOURS, 1.0)
    assert grams == pytest.approx(3.7443, abs=5e-5)


def test_grid_mix():
    shares = {"coal": 0.25, "oil": 0.35, "gas": 0.26, "nuclear": 0.14}
    intensities = {"coal": 995.0, "oil": 816.0, "gas": 743.0, "nuclear": 29.0}
    assert carbon.grid_mix(shares, intensities) == pytest.approx(731.59, abs=5e-3)


def test_radio():
    assert carbon.radio_joules(1e6, 0.5, 10e6) == pytest.approx(0.05)
    assert carbon.radio_joules(1 / 8, 0.5, 10e6) == pytest.approx(6.25e-9)
    per_gb = carbon.radio_kwh_per_gb(0.5, 10e6)
    assert per_gb == pytest.approx(1.39e-5, abs=5e-8)
    assert carbon.network_grams(1e9, per_gb, 494.0) == pytest.approx(0.00686, abs=5e-6)


@pytest.mark.parametrize(("energy_ratio", "expected"), [(1.5, 1.93), (4.0, 0.725)])
def test_overhead_against_efficiency(energy_ratio: float, expected: float):
    edge = carbon.operational_grams(1 / energy_ratio, 400.0, 2.9)
    assert edge / carbon.operational_grams(1.0, 400.0) == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize(("energy_ratio", "expected"), [(1.0, 25), (12.0, 300)])
def test_overhead_grid_and_energy_multiply(energy_ratio: float, expected: float):
    edge = carbon.operational_grams(energy_ratio, 8.62 * 50, 2.9)
    assert round(edge / carbon.operational_grams(1.0, 50.0)) == expected


def test_end_to_end():
    cloud = carbon.operational_grams(1.0, 400.0, 1.3 * 1.1)
    cloud += carbon.embodied_grams(188.0, 5 * YEAR_HOURS, 1000 / 200, 1.0, "used_hours", 0.6)
    edge = carbon.operational_grams(1 / 2.5, 400.0, 1.2) + carbon.network_grams(10e9, 0.005, 400.0)
    hours = 1000 / 2.5 / 5
    time_share = carbon.embodied_grams(67.0, 3 * YEAR_HOURS, hours)
    used_hours = carbon.embodied_grams(67.0, 3 * YEAR_HOURS, hours, 1.0, "used_hours", 0.2)
    assert cloud == pytest.approx(607.77, abs=5e-3)
    assert edge == pytest.approx(212.0, abs=5e-2)
    assert time_share == pytest.approx(203.96, abs=5e-3)
    assert cloud / (edge + time_share) == pytest.approx(1.461, abs=5e-4)
    assert cloud / edge == pytest.approx(2.867, abs=5e-4)
    assert cloud / (edge + used_hours) == pytest.approx(0.493, abs=5e-4)


END_TO_END = {
    "edge_overhead_factor": 1.2,
    "edge_intensity_g_per_kwh": 400.0,
    "edge_embodied_kg": 67.0,
    "edge_lifetime_years": 3.0,
    "edge_watts": 5.0,
    "cloud_host_factor": 1.3,
    "cloud_pue": 1.1,
    "cloud_intensity_g_per_kwh": 400.0,
    "cloud_embodied_g_per_kwh": 188e3 / (5 * YEAR_HOURS * 0.6) * 5,
    "network_g_per_kwh": 20.0,
}


@pytest.mark.parametrize(("weight", "used_share"), [(0.0, 1.0), (1.0, 1.0), (1.0, 0.2)])
def test_at_the_break_even_ratio_both_sides_emit_the_same(weight: float, used_share: float):
    ratio = carbon.break_even_energy_ratio(**END_TO_END, edge_attribution_weight=weight, edge_used_share=used_share)
    cloud = carbon.operational_grams(1.0, 400.0, 1.3 * 1.1)
    cloud += carbon.embodied_grams(188.0, 5 * YEAR_HOURS, 5.0, 1.0, "used_hours", 0.6)
    edge_kwh = 1 / ratio
    embodied = carbon.embodied_grams(67.0, 3 * YEAR_HOURS, edge_kwh / 0.005, 1.0, "used_hours", used_share)
    edge = carbon.operational_grams(edge_kwh, 400.0, 1.2) + weight * embodied + 20.0
    assert edge == pytest.approx(cloud)


def test_break_even_is_infinite_where_the_network_alone_emits_more_than_the_cloud():
    assert carbon.break_even_energy_ratio(**{**END_TO_END, "network_g_per_kwh": 1000.0}) == math.inf
    ratios = carbon.break_even_energy_ratio(**{**END_TO_END, "network_g_per_kwh": np.array([20.0, 1000.0])})
    assert ratios[0] == pytest.approx(1.684, abs=5e-4)
    assert ratios[1] == math.inf


def test_wear_of_battery_and_life():
    cycles = carbon.full_cycles(0.017, 17.0)
    assert cycles == pytest.approx(1.0)
    assert carbon.wear_grams(1.5, cycles, 500.0) == pytest.approx(3.0)
    assert carbon.wear_grams(1.5, cycles, 500.0, 50.0, 10.0, 10_000.0) == pytest.approx(3.0 + 50.0)
    assert carbon.wear_grams(0.0, 0.0, 1.0) == 0.0


def test_multiplexing():
    assert carbon.multiplexed_idle_kwh(100.0, 10.0, 0.5) == pytest.approx(1.0)
    assert carbon.multiplexed_idle_kwh(100.0, 10.0, 0.5, tenants=4) == pytest.approx(0.25)
    assert carbon.multiplexed_idle_kwh(100.0, 10.0, 1.0) == 0.0


def test_sci_per_unit():
    assert carbon.sci(6.0, 4.0, 5.0) == 2.0


def test_both_ends_of_a_link_count_twice():
    assert carbon.network_grams(1e9, 0.01, 400.0, ends=2) == 2 * carbon.network_grams(1e9, 0.01, 400.0)


# --- errors

EMBODIED = {"embodied_kg": 100.0, "lifetime_hours": 1000.0, "used_hours_for_run": 10.0}
CALLS = [
    (carbon.operational_grams, {"energy_kwh": 1.0, "intensity_g_per_kwh": 400.0, "overhead_factor": 1.2}),
    (carbon.embodied_grams, {**EMBODIED, "resource_share": 0.5, "lifetime_used_share": 0.5}),
    (carbon.wear_grams, {"battery_kg": 1.0, "full_cycle_equivalents": 1.0, "rated_cycles": 500.0, "embodied_kg": 50.0}),
    (carbon.full_cycles, {"energy_kwh": 1.0, "capacity_wh": 17.0}),
    (carbon.network_grams, {"transferred_bytes": 1.0, "kwh_per_gb": 0.1, "intensity_g_per_kwh": 400.0, "ends": 2.0}),
    (carbon.radio_joules, {"transferred_bytes": 1.0, "radio_watts": 0.5, "bytes_per_second": 1e7}),
    (carbon.radio_kwh_per_gb, {"radio_watts": 0.5, "bytes_per_second": 1e7}),
    (carbon.sci, {"operational": 1.0, "embodied": 1.0, "functional_units": 1.0}),
    (carbon.multiplexed_idle_kwh, {"idle_watts": 50.0, "used_hours": 1.0, "utilisation": 0.5, "tenants": 2.0}),
    (carbon.break_even_energy_ratio, END_TO_END),
]
EACH_ARGUMENT = [
    pytest.param(function, arguments, name, id=f"{function.__name__}-{name}")
    for function, arguments in CALLS
    for name in arguments
]


@pytest.mark.parametrize(("function", "arguments", "name"), EACH_ARGUMENT)
@pytest.mark.parametrize("bad", [-1.0, -1, math.nan, math.inf, -math.inf, None, "3", True, np.array([1.0, -2.0])])
def test_no_argument_takes_a_bad_number(function, arguments, name, bad):
    with pytest.raises(ValueError, match=rf"^{name}: expected"):
        function(**{**arguments, name: bad})


@pytest.mark.parametrize(
    ("function", "arguments", "name", "zero"),
    [
        (carbon.embodied_grams, EMBODIED, "lifetime_hours", 0.0),
        (carbon.embodied_grams, EMBODIED, "lifetime_used_share", 0),
        (carbon.wear_grams, CALLS[2][1], "rated_cycles", 0.0),
        (carbon.wear_grams, CALLS[2][1], "lifetime_hours", 0.0),
        (carbon.full_cycles, CALLS[3][1], "capacity_wh", 0.0),
        (carbon.radio_joules, CALLS[5][1], "bytes_per_second", 0.0),
        (carbon.sci, CALLS[7][1], "functional_units", 0),
        (carbon.multiplexed_idle_kwh, CALLS[8][1], "utilisation", 0.0),
    ],
)
def test_what_divides_is_above_zero(function, arguments, name, zero):
    with pytest.raises(ValueError, match=rf"^{name}: expected a number above zero, found 0$"):
        function(**{**arguments, name: zero})


@pytest.mark.parametrize("name", ["resource_share", "lifetime_used_share"])
def test_a_share_is_at_most_one(name):
    with pytest.raises(ValueError, match=rf"^{name}: expected a share from 0 to 1, found 1\.5$"):
        carbon.embodied_grams(**EMBODIED, **{name: 1.5})


@pytest.mark.parametrize("attribution", carbon.ATTRIBUTIONS)
def test_a_run_is_not_longer_than_the_lifetime(attribution):
    with pytest.raises(ValueError, match=r"used_hours_for_run: 1001 h is longer than the lifetime of 1000 h"):
        carbon.embodied_grams(100.0, 1000.0, 1001.0, attribution=attribution)
    carbon.embodied_grams(100.0, 1000.0, 1000.0, attribution=attribution)


@pytest.mark.parametrize("attribution", ["marginal_wear", "Sunk", "", None])
def test_an_unknown_attribution_is_named(attribution):
    with pytest.raises(ValueError, match=r"attribution: expected one of sunk, time_share, used_hours, found"):
        carbon.embodied_grams(**EMBODIED, attribution=attribution)


def test_wear_takes_no_more_life_than_there_is():
    with pytest.raises(ValueError, match=r"shortened_life_hours: 11 h is longer than the lifetime of 10 h"):
        carbon.wear_grams(1.0, 1.0, 500.0, 50.0, 11.0, 10.0)


def test_a_mix_adds_up_and_every_source_is_known():
    with pytest.raises(ValueError, match=r"shares: expected a sum of 1, found 0\.9"):
        carbon.grid_mix({"coal": 0.9}, {"coal": 995.0})
    with pytest.raises(ValueError, match="no intensity for 'wind'"):
        carbon.grid_mix({"wind": 1.0}, {"coal": 995.0})


def test_less_than_one_tenant_is_refused():
    with pytest.raises(ValueError, match=r"tenants: expected at least 1, found 0\.5"):
        carbon.multiplexed_idle_kwh(100.0, 10.0, 0.5, tenants=0.5)


# --- properties

amounts = st.floats(0.0, 1e9)
shares = st.floats(0.01, 1.0)


@given(amounts, amounts, amounts, st.floats(1.0, 5.0))
def test_a_dirtier_grid_never_lowers_operational_carbon(energy, intensity, more, factor):
    clean = carbon.operational_grams(energy, intensity, factor)
    assert carbon.operational_grams(energy, intensity + more, factor) >= clean


@given(st.floats(0.0, 1e6), st.floats(1.0, 1e5), st.floats(0.0, 1.0), st.floats(0.0, 1.0), shares)
def test_sunk_at_most_time_share_at_most_used_hours(embodied, lifetime, part, held, used):
    sunk, time_share, used_hours = (
        carbon.embodied_grams(embodied, lifetime, lifetime * part, held, attribution, used)
        for attribution in carbon.ATTRIBUTIONS
    )
    assert 0.0 == sunk <= time_share <= used_hours


@given(st.floats(0.0, 1e3), st.floats(0.0, 1e3), st.floats(0.0, 1e3), st.integers(2, 50))
def test_scaling_the_work_scales_the_total(energy, hours, gigabytes, factor):
    def total(scale: float) -> float:
        return float(
            carbon.operational_grams(energy * scale, 400.0, 1.3)
            + carbon.embodied_grams(100.0, 1e6, hours * scale, 0.5, "used_hours", 0.3)
            + carbon.network_grams(gigabytes * 1e9 * scale, 0.005, 400.0, 2)
            + carbon.wear_grams(1.0, carbon.full_cycles(energy * scale, 17.0), 500.0)
        )

    assert total(factor) == pytest.approx(factor * total(1))


@given(st.lists(st.tuples(amounts, amounts), min_size=1, max_size=5))
def test_arrays_give_what_scalars_give(pairs):
    energy, intensity = (np.array(column) for column in zip(*pairs, strict=True))
    together = carbon.operational_grams(energy, intensity, 1.1)
    assert isinstance(together, np.ndarray)
    assert together.tolist() == [carbon.operational_grams(one, other, 1.1) for one, other in pairs]


def test_scalars_give_floats():
    assert type(carbon.operational_grams(1, np.float64(2.0))) is float
    assert all(type(carbon.embodied_grams(**EMBODIED, attribution=name)) is float for name in carbon.ATTRIBUTIONS)
    assert carbon.embodied_grams(np.array([1.0, 2.0]), 100.0, 1.0, attribution="sunk").tolist() == [0.0, 0.0]


def test_importing_the_formulas_is_light():
    heavy = "torch transformers snakemake pyarrow pydantic duckdb scipy yaml"
    code = f"import sys, edgecarbon.carbon; print(*[name for name in '{heavy}'.split() if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == []
