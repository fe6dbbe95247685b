"""How tensors get from one member to another: over the mesh's TLS connections, or over torch.distributed."""

from __future__ import annotations

import fcntl
import os
import queue
import socket
import struct
import threading
import time
from datetime import timedelta
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from ..errors import WorkerError
from . import codec as codecs
from .codec import Codec, memory_of
from .mesh import Mesh, Transfer

_SIOCGIFADDR = 0x8915


class Key(NamedTuple):
    """Which message of a pair this is. Each is used once at a time."""

    channel: int
    place: int
    step: int = 0

    def number(self) -> int:
        return (self.step << 40) | (self.channel << 32) | self.place


class Link(Protocol):
    """Sends and receives tensors on the CPU, contiguous, without waiting.

    The memory of a tensor under way must stay as it is until its transfer is done. `wait` raises PeerFailure when the run
    has failed, whoever failed it.
    """

    def send(self, peer: int, key: Key, tensor: Tensor) -> Transfer: ...

    def receive(self, peer: int, key: Key, into: Tensor) -> Transfer: ...

    def wait(self, transfer: Transfer) -> None: ...

    def close(self) -> None: ...


class TlsLink:
    """Tensors as messages of the mesh: authenticated and encrypted, on every system that has Python."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh

    def send(self, peer: int, key: Key, tensor: Tensor) -> Transfer:
        return self.mesh.send(peer, key.number(), memory_of(tensor))

    def receive(self, peer: int, key: Key, into: Tensor) -> Transfer:
        return self.mesh.receive(peer, key.number(), memory_of(into))

    def wait(self, transfer: Transfer) -> None:
        self.mesh.wait(transfer)

    def close(self) -> None:
        pass


class TorchLink:
    """Tensors over torch.distributed with gloo: the engine between Linux machines on a network that is trusted.

    Neither encrypted nor authenticated. The mesh stands beside it for heartbeats, and for the word when a member is lost:
    gloo itself would wait for half an hour. gloo's waits block, so that threads of their own sit in them.
    """

    def __init__(self, mesh: Mesh, port: int, join_s: float) -> None:
        try:
            import torch.distributed as dist
        except ImportError as error:
            raise WorkerError(
                "bad_spec", f"fleet.link: this torch has no torch.distributed ({error}); use tls"
            ) from error
        if not dist.is_available() or not dist.is_gloo_available():
            raise WorkerError("bad_spec", "fleet.link: this torch was built without gloo; use tls")
        self.mesh, self._dist = mesh, dist
        own = mesh.members[mesh.rank].address
        interface = interface_of(own)
        if interface:
            os.environ["GLOO_SOCKET_IFNAME"] = interface
        try:
            dist.init_process_group(
                "gloo", init_method=f"tcp://{mesh.members[0].address}:{port}", rank=mesh.rank,
                world_size=len(mesh.members), timeout=timedelta(seconds=join_s),
            )  # fmt: skip
        except (RuntimeError, ValueError) as error:
            mesh.fail(f"{mesh.members[mesh.rank].name}: torch.distributed did not start: {error}", None)
            mesh.check()
        self._queues: dict[tuple[str, int], queue.SimpleQueue[tuple[Any, Tensor, Transfer]]] = {}

    def send(self, peer: int, key: Key, tensor: Tensor) -> Transfer:
        started = time.monotonic()
        return self._follow("send", peer, self._start(self._dist.isend, tensor, peer, key), tensor, started)

    def receive(self, peer: int, key: Key, into: Tensor) -> Transfer:
        started = time.monotonic()
        return self._follow("receive", peer, self._start(self._dist.irecv, into, peer, key), into, started)

    def wait(self, transfer: Transfer) -> None:
        self.mesh.wait(transfer)

    def close(self) -> None:
        if self.mesh.failure is None:  # else threads sit in gloo, and the process ends around them
            self._dist.destroy_process_group()

    def _start(self, call: Any, tensor: Tensor, peer: int, key: Key) -> Any:
        self.mesh.check()
        try:
            return call(tensor, peer, tag=(key.channel << 20) | key.place)
        except RuntimeError as error:
            self._failed(peer, error)
            raise self.mesh.failure or error from error

    def _follow(self, kind: str, peer: int, work: Any, tensor: Tensor, started_s: float) -> Transfer:
        transfer = self.mesh.begin(Transfer(peer, tensor.numel() * tensor.element_size(), start_s=started_s))
        followers = self._queues.get((kind, peer))
        if followers is None:
            followers = self._queues[kind, peer] = queue.SimpleQueue()
            threading.Thread(target=self._wait_all, args=(kind, peer, followers), daemon=True).start()
        followers.put((work, tensor, transfer))
        return transfer

    def _wait_all(self, kind: str, peer: int, works: queue.SimpleQueue[tuple[Any, Tensor, Transfer]]) -> None:
        while True:
            work, _tensor, transfer = works.get()
            try:
                work.wait()
            except RuntimeError as error:
                self._failed(peer, error)
                return
            counted = self.mesh.sent_bytes if kind == "send" else self.mesh.received_bytes
            counted[peer] += transfer.size
            self.mesh.finish(kind, transfer, transfer.start_s)

    def _failed(self, peer: int, error: BaseException) -> None:
        # A heartbeat may know better who is to blame, and is seldom later than this.
        time.sleep(0.5)
        name = self.mesh.members[peer].name
        self.mesh.fail(f"{name} is lost: {str(error).splitlines()[0][:200]}", name)


def interface_of(address: str) -> str | None:
    """The network interface of this machine with that IPv4 address, for gloo, which else asks what the host name means."""
    try:
        wanted = socket.gethostbyname(address)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            for _, name in socket.if_nameindex():
                try:
                    packed = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("256s", name[:15].encode()))
                except OSError:
                    continue
                if socket.inet_ntoa(packed[20:24]) == wanted:
                    return name
    except OSError:
        pass
    return None


def ring_all_reduce(
    link: Link, ring: list[int], place: int, flat: Tensor, channel: int, step: int, codec: Codec
) -> None:
    """Sum `flat` (elements,) over the members of `ring`, in place; every member ends with the same bits.

    Each of the 2(D−1) rounds sends and receives 1/D of it (Patarasuk & Yuan 2009): what a link can carry at least.

    Args:
        ring: ranks, in ring order; `place` is this member's in it.
        codec: how the parts travel; a part is rounded once a round, and last by its owner, so that all copies agree.
    """
    size = len(ring)
    if size == 1:
        return
    following, before = ring[(place + 1) % size], ring[(place - 1) % size]
    parts = list(flat.tensor_split(size))
    sent: list[tuple[Transfer, Tensor]] = []
    inbox = [codecs.empty(_rows(parts[(place - 1 - r) % size]), codec) for r in range(size - 1)]
    inbox += [codecs.empty(_rows(parts[(place - r) % size]), codec) for r in range(size - 1)]
    arrivals = [link.receive(before, Key(channel, index, step), room) for index, room in enumerate(inbox)]
    for index in range(2 * (size - 1)):
        reducing, turn = index < size - 1, index % (size - 1)
        outgoing = parts[(place - turn) % size] if reducing else parts[(place + 1 - turn) % size]
        wire = codecs.encode(outgoing.view(_rows(outgoing)), codec)
        if index == size - 1 and codec != "fp32":
            outgoing.copy_(codecs.decode(wire, _rows(outgoing), codec, flat.device).view(-1))
        # fp32 shares the tensor's memory, which the next rounds write to elsewhere only.
        sent.append((link.send(following, Key(channel, index, step), wire), wire))
        link.wait(arrivals[index])
        incoming = parts[(place - 1 - turn) % size] if reducing else parts[(place - turn) % size]
        value = codecs.decode(inbox[index], _rows(incoming), codec, flat.device).view(-1)
        incoming.add_(value) if reducing else incoming.copy_(value)
    for transfer, _ in sent:
        link.wait(transfer)


def _rows(part: Tensor) -> tuple[int, ...]:
    return (1, part.numel())


def exchange_sum(link: Link, peer: int, tensor: Tensor, channel: int, step: int, codec: Codec, first: bool) -> Tensor:
    """The sum of this member's tensor and the peer's, fp32 on its device; both ends come to the same bits.

    Each adds what both have sent, its own part rounded as the other sees it, in one order.
    """
    own, other = codecs.encode(tensor, codec), codecs.empty(tensor.shape, codec)
    arrival = link.receive(peer, Key(channel, 0, step), other)
    departure = link.send(peer, Key(channel, 0, step), own)
    link.wait(arrival)
    link.wait(departure)
    mine, theirs = (codecs.decode(wire, tensor.shape, codec, tensor.device) for wire in (own, other))
    return mine + theirs if first else theirs + mine
