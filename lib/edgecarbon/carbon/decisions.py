"""Everything that is asked of the pairs of a scenario beside their verdict, kept by content from one start to the next."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgecarbon import kept
from edgecarbon.carbon.breakeven import break_even_rows, map_rows
from edgecarbon.carbon.claims import claim_rows
from edgecarbon.carbon.instrument import instrument_rows
from edgecarbon.carbon.owner import owner_rows
from edgecarbon.carbon.pairs import Pair
from edgecarbon.carbon.sensitivity import Row, sensitivity_rows
from edgecarbon.carbon.standard import standard_rows
from edgecarbon.carbon.work import Judge
from edgecarbon.config.claims import Claim
from edgecarbon.errors import UserError

PER_PAIR = ("sensitivity", "break_even", "break_even_maps", "standard", "owner")
LIBRARIES = {name: version(name) for name in ("numpy", "scipy", "SALib")}
"""What works the rows out beside this project's own code."""


def decision_rows(
    judge: Judge, pairs: Sequence[Pair], claims: Sequence[Claim], cache: Path | None = None, code: str = ""
) -> dict[str, list[Row]]:
    """Rows by table: those of `PER_PAIR`, `claims` and `instrument`.

    Args:
        cache: folder that keeps the rows of each pair under a hash of all that they follow from; None keeps none.
        code: what stands for the version of the code in that hash.

    Raises:
        UserError: a run that lasts longer than its device lives at the ends of their ranges.
    """
    tables: dict[str, list[Row]] = {name: [] for name in PER_PAIR}
    for pair in pairs:
        try:
            found = _kept(cache, judge, pair, code, _of_pair)
        except ValueError as error:  # further out in a range than any draw of the verdict went
            names = f"'{pair.cloud.arm.device}' beside '{pair.edge.arm.device}'"
            raise UserError(f"{judge.scenario.file}: {names}, workload '{pair.workload}': {error}") from None
        for name, rows in found.items():
            tables[name] += rows
    return {**tables, "claims": claim_rows(judge, pairs, claims), "instrument": instrument_rows(judge, pairs)}


def _of_pair(judge: Judge, pair: Pair) -> dict[str, list[Row]]:
    sensitivity = sensitivity_rows(judge, pair)
    return {
        "sensitivity": sensitivity,
        "break_even": break_even_rows(judge, pair, sensitivity),
        "break_even_maps": map_rows(judge, pair, sensitivity),
        "standard": standard_rows(judge, pair),
        "owner": owner_rows(judge, pair),
    }


def _kept(
    cache: Path | None, judge: Judge, pair: Pair, code: str, work_out: Callable[[Judge, Pair], dict[str, list[Row]]]
) -> dict[str, list[Row]]:
    """The pair's rows from the cache, or worked out and put there."""
    if cache is None:
        return work_out(judge, pair)
    file = cache / f"{fingerprint(judge, pair, code)}.json"
    if (content := kept.read(file)) is not None:
        found: dict[str, list[Row]] = json.loads(content)
        return found
    rows = work_out(judge, pair)
    kept.keep(file, json.dumps(rows).encode())
    return rows


def fingerprint(judge: Judge, pair: Pair, code: str) -> str:
    """Hash of all that a pair's rows follow from: assumptions with their priors, runs, settings, code and libraries."""
    settings = judge.scenario.settings.model_dump(mode="json", include={
        "seed", "draws", "energy", "attributions", "traffic", "counterfactual", "owner", "sensitivity",
    })  # fmt: skip
    sides: list[Any] = [[repr(side.arm), repr(side.mean), repr(side.interval), side.standard_error, side.known]
                        for side in (pair.cloud, pair.edge)]  # fmt: skip
    scenario = judge.scenario
    rest = [repr(one) for one in (scenario.prices, scenario.bytes_per_token, scenario.bytes_per_parameter)]
    text = json.dumps([code, LIBRARIES, scenario.name, settings, sides, rest], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
