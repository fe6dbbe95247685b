"""A fleet's members for the benchmarks of pipelines: one process a virtual host, which does one job after another.

Run on a host, this file reads jobs from standard input, a line of JSON each, and answers each with one. A job is a few
steps with edgecarbon's engine (`fleet`), with torch.distributed.pipelining (`torch`), or of one stage alone (`alone`).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path

import psutil
import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
import fleet_bench  # noqa: E402 - the tests' plans and certificates
from edgecarbon.fleet import virtual  # noqa: E402
from edgecarbon.fleet.model import Plan  # noqa: E402
from edgecarbon.fleet.simulate import PassCosts  # noqa: E402
from edgecarbon.worker.accelerator import select  # noqa: E402
from edgecarbon.worker.attention import unpadded_causal_attention  # noqa: E402
from edgecarbon.worker.pipeline import codec  # noqa: E402
from edgecarbon.worker.pipeline.engine import BACKWARD, COMPUTE, FORWARD, FleetEngine  # noqa: E402
from edgecarbon.worker.pipeline.link import TlsLink, TorchLink, interface_of  # noqa: E402
from edgecarbon.worker.pipeline.mesh import Mesh, Transfer  # noqa: E402
from edgecarbon.worker.pipeline.plan import parse_plan  # noqa: E402
from edgecarbon.worker.pipeline.rendezvous import barrier  # noqa: E402
from edgecarbon.worker.pipeline.stage import build_stage  # noqa: E402
from edgecarbon.worker.spec import Fields, ModelSpec, TrainingSpec  # noqa: E402

ANSWER = "ANSWER "
JOB_S = 300.0
GLOO_S = 60.0
VOCABULARY = 1024
FFN = 4
"""Feed-forward widths in hidden widths."""
_ports = count(21000)  # of every host; each run takes new ones


@dataclass(frozen=True)
class Setting:
    """What is trained, and how.

    Attributes:
        layers: of each stage, from the first.
        width, length, sequences: hidden width, tokens of a sequence, and sequences of a micro-batch.
        emulated: seconds of a forward and a backward pass, slept instead of computed; None computes.
        mbyte_per_s: of each host's link, each way.
        optimizer: with clipping and AdamW, or passes alone.
    """

    name: str
    layers: tuple[int, ...] = (2, 2, 2, 2)
    micro_batches: int = 8
    width: int = 256
    length: int = 256
    sequences: int = 1
    order: str = "gpipe"
    link: str = "tls"
    boundary: str = "fp32"
    replicas: int = 1
    tied: bool = False
    mbyte_per_s: float = 10.0
    emulated: tuple[float, float] | None = None
    optimizer: bool = False

    @property
    def hosts(self) -> int:
        return len(self.layers) * self.replicas

    @property
    def activation_bytes(self) -> int:
        return codec.wire_bytes((self.sequences, self.length, self.width), self.boundary)

    @property
    def config(self) -> dict:
        return {
            "model_type": "opt", "hidden_size": self.width, "num_hidden_layers": sum(self.layers), "dropout": 0.0,
            "ffn_dim": FFN * self.width, "num_attention_heads": max(1, self.width // 64), "vocab_size": VOCABULARY,
            "max_position_embeddings": self.length, "word_embed_proj_dim": self.width, "tie_word_embeddings": self.tied,
        }  # fmt: skip

    def plan(self) -> Plan:
        """The same for the simulator."""
        stages = len(self.layers)
        grid = tuple(tuple(range(row * stages, (row + 1) * stages)) for row in range(self.replicas))
        return Plan(grid, self.layers, self.micro_batches, self.sequences, self.order, self.boundary)

    def job(self, work: str, rank: int, steps: int, part: dict, folder: Path) -> dict:
        training = fleet_bench.training_part(
            batch_size=self.replicas * self.micro_batches * self.sequences, sequence_length=self.length,
            max_grad_norm=1e9 if self.optimizer else None, learning_rate=1e-5,
        )  # fmt: skip
        return {
            "work": work, "folder": str(folder), "part": {**part, "rank": rank}, "config": self.config, "steps": steps,
            "training": training, "emulated": self.emulated, "optimizer": self.optimizer, "order": self.order,
        }  # fmt: skip


# -- the side of who measures -------------------------------------------------------------------------------------------


class Hosts:
    """Virtual hosts, each with a member process. The working folder receives what they need."""

    def __init__(self, number: int, mbyte_per_s: float) -> None:
        rates = {"cpu_percent": 100, "up_mbyte_per_s": mbyte_per_s, "down_mbyte_per_s": mbyte_per_s}
        names = [f"host-{index}" for index in range(number)]
        self.stand = virtual.start({name: {"transport": "ssh", **rates} for name in names}, Path(".fleet"))
        self.addresses = list(json.loads(Path(".fleet/hosts.json").read_text()).values())
        self.log = Path("members.log").open("a")  # noqa: SIM115 - as long as the hosts
        command = f"cd '{ROOT}' && OMP_NUM_THREADS=1 exec '{sys.executable}' '{Path(__file__).resolve()}'"
        self.members = [
            subprocess.Popen(
                ["ssh", "-F", ".fleet/ssh_config", name, command],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
            )
            for name in names
        ]  # fmt: skip

    def __enter__(self) -> Hosts:
        return self

    def __exit__(self, *_error: object) -> None:
        for member in self.members:
            member.kill()
            member.wait()
        self.log.close()
        self.stand.stop()

    def measure(self, setting: Setting, work: str, steps: int) -> dict:
        """Seconds of steps from the first member's start to the last one's end, bytes sent, and seconds by cause."""
        part, folder = self._part(setting)
        jobs = {rank: setting.job(work, rank, steps + 1, part, folder) for rank in range(setting.hosts)}
        answers = self._answers(jobs)
        steps_s = [
            max(one["steps"][step][1] for one in answers) - min(one["steps"][step][0] for one in answers)
            for step in range(1, steps + 1)
        ]
        spent_s = [one.get("spent_s") for one in answers]
        return {"steps_s": steps_s, "sent_bytes": sum(one["sent_bytes"] for one in answers), "spent_s": spent_s}

    def calibrate(self, setting: Setting, steps: int) -> list[PassCosts]:
        """What each stage costs on its host while all others rest, one after the other; replicas do as the first."""
        part, folder = self._part(setting)
        if setting.emulated:
            return [PassCosts(*setting.emulated, 0.0)] * setting.hosts
        found = []
        for rank in range(len(setting.layers)):
            [answer] = self._answers({rank: setting.job("alone", rank, steps + 1, part, folder)})
            found.append(PassCosts(answer["forward_s"], answer["backward_s"], answer["optimizer_s"]))
        return found * setting.replicas

    def slowdown(self, setting: Setting, steps: int) -> float:
        """A pass's time while the other core computes too, over its time alone."""
        part, folder = self._part(setting)
        job = {rank: setting.job("alone", rank, steps + 1, part, folder) for rank in (0, 1)}
        alone = self._answers({1: job[1]})[0]
        together = self._answers(job)[1]
        return max(1.0, sum(together[f"{kind}_s"] / alone[f"{kind}_s"] for kind in ("forward", "backward")) / 2)

    def _part(self, setting: Setting) -> tuple[dict, Path]:
        part = fleet_bench.fleet_part(
            list(setting.layers), setting.replicas, micro_batches=setting.micro_batches, order=setting.order,
            link=setting.link, boundary=setting.boundary,
        )  # fmt: skip
        for member, address in zip(part["members"], self.addresses, strict=False):
            member |= {"address": address, "port": next(_ports)}
        part["port"] = next(_ports)
        folder = Path(part["run"]).absolute()
        folder.mkdir()
        fleet_bench.write_identities(folder, part["run"], setting.hosts)
        return part, folder

    def _answers(self, jobs: dict[int, dict]) -> list[dict]:
        late = threading.Timer(JOB_S, lambda: [member.kill() for member in self.members])
        late.start()
        try:
            for index, job in jobs.items():
                self.members[index].stdin.write(json.dumps(job) + "\n")
                self.members[index].stdin.flush()
            answers = [self._answer(self.members[index]) for index in jobs]
        finally:
            late.cancel()
        for answer in answers:
            if "error" in answer:
                raise RuntimeError(answer["error"])
        return answers

    def _answer(self, member: subprocess.Popen) -> dict:
        for line in member.stdout:
            if line.startswith(ANSWER):
                return json.loads(line[len(ANSWER) :])
        return {"error": "a member ended: " + Path("members.log").read_text()[-2000:]}


# -- the members' side ----------------------------------------------------------------------------------------------------


class _Sleep(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, forward_s, backward_s):
        ctx.backward_s = backward_s
        time.sleep(forward_s)
        return hidden.clone()

    @staticmethod
    def backward(ctx, gradient):
        time.sleep(ctx.backward_s)
        return gradient, None, None


class EmulatedStage:
    """Stands in for `edgecarbon.worker.pipeline.stage.Stage`: its passes sleep."""

    tied = embedding = None

    def __init__(self, first: bool, last: bool, width: int, seconds: tuple[float, float]) -> None:
        self.width, self.seconds, self.first = width, seconds, first
        self.model = nn.Module()
        self.model.begin = nn.Parameter(torch.zeros(width)) if first else None
        self.head = nn.Linear(width, 2) if last else None
        self.model.head = self.head
        self.model.never_empty = nn.Parameter(torch.zeros(1))

    def forward(self, inputs):
        return _Sleep.apply(self.model.begin.expand(*inputs.shape, -1) if self.first else inputs, *self.seconds)


def make_stage(job, plan):
    first, last = plan.stage == 0, plan.stage == plan.stages - 1
    if job["emulated"]:
        return EmulatedStage(first, last, job["config"]["hidden_size"], job["emulated"])
    return build_stage(ModelSpec("benchmark", job["config"], "random", None), plan.own_layers, torch.device("cpu"), 1)


def make_batch(job):
    shape = (job["training"]["batch_size"], job["training"]["sequence_length"])
    words = 2 if job["emulated"] else job["config"]["vocab_size"]
    return torch.randint(0, words, shape, generator=torch.Generator().manual_seed(1), dtype=torch.int32)


def make_engine(job, plan, link):
    return FleetEngine(make_stage(job, plan), plan, link, TrainingSpec(**job["training"]), select("cpu"), "fp32")


def one_step(job, engine, batch):
    if job["optimizer"]:
        engine.step(batch)
        return
    engine.spans = []
    engine.accumulate(batch)
    engine.gradients.zero_()
    engine.steps += 1


def fleet(job, plan):
    """Steps of edgecarbon's engine, each begun by all members together."""
    here, batch = Path(job["folder"]), make_batch(job)
    identity, authority = here / f"identity-{plan.rank}.pem", here / "authority.pem"
    mesh = Mesh(plan.rank, plan.members, plan.peers(), plan.run, identity, authority, plan.silence_s)
    mesh.join(plan.join_s)
    link = TorchLink(mesh, plan.port, plan.join_s) if plan.link == "gloo" else TlsLink(mesh)
    steps, sent = [], 0
    with closing(link):
        engine = make_engine(job, plan, link)
        for step in range(job["steps"]):
            barrier(mesh, step)
            before, began_s = sum(mesh.sent_bytes.values()), time.monotonic()
            one_step(job, engine, batch)
            steps.append((began_s, time.monotonic()))
            sent = sum(mesh.sent_bytes.values()) - before
        barrier(mesh, job["steps"])
    mesh.close(orderly=True)
    spent_s = Counter()
    for span in engine.spans:
        spent_s[span.kind] += span.end_s - span.start_s
    return {"steps": steps, "sent_bytes": sent, "spent_s": spent_s}


class _Whole(nn.Module):
    """A stage as torch's schedules take it. The copy keeps views away from them."""

    def __init__(self, stage):
        super().__init__()
        self.model, self.stage = stage.model, stage

    def forward(self, inputs):
        return self.stage.forward(inputs).clone()


def beside(job, plan):
    """The same steps of the same stage by torch.distributed.pipelining, over gloo."""
    import torch.distributed as dist
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe

    os.environ["GLOO_SOCKET_IFNAME"] = interface_of(plan.members[plan.rank].address) or ""
    dist.init_process_group(
        "gloo", init_method=f"tcp://{plan.members[0].address}:{plan.port}", rank=plan.rank,
        world_size=len(plan.members), timeout=timedelta(seconds=GLOO_S),
    )  # fmt: skip
    stage, batch = make_stage(job, plan), make_batch(job).long()
    whole, last = _Whole(stage), plan.stage == plan.stages - 1
    scale = 1.0 / (batch.shape[0] * (batch.shape[1] - 1))

    def loss(hidden, words):
        logits = stage.head(hidden[:, :-1]).flatten(0, 1)
        return scale * nn.functional.cross_entropy(logits, words[:, 1:].flatten(), reduction="sum")

    words = batch[: batch.shape[0] // plan.micro_batches]
    hidden = torch.zeros(*words.shape, stage.width)
    sizes = {"input_args": (hidden.requires_grad_() if plan.stage else words,)}
    piped = PipelineStage(whole, plan.stage, plan.stages, torch.device("cpu"), **sizes)
    kind = {"gpipe": ScheduleGPipe, "1f1b": Schedule1F1B}[job["order"]]
    schedule = kind(piped, plan.micro_batches, loss_fn=loss, scale_grads=False)
    steps = []
    for _ in range(job["steps"]):
        dist.barrier()
        began_s = time.monotonic()
        if plan.stage == 0:
            schedule.step(batch)
        else:
            schedule.step(**({"target": batch, "losses": [], "return_outputs": False} if last else {}))
        whole.zero_grad(set_to_none=False)
        steps.append((began_s, time.monotonic()))
    dist.barrier()
    dist.destroy_process_group()
    return {"steps": steps, "sent_bytes": 0}


class _NoLink:
    """Every message is here at once, and says nothing: what is left of a step is this member's own work."""

    def __init__(self, wire):
        self.wire, self.filled = wire, set()

    def send(self, peer, key, tensor):
        return self._done(peer, tensor)

    def receive(self, peer, key, into):
        if key.channel not in (FORWARD, BACKWARD):
            into.zero_()
        elif into.data_ptr() not in self.filled:
            self.filled.add(into.data_ptr())
            into.copy_(self.wire)
        return self._done(peer, into)

    def wait(self, transfer):
        transfer.done.wait()

    def _done(self, peer, tensor):
        transfer = Transfer(peer, tensor.numel())
        transfer.done.set()
        return transfer


def alone(job, plan):
    """What a pass costs with the encoding and decoding of its messages, and all that comes after the passes."""
    batch = make_batch(job)
    sizes = (batch.shape[0] // plan.micro_batches // len(plan.grid), batch.shape[1], job["config"]["hidden_size"])
    link = _NoLink(codec.encode(1e-3 * torch.randn(sizes), plan.boundary))
    engine = make_engine(job, plan, link)
    took = {"forward": [], "backward": [], "optimizer": []}
    for step in range(job["steps"]):
        one_step(job, engine, batch)
        ended_s = time.monotonic()
        if not step:
            continue
        kept = [span for span in engine.spans if span.kind in COMPUTE and span.kind != "optimizer"]
        last_s = kept[-1].end_s
        for span, end_s in zip(kept, [*(one.start_s for one in kept[1:]), last_s], strict=True):
            took[span.kind].append(end_s - span.start_s)
        took["optimizer"].append(ended_s - last_s)
    return {f"{name}_s": statistics.median(values) for name, values in took.items()}


def serve():
    torch.set_num_threads(1)
    work = {"fleet": fleet, "torch": beside, "alone": alone}
    for line in sys.stdin:
        job = json.loads(line)
        try:
            with unpadded_causal_attention():
                answer = work[job["work"]](job, parse_plan(Fields(job["part"], "fleet")))
        except Exception:
            answer = {"error": traceback.format_exc()}
        gc.collect()
        print(ANSWER + json.dumps(answer), flush=True)


def options(description, rounds, steps):
    """What both benchmarks can be asked for."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds, help="how often all is measured, in turn")
    parser.add_argument("--steps", type=int, default=steps, help="measured steps of each, after one that is not")
    parser.add_argument("--only", help="only settings whose name has this in it")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def others_cores():
    """How many cores other work keeps busy while the members rest: with more than a little, measured times scatter."""
    return psutil.cpu_percent(interval=0.5) / 100 * psutil.cpu_count()


def chosen(settings, only):
    return [one for one in settings if not only or only in one.name]


if __name__ == "__main__":
    serve()
