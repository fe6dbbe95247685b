"""The file of samples: what was written can be read, while it grows, after a cut anywhere, and from any member on."""

from __future__ import annotations

import gzip
import json
import math
import tracemalloc
from collections import deque
from pathlib import Path

import pytest

from edgecarbon.meters import Channel
from edgecarbon.meters.samples import SamplesDamaged, SampleWriter, read_lines, read_samples

ENERGY = Channel(
    id="a/box/energy", meter="a", component="box", quantity="energy", unit="J", boundary="wall",
    provenance="measured", source="test", update_period_s=0.1, resolution=0.001,
)  # fmt: skip
HEADER = {"schema": "edgecarbon.samples/1", "channels": ["a/box/energy"]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "samples.jsonl.gz"


def rows_of(path: Path, offset: int = 0) -> list[list[float]]:
    times, (values,) = read_samples(path, 1, offset=offset)
    return [list(row) for row in zip(times, values, strict=True)]


def test_it_is_gzip_of_json_lines_whatever_its_members(path: Path) -> None:
    writer = SampleWriter(path, [ENERGY])
    for i in range(6):
        writer.write(i / 10, [100.0 * i])
        if i % 2:
            writer.end_member()
    writer.close()
    with gzip.open(path) as file:
        assert [json.loads(line) for line in file] == [HEADER, *([i / 10, 100.0 * i] for i in range(6))]
    assert path.read_bytes().count(b"\x1f\x8b\x08") == 3


def test_a_failed_read_is_null_and_digits_below_the_resolution_are_left_out(path: Path) -> None:
    writer = SampleWriter(path, [ENERGY])
    kept = [writer.write(t_s, [value])[0] for t_s, value in enumerate([1 / 3, None, math.nan, math.inf, 0.0])]
    writer.close()
    assert kept == [0.3333, None, None, None, 0.0]
    assert [line.decode() for line in read_lines(path)][1:] == [
        "[0,0.3333]\n", "[1,null]\n", "[2,null]\n", "[3,null]\n", "[4,0.0]\n",
    ]  # fmt: skip
    assert [value for _, value in rows_of(path)] == pytest.approx(
        [0.3333, math.nan, math.nan, math.nan, 0], nan_ok=True
    )


@pytest.mark.parametrize(("resolution", "kept"), [(2.0**-14, 1.23457), (1.0, 1.2), (20.0, 1.0), (0.0, 1.234568)])
def test_a_fifth_of_the_resolution_is_kept(path: Path, resolution: float, kept: float) -> None:
    channel = Channel.from_json({**ENERGY.to_json(), "resolution": resolution})
    writer = SampleWriter(path, [channel])
    assert writer.write(0.0, [1.2345678]) == [kept]
    writer.close()


def test_a_cut_anywhere_leaves_the_whole_lines_before_it(path: Path, tmp_path: Path) -> None:
    writer = SampleWriter(path, [ENERGY])
    flushed = {0: 0}
    for i in range(40):
        writer.write(i / 10, [123.4567 * i])
        if i % 10 == 4:
            writer.flush()
            flushed[path.stat().st_size] = i + 1
        if i % 10 == 9:
            flushed[writer.end_member()] = i + 1
    writer.close()
    whole, content, found = rows_of(path), path.read_bytes(), 0
    assert len(whole) == 40
    cut = tmp_path / "cut"
    for length in range(len(content)):
        cut.write_bytes(content[:length])
        rows = rows_of(cut)
        assert rows == whole[: len(rows)]
        assert len(rows) >= max(found, max(count for size, count in flushed.items() if size <= length))
        found = len(rows)


def test_every_cut_within_a_member_is_told(path: Path, tmp_path: Path) -> None:
    writer = SampleWriter(path, [ENERGY])
    writer.write(0.0, [1.0])
    writer.close()
    content, cut = path.read_bytes(), tmp_path / "cut"
    for length in range(1, len(content)):
        cut.write_bytes(content[:length])
        with pytest.raises(SamplesDamaged, match="cut short"):
            list(read_lines(cut))


def test_samples_reach_the_disk_every_five_seconds(path: Path) -> None:
    writer = SampleWriter(path, [ENERGY])
    for i in range(126):
        writer.write(i / 10, [float(i)])
    assert 7.4 <= rows_of(path)[-1][0] <= 12.5
    writer.flush()
    assert len(rows_of(path)) == 126
    writer.write(12.6, [0.0])
    writer.close()
    assert len(rows_of(path)) == 127


def test_a_reader_starts_at_a_member_whatever_came_before(path: Path) -> None:
    writer = SampleWriter(path, [ENERGY])
    for i in range(10):
        writer.write(i / 10, [float(i)])
    offset = writer.end_member()
    assert writer.end_member() == offset
    for i in range(10, 20):
        writer.write(i / 10, [float(i)])
    writer.flush()
    assert [value for _, value in rows_of(path, offset)] == list(range(10, 20))
    times, _ = read_samples(path, 1, 0.35, 1.25)
    assert list(times) == [i / 10 for i in range(4, 13)]
    content = bytearray(path.read_bytes())
    content[:offset] = bytes(offset)
    path.write_bytes(content)
    assert [value for _, value in rows_of(path, offset)] == list(range(10, 20))
    assert rows_of(path) == []
    writer.close()


def test_text_that_packs_a_thousandfold_comes_out_whole(path: Path) -> None:
    line = b"[0.0,1.0]\n"
    for count in (6_553, 6_554, 100_000):
        path.write_bytes(gzip.compress(line * count) * 2)
        assert sum(one == line for one in read_lines(path)) == 2 * count


@pytest.mark.parametrize(
    ("bomb", "message"),
    [
        (bytes(5_000_000), "a line of more than 65536 bytes"),
        (b"[0.0,1.0]\n" * 500_000, "more than 3000000 bytes come out of it"),
    ],
)
def test_a_bomb_is_refused_in_little_memory(path: Path, bomb: bytes, message: str) -> None:
    path.write_bytes(gzip.compress(bomb))
    tracemalloc.start()
    with pytest.raises(SamplesDamaged, match=message):
        deque(read_lines(path, most_bytes=3_000_000), maxlen=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


@pytest.mark.parametrize(
    "content",
    # Bytes name a test; a header with the time in it would name another one in each process.
    [b"plain text\n", gzip.compress(b"[0.0,1.0]\n", mtime=0)[:-4] + b"1234"],
    ids=["plain text", "a wrong length"],
)
def test_what_is_no_gzip_is_told(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(SamplesDamaged, match="no gzip, or damaged"):
        list(read_lines(path))
    assert rows_of(path) == []
