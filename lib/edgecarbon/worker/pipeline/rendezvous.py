"""Members meeting: a barrier, a common clock, and how fast each link is."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import Any

from .mesh import Mesh

_BARRIER, _GO, _PING, _PONG, _PROBE, _ECHO, _PROBE_GO = range(200, 207)
_PINGS = 8
_TIME = struct.Struct("!d")


def barrier(mesh: Mesh, number: int) -> None:
    """Wait until every member is here: all tell rank 0, which tells all. Raises PeerFailure when one is lost."""
    if mesh.rank == 0:
        for peer in mesh.peers:
            _hear(mesh, peer, _BARRIER, number)
        for peer in mesh.peers:
            _say(mesh, peer, _GO, number)
    else:
        _say(mesh, 0, _BARRIER, number)
        _hear(mesh, 0, _GO, number)


def clock_offset_s(mesh: Mesh) -> tuple[float, float]:
    """This member's `time.monotonic()` minus rank 0's, s, and how far that may be off: half of the shortest round trip.

    All members call it together. Rank 0 answers one after the other.
    """
    if mesh.rank == 0:
        for peer in mesh.peers:
            for index in range(_PINGS):
                _hear(mesh, peer, _PING, index)
                _say(mesh, peer, _PONG, index, time.monotonic())
        return 0.0, 0.0
    best = (float("inf"), 0.0)
    for index in range(_PINGS):
        sent_s = time.monotonic()
        _say(mesh, 0, _PING, index)
        theirs_s = _hear(mesh, 0, _PONG, index)
        now_s = time.monotonic()
        best = min(best, (now_s - sent_s, (sent_s + now_s) / 2 - theirs_s))
    return best[1], best[0] / 2


def measure_links(mesh: Mesh, probe_bytes: int, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """Delay and bandwidth of every directed pair, one pair at a time, so that none shares the medium with another.

    Every member calls it. Returns what this member measured as the sender: delay is half a round trip of an empty message,
    bandwidth that of `probe_bytes` until they are acknowledged, less one round trip.
    """
    payload, found = memoryview(bytearray(probe_bytes)), []
    count = len(mesh.members)
    for sender in range(count):
        for receiver in range(count):
            if sender == receiver:
                continue
            number = sender * count + receiver
            if mesh.rank == sender:
                tell(f"measuring the link to {mesh.members[receiver].name}")
                found.append(_measure(mesh, receiver, number, payload))
            elif mesh.rank == receiver:
                _answer(mesh, sender, number, probe_bytes)
            barrier(mesh, 1000 + number)
    return found


def _measure(mesh: Mesh, peer: int, number: int, payload: memoryview) -> dict[str, Any]:
    trips = []
    for index in range(_PINGS):
        began_s = time.monotonic()
        _say(mesh, peer, _PROBE_GO, (number << 8) | index)
        _hear(mesh, peer, _ECHO, (number << 8) | index)
        trips.append(time.monotonic() - began_s)
    began_s = time.monotonic()
    mesh.send(peer, _key(_PROBE, number), payload)
    _hear(mesh, peer, _ECHO, (number << 8) | _PINGS)
    took_s = time.monotonic() - began_s
    return {
        "to": mesh.members[peer].name,
        "delay_s": min(trips) / 2,
        "bytes_per_s": len(payload) / max(1e-9, took_s - min(trips)),
    }


def _answer(mesh: Mesh, peer: int, number: int, probe_bytes: int) -> None:
    for index in range(_PINGS):
        _hear(mesh, peer, _PROBE_GO, (number << 8) | index)
        _say(mesh, peer, _ECHO, (number << 8) | index)
    room = memoryview(bytearray(probe_bytes))
    mesh.wait(mesh.receive(peer, _key(_PROBE, number), room))
    _say(mesh, peer, _ECHO, (number << 8) | _PINGS)


def _say(mesh: Mesh, peer: int, channel: int, index: int, value: float = 0.0) -> None:
    mesh.wait(mesh.send(peer, _key(channel, index), memoryview(_TIME.pack(value))))


def _hear(mesh: Mesh, peer: int, channel: int, index: int) -> float:
    room = memoryview(bytearray(_TIME.size))
    mesh.wait(mesh.receive(peer, _key(channel, index), room))
    return float(_TIME.unpack(room)[0])


def _key(channel: int, index: int) -> int:
    return (channel << 32) | index
