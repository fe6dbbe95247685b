"""Virtual hosts on this machine, for trying things without devices: started and ended with whoever holds the handle.

The stand itself (`stand.py`) runs in a process namespace of its own, whose end takes everything in it along: daemons, jobs,
networks, limits. It ends with its standard input, so also when the one who started it is killed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgecarbon.errors import UserError

START_S = 90.0
STOP_S = 15.0
_SYSTEM_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
# What the stand needs, and the Debian package that has it.
_TOOLS = {"unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2", "tc": "iproute2", "sshd": "openssh-server",
          "ssh-keygen": "openssh-client"}  # fmt: skip


class VirtualFleet:
    """A running stand. Its hosts are reached as `folder`/ssh_config and `folder`/adb.json say."""

    def __init__(self, process: subprocess.Popen[str], hosts: dict[str, str]) -> None:
        self._process = process
        self.hosts = hosts
        """Address of each host in the stand's network."""

    def stop(self) -> None:
        """End the stand and everything in it; returns when nothing of it is left."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def start(hosts: Mapping[str, Mapping[str, Any]], folder: Path, project: Path = Path()) -> VirtualFleet:
    """Start virtual hosts, and return when each of them accepts connections.

    Args:
        hosts: by name, `transport` (ssh or adb), `cpu_percent`, `up_mbyte_per_s` and `down_mbyte_per_s`.
        folder: receives what clients need; relative to the working folder, made here and gone at the end.
        project: where `.cache/adbd` may be.

    Raises:
        UserError: a tool is missing, namespaces are not allowed, or a host did not start.
    """
    path = _need(hosts, project)
    folder.mkdir(parents=True, exist_ok=True)
    order = {"folder": str(folder), "hosts": {name: dict(facts) for name, facts in hosts.items()}, "adbd": path}
    root = [] if os.getuid() == 0 else ["--user", "--map-root-user"]
    namespaces = ["unshare", *root, "--net", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]
    process = subprocess.Popen(
        [*namespaces, sys.executable, "-m", "edgecarbon.fleet.stand"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PATH": _SYSTEM_PATH, "EDGECARBON_UID": str(os.getuid()), "EDGECARBON_GID": str(os.getgid())},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    timer = threading.Timer(START_S, process.kill)
    timer.start()
    try:
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline() or "{}")
    except (OSError, ValueError):
        answer = {}
    finally:
        timer.cancel()
    if "hosts" not in answer:
        raise UserError(_why_not(process, answer))
    return VirtualFleet(process, answer["hosts"])


def _need(hosts: Mapping[str, Mapping[str, Any]], project: Path) -> str | None:
    """The path of adbd, where a host needs one. Raises UserError for a tool that is not there."""
    if sys.platform != "linux":
        raise UserError("virtual hosts need Linux: they are made of its namespaces.")
    tools = dict(_TOOLS)
    phones = [name for name, facts in hosts.items() if facts["transport"] == "adb"]
    if phones:
        tools["adb"] = "adb"
    for tool, package in tools.items():
        if shutil.which(tool, path=_SYSTEM_PATH) is None:
            raise UserError(f"virtual hosts need {tool}, which was not found: sudo apt-get install {package}")
    unpacked = (project / ".cache/adbd/adbd").resolve()
    adbd = shutil.which("adbd", path=_SYSTEM_PATH) or (str(unpacked) if unpacked.exists() else None)
    if phones and adbd is None:
        raise UserError(
            f"the virtual phone {phones[0]} needs adbd, which was not found: sudo apt-get install adbd, or where there is "
            "no such package: tools/adbd"
        )
    return adbd


def _why_not(process: subprocess.Popen[str], answer: dict[str, Any]) -> str:
    process.kill()
    said = (
        answer.get("error")
        or " ".join((process.communicate()[1] or "").split())[-600:]
        or f"no word in {START_S:.0f} s"
    )
    hint = ""
    if "unshare" in said or "not permitted" in said.lower():
        hint = (
            " Namespaces are not allowed here: run as root, or allow them: sudo sysctl kernel.unprivileged_userns_clone=1 "
            "kernel.apparmor_restrict_unprivileged_userns=0"
        )
    return f"the virtual hosts did not start: {said}.{hint}"
