"""Real peers on this machine: an sshd and an adbd, each in a process group that ends with the test."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


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

    def stop(self) -> None:
        """As if the machine had lost its power: the daemon and every connection of it at once."""
        end_tree(self.process.pid)
        self.process.wait()


@contextlib.contextmanager
def sshd(folder: Path) -> Iterator[Sshd]:
    """An sshd on the loopback address, with keys of its own."""
    folder.mkdir(parents=True, exist_ok=True)
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


def end_tree(pid: int) -> None:
    """Kill a process and everything under it."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        tree = psutil.Process(pid)
        for member in [*tree.children(recursive=True), tree]:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.send_signal(signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def can_connect(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition, what: str, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.05)


ROOT = Path(__file__).resolve().parents[1]
__all__ = ["ROOT", "Sshd", "can_connect", "end_tree", "need", "sshd", "sys", "wait_for"]
