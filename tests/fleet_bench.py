"""Real members of a fleet on this machine: one process each, over loopback, with certificates of their own."""

from __future__ import annotations

import json
import multiprocessing
import secrets
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgecarbon.fleet.authority import make_certificates

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
