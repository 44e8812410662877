"""JSON files that steps write and read: objects with the fields that are needed, or refused by name."""

import json
import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from data_prep.errors import BadInput
from data_prep.io.files import replacing

_AGAIN = "delete it and make it again"
_KINDS = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    dict: "an object",
    list: "a list",
    NoneType: "null",
}


def read_json(
    path: Path,
    absent: str = "run the workflow to its end first",
    damaged: str = _AGAIN,
    fields: Iterable[str] | Mapping[str, Any] = (),
) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: the file.
        absent: what to do where there is no such file.
        damaged: what to do where it holds something else.
        fields: keys that must be there, perhaps with their types, see ``check_fields``.

    Raises:
        BadInput: there is no such file, it holds no JSON object, or a field is missing or of another type.
    """
    content = _read(path, absent, damaged)
    if not isinstance(content, dict):
        raise BadInput(f"{path}: not a JSON object; {damaged}")
    check_fields(content, fields, path, damaged)
    return content


def read_json_list(
    path: Path,
    absent: str = "run the workflow to its end first",
    damaged: str = _AGAIN,
    fields: Iterable[str] | Mapping[str, Any] = (),
) -> list[dict[str, Any]]:
    """Read a JSON list of objects, each with the fields; see ``read_json``."""
    content = _read(path, absent, damaged)
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise BadInput(f"{path}: not a JSON list of objects; {damaged}")
    for entry in content:
        check_fields(entry, fields, path, damaged)
    return content


def check_fields(
    content: Mapping[str, Any], fields: Iterable[str] | Mapping[str, Any], path: Path, damaged: str
) -> None:
    """Refuse an object that lacks a field or has one of another type.

    Args:
        content: of a JSON object.
        fields: names, of fields of fields with points between, perhaps with types such as ``int | None``.
        path: the file it is from.
        damaged: what to do with that.
    """
    for name in fields:
        value: Any = content
        for part in name.split("."):
            if not isinstance(value, Mapping) or part not in value:
                raise BadInput(f"{path}: field {name} is missing; {damaged}")
            value = value[part]
        if isinstance(fields, Mapping) and not _fits(value, fields[name]):
            wanted = " or ".join(_KINDS[kind] for kind in get_args(fields[name]) or (fields[name],))
            raise BadInput(f"{path}: field {name} is {reprlib.repr(value)}, not {wanted}; {damaged}")


def _fits(value: Any, kind: Any) -> bool:
    if isinstance(value, bool):
        return False
    # Some writers leave the point out of 2.0.
    return isinstance(value, kind) or (isinstance(value, int) and isinstance(0.0, kind))


def _read(path: Path, absent: str, damaged: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file; {absent}") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise BadInput(f"{path}: not JSON ({error}); {damaged}") from error


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record, keys sorted, floats in full."""
    with replacing(path) as temporary:
        text = json.dumps(record, sort_keys=True, indent=1, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
