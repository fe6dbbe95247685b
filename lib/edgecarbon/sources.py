"""Which source files a script is made of, so that a rule reruns when one of them is edited, and only then."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(edgecarbon[\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)|import[ \t]+(edgecarbon[\w.]*))",
    re.MULTILINE,
)


def sources_of(script: str | Path) -> list[str]:
    """A script and every module of this package that it imports, directly or not, as paths from the project's root.

    Text is scanned rather than imported: this runs at every start of Snakemake, and must stay fast.
    """
    pending = [Path(script).resolve()]
    found: set[Path] = set()
    while pending:
        path = pending.pop()
        if path not in found:
            found.add(path)
            pending += _imports(path)
    root = PACKAGE.parent.parent
    return sorted(str(path.relative_to(root)) for path in found)


def package_files(folder: str, pattern: str = "*.*") -> list[str]:
    """Files of this package that a script reads or packs rather than imports, as paths from the project's root."""
    root = PACKAGE.parent.parent
    return sorted(str(path.relative_to(root)) for path in (PACKAGE / folder).glob(pattern) if path.is_file())


@cache
def _imports(path: Path) -> tuple[Path, ...]:
    modules: set[str] = set()
    for origin, names, plain in _IMPORT.findall(path.read_text(encoding="utf-8")):
        modules.add(origin or plain)
        modules |= {f"{origin}.{name}" for name in re.findall(r"\w+", names)} if origin else set()
    return tuple(file for module in modules for file in _files(module))


@cache
def _files(module: str) -> tuple[Path, ...]:
    """The file of a module and the `__init__` of each package around it; nothing for a name that is no module."""
    parts = module.split(".")[1:]
    found = [PACKAGE / "__init__.py"]
    for depth in range(1, len(parts) + 1):
        base = PACKAGE.joinpath(*parts[:depth])
        found += [path for path in (base / "__init__.py", base.with_suffix(".py")) if path.exists()]
    return tuple(path.resolve() for path in found)
