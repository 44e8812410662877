"""What people write, checked against a JSON schema, and refused by the key's name with what it takes."""

import re
import reprlib
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema

from data_prep.errors import BadInput

_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "boolean": "true or false",
    "array": "a list",
    "object": "keys with values",
    "null": "null",
}


def _pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[jsonschema.ValidationError]:
    """Search as the standard does: ``$`` is a text's end, and not, as in Python, before a last line break."""
    strict = re.sub(
        r"\\.|\[(?:\\.|[^\]\\])*\]|\$", lambda part: r"\Z" if part[0] == "$" else part[0], pattern
    )
    if isinstance(instance, str) and not re.search(strict, instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


# By the standard 2.0 is an integer, too; here it would reach what counts or names with it. (jsonschema gives
# `extend` no types.)
_Validator = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator,
    {"pattern": _pattern},
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)


def check_schema(content: Any, schema: Mapping[str, Any], place: str, whole: str, remedy: str) -> None:
    """Refuse what does not fit a schema.

    Args:
        content: as YAML is read.
        schema: JSON schema, draft 2020-12.
        place: where the content stands, for messages.
        whole: what its top level is called.
        remedy: where the schema can be read.

    Raises:
        BadInput: naming the key and what it takes.
    """
    problem = jsonschema.exceptions.best_match(_Validator(schema).iter_errors(content))
    if problem is not None:
        key = problem.json_path.removeprefix("$").lstrip(".") or whole
        raise BadInput(f"{place}: {key}: {_said(problem)}; {remedy}")


def _said(problem: jsonschema.ValidationError) -> str:
    value = reprlib.repr(problem.instance)
    limit: Any = problem.validator_value
    if problem.validator in ("oneOf", "anyOf"):
        return f"{value} is not {' or '.join(map(_wanted, limit))}"
    if problem.validator == "maxLength":
        return f"has {len(str(problem.instance))} characters, more than {limit}"
    return problem.message.replace(repr(problem.instance), value)


def _wanted(schema: Mapping[str, Any]) -> str:
    """Say what a part of a schema takes."""
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    kinds = schema.get("type", "object")
    said = " or ".join(_WORDS[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds))
    if "items" in schema:
        said += f" (each {_wanted(schema['items'])})"
    named = schema.get("required") or schema.get("propertyNames", {}).get("enum")
    if named:
        said += f" ({', '.join(named)})"
    if "minimum" in schema:
        said += f" from {schema['minimum']}"
    return said
