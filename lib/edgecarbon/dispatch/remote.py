"""A device at the other end of a link: stage by content, run under a guard, fetch with bounds, clean up.

On the device, under its `directory`:

    blobs/SHA256            payloads, tokens, wheels: each once, found again by content; unused ones go after 30 days
    attempts/NONCE/         one job: its spec, links to its inputs, what it writes; goes once the host has it all
    venv/                   what `setup_device_NAME` installs
"""

from __future__ import annotations

import secrets
import tempfile
import time
from pathlib import Path

from edgecarbon.dispatch import quoting
from edgecarbon.dispatch.base import RESULT_FILES, Job, Outcome
from edgecarbon.dispatch.process import END_S, Sinks, stream
from edgecarbon.dispatch.shell import HASH, Framed, Link, ask, fetch, file_sha256, send
from edgecarbon.errors import DeviceTrouble

KEEP_DAYS = 30
RETRY_S = 2.0
MOST_DIGITS = 20
"""Of a file's size, as a device tells it."""
BUSY = 75
"""Exit code of the shell guard when another's run on the device was waited for too long."""
GRACE_S = 15.0
"""How long a job may take to end on the device once it knows that its host is gone."""


class RemoteTransport:
    """Runs the payload, or the device's own trainer, over a link.

    Args:
        directory: folder on the device, absolute or under `~/`.
        python: command or path of a python there; None takes the one of `directory`/venv, else `python3`.
        command: the device's own trainer in place of the payload.
        silence_s: a link silent for so long counts as cut.
        wait_s: how long to try again when the link breaks while a job's result is to be fetched.
    """

    def __init__(
        self, link: Link, directory: str, python: str | None, command: list[str] | None, silence_s: float, wait_s: float
    ) -> None:
        self.link, self.directory, self.command = link, directory, command
        self.silence_s, self.wait_s = silence_s, wait_s
        self.folder = quoting.path(directory)
        self.python = quoting.path(python) if python else None
        self.sent_bytes = 0

    def lock_key(self) -> str:
        return self.link.name()

    def ask(self, script: str, timeout_s: float = 60.0) -> str:
        return ask(self.link, script, timeout_s=timeout_s)[0]

    def run(self, job: Job) -> Outcome:
        inputs = self._stage(job)
        frame = Framed(self._start_script(job, inputs))
        sinks = Sinks(job.out / "progress.jsonl", job.log, job.on_event)
        ended = stream(self.link.words(frame.script), sinks, job.deadline_s + job.wait_s + END_S, self.silence_s)
        closing = frame.split(ended.tail)
        if closing is not None and ended.stopped is None:
            said = ended.last_words() if closing[1] else ""
            reason = f"exit code {closing[1]}" + (f": {said}" if said else "")
        else:
            reason = ended.in_words()
            self.link.reset()
        try:
            self._fetch(job, self.wait_s)
        except DeviceTrouble as trouble:
            if trouble.kind == "refused":
                raise
            return Outcome(f"{reason}; {trouble}", lost=True)
        if self.command and closing and closing[1] == BUSY:
            raise DeviceTrouble("busy", f"{reason}.")
        return Outcome(reason, lost=closing is None and ended.stopped is None)

    def end(self, job: Job) -> None:
        self.ask(self._each_process(job, 'kill -KILL "${p#/proc/}"'))

    def recover(self, job: Job) -> None:
        self._fetch(job, wait_s=0.0)

    def probe_words(self, payload: Path) -> list[str]:
        place = self.store([payload])[payload]
        return self.link.words(f"exec {self.python_word()} {place} probe --clock")

    def guarded(self, command: list[str], deadline_s: float, sinks: Sinks) -> int | None:
        """Run a command on the device, which ends there when this host does.

        Returns:
            its exit code; None where the link broke or this host ended it.
        """
        folder = f"{self.folder}/attempts/{secrets.token_hex(8)}"
        frame = Framed(
            f"umask 077; mkdir -p {folder} && cd {folder} || exit 1; "
            + under_guard(command, deadline_s, self.silence_s, self.wait_s)
        )
        ended = stream(self.link.words(frame.script), sinks, deadline_s + END_S, self.silence_s)
        self.ask(f"rm -rf {folder}")
        closing = frame.split(ended.tail)
        return None if closing is None or ended.stopped else closing[1]

    def python_word(self) -> str:
        """The python to use there, as shell text, which is evaluated on the device."""
        if self.python:
            return self.python
        return f'"$(if [ -x {self.folder}/venv/bin/python ]; then echo {self.folder}/venv/bin/python; else echo python3; fi)"'

    def store(self, sources: list[Path]) -> dict[Path, str]:
        """See that each file is among the device's blobs, and send those that are not.

        Returns:
            each file's place there, as a word of a shell command.
        """
        hashes = {source: file_sha256(source) for source in sources}
        said, _ = self._checked(
            f"umask 077; {HASH}; mkdir -p {self.folder}/blobs {self.folder}/attempts && cd {self.folder} || exit 1; "
            f"find blobs -type f -mtime +{KEEP_DAYS} -exec rm -f {{}} + 2>/dev/null; "
            f"for f in {' '.join(hashes.values())}; do "
            '[ -f "blobs/$f" ] && [ "$(hash "blobs/$f")" = "$f" ] && touch "blobs/$f" && echo "$f"; done; :'
        )
        there = set(said.split())
        for source, sha256 in hashes.items():
            if sha256 not in there:
                send(self.link, source, f"{self.folder}/blobs/{sha256}", sha256)
                self.sent_bytes += source.stat().st_size
        return {source: f"{self.folder}/blobs/{sha256}" for source, sha256 in hashes.items()}

    def _stage(self, job: Job) -> dict[str, str]:
        """Everything that the job needs, on the device. Returns the place of each input, and of the payload."""
        own = {} if self.command else {"payload.pyz": job.payload}
        places = self.store([*own.values(), *job.inputs.values()])
        self._checked(f"mkdir -m 700 {self._attempt(job)}")
        spec = job.out / "spec.json"
        send(self.link, spec, f"{self._attempt(job)}/spec.json", file_sha256(spec))
        self.sent_bytes += spec.stat().st_size
        self._send_private(job)
        return {name: places[source] for name, source in {**own, **job.inputs}.items()}

    def _send_private(self, job: Job) -> None:
        """Into the attempt's folder, which nobody else may read, and which goes with the job."""
        with tempfile.TemporaryDirectory() as folder:
            for name, content in job.private.items():
                path = Path(folder) / name
                path.write_bytes(content)
                send(self.link, path, f"{self._attempt(job)}/{name}", file_sha256(path))

    def _start_script(self, job: Job, inputs: dict[str, str]) -> str:
        # Where a file system knows no links, as on a phone's shared storage, a copy does.
        links = "".join(f" && {{ ln -s {place} {name} || cp {place} {name}; }}" for name, place in inputs.items())
        begin = f"umask 077; cd {self._attempt(job)}{links} || exit 1; "
        if self.command is None:
            return begin + (
                f"exec {self.python_word()} payload.pyz run --spec spec.json --out . --guard"
                f" --silence {self.silence_s:g} --lock-wait {job.wait_s:g}"
            )
        words = [text.replace("{spec}", "spec.json").replace("{out}", ".") for text in self.command]
        return begin + under_guard(words, job.deadline_s, self.silence_s, job.wait_s)

    def _fetch(self, job: Job, wait_s: float) -> bool:
        """Bring back what the job wrote, trying again while the link is broken, and then clear up there.

        Returns:
            whether there was a result. Without one, a job that may still be running is waited for first.
        """
        now = time.monotonic()
        give_up, ended_by = now + wait_s, now + self.silence_s + GRACE_S
        while True:
            try:
                present = self._fetch_files(job)
                if present or time.monotonic() >= ended_by or not self._running(job):
                    self._checked(f"rm -rf {self._attempt(job)}")
                    return present
            except DeviceTrouble as trouble:
                if trouble.kind == "refused":
                    self.ask(f"rm -rf {self._attempt(job)}")
                    raise
                if time.monotonic() >= give_up:
                    raise
            time.sleep(RETRY_S)

    def _running(self, job: Job) -> bool:
        """Whether the job's folder is still some process's working directory; where that cannot be told, yes."""
        return "yes" in self.ask(self._each_process(job, "echo yes && break", otherwise="echo yes"))

    def _each_process(self, job: Job, action: str, otherwise: str = ":") -> str:
        """A script that does something with each `$p` (/proc/PID) that works in the job's folder."""
        # The asking shell itself stays outside of the folder, so as not to find itself.
        return (
            f"here=$(cd {self._attempt(job)} 2>/dev/null && pwd -P) || exit 0; [ -d /proc/self ] || {{ {otherwise}; exit; }}; "
            f'for p in /proc/[0-9]*; do [ "$(readlink "$p/cwd" 2>/dev/null)" = "$here" ] && {action}; done; :'
        )

    def _fetch_files(self, job: Job) -> bool:
        said = self.ask(
            f"{HASH}; cd {self._attempt(job)} 2>/dev/null || exit 0; [ -f result.json ] || exit 0; "
            f"for f in {' '.join(RESULT_FILES)}; do [ -f $f ] && echo $f $(wc -c < $f) $(hash $f); done; :"
        )
        announced = self._announced(said)
        # The result last: its presence says that all else is there.
        for name in sorted(announced, key=lambda name: name == "result.json"):
            size, sha256 = announced[name]
            fetch(self.link, f"{self._attempt(job)}/{name}", job.out / name, size, sha256)
        return "result.json" in announced

    def _announced(self, said: str) -> dict[str, tuple[int, str]]:
        found = {}
        for line in said.splitlines():
            name, size, sha256 = (*line.split(), "", "", "")[:3]
            if name in RESULT_FILES and size.isdecimal() and len(size) < MOST_DIGITS:
                if int(size) > RESULT_FILES[name]:
                    raise DeviceTrouble(
                        "refused",
                        f"{self.link.name()}: {name} has {size} bytes, more than the {RESULT_FILES[name]} allowed.",
                    )
                found[name] = (int(size), sha256)
        return found

    def _attempt(self, job: Job) -> str:
        return f"{self.folder}/attempts/{job.key}"

    def _checked(self, script: str) -> tuple[str, int]:
        said, code = ask(self.link, script)
        if code:
            raise DeviceTrouble(
                "unfit", f"{self.link.name()}: its folder {self.folder} cannot be used: {' '.join(said.split())[-500:]}.",
                "Give another `directory` in the device's entry, or free disk.",
            )  # fmt: skip
        return said, code


def under_guard(command: list[str], deadline_s: float, silence_s: float, wait_s: float) -> str:
    """Shell text that runs a command under a guard of plain shell, in the present folder."""
    guard = Path(__file__).with_name("guard.sh").read_text(encoding="utf-8")
    settings = f"deadline={deadline_s:.0f} silence={silence_s:.0f} patience={wait_s:.0f}"
    return f"{settings}; set -- {' '.join(map(quoting.word, command))}\n{guard}"
