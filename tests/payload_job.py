"""Specs and tokens for tests that run the payload: small models, real training."""

from __future__ import annotations

import hashlib
import json
import random
import struct
import subprocess
from pathlib import Path

from edgecarbon.payload import build_payload

TINY_OPT = {
    "model_type": "opt",
    "vocab_size": 256,
    "hidden_size": 32,
    "word_embed_proj_dim": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "ffn_dim": 64,
    "max_position_embeddings": 64,
    "dropout": 0.1,
}


def write_job(folder: Path, **changes) -> Path:
    """Payload, tokens and spec in a folder; `changes` go over the spec's sections. Returns the spec's path."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(1)
    ids = [rng.randrange(256) for _ in range(16 * 16)]
    blob = struct.pack(f"<{len(ids)}i", *ids)
    (folder / "tokens.bin").write_bytes(blob)
    spec = {
        "schema": "edgecarbon.spec/1",
        "nonce": "0123456789abcdef" * 2,
        "run_id": "tiny/test/r1",
        "payload_sha256": build_payload(folder / "payload.pyz"),
        "deadline_s": 120,
        "model": {"name": "tiny-opt", "config": TINY_OPT, "weights": "random", "revision": None},
        "training": {
            "batch_size": 4, "sequence_length": 16, "steps": 3, "warmup_steps": 1, "learning_rate": 1e-3,
            "weight_decay": 0.1, "max_grad_norm": 1.0, "precision": "fp32", "seed": 7, "micro_batch_size": None,
            "activation_checkpointing": False, "compile": False, "threads": 1,
        },
        "data": {
            "path": "tokens.bin", "sha256": hashlib.sha256(blob).hexdigest(), "blocks": 16, "sequence_length": 16,
        },
        "device": {"accelerator": "cpu", "peak_tflops": None},
        "measurement": {
            "idle_before_s": 0.2, "idle_after_s": 0.2, "sample_period_s": 0.05, "minimum_window_s": 60,
            "meters": ["auto"],
            "estimate": {"idle_watts": 5.0, "busy_watts": 20.0, "relative_uncertainty": 0.5, "source": "test"},
        },
    }  # fmt: skip
    for section, values in changes.items():
        spec[section] = {**spec[section], **values} if isinstance(values, dict) else values
    path = folder / "spec.json"
    path.write_text(json.dumps(spec))
    return path


def run_payload(
    python: str, spec: Path, *arguments: str, timeout: float = 120, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the payload beside its spec, out of reach of this project, on a machine that is its own."""
    folder = spec.parent
    command = [
        python,
        str(folder / "payload.pyz"),
        "run",
        "--spec",
        str(spec),
        "--out",
        str(folder / "out"),
        *arguments,
    ]
    return subprocess.run(
        command,
        cwd=folder,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "HF_HUB_OFFLINE": "1",
            **(environment or {}),
        },
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def result_of(spec: Path) -> dict:
    return json.loads((spec.parent / "out/result.json").read_text())
