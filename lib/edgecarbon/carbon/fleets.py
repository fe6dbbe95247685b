"""What a fleet's work emits, member by member, beside one cloud device that does the same work."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgecarbon.carbon.arms import Arm, Work, build_arm
from edgecarbon.carbon.draws import HIGH, LOW, Array, quantiles
from edgecarbon.carbon.evaluation import Row
from edgecarbon.carbon.formulas import JOULES_PER_KWH
from edgecarbon.carbon.pairs import Average, average, parts
from edgecarbon.carbon.verdicts import ratio_quantiles
from edgecarbon.carbon.work import Judge, Run, charged_energy, model_of
from edgecarbon.config.inputs import Inputs
from edgecarbon.errors import UserError


@dataclass(frozen=True)
class _Grams:
    """What a fleet emits, by part, shape (draws,); `embodied` has a row an attribution."""

    operational: Array
    network: Array
    embodied: Array

    @property
    def total(self) -> Array:
        """Shape (attributions, draws)."""
        return np.asarray(self.operational + self.network + self.embodied)


@dataclass(frozen=True)
class _Fleet:
    """A run of a fleet."""

    run: Row
    members: Sequence[Row]
    members_alone: Mapping[str, Average]
    """By device, what it shows by itself in the same workload, gross: whatever is charged, a meter is off by its share."""
    clouds: Sequence[Average]
    """The cloud devices that did the same workload."""
    one_network: bool
    """Whether what members send each other crosses nothing beyond their own access point."""


def fleet_carbon_rows(
    judge: Judge,
    inputs: Inputs,
    devices: Mapping[str, Mapping[str, Any]],
    tables: Mapping[str, Sequence[Row]],
    runs: Sequence[Run],
    one_network: Collection[str] = (),
) -> list[Row]:
    """Rows of `fleet_carbon`: the whole workload on each fleet, under each attribution, beside each cloud device.

    Every member is busy or waiting for all of the time, so that each is charged with all of it. Radios are edge devices'
    own draw, and go through the same charger as the rest.

    Args:
        judge: as it judged `runs`.
        devices: carbon facts of every device and reference device.
        tables: rows of `fleet_runs` and `fleet_members`.
        runs: rows of `runs`.
        one_network: names of the fleets whose members share one access point.

    Raises:
        UserError: an inexact key, or a run that lasts longer than a member lives.
    """
    members: dict[str, list[Row]] = defaultdict(list)
    for row in tables["fleet_members"]:
        members[row["fleet_run"]].append(row)
    names = {row["device"] for row in tables["fleet_members"]} - judge.arms.keys()
    arms = {name: build_arm(name, devices[name], judge.scenario, inputs) for name in sorted(names)}
    judge = replace(judge, arms={**judge.arms, **arms})
    charged, gross = _averages(judge, runs), _averages(_gross(judge), runs)
    rows: list[Row] = []
    for run in tables["fleet_runs"]:
        if run["record_kind"] == "missing" or run["energy_joules_per_step"] is None:
            continue
        fleet = _Fleet(
            run,
            members[run["fleet_run"]],
            gross[run["workload"]],
            [side for side in charged[run["workload"]].values() if side.arm.role == "cloud"],
            run["fleet"] in one_network,
        )
        try:
            rows += _rows_of(judge, fleet)
        except ValueError as error:
            raise UserError(f"{judge.scenario.file}: fleet '{run['fleet_run']}': {error}") from None
    return rows


def _averages(judge: Judge, runs: Sequence[Run]) -> dict[str, dict[str, Average]]:
    """By workload and device; those without an energy are not in it."""
    grouped: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        grouped[run["workload"], run["device"]].append(run)
    found: dict[str, dict[str, Average]] = defaultdict(dict)
    for (workload, device), mine in sorted(grouped.items()):
        side = average(judge, device, mine)
        if side.interval is not None:
            found[workload][device] = side
    return found


def _gross(judge: Judge) -> Judge:
    """The same judge, who charges whatever a meter saw."""
    settings = judge.scenario.settings
    counterfactual = settings.counterfactual.model_copy(update={"edge_already_on": False})
    settings = settings.model_copy(update={"energy": "gross", "counterfactual": counterfactual})
    return replace(judge, scenario=replace(judge.scenario, settings=settings))


def _rows_of(judge: Judge, fleet: _Fleet) -> Iterator[Row]:
    run = fleet.run
    default, drawn = _grams(replace(judge, draws=judge.center), fleet), _grams(judge, fleet)
    lows, highs = quantiles(drawn.total, (LOW, HIGH))
    energies = np.sum([_joules(judge, member) for member in fleet.members], axis=0) * run["steps"]
    compute, idle, radio = energies.tolist()
    beside = [_beside(judge, side, default, drawn) for side in fleet.clouds]
    for place, variant in enumerate(judge.scenario.settings.attributions):
        own = {
            "scenario": judge.scenario.name, "attribution": variant, "fleet_run": run["fleet_run"],
            "workload": run["workload"], "fleet": run["fleet"], "compute_joules": compute, "idle_joules": idle,
            "radio_joules": radio, "energy_joules": compute + idle + radio, "duration_s": run["steps"] * run["step_s"],
            "operational_grams": float(default.operational[0]), "embodied_grams": float(default.embodied[place, 0]),
            "network_grams": float(default.network[0]), "total_grams": float(default.total[place, 0]),
            "total_low_grams": float(lows[place]), "total_high_grams": float(highs[place]),
            "provenance": run["provenance"],
        }  # fmt: skip
        yield from ({**own, **cloud[place]} for cloud in beside) if beside else [own]


def _grams(judge: Judge, fleet: _Fleet) -> _Grams:
    """What all members emit, over the judge's draws."""
    look, attributions = judge.draws.of, judge.scenario.settings.attributions
    operational, network = np.zeros(judge.draws.count), np.zeros(judge.draws.count)
    embodied = np.zeros((len(attributions), judge.draws.count))
    for member in fleet.members:
        arm, boundary = _on_its_network(judge.arms[member["device"]], fleet.one_network), member["boundary"]
        work = arm.practised(_work(judge, fleet, member), fleet.run["record_kind"] != "measured", look)
        operational += arm.operational(work, boundary, look)
        network += arm.network(work, look)
        for place, variant in enumerate(attributions):
            embodied[place] += arm.charged(work, boundary, variant, look)
    return _Grams(operational, network, embodied)


def _on_its_network(arm: Arm, one_network: bool) -> Arm:
    """The device with what its messages cross beside radios, which are in its energy; nothing within one access point."""
    crossed = [] if one_network else [part for part in arm.side.weights_path if part.per_gigabyte is not None]
    return replace(arm, side=replace(arm.side, weights_path=tuple(crossed)))


def _work(judge: Judge, fleet: _Fleet, member: Row) -> Work:
    """A member's part of the work, over the judge's draws. It computes for longer where its rate is less; what it then
    waits for others is not in it."""
    run, device = fleet.run, member["device"]
    longer, hungrier = _factors(judge, judge.arms[device], fleet.members_alone.get(device))
    compute, idle, radio = _joules(judge, member)
    # The first stage reads the tokens, the last compares with them.
    reads = member["stage"] in (0, run["stages"] - 1)
    tokens = run["tokens_per_step"] / run["replicas"] if reads else 0.0
    return Work(
        energy_kwh=run["steps"] * (hungrier * (longer * compute + idle) + radio) / JOULES_PER_KWH,
        hours=run["steps"] * (run["step_s"] + (longer - 1.0) * member["busy_s"]) / 3600.0,
        data_bytes=run["steps"] * tokens * judge.draws.of(judge.scenario.bytes_per_token),
        # The path lists both ends: whoever sends a byte answers for half of its way, whoever receives it for the other.
        weights_bytes=run["steps"] * (member["sent_bytes"] + member["received_bytes"]) / 2.0,
    )


def _factors(judge: Judge, arm: Arm, alone: Average | None) -> tuple[Any, Any]:
    """How many times longer than told a member computes, and how many times more it draws; scalars, or shape (draws,).

    By the same draws as when it works alone: a reference device's data sheet, a meter's error and the spread of repeats.
    """
    model = arm.model if alone is None else model_of(arm, alone.mean)
    if model is not None:
        return model.factors(judge.draws.of)
    if alone is None or alone.interval is None or alone.interval[0] <= 0:
        return 1.0, 1.0
    joules, _ = alone.drawn(judge)
    return 1.0, joules[0] / alone.interval[0]


def _joules(judge: Judge, member: Row) -> tuple[float, float, float]:
    """What a member is charged with for a step, J: computing, waiting, radio.

    Net of idle, waiting costs nothing, and computing what lies above the draw that waiting shows. A member that never
    waits, or whose idle draw nobody knows, shows none, and is charged with all.
    """
    compute, idle, radio = (member[name] for name in ("compute_joules", "idle_joules", "radio_joules"))
    if charged_energy(judge.scenario, judge.arms[member["device"]]) == "gross":
        return compute, idle, radio
    waited_s = member["wait_s"] + member["exchange_s"]
    idle_watts = idle / waited_s if waited_s > 0 else 0.0
    return max(compute - idle_watts * member["busy_s"], 0.0), 0.0, radio


def _beside(judge: Judge, side: Average, default: _Grams, drawn: _Grams) -> list[Row]:
    """What a cloud device adds to the fleet's row, by attribution."""
    assert side.interval is not None
    tokens = side.mean["tokens"]
    totals = tokens * parts(judge, side, judge.center).total[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = totals / default.total[:, 0]
        found = ratio_quantiles(tokens * parts(judge, side, judge.draws).total / drawn.total)
    return [
        {
            "cloud_device": side.arm.device, "cloud_energy_joules": side.interval[0],
            "cloud_duration_s": side.mean["duration_s"], "cloud_total_grams": float(total),
            "ratio_cloud_over_fleet": float(ratio) if np.isfinite(ratio) else None, "ratio_low": low, "ratio_high": high,
            "probability_fleet_wins": probability,
        }
        for total, ratio, (_, low, high, probability) in zip(totals, ratios, found, strict=True)
    ]  # fmt: skip
