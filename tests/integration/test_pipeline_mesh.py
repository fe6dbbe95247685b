"""Connections between members: who is let in, who is not, and how a loss is told."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest

import fleet_bench
import peers
from edgecarbon.worker.pipeline.mesh import _HEADER, Member, Mesh, PeerFailure, host_name
from edgecarbon.worker.pipeline.rendezvous import barrier, clock_offset_s

RUN = "abcdef0123456789"


class Pair:
    """Two members in this process."""

    def __init__(self, folder: Path, run: str = RUN, silence_s: float = 60.0, count: int = 2) -> None:
        self.folder = folder
        ports = fleet_bench.free_ports(count)
        self.members = [Member(f"member-{rank}", "127.0.0.1", port) for rank, port in enumerate(ports)]
        fleet_bench.write_identities(folder, run, count)
        self.silence_s = silence_s
        self.meshes: list[Mesh] = []

    def mesh(self, rank: int, identity: str | None = None, authority: str = "authority.pem", run: str = RUN) -> Mesh:
        own = self.folder / (identity or f"identity-{rank}.pem")
        mesh = Mesh(rank, self.members, {0, 1} - {rank}, run, own, self.folder / authority, self.silence_s)
        self.meshes.append(mesh)
        return mesh

    def join(self, *meshes: Mesh, within_s: float = 60.0) -> list[BaseException | None]:
        """Join from a thread each. Returns what each raised."""
        raised: list[BaseException | None] = [None] * len(meshes)

        def join(index: int) -> None:
            try:
                meshes[index].join(within_s)
            except BaseException as error:
                raised[index] = error

        threads = [threading.Thread(target=join, args=(index,)) for index in range(len(meshes))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return raised

    def close(self) -> None:
        for mesh in self.meshes:
            mesh.close(orderly=False)


@pytest.fixture
def pair(tmp_path):
    made = Pair(tmp_path)
    yield made
    made.close()


def both(*calls):
    """Each call in a thread; returns what they returned, or raises what one raised."""
    found = [None] * len(calls)

    def run(index):
        try:
            found[index] = calls[index]()
        except BaseException as error:
            found[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_messages_arrive_whole_whether_awaited_or_early(pair):
    one, two = pair.mesh(0), pair.mesh(1)
    assert pair.join(one, two) == [None, None]
    data = [memoryview(bytes([n]) * size) for n, size in enumerate((1, 0, 3_000_000, 70_000))]
    sent = [one.send(1, key, part) for key, part in enumerate(data)]
    rooms = [memoryview(bytearray(len(part))) for part in data]
    for key in (2, 0):
        two.wait(two.receive(0, key, rooms[key]))
    peers.wait_for(lambda: len(two._early) == 2, "the others, before anybody asks for them")
    for key in (3, 1):
        two.wait(two.receive(0, key, rooms[key]))
    for transfer in sent:
        one.wait(transfer)
    assert rooms == data
    assert one.sent_bytes[1] == two.received_bytes[0] == sum(map(len, data)) + _HEADER.size * len(data)
    offsets = both(lambda: clock_offset_s(one), lambda: clock_offset_s(two))
    assert offsets[0] == (0.0, 0.0)
    assert abs(offsets[1][0]) <= offsets[1][1] + 1e-4  # one clock
    both(lambda: barrier(one, 1), lambda: barrier(two, 1))


def test_a_thread_that_begins_after_the_end_ends_without_a_word(pair):
    one, two = pair.mesh(0), pair.mesh(1)
    assert pair.join(one, two) == [None, None]
    pair.close()
    for begin in (one._read, one._write):
        begin(1)


@pytest.mark.parametrize("wrong", ["another authority", "another run", "another rank"])
def test_a_wrong_certificate_is_refused(pair, tmp_path, wrong):
    other = tmp_path / "other"
    other.mkdir()
    fleet_bench.write_identities(other, "0000000000000000" if wrong == "another run" else RUN, 2)
    identity = {"another authority": "other/identity-1.pem", "another run": "other/identity-1.pem"}.get(
        wrong, "identity-0.pem"
    )
    if (
        wrong == "another run"
    ):  # as if the authority were the same: its certificate is signed by the one that is trusted
        (tmp_path / "authority.pem").write_bytes((other / "authority.pem").read_bytes())
        (tmp_path / "identity-0.pem").write_bytes(_identity_of(tmp_path, other))
    one, two = pair.mesh(0), pair.mesh(1, identity)
    raised = pair.join(one, two, within_s=3.0)
    assert all(isinstance(error, PeerFailure) for error in raised)
    assert "member-1" in str(raised[0])
    assert one.refused + two.refused > 0


def _identity_of(folder: Path, other: Path) -> bytes:
    """Rank 0 under the other run's authority, so that only rank 1's name is wrong for this run."""
    return (other / "identity-0.pem").read_bytes()


def test_strangers_neither_join_nor_stop_a_run(pair):
    one, two = pair.mesh(0), pair.mesh(1)
    port = pair.members[0].port
    stop = threading.Event()

    def bother() -> None:
        while not stop.is_set():
            for greeting in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + b"\xff" * 40):
                try:
                    with socket.create_connection(("127.0.0.1", port), timeout=1) as stranger:
                        stranger.sendall(greeting)
                        time.sleep(0.02)
                except OSError:
                    time.sleep(0.02)

    bothering = threading.Thread(target=bother)
    bothering.start()
    # Many that connect and say nothing, and one with TLS but no certificate, before the other member comes.
    joining = threading.Thread(target=pair.join, args=(one,))
    joining.start()
    held = [_connect(port) for _ in range(40)]
    try:
        context = ssl.create_default_context(cafile=str(pair.folder / "authority.pem"))
        with _connect(port) as plain:
            assert _refused(context.wrap_socket(plain, server_hostname=host_name(RUN, 0)))
        assert pair.join(two) == [None]
        joining.join()
        for key in range(20):
            room = memoryview(bytearray(100_000))
            one.send(1, key, memoryview(bytes(100_000)))
            two.wait(two.receive(0, key, room))
        assert one.failure is None
        assert two.failure is None
        assert one.refused > 0
    finally:
        stop.set()
        bothering.join()
        for stream in held:
            stream.close()


def _connect(port: int) -> socket.socket:
    """A connection, once somebody listens there."""
    give_up = time.monotonic() + 30
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=30)
        except ConnectionRefusedError:
            assert time.monotonic() < give_up
            time.sleep(0.02)


def test_a_second_connection_of_a_member_is_turned_away(tmp_path):
    pair = Pair(tmp_path, count=3)
    one, two, three = (
        Mesh(rank, pair.members, {0, 1, 2}, RUN, tmp_path / f"identity-{rank}.pem", tmp_path / "authority.pem", 60.0)
        for rank in range(3)
    )
    pair.meshes += [one, two, three]
    joining = threading.Thread(target=pair.join, args=(one, two))
    joining.start()
    peers.wait_for(lambda: 1 in one._from, "the second member")
    context = ssl.create_default_context(cafile=str(tmp_path / "authority.pem"))
    context.load_cert_chain(str(tmp_path / "identity-1.pem"))
    with _connect(pair.members[0].port) as plain:
        assert _refused(context.wrap_socket(plain, server_hostname=host_name(RUN, 0)))
    assert pair.join(three) == [None]
    joining.join()
    with pytest.raises(ConnectionRefusedError):  # once all are there, nobody else can even connect
        socket.create_connection(("127.0.0.1", pair.members[0].port), timeout=5)
    room = memoryview(bytearray(4))
    one.send(1, 1, memoryview(b"word"))
    two.wait(two.receive(0, 1, room))
    assert bytes(room) == b"word"
    pair.close()


def _refused(secured: ssl.SSLSocket) -> bool:
    try:
        return secured.recv(1) == b""
    except OSError:
        return True


def test_the_member_that_never_came_is_named(pair):
    one = pair.mesh(0)
    (error,) = pair.join(one, within_s=1.0)
    assert isinstance(error, PeerFailure)
    assert error.peer == "member-1"
    assert "not in touch after 1 s with member-1" in str(error)


def test_a_failure_is_told_to_all_and_ends_every_wait(tmp_path):
    pair = Pair(tmp_path, count=3)
    try:
        meshes = [
            Mesh(
                rank,
                pair.members,
                {0, 1, 2} - {rank},
                RUN,
                tmp_path / f"identity-{rank}.pem",
                tmp_path / "authority.pem",
                60.0,
            )
            for rank in range(3)
        ]
        pair.meshes += meshes
        assert pair.join(*meshes) == [None] * 3
        waiting = meshes[1].receive(2, 7, memoryview(bytearray(10)))
        began = time.monotonic()
        meshes[0].fail("member-2 is lost: it fell into the water", "member-2")
        with pytest.raises(PeerFailure, match="fell into the water") as caught:
            meshes[1].wait(waiting)
        assert caught.value.peer == "member-2"
        assert time.monotonic() - began < 30, "told, and not found out by silence"
        with pytest.raises(PeerFailure):
            meshes[1].wait(meshes[1].receive(2, 8, memoryview(bytearray(10))))
    finally:
        pair.close()


def test_a_message_of_another_size_is_an_error_with_both_sizes(pair):
    one, two = pair.mesh(0), pair.mesh(1)
    assert pair.join(one, two) == [None, None]
    waiting = two.receive(0, 5, memoryview(bytearray(8)))
    one.send(1, 5, memoryview(b"123"))
    with pytest.raises(PeerFailure, match="sent 3 bytes where 8 belong"):
        two.wait(waiting)


def test_leaving_too_early_is_a_loss(pair):
    one, two = pair.mesh(0), pair.mesh(1)
    assert pair.join(one, two) == [None, None]
    waiting = two.receive(0, 5, memoryview(bytearray(8)))
    one.close(orderly=True)
    with pytest.raises(PeerFailure, match="left before it was done"):
        two.wait(waiting)


def test_certificates_are_new_for_every_run(tmp_path):
    made = [fleet_bench.make_certificates(RUN, 2, 60) for _ in range(2)]
    assert made[0].authority != made[1].authority
    assert len({identity for one in made for identity in one.identities}) == 4
    assert json.dumps(host_name(RUN, 1)) == f'"rank-1.{RUN}.edgecarbon.invalid"'
