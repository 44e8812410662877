"""JSON files are read as objects with the needed fields, or refused by name and remedy."""

from pathlib import Path

import pytest

from data_prep.errors import BadInput
from data_prep.json_files import read_json


def test_an_object_with_its_fields_is_returned(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"status": "finished", "epochs": 3}', encoding="utf-8")
    assert read_json(path, fields=["status"]) == {"status": "finished", "epochs": 3}


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"{", "not JSON"),
        (b"", "not JSON"),
        (b"\xff\xfe{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'["status"]', "not a JSON object"),
        (b'{"epochs": 3}', "field status is missing"),
    ],
)
def test_anything_else_is_refused_by_name(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=rf"run\.json: {what}.*; train it again$"):
        read_json(path, damaged="train it again", fields=["status"])


def test_a_missing_file_is_told_with_what_writes_it(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"run\.json: no such file; train it first$"):
        read_json(tmp_path / "run.json", "train it first")
