"""What is found on a device, and for each thing missing the command that mends it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from edgecarbon.dispatch import facts, open_transport
from edgecarbon.dispatch.process import converse
from edgecarbon.errors import DeviceTrouble, UserError

ROUNDS = 5
TIMEOUT_S = 180.0
"""The first import of torch on a phone takes its time."""
LARGEST_OFFSET_S = 1.0


def probe_device(name: str, device: Mapping[str, Any], payload: Path) -> dict[str, Any]:
    """Probe one device.

    Args:
        device: its validated entry.
        payload: the zipapp, which runs there.

    Returns:
        `device`, `transport`, `reachable`; `condition` (see `facts.Facts`), `found` (the payload's probe), `clock` with
        `offset_s` (the device's clock less this one) and `uncertainty_s`, each None where it is not known; `missing`, a
        list of `what` and `remedy`.
    """
    report: dict[str, Any] = {
        "device": name, "transport": device["transport"], "reachable": False, "condition": None, "found": None, "clock": None,
        "missing": [],
    }  # fmt: skip
    missing = report["missing"]
    try:
        transport = open_transport(name, device)
        text = transport.ask(facts.script(transport.directory))
        if text is None:
            missing.append({"what": "a bundle's device cannot be asked", "remedy": "its results tell what it is"})
            return report
        report["reachable"] = True
        condition = facts.parse(text)
        report["condition"] = condition.to_json()
        if device.get("command") is None:
            _ask_payload(transport.probe_words(payload), report)
        for trouble in (
            *facts.troubles(condition, SimpleNamespace(**device["limits"])),
            *facts.remedies(condition, report["found"]),
        ):
            missing.append(
                {"what": trouble.reason, "remedy": trouble.remedy.replace("setup_device_NAME", f"setup_device_{name}")}
            )
    except DeviceTrouble as trouble:
        missing.append({"what": trouble.reason, "remedy": trouble.remedy})
    except (UserError, OSError) as error:
        missing.append({"what": str(error), "remedy": None})
    return report


def _ask_payload(words: list[str] | None, report: dict[str, Any]) -> None:
    """Run the payload's probe, and measure the clock's offset over the same pipe."""
    if words is None:
        return
    first, exchanges, ended = converse(words, ROUNDS, TIMEOUT_S)
    try:
        found = json.loads(first)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        remedy = None if report["transport"] == "local" else f"snakemake --cores 1 setup_device_{report['device']}"
        report["missing"].append({"what": f"the worker does not run there: {ended.in_words()}", "remedy": remedy})
        return
    report["found"] = found
    report["clock"] = clock = clock_offset(exchanges)
    if clock and abs(clock["offset_s"]) > LARGEST_OFFSET_S + clock["uncertainty_s"]:
        report["missing"].append({
            "what": f"its clock is {clock['offset_s']:+.1f} s from this one's",
            "remedy": "set it by network time: `sudo timedatectl set-ntp true`, on a phone: automatic date and time",
        })  # fmt: skip


def clock_offset(exchanges: list[tuple[float, float, bytes]]) -> dict[str, float] | None:
    """The device's clock less this one, from the quickest exchange: it was told between the two ends of that.

    Args:
        exchanges: Unix times before and after, s, and the answer, `{"unix_s": ...}`.
    """
    best: tuple[float, float] | None = None
    for before, after, line in exchanges:
        try:
            told = float(json.loads(line)["unix_s"])
        except (ValueError, TypeError, KeyError):
            continue
        if math.isfinite(told) and (best is None or (after - before) / 2 < best[1]):
            best = (told - (before + after) / 2, (after - before) / 2)
    return None if best is None else {"offset_s": best[0], "uncertainty_s": best[1]}
