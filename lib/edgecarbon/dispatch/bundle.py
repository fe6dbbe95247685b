"""A machine that cannot be reached: its runs travel there and back as files, by hand.

A bundle is one zip with the payload, the spec and the inputs. Plain python runs it, and it leaves a result zip beside
itself; put into the inbox, that is taken up at the next start.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from edgecarbon.dispatch.base import RESULT_FILES, Job, Outcome
from edgecarbon.errors import DeviceTrouble

MAXIMUM_KEY_BYTES = 64


class BundleTransport:
    """Writes bundles, and looks for their results.

    Args:
        name: the device's.
        inbox: where the user puts the result files.
        bundles: where the bundles are written.
    """

    def __init__(self, name: str, inbox: Path, bundles: Path) -> None:
        self.name, self.inbox, self.bundles = name, inbox, bundles
        self.directory = str(bundles)

    def lock_key(self) -> str:
        return f"bundle-{self.name}"

    def ask(self, script: str, timeout_s: float = 60.0) -> None:
        return None

    def run(self, job: Job) -> Outcome:
        bundle = self._bundle(job)
        bundle.parent.mkdir(parents=True, exist_ok=True)
        partial = bundle.with_suffix(".partial")
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            main = Path(__file__).with_name("bundle_main.py").read_text(encoding="utf-8")
            archive.writestr("__main__.py", main)
            archive.writestr("key", job.key)
            for name, source in {"payload.pyz": job.payload, "spec.json": job.out / "spec.json", **job.inputs}.items():
                archive.write(source, f"job/{name}")
        partial.replace(bundle)
        raise self._waiting(bundle)

    def end(self, job: Job) -> None:
        pass  # nothing runs that could be reached

    def recover(self, job: Job) -> None:
        for path in sorted(self.inbox.glob("*.zip")):
            try:
                with zipfile.ZipFile(path) as archive:
                    if _member(archive, "key", MAXIMUM_KEY_BYTES).decode(errors="replace").strip() == job.key:
                        self._take(archive, path, job)
                        self._bundle(job).unlink(missing_ok=True)
                        return
            except (OSError, KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
                continue  # not one of ours, or not whole yet
        if self._bundle(job).exists():
            raise self._waiting(self._bundle(job))

    def probe_words(self, payload: Path) -> None:
        return None

    def _take(self, archive: zipfile.ZipFile, path: Path, job: Job) -> None:
        """Only the names that a result has, so that no path in the archive leads anywhere; the result last."""
        names = [name for name in RESULT_FILES if name in archive.namelist()]
        for name in sorted(names, key=lambda name: name == "result.json"):
            size = archive.getinfo(name).file_size
            if size > RESULT_FILES[name]:
                raise DeviceTrouble("refused", f"{path}: {name} has {size} bytes, more than {RESULT_FILES[name]}.")
            partial = job.out / f".{name}.partial"
            with archive.open(name) as source, partial.open("wb") as target:
                while piece := source.read(2**20):
                    target.write(piece)
            partial.replace(job.out / name)

    def _bundle(self, job: Job) -> Path:
        return self.bundles / self.name / f"{job.label}--{job.key[:8]}.zip"

    def _waiting(self, bundle: Path) -> DeviceTrouble:
        return DeviceTrouble(
            "waiting", f"{bundle} is ready, and its result is not in {self.inbox} yet.",
            f"Copy it to {self.name}, run `python3 {bundle.name}` there, put the result zip into {self.inbox}/, start again.",
        )  # fmt: skip


def _member(archive: zipfile.ZipFile, name: str, limit_bytes: int) -> bytes:
    with archive.open(name) as member:
        return member.read(limit_bytes)
