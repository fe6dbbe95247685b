"""Documents packed into int32 token blocks, cached by their content."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import IO, Any

import numpy as np

from edgecarbon.config.base import validate
from edgecarbon.config.workload import Data
from edgecarbon.data.cache import content_key, written_whole
from edgecarbon.data.documents import Documents, load_documents
from edgecarbon.data.tokenizer import Tokenizer, load_tokenizer
from edgecarbon.errors import UserError

SCHEMA = "edgecarbon.tokens/1"
CACHE = Path(".cache/edgecarbon")
# Part of the cache key: raise it when the same documents and tokenizer would come out as other blocks.
PACKING = 1
DOCUMENTS_AT_ONCE = 1_024

Tokens = np.ndarray[Any, np.dtype[np.int32]]


def build_tokens(
    settings: dict[str, Any], model: dict[str, Any], out: Path, cache: Path = CACHE
) -> tuple[Path, dict[str, Any]]:
    """Tokenise a data set and pack it into blocks, or take them from the cache.

    The documents are shuffled with the seed, each followed by a separator, and cut into blocks; where they run out they
    are shuffled anew and repeated.

    Args:
        settings: `data` (a `Data` section as a mapping), `sequence_length` (tokens a block), `blocks` (how many),
            `seed`, and `revision` (of the model's own tokenizer on the hub, or None).
        model: an `edgecarbon.model/1` mapping; its name, source, vocabulary_size and max_sequence_length are used.
        out: file for the blocks: little-endian int32 ids below the model's vocabulary size, C order (blocks,
            sequence_length). Beside it, ending in .json, the `edgecarbon.tokens/1` mapping that describes it.
        cache: folder of tokenizers and blocks by content; it may be deleted at any time.

    Returns:
        `out` and the mapping.

    Raises:
        UserError: the data set or the tokenizer cannot be had, a file is malformed, or the model takes shorter blocks.
    """
    data = validate(Data, settings["data"], "data")
    limit = model["max_sequence_length"]
    if limit is not None and settings["sequence_length"] > limit:
        raise UserError(
            f"sequence_length: {model['name']} takes at most {limit} tokens (found {settings['sequence_length']})"
        )
    documents = load_documents(data, settings["seed"])
    tokenizer = load_tokenizer(data.tokenizer, model, documents, cache, settings["revision"])
    try:
        blocks, facts = _cached_blocks(settings, model["vocabulary_size"], documents, tokenizer, cache)
        sidecar = {
            "schema": SCHEMA,
            "dataset": data.dataset,
            "dataset_source": documents.source,
            "split": data.split if data.dataset == "mmlu" else None,
            "documents": len(documents.texts),
            "tokenizer": tokenizer.kind,
            "tokenizer_source": tokenizer.source,
            **facts,
        }
        with written_whole(out) as file, blocks.open("rb") as source:
            shutil.copyfileobj(source, file)
        with written_whole(out.with_suffix(".json")) as file:
            file.write(json.dumps(sidecar, indent=1).encode() + b"\n")
    except OSError as error:
        raise UserError(
            f"{error.filename or cache}: cannot be written ({error.strerror}). Free space or rights."
        ) from None
    return out, sidecar


def _cached_blocks(
    settings: dict[str, Any], vocabulary_size: int, documents: Documents, tokenizer: Tokenizer, cache: Path
) -> tuple[Path, dict[str, Any]]:
    """The blocks' file in the cache, and the facts that follow from what its key is made of."""
    sequence_length, blocks, seed = settings["sequence_length"], settings["blocks"], settings["seed"]
    key = content_key(
        documents=documents.sha256,
        tokenizer=tokenizer.fingerprint,
        vocabulary_size=vocabulary_size,
        sequence_length=sequence_length,
        blocks=blocks,
        seed=seed,
        packing=PACKING,
    )
    path = cache / "tokens" / f"{key}.bin"
    facts_path = path.with_suffix(".json")
    if facts := _intact(path, facts_path):
        return path, facts
    ids, ends = _encode_all(documents.texts, tokenizer)
    if ids.max() >= vocabulary_size:
        raise UserError(
            f"data.tokenizer: that of {tokenizer.source} gave the id {ids.max()}, and the model's vocabulary has only "
            f"{vocabulary_size}. Way out: `tokenizer: byte-level`."
        )
    with written_whole(path) as file:
        sha256 = _write_shuffled(file, ids, ends, blocks * sequence_length, seed)
    facts = {
        "tokens_available": len(ids),
        "blocks": blocks,
        "sequence_length": sequence_length,
        "epochs": max(1.0, blocks * sequence_length / len(ids)),
        "vocabulary_size": vocabulary_size,
        "sha256": sha256,
    }
    with written_whole(facts_path) as file:  # last, so that its presence says that the blocks are whole
        file.write(json.dumps(facts).encode())
    return path, facts


def _encode_all(texts: list[str], tokenizer: Tokenizer) -> tuple[Tokens, list[int]]:
    """All documents' ids in one array, a separator after each, and the index at which each document ends."""
    parts: list[Tokens] = []
    ends: list[int] = []
    end = 0
    for start in range(0, len(texts), DOCUMENTS_AT_ONCE):
        for ids in tokenizer.encode(texts[start : start + DOCUMENTS_AT_ONCE]):
            parts.append(np.array([*ids, tokenizer.separator_id], dtype="<i4"))
            end += len(ids) + 1
            ends.append(end)
    return np.concatenate(parts), ends


def _write_shuffled(file: IO[bytes], ids: Tokens, ends: list[int], tokens: int, seed: int) -> str:
    """Write `tokens` ids, document by document in a new random order each pass; return their SHA-256."""
    generator = np.random.default_rng(seed)
    starts = [0, *ends[:-1]]
    digest = hashlib.sha256()
    while tokens:
        order = generator.permutation(len(ends))
        for first in range(0, len(order), DOCUMENTS_AT_ONCE):
            chosen = order[first : first + DOCUMENTS_AT_ONCE]
            piece = np.concatenate([ids[starts[document] : ends[document]] for document in chosen])[:tokens]
            file.write(piece.tobytes())
            digest.update(piece.tobytes())
            tokens -= len(piece)
            if not tokens:
                break
    return digest.hexdigest()


def _intact(path: Path, facts_path: Path) -> dict[str, Any] | None:
    """The facts of blocks in the cache, or None where they are absent or damaged."""
    try:
        facts: dict[str, Any] = json.loads(facts_path.read_text(encoding="utf-8"))
        with path.open("rb") as file:
            whole = hashlib.file_digest(file, "sha256").hexdigest() == facts["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return facts if whole else None
