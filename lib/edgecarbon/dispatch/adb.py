"""The `adb` command line: phones by USB or by network, inside Termux or as adb's own user."""

from __future__ import annotations

import contextlib
import subprocess

from edgecarbon.dispatch import quoting
from edgecarbon.dispatch.process import Ended
from edgecarbon.errors import DeviceTrouble

CONNECT_S = 15

TERMUX = "/data/data/com.termux/files"
_TERMUX_ENVIRONMENT = (
    f"HOME={TERMUX}/home PREFIX={TERMUX}/usr PATH={TERMUX}/usr/bin TMPDIR={TERMUX}/usr/tmp LANG=en_US.UTF-8 "
    f"LD_PRELOAD={TERMUX}/usr/lib/libtermux-exec.so"
)

_REMEDIES = {
    "unauthorized": "Unlock the phone and accept this computer's key.",
    "offline": "Plug it in again, or `adb reconnect offline`.",
    "not found": "Plug it in or `adb connect` it; `adb devices` must show it as `device`.",
    "no devices": "Plug it in or `adb connect` it; `adb devices` must show it as `device`.",
    "run-as": "Termux must be its debuggable build, from the project's own releases; or use Termux's sshd as an ssh device.",
    "cannot connect to daemon": "Start adb's server with `adb start-server`.",
}


class AdbLink:
    """Runs scripts through `adb shell`.

    Args:
        serial: as `adb devices` shows it.
        termux: run inside the Termux app rather than as adb's own user.
        environment: of the adb command on this host.
        temporary: a temporary folder there, in place of the one that adbd names, for a host that is not a phone.
    """

    def __init__(
        self, serial: str, termux: bool, environment: dict[str, str] | None = None, temporary: str | None = None
    ) -> None:
        self.serial, self.termux, self._temporary = serial, termux, temporary
        self._prefix = ["env", *(f"{key}={value}" for key, value in (environment or {}).items())] if environment else []

    def name(self) -> str:
        return self.serial

    def words(self, script: str) -> list[str]:
        if self.termux:
            inner = f"exec env {_TERMUX_ENVIRONMENT} {TERMUX}/usr/bin/sh -c {quoting.word(script)}"
            script = f"exec run-as com.termux sh -c {quoting.word(inner)}"
        elif self._temporary:
            script = f"export TMPDIR={quoting.word(self._temporary)}; {script}"
        # -T: no terminal, so that bytes pass unchanged. One word, because adb joins its words with blanks.
        return [*self._prefix, "adb", "-s", self.serial, "shell", "-T", script]

    def trouble(self, ended: Ended) -> DeviceTrouble:
        said = ended.stopped or ended.last_words() or f"adb ended with exit code {ended.returncode}, and said nothing"
        remedy = next((text for sign, text in _REMEDIES.items() if sign in said.lower()), "Try `adb devices`.")
        return DeviceTrouble("unreachable", f"{self.serial}: {said.rstrip('.')}.", remedy)

    def stale(self, ended: Ended) -> bool:
        return False

    def reset(self) -> None:
        """A device in the network is connected anew; one on USB comes back by itself."""
        if ":" in self.serial:
            for verb in ("disconnect", "connect"):
                with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                    subprocess.run(
                        [*self._prefix, "adb", verb, self.serial], stdin=subprocess.DEVNULL, capture_output=True,
                        timeout=CONNECT_S, check=False,
                    )  # fmt: skip
