"""JSON files are read as objects with the needed fields, or refused by name and remedy."""

from pathlib import Path

import pytest

from data_prep.errors import BadInput
from data_prep.json_files import read_json, read_json_list


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


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("{}", "field code.commit is missing"),
        ('{"code": null}', "field code.commit is missing"),
        ('{"code": {"commit": 1}}', "field code.commit is 1, not a text or null"),
        ('{"code": {"commit": null}, "rate": "fast"}', "field rate is 'fast', not a number"),
        ('{"code": {"commit": null}, "rate": true}', "field rate is True, not a number"),
        ('{"code": {"commit": null}, "rate": 1, "count": 4.5}', "field count is 4.5, not a whole number"),
    ],
)
def test_a_field_of_another_type_is_refused_by_name(tmp_path: Path, content: str, what: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(content, encoding="utf-8")
    fields = {"code.commit": str | None, "rate": float, "count": int}
    with pytest.raises(BadInput, match=rf"run\.json: {what}; train it again$"):
        read_json(path, damaged="train it again", fields=fields)


def test_fields_of_their_types_are_returned(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"code": {"commit": null}, "rate": 2, "count": 3}', encoding="utf-8")
    assert read_json(path, fields={"code.commit": str | None, "rate": float, "count": int})["count"] == 3


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("[", "not JSON"),
        ("{}", "not a JSON list of objects"),
        ("[1]", "not a JSON list of objects"),
        ('[{"a": "b"}, {}]', "field a is missing"),
    ],
)
def test_anything_but_a_list_of_objects_is_refused_by_name(tmp_path: Path, content: str, what: str) -> None:
    path = tmp_path / "donors.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(BadInput, match=rf"donors\.json: {what}.*; make it again$"):
        read_json_list(path, damaged="make it again", fields={"a": str})


def test_a_missing_file_is_told_with_what_writes_it(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"run\.json: no such file; train it first$"):
        read_json(tmp_path / "run.json", "train it first")
