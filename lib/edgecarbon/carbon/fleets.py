"""What a fleet's work emits, member by member, beside one cloud device that does the same work."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgecarbon.carbon.arms import Arm, Look, Work, build_arm
from edgecarbon.carbon.draws import HIGH, LOW, Draws
from edgecarbon.carbon.evaluation import Row
from edgecarbon.carbon.formulas import JOULES_PER_KWH
from edgecarbon.carbon.work import value
from edgecarbon.config.assumptions import ResolvedScenario
from edgecarbon.config.inputs import Inputs
from edgecarbon.config.scenario import Attribution


def fleet_carbon_rows(
    scenario: ResolvedScenario,
    inputs: Inputs,
    devices: Mapping[str, Mapping[str, Any]],
    tables: Mapping[str, Sequence[Row]],
    carbon: Sequence[Row],
    runs: Sequence[Row],
) -> list[Row]:
    """Rows of `fleet_carbon`: the whole workload on each fleet, under each attribution, beside each cloud device.

    Every member is busy or waiting for all of the time, so that each is charged with all of it. Radios are edge devices'
    own draw, and go through the same charger as the rest.

    Args:
        devices: carbon facts of every device and reference device.
        tables: rows of `fleet_runs` and `fleet_members`.
        carbon: rows of `carbon` of the same scenario, of which the cloud's stand beside the fleets.
        runs: rows of `runs`.
    """
    members: dict[str, list[Row]] = defaultdict(list)
    for row in tables["fleet_members"]:
        members[row["fleet_run"]].append(row)
    names = {row["device"] for row in tables["fleet_members"]}
    arms = {name: build_arm(name, devices[name], scenario, inputs) for name in sorted(names)}
    draws = Draws(scenario.settings.seed, scenario.settings.draws)
    rows = []
    for run in tables["fleet_runs"]:
        if run["record_kind"] == "missing" or run["energy_joules_per_step"] is None:
            continue
        cloud = _cloud(run["workload"], carbon, runs)
        for variant in scenario.settings.attributions:
            own = _fleet(run, members[run["fleet_run"]], arms, variant, draws)
            rows += [
                {"scenario": scenario.name, "attribution": variant, **own, **beside} for beside in cloud(variant, own)
            ]
    return rows


def _fleet(run: Row, members: Sequence[Row], arms: Mapping[str, Arm], variant: Attribution, draws: Draws) -> Row:
    steps, duration_s = run["steps"], run["steps"] * run["step_s"]
    modelled = run["record_kind"] != "measured"

    def grams(look: Look) -> tuple[Any, Any]:
        operational: Any = 0.0
        embodied: Any = 0.0
        for member in members:
            arm, boundary = arms[member["device"]], member["boundary"]
            joules = steps * sum(member[name] for name in ("compute_joules", "idle_joules", "radio_joules"))
            work = arm.practised(Work(joules / JOULES_PER_KWH, duration_s / 3600.0, 0.0, 0.0), modelled, look)
            operational = operational + arm.operational(work, boundary, look)
            embodied = embodied + arm.charged(work, boundary, variant, look)
        return operational, embodied

    operational, embodied = (float(part) for part in grams(value))
    drawn = np.broadcast_to(sum(grams(draws.of)), (draws.count,))
    low, high = np.quantile(drawn, (LOW, HIGH))
    energies = {
        name: steps * sum(member[name] for member in members)
        for name in ("compute_joules", "idle_joules", "radio_joules")
    }
    return {
        "fleet_run": run["fleet_run"], "workload": run["workload"], "fleet": run["fleet"], **energies,
        "energy_joules": sum(energies.values()), "duration_s": duration_s, "operational_grams": operational,
        "embodied_grams": embodied, "total_grams": operational + embodied, "total_low_grams": float(low),
        "total_high_grams": float(high), "provenance": run["provenance"],
    }  # fmt: skip


def _cloud(workload: str, carbon: Sequence[Row], runs: Sequence[Row]) -> Any:
    """What stands beside a fleet: for each cloud device of the workload, the means over its runs; nothing where none is."""
    durations: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        if run["workload"] == workload and run["role"] == "cloud":
            durations[run["device"]].append(run["duration_s"])

    def beside(variant: Attribution, own: Row) -> list[Row]:
        found = []
        for device, seconds in sorted(durations.items()):
            alike = [
                row for row in carbon
                if (row["workload"], row["device"], row["attribution"]) == (workload, device, variant)
                and row["functional_unit"] == "run"
                and row["total_grams"] is not None
            ]  # fmt: skip
            if alike:
                total = float(np.mean([row["total_grams"] for row in alike]))
                found.append({
                    "cloud_device": device, "cloud_total_grams": total, "cloud_duration_s": float(np.mean(seconds)),
                    "cloud_energy_joules": float(np.mean([row["energy_joules"] for row in alike])),
                    "ratio_cloud_over_fleet": total / own["total_grams"] if own["total_grams"] else None,
                })  # fmt: skip
        return found or [{}]

    return beside
