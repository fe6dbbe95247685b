"""The worker's command line: `run` does one spec, `probe` says what is here, `record` and `replay` make and read traces.

    python payload.pyz run --spec spec.json --out DIR [--guard]
    python payload.pyz probe
    python payload.pyz record --seconds 60 --out trace.jsonl
    python payload.pyz replay trace.jsonl

Exit codes: 0 done, 1 the run failed (result.json says why), 2 the arguments or the spec are wrong.
Nothing heavy is imported before the guard stands.
"""

from __future__ import annotations

import time

_ORIGIN = time.monotonic()  # the run's t = 0

import argparse  # noqa: E402 - the clock starts first
import hashlib  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import traceback  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from edgecarbon import __version__  # noqa: E402

from . import trace  # noqa: E402
from .errors import Interrupted, Kind, WorkerError  # noqa: E402
from .exclusive import take_machine  # noqa: E402
from .guard import Guard  # noqa: E402
from .progress import Progress  # noqa: E402
from .result import Outcome  # noqa: E402
from .spec import ValidationSpec, load, parse  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="payload.pyz", description="Trains on this device and measures its energy.")
    parser.add_argument("--version", action="version", version=f"edgecarbon {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="run|probe|record|replay")
    run = commands.add_parser("run", help="do one spec")
    run.add_argument("--spec", type=Path, required=True, help="the work order, JSON")
    run.add_argument("--out", type=Path, required=True, help="folder for result.json, steps.jsonl and samples.jsonl.gz")
    run.add_argument(
        "--guard", action="store_true", help="end, with the whole process group, when stdin reaches its end"
    )
    run.add_argument(
        "--silence", type=float, metavar="S", help="end also when nothing is read from stdin for S seconds"
    )
    run.add_argument(
        "--lock-wait", type=float, metavar="S", default=0.0, help="how long to wait for another run here, s"
    )
    probe = commands.add_parser("probe", help="print what is found on this device, JSON")
    probe.add_argument("--clock", action="store_true", help="then answer each line on stdin with the time")
    trace.add_commands(commands)
    options = parser.parse_args(arguments)
    if options.command == "probe":
        return _probe(clock=options.clock)
    if options.command in ("record", "replay"):
        return trace.main(options)
    if options.silence is not None and not options.guard:
        parser.error("--silence needs --guard")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return _complain(f"--out {options.out}: cannot be made: {error.strerror}")
    (options.out / "result.json").unlink(missing_ok=True)  # an older run's success must not stand for this one
    return _run(options)


def _probe(*, clock: bool) -> int:
    from .probe import probe

    print(json.dumps(probe(), indent=None if clock else 1, allow_nan=False), flush=True)
    if clock:
        for _ in sys.stdin:
            print(json.dumps({"unix_s": time.time()}), flush=True)
    return 0


def _run(options: argparse.Namespace) -> int:
    outcome, progress = Outcome(options.out, _ORIGIN), Progress(origin=_ORIGIN)
    guard = Guard(
        lambda kind, message: _fail(outcome, progress, kind, message),
        watch_stdin=options.guard,
        silence_s=options.silence,
        answer=lambda: progress.emit("alive"),
    )
    try:
        guard.start()
        _work(options, outcome, progress, guard)
        guard.done()
        outcome.finish()
        progress.emit("done", status="ok")
        return 0
    except WorkerError as error:
        guard.done()
        _fail(outcome, progress, error.kind, str(error), error.peer)
        return 2 if error.kind == "bad_spec" else 1
    except Interrupted as error:
        _fail(outcome, progress, error.kind, str(error))
        guard.done()
        guard.end_group()
        return 1
    except Exception:
        guard.done()
        _fail(outcome, progress, "internal", traceback.format_exc().strip())
        return 1


def _work(options: argparse.Namespace, outcome: Outcome, progress: Progress, guard: Guard) -> None:
    data = load(options.spec)
    _identify(outcome, data)
    spec = parse(data, options.spec.parent)
    take_machine(
        f"process {os.getpid()}, run {spec.run_id}",
        options.lock_wait,
        lambda holder: progress.note(f"waiting for the device, held by {holder}"),
    )
    guard.set_deadline(spec.deadline_s)
    own = own_sha256()
    if own is not None and spec.payload_sha256 not in (None, own):
        raise WorkerError(
            "bad_spec", f"spec: payload_sha256: expected {own}, this payload's, got {spec.payload_sha256}"
        )
    outcome.payload_sha256 = own or spec.payload_sha256
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        message = f"{error}: this needs torch and transformers: {sys.executable} -m pip install torch transformers"
        raise WorkerError("bad_spec", message) from error
    if isinstance(spec, ValidationSpec):
        from .validation import validate

        validate(spec, outcome, progress)
        return
    if spec.fleet is not None:
        from .pipeline.run import train_together

        train_together(spec, outcome, progress, options.spec.parent)
        return
    from .run import train

    train(spec, outcome, progress)


def _identify(outcome: Outcome, data: Any) -> None:
    """Take over what names the run, so that even a refused spec gets a result that the host can match to it."""
    if isinstance(data, dict):
        nonce, run_id = data.get("nonce"), data.get("run_id")
        outcome.nonce = nonce if isinstance(nonce, str) else None
        outcome.run_id = run_id if isinstance(run_id, str) else None


def own_sha256() -> str | None:
    """The SHA-256 of the zip that this code runs from, or None where it runs from plain files."""
    archive = getattr(globals().get("__loader__"), "archive", None)
    if archive is None:
        return None
    with open(archive, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fail(outcome: Outcome, progress: Progress, kind: Kind, message: str, peer: str | None = None) -> None:
    def told() -> None:
        progress.emit("done", status="failed")
        _complain(message)

    outcome.finish({"kind": kind, "message": message, **({} if peer is None else {"peer": peer})}, told)


def _complain(message: str) -> int:
    print(f"edgecarbon: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
