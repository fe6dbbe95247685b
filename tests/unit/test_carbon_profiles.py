"""Hours of the day: which a profile's choice takes, what becomes of it as an assumption, and which files are refused."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import yaml
from carbon_cases import CONFIG, INPUTS, certain, facts, literal, run, scenario
from hypothesis import given
from hypothesis import strategies as st

from edgecarbon.carbon.draws import quantile
from edgecarbon.carbon.evaluation import evaluate
from edgecarbon.carbon.labels import label
from edgecarbon.config.inputs import load_inputs
from edgecarbon.config.profiles import Greenest, Profile, ProfileEntry, Window, load_profiles
from edgecarbon.config.resolve import load_scenario
from edgecarbon.errors import UserError

SHIPPED = "illustration-solar-dip"
ENTRY = yaml.safe_load((CONFIG / "inputs/profiles.yaml").read_text(encoding="utf-8"))["profiles"][SHIPPED]
ABSOLUTE = {**ENTRY, "kind": "absolute", "zone": "DEU", "year": 2024}
SIDES = {"c": facts("cloud"), "e": facts("edge")}


def profile(figures: Sequence[float], first_hour: int = 0) -> Profile:
    return Profile("made", ProfileEntry.model_validate(ABSOLUTE), tuple(figures), first_hour)


def greenest(per_day: int) -> Greenest:
    return Greenest.model_validate({"choose": "greenest", "per_day": per_day})


def window(start: int, to: int) -> Window:
    return Window.model_validate({"from": start, "to": to})


def folder(where: Path, entry: dict[str, Any], text: str, key: str = "made") -> Path:
    """An inputs folder with one profile, described and with its table."""
    (where / "profiles").mkdir()
    (where / "profiles.yaml").write_text(yaml.safe_dump({"profiles": {key: entry}}), encoding="utf-8")
    (where / f"profiles/{key}.csv").write_text(text, encoding="utf-8")
    return where / "profiles.yaml"


def by_hour(figures: Sequence[object]) -> str:
    return "hour,intensity\n" + "".join(f"{hour},{figure}\n" for hour, figure in enumerate(figures))


def by_time(figures: Sequence[object], first: str = "2024-03-30T00:00+00:00") -> str:
    times = (datetime.fromisoformat(first) + timedelta(hours=hour) for hour in range(len(figures)))
    rows = (f"{time.isoformat()},{figure}\n" for time, figure in zip(times, figures, strict=True))
    return "time,intensity\n" + "".join(rows)


# --- which hours


days = st.lists(st.floats(0, 1500), min_size=24, max_size=24)
profiles = st.builds(
    lambda parts, first: profile([one for part in parts for one in part], first),
    st.lists(days, min_size=1, max_size=3),
    st.integers(0, 23),
)


@given(profiles)
def test_more_green_hours_are_never_greener(one):
    means = [one.mean(greenest(count)) for count in range(1, 25)]
    assert all(few <= more + 1e-9 for few, more in pairwise(means))
    assert means[-1] == pytest.approx(one.mean(None))
    assert min(one.figures) <= means[0] + 1e-9


@given(profiles, st.integers(0, 23), st.integers(1, 23))
def test_a_window_and_the_rest_of_the_day_make_up_the_mean(one, start, count):
    to = (start + count) % 24
    inside, outside = one.mean(window(start, to)), one.mean(window(to, start))
    assert (inside * count + outside * (24 - count)) / 24 == pytest.approx(one.mean(None), abs=1e-9)
    assert one.mean(greenest(count)) <= inside + 1e-9


def test_hours_by_hand():
    hours = profile(range(24))
    assert hours.mean(window(22, 6)) == (22 + 23 + 0 + 1 + 2 + 3 + 4 + 5) / 8
    assert hours.mean(window(9, 12)) == 10
    assert hours.mean(window(18, 0)) == 20.5
    assert hours.mean(greenest(3)) == 1
    # The greenest of each day, and not of both together.
    assert profile([*range(24), *range(100, 124)]).mean(greenest(2)) == (0 + 1 + 100 + 101) / 4


@pytest.mark.parametrize(("offset", "noon"), [(None, 12), (0, 12), (2, 10), (-8, 20), (5.5, 7), (-3.5, 16)])
def test_hours_of_the_day_are_local(tmp_path, offset, noon):
    """The hour from 12 is, in UTC, the row that begins in it."""
    entry = {**ABSOLUTE, "utc_offset_hours": None if offset is None else float(offset)}
    made = load_profiles(folder(tmp_path, entry, by_time([*range(24)] * 2)))["made"]
    assert made.mean(window(12, 13)) == noon


def test_times_may_be_written_in_any_offset_and_a_clock_that_is_put_forward_leaves_no_gap(tmp_path):
    times = ["2024-03-31T00:00+01:00", "2024-03-31T01:00+01:00"]
    times += [f"2024-03-31 {hour:02}:00:00+02:00" for hour in range(3, 24)] + ["2024-03-31T22:00Z"]
    text = "time,intensity\n" + "".join(f"{time},{row}\n" for row, time in enumerate(times))
    made = load_profiles(folder(tmp_path, {**ABSOLUTE, "utc_offset_hours": 1.0}, text))["made"]
    assert (made.first_hour, made.figures) == (0, tuple(range(24)))


# --- what becomes of them


def grid(tmp_path: Path, **hours: Any) -> Any:
    return scenario(tmp_path, edge__grid={"zone": "DEU", "year": 2024, **hours}).edge.grid


def test_a_relative_profile_is_a_factor_of_the_zones_year(tmp_path):
    plain = grid(tmp_path)
    assert plain.hours is None
    found = grid(tmp_path, profile=SHIPPED, hours={"choose": "greenest", "per_day": 8})
    assert found.mean == plain.mean
    hours, factor = found.hours, (0.74 + 0.74 + 0.77 + 0.77 + 0.82 + 0.83 + 0.90 + 0.92) / 8
    assert hours.name == f"hours/DEU/{SHIPPED}/greenest-8"
    assert (hours.low, hours.value, hours.high) == pytest.approx((factor * 0.8, factor, factor * 1.25))
    assert found.intensity(lambda one: one.high) == pytest.approx(plain.mean.high * factor * 1.25)
    assert hours.source.startswith(f"profile '{SHIPPED}', mean of the 8 greenest hours of each day: This project's")
    assert (hours.unit, hours.year, hours.provenance) == ("g/g", 2025, "modelled")
    assert label(hours) == f"hours of the day, DEU {SHIPPED} greenest-8"
    night = grid(tmp_path, profile=SHIPPED, hours={"from": 22, "to": 6})
    assert night.hours.name == f"hours/DEU/{SHIPPED}/22-to-6"
    assert night.hours.value > 1
    whole = grid(tmp_path, profile=SHIPPED)
    assert (whole.hours.name, whole.hours.value) == (f"hours/DEU/{SHIPPED}", pytest.approx(1))


def test_two_sides_in_one_zone_share_its_year(tmp_path):
    """Nothing but the hours sets these sides apart, so that nothing else is in their ratio."""
    germany = {"zone": "DEU", "year": 2024}
    changes = certain(
        cloud__grid=germany, edge__grid={**germany, "profile": "germany-2020", "hours": {"from": 10, "to": 16}},
        cloud__pue=literal(1), cloud__attribution="as_edge", attributions=["sunk"],
    )  # fmt: skip
    result = evaluate(scenario(tmp_path, **changes), INPUTS, SIDES, [run("c", "cloud"), run("e", "edge")])
    judge, hours = result.judge, result.judge.scenario.edge.grid.hours
    drawn = judge.draws.of(hours)
    assert drawn.max() > 1.1 * drawn.min()
    assert result.pairs[0].ratio(judge, judge.draws) * drawn == pytest.approx(1)
    used_by = {row["name"]: row["used_by"] for row in result.assumptions}
    assert (used_by["grid/DEU/2024"], used_by[hours.name]) == ("c, e", "e")


def test_hours_are_in_all_that_is_drawn(tmp_path):
    """Machine, network and coordinator emit what they would on a grid of the product."""
    hours = {"zone": "DEU", "year": 2024, "profile": SHIPPED, "hours": {"from": 18, "to": 23}}
    runs, led = [run("c", "cloud"), run("e", "edge")], {"edge__coordinator": literal(20, "W"), "draws": 100}
    found = evaluate(scenario(tmp_path, cloud__grid=hours, edge__grid=hours, **led), INPUTS, SIDES, runs)
    product = literal(found.judge.scenario.cloud.grid.intensity(lambda one: one.value), "gCO2e/kWh")
    plain = evaluate(scenario(tmp_path, cloud__grid=product, edge__grid=product, **led), INPUTS, SIDES, runs)
    figures = "operational_grams", "network_grams", "total_grams", "intensity_g_per_kwh"
    for row, expected in zip(found.carbon, plain.carbon, strict=True):
        assert [row[name] for name in figures] == pytest.approx([expected[name] for name in figures])


def test_hours_may_lie_on_either_side_of_the_mean(tmp_path):
    """They are no share and no multiplier: a prior without ends passes 1 where its range ends below."""
    below = grid(tmp_path, profile=SHIPPED, hours={"choose": "greenest", "per_day": 3}).hours
    above = grid(tmp_path, profile=SHIPPED, hours={"from": 18, "to": 22}).hours
    assert below.high < 1
    for one, far in ((below, 1 - 1e-5), (replace(above, low=1.0), 1e-5)):
        drawn = quantile(replace(one, distribution="normal"), np.array([0.5, far]))
        assert min(drawn) < 1 < max(drawn)


def test_the_same_hours_on_both_sides_are_one_assumption(tmp_path):
    hours = {"zone": "DEU", "year": 2024, "profile": SHIPPED, "hours": {"from": 10, "to": 16}}
    found = scenario(tmp_path, cloud__grid=hours, edge__grid=dict(hours))
    assert found.cloud.grid is found.edge.grid


@pytest.fixture
def own(tmp_path: Path):
    """Loads a scenario against inputs that have one more, absolute, profile of Germany in 2024."""
    copy = Path(shutil.copytree(CONFIG / "inputs", tmp_path / "inputs"))
    described = yaml.safe_load((copy / "profiles.yaml").read_text(encoding="utf-8"))
    spread = {**ENTRY["spread"], "low": 0.9, "high": 1.1, "distribution": "normal"}
    described["profiles"]["mine"] = {**ABSOLUTE, "provenance": "published", "spread": spread}
    (copy / "profiles.yaml").write_text(yaml.safe_dump(described), encoding="utf-8")
    (copy / "profiles/mine.csv").write_text(by_time([*range(100, 124), *range(200, 224)]), encoding="utf-8")
    inputs = load_inputs(copy)

    def load(**changes: Any) -> Any:
        data = yaml.safe_load((CONFIG / "scenarios/default.yaml").read_text(encoding="utf-8"))
        data["edge"]["grid"] = {"zone": "DEU", "year": 2024, "profile": "mine", **changes}
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(data), encoding="utf-8")
        return load_scenario(path, inputs).edge.grid

    return load


def test_an_absolute_profile_speaks_for_itself(own):
    found = own(hours={"choose": "greenest", "per_day": 2})
    assert found.hours is None
    found = found.mean
    assert (found.name, found.unit) == ("grid/DEU/2024/mine/greenest-2", "gCO2e/kWh")
    assert (found.value, found.low, found.high) == pytest.approx((150.5, 0.9 * 150.5, 1.1 * 150.5))
    assert (found.provenance, found.distribution) == ("published", "normal")
    assert "Ember" not in found.source
    assert own().mean.value == (111.5 + 211.5) / 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"zone": "FRA"}, "edge.grid.profile: 'mine' is of zone 'DEU', not of 'FRA'"),
        ({"year": 2023}, "edge.grid.profile: 'mine' holds intensities of 2024, not of 2023"),
        ({"profile": "mien"}, "edge.grid.profile: 'mien' is not in"),
        ({"profile": "mien"}, "did you mean 'mine'?"),
        ({"profile": SHIPPED, "zone": "Germany"}, "did you mean 'DEU' (Germany)?"),
        ({"hours": {"from": 24, "to": 6}}, "edge.grid.hours.from: Input should be less than 24"),
        ({"hours": {"from": 6, "to": 24}}, "edge.grid.hours.to: Input should be less than 24"),
        ({"hours": {"from": 6, "to": 6}}, "edge.grid.hours: from and to are both 6; leave `hours` out"),
        ({"hours": {"frm": 6, "to": 8}}, "edge.grid.hours.frm: no such field; did you mean 'from'?"),
        ({"hours": {"from": 6}}, "edge.grid.hours.to: required, and not given"),
        ({"hours": {"choose": "greenest", "per_day": 0}}, "edge.grid.hours.per_day: Input should be greater than or"),
        ({"hours": {"choose": "greenest", "per_day": 25}}, "edge.grid.hours.per_day: Input should be less than or"),
        ({"hours": {"choose": "cheapest", "per_day": 8}}, "edge.grid.hours.choose: Input should be 'greenest'"),
        ({"hours": "night"}, "edge.grid.hours: expected hours such as {choose: greenest, per_day: 8} or"),
        ({"profile": None, "hours": {"from": 6, "to": 8}}, "edge.grid: hours are given without a profile"),
    ],
)
def test_a_mistake_in_a_scenario_is_told(own, change, says):
    with pytest.raises(UserError) as caught:
        own(**change)
    assert says in str(caught.value)


# --- files


GERMANY = INPUTS.profiles.find("germany-2020", "test")
SUMMER_TIME = (datetime(2020, 3, 29, 1, tzinfo=UTC), datetime(2020, 10, 25, 1, tzinfo=UTC))


def german_days() -> dict[datetime, list[int]]:
    """The days that were read, by their midnight, UTC."""
    text = (Path(__file__).parent / "profile_fixtures/germany_2020.txt").read_text(encoding="utf-8")
    rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {datetime.fromisoformat(day).replace(tzinfo=UTC): [int(one) for one in hours] for day, *hours in rows}


def average_day(days: dict[datetime, list[int]]) -> np.ndarray:
    """Factors of the mean by local hour, 24."""
    by_hour: list[list[int]] = [[] for _ in range(24)]
    for day, figures in days.items():
        for hour, figure in enumerate(figures):
            time = day + timedelta(hours=hour)
            by_hour[(hour + 1 + (SUMMER_TIME[0] <= time < SUMMER_TIME[1])) % 24].append(figure)
    means = np.array([fmean(hour) for hour in by_hour])
    return means / means.mean()


def test_germany_is_the_average_of_days_spread_over_the_year():
    days = german_days()
    starts = [datetime(2020, 1, 8, tzinfo=UTC) + timedelta(days=17 * spell) for spell in range(21)]
    assert list(days) == [start + timedelta(days=day) for start in starts for day in range(4)]
    assert [sum(day.weekday() == weekday for day in days) for weekday in range(7)] == [12] * 7
    assert GERMANY.figures == pytest.approx(average_day(days), abs=6e-4)
    assert GERMANY.mean(None) == pytest.approx(1, abs=5e-4)
    assert GERMANY.mean(greenest(8)) == pytest.approx(0.92, abs=5e-3)
    assert GERMANY.mean(window(22, 6)) == pytest.approx(1.01, abs=5e-3)
    each_day = fmean(fmean(sorted(figures)[:8]) for figures in days.values()) / fmean(map(fmean, days.values()))
    assert each_day == pytest.approx(0.852, abs=5e-4)


def test_the_german_dip_is_that_of_summer():
    halves = [
        {day: hours for day, hours in german_days().items() if (4 <= day.month <= 9) is half} for half in (True, False)
    ]
    summer, winter = map(average_day, halves)
    assert (summer.argmin(), winter.argmin()) == (13, 2)
    assert (summer[13], winter[13]) == pytest.approx((0.78, 0.96), abs=6e-3)


def test_germanys_range_is_that_of_its_spells():
    days = list(german_days().items())
    spells = [average_day(dict(days[start : start + 4]))[10:16].mean() for start in range(0, len(days), 4)]
    ends = np.quantile(spells, [0.05, 0.95]) / GERMANY.mean(window(10, 16))
    assert (GERMANY.entry.spread.low, GERMANY.entry.spread.high) == pytest.approx(ends, abs=5e-3)


def test_germanys_hours_are_of_germany(tmp_path):
    found = grid(tmp_path, profile="germany-2020", hours={"from": 10, "to": 16})
    assert found.hours.value == pytest.approx((0.941 + 0.904 + 0.881 + 0.874 + 0.89 + 0.924) / 6)
    assert ("ENTSO-E" in found.hours.source, "Ember" in found.mean.source) == (True, True)
    with pytest.raises(UserError, match="'germany-2020' is of zone 'DEU', not of 'FRA'"):
        grid(tmp_path, zone="FRA", profile="germany-2020")


def test_the_illustration_is_of_no_area():
    shipped = INPUTS.profiles.find(SHIPPED, "test")
    assert shipped.mean(None) == pytest.approx(1)
    assert (shipped.entry.kind, shipped.entry.zone, shipped.entry.provenance) == ("relative", None, "modelled")
    assert "illustration" in shipped.entry.source
    assert shipped.mean(window(10, 16)) < 0.9 < 1.1 < shipped.mean(window(18, 23))


FLAT = [1.0] * 24
TWO_DAYS = by_time([300] * 48)


@pytest.mark.parametrize(
    ("entry", "text", "says"),
    [
        (ENTRY, by_hour([*FLAT[:23], -0.1]), "line 25: expected a finite number that is not negative; found -0.1"),
        (ENTRY, by_hour([*FLAT[:5], "nan", *FLAT[6:]]), "line 7: expected a finite number that is not negative"),
        (ENTRY, by_hour([*FLAT[:5], "inf", *FLAT[6:]]), "line 7: expected a finite number that is not negative"),
        (ENTRY, by_hour([*FLAT[:5], "low", *FLAT[6:]]), "line 7: expected a number; found 'low'"),
        (ENTRY, by_hour(FLAT).replace("23,", "24,"), "line 25: expected hour 23, as hours go from 0 to 23; found 24"),
        (ENTRY, by_hour(FLAT).replace("\n7,", "\nseven,"), "line 9: expected an hour of the day; found 'seven'"),
        (ENTRY, by_hour(FLAT).replace("7,1.0\n", "7,1.0,2\n", 1), "line 9: expected hour and intensity; found"),
        (ENTRY, by_hour(FLAT[:23]), "expected whole days, a row for each hour; found 23 rows"),
        (ENTRY, by_hour([]), "expected whole days, a row for each hour; found 0 rows"),
        (ENTRY, by_hour([1.0] * 48), "expected one average day, 24 rows; found 48"),
        (ENTRY, by_hour(FLAT).replace("intensity", "gCO2"), "line 1: expected the columns hour,intensity or time,"),
        (ENTRY, "", "line 1: expected the columns hour,intensity or time,intensity; found []"),
        (ENTRY, by_hour([1.03] * 24), "the mean of a relative profile is 1, and here it is 1.03: divide each"),
        (ENTRY, by_hour([0.97] * 24), "the mean of a relative profile is 1, and here it is 0.97: divide each"),
        (ENTRY, by_hour([300] * 24), "if they are gCO2e/kWh, describe them as `kind: absolute`"),
        (ABSOLUTE, TWO_DAYS.replace("2024-03-30T12:00", "2024-03-30T12:30"), "line 14: expected 2024-03-30T12:00"),
        (ABSOLUTE, TWO_DAYS.replace("2024-03-31T05:00:00+00:00,300\n", "") + "2024-04-01T00:00Z,300\n",
         "line 31: expected 2024-03-31T05:00:00+00:00, an hour after the row before; found 2024-03-31T06"),
        (ABSOLUTE, TWO_DAYS.replace("T03:00", "T02:00"), "line 5: expected 2024-03-30T03:00"),
        (ABSOLUTE, TWO_DAYS.replace("+00:00", ""), "line 2: expected a time with its UTC offset"),
        (ABSOLUTE, TWO_DAYS.replace("2024-03-30T01:00:00+00:00", "noon"), "line 3: expected a time such as 2024"),
        (ABSOLUTE, by_time([300] * 47), "expected whole days, a row for each hour; found 47 rows"),
        ({**ENTRY, "utc_offset_hours": 1.0}, by_hour(FLAT), "profiles.made.utc_offset_hours: the hours of"),
        ({**ENTRY, "kind": "absolute"}, by_hour(FLAT), "profiles.made: absolute figures are those of one zone"),
        ({**ENTRY, "kind": "marginal"}, by_hour(FLAT), "profiles.made.kind: Input should be 'relative' or 'absolute'"),
        ({**ENTRY, "spread": {**ENTRY["spread"], "value": 1.1}}, by_hour(FLAT), "profiles.made: spread: the value is"),
        ({**ENTRY, "source": ""}, by_hour(FLAT), "profiles.made.source: String should have at least 3"),
        ({**ENTRY, "sauce": "x"}, by_hour(FLAT), "profiles.made.sauce: no such field; did you mean 'source'?"),
    ],
)  # fmt: skip
def test_a_spoilt_file_is_told(tmp_path, entry, text, says):
    path = folder(tmp_path, entry, text)
    with pytest.raises(UserError) as caught:
        load_profiles(path)
    assert says in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))


def test_factors_may_be_rounded(tmp_path):
    assert load_profiles(folder(tmp_path, ENTRY, by_hour([1.019] * 24)))["made"].mean(None) == pytest.approx(1.019)


def test_description_and_table_belong_together(tmp_path):
    path = folder(tmp_path, ENTRY, by_hour(FLAT))
    (tmp_path / "profiles/made.csv").rename(tmp_path / "profiles/mode.csv")
    with pytest.raises(UserError, match=r"mode\.csv: .*profiles\.yaml says nothing of it; describe it there as 'mode'"):
        load_profiles(path)
    (tmp_path / "profiles/mode.csv").unlink()
    with pytest.raises(UserError, match=r"made\.csv: cannot be read"):
        load_profiles(path)
