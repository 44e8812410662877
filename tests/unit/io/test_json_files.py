"""JSON files are read as objects with the needed fields, or refused by name and remedy."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from data_prep.errors import BadInput
from data_prep.io.json_files import (
    canonical,
    check_fields,
    from_json,
    read_as,
    read_json,
    to_json,
    write_json,
)


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
    ("content", "what"),
    [
        ("{}", "field code.commit is missing"),
        ('{"code": null}', "field code.commit is missing"),
        ('{"code": {"commit": 1}}', "field code.commit is 1, not a text or null"),
        ('{"code": {"commit": null}, "rate": "fast"}', "field rate is 'fast', not a number"),
        ('{"code": {"commit": null}, "rate": true}', "field rate is True, not a number"),
        (
            '{"code": {"commit": null}, "rate": 1, "count": 4.5}',
            "field count is 4.5, not a whole number",
        ),
    ],
)
def test_what_is_of_another_kind_is_refused_by_name(tmp_path: Path, content: str, what: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(BadInput, match=rf"run\.json: {what}.*; train it again$"):
        read_json(path, damaged="train it again", fields=FIELDS)


def test_fields_of_their_types_are_returned(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"code": {"commit": null}, "rate": 2, "count": 3}', encoding="utf-8")
    assert read_json(path, fields=FIELDS)["count"] == 3


def test_a_missing_file_is_told_with_what_writes_it(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"run\.json: no such file; train it first$"):
        read_json(tmp_path / "run.json", "train it first")


# ---- dataclasses ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """A part of what is handed over."""

    size: float
    kind: Literal["one", "other"] = "one"

    def __post_init__(self) -> None:
        if self.size < 0:
            raise BadInput(f"size {self.size:g} is below 0")


@dataclass(frozen=True)
class Whole:
    """What is handed over."""

    name: str
    parts: tuple[Part, ...] = ()
    count: int | None = None
    free: dict[str, Any] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)


def test_what_is_written_is_read_back_as_it_was_and_equal_values_are_equal_texts(tmp_path: Path) -> None:
    whole = Whole("a", (Part(0.1 + 0.2, "other"),), 3, {"ü": [None, 1.5]}, {"b": 1.0})
    assert from_json(Whole, to_json(whole), "--whole", "mend it") == whole
    text = '{"parts": [{"size": 0}], "name": "a"}'
    read = from_json(Whole, text, "--whole", "mend it")
    assert read == Whole("a", (Part(0.0),))
    assert to_json(read) == to_json(Whole("a", (Part(0.0),)))
    assert to_json([whole, whole]) == f"[{to_json(whole)},{to_json(whole)}]"
    assert canonical({"b": whole, "a": 1}) == f'{{"a":1,"b":{to_json(whole)}}}'
    write_json(tmp_path / "whole.json", {"of": whole})
    assert read_json(tmp_path / "whole.json")["of"]["parts"] == [{"kind": "other", "size": 0.1 + 0.2}]
    write_json(tmp_path / "whole.json", [whole])
    assert read_as(list[Whole], tmp_path / "whole.json") == [whole]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "not JSON"),
        ("[]", r"the whole is \[\], not an object"),
        ("{}", "field name is missing"),
        ('{"name": 1}', "field name is 1, not a text"),
        ('{"name": "a", "count": 2.0}', "field count is 2.0, not a whole number or null"),
        ('{"name": "a", "count": true}', "field count is True, not a whole number or null"),
        ('{"name": "a", "nam": "b"}', "field nam is unknown"),
        ('{"name": "a", "parts": [{"size": 1}, {}]}', r"field parts\[1\].size is missing"),
        ('{"name": "a", "parts": [{"size": "1"}]}', r"field parts\[0\].size is '1', not a number"),
        (
            '{"name": "a", "parts": [{"size": 1, "kind": "third"}]}',
            r"field parts\[0\].kind is 'third', not one or other",
        ),
        ('{"name": "a", "parts": [{"size": 1, "side": 2}]}', r"field parts\[0\].side is unknown"),
        ('{"name": "a", "shares": {"b": "c"}}', r"field shares\[...\] is not a number"),
        ('{"name": "a", "parts": [{"size": -1}]}', "size -1 is below 0"),
        (
            f'{{"name": "a", "parts": [{{"size": 1{"0" * 400}}}]}}',
            r"field parts\[0\].size is 10.*, not usable",
        ),
    ],
)
def test_what_was_not_written_so_is_refused_by_place_field_and_remedy(text: str, what: str) -> None:
    with pytest.raises(BadInput, match=rf"^--whole: {what}.*; mend it$"):
        from_json(Whole, text, "--whole", "mend it")


def test_what_is_written_is_json_whatever_the_numbers(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Tried:
        scores: tuple[float, ...]

    numbers = (1.5, float("nan"), float("inf"), -float("inf"))
    write_json(tmp_path / "a.json", {"tried": Tried(numbers), "more": [{"psnr": np.float64("inf")}, 2]})
    read = json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)
    assert read == {"tried": {"scores": [1.5, None, "inf", "-inf"]}, "more": [{"psnr": "inf"}, 2]}


def test_half_of_a_character_in_place_of_a_number_is_refused() -> None:
    with pytest.raises(BadInput, match=r"^a\.json: holds '\\ud800', which is no text; mend it$"):
        from_json(dict[str, float], '{"a": "\\ud800"}', "a.json", "mend it")
    with pytest.raises(BadInput, match=r"^a\.json: field a holds '\\ud800', which is no text; mend it$"):
        check_fields({"a": "\ud800"}, {"a": float}, Path("a.json"), "mend it")


def test_a_key_of_another_kind_is_named() -> None:
    with pytest.raises(BadInput, match=r"a\.json: field a has a key that is not a text; mend it"):
        check_fields({"a": {3: 1}}, {"a": dict[str, int]}, Path("a.json"), "mend it")
