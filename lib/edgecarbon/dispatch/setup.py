"""Install on a device what the worker needs: a virtual environment with torch, transformers and nvidia-ml-py.

It lies in the device's folder of this project. Packages come from the index that pip on the device uses, or as wheels
which this host fetches for that device's python and platform and sends, each once.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgecarbon.dispatch import open_transport, quoting
from edgecarbon.dispatch.process import Sinks
from edgecarbon.dispatch.remote import RemoteTransport
from edgecarbon.errors import DeviceTrouble, UserError

INSTALL_S = 3600.0
PACKAGES = ("torch", "transformers", "nvidia-ml-py")
"""The last reads an NVIDIA GPU's meter; it is small, pure Python, and harmless where there is no GPU."""
OLDEST = (3, 11)

# One line of JSON about the python that is there, in syntax that any Python 3 parses.
_ABOUT = (
    "import json,sys;print(json.dumps({'version':list(sys.version_info[:2]),'base':getattr(sys,'base_prefix','')}))"
)
# The tags of the wheels that pip there would take, newest first.
_TAGS = "from pip._vendor.packaging.tags import sys_tags as t;print(' '.join(dict.fromkeys(x.platform for x in t())))"


def setup_device(name: str, device: Mapping[str, Any], wheels: Path, log: Path, tell: Callable[[str], None]) -> None:
    """Make the environment on a device, or bring it up to date.

    Args:
        device: its validated entry.
        wheels: folder of this host for wheels that are sent.
        log: receives what pip says.
        tell: hears of each step.

    Raises:
        UserError: the device cannot be set up from here; with the command that mends it.
    """
    if device["transport"] not in ("ssh", "adb"):
        raise UserError(
            f"devices.{name}: transport: {device['transport']}: nothing to set up from here; "
            "install torch and transformers for its python yourself."
        )
    transport = open_transport(name, device)
    assert isinstance(transport, RemoteTransport)
    _Setup(name, device, transport, wheels, log, tell).run()


class _Setup:
    def __init__(
        self, name: str, device: Mapping[str, Any], transport: RemoteTransport, wheels: Path, log: Path,
        tell: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.name, self.transport, self.wheels, self.log, self.tell = name, transport, wheels, log, tell
        self.options: list[str] = device["setup"]["pip_options"]
        self.source: str = device["setup"]["source"]
        self.base = quoting.path(device["python"]) if device["python"] else "python3"
        self.python = f"{transport.folder}/venv/bin/python"
        # The versions that this host runs: what is measured side by side should be the same code.
        self.packages = [f"{package}=={version(package).partition('+')[0]}" for package in PACKAGES]

    def run(self) -> None:
        about = self._about_python()
        self._make_environment()
        self._install(about)
        said = self.transport.ask(
            f"{self.python} -c 'import torch, transformers, pynvml; print(torch.__version__)'", 300
        )
        self.tell(f"{self.name}: ready: torch {said.strip()} in {self.transport.directory}/venv")

    def _about_python(self) -> dict[str, Any]:
        said = self.transport.ask(f"{self.base} -c {quoting.word(_ABOUT)}")
        try:
            about: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
            found = tuple(about["version"])
        except (ValueError, KeyError, IndexError, TypeError):
            raise UserError(
                f"devices.{self.name}: no python there ({' '.join(said.split())[-300:]}). Install it, on Debian or Ubuntu "
                "`sudo apt-get install python3 python3-venv`, on macOS `brew install python`, in Termux `pkg install "
                "python`, or give its path as `python`."
            ) from None
        if found < OLDEST:
            raise UserError(
                f"devices.{self.name}: its python is {found[0]}.{found[1]}; the worker needs {OLDEST[0]}.{OLDEST[1]} or later. "
                "Install a later one and give its path as `python`."
            )
        self.tell(f"{self.name}: python {found[0]}.{found[1]}")
        return about

    def _make_environment(self) -> None:
        # In Termux torch is a package of its own, which the environment must see.
        flags = "--system-site-packages" if "com.termux" in self.transport.ask('echo "$PREFIX"') else ""
        folder = self.transport.folder
        script = (
            f"mkdir -p {folder} && cd {folder} && {{ [ -x venv/bin/pip ] || {self.base} -m venv --clear {flags} venv; }} "
            "&& [ -x venv/bin/pip ] && echo made"
        )
        said = self.transport.ask(script, 300)
        if "made" not in said:
            raise UserError(
                f"devices.{self.name}: its python cannot make a virtual environment ({' '.join(said.split())[-300:]}). "
                "On Debian or Ubuntu: `sudo apt-get install python3-venv` there."
            )

    def _install(self, about: dict[str, Any]) -> None:
        if self.source in ("auto", "index"):
            self.tell(f"{self.name}: installing {' '.join(self.packages)} from the package index")
            code = self._pip([*self.options, *self.packages])
            if code == 0:
                return
            if self.source == "index" or code is None:
                raise self._failed("the package index", code)
            self.tell(f"{self.name}: that did not work; sending wheels from this host instead")
        places = self.transport.store(self._fetch_wheels(about))
        script = "mkdir wheels; " + "; ".join(
            f"ln -s {place} wheels/{quoting.word(source.name)}" for source, place in places.items()
        )
        self.tell(f"{self.name}: installing from {len(places)} wheels, {self.transport.sent_bytes / 1e6:.0f} MB sent")
        code = self._pip(["--no-index", "--find-links", "wheels", *self.packages], script)
        if code != 0:
            raise self._failed("wheels", code)

    def _pip(self, arguments: list[str], before: str = ":") -> int | None:
        words = " ".join(map(quoting.word, ["install", "--disable-pip-version-check", "--quiet", *arguments]))
        script = f"{before}; exec {self.python} -m pip {words}"
        sinks = Sinks(self.log, self.log, lambda event: None)
        return self.transport.guarded(["sh", "-c", script], INSTALL_S, sinks)

    def _fetch_wheels(self, about: dict[str, Any]) -> list[Path]:
        """Wheels for the device's python and platform, with all that they need, in a folder of their own."""
        tags = self.transport.ask(f"{self.python} -c {quoting.word(_TAGS)}").split()
        number = "{}.{}".format(*about["version"])
        folder = self.wheels / f"{tags[0] if tags else 'any'}-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        platforms = [word for tag in tags for word in ("--platform", tag)]
        command = [
            sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet", "--dest", str(folder),
            "--only-binary=:all:", "--python-version", number, *platforms, *self.options, *self.packages,
        ]  # fmt: skip
        self.tell(f"{self.name}: fetching wheels for python {number} on {tags[0] if tags else 'any'}")
        with self.log.open("ab") as log:
            ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
        if ended.returncode:
            raise UserError(
                f"devices.{self.name}: this host could not fetch wheels of {' '.join(self.packages)} for python {number} on "
                f"{tags[0] if tags else 'an unknown platform'}; pip's words are in {self.log}."
            )
        return sorted(folder.glob("*.whl"))

    def _failed(self, source: str, code: int | None) -> DeviceTrouble:
        why = "the link broke" if code is None else f"pip ended with exit code {code}"
        return DeviceTrouble(
            "failed", f"devices.{self.name}: installing from {source}: {why}; its words are in {self.log}."
        )
