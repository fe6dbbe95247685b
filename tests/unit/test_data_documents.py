"""What becomes of a local file: its documents, and what is said of a bad one."""

import pytest

from edgecarbon.config.workload import Data
from edgecarbon.data import documents
from edgecarbon.errors import UserError


def load(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return documents.load_documents(Data(dataset=str(path)), seed=1)


def test_question_is_rendered_as_usual(tmp_path):
    line = '{"question": "2 + 2?", "subject": "sums", "choices": ["3", "4", "5"], "answer": %s}\n'
    by_number, by_letter = load(tmp_path / "a.jsonl", line % "1"), load(tmp_path / "b.jsonl", line % '"B"')
    assert by_number.texts == by_letter.texts == ["Question: 2 + 2?\nA. 3\nB. 4\nC. 5\nAnswer: B"]
    assert by_number.sha256 == by_letter.sha256


def test_paragraphs_are_documents_whatever_ends_the_lines(tmp_path):
    unix = load(tmp_path / "a.txt", "One\nstill one.\n\n \t\nTwo.\n\n\n\nThree.")
    windows = load(tmp_path / "b.txt", b"\xef\xbb\xbf" + b"One\r\nstill one.\r\n\r\n \t\r\nTwo.\r\n\r\nThree.")
    assert unix.texts == windows.texts == ["One\nstill one.", "Two.", "Three."]


def test_text_without_blank_lines_is_cut_between_words_and_loses_none(tmp_path):
    words = [f"word{number}" for number in range(20_000)]
    found = load(tmp_path / "a.txt", " ".join(words)).texts
    assert len(found) > 5
    assert max(map(len, found)) <= documents.DOCUMENT_LIMIT_CHARS
    assert " ".join(found).split() == words
    unbroken = load(tmp_path / "b.txt", "x" * 40_000).texts
    assert "".join(unbroken) == "x" * 40_000


def test_line_separators_inside_json_strings_do_not_end_a_line(tmp_path):
    assert load(tmp_path / "a.jsonl", '{"text": "a\u2028b\x85c"}\n').texts == ["a\u2028b\x85c"]


def test_larger_file_is_read_up_to_the_limit_and_the_source_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "TEXT_LIMIT_BYTES", 2**20)
    line = '{"text": "' + "é" * 100 + '"}\n'
    found = load(tmp_path / "a.jsonl", line * 6_000)
    assert found.source.endswith("a.jsonl (its first 1 MiB)")
    assert len(found.texts) == 2**20 // len(line.encode())
    assert load(tmp_path / "b.jsonl", line).source.endswith("b.jsonl")


def test_limit_inside_a_character_of_a_file_without_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "TEXT_LIMIT_BYTES", 2**20)
    found = load(tmp_path / "a.txt", "a" + "é" * 2**20)
    assert set("".join(found.texts)) == {"a", "é"}


BAD = {
    "nul.txt": (b"text\0more", r"nul\.txt: holds NUL bytes"),
    "blank.txt": (b" \n\n\t\n", r"blank\.txt: holds no text"),
    "latin.txt": (b"fine\nfine\nna\xefve\n", r"latin\.txt:3: not UTF-8"),
    "surrogate.jsonl": (b'{"text": "ok"}\n\n{"text": "\\ud83d"}\n', r"surrogate\.jsonl:3: half of a surrogate pair"),
    "deep.jsonl": (b"[" * 100_000 + b"\n", r"deep\.jsonl:1: not valid JSON"),
    "number.jsonl": (b'{"text": 7}\n', r"number\.jsonl:1: text: expected a string, found 7"),
    "choices.jsonl": (
        b'{"question": "?", "choices": "ab", "answer": 0}\n',
        r"choices\.jsonl:1: choices: expected a list",
    ),
    "one.jsonl": (b'{"question": "?", "choices": ["a"], "answer": 0}\n', r"one\.jsonl:1: choices"),
    "true.jsonl": (
        b'{"question": "?", "choices": ["a", "b"], "answer": true}\n',
        r"true\.jsonl:1: answer: .*found True",
    ),
    "letter.jsonl": (
        b'{"question": "?", "choices": ["a", "b"], "answer": "C"}\n',
        r"letter\.jsonl:1: answer: .*AB.*'C'",
    ),
    "none.jsonl": (b'{"question": "?", "choices": ["a", "b"]}\n', r"none\.jsonl:1: answer: .*found None"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_told_with_line_and_field(tmp_path, name):
    content, words = BAD[name]
    with pytest.raises(UserError, match=words):
        load(tmp_path / name, content)


def test_missing_file_is_told_its_nearest_neighbour(tmp_path):
    (tmp_path / "texts.jsonl").write_text("{}")
    with pytest.raises(UserError, match=r"text\.jsonl: no such file; did you mean 'texts\.jsonl'"):
        documents.load_documents(Data(dataset=str(tmp_path / "text.jsonl")), seed=1)


def test_folder_is_no_file(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(UserError, match=r"a\.txt: cannot be read"):
        documents.load_documents(Data(dataset=str(tmp_path / "a.txt")), seed=1)
