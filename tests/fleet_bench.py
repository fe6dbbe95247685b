"""Real members of a fleet on this machine: one process each, over loopback, with certificates of their own."""

from __future__ import annotations

import array
import hashlib
import json
import multiprocessing
import secrets
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peers
from edgecarbon.config.devices import DeviceCarbon, Estimate, Limits, SshDevice, Virtual
from edgecarbon.config.fleet import Fleet
from edgecarbon.fleet import virtual
from edgecarbon.fleet.authority import make_certificates
from edgecarbon.payload import build_payload
from edgecarbon.together import FleetOrder, measure_together

OPT = {
    "model_type": "opt", "hidden_size": 32, "num_hidden_layers": 6, "ffn_dim": 64, "num_attention_heads": 4, "vocab_size": 97,
    "max_position_embeddings": 64, "word_embed_proj_dim": 32, "dropout": 0.0,
}  # fmt: skip
GPT2 = {
    "model_type": "gpt2", "n_embd": 32, "n_layer": 6, "n_head": 4, "vocab_size": 97, "n_positions": 64, "resid_pdrop": 0.0,
    "embd_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
LLAMA = {
    "model_type": "llama", "hidden_size": 32, "num_hidden_layers": 6, "intermediate_size": 64, "num_attention_heads": 4,
    "vocab_size": 97, "max_position_embeddings": 64,
}  # fmt: skip


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


def write_identities(folder: Path, run: str, count: int) -> None:
    """`identity-RANK.pem` of each member, and `authority.pem`."""
    made = make_certificates(run, count, 3600)
    (folder / "authority.pem").write_bytes(made.authority)
    for rank, identity in enumerate(made.identities):
        (folder / f"identity-{rank}.pem").write_bytes(identity)


def fleet_part(layers: list[int], replicas: int, **changes: Any) -> dict[str, Any]:
    """The part `fleet` of a spec, without its rank."""
    count = len(layers) * replicas
    ports = free_ports(count + 1)
    grid = [[replica * len(layers) + stage for stage in range(len(layers))] for replica in range(replicas)]
    return {
        "mode": "train", "run": secrets.token_hex(8),
        "members": [{"name": f"member-{rank}", "address": "127.0.0.1", "port": ports[rank]} for rank in range(count)],
        "layers": layers, "grid": grid, "micro_batches": 4, "order": "1f1b", "link": "tls", "port": ports[count],
        "boundary": "fp32", "gradients": "fp32", "join_s": 60, "silence_s": 20, "probe_bytes": 1 << 20, **changes,
    }  # fmt: skip


def training_part(**changes: Any) -> dict[str, Any]:
    return {
        "batch_size": 8, "sequence_length": 16, "steps": 1, "warmup_steps": 0, "learning_rate": 1e-3, "weight_decay": 0.01,
        "max_grad_norm": None, "precision": "fp32", "seed": 5, "micro_batch_size": None, "activation_checkpointing": False,
        "compile": False, "threads": 1, **changes,
    }  # fmt: skip


class Members:
    """Processes that stay, so that only the first job of each pays for its imports."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[tuple[Any, Any]] = []

    def run(self, work: Callable[..., str], jobs: list[tuple[Any, ...]], timeout_s: float = 120.0) -> list[Any]:
        """`work(*job)` for each job, all at once. Returns the JSON that each returned; a failure fails the test."""
        while len(self._workers) < len(jobs):
            ours, theirs = self._context.Pipe()
            process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            self._workers.append((process, ours))
        for (_, pipe), job in zip(self._workers, jobs, strict=False):
            pipe.send((work, job))
        results = []
        for _, pipe in self._workers[: len(jobs)]:
            assert pipe.poll(timeout_s), "a member hangs"
            results.append(pipe.recv())
        failures = [text for good, text in results if not good]
        assert not failures, failures[0]
        return [json.loads(text) for _, text in results]

    def close(self) -> None:
        for process, _ in self._workers:
            process.kill()
            process.join()


def _serve(pipe: Any) -> None:
    while True:
        work, job = pipe.recv()
        try:
            pipe.send((True, work(*job)))
        except BaseException:
            pipe.send((False, traceback.format_exc()))


class Stand:
    """Virtual hosts of this machine with real sshd's, and fleets' runs on them as the workflow makes them.

    Args:
        hosts: name -> {cpu_percent, up_mbyte_per_s, down_mbyte_per_s}.
    """

    def __init__(self, folder: Path, hosts: dict[str, dict[str, float]]) -> None:
        self.folder, self.hosts = folder, hosts
        build_payload(folder / "payload.pyz")
        self.running = virtual.start(
            {n: {"transport": "ssh", **host} for n, host in hosts.items()}, Path(".fleet"), peers.ROOT
        )

    def stop(self) -> None:
        self.running.stop()

    def order(
        self,
        placement: dict[str, Any] | None,
        *,
        training: dict[str, Any] | None = None,
        run: str = "test",
        **fleet: Any,
    ) -> FleetOrder:
        estimate = Estimate(busy_watts=20.0).model_dump()
        device = {
            "accelerator": "cpu",
            "peak_tflops": None,
            "meters": ["estimate"],
            "estimate": estimate,
            "virtual": True,
        }
        return FleetOrder(
            workload=run, name="stand", repeat=1, placement=placement, deadline_s=300.0,
            fleet={**Fleet(devices=list(self.hosts)).model_dump(), "join_s": 60.0, **fleet},
            devices={name: self._entry(name) for name in self.hosts},
            settings={
                "weights": "random", "revision": None, "training": training_part(warmup_steps=1, **(training or {})),
                "measurement": {
                    "idle_before_s": 0.2, "idle_after_s": 0.2, "sample_period_s": 0.1, "minimum_window_s": 1.0,
                },
                "devices": dict.fromkeys(self.hosts, device),
            },
        )  # fmt: skip

    def measure(self, order: FleetOrder, config: dict[str, Any]) -> dict[str, Any]:
        """The record of a run."""
        place = self.folder / order.workload
        place.mkdir(exist_ok=True)
        (place / "model.json").write_text(json.dumps({"name": "test", "config": config}))
        self._tokens(place, order.settings["training"], config["vocab_size"])
        measure_together(
            order, self.folder / "payload.pyz", place / "model.json", place / "tokens.bin", place / "logs", place / "attempts",
            place / "record.json",
        )  # fmt: skip
        return json.loads((place / "record.json").read_text())

    def _entry(self, name: str) -> dict[str, Any]:
        return SshDevice(
            transport="ssh", virtual=Virtual(**self.hosts[name]), meters=["estimate"],
            carbon=DeviceCarbon(role="edge", embodied="generic-computer"), limits=Limits(wait_s=0.0, silence_s=10.0),
        ).model_dump(mode="json")  # fmt: skip

    def _tokens(self, place: Path, training: dict[str, Any], vocabulary: int) -> None:
        length, blocks = (
            training["sequence_length"],
            training["batch_size"] * (training["steps"] + training["warmup_steps"]),
        )
        words = array.array("i", (n * 7919 % vocabulary for n in range(blocks * length))).tobytes()
        (place / "tokens.bin").write_bytes(words)
        facts = {"sha256": hashlib.sha256(words).hexdigest(), "blocks": blocks, "sequence_length": length}
        (place / "tokens.json").write_text(json.dumps(facts))
