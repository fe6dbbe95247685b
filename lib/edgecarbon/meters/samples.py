"""The file of a run's samples: gzip, and in it a header line and then a line a sample, [t_s, value, ...], JSON.

A new gzip member (RFC 1952, 2.2) may begin at any line, so that a reader can start there; `zcat` shows the whole. What was
flushed can be read although the member has no end yet: a killed run leaves what it had.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import zlib
from array import array
from collections.abc import Iterator, Sequence

from edgecarbon.meters.base import Channel

SCHEMA = "edgecarbon.samples/1"
MOST_BYTES = 2 * 2**30
"""Of text in one file. A meter of seven channels writes about 50 MB of it a day at 10 Hz; a bomb has more."""
MOST_LINE_BYTES = 1 << 16
FLUSH_EVERY_S = 5.0
_GZIP = 16 + zlib.MAX_WBITS
_PIECE_BYTES = 1 << 16


class SamplesDamaged(ValueError):
    """A file that is cut short, is no gzip, or is too large; the text says which."""


class SampleWriter:
    """Writes the samples of `channels` to `path`, about every 5 s to the disk. For one thread at a time."""

    def __init__(self, path: str | os.PathLike[str], channels: Sequence[Channel]) -> None:
        self._digits = [_digits(channel) for channel in channels]
        self._file = open(path, "wb")  # noqa: SIM115 - closed by close()
        self._member: zlib._Compress | None = None
        self._flushed_s = -math.inf
        self._put({"schema": SCHEMA, "channels": [channel.id for channel in channels]})

    @property
    def closed(self) -> bool:
        return self._file.closed

    def write(self, t_s: float, values: Sequence[float | None]) -> list[float | None]:
        """Adds a sample and returns its values as they are kept: without meaningless digits, a value that is none None."""
        kept = [
            None if value is None or not math.isfinite(value) else round(value, digits)
            for value, digits in zip(values, self._digits, strict=True)
        ]
        self._put([t_s, *kept])
        if t_s - self._flushed_s > FLUSH_EVERY_S:
            self.flush()
            self._flushed_s = t_s
        return kept

    def end_member(self) -> int:
        """Ends the gzip member: the file is whole now. Returns the offset, bytes, at which a reader finds the next line."""
        if self._member:
            self._file.write(self._member.flush())
            self._member = None
        self._file.flush()
        return self._file.tell()

    def flush(self) -> None:
        """Every sample so far can be read from the file."""
        if self._member:
            self._file.write(self._member.flush(zlib.Z_SYNC_FLUSH))
        self._file.flush()

    def close(self) -> None:
        self.end_member()
        self._file.close()

    def _put(self, line: object) -> None:
        if self._member is None:
            # Digits that look random match by chance: Z_FILTERED leaves them to Huffman. Level 9 costs a few µs a sample.
            self._member = zlib.compressobj(9, wbits=_GZIP, strategy=zlib.Z_FILTERED)
        self._file.write(self._member.compress(json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n"))


def read_lines(path: str | os.PathLike[str], offset: int = 0, most_bytes: int = MOST_BYTES) -> Iterator[bytes]:
    """The whole lines of a samples file from `offset` on, each with its end, unpacked a little at a time.

    Raises:
        SamplesDamaged: after the last whole line before the cut or the damage, at a line well over MOST_LINE_BYTES, or
            where more than `most_bytes` come out.
    """
    rest, total_bytes = b"", 0
    for piece in _pieces(path, offset):
        total_bytes += len(piece)
        if total_bytes > most_bytes:
            raise SamplesDamaged(f"more than {most_bytes} bytes come out of it")
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line + b"\n"
        if len(rest) > MOST_LINE_BYTES:
            raise SamplesDamaged(f"a line of more than {MOST_LINE_BYTES} bytes")
    if rest:
        raise SamplesDamaged("its last line has no end")


def read_samples(
    path: str | os.PathLike[str], width: int, start_s: float = -math.inf, end_s: float = math.inf, offset: int = 0
) -> tuple[array[float], list[array[float]]]:
    """Times, and values of each of `width` channels, of the samples in [start_s, end_s] that can be had.

    A file that is still written, or was cut when its run was killed, gives its whole lines. NaN is a failed read; arrays,
    because a day of boxed floats is large.

    Args:
        offset: where to start, of those that `SampleWriter.end_member` returned.

    Raises:
        ValueError: a whole line is no sample of `width` channels.
    """
    times, columns = array("d"), [array("d") for _ in range(width)]
    with contextlib.suppress(SamplesDamaged):
        lines = read_lines(path, offset)
        if offset == 0:
            next(lines, None)
        for line in lines:
            t_s, *values = json.loads(line)
            if t_s > end_s:
                break
            if t_s >= start_s:
                times.append(t_s)
                for column, value in zip(columns, values, strict=True):
                    column.append(math.nan if value is None else value)
    return times, columns


def _pieces(path: str | os.PathLike[str], offset: int) -> Iterator[bytes]:
    """What the gzip members from `offset` on hold, at most `_PIECE_BYTES` at a time."""
    member: zlib._Decompress | None = None
    with open(path, "rb") as file:
        file.seek(offset)
        while data := file.read(_PIECE_BYTES):
            while data:
                member = member or zlib.decompressobj(_GZIP)
                try:
                    piece = member.decompress(data, _PIECE_BYTES)
                except zlib.error as error:
                    raise SamplesDamaged(f"it is no gzip, or damaged ({error})") from None
                yield piece
                data = member.unused_data if member.eof else member.unconsumed_tail
                if member.eof:
                    member = None
    if member:
        raise SamplesDamaged("it is cut short")


def _digits(channel: Channel) -> int:
    """Decimals that keep a fifth of the channel's resolution, so that the file holds no digits that mean nothing.

    Rounding to them widens the resolution's own uncertainty by at most 2 %: √(1 + 1/25).
    """
    return 6 if channel.resolution <= 0 else max(0, math.ceil(-math.log10(channel.resolution / 5)))
