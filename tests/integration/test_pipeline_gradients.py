"""A fleet's loss and gradients are those of one process: unequal stages, replicas, tied or not, both links, all orders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

import fleet_bench
from edgecarbon.worker.accelerator import select
from edgecarbon.worker.model import build_random, make_config
from edgecarbon.worker.pipeline.engine import FleetEngine
from edgecarbon.worker.pipeline.link import Link, TlsLink, TorchLink
from edgecarbon.worker.pipeline.mesh import Mesh
from edgecarbon.worker.pipeline.plan import parse_plan
from edgecarbon.worker.pipeline.rendezvous import barrier
from edgecarbon.worker.pipeline.stage import build_stage
from edgecarbon.worker.spec import Fields, ModelSpec, TrainingSpec
from edgecarbon.worker.training import Engine

STEPS = 2
BATCH = torch.randint(0, 97, (STEPS, 8, 16), generator=torch.Generator().manual_seed(1), dtype=torch.int32)


def member(rank: int, folder: str, config: dict[str, Any], part: dict[str, Any], training: dict[str, Any]) -> str:
    """One member's process: two steps. Returns its losses, norm, bytes and, by name in the whole model, its gradients."""
    torch.set_num_threads(1)
    plan = parse_plan(Fields({**part, "rank": rank}, "fleet"))
    accelerator = select("cpu")
    spec = TrainingSpec(**training)
    stage = build_stage(ModelSpec("test", config, "random", None), plan.own_layers, accelerator.device, spec.seed)
    here = Path(folder)
    mesh = Mesh(
        rank, plan.members, plan.peers(), plan.run, here / f"identity-{rank}.pem", here / "authority.pem", plan.silence_s
    )  # fmt: skip
    mesh.join(plan.join_s)
    link: Link = TorchLink(mesh, plan.port, plan.join_s) if plan.link == "gloo" else TlsLink(mesh)
    with closing(link):
        engine = FleetEngine(stage, plan, link, spec, accelerator, "fp32")
        losses, norms = [], []
        for batch in BATCH:
            loss = engine.accumulate(batch)
            engine.exchange()
            gradients = {name: p.grad.clone() for name, p in stage.model.named_parameters()}
            engine.optimizer.step()
            engine.gradients.zero_()
            engine.steps += 1
            losses.append(float(loss))
        barrier(mesh, 99)
    mesh.close(orderly=True)
    renamed = {whole_name(name, plan.own_layers.start): g.flatten().tolist() for name, g in gradients.items()}
    return json.dumps({
        "losses": losses, "norms": norms, "gradients": renamed, "stage": plan.stage, "replica": plan.replica,
        "sent": {str(k): v for k, v in mesh.sent_bytes.items()},
        "received": {str(k): v for k, v in mesh.received_bytes.items()},
    })  # fmt: skip


def whole_name(name: str, first_layer: int) -> str:
    """A stage's parameter as the whole model calls it."""
    parts = name.split(".")
    for place, part in enumerate(parts):
        if part in ("layers", "h"):
            parts[place + 1] = str(int(parts[place + 1]) + first_layer)
            break
    return ".".join(parts)


def alone(config: dict[str, Any], training: dict[str, Any]) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The same two steps by the engine of one device, which has tests of its own against plain torch."""
    from edgecarbon.worker.model import LoadedModel

    spec = TrainingSpec(**training)
    model = build_random(make_config(config), torch.device("cpu"), spec.seed, "sdpa").train()
    engine = Engine(LoadedModel(model, "sdpa", 0, 97), spec, select("cpu"), "fp32", print)
    engine.optimizer.zero_grad(set_to_none=True)
    losses, gradients = [], {}
    scale = 1.0 / (8 * 15)
    for batch in BATCH:
        weight = engine.head.cast_weight() if engine.head else None
        losses.append(float(engine._forward_backward(batch.long(), scale, weight) * scale))
        if spec.max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), spec.max_grad_norm)
        gradients = {name: p.grad.to_dense().clone() for name, p in model.named_parameters() if p.grad is not None}
        engine.optimizer.step()
        engine.optimizer.zero_grad(set_to_none=True)
    return losses, gradients


@pytest.fixture(scope="module")
def members() -> Iterator[fleet_bench.Members]:
    processes = fleet_bench.Members()
    yield processes
    processes.close()


CASES = [
    # config, tied, layers of the stages, replicas, link, order
    *(
        (fleet_bench.OPT, tied, layers, replicas, link, order)
        for layers, replicas in (([6], 2), ([4, 2], 1), ([2, 4], 2), ([1, 2, 2, 1], 1), ([1, 1, 3, 1], 2))
        for tied in (True, False)
        for link in ("tls", "gloo")
        for order in ("gpipe", "1f1b")
    ),
    (fleet_bench.OPT, True, [1, 3, 1, 1], 1, "tls", "eager-1f1b"),
    (fleet_bench.OPT, True, [6], 1, "tls", "gpipe"),
    (fleet_bench.GPT2, True, [3, 1, 2], 1, "tls", "1f1b"),
    (fleet_bench.GPT2, True, [2, 4], 2, "gloo", "gpipe"),
    (fleet_bench.LLAMA, False, [3, 1, 2], 1, "tls", "1f1b"),
    (fleet_bench.LLAMA, True, [2, 4], 2, "gloo", "gpipe"),
]


@pytest.mark.parametrize(("config", "tied", "layers", "replicas", "link", "order"), CASES)
def test_gradients_are_those_of_one_process(
    members: fleet_bench.Members,
    tmp_path: Path,
    config: dict[str, Any],
    tied: bool,
    layers: list[int],
    replicas: int,
    link: str,
    order: str,
) -> None:
    config = {**config, "tie_word_embeddings": tied}
    # Clipping bites, so that the whole model's norm is held to account too.
    training = fleet_bench.training_part(max_grad_norm=0.5)
    micro_batches = 2 if replicas == 2 else 4
    part = fleet_bench.fleet_part(layers, replicas, link=link, order=order, micro_batches=micro_batches)
    count = len(layers) * replicas
    fleet_bench.write_identities(tmp_path, part["run"], count)
    found = members.run(member, [(rank, str(tmp_path), config, part, training) for rank in range(count)])
    losses, gradients = alone(config, training)
    last = [one for one in found if one["stage"] == len(layers) - 1]
    for step, loss in enumerate(losses):
        assert sum(one["losses"][step] for one in last) == pytest.approx(loss, rel=1e-5)
    seen = set()
    for one in found:
        for name, values in one["gradients"].items():
            seen.add(name)
            # An absolute part as well: k_proj.bias has a true gradient of zero.
            whole = gradients.get(name)
            if whole is None:  # the copy of a tied weight, which the whole model knows by the embedding's name
                assert name == "lm_head.weight"
                whole = next(g for n, g in gradients.items() if "embed_tokens" in n or "wte" in n)
            torch.testing.assert_close(torch.tensor(values), whole.flatten(), rtol=1e-5, atol=2e-7)
    assert {name for name in gradients if name != "lm_head.weight"} <= seen
    for rank, one in enumerate(found):
        for peer, sent in one["sent"].items():
            assert found[int(peer)]["received"][str(rank)] == sent


@pytest.mark.parametrize("codecs", [("bf16", "bf16"), ("fp16", "fp16"), ("int8", "bf16")])
def test_compressed_copies_agree_to_the_bit_and_the_loss_stays_near(
    members: fleet_bench.Members, tmp_path: Path, codecs: tuple[str, str]
) -> None:
    config = {**fleet_bench.OPT, "tie_word_embeddings": True}
    training = fleet_bench.training_part(max_grad_norm=0.5)
    part = fleet_bench.fleet_part([2, 4], 2, micro_batches=2, boundary=codecs[0], gradients=codecs[1])
    fleet_bench.write_identities(tmp_path, part["run"], 4)
    found = members.run(member, [(rank, str(tmp_path), config, part, training) for rank in range(4)])
    by_place = {(one["replica"], one["stage"]): one["gradients"] for one in found}
    for stage in (0, 1):
        assert by_place[0, stage] == by_place[1, stage]
    embedding = next(values for name, values in by_place[0, 0].items() if "embed_tokens" in name)
    assert embedding == by_place[0, 1]["lm_head.weight"]
    losses, gradients = alone(config, training)
    last = [one for one in found if one["stage"] == 1]
    for step, loss in enumerate(losses):
        assert sum(one["losses"][step] for one in last) == pytest.approx(loss, rel=0.01)
    whole = next(g for name, g in gradients.items() if "embed_tokens" in name).flatten()
    error = (torch.tensor(embedding) - whole).norm() / whole.norm()
    assert 0 < error < 0.1  # rounded, and no more than that
