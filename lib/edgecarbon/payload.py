"""The zipapp that travels to devices: the worker and the meters, and nothing else of the project."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

PACKAGE = Path(__file__).parent
ROOMS = ("worker", "meters")
_TIME = (1980, 1, 1, 0, 0, 0)
# In syntax that any Python 3 parses, so that an old one says what is wrong.
_MAIN = """import sys

if sys.version_info < (3, 11):
    sys.stderr.write("edgecarbon needs Python 3.11 or later; this is %d.%d: %s\\n" % (sys.version_info[:2] + (sys.executable,)))
    sys.exit(2)

from edgecarbon.worker.__main__ import main

sys.exit(main())
"""


def build_payload(path: Path) -> str:
    """Write the payload: the same bytes for the same sources, whoever builds it and when.

    Returns:
        its SHA-256.
    """
    sources = [PACKAGE / "__init__.py", *(file for room in ROOMS for file in (PACKAGE / room).rglob("*.py"))]
    files = {f"edgecarbon/{source.relative_to(PACKAGE).as_posix()}": source.read_bytes() for source in sources}
    files["__main__.py"] = _MAIN.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, files[name], zipfile.ZIP_DEFLATED, 9)
    partial.replace(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()
