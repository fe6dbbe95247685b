"""Models by name: a bundled architecture, a local config, or the Hugging Face hub; with exact parameter counts."""

from __future__ import annotations

import functools
import json
import os
import re
import socket
import sys
import threading
import urllib.request
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from edgecarbon.config.base import nearest
from edgecarbon.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

SCHEMA = "edgecarbon.model/1"
PROBE_TIMEOUT_S = 3.0
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
# How and where a config was stored, not what is built from it; they would tie the model file to a path or a version.
NOT_ARCHITECTURE = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "_commit_hash")


def bundled_models() -> list[str]:
    """Names of the architectures that ship with the package."""
    files = (resources.files("edgecarbon") / "bundled" / "models").iterdir()
    return sorted(file.name.removesuffix(".json").replace("--", "/") for file in files if file.name.endswith(".json"))


def resolve_model(name: str, revision: str | None = None) -> dict[str, Any]:
    """Find a causal language model's architecture and count its parameters without allocating them.

    Args:
        name: a bundled name, a folder with `config.json`, a JSON file, or a name on the hub, in that order.
        revision: commit, tag or branch on the hub; given, the bundled architectures are passed over.

    Returns:
        The `edgecarbon.model/1` mapping: name, source ("bundled", "local" or "hub"), config (a transformers config as a
        mapping), parameters and embedding_parameters (a tied tensor counted once), vocabulary_size, max_sequence_length
        (tokens; None where the architecture sets no limit).

    Raises:
        UserError: no such model, the hub cannot be reached, or the config is not one of a causal language model.
    """
    if revision is None and name in bundled_models():
        file = resources.files("edgecarbon") / "bundled" / "models" / f"{name.replace('/', '--')}.json"
        return _describe(name, "bundled", _config_from_text(file.read_text(encoding="utf-8"), name))
    path = local_path(name)
    if path is not None:
        file_path = path / "config.json" if path.is_dir() else path
        try:
            text = file_path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"{file_path}: cannot be read ({error}). Expected a transformers config.json, or a folder that has one."
            ) from None
        return _describe(name, "local", _config_from_text(text, str(file_path)))
    return _describe(name, "hub", _config_from_hub(name, revision))


def local_path(name: str) -> Path | None:
    """The local path that a model name means, or None where it is a bundled or a hub name."""
    path = Path(name).expanduser()
    return path if name.startswith((".", "/", "~")) or name.endswith(".json") or path.is_dir() else None


@functools.cache
def hub_reachable() -> bool:
    """Whether the Hugging Face hub (or the proxy on the way to it) accepts a connection, within 3 s; asked once.

    Where it does not, the hub's clients are switched to their offline mode, in which they use their cache: left to
    themselves they try again for 23 s a file.
    """
    from huggingface_hub import constants

    reachable = not constants.HF_HUB_OFFLINE and _accepts_connection(constants.ENDPOINT)
    if not reachable:
        os.environ["HF_HUB_OFFLINE"] = "1"
        constants.HF_HUB_OFFLINE = True
        if "datasets" in sys.modules:  # it copied the switch when it was imported
            sys.modules["datasets"].config.HF_HUB_OFFLINE = True
    return reachable


def _accepts_connection(url: str) -> bool:
    target = urlsplit(url)
    proxy = urllib.request.getproxies().get(target.scheme)
    if proxy and not urllib.request.proxy_bypass(target.hostname or ""):
        target = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    port = target.port or (80 if target.scheme == "http" else 443)
    accepted = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection((target.hostname or "", port), timeout=PROBE_TIMEOUT_S).close()
            accepted.set()
        except OSError:
            pass

    # In a thread of its own, because a name server that does not answer is not covered by the socket's timeout.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(PROBE_TIMEOUT_S)
    return accepted.is_set()


def _config_from_text(text: str, source: str) -> PreTrainedConfig:
    from transformers import CONFIG_MAPPING

    try:
        data = json.loads(text)
    except ValueError as error:
        raise UserError(f"{source}: not valid JSON ({error}). Expected a transformers config.json.") from None
    if not isinstance(data, dict) or not isinstance(data.get("model_type"), str):
        raise UserError(f'{source}: model_type: required, and not given; e.g. "model_type": "opt".')
    if data["model_type"] not in CONFIG_MAPPING:
        close = nearest(data["model_type"], list(CONFIG_MAPPING.keys()))
        hint = close if close.startswith("did") else "upgrade transformers, or choose an architecture that it has"
        raise UserError(f"{source}: model_type: transformers knows no architecture '{data['model_type']}'; {hint}")
    try:
        return CONFIG_MAPPING[data["model_type"]].from_dict(data)
    except Exception as error:  # whatever a config class makes of a wrong value is the file's fault
        raise UserError(f"{source}: transformers refuses this config: {first_line(error)}.") from None


def _config_from_hub(name: str, revision: str | None) -> PreTrainedConfig:
    bundled = bundled_models()
    hint = nearest(name, bundled).replace("valid names:", "bundled:").rstrip("?")
    if not HUB_NAME.fullmatch(name):
        raise UserError(f"model: '{name}' is no bundled model, no folder, and no name the hub could have; {hint}")
    reachable = hub_reachable()
    from transformers import AutoConfig

    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            name, revision=revision or "main", trust_remote_code=False
        )
        return config
    except Exception as error:  # the hub's clients raise many kinds; each ends in the same ways out
        reason = first_line(error)
    at_revision = f" at revision '{revision}'" if revision else ""
    ways_out = f"use a bundled model ({hint}), give a folder or a config.json"
    if name in bundled:
        ways_out = "leave `revision` out to use the bundled architecture, " + ways_out
    if reachable:
        raise UserError(
            f"model: '{name}'{at_revision} could not be had from the Hugging Face hub: {reason}. Ways out: {ways_out}; "
            "a gated or private model needs `hf auth login` first."
        )
    raise UserError(
        f"model: '{name}'{at_revision} is not in the local cache, and the Hugging Face hub cannot be reached. Ways "
        f"out: {ways_out}, or fetch it once where there is a connection and set HF_HOME to that cache."
    )


def _describe(name: str, source: str, config: PreTrainedConfig) -> dict[str, Any]:
    model = _build_without_memory(name, config)
    text_config = config.get_text_config()
    kept = {key: value for key, value in config.to_dict().items() if key not in NOT_ARCHITECTURE}
    return {
        "schema": SCHEMA,
        "name": name,
        "source": source,
        "config": json.loads(json.dumps(kept, sort_keys=True)),
        "parameters": _count(model.parameters()),
        "embedding_parameters": _count(_embedding_tensors(model)),
        "vocabulary_size": text_config.vocab_size,
        "max_sequence_length": getattr(text_config, "max_position_embeddings", None),
    }


def _build_without_memory(name: str, config: PreTrainedConfig) -> PreTrainedModel:
    import torch
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    except Exception as error:
        raise UserError(
            f"model: '{name}' (model_type {config.model_type}) cannot be built as a causal language model: "
            f"{first_line(error)}."
        ) from None
    model.tie_weights()
    return model


def _embedding_tensors(model: PreTrainedModel) -> list[Any]:
    """Token and position embeddings, and the output head: what grows with vocabulary and context, not with depth."""
    import torch

    tensors = [module.weight for module in model.modules() if isinstance(module, torch.nn.Embedding)]
    head = model.get_output_embeddings()
    return tensors + ([] if head is None else list(head.parameters()))


def _count(tensors: Any) -> int:
    return sum(tensor.numel() for tensor in {id(tensor): tensor for tensor in tensors}.values())


def first_line(error: Exception) -> str:
    """What an error says, without the paragraphs of advice that the hub's clients add."""
    return next((line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()), type(error).__name__)
