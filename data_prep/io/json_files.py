"""JSON that steps hand over: one written form, read back whole or refused by name.

``to_json`` and ``from_json`` write and read the dataclasses that one step makes and another takes, whether in
a file or in an option of a command. Equal values are equal texts: Snakemake runs a job again when the
text of a parameter changes.
"""

import json
import math
import os
import re
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

from data_prep.errors import BadInput, reading
from data_prep.io.files import write_text

_AGAIN = "delete it and make it again"
# A hundred thousand files in provenance.json take a third of it.
_LARGEST_FILE = 2**25  # bytes
_MOST_DIGITS = 1000
# ValueErrors are bytes that are no text, what is no JSON, and too long numbers.
DAMAGE = (ValueError, RecursionError)
# As msgspec names them.
_WORDS = {"int": "a whole number", "float": "a number", "str": "a text", "bool": "true or false"}
_WORDS |= {"object": "an object", "array": "a list"}
_BOUNDS = {">=": "from", ">": "above", "<": "below", "<=": "up to"}
Handed = TypeVar("Handed")


def canonical(value: Any) -> str:
    """Return JSON, with dataclasses as objects, with sorted keys and without spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_fields)


def _fields(record: Any) -> dict[str, Any]:
    """Return a dataclass as a mapping; what is unset is left out."""
    # Not msgspec.to_builtins: of what msgspec has read, that leaves defaults out.
    values = {entry.name: getattr(record, entry.name) for entry in fields(record)}
    return {name: value for name, value in values.items() if value is not msgspec.UNSET}


def to_json(record: Any) -> str:
    """Return a dataclass, or a list of them, as canonical JSON."""
    return canonical(record)


def from_json(kind: type[Handed], text: str, place: str, remedy: str) -> Handed:
    """Read what ``to_json`` wrote.

    Args:
        kind: a dataclass, or ``list`` or ``tuple`` of them; its annotations are the types that are asked for.
        text: JSON.
        place: the file or option that it is from, for messages.
        remedy: what to do if it is something else.

    Raises:
        BadInput: not JSON, a field is missing, unknown or of another type; the message names the field.
    """
    try:
        # The bytes that were given, whatever a locale made of them.
        content = parsed(os.fsencode(text))
    except DAMAGE as error:
        raise BadInput(f"{place}: not JSON ({error}); {remedy}") from error
    return converted(kind, content, place, remedy)


def parsed(text: str | bytes) -> Any:
    """Return what JSON says; one of ``DAMAGE`` is raised for what is none."""
    return json.loads(text, parse_int=_whole)


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def converted(kind: type[Handed], content: Any, place: str, remedy: str) -> Handed:
    """Return what ``parsed`` gave as a dataclass; see ``from_json``."""
    try:
        record = _taken(kind, content)
    except msgspec.ValidationError as error:
        raise BadInput(f"{place}: {_said(kind, content, str(error))}; {remedy}") from error
    except BadInput as error:
        # Of a dataclass's own checks, which know neither place nor remedy.
        raise BadInput(f"{place}: {error}; {remedy}") from error
    unknown = _unknown(content, msgspec.to_builtins(record), "")
    if unknown is not None:
        raise BadInput(f"{place}: field {unknown} is unknown; {remedy}")
    return record


def _taken(kind: type[Handed], content: Any) -> Handed:
    """Return what msgspec makes of it, which cannot refuse half of a character where it wants no text."""
    try:
        return msgspec.convert(content, kind)
    except UnicodeEncodeError as error:
        raise BadInput(f"holds {reprlib.repr(error.object)}, which is no text") from error


def _said(kind: Any, content: Any, problem: str, place: str = "") -> str:
    """Say msgspec's ``Expected `int`, got `str` - at `$.a[0].b``` as "field a[0].b is 'x', not ..."."""
    what, _, where = problem.partition(" - at ")
    of_a_key = where.startswith("`key` in ")
    where = where.removeprefix("`key` in ").strip("`").removeprefix("$")
    field = f"{place}{where}".lstrip(".")
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", what):
        return f"field {'.'.join(filter(None, (field, missing[1])))} is missing"
    named = re.match(r"Expected `([\w |]+)`(?: ([<>]=?) (.+))?$", what.partition(", got")[0])
    wanted = [_WORDS.get(name, name) for name in named[1].split(" | ")] if named else []
    if named and named[2]:
        wanted = [f"{wanted[0]} {_BOUNDS[named[2]]} {float(named[3]):g}"]
    found = ""
    # Msgspec leaves the keys of mappings out.
    if "..." not in where and not of_a_key:
        for step in re.findall(r"\w+", where):
            content = content[int(step) if step.isdigit() else step]
            kind = get_args(kind)[0] if type(None) in get_args(kind) else kind  # of what may be left out
            kind = get_args(kind)[0] if step.isdigit() else get_type_hints(kind)[step]
        found = f" {reprlib.repr(content)},"
    wanted = wanted or _choices(kind) or [f"usable ({what})"]
    verb = "has a key that is" if of_a_key else f"is{found}"
    return f"{f'field {field}' if field else 'the whole'} {verb} not {' or '.join(wanted)}"


def _choices(kind: Any) -> list[str]:
    """Name what a type is a choice of."""
    found = []
    for choice in get_args(kind):
        found += _choices(choice) or [_WORDS.get(getattr(choice, "__name__", ""), str(choice))]
    return found


def _unknown(content: Any, known: Any, place: str) -> str | None:
    """Return the first key that reading left out."""
    if isinstance(content, Mapping) and isinstance(known, Mapping):
        for name, value in content.items():
            if name not in known:
                return f"{place}{name}"
            if (found := _unknown(value, known[name], f"{place}{name}.")) is not None:
                return found
    elif isinstance(content, list) and isinstance(known, list | tuple):
        for index, (value, other) in enumerate(zip(content, known, strict=False)):
            if (found := _unknown(value, other, f"{place.rstrip('.')}[{index}].")) is not None:
                return found
    return None


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


def read_as(
    kind: type[Handed],
    path: Path,
    absent: str = "run the workflow to its end first",
    damaged: str = _AGAIN,
) -> Handed:
    """Read a JSON file as a dataclass; see ``read_json`` for the arguments and ``from_json`` for the rest."""
    return converted(kind, _read(path, absent, damaged), str(path), damaged)


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
        if isinstance(fields, Mapping):
            try:
                _taken(fields[name], value)
            except msgspec.ValidationError as error:
                raise BadInput(
                    f"{path}: {_said(fields[name], value, str(error), name)}; {damaged}"
                ) from error
            except BadInput as error:
                raise BadInput(f"{path}: field {name} {error}; {damaged}") from error


def _read(path: Path, absent: str, damaged: str) -> Any:
    with reading(path, f"no such file; {absent}", "not JSON", damaged, DAMAGE, _LARGEST_FILE):
        return parsed(path.read_text(encoding="utf-8"))


def write_json(path: Path, record: Any) -> None:
    """Write a record (dataclasses as objects), keys sorted, floats in full.

    JSON has no number that is not finite: NaN is written as null, and an infinite one as the text "inf" or
    "-inf".
    """
    text = json.dumps(_finite(record), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(float(value))
    if is_dataclass(value):
        value = _fields(value)
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value
