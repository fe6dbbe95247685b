"""A Hugging Face hub on this machine, for tests: it serves a folder to the real clients over HTTP.

The folder holds `ORGANISATION/NAME/FILE` for models and `datasets/ORGANISATION/NAME/FILE` for data sets.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def local_hub(folder: Path) -> Iterator[str]:
    """Serve `folder`; the value is the address to give as HF_ENDPOINT."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(*_find(folder, self.path))

        do_GET = do_HEAD

        def log_message(self, *arguments: object) -> None:
            pass

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), "X-Repo-Commit": COMMIT, **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _find(folder: Path, address: str) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers for one address."""
    path = address.split("?")[0].strip("/")
    if "/resolve/" in path:
        repository, rest = path.split("/resolve/")
        file = folder / repository / rest.split("/", 1)[1]
        if file.is_file():
            body = file.read_bytes()
            return 200, body, {"ETag": f'"{hashlib.sha256(body).hexdigest()}"'}
        known = (folder / repository).is_dir()
        return 404, b"", {"X-Error-Code": "EntryNotFound" if known else "RepoNotFound"}
    for marker in ("/revision/", "/tree/"):
        if path.startswith("api/") and marker in path:
            repository, rest = path.removeprefix("api/").removeprefix("models/").split(marker)
            root = folder / repository
            if marker == "/revision/" and root.is_dir():
                return 200, json.dumps(_summary(root, repository)).encode(), {}
            if marker == "/tree/" and (root / rest.partition("/")[2]).is_dir():
                return 200, json.dumps(_entries(root, rest.partition("/")[2])).encode(), {}
            if root.is_dir():
                return 404, b"{}", {"X-Error-Code": "EntryNotFound"}
    return 404, b"{}", {"X-Error-Code": "RepoNotFound"}


def _summary(root: Path, repository: str) -> object:
    """What the hub tells of a whole repository."""
    files = [file.relative_to(root).as_posix() for file in sorted(root.rglob("*")) if file.is_file()]
    siblings = [{"rfilename": file} for file in files]
    return {"id": repository.removeprefix("datasets/"), "sha": COMMIT, "siblings": siblings}


def _entries(root: Path, under: str) -> object:
    """What the hub tells of one folder of a repository."""
    return [
        {
            "type": "directory" if entry.is_dir() else "file",
            "path": entry.relative_to(root).as_posix(),
            "size": entry.stat().st_size,
            "oid": hashlib.sha1(entry.name.encode()).hexdigest(),
        }
        for entry in sorted((root / under).iterdir())
    ]
