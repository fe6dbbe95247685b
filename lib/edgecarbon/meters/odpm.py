"""The power rails of an Android phone that measures them (Pixel 6 and later), through perfetto's `android.power` source.

A trace is a row of packets in protobuf's wire format. Field numbers are those of perfetto's trace_packet.proto and
power_rails.proto: Trace.packet 1; TracePacket.power_rails 40; PowerRails.rail_descriptor 1 {index 1, rail_name 2,
subsys_name 3} and energy_data 2 {index 1, energy 3}, in µW·s since boot.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from edgecarbon.meters.access import Access, Stream
from edgecarbon.meters.android import COMMAND, STALE_S, reach
from edgecarbon.meters.base import Channel, MeterUnavailable, Options, RunsOn

RUNS_ON: RunsOn = "host"
# The source is polled each second; what it told is flushed and then written each half second.
UPDATE_PERIOD_S = 2.0
OPEN_S = 10.0
WHOLE = "rails"
_WAIT_S = 0.1
_MICRO = 1e-6
_MOST_BYTES, _MOST_RAILS = 1 << 18, 64
# What computes, and the memory that it computes on, by the subsystem that the phone names for each rail. Screen, radios,
# camera, sound and storage are left out, and so are LDO's, converters that feed other rails: those would count twice.
_SOC = re.compile(r"CPU.*|GPU|TPU|MIF|INT|DDR|SLC", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9_.()-]{1,64}")

# traced may write to a pipe of the shell and not to adbd's socket (AOSP's sepolicy, traced.te), hence the cat. When the
# host is gone cat ends; what perfetto still writes is then taken until its session ends, because a pipe that nobody
# reads might end traced. The two bytes are an empty packet: writing it fails when the host is gone, and so ends the loop.
_SCRIPT = """
while printf '\\012\\000'; do
  echo 'buffers { size_kb: 1024 fill_policy: RING_BUFFER }
    data_sources { config { name: "android.power"
      android_power_config { battery_poll_ms: 1000 collect_power_rails: true } } }
    duration_ms: 300000
    write_into_file: true
    file_write_period_ms: 500
    flush_period_ms: 500' |
    perfetto --txt -c - -o - 2>/dev/null | { cat || { cat >/dev/null; false; }; } || exit
  sleep 1
done
"""


@dataclass
class Rails:
    """What a trace has told of rails so far: name and subsystem by index, and the last energies in J by index."""

    names: dict[int, tuple[str, str]] = field(default_factory=dict)
    joules: dict[int, float] = field(default_factory=dict)

    def hear(self, packet: bytes) -> bool:
        """Takes a TracePacket; returns whether it told energies. Raises ValueError for what is no packet."""
        told = False
        for number, power_rails in fields(packet):
            if number != 40 or not isinstance(power_rails, bytes):
                continue
            joules: dict[int, float] = {}
            for kind, body in fields(power_rails):
                if kind not in (1, 2) or not isinstance(body, bytes):
                    continue
                entry = dict(fields(body))
                index = entry.get(1, 0)
                if not isinstance(index, int):
                    raise ValueError("a rail's index is no number")
                if kind == 1 and len(self.names) < _MOST_RAILS:
                    name = _text(entry.get(2))
                    self.names[index] = (name if name not in ("", WHOLE) else f"rail{index}", _text(entry.get(3)))
                elif kind == 2 and isinstance(energy := entry.get(3), int) and len(joules) < _MOST_RAILS:
                    joules[index] = energy * _MICRO
            if joules:
                self.joules, told = joules, True
        return told

    def known(self) -> dict[str, str]:
        """Subsystems by the name of each rail that is named and tells its energy."""
        return dict(self.names[index] for index in sorted(self.names) if index in self.joules)

    def by_name(self) -> dict[str, float]:
        return {self.names[index][0]: joules for index, joules in self.joules.items() if index in self.names}


class Packets:
    """Whole packets out of a trace that comes in pieces. What is no trace is dropped."""

    def __init__(self) -> None:
        self._rest = b""

    def add(self, data: bytes) -> Iterator[bytes]:
        self._rest += data
        while len(self._rest) > 1:
            try:
                length, start = _varint(self._rest, 1)
            except IndexError:
                break
            except ValueError:
                length, start = _MOST_BYTES + 1, 0
            if self._rest[0] != 0x0A or length > _MOST_BYTES:
                self._rest = b""
                break
            if len(self._rest) < start + length:
                break
            packet, self._rest = self._rest[start : start + length], self._rest[start + length :]
            yield packet


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message as (number, value): a number for a varint, bytes for all else. Raises ValueError."""
    at = 0
    try:
        while at < len(data):
            tag, at = _varint(data, at)
            number, kind = tag >> 3, tag & 7
            if kind == 0:
                value, at = _varint(data, at)
                yield number, value
                continue
            if kind not in (1, 2, 5):
                raise ValueError(f"wire type {kind}")
            length, at = _varint(data, at) if kind == 2 else ((8, at) if kind == 1 else (4, at))
            if at + length > len(data):
                raise ValueError("cut short")
            yield number, data[at : at + length]
            at += length
    except IndexError:
        raise ValueError("cut short") from None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, least first, and where it ends. Raises IndexError where the data ends before it."""
    value = 0
    for i in range(10):
        byte = data[at + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, at + i + 1
    raise ValueError("a number of more than 10 bytes")


def _text(value: int | bytes | None) -> str:
    """A name, or nothing where it is none."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else ""
    return text if _NAME.fullmatch(text) else ""


class OdpmMeter:
    """Component `rails` is the sum of the rails of `_SOC`; each rail is a component of its own, without a boundary."""

    name = "odpm"

    def __init__(self, access: Access, stream: Stream, packets: Packets, rails: Rails) -> None:
        self._access, self._stream, self._packets, self._rails = access, stream, packets, rails
        self._heard_s = access.monotonic()
        known = rails.known()
        self._names, self._summed = list(known), chosen(known)
        self._channels = [
            _channel(WHOLE, f"sum of {', '.join(self._summed)}", "soc"),
            *(_channel(name, f"{name} ({subsystem or 'no subsystem'})", None) for name, subsystem in known.items()),
        ]

    def channels(self) -> list[Channel]:
        return list(self._channels)

    def read(self) -> list[float | None]:
        now_s = self._access.monotonic()
        if _hear(self._rails, self._packets, self._stream):
            self._heard_s = now_s
        if now_s - self._heard_s > STALE_S:
            self._rails.joules = {}
        told = self._rails.by_name()
        parts = [told.get(name) for name in self._summed]
        whole = math.fsum(part for part in parts if part is not None) if None not in parts else None
        return [whole, *(told.get(name) for name in self._names)]

    def close(self) -> None:
        self._stream.close()


def open_meter(options: Options) -> OdpmMeter:
    if options.adb is None:
        raise MeterUnavailable("no phone is reached by adb here")
    access, adb = options.access, list(options.adb)
    reach(access, adb)
    stream, packets, rails = access.stream([*adb, "shell", "-T", COMMAND], _SCRIPT), Packets(), Rails()
    for _ in range(round(OPEN_S / _WAIT_S)):
        if _hear(rails, packets, stream) and rails.names:
            if chosen(rails.known()):
                return OdpmMeter(access, stream, packets, rails)
            break
        access.wait(_WAIT_S)
    stream.close()
    if rails.names:
        raise MeterUnavailable(
            f"the phone names {len(rails.names)} power rails, but none of the CPU: the battery or a wall meter can stand in"
        )
    raise MeterUnavailable(
        f"perfetto on the phone told no power rail within {OPEN_S:g} s: Pixel 6 and later measure them; "
        "`adb shell setprop persist.traced.enable 1` starts perfetto where it is off"
    )


def chosen(rails: dict[str, str]) -> list[str]:
    """Of rails with their subsystems, those that make up `soc`; none where the CPU's are not among them."""
    has_cpu = any(subsystem.upper().startswith("CPU") for subsystem in rails.values())
    return [name for name, subsystem in rails.items() if has_cpu and _SOC.fullmatch(subsystem)]


def _hear(rails: Rails, packets: Packets, stream: Stream) -> bool:
    """Takes what has come; returns whether energies were in it."""
    told = False
    for packet in packets.add(stream.take().encode("latin-1")):
        try:
            told = rails.hear(packet) or told
        except ValueError:
            continue
    return told


def _channel(component: str, source: str, boundary: str | None) -> Channel:
    return Channel(
        id=f"odpm/{component}/energy", meter="odpm", component=component, quantity="energy", unit="J",
        boundary=boundary, provenance="measured", source=f"adb: perfetto android.power, {source}",
        update_period_s=UPDATE_PERIOD_S, resolution=_MICRO,
        # Nobody states one for the monitor in the phone's power chip.
        accuracy_relative=None,
    )  # fmt: skip
