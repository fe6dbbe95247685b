"""How devices are reached, and who may use one at a time."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgecarbon.dispatch.base import Job, Outcome, Transport
from edgecarbon.dispatch.lock import device_lock
from edgecarbon.dispatch.process import ASKED_S
from edgecarbon.errors import DeviceTrouble

__all__ = ["ASKED_S", "FLEET", "Job", "Outcome", "Transport", "device_lock", "open_transport"]

FLEET = Path(".fleet")
"""Where the stand of virtual hosts tells how they are reached, while it runs."""
BUNDLES = Path("results/bundles")


def open_transport(name: str, device: Mapping[str, Any]) -> Transport:
    """The transport that a device's validated config entry asks for.

    Takes plain data, and each transport is imported only where it is used: sixteen of these processes may run at once.
    """
    match device["transport"]:
        case "local":
            from edgecarbon.dispatch.local import LocalTransport

            return LocalTransport(device["python"])
        case "bundle":
            from edgecarbon.dispatch.bundle import BundleTransport

            return BundleTransport(name, Path(device["inbox"]), BUNDLES)
        case "ssh" | "adb":
            from edgecarbon.dispatch.remote import RemoteTransport

            virtual, limits = device["virtual"] is not None, device["limits"]
            link, directory = _ssh(name, device) if device["transport"] == "ssh" else _adb(name, device)
            return RemoteTransport(
                link,
                directory=str(FLEET.absolute() / name) if virtual else device["directory"] or directory,
                python=device["python"] or (sys.executable if virtual else None),
                command=device["command"],
                silence_s=limits["silence_s"],
                wait_s=limits["wait_s"],
            )
    raise ValueError(f"no such transport: {device['transport']}")


def _ssh(name: str, device: Mapping[str, Any]) -> tuple[Any, str]:
    from edgecarbon.dispatch.ssh import SshLink

    silence_s = device["limits"]["silence_s"]
    if device["virtual"] is not None:
        return SshLink(name, str(FLEET / "ssh_config"), silence_s), ""
    return SshLink(device["host"], device["ssh_config"], silence_s), "~/.cache/edgecarbon"


def _adb(name: str, device: Mapping[str, Any]) -> tuple[Any, str]:
    from edgecarbon.dispatch.adb import AdbLink

    if device["virtual"] is not None:
        stand = _stand(name)
        temporary = str(FLEET.absolute() / name / "tmp")
        return AdbLink(stand["serials"][name], False, stand["environment"], temporary), ""
    if device["shell"] == "plain":
        return AdbLink(device["serial"], termux=False), "/data/local/tmp/edgecarbon"
    return AdbLink(device["serial"], termux=True), "~/.cache/edgecarbon"


def _stand(name: str) -> Any:
    try:
        return json.loads((FLEET / "adb.json").read_text(encoding="utf-8"))
    except OSError:
        raise DeviceTrouble("unreachable", f"{name}: the virtual hosts do not run.") from None
