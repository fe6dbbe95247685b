"""Real peers on this machine: an sshd and an adbd, each in a process group that ends with the test."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]


def need(command: str, package: str) -> str:
    found = shutil.which(command, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert found, f"{command} was not found: sudo apt-get install {package}"
    return found


@dataclass
class Sshd:
    """A running sshd and the client configuration that reaches it under the name `peer`."""

    config: Path
    process: subprocess.Popen[bytes]
    port: int
    folder: Path

    def connections(self) -> list[psutil.Process]:
        """The daemon's processes of each connection, without what they run."""
        return [one for one, name, _ in below(self.process.pid) if name.startswith("sshd")]

    def cut(self) -> None:
        """Every connection breaks."""
        for one in self.connections():
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()

    def freeze(self) -> None:
        """Every connection falls silent, as when a device leaves the network."""
        for one in self.connections():
            with contextlib.suppress(psutil.NoSuchProcess):
                one.suspend()


@contextlib.contextmanager
def sshd(folder: Path) -> Iterator[Sshd]:
    """An sshd on the loopback address, with keys and a temporary folder of its own, as another machine would have."""
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    binary = need("sshd", "openssh-server")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    port = free_port()
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # the daemon's own requirement
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile {folder}/pid\n"
        f"AuthorizedKeysFile {folder}/authorized\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "UsePAM no\nStrictModes no\nSubsystem sftp internal-sftp\nMaxStartups 100\nMaxSessions 100\n"
        f"SetEnv TMPDIR={folder}/tmp\n"
    )
    key = (folder / "host.pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {key}")
    config = folder / "ssh_config"
    config.write_text(
        f"Host peer\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n  IdentityFile {folder}/user\n"
        f"  IdentitiesOnly yes\n  UserKnownHostsFile {folder}/known_hosts\n"
    )
    log = (folder / "sshd.log").open("ab")
    process = subprocess.Popen([binary, "-D", "-e", "-f", folder / "sshd_config"], stderr=log, stdin=subprocess.DEVNULL)
    try:
        wait_for(lambda: can_connect(port), "sshd to listen")
        yield Sshd(config, process, port, folder)
    finally:
        end_tree(process.pid)
        process.wait()
        log.close()


def _is_adbd(words: list[str]) -> bool:
    """Whether it is the daemon: by its name, or as the loader runs it that `tools/adbd` names where no package is."""
    return "platform-tools/adbd" in " ".join(words) or (bool(words) and Path(words[0]).name == "adbd")


KEEPS_NETWORK = ["sleep", "100000"]
ADBD_SCRIPT = f"""
ip link set lo up
"$1" >"$2/adbd.log" 2>&1 &
adb -L "$3" nodaemon server >"$2/server.log" 2>&1 &
exec {" ".join(KEEPS_NETWORK)}
"""


@dataclass
class Adbd:
    """A running adbd with an adb server of its own, and how a client reaches it."""

    environment: dict[str, str]
    serial: str
    folder: Path
    process: subprocess.Popen[bytes]

    def adb(self, *arguments: str) -> str:
        ended = subprocess.run(
            ["adb", *arguments], env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=30
        )
        return ended.stdout + ended.stderr

    @property
    def socket(self) -> Path:
        return Path(self.environment["ADB_SERVER_SOCKET"].partition(":")[2])

    def kill_server(self) -> None:
        """The adb server dies, as it does when another adb version meets it; the device lives on."""

        def dead() -> bool:
            for process in psutil.process_iter(["cmdline"]):
                words = process.info["cmdline"] or []
                if "server" in words and any(str(self.socket) in word for word in words):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
            return not can_connect(str(self.socket))

        wait_for(dead, "adb's server to die")
        self.socket.unlink(missing_ok=True)

    def daemon(self) -> psutil.Process:
        """The phone's adbd."""
        return next(one for one, _, words in below(self.process.pid) if _is_adbd(words))

    def start_server(self) -> None:
        """A server in the phone's network, in place of any that a client has started since in the host's."""
        self.kill_server()
        peer = next(one for one, _, words in below(self.process.pid) if words == KEEPS_NETWORK)
        with (self.folder / "server.log").open("ab") as log:
            subprocess.Popen(
                ["nsenter", "--target", str(peer.pid), "--net", "adb", "-L",
                 f"localfilesystem:{self.socket}", "nodaemon", "server"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **self.environment},
            )  # fmt: skip
        self.connect()

    def connect(self) -> None:
        # A client that finds no server starts one of its own, in the wrong network.
        wait_for(lambda: can_connect(str(self.socket)), "adb's server")

        def connected() -> bool:
            with contextlib.suppress(subprocess.TimeoutExpired):  # asked again, for as long as is waited
                self.adb("connect", self.serial)
                return f"{self.serial}\tdevice" in self.adb("devices")
            return False

        wait_for(connected, "adbd to be reached", 240)


@contextlib.contextmanager
def adbd(folder: Path) -> Iterator[Adbd]:
    """A real adbd, which listens on every interface and so gets a network of its own."""
    need("adb", "adb")
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    wrapper = subprocess.run([ROOT / "tools/adbd"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    port = free_port()
    name = f"localfilesystem:{folder}/adb.sock"
    environment = {"ADB_SERVER_SOCKET": name, "HOME": str(folder)}
    process = subprocess.Popen(
        ["unshare", *([] if os.getuid() == 0 else ["-r"]), "--net", "--fork", "--kill-child",
         "sh", "-c", ADBD_SCRIPT, "adbd", wrapper, folder, name],
        env={**os.environ, **environment, "ADBD_PORT": str(port), "TMPDIR": f"{folder}/tmp"}, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    peer = Adbd(environment, f"127.0.0.1:{port}", folder, process)
    try:
        peer.connect()
        yield peer
    finally:
        peer.kill_server()
        end_tree(process.pid)
        process.wait()


def below(pid: int) -> list[tuple[psutil.Process, str, list[str]]]:
    """The living processes under one, with name and words; one that ends as it is looked at has ended."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie too
            found.append((process, process.name(), process.cmdline()))
    return found


def end_tree(pid: int) -> None:
    """Kill a process and everything under it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        tree = psutil.Process(pid)
        for member in [*tree.children(recursive=True), tree]:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.send_signal(signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def can_connect(place: int | str) -> bool:
    """Whether somebody listens at a port of this machine, or at a socket's path."""
    with socket.socket(socket.AF_UNIX if isinstance(place, str) else socket.AF_INET) as probe:
        probe.settimeout(1)
        return probe.connect_ex(place if isinstance(place, str) else ("127.0.0.1", place)) == 0


def wait_for(condition, what: str, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.05)
