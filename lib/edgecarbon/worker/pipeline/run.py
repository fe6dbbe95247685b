"""One member's part in a fleet's run: join, measure the same windows as the others, and say where its time went."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..accelerator import choose_precision
from ..attention import unpadded_causal_attention
from ..awake import awake
from ..errors import WorkerError
from ..facts import device_facts, versions
from ..progress import Progress
from ..result import Outcome
from ..run import Windows, open_recorder, select_accelerator
from ..spec import Fields, Spec
from ..steps import StepLog
from ..tokens import batches, open_blocks
from .engine import COMPUTE, FleetEngine, Span
from .link import Link, TlsLink, TorchLink
from .mesh import Mesh, Transfer
from .plan import FleetPlan, parse_plan, sequences_each
from .rendezvous import barrier, clock_offset_s, measure_links
from .stage import Stage, build_stage

IDENTITY, AUTHORITY = "identity.pem", "authority.pem"
"""Beside the spec: this member's key and certificate, and the certificate of the run's authority."""


def train_together(spec: Spec, outcome: Outcome, progress: Progress, folder: Path) -> None:
    """Do this member's part of `spec`; what is found goes into `outcome`. Raises WorkerError for a known failure."""
    plan = parse_plan(Fields(spec.fleet, "fleet"))
    outcome.versions = versions()
    accelerator = select_accelerator(spec.device, spec.training.threads)
    outcome.device_facts = device_facts(accelerator)
    outcome.minimum_window_s = spec.measurement.minimum_window_s
    mesh = _mesh(plan, folder)
    if plan.mode == "network":
        with _Joined(mesh, plan, progress):
            links = measure_links(mesh, plan.probe_bytes, progress.note)
            outcome.fleet = {"links": links}
        return
    sequences_each(plan, spec.training.batch_size)
    precision = choose_precision(spec.training.precision, accelerator)
    recorder = open_recorder(spec.measurement, accelerator, outcome)
    progress.emit("phase", phase="prepare", seconds=None)
    stage = build_stage(spec.model, plan.own_layers, accelerator.device, spec.training.seed)
    blocks = open_blocks(spec.data, stage.vocabulary_size)
    source = batches(blocks, spec.training.batch_size, spec.training.seed)
    with awake() as held, unpadded_causal_attention(), _Joined(mesh, plan, progress) as link:
        outcome.device_facts["awake"] = held
        engine = FleetEngine(stage, plan, link, spec.training, accelerator, precision)
        offset_s, uncertain_s = clock_offset_s(mesh)
        torch.manual_seed(spec.training.seed + plan.rank)  # dropout
        with recorder:
            run = _FleetWindows(spec, outcome, progress, engine, source, mesh)
            run.idle("idle_before", spec.measurement.idle_before_s)
            run.warm_up()
            run.window()
            run.idle("idle_after", spec.measurement.idle_after_s)
    assert outcome.training is not None
    outcome.training |= _facts_of_training(spec, plan, stage, engine, precision, outcome.training)
    outcome.fleet = {
        "rank": plan.rank, "stage": plan.stage, "replica": plan.replica, "layers": len(plan.own_layers),
        "origin_s": outcome.origin, "clock_offset_s": offset_s, "clock_uncertainty_s": uncertain_s,
        "refused_connections": mesh.refused,
        **run.summary(),
    }  # fmt: skip


def _mesh(plan: FleetPlan, folder: Path) -> Mesh:
    for name in (IDENTITY, AUTHORITY):
        if not (folder / name).is_file():
            raise WorkerError("bad_spec", f"{folder / name}: missing: the host sends it with the spec of a fleet's run")
    return Mesh(
        plan.rank, plan.members, plan.peers(), plan.run, folder / IDENTITY, folder / AUTHORITY, plan.silence_s
    )  # fmt: skip


class _Joined:
    """In touch with the others, from all being there to all being done. A failure inside is told to them."""

    def __init__(self, mesh: Mesh, plan: FleetPlan, progress: Progress) -> None:
        self.mesh, self.plan, self.progress = mesh, plan, progress
        self.link: Link | None = None

    def __enter__(self) -> Link:
        self.progress.emit("phase", phase="join", seconds=self.plan.join_s)
        try:
            self.mesh.join(self.plan.join_s)
            barrier(self.mesh, 0)
            tls = self.plan.link == "tls" or self.plan.mode == "network"
            self.link = TlsLink(self.mesh) if tls else TorchLink(self.mesh, self.plan.port, self.plan.join_s)
        except BaseException:
            self.mesh.close(orderly=False)
            raise
        return self.link

    def __exit__(self, kind: type[BaseException] | None, *_more: Any) -> None:
        try:
            if kind is None:
                barrier(self.mesh, 1)
                if self.link is not None:
                    self.link.close()
        finally:
            self.mesh.close(orderly=kind is None)


class _FleetWindows(Windows):
    """The same windows as a lone device's, each begun by all members together."""

    def __init__(
        self,
        spec: Spec,
        outcome: Outcome,
        progress: Progress,
        engine: FleetEngine,
        source: Iterator[Tensor],
        mesh: Mesh,
    ) -> None:
        super().__init__(spec, outcome, progress, engine, source)
        self.mesh, self.fleet_engine, self.barriers = mesh, engine, 1
        self.totals: dict[str, float] = {}
        self.window_s = 0.0
        self.moved: dict[str, int] = {}
        self.last: tuple[float, float, list[Span], list[tuple[str, Transfer]]] | None = None

    def idle(self, name: str, seconds: float) -> None:
        self._meet()
        super().idle(name, seconds)

    def window(self) -> None:
        super().window()
        assert self.outcome.training is not None
        self.window_s = self.outcome.training["duration_s"]
        now = self._counters()
        self.moved = {name: now[name] - before for name, before in self.moved.items()}

    def step(self) -> Tensor:
        self.mesh.take_transfers()
        began_s = time.monotonic()
        loss = self.fleet_engine.step(next(self.batches))
        self.last = (began_s, time.monotonic(), self.fleet_engine.spans, self.mesh.take_transfers())
        for span in self.fleet_engine.spans:
            self.totals[span.kind] = self.totals.get(span.kind, 0.0) + span.end_s - span.start_s
        return loss

    def summary(self) -> dict[str, Any]:
        """Where the measured window went, and its last step in detail (times on the run's clock, s)."""
        busy_s = sum(self.totals.get(kind, 0.0) for kind in COMPUTE)
        return {
            "busy_s": busy_s,
            "wait_s": self.window_s - busy_s,
            "spent_s": self.totals,
            "sent_bytes": self.moved["sent"],
            "received_bytes": self.moved["received"],
            "interface_bytes": self.moved["interface"],
            "peers": {
                self.mesh.members[peer].name: {"sent_bytes": self.mesh.sent_bytes[peer], "received_bytes": received}
                for peer, received in self.mesh.received_bytes.items()
            },
            "last_step": self._last_step(),
        }

    def _begin(self, log: StepLog) -> float:
        self._meet()
        start_s = super()._begin(log)
        self.totals, self.moved = {}, self._counters()
        return start_s

    def _meet(self) -> None:
        self.barriers += 1
        barrier(self.mesh, self.barriers)

    def _counters(self) -> dict[str, int]:
        moved = {"sent": sum(self.mesh.sent_bytes.values()), "received": sum(self.mesh.received_bytes.values())}
        return {**moved, "interface": interface_bytes()}

    def _last_step(self) -> dict[str, Any] | None:
        if self.last is None:
            return None
        began_s, ended_s, spans, transfers = self.last
        origin = self.outcome.origin
        rows = [[span.kind, span.micro_batch, span.start_s - origin, span.end_s - origin] for span in spans]
        moved = [
            [kind, self.mesh.members[one.peer].name, one.size, one.start_s - origin, one.end_s - origin]
            for kind, one in transfers
        ]
        return {"start_s": began_s - origin, "end_s": ended_s - origin, "spans": rows, "transfers": moved}


def interface_bytes() -> int:
    """What all network interfaces but the loopback have sent and received so far; 0 where that cannot be read."""
    try:
        lines = Path("/proc/net/dev").read_text(encoding="ascii").splitlines()[2:]
    except OSError:
        return 0
    counted = [line.split(":", 1) for line in lines if not line.strip().startswith("lo:")]
    return sum(int(fields.split()[0]) + int(fields.split()[8]) for _, fields in counted)


def _facts_of_training(
    spec: Spec, plan: FleetPlan, stage: Stage, engine: FleetEngine, precision: str, measured: dict[str, Any]
) -> dict[str, Any]:
    training = spec.training
    tokens = training.steps * training.batch_size * training.sequence_length
    return {
        "parameters": stage.parameters,
        "steps": training.steps,
        "batch_size": training.batch_size,
        "sequence_length": training.sequence_length,
        "tokens": tokens,
        "tokens_per_second": tokens / measured["duration_s"],
        "precision": precision,
        "micro_batch_size": engine.sequences,
        "accumulation_steps": plan.micro_batches,
    }
