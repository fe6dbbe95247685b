"""The result of an evaluation as Parquet files with explicit schemas."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from edgecarbon.carbon.evaluation import Result

_TEXT, _REAL, _WHOLE, _FLAG = pa.string(), pa.float64(), pa.int64(), pa.bool_()

CARBON = pa.schema(
    [
        *((name, _TEXT) for name in ("scenario", "run_id", "workload", "device")),
        ("repeat", _WHOLE),
        *((name, _TEXT) for name in ("role", "attribution", "functional_unit")),
        *(
            (f"{name}_grams", _REAL)
            for name in ("operational", "embodied", "network", "total", "total_low", "total_high")
        ),
        ("energy_joules", _REAL),
        ("boundary", _TEXT),
        ("provenance", _TEXT),
        ("overhead_factor", _REAL),
        ("intensity_g_per_kwh", _REAL),
        ("embodied_key", _TEXT),
    ]
)
VERDICTS = pa.schema(
    [
        *((name, _TEXT) for name in ("scenario", "workload", "cloud_device", "edge_device", "attribution")),
        *((name, _REAL) for name in ("ratio_cloud_over_edge", "ratio_low", "ratio_high", "probability_edge_wins")),
        ("winner", _TEXT),
        ("flips", _FLAG),
        ("comparable", _FLAG),
        ("caveat", _TEXT),
        ("bridged_by", pa.list_(_TEXT)),
    ]
)
ASSUMPTIONS = pa.schema(
    [
        ("scenario", _TEXT),
        ("name", _TEXT),
        *((name, _REAL) for name in ("value", "low", "high")),
        ("distribution", _TEXT),
        ("unit", _TEXT),
        ("source", _TEXT),
        ("year", _WHOLE),
        *((name, _TEXT) for name in ("boundary", "licence", "provenance", "used_by")),
    ]
)


def write_result(result: Result, directory: Path) -> list[Path]:
    """Write carbon.parquet, verdicts.parquet and assumptions.parquet; each appears whole or not at all.

    Returns:
        the three paths, in that order.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tables = {
        "carbon": (result.carbon, CARBON),
        "verdicts": (result.verdicts, VERDICTS),
        "assumptions": (result.assumptions, ASSUMPTIONS),
    }
    paths = []
    for name, (rows, schema) in tables.items():
        path = directory / f"{name}.parquet"
        partial = directory / f".{name}.{os.getpid()}.partial"
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), partial, compression="zstd")
        partial.replace(path)
        paths.append(path)
    return paths
