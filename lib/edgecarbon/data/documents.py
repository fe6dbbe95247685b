"""Documents: MMLU, the bundled questions, or any local text or JSONL file."""

from __future__ import annotations

import hashlib
import json
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from edgecarbon.config.base import nearest
from edgecarbon.config.workload import FILE_SUFFIXES, Data
from edgecarbon.errors import UserError
from edgecarbon.models import first_line, hub_reachable

# Text held in memory and offered to the run; a larger file is read up to here, and the sidecar says so.
TEXT_LIMIT_BYTES = 64 * 2**20
# A text file without blank lines is cut into documents of at most this many characters.
DOCUMENT_LIMIT_CHARS = 16_384


@dataclass(frozen=True)
class Documents:
    """Texts in a fixed order, where they came from, and the hash of their content."""

    texts: list[str]
    source: str
    sha256: str


def load_documents(data: Data, seed: int) -> Documents:
    """The texts of a data set, in file order (MMLU's in an order drawn from `seed`); at most 64 MiB of them.

    Raises:
        UserError: the file or the hub's data set cannot be read; names file, line and field.
    """
    if data.dataset == "mmlu":
        texts, source = _mmlu(data.split, seed)
    elif data.file is not None:
        texts, source = _read_file(data.file)
    else:
        content = (resources.files("edgecarbon") / "bundled" / "questions.jsonl").read_text(encoding="utf-8")
        texts, source = list(_json_lines(content, "bundled questions")), "questions that ship with edgecarbon"
    if not texts:
        raise UserError(f"{data.dataset}: holds no text; give a file with at least one document.")
    digest = hashlib.sha256()
    for text in texts:
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return Documents(texts, source, digest.hexdigest())


def _mmlu(split: str, seed: int) -> tuple[list[str], str]:
    hub_reachable()  # where it is not, only the local cache is asked
    import datasets

    try:
        rows = datasets.load_dataset("cais/mmlu", "all", split=split)
    except Exception as error:  # the hub's clients raise many kinds; each has the same ways out
        raise UserError(
            f"data.dataset: mmlu: the split '{split}' of cais/mmlu is not in the local cache and could not be had from "
            f"the Hugging Face hub ({first_line(error)}). Ways out: `dataset: bundled`, or the path of a local .txt or "
            ".jsonl file; or fetch it once where there is a connection and set HF_HOME to that cache."
        ) from None
    commit = re.search(
        r"[/\\]([0-9a-f]{40})[/\\]", rows.cache_files[0]["filename"]
    )  # the cache keeps each commit apart
    source = f"cais/mmlu{'@' + commit[1] if commit else ''}"
    texts: list[str] = []
    size = 0
    # The splits are sorted by subject: shuffled, a part of one is still a fair sample.
    for row in rows.shuffle(seed=seed, keep_in_memory=True):
        texts.append(_question(row, "cais/mmlu"))
        size += len(texts[-1])
        if size > TEXT_LIMIT_BYTES:
            return texts, f"{source} (a sample of {len(texts)} of {len(rows)})"
    return texts, source


def _read_file(path: Path) -> tuple[list[str], str]:
    try:
        with path.open("rb") as file:
            content = file.read(TEXT_LIMIT_BYTES + 1)
    except FileNotFoundError:
        names = [sibling.name for sibling in path.parent.glob("*") if sibling.name.endswith(FILE_SUFFIXES)]
        hint = nearest(path.name, names) if names else "check the path"
        raise UserError(f"{path}: no such file; {hint}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error}). Check the path and its permissions.") from None
    source = str(path)
    if len(content) > TEXT_LIMIT_BYTES:
        content = content[: content.rfind(b"\n") + 1 or _character_start(content, TEXT_LIMIT_BYTES)]
        source += f" (its first {TEXT_LIMIT_BYTES // 2**20} MiB)"
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: not UTF-8 ({error.reason}). Convert the file to UTF-8.") from None
    if "\0" in text:
        raise UserError(f"{path}: holds NUL bytes, so it is no text file. Give a text or JSONL file in UTF-8.")
    return list(_json_lines(text, str(path)) if path.suffix == ".jsonl" else _paragraphs(text)), source


def _character_start(content: bytes, index: int) -> int:
    """The start of the UTF-8 character that the byte at `index` belongs to."""
    starts = (start for start in range(index, index - 4, -1) if content[start] & 0xC0 != 0x80)
    return next(starts, index)


def _paragraphs(text: str) -> Iterator[str]:
    """Paragraphs between blank lines; a longer one is cut at the end of a line or word."""
    for paragraph in re.split(r"\n\s*\n", text):
        start = 0
        while start < len(paragraph):
            end = start + DOCUMENT_LIMIT_CHARS
            if end < len(paragraph):
                cut = max(paragraph.rfind("\n", start, end), paragraph.rfind(" ", start, end))
                end = cut if cut > start else end
            if document := paragraph[start:end].strip():
                yield document
            start = end


def _json_lines(content: str, source: str) -> Iterator[str]:
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{source}:{number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where}: not valid JSON ({error}). Each line must be one JSON object.") from None
        if not isinstance(record, dict):
            raise UserError(f"{where}: expected a JSON object, found {type(record).__name__}.")
        text = _string(record, "text", where) if "text" in record else _question(record, where)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"{where}: half of a surrogate pair ({error.reason}). Write whole characters.") from None
        if text.strip():
            yield text


def _question(record: dict[str, Any], where: str) -> str:
    """One multiple-choice question as text, the answer by its letter."""
    question, choices, answer = _string(record, "question", where), record.get("choices"), record.get("answer")
    if not isinstance(choices, list) or not 2 <= len(choices) <= 26 or not all(isinstance(c, str) for c in choices):
        raise UserError(f"{where}: choices: expected a list of 2 to 26 strings, found {choices!r}")
    letters = string.ascii_uppercase[: len(choices)]
    if isinstance(answer, str) and len(answer) == 1:
        answer = letters.find(answer)
    if type(answer) is not int or not 0 <= answer < len(choices):
        raise UserError(
            f"{where}: answer: expected a number from 0 to {len(choices) - 1} or one of the letters {letters}, "
            f"found {record.get('answer')!r}"
        )
    options = "\n".join(f"{letter}. {choice}" for letter, choice in zip(letters, choices, strict=True))
    return f"Question: {question}\n{options}\nAnswer: {letters[answer]}"


def _string(record: dict[str, Any], key: str, where: str) -> str:
    if key not in record:
        raise UserError(
            f"{where}: {key}: required, and not given; a line has `text`, or `question`, `choices` and `answer`"
        )
    value = record[key]
    if not isinstance(value, str):
        raise UserError(f"{where}: {key}: expected a string, found {value!r}")
    return value
