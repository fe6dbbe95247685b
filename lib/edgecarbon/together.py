"""A fleet's run: every member taken and started at once, what comes back checked, archived and put into one record."""

from __future__ import annotations

import json
import math
import secrets
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecarbon import records
from edgecarbon.beside import Clock, heard_by, meters_beside, with_readings
from edgecarbon.dispatch import FLEET, Job, Outcome, Transport, device_lock, open_transport
from edgecarbon.dispatch.condition import wait_until_fit
from edgecarbon.dispatch.process import answer
from edgecarbon.errors import DeviceTrouble, UserError
from edgecarbon.fleet.authority import Certificates, make_certificates
from edgecarbon.order import FleetOrder
from edgecarbon.progress import ProgressLine, printable

RECORD_KIND = "fleet"
PROBE_BYTES = 4_000_000
LOOK_S = 0.5
END_S = 5.0
"""Beyond the fleet's silence, how long members may take to end by themselves once one has failed, s."""


@dataclass
class _Member:
    """One member on its way through a run."""

    name: str
    rank: int
    transport: Transport
    attempt: Path
    spec: dict[str, Any]
    condition: dict[str, Any]
    outcome: Outcome | None = None
    trouble: DeviceTrouble | None = None


def measure_together(
    order: FleetOrder, payload: Path, model: Path, tokens: Path, logs: Path, attempts: Path, record: Path
) -> None:
    """Measure a fleet's run, or its network, and write the record; where a member fails, one that names it.

    Args:
        logs: folder for the members' logs.
        attempts: where the directory of the attempt is made, one folder a member.

    Raises:
        UserError: something on this host is wrong.
    """
    run = _FleetRun(order, payload, model, tokens, logs, attempts)
    try:
        found = run.make()
    except DeviceTrouble as trouble:
        found = run.missing(trouble)
        print(f"{order.run_id}: MISSING ({trouble.kind}): {printable(str(trouble))}", file=sys.stderr)
    records.write_record(record, found)


class _FleetRun:
    def __init__(self, order: FleetOrder, payload: Path, model: Path, tokens: Path, logs: Path, attempts: Path) -> None:
        self.order, self.payload, self.tokens, self.logs, self.attempts = order, payload, tokens, logs, attempts
        self.model = json.loads(model.read_text(encoding="utf-8"))
        self.sidecar = json.loads(tokens.with_suffix(".json").read_text(encoding="utf-8"))
        self.attempt: Path | None = None

    def make(self) -> dict[str, Any]:
        """The record of the run. Raises DeviceTrouble naming the member that is to blame."""
        order = self.order
        if order.placement is not None and "missing" in order.placement:
            raise DeviceTrouble("unfit", f"there is no plan for it: {order.placement['missing']}.")
        transports = {name: open_transport(name, order.devices[name]) for name in order.members}
        with ExitStack() as held:
            # Always in the same order, so that two workflows cannot wait for each other.
            for name in sorted(transports, key=lambda name: transports[name].lock_key()):
                limits = order.devices[name]["limits"]
                held.enter_context(
                    device_lock(transports[name].lock_key(), limits["wait_s"] + order.deadline_s, self._tell)
                )
            conditions = {name: self._fit(name, transports[name]) for name in order.members}
            addresses = {name: address_of(name, order.devices[name], order.fleet) for name in order.members}
            self._recover(transports)
            members = self._prepare(transports, addresses, conditions)
            self._run_all(members)
            results = self._check(members)
        return {**self._facts("measured"), "members": results, "plan": order.placement, "data": self.sidecar}

    def missing(self, trouble: DeviceTrouble) -> dict[str, Any]:
        why = {"kind": trouble.kind, "reason": trouble.reason, "remedy": trouble.remedy, "unix_s": time.time()}
        return {**self._facts("absent"), "missing": why, "members": [], "plan": self.order.placement, "data": None}

    def _fit(self, name: str, transport: Transport) -> dict[str, Any]:
        limits = self.order.devices[name]["limits"]
        try:
            return wait_until_fit(transport, limits, limits["wait_s"], self._tell) or {}
        except DeviceTrouble as trouble:
            raise DeviceTrouble(trouble.kind, f"{name}: {trouble.reason}", trouble.remedy) from None

    def _prepare(
        self, transports: dict[str, Transport], addresses: dict[str, str], conditions: dict[str, dict[str, Any]]
    ) -> list[_Member]:
        self.attempt, token = records.new_attempt(self.attempts)
        part = fleet_part(self.order, token[:16], addresses)
        members = []
        for rank, name in enumerate(self.order.members):
            folder = self.attempt / name
            folder.mkdir()
            spec = {**self._spec(name, rank), "nonce": secrets.token_hex(16), "fleet": {**part, "rank": rank}}
            records.write_atomically(folder / "spec.json", json.dumps(spec, indent=1, sort_keys=True) + "\n")
            members.append(_Member(name, rank, transports[name], folder, spec, conditions[name]))
        return members

    def _run_all(self, members: list[_Member]) -> None:
        """All members at once; each ends by itself when another is lost, so that none need be ended from here."""
        order = self.order
        certificates = make_certificates(members[0].spec["fleet"]["run"], len(members), order.deadline_s + 3600)
        threads = {member.name: threading.Thread(target=self._run, args=(member, certificates)) for member in members}
        for thread in threads.values():
            thread.start()
        failed_at = None
        while alive := [member for member in members if threads[member.name].is_alive()]:
            threads[alive[0].name].join(LOOK_S)
            if failed_at is None and any(not self._went_well(member) for member in members if member not in alive):
                failed_at = time.monotonic()
            if failed_at is not None and time.monotonic() >= failed_at + order.fleet["silence_s"] + END_S:
                self._end(alive)
                break
        for thread in threads.values():
            thread.join()

    def _went_well(self, member: _Member) -> bool:
        try:
            records.check_attempt(member.attempt, member.spec)
        except DeviceTrouble:
            return False
        return True

    def _end(self, members: list[_Member]) -> None:
        """End those that do not hear that the run is over, such as a process that was stopped."""
        for member in members:
            self._tell(f"ending {member.name}, from which nothing is heard")
            with suppress(DeviceTrouble):
                member.transport.end(self._job(member.name, member.attempt, member.spec, {}))

    def _run(self, member: _Member, certificates: Certificates) -> None:
        private = {"identity.pem": certificates.identities[member.rank], "authority.pem": certificates.authority}
        try:
            with meters_beside(self.order.devices[member.name], member.attempt) as clock:
                job = self._job(member.name, member.attempt, member.spec, private, clock)
                member.outcome = member.transport.run(job)
        except DeviceTrouble as trouble:
            member.trouble = trouble
        except Exception as error:  # a thread's own end would be silent
            member.trouble = DeviceTrouble("failed", f"{type(error).__name__}: {error}.")

    def _check(self, members: list[_Member]) -> list[dict[str, Any]]:
        """Each member's result, by rank. Raises DeviceTrouble, which names the one that most of the others name."""
        results, troubles, blamed = [], {}, Counter[str]()
        for member in members:
            try:
                if member.trouble:
                    raise member.trouble
                result = records.check_attempt(member.attempt, member.spec)
                results.append(self._result_of(member, result))
            except DeviceTrouble as trouble:
                lost = member.outcome is not None and member.outcome.lost
                troubles[member.name] = DeviceTrouble("lost" if lost else trouble.kind, trouble.reason, trouble.remedy)
                blamed.update(_blamed_by(member.attempt, {one.name for one in members}))
        if not troubles:
            return results
        # One that left no result is to blame before one that the others only name.
        silent = {name for name in troubles if not (self._folder(name) / "result.json").exists()}
        name = max(troubles, key=lambda name: (name in silent, blamed[name]))
        own, others = troubles[name], {other: t.reason for other, t in troubles.items() if other != name}
        said = f" The others: {'; '.join(f'{other}: {reason}' for other, reason in others.items())}" if others else ""
        raise DeviceTrouble(own.kind, f"{name}: {own.reason}{said}", own.remedy)

    def _result_of(self, member: _Member, result: dict[str, Any]) -> dict[str, Any]:
        _check_fleet(result, member.attempt)
        result, beside = with_readings(member.attempt, result, member.spec["measurement"]["minimum_window_s"])
        return {
            "name": member.name, "rank": member.rank, "attempt": str(member.attempt), "condition": member.condition,
            "attempt_files": records.attempt_files(member.attempt), "spec": member.spec, "result": result,
            "beside": beside,
        }  # fmt: skip

    def _recover(self, transports: dict[str, Transport]) -> None:
        """Fetch what members may have left when an earlier start of this run was killed: it is kept, and not used."""
        for attempt in sorted(self.attempts.glob("*/")):
            for folder in sorted(attempt.glob("*/")):
                spec = folder / "spec.json"
                if (folder / records.CLOSED).exists() or (folder / "result.json").exists() or not spec.exists():
                    continue
                if folder.name in transports:
                    transports[folder.name].recover(self._job(folder.name, folder, json.loads(spec.read_bytes()), {}))
                    records.close_attempt(folder)

    def _job(
        self, name: str, folder: Path, spec: dict[str, Any], private: dict[str, bytes], clock: Clock | None = None
    ) -> Job:
        log = self.logs / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        return Job(
            key=spec["nonce"],
            label=f"{self.order.run_id.replace('/', '--')}--{name}",
            payload=self.payload,
            inputs={"tokens.bin": self.tokens},
            out=folder,
            deadline_s=self.order.deadline_s,
            wait_s=self.order.devices[name]["limits"]["wait_s"],
            log=log,
            on_event=heard_by(clock, ProgressLine(f"{self.order.run_id} {name}")),
            private=private,
        )

    def _spec(self, name: str, rank: int) -> dict[str, Any]:
        settings, device = self.order.settings, self.order.settings["devices"][name]
        training = settings["training"]
        return {
            "schema": "edgecarbon.spec/1",
            "run_id": self.order.run_id,
            "payload_sha256": records.file_sha256(self.payload),
            "deadline_s": self.order.deadline_s,
            "model": {
                "name": self.model["name"], "config": self.model["config"], "weights": settings["weights"],
                "revision": settings["revision"],
            },
            "training": {**training, "seed": training["seed"] + self.order.repeat - 1},
            "data": {
                "path": "tokens.bin", **{key: self.sidecar[key] for key in ("sha256", "blocks", "sequence_length")},
            },
            "device": {
                "accelerator": device["accelerator"], "peak_tflops": device["peak_tflops"],
                "virtual": bool(device.get("virtual")),
            },
            "measurement": {**settings["measurement"], "meters": device["meters"], "estimate": device["estimate"]},
        }  # fmt: skip

    def _folder(self, name: str) -> Path:
        assert self.attempt is not None
        return self.attempt / name

    def _facts(self, provenance: str) -> dict[str, Any]:
        return {
            "schema": records.RECORD_SCHEMA, "kind": RECORD_KIND, "run_id": self.order.run_id,
            "workload": self.order.workload, "device": self.order.name, "repeat": self.order.repeat, "role": "edge",
            "provenance": provenance, "attempt": None, "attempt_files": {}, "fleet": self.order.fleet,
            "folder": None if self.attempt is None else str(self.attempt),
        }  # fmt: skip

    def _tell(self, message: str) -> None:
        print(f"{self.order.run_id}: {printable(message)}", file=sys.stderr, flush=True)


def fleet_part(order: FleetOrder, run: str, addresses: dict[str, str]) -> dict[str, Any]:
    """The part `fleet` of the members' specs, without the rank."""
    fleet, placement, members = order.fleet, order.placement, order.members
    ranks = {name: rank for rank, name in enumerate(members)}
    port, grid, layers = fleet["port"], [list(range(len(members)))], [1] * len(members)
    if placement is not None:
        grid, layers = [[ranks[name] for name in row] for row in placement["grid"]], placement["layers"]
    # Members at one address, such as two processes of one machine, get ports of their own.
    taken: Counter[str] = Counter()
    entries = []
    for name in members:
        entries.append({"name": name, "address": addresses[name], "port": port + 2 * taken[addresses[name]]})
        taken[addresses[name]] += 1
    return {
        "mode": "network" if placement is None else "train", "run": run, "members": entries, "layers": layers, "grid": grid,
        "micro_batches": placement["micro_batches"] if placement else 1, "order": placement["order"] if placement else "gpipe",
        "link": fleet["link"], "port": port + 1, "boundary": fleet["boundary"], "gradients": fleet["gradients"],
        "join_s": fleet["join_s"], "silence_s": fleet["silence_s"], "probe_bytes": PROBE_BYTES,
    }  # fmt: skip


def address_of(name: str, device: dict[str, Any], fleet: dict[str, Any]) -> str:
    """Where the other members reach a device: as the fleet says, as the stand of virtual hosts has it, or as ssh does.

    Raises:
        UserError: nothing tells.
    """
    if name in fleet["addresses"]:
        return str(fleet["addresses"][name])
    if device.get("virtual"):
        try:
            return str(json.loads((FLEET / "hosts.json").read_text(encoding="utf-8"))[name])
        except (OSError, KeyError):
            raise DeviceTrouble("unreachable", f"{name}: the virtual hosts do not run.") from None
    if device["transport"] == "ssh":
        printed = bytearray()
        options = ["-F", device["ssh_config"]] if device["ssh_config"] else []
        answer(["ssh", *options, "-G", device["host"]], None, 10.0, printed.extend, 2**16)
        for line in printed.decode(errors="replace").splitlines():
            key, _, value = line.partition(" ")
            if key == "hostname" and value:
                return value
    raise UserError(
        f"fleet: addresses: no address is known of '{name}', at which the others reach it; give addresses: {{{name}: ...}}"
    )


def _check_fleet(result: dict[str, Any], attempt: Path) -> None:
    """No negative or endless number in what a member says of its part."""
    part = result.get("fleet")
    try:
        assert isinstance(part, dict)
        numbers = (
            [link[field] for link in part["links"] for field in ("delay_s", "bytes_per_s")]
            if "links" in part
            else [
                *(part[field] for field in ("busy_s", "wait_s", "sent_bytes", "received_bytes", "interface_bytes")),
                *(time_s for row in part["last_step"]["spans"] for time_s in row[2:4]),
            ]
        )
        good = all(isinstance(number, int | float) and 0 <= number < math.inf for number in numbers)
    except (AssertionError, KeyError, TypeError, IndexError) as error:
        raise DeviceTrouble(
            "refused", f"{attempt}: refused, fleet: a field is missing or of the wrong type ({error})."
        ) from None
    if not good:
        raise DeviceTrouble("refused", f"{attempt}: refused, fleet: a time or a count is negative or no number.")


def _blamed_by(attempt: Path, names: set[str]) -> list[str]:
    """Whom a member's failed result names, if it is a member."""
    try:
        peer = json.loads((attempt / "result.json").read_bytes())["error"]["peer"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [peer] if isinstance(peer, str) and peer in names else []
