"""The log of an external meter on known answers: what it reads, how its clock is found out, and what is said of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import synthetic
from edgecarbon.config.base import validate
from edgecarbon.config.devices import DevicesFile
from edgecarbon.config.meters import WallLog
from edgecarbon.errors import UserError
from edgecarbon.store import parquet, read_runs, write_run_parquet
from edgecarbon.store.outside import add_log
from edgecarbon.store.parquet import samples_table
from edgecarbon.store.walllog import read_log

# Every run here: 60 s idle at 50 W, 300 s of training at 150 W, 60 s idle. All figures are invented.
START = 1.7e9
WINDOWS = [("idle_before", 0.0, 60.0), ("train", 61.0, 361.0), ("idle_after", 361.0, 421.0)]
TRAIN_J = 300.0 * 150
IDLE_J = 60.0 * 50
CPU = synthetic.channel("estimate/cpu/energy", "cpu_package", provenance="estimated")
SHORT = ["short"]


def watts_at(t_s: float) -> float:
    return 150.0 if 61.0 <= t_s < 361.0 else 50.0


def settings(*files: Path, **more: Any) -> dict[str, Any]:
    values = {} if {"watt_hours", "joules"} & set(more) else {"watts": "power_w"}
    log = WallLog(file=str(files[0]), time="timestamp", **{**values, **more})
    return {**log.model_dump(mode="json"), "files": [str(file) for file in files]}


def write_log(
    path: Path,
    shift_s: float = 0.0,
    power: Callable[[float], float] = watts_at,
    *,
    span: tuple[float, float] = (-300.0, 700.0),
    spacing_s: float = 1.0,
    noise_watts: float = 2.0,
    seed: int = 1,
) -> Path:
    """A log whose clock is ahead of the run's by `shift_s`; its rows lie a third of a second off the run's seconds."""
    rng = random.Random(seed)
    count = int((span[1] - span[0]) / spacing_s)
    moments = [span[0] + 0.33 + n * spacing_s for n in range(count)]
    rows = [f"{START + t_s + shift_s:.3f},{power(t_s) + rng.gauss(0, noise_watts):.1f}\n" for t_s in moments]
    path.write_text("timestamp,power_w\n" + "".join(rows))
    return path


def record(channels: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    found = synthetic.record(channels=[CPU] if channels is None else channels, readings=[])
    found["result"]["started_unix_s"] = START
    found["result"]["windows"] = [{"name": name, "start_s": start, "end_s": end} for name, start, end in WINDOWS]
    return found


def samples(power: Callable[[float], float] = lambda t_s: 5.0 + 0.4 * (watts_at(t_s) - 50)) -> pa.Table:
    """What the device's own counter says, ten times a second: 5 W idle, 45 W at work."""
    times = np.arange(0.0, 421.5, 0.1)
    joules = np.cumsum([0.1 * power(t_s) for t_s in times])
    return samples_table("run", pa.array([CPU["id"]]), np.stack([times, joules], axis=1))


def told(found: dict[str, Any], window: str = "train", quantity: str = "power") -> dict[str, Any]:
    (one,) = [
        reading for reading in found["result"]["readings"]
        if reading["window"] == window and (reading["channel"] or quantity).endswith(quantity)
    ]  # fmt: skip
    return one


def within(reading: dict[str, Any], joules: float, *, factor: float = 2.0) -> bool:
    return abs(reading["joules"] - joules) <= factor * float(reading["uncertainty_joules"])


# --- what a run is told ---


@pytest.mark.parametrize("by_samples", [True, False])
@pytest.mark.parametrize(("shift_s", "misaligned"), [(0.0, False), (7.3, True), (-40.0, True), (1.2, False)])
def test_a_log_is_put_on_the_time_of_the_run(
    tmp_path: Path, shift_s: float, misaligned: bool, by_samples: bool
) -> None:
    """Found by the device's own samples, and without any by its windows alone."""
    log = write_log(tmp_path / "log.csv", shift_s)
    run, rows = (record(), [samples()]) if by_samples else (record([]), [])
    found, added = add_log(run, rows, settings(log, accuracy_percent=0.1))
    train = told(found)
    assert ("log_misaligned" in train["flags"]) is misaligned
    assert "log_partial" not in train["flags"]
    assert (train["provenance"], train["boundary"], train["coverage"]) == ("measured", "wall", 1.0)
    for window, joules in (("idle_before", IDLE_J), ("train", TRAIN_J), ("idle_after", IDLE_J)):
        assert within(told(found, window), joules), told(found, window)
    # What the place in time leaves open is a second of the 100 W by which the ends differ, not the search's two minutes.
    assert train["uncertainty_joules"] < 250
    assert ("its times were off by" in train["source"]) is misaligned or shift_s == 1.2
    assert added is not None
    assert added[0] == ["wall_log/device/power"]
    assert added[1].shape[1] == 2


def test_a_shift_is_found_to_a_fraction_of_the_logs_period(tmp_path: Path) -> None:
    _, added = add_log(record(), [samples()], settings(write_log(tmp_path / "log.csv", 7.3, noise_watts=0.5)))
    assert added is not None
    times, watts = added[1].T
    begins, ends = times[np.flatnonzero(watts > 100)[[0, -1]]]
    # The first row at work is at 61.33 s of the run, the last at 360.33 s.
    assert (begins, ends) == (pytest.approx(61.33, abs=0.5), pytest.approx(360.33, abs=0.5))


def test_known_offsets_of_the_clocks_are_taken_off_before_the_check(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv", 400.0)
    run = {**record(), "beside": {"wall_clock": {"offset_s": -30.0}}}
    train = told(add_log(run, [samples()], settings(log, clock_offset_s=370.0))[0])
    assert "log_misaligned" not in train["flags"]
    assert within(train, TRAIN_J)


def test_the_uncertainty_of_the_place_in_time_is_in_that_of_the_energy(tmp_path: Path) -> None:
    """A clock within ± 120 s is one of 69 s; the window's ends then may be idle: 69 s times 100 W."""

    def jagged(t_s: float) -> float:
        return random.Random(int(t_s)).uniform(30, 170)

    log = write_log(tmp_path / "log.csv", power=jagged, noise_watts=0.0)
    elsewhere = told(add_log(record(), [samples()], settings(log))[0])
    assert "could not be checked" in elsewhere["source"]
    assert "log_misaligned" not in elsewhere["flags"]
    stepped = write_log(tmp_path / "step.csv", power=lambda t_s: 150.0 if t_s > 61 else 50.0, noise_watts=0.0)
    never_idle = record([])
    never_idle["result"]["windows"] = never_idle["result"]["windows"][1:2]
    train = told(add_log(never_idle, [], settings(stepped))[0])
    assert train["uncertainty_joules"] == pytest.approx(69.28 * 100, rel=0.1)


@pytest.mark.filterwarnings("error")
def test_a_constant_log_cannot_be_aligned_and_need_not_be(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv", 50.0, power=lambda _: 80.0, noise_watts=0.0)
    train = told(add_log(record(), [samples()], settings(log))[0])
    assert "its times could not be checked" in train["source"]
    assert train["flags"] == []
    assert within(train, 300 * 80.0)


def test_noise_is_related_to_no_run(tmp_path: Path) -> None:
    for seed in range(20):
        log = write_log(tmp_path / "log.csv", power=lambda _: 80.0, noise_watts=5.0, seed=seed)
        train = told(add_log(record(), [samples()], settings(log))[0])
        assert "log_misaligned" not in train["flags"]
        assert "could not be checked" in train["source"]


def test_power_that_wanders_is_related_to_no_run(tmp_path: Path) -> None:
    """A wandering series follows every step somewhere: what counts is how few independent rows that rests on."""
    for seed in range(20):
        steps = np.random.default_rng(seed).normal(0.0, 3.0, 1000)
        walk = 300 + np.cumsum(steps)
        log = write_log(tmp_path / "log.csv", power=lambda t_s, walk=walk: walk[int(t_s) + 300], noise_watts=0.0)  # type: ignore[misc]
        train = told(add_log(record(), [samples()], settings(log))[0])
        assert "log_misaligned" not in train["flags"], seed


def test_a_log_that_fits_poorly_and_elsewhere_gives_no_joules(tmp_path: Path) -> None:
    """Correlation between 0.5 and 0.8 at -40 s: too much to be chance, too little to be put right."""
    log = write_log(tmp_path / "log.csv", -40.0, noise_watts=50.0)
    train = told(add_log(record(), [samples()], settings(log))[0])
    assert (train["joules"], train["uncertainty_joules"]) == (None, None)
    assert "log_misaligned" in train["flags"]
    assert "too little to put them right" in train["source"]


@pytest.mark.parametrize("span", [(-90_000.0, -86_000.0), (90_000.0, 90_500.0)])
def test_a_log_of_another_day_gives_no_joules(tmp_path: Path, span: tuple[float, float]) -> None:
    found, added = add_log(record(), [samples()], settings(write_log(tmp_path / "log.csv", span=span)))
    train = told(found)
    assert (train["joules"], train["provenance"], train["coverage"]) == (None, "absent", 0.0)
    assert "log_partial" in train["flags"]
    assert "no rows from the time of the run" in train["source"]
    assert added is None


def test_a_log_that_ends_in_the_middle_is_partial(tmp_path: Path) -> None:
    found, _ = add_log(record(), [samples()], settings(write_log(tmp_path / "log.csv", span=(-300.0, 261.0))))
    train = told(found)
    assert train["coverage"] == pytest.approx(2 / 3, abs=0.01)
    assert {"log_partial", "partial"} <= set(train["flags"])
    assert within(train, TRAIN_J)
    assert told(found, "idle_before")["flags"] == SHORT
    assert told(found, "idle_after")["joules"] is None
    ended, _ = add_log(record(), [samples()], settings(write_log(tmp_path / "log.csv", span=(-300.0, 161.0))))
    assert told(ended)["joules"] is None


def test_a_log_that_is_not_there_yet_is_said_so() -> None:
    nothing = {**settings(Path("logs/bench.csv")), "files": []}
    found, added = add_log(record(), [samples()], nothing)
    assert [reading["joules"] for reading in found["result"]["readings"]] == [None] * 3
    assert told(found)["source"] == "logs/bench.csv: there is no such file yet"
    assert added is None


def test_a_counter_in_watt_hours_tells_beside_the_power(tmp_path: Path) -> None:
    """At 150 W a step of 0.01 Wh is 36 J and comes every 0.24 s; it stands before the power."""
    log, joules = tmp_path / "log.csv", 0.0
    lines = ["timestamp,power_w,energy_wh"]
    for t_s in range(-100, 600):
        lines.append(f"{(START + t_s) * 1000:.0f},{watts_at(t_s):.1f},{1234.5 + joules / 3600:.2f}")
        joules += watts_at(t_s)
    log.write_text("\n".join(lines) + "\n")
    found, _ = add_log(record(), [samples()], settings(log, watts="power_w", watt_hours="energy_wh"))
    assert within(told(found, quantity="energy"), TRAIN_J)
    assert within(told(found, quantity="power"), TRAIN_J)
    (energy,) = [one for one in found["result"]["channels"] if one["id"] == "wall_log/device/energy"]
    assert energy["resolution"] == pytest.approx(36.0, rel=1e-6)
    assert energy["accuracy_relative"] == pytest.approx(0.05 / 3**0.5)
    assert energy["source"].startswith(f"{log}, column energy_wh; its times fit")
    alone = told(add_log(record(), [samples()], settings(log, watt_hours="energy_wh"))[0], quantity="energy")
    assert within(alone, TRAIN_J)


def test_a_log_whose_clock_was_set_back_leaves_out_what_it_tells_twice(tmp_path: Path) -> None:
    """Set back by 100 s in the middle of the training: 100 s stand in it twice, with different values."""
    early = write_log(tmp_path / "early.csv", span=(-300.0, 250.0), seed=1).read_text()
    late = write_log(tmp_path / "late.csv", span=(150.0, 700.0), seed=2).read_text()
    both = tmp_path / "both.csv"
    both.write_text(early + late)
    train = told(add_log(record(), [samples()], settings(both))[0])
    assert {"gap", "log_partial", "partial"} <= set(train["flags"])
    assert train["coverage"] == pytest.approx(2 / 3, abs=0.02)
    assert "its clock was set back" in train["source"]


def test_the_database_tells_the_wall_first_and_keeps_the_logs_rows(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv")
    own = synthetic.reading(13_500.0, CPU["id"], "cpu_package", provenance="estimated")
    run = record()
    run["result"]["readings"] = [own]
    run["result"]["training"] |= {"duration_s": 300.0}
    ticks = [list(row) for row in zip(*(samples()[name].to_pylist() for name in ("t_s", "value")), strict=True)]
    data = synthetic.write_attempt(run, tmp_path / "attempt", ticks)
    paths = synthetic.parquet_paths(tmp_path, data["run_id"])

    def row(**log_settings: Any) -> dict[str, Any]:
        write_run_parquet(data, tmp_path / "attempt", paths, **log_settings)
        return read_runs([paths["run"]])[0]

    assert (row()["boundary"], row()["energy_joules"]) == ("cpu_package", 13_500.0)
    with_log = row(wall_log=settings(log))
    assert (with_log["boundary"], with_log["provenance"], with_log["energy_status"]) == ("wall", "measured", "complete")
    assert with_log["energy_joules"] == pytest.approx(TRAIN_J, rel=0.01)
    alone = parquet.with_log(data, tmp_path / "attempt", settings(log))
    assert parquet.readings_table(alone).equals(pq.read_table(paths["readings"]))
    assert parquet.with_log(data, tmp_path / "attempt", None) == data
    assert with_log["idle_watts"] == pytest.approx(50, rel=0.02)
    kept = pq.read_table(paths["samples"], filters=[("channel", "=", "wall_log/device/power")])
    assert kept.num_rows == pytest.approx(441, abs=3)
    absent = row(wall_log={**settings(log), "files": []})
    assert (absent["boundary"], absent["energy_joules"]) == ("cpu_package", 13_500.0)
    assert "log_partial" in absent["flags"]


# --- what is read ---

HOUR = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
EVER = (0.0, 4e9)


def rows_of(tmp_path: Path, text: str | bytes, **more: Any) -> list[tuple[float, float]]:
    """(seconds since 12:00:00 UTC, W) of the rows of a log; -1 for a failed reading."""
    path = tmp_path / "log.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    log = read_log(settings(path, **more), *EVER)
    assert log is not None
    return [
        (round(t - HOUR.timestamp(), 3), -1 if w != w else w)
        for t, w in zip(log.times, log.columns["watts"], strict=True)
    ]


THREE = [(0.0, 50.5), (1.0, 51.0), (2.0, 52.25)]


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("timestamp,power_w\n2026-01-31T12:00:00Z,50.5\n2026-01-31T12:00:01Z,51\n2026-01-31T12:00:02Z,52.25\n", {}),
        ("\ufefftimestamp;power_w\r\n2026-01-31 12:00:00Z;50,5\r\n2026-01-31 12:00:01Z;51\r\n2026-01-31 12:00:02Z;52,25\r\n", {}),
        ("x\ttimestamp\tpower_w\n;\t1769860800\t50.5\n;\t1769860801\t51\n;\t1769860802.0\t52.25\n", {}),
        ("#timestamp,power_w\n1769860800000,50.5\n1769860801000,51\n1769860802000,52.25\n", {}),
        ("timestamp,power_w\n20260131T130000,50.5\n20260131T130001,51\n20260131T130002,52.25\n", {"utc_offset_hours": 1.0}),
        ("timestamp,power_w\n2026-01-31T14:00:02+02:00,52.25\n2026-01-31T14:00:01+0200,51\n2026-01-31T14:00:00+02:00,50.5\n", {}),
        ("Meter 7\nserial,12,x\n\ntimestamp,power_w\n1769860800,50.5\n1769860801,51\ntimestamp,power_w\n1769860802,52.25\n", {}),
        ("timestamp,power_w\n1769860801,51\n1769860800,50.5\n1769860802,52.25\n", {}),
        ("timestamp,power_w\n1769860800,50.5\n1769860801,51\n1769860801,51\n# restarted\n\n1769860802,52.25\n1769860803,5", {}),
        ("timestamp,power_w\n1769860800,50.5\n1769860801,51\n1769860802,52.25\n".encode("utf-16"), {}),
        ('timestamp,power_w,"°C"\n1769860800,50.5,3\n1769860801,"51",3\n1769860802,52.25,3\n'.encode("cp1252"), {}),
    ],
    ids=[
        "iso", "semicolon-comma-bom", "tab", "commented-header-ms", "offset", "newest-first", "preamble-and-restart",
        "two-swapped", "twice-and-half-a-line", "utf-16", "another-encoding",
    ],
)  # fmt: skip
def test_logs_as_they_are_written(tmp_path: Path, text: str | bytes, more: dict[str, Any]) -> None:
    assert rows_of(tmp_path, text, **more) == THREE


def test_a_reading_that_failed_is_none(tmp_path: Path) -> None:
    text = "timestamp,power_w\n1769860800,50.5\n1769860801,unavailable\n1769860802,\n1769860803,NaN\n1769860804,51\n"
    assert rows_of(tmp_path, text) == [(0, 50.5), (1, -1), (2, -1), (3, -1), (4, 51)]


def test_parts_of_a_log_that_overlap_are_one(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("b.csv", "a.csv")]
    for file, seconds in zip(files, (range(50, 150), range(100)), strict=True):
        file.write_text("timestamp,power_w\n" + "".join(f"{1769860800 + s},{s}\n" for s in seconds))
    log = read_log(settings(*files), *EVER)
    assert log is not None
    assert list(log.columns["watts"]) == list(range(150))
    assert log.unclear == ()


def test_a_log_that_was_only_just_begun_has_no_rows(tmp_path: Path) -> None:
    for text in ("", "timestamp,power_w\n", "timestamp,power_w\n1769860800,50\n"):
        (tmp_path / "log.csv").write_text(text)
        assert read_log(settings(tmp_path / "log.csv"), *EVER) is None


def test_an_hour_that_comes_twice_in_autumn_is_left_out(tmp_path: Path) -> None:
    """Local times without a zone, at two-minute spacing: from 3 h back to 2 h, then on."""
    first = [HOUR + timedelta(minutes=2 * n) for n in range(90)]
    second = [HOUR + timedelta(hours=2, minutes=2 * n) for n in range(90)]
    lines = [f"{moment:%Y-%m-%d %H:%M:%S},{n}" for n, moment in enumerate([*first, *second])]
    (tmp_path / "log.csv").write_text("\n".join(["timestamp,power_w", *lines, ""]))
    log = read_log(settings(tmp_path / "log.csv", utc_offset_hours=0.0), *EVER)
    assert log is not None
    minutes = [round((t - HOUR.timestamp()) / 60) for t in log.times]
    assert minutes == [*range(0, 120, 2), *range(180, 300, 2)]
    assert [(end - start) / 60 for start, end in log.unclear] == [58]


@pytest.mark.parametrize(
    ("text", "more", "words"),
    [
        ("timestamp,power_w\n1769860800,50\n1769860801,abc\n", {}, "line 3: column 'power_w': 'abc' is no number"),
        ("timestamp,power_w\n31.01.2026 12:00,50\n", {}, "line 2: column 'timestamp': '31.01.2026 12:00' is no time"),
        ("timestamp,power_w\n20260131,50\n", {}, "line 2: column 'timestamp': '20260131' is no Unix time"),
        ("timestamp,power_w\n2026-01-31 12:00:00,50\n", {}, "has no time zone: give `wall_log.utc_offset_hours`"),
        ("timestamp,power_w\n\n1769860800\n", {}, "line 3: column 'power_w': 1 cells, and the header has 2"),
        (
            "time,power_w\n1769860800,50\n",
            {},
            "no header with the column 'timestamp' up to here. Columns that were found",
        ),
        (
            "a,b\n",
            {},
            "line 1: no header with the column 'timestamp', 'power_w' up to here. Columns that were found: 'a', 'b'",
        ),
        ("timestamp,power_w\n1769860800,50,5\n1769860801,1_0\n", {}, "line 3: column 'power_w': '1_0' is no number"),
        ("timestamp,power_w\n1769860800,5\x000\n", {}, "line 2"),
    ],
)
def test_a_malformed_log_is_told_by_file_line_and_column(
    tmp_path: Path, text: str, more: dict[str, Any], words: str
) -> None:
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_log(settings(path, **more), *EVER)
    assert words in str(error.value)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({}, "name a column: `watts`, `watt_hours` or `joules`"),
        ({"watt_hours": "a", "joules": "b"}, "give `watt_hours` or `joules`, and not both"),
        ({"watts": "a", "accuracy_percent": 0.0}, "accuracy_percent"),
    ],
)
def test_what_is_wrong_with_the_entry_is_told(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as error:
        validate(WallLog, {"file": "a.csv", "time": "t", **entry}, "config/devices.yaml")
    assert words in str(error.value)


def test_a_log_decides_no_measurement_and_no_virtual_host_has_one() -> None:
    def device(**entry: Any) -> Any:
        carbon = {"role": "edge", "embodied": "generic-computer"}
        entry = {"transport": "ssh", "carbon": carbon, **entry}
        return validate(DevicesFile, {"devices": {"a": entry}}, "config/devices.yaml").devices["a"]

    log = {"file": "a.csv", "time": "t", "watts": "w"}
    assert device(host="x", wall_log=log).measured_by() == device(host="x").measured_by()
    with pytest.raises(UserError, match="wall_log: a virtual host has no plug"):
        device(virtual={}, meters=["estimate"], wall_log=log)


def test_a_pattern_takes_every_part_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b.csv", "a.csv", "c.txt", "log [1].csv"):
        (tmp_path / name).touch()
    assert WallLog(file="*.csv", time="t", watts="w").files() == ["a.csv", "b.csv", "log [1].csv"]
    assert WallLog(file="log [1].csv", time="t", watts="w").files() == ["log [1].csv"]
    assert WallLog(file="none.csv", time="t", watts="w").files() == []
