"""The stand of virtual hosts: process 1 of its own namespaces. Started by `edgecarbon.fleet.virtual`, never by hand.

One bridge; for each host a network of its own, joined by a pair of virtual cables whose ends are limited with tc; in it an
sshd, or an adbd. Clients outside have no way into these networks but the sockets in the stand's folder, behind which this
process hands bytes on, over the limited cable.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NETWORK = "10.77.0"
SSH_PORT, ADB_PORT = 2222, 5555
CYCLE_S = 0.1
"""Within each such cycle a host's processes run for its share of the processor, and then stand still."""
WAIT_S = 60.0

# Between ssh's pipes and a host's socket; its own file, so that it starts in a blink.
_CONNECT = """import os, socket, sys, threading
os.chdir(sys.argv[1])
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[2])
def up():
    while piece := os.read(0, 65536):
        s.sendall(piece)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=up, daemon=True).start()
while piece := s.recv(65536):
    view = memoryview(piece)
    while view:
        view = view[os.write(1, view):]
"""


@dataclass(frozen=True)
class Host:
    """A virtual host: its name, place in the network, wishes, and the process that keeps its namespaces."""

    name: str
    number: int
    wishes: dict[str, Any]
    keeper: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        return f"{NETWORK}.{self.number + 2}"

    def inside(self, *words: str) -> list[str]:
        return ["nsenter", "--target", str(self.keeper.pid), "--net", "--uts", *words]


def main() -> None:
    """Read the order from standard input, make the hosts, say so, and last until that input ends."""
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(1))
    order = json.loads(sys.stdin.readline())
    folder = Path(order["folder"]).absolute()
    try:
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            hosts = _make(order, folder)
            print(json.dumps({"hosts": {host.name: host.address for host in hosts}}), flush=True)
            threading.Thread(target=_until_input_ends, args=[folder], daemon=True).start()
            _govern(hosts)
    except BlockingIOError:
        print(
            json.dumps({"error": f"{folder} belongs to virtual hosts that are running; end them, or wait"}), flush=True
        )
    except (OSError, RuntimeError) as error:
        print(json.dumps({"error": str(error)}), flush=True)
        shutil.rmtree(folder, ignore_errors=True)


def _until_input_ends(folder: Path) -> None:
    while sys.stdin.readline():
        pass
    # Process 1 goes, and the kernel ends everything else in here. Only files outlive it.
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _make(order: dict[str, Any], folder: Path) -> list[Host]:
    for left in folder.iterdir():
        if left.name != "lock":  # of a stand that was killed
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    _call("mount", "-t", "tmpfs", "tmpfs", "/run")  # this namespace's only
    Path("/run/sshd").mkdir()
    _call("ip", "link", "set", "lo", "up")
    _call("ip", "link", "add", "bridge", "type", "bridge")
    _call("ip", "addr", "add", f"{NETWORK}.1/24", "dev", "bridge")
    _call("ip", "link", "set", "bridge", "up")
    for name in ("host", "user"):
        _call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
    (folder / "connect.py").write_text(_CONNECT)
    hosts = [_host(name, number, wishes) for number, (name, wishes) in enumerate(order["hosts"].items())]
    for host in hosts:
        (folder / host.name / "tmp").mkdir(parents=True)
        _daemon(host, folder, order["adbd"])
    for host in hosts:
        _wait(lambda host=host: _listens(host), f"{host.name}'s daemon")
    _forward([host for host in hosts if host.wishes["transport"] == "ssh"], folder)
    _adb([host for host in hosts if host.wishes["transport"] == "adb"], folder, order["folder"])
    (folder / "hosts.json").write_text(json.dumps({host.name: host.address for host in hosts}, indent=1))
    return hosts


def _host(name: str, number: int, wishes: dict[str, Any]) -> Host:
    script = 'hostname "$1"; ip link set lo up; echo ready; exec sleep infinity'
    keeper = subprocess.Popen(
        ["unshare", "--net", "--uts", "sh", "-c", script, "keeper", name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert keeper.stdout is not None
    if keeper.stdout.readline() != b"ready\n":
        raise RuntimeError(f"{name}: its network could not be made")
    host, cable = Host(name, number, wishes, keeper), f"cable{number}"
    _call("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(keeper.pid))
    _call("ip", "link", "set", cable, "master", "bridge", "up")
    _call(*host.inside("ip", "addr", "add", f"{host.address}/24", "dev", "eth0"))
    _call(*host.inside("ip", "link", "set", "eth0", "up"))
    _call(*_limit("eth0", wishes["up_mbyte_per_s"], host.inside()))
    _call(*_limit(cable, wishes["down_mbyte_per_s"]))
    return host


def _limit(device: str, mbyte_per_s: float, inside: list[str] | None = None) -> list[str]:
    """tc's token bucket on what leaves a device."""
    rate_bits = round(mbyte_per_s * 8e6)
    burst = max(64_000, rate_bits // 8 // 100)  # at least what comes in 10 ms, or the rate is not reached
    bucket = ["root", "tbf", "rate", f"{rate_bits}bit", "burst", str(burst), "latency", "200ms"]
    return [*(inside or []), "tc", "qdisc", "add", "dev", device, *bucket]


def _daemon(host: Host, folder: Path, adbd: str | None) -> None:
    """Start the host's sshd or adbd. Each host has a temporary folder of its own: locks there are the host's."""
    home = folder / host.name
    environment = {**os.environ, "TMPDIR": str(home / "tmp")}
    if host.wishes["transport"] == "adb":
        words = ["env", f"ADBD_PORT={ADB_PORT}", str(adbd)]
    else:
        (home / "sshd_config").write_text(
            f"Port {SSH_PORT}\nListenAddress {host.address}\nHostKey {folder}/host\nPidFile none\n"
            f"AuthorizedKeysFile {folder}/user.pub\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n"
            "StrictModes no\nPermitRootLogin prohibit-password\nMaxStartups 100\nMaxSessions 100\n"
            f'SetEnv "TMPDIR={home}/tmp"\nSubsystem sftp internal-sftp\n'
        )
        words = [*_ordinary_user(), shutil.which("sshd") or "sshd", "-D", "-e", "-f", str(home / "sshd_config")]
    with (home / "daemon.log").open("wb") as log:
        subprocess.Popen(host.inside(*words), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)


def _ordinary_user() -> list[str]:
    """sshd drops its rights as root, which a user that is root in its namespace only cannot: there it runs as that user."""
    uid, gid = os.environ["EDGECARBON_UID"], os.environ["EDGECARBON_GID"]
    return [] if uid == "0" else ["unshare", "--user", f"--map-user={uid}", f"--map-group={gid}"]


def _listens(host: Host) -> bool:
    port = SSH_PORT if host.wishes["transport"] == "ssh" else ADB_PORT
    listening = subprocess.run(
        host.inside("cat", "/proc/net/tcp", "/proc/net/tcp6"), capture_output=True, check=False
    ).stdout
    return any(f":{port:04X} ".encode() in line and b" 0A " in line for line in listening.splitlines())


def _forward(hosts: list[Host], folder: Path) -> None:
    """A socket for each host, and the ssh configuration that leads there."""
    (folder / "s").mkdir()
    ready = threading.Event()
    threading.Thread(target=lambda: asyncio.run(_serve(hosts, folder, ready)), daemon=True).start()
    if not ready.wait(WAIT_S):
        raise RuntimeError("the sockets of the hosts could not be made")
    key = (folder / "host.pub").read_text()
    (folder / "known_hosts").write_text("".join(f"{host.name} {key}" for host in hosts))
    user = subprocess.run(
        ["id", "-un", os.environ["EDGECARBON_UID"]], capture_output=True, text=True, check=False
    ).stdout.strip()
    (folder / "ssh_config").write_text("".join(
        f'Host {host.name}\n  HostName {host.name}\n  HostKeyAlias {host.name}\n  User {user}\n'
        f'  IdentityFile "{folder}/user"\n  IdentitiesOnly yes\n  UserKnownHostsFile "{folder}/known_hosts"\n'
        f'  ProxyCommand "{sys.executable}" -I -S "{folder}/connect.py" "{folder}" s/{host.name}\n'
        for host in hosts
    ))  # fmt: skip


async def _serve(hosts: list[Host], folder: Path, ready: threading.Event) -> None:
    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await source.read(65536):
                target.write(piece)
                await target.drain()
        with contextlib.suppress(OSError, RuntimeError):
            target.write_eof()

    def handler(host: Host) -> Any:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                there, here = await asyncio.open_connection(host.address, SSH_PORT)
                await asyncio.gather(copy(reader, here), copy(there, writer))
                here.close()
            except OSError:
                pass
            writer.close()

        return handle

    # Relative, because the path of a socket may have about a hundred characters only.
    os.chdir(folder)
    for host in hosts:
        await asyncio.start_unix_server(handler(host), f"s/{host.name}")
    ready.set()
    await asyncio.Event().wait()


def _adb(phones: list[Host], folder: Path, as_told: str) -> None:
    """An adb server of the stand's own, connected to its phones. Its socket is told as a path that a client can use."""
    if not phones:
        return
    own = {"HOME": str(folder), "ANDROID_USER_HOME": str(folder), "ADB_SERVER_SOCKET": "localfilesystem:adb.sock"}
    environment = {**os.environ, **own}
    with (folder / "adb.log").open("wb") as log:
        words = ["adb", "-L", "localfilesystem:adb.sock", "nodaemon", "server"]
        subprocess.Popen(words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    # A client that finds no server starts one, which would not be in this network's keeping.
    _wait((folder / "adb.sock").exists, "adb's server")
    serials = {host.name: f"{host.address}:{ADB_PORT}" for host in phones}
    for serial in serials.values():

        def connected(serial: str = serial) -> bool:
            with contextlib.suppress(subprocess.TimeoutExpired):  # asked again, for as long as is waited
                for words in (["adb", "connect", serial], ["adb", "devices"]):
                    said = subprocess.run(
                        words, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=4
                    )
                return f"{serial}\tdevice" in said.stdout
            return False

        _wait(connected, f"adb to reach {serial}")
    told = {"environment": {"ADB_SERVER_SOCKET": f"localfilesystem:{as_told}/adb.sock"}, "serials": serials}
    (folder / "adb.json").write_text(json.dumps(told, indent=1))


def _govern(hosts: list[Host]) -> None:
    """Give each host its share of the processor, for ever."""
    slow = [host for host in hosts if host.wishes["cpu_percent"] < 100]
    for host in slow:
        threading.Thread(target=_slow_down, args=[host], daemon=True).start()
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # process 1 inherits what others leave behind
                pass
        time.sleep(1.0)


def _slow_down(host: Host) -> None:
    network = os.readlink(f"/proc/{host.keeper.pid}/ns/net")
    runs_s = CYCLE_S * host.wishes["cpu_percent"] / 100
    while True:
        jobs = _jobs(network)
        _signal(jobs, signal.SIGSTOP)
        time.sleep(CYCLE_S - runs_s)
        _signal(jobs, signal.SIGCONT)
        time.sleep(runs_s)


def _jobs(network: str) -> list[int]:
    """Processes in a host's network that are no daemon of it."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{name}/ns/net") == network:
                    program = os.readlink(f"/proc/{name}/exe").rsplit("/", 1)[-1]
                    if not program.startswith(("sshd", "adbd", "ld-linux", "sleep", "nsenter", "unshare")):
                        found.append(int(name))
    return found


def _signal(processes: list[int], number: int) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _wait(condition: Any, what: str) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {WAIT_S:.0f} s for {what}")
        time.sleep(0.05)


def _call(*words: str) -> None:
    ended = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"`{' '.join(words)}`: {' '.join(ended.stderr.split())}")


if __name__ == "__main__":
    main()
