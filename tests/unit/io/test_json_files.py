"""JSON files are read as objects with the needed fields, or refused by name and remedy."""

from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.errors import BadInput
from data_prep.io.json_files import read_json, read_json_list


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


FIELDS = {"code.commit": str | None, "rate": float, "count": int}


@pytest.mark.parametrize(
    ("read", "content", "what"),
    [
        (read_json, "{}", "field code.commit is missing"),
        (read_json, '{"code": null}', "field code.commit is missing"),
        (read_json, '{"code": {"commit": 1}}', "field code.commit is 1, not a text or null"),
        (read_json, '{"code": {"commit": null}, "rate": "fast"}', "field rate is 'fast', not a number"),
        (read_json, '{"code": {"commit": null}, "rate": true}', "field rate is True, not a number"),
        (
            read_json,
            '{"code": {"commit": null}, "rate": 1, "count": 4.5}',
            "field count is 4.5, not a whole number",
        ),
        (read_json_list, "[", "not JSON"),
        (read_json_list, "{}", "not a JSON list of objects"),
        (read_json_list, "[1]", "not a JSON list of objects"),
        (
            read_json_list,
            '[{"code": {"commit": "b"}, "rate": 1, "count": 2}, {}]',
            "field code.commit is missing",
        ),
    ],
)
def test_what_is_of_another_kind_is_refused_by_name(
    tmp_path: Path, read: Callable[..., object], content: str, what: str
) -> None:
    path = tmp_path / "run.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(BadInput, match=rf"run\.json: {what}.*; train it again$"):
        read(path, damaged="train it again", fields=FIELDS)


def test_fields_of_their_types_are_returned(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"code": {"commit": null}, "rate": 2, "count": 3}', encoding="utf-8")
    assert read_json(path, fields=FIELDS)["count"] == 3


def test_a_missing_file_is_told_with_what_writes_it(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"run\.json: no such file; train it first$"):
        read_json(tmp_path / "run.json", "train it first")
