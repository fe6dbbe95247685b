"""The model's own tokenizer, or a byte-level one that is trained on the documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from edgecarbon.data.cache import content_key, written_whole
from edgecarbon.data.documents import Documents
from edgecarbon.errors import UserError
from edgecarbon.models import first_line, hub_reachable, local_path

# A byte-level vocabulary is learned from the first part of the text, where more would only cost time.
TRAINING_LIMIT_CHARS = 8 * 2**20
# Part of the cache key: raise it when the same documents would give another tokenizer.
TRAINING = 1
SEPARATOR = "<|endoftext|>"
SMALLEST_VOCABULARY = 257  # every byte, and the separator


@dataclass(frozen=True)
class Tokenizer:
    """What turns texts into ids: `encode` maps texts to lists of ids, without special tokens."""

    kind: str
    source: str
    fingerprint: str
    separator_id: int
    encode: Callable[[list[str]], list[list[int]]]


def load_tokenizer(
    choice: str, model: dict[str, Any], documents: Documents, folder: Path, revision: str | None = None
) -> Tokenizer:
    """The tokenizer that `choice` ("own", "byte-level" or "auto") means for this model and these documents.

    Raises:
        UserError: "own" was asked for and cannot be had, or the vocabulary is too small for a byte-level tokenizer.
    """
    if choice == "byte-level":
        return _byte_level(model["vocabulary_size"], documents, folder, "trained on the documents")
    try:
        return _own(model, revision)
    except UserError:
        if choice == "own":
            raise
    reason = f"trained on the documents, because {model['name']}'s own tokenizer could not be had"
    return _byte_level(model["vocabulary_size"], documents, folder, reason)


def _own(model: dict[str, Any], revision: str | None) -> Tokenizer:
    name, vocabulary_size = model["name"], model["vocabulary_size"]
    ways_out = "Ways out: `tokenizer: auto` or `byte-level`"
    if name.startswith("edgecarbon/"):
        raise UserError(f"data.tokenizer: own: {name} has no tokenizer of its own. {ways_out}.")
    path = local_path(name) if model["source"] == "local" else None
    reachable = path is not None or hub_reachable()
    try:
        from transformers import AutoTokenizer

        place = path.parent if path is not None and path.is_file() else path
        tokenizer = AutoTokenizer.from_pretrained(place or name, revision=revision or "main", trust_remote_code=False)
    except Exception as error:  # transformers and the hub's clients raise many kinds
        state = "could not be had" if reachable else "is not in the local cache, and the hub cannot be reached"
        raise UserError(
            f"data.tokenizer: own: the tokenizer of {name} {state} ({first_line(error)}). {ways_out}; a model folder "
            "with its tokenizer's files; or fetch it once where there is a connection and set HF_HOME to that cache."
        ) from None
    separator = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.bos_token_id
    vocabulary = tokenizer.get_vocab()
    # A folder without a vocabulary yields an empty tokenizer, which would turn every text into nothing.
    if separator is None or len(vocabulary) < SMALLEST_VOCABULARY:
        raise UserError(
            f"data.tokenizer: own: the tokenizer of {name} ({len(vocabulary)} entries) has no vocabulary, or no "
            f"end-of-text token. {ways_out}."
        )
    if max(vocabulary.values()) >= vocabulary_size:
        raise UserError(
            f"data.tokenizer: own: the tokenizer of {name} gives ids up to {max(vocabulary.values())}, and the model's "
            f"vocabulary has only {vocabulary_size}. {ways_out}."
        )
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = backend.to_str() if backend is not None else json.dumps(vocabulary, sort_keys=True)

    def encode(texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    source = f"{name}@{revision}" if revision else name
    return Tokenizer("own", source, content_key(kind="own", content=content), separator, encode)


def _byte_level(vocabulary_size: int, documents: Documents, folder: Path, source: str) -> Tokenizer:
    if vocabulary_size < SMALLEST_VOCABULARY:
        raise UserError(
            f"data.tokenizer: byte-level: needs a vocabulary of at least {SMALLEST_VOCABULARY}, and the model has "
            f"{vocabulary_size}. Ways out: a model with a larger vocabulary, or `tokenizer: own`."
        )
    key = content_key(kind="byte-level", documents=documents.sha256, vocabulary_size=vocabulary_size, training=TRAINING)
    path = folder / "tokenizers" / f"{key}.json"

    @cache  # trained or read when first used: blocks that are in the cache need no tokenizer
    def load() -> Any:
        from tokenizers import Tokenizer as FastTokenizer

        try:
            return FastTokenizer.from_file(str(path))
        except Exception:  # the one kind that the library raises: there is none yet, or it is spoilt
            with written_whole(path) as file:
                file.write(_train_byte_level(vocabulary_size, documents.texts).encode())
        return FastTokenizer.from_file(str(path))

    def encode(texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in load().encode_batch_fast(texts, add_special_tokens=False)]

    return Tokenizer("byte-level", source, key, 0, encode)


def _train_byte_level(vocabulary_size: int, texts: list[str]) -> str:
    """A byte-level BPE learned from the texts, as JSON, its vocabulary padded with entries that no text gives."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    def sample() -> Iterator[str]:
        size = 0
        for text in texts:
            if size > TRAINING_LIMIT_CHARS:
                return
            size += len(text)
            yield text

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[SEPARATOR],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sample(), trainer)
    content = json.loads(tokenizer.to_str())
    # A text that spells the separator out is text, not the end of a document.
    content["added_tokens"] = []
    vocabulary = content["model"]["vocab"]
    vocabulary.update({f"<|unused{id}|>": id for id in range(len(vocabulary), vocabulary_size)})
    return json.dumps(content, ensure_ascii=False)
