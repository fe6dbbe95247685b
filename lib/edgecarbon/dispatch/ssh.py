"""OpenSSH's own command line: the user's configuration, agent, jump hosts and known hosts just work."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from edgecarbon.dispatch import quoting
from edgecarbon.dispatch.process import Ended
from edgecarbon.errors import DeviceTrouble

CONNECT_S = 15
PERSIST_S = 5
"""How long a connection stays for the next command, s."""

# What ssh says, and what mends it.
_REMEDIES = {
    "host key verification failed": "Its key is not known: run `{command}` once by hand and compare the fingerprint.",
    "host identification has changed": "Its key has changed: find out why; then `ssh-keygen -R` takes out the old one.",
    "permission denied": "Set up a key that needs no typing, `ssh-copy-id`, and try `{command}` by hand.",
    "could not resolve": "Mend `host` in the device's entry, or give it a name in ~/.ssh/config.",
    "connection refused": "Nothing listens there: start sshd on the device (macOS: Remote Login).",
    "timed out": "Switch it on, wake it, or bring it into the network.",
    "no route to host": "Switch it on, wake it, or bring it into the network.",
}


class SshLink:
    """Runs scripts through `ssh`, over one shared connection.

    Args:
        host: what one would type after `ssh`.
        config: ssh configuration file, in place of the user's.
        silence_s: how long the connection may be silent before ssh gives it up.
    """

    def __init__(self, host: str, config: str | None, silence_s: float) -> None:
        self.host = host
        self._choice = ["-F", config] if config else []
        alive_s = max(1, round(silence_s / 3))
        # Given here, these win over the user's configuration.
        self._options = [
            "-T", "-oBatchMode=yes", "-oStrictHostKeyChecking=yes", f"-oConnectTimeout={CONNECT_S}",
            f"-oServerAliveInterval={alive_s}", "-oServerAliveCountMax=3", "-oLogLevel=ERROR", "-oRemoteCommand=none",
            "-oForwardAgent=no", "-oForwardX11=no", "-oPermitLocalCommand=no",
        ]  # fmt: skip
        self._shared: list[str] | None = None

    def name(self) -> str:
        return self.host

    def words(self, script: str) -> list[str]:
        remote = f"exec sh -c {quoting.word(script)}"
        return ["ssh", *self._choice, *self._options, *self._sharing(), "--", self.host, remote]

    def trouble(self, ended: Ended) -> DeviceTrouble:
        said = ended.stopped or ended.last_words() or f"ssh ended with exit code {ended.returncode}, and said nothing"
        command = " ".join(["ssh", *self._choice, self.host])
        remedy = next((text for sign, text in _REMEDIES.items() if sign in said.lower()), "Try `{command}` by hand.")
        return DeviceTrouble("unreachable", f"{self.host}: {said.rstrip('.')}.", remedy.format(command=command))

    def stale(self, ended: Ended) -> bool:
        # A shared connection ends some seconds after its last use; who comes in that moment finds its socket, and nobody.
        return "mux_client" in ended.last_words()

    def reset(self) -> None:
        if self._sharing():
            words = ["ssh", *self._choice, *self._sharing(), "-O", "exit", "--", self.host]
            subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=CONNECT_S, check=False)

    def _sharing(self) -> list[str]:
        """Options for one connection that all commands share; none where the user's configuration has its own."""
        if self._shared is None:
            words = ["ssh", *self._choice, "-G", "--", self.host]
            told = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False).stdout
            settings = dict(line.partition(" ")[::2] for line in told.splitlines())
            own = settings.get("controlpath", "none") == "none"
            folder = _private_folder() if own else None
            self._shared = (
                ["-oControlMaster=auto", f"-oControlPath={folder}/%C", f"-oControlPersist={PERSIST_S}"]
                if folder
                else []
            )
        return self._shared


def _private_folder() -> str | None:
    """A folder of this user's with a short path, as a socket's path may have 104 characters; None where there is none."""
    path = Path(tempfile.gettempdir()) / f"edgecarbon-ssh-{os.getuid()}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        facts = path.lstat()
    except OSError:
        return None
    mine = facts.st_uid == os.getuid() and facts.st_mode & 0o777 == 0o700 and path.is_dir() and not path.is_symlink()
    return str(path) if mine and len(str(path)) < 40 else None
