"""Connections between the members of a fleet: mutually authenticated TLS, with heartbeats, and one way to fail.

Each pair that talks has two connections, one a direction, so that every TLS object belongs to one thread: it writes, or it
reads. Who does not show a certificate of this run's authority, under its own name, is turned away and changes nothing.
A member that is silent, gone or failed is named to all others, and every wait ends with that.
"""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import WorkerError

_HEADER = struct.Struct("!BQQ")  # kind, key, bytes that follow
_DATA, _BEAT, _ABORT, _BYE = range(4)
_WELCOME = b"\x01"
BEAT_S = 1.0
_HANDSHAKE_S = 10.0
_RETRY_S = 0.3
_PIECE = 1 << 20
_MOST_STRANGERS = 64
MOST_BYTES = 1 << 33
"""Of one message; more is a peer that has lost its way."""


@dataclass(frozen=True)
class Member:
    """A device of the fleet: its name, and where the others reach it."""

    name: str
    address: str
    port: int


@dataclass(eq=False)
class Transfer:
    """A message on its way. Times are on `time.monotonic()`, from its first byte to its last at this end."""

    peer: int
    size: int
    start_s: float = 0.0
    end_s: float = 0.0
    done: threading.Event = field(default_factory=threading.Event)


class PeerFailure(WorkerError):
    """Another member is lost or has failed: `peer` is its name, or None where nobody in particular is to blame."""

    def __init__(self, message: str, peer: str | None) -> None:
        super().__init__("peer", message, peer)


class Mesh:
    """This member's connections.

    Args:
        rank: which of `members` this is.
        peers: the ranks that it exchanges messages with; rank 0 is everyone's peer.
        run: name of the run, which the certificates carry.
        identity: PEM file with this member's key and certificate; `authority` the run's own authority.
        silence_s: a peer from which nothing comes for so long is lost.
    """

    def __init__(
        self, rank: int, members: list[Member], peers: Iterable[int], run: str,
        identity: Path, authority: Path, silence_s: float,
    ) -> None:  # fmt: skip
        self.rank, self.members, self.run, self.silence_s = rank, members, run, silence_s
        self.peers = sorted({*peers, *(range(1, len(members)) if rank == 0 else [0])} - {rank})
        self.failure: PeerFailure | None = None
        self.refused = 0
        self.sent_bytes = dict.fromkeys(self.peers, 0)
        self.received_bytes = dict.fromkeys(self.peers, 0)
        self.transfers: list[tuple[str, Transfer]] = []
        self._identity, self._authority = identity, authority
        self._lock = threading.Lock()
        self._joined = threading.Condition()
        self._to: dict[int, ssl.SSLSocket] = {}
        self._from: dict[int, ssl.SSLSocket] = {}
        self._outbox: dict[int, queue.SimpleQueue[tuple[int, int, memoryview, Transfer | None]]] = {
            peer: queue.SimpleQueue() for peer in self.peers
        }
        self._pending: set[Transfer] = set()
        self._expected: dict[tuple[int, int], tuple[memoryview, Transfer]] = {}
        self._early: dict[tuple[int, int], tuple[bytearray, Transfer]] = {}
        self._trouble: dict[int, str] = {}
        self._handshakes = threading.Semaphore(_MOST_STRANGERS)
        self._closing = False
        self._left: set[int] = set()
        self._writers: list[threading.Thread] = []
        self._server: socket.socket | None = None

    # -- joining ------------------------------------------------------------------------------------------------------

    def join(self, within_s: float) -> None:
        """Connect to every peer, both ways. Raises PeerFailure naming those that did not come in time."""
        deadline = time.monotonic() + within_s
        self._listen()
        for peer in self.peers:
            self._thread(f"connect-{peer}", self._connect, peer, deadline)
        with self._joined:
            complete = self._joined.wait_for(lambda: self.failure or self._complete(), max(0.0, within_s))
        if self.failure:
            raise self.failure
        if not complete:
            away = [peer for peer in self.peers if peer not in self._to or peer not in self._from]
            words = "; ".join(
                f"{self.members[p].name} ({self._trouble.get(p, 'nothing came from there')})" for p in away
            )
            self.fail(f"not in touch after {within_s:g} s with {words}", self.members[away[0]].name)
            raise self.failure or AssertionError
        self._stop_listening()  # everybody is here: nobody else has any business with this run
        for peer in self.peers:
            self._thread(f"read-{peer}", self._read, peer)
            self._writers.append(self._thread(f"write-{peer}", self._write, peer))

    def _complete(self) -> bool:
        return len(self._to) == len(self._from) == len(self.peers)

    def _listen(self) -> None:
        port = self.members[self.rank].port
        try:
            self._server = socket.create_server(("", port), backlog=64)
        except OSError as error:
            raise WorkerError(
                "bad_spec", f"port {port}: cannot listen there: {error.strerror}; give the fleet another"
            ) from error
        self._thread("accept", self._accept)

    def _stop_listening(self) -> None:
        if self._server is not None:
            with contextlib.suppress(OSError):
                self._server.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            self._server.close()

    def _context(self, purpose: ssl.Purpose) -> ssl.SSLContext:
        context = ssl.create_default_context(purpose, cafile=str(self._authority))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(str(self._identity))
        if purpose is ssl.Purpose.CLIENT_AUTH:
            context.num_tickets = 0  # nobody reads on that side
        return context

    def _accept(self) -> None:
        context = self._context(ssl.Purpose.CLIENT_AUTH)
        assert self._server is not None
        while True:
            try:
                stream, _ = self._server.accept()
            except OSError:
                return  # closed: the run is over
            if self._handshakes.acquire(blocking=False):
                self._thread("admit", self._admit, context, stream)
            else:
                stream.close()

    def _admit(self, context: ssl.SSLContext, stream: socket.socket) -> None:
        """Let a peer in, or a stranger not: a certificate of this run's authority, of a peer that is not here yet."""
        secured = None
        try:
            stream.settimeout(_HANDSHAKE_S)
            secured = context.wrap_socket(stream, server_side=True)
            peer = self._peer_of(secured)
            with self._joined:
                if peer is None or peer in self._from:
                    raise ssl.SSLError(f"not one of this run's members, or here already: {peer}")
                secured.sendall(_WELCOME)
                self._from[peer] = secured
                self._joined.notify_all()
        except (OSError, ValueError):
            self.refused += 1
            (secured or stream).close()
        finally:
            self._handshakes.release()

    def _peer_of(self, secured: ssl.SSLSocket) -> int | None:
        names = (secured.getpeercert() or {}).get("subjectAltName", ())
        return next((peer for peer in self.peers if ("DNS", host_name(self.run, peer)) in names), None)

    def _connect(self, peer: int, deadline: float) -> None:
        context = self._context(ssl.Purpose.SERVER_AUTH)
        member = self.members[peer]
        while time.monotonic() < deadline and not self._closing and self.failure is None:
            stream = None
            try:
                stream = socket.create_connection((member.address, member.port), timeout=_HANDSHAKE_S)
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                secured = context.wrap_socket(stream, server_hostname=host_name(self.run, peer))
                if secured.recv(1) != _WELCOME:  # with TLS 1.3 a refused certificate shows only here
                    raise ssl.SSLError("it turned this device away")
                with self._joined:
                    self._to[peer] = secured
                    self._joined.notify_all()
                return
            except ssl.SSLError as error:
                self._trouble[peer] = f"its certificate or ours was refused: {getattr(error, 'reason', None) or error}"
            except OSError as error:
                self._trouble[peer] = f"{member.address}:{member.port}: {error.strerror or error}"
            if stream is not None:
                stream.close()
            time.sleep(_RETRY_S)

    # -- messages -----------------------------------------------------------------------------------------------------

    def send(self, peer: int, key: int, data: memoryview) -> Transfer:
        """Put a message on its way. Its memory must stay as it is until the transfer is done."""
        transfer = self.begin(Transfer(peer, len(data)))
        self._outbox[peer].put((_DATA, key, data, transfer))
        return transfer

    def receive(self, peer: int, key: int, into: memoryview) -> Transfer:
        """Make room for a message before it comes; one that is there already is copied."""
        with self._lock:
            early = self._early.pop((peer, key), None)
            if early is None:
                transfer = self.begin(Transfer(peer, len(into)))
                self._expected[peer, key] = (into, transfer)
                return transfer
        data, transfer = early
        if len(data) != len(into):
            self.fail(self._odd(peer, len(data), len(into)), self.members[peer].name)
        else:
            into[:] = data
        return transfer

    def wait(self, transfer: Transfer) -> None:
        """Until a message is whole, here or gone. Raises PeerFailure once the run has failed."""
        transfer.done.wait()
        if self.failure:
            raise self.failure

    def begin(self, transfer: Transfer) -> Transfer:
        self._pending.add(transfer)
        if self.failure:
            transfer.done.set()
        return transfer

    def check(self) -> None:
        """Raises PeerFailure once the run has failed."""
        if self.failure:
            raise self.failure

    def take_transfers(self) -> list[tuple[str, Transfer]]:
        """Every finished message since the last call: ("send" or "receive", transfer)."""
        taken, self.transfers = self.transfers, []
        return taken

    def fail(self, message: str, peer: str | None) -> None:
        """The run has failed: end every wait, and tell the others who is to blame. The first failure counts."""
        with self._lock:
            if self.failure or self._closing:
                return
            self.failure = PeerFailure(message, peer)
        word = memoryview(json.dumps({"message": message, "peer": peer}).encode())
        for outbox in self._outbox.values():
            outbox.put((_ABORT, 0, word, None))
        for transfer in list(self._pending):
            transfer.done.set()
        with self._joined:
            self._joined.notify_all()

    def close(self, orderly: bool) -> None:
        """Leave. In order, the peers hear that this member is done; else they hear why, if it is to be said at all."""
        if orderly and not self.failure:
            for outbox in self._outbox.values():
                outbox.put((_BYE, 0, memoryview(b""), None))
        elif not self.failure:
            self.fail(f"{self.members[self.rank].name} has ended", self.members[self.rank].name)
        for writer in self._writers:
            writer.join(BEAT_S + 1.0)
        self._closing = True
        self._stop_listening()
        for end in (*self._to.values(), *self._from.values()):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    # -- threads ------------------------------------------------------------------------------------------------------

    def _write(self, peer: int) -> None:
        stream, outbox = self._to[peer], self._outbox[peer]
        try:
            stream.settimeout(self.silence_s)
            while True:
                try:
                    kind, key, data, transfer = outbox.get(timeout=BEAT_S)
                except queue.Empty:
                    stream.sendall(_HEADER.pack(_BEAT, 0, 0))
                    continue
                if self.failure and kind != _ABORT:
                    continue
                start_s = time.monotonic()
                stream.sendall(_HEADER.pack(kind, key, len(data)))
                for start in range(0, len(data), _PIECE):
                    stream.sendall(data[start : start + _PIECE])
                if transfer is not None:
                    self.finish("send", transfer, start_s)
                    self.sent_bytes[peer] += _HEADER.size + len(data)
                if kind in (_ABORT, _BYE):
                    return
        except (OSError, ValueError) as error:
            self._lost(peer, f"cannot be sent to: {error}")

    def _read(self, peer: int) -> None:
        stream = self._from[peer]
        header = memoryview(bytearray(_HEADER.size))
        try:
            stream.settimeout(self.silence_s)
            while True:
                self._fill(stream, header)
                start_s = time.monotonic()
                kind, key, size = _HEADER.unpack(header)
                if size > MOST_BYTES:
                    raise ValueError(f"it announced a message of {size} bytes")
                if kind == _DATA:
                    self._take(stream, peer, key, size, start_s)
                elif kind == _ABORT:
                    word = memoryview(bytearray(min(size, 4096)))
                    self._fill(stream, word)
                    said = json.loads(bytes(word))
                    self.fail(str(said["message"])[:500], said.get("peer"))
                    return
                elif kind == _BYE:
                    self._left.add(peer)
                    with self._lock:
                        early = any(sender == peer for sender, _ in self._expected)
                    if early:
                        self._lost_for(peer, "it left before it was done")
                    return
        except TimeoutError:
            self._lost(peer, f"nothing was heard from it for {self.silence_s:g} s")
        except (OSError, ValueError, KeyError, EOFError) as error:
            self._lost(peer, f"its connection broke: {error}" if str(error) else "its connection broke")

    def _take(self, stream: ssl.SSLSocket, peer: int, key: int, size: int, start_s: float) -> None:
        with self._lock:
            into, transfer = self._expected.pop((peer, key), (None, None))
        early = bytearray() if into is not None else bytearray(size)
        target = into if into is not None else memoryview(early)
        if len(target) != size:
            raise ValueError(self._odd(peer, size, len(target)))
        self._fill(stream, target)
        self.received_bytes[peer] += _HEADER.size + size
        if transfer is None:
            with self._lock:
                transfer = Transfer(peer, size)
                posted = self._expected.pop((peer, key), None)
                if posted is None:
                    self._early[peer, key] = (early, transfer)
                else:
                    posted[0][:] = early
                    transfer = posted[1]
        self.finish("receive", transfer, start_s)

    def _fill(self, stream: ssl.SSLSocket, into: memoryview) -> None:
        filled = 0
        while filled < len(into):
            count = stream.recv_into(into[filled : filled + _PIECE])
            if not count:
                raise EOFError
            filled += count

    def finish(self, kind: str, transfer: Transfer, start_s: float) -> None:
        transfer.start_s, transfer.end_s = start_s, time.monotonic()
        self.transfers.append((kind, transfer))
        self._pending.discard(transfer)
        transfer.done.set()

    def _lost(self, peer: int, what: str) -> None:
        if not self._closing and peer not in self._left:
            self._lost_for(peer, what)

    def _lost_for(self, peer: int, what: str) -> None:
        name = self.members[peer].name
        self.fail(f"{name} is lost: {what}", name)

    def _odd(self, peer: int, size: int, wanted: int) -> str:
        return f"{self.members[peer].name} sent {size} bytes where {wanted} belong"

    def _thread(self, name: str, work: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, name=f"edgecarbon-{name}", daemon=True)
        thread.start()
        return thread


def host_name(run: str, rank: int) -> str:
    """The name in a member's certificate: of this run and no other, and of this member."""
    return f"rank-{rank}.{run}.edgecarbon.invalid"
