"""A rule's inputs are the modules that its script is made of: all of them, and no others."""

import subprocess
import sys
from pathlib import Path

import pytest

from edgecarbon.sources import sources_of

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "workflow/scripts").glob("*.py"))

LOADED = """
import runpy, sys
sys.argv = [{script!r}, "--help"]
try:
    runpy.run_path({script!r}, run_name="__main__")
except SystemExit:
    pass
print(*[m.__file__ for n, m in list(sys.modules.items()) if n.startswith("edgecarbon") and m.__file__], sep="\\n")
"""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_module_that_a_script_loads_is_found(script):
    """Python itself tells what a script loads; the scan of its text must not miss any of it."""
    code = LOADED.format(script=str(script))
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    loaded = {str(Path(line).relative_to(ROOT)) for line in output.splitlines() if line.startswith(str(ROOT / "lib"))}
    assert "lib/edgecarbon/__init__.py" in loaded
    assert loaded <= set(sources_of(script))


def test_a_chart_is_no_source_of_the_measurement_or_the_carbon_tables():
    for script in ("measure", "carbon", "parquet", "tokens"):
        assert not [path for path in sources_of(ROOT / f"workflow/scripts/{script}.py") if "chart" in path]
    assert [path for path in sources_of(ROOT / "workflow/scripts/charts.py") if "chart" in path]


def test_carbon_is_no_source_of_the_records_or_their_parquet():
    for script in ("measure", "parquet", "tokens", "model"):
        assert not [path for path in sources_of(ROOT / f"workflow/scripts/{script}.py") if "/carbon/" in path]
