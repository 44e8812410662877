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
_SCIENTIFIC = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+")


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


def with_numbers(content: Any, schema: Mapping[str, Any]) -> Any:
    """Return what YAML was read as, with ``1e-3`` as a number wherever the schema takes no text.

    YAML 1.1, which PyYAML and Snakemake read, takes it for text, as its numbers need a point, and their
    exponents a sign.
    """
    return _with_numbers(content, [schema], schema.get("$defs", {}))


def _with_numbers(content: Any, schemas: list[Any], defs: Mapping[str, Any]) -> Any:
    parts = [part for part in schemas if isinstance(part, Mapping)]
    parts += [defs[part["$ref"].rpartition("/")[2]] for part in parts if "$ref" in part]
    parts += [choice for part in parts for key in ("oneOf", "anyOf") for choice in part.get(key, ())]
    if isinstance(content, Mapping):
        inner = {
            key: [part.get("properties", {}).get(key, part.get("additionalProperties")) for part in parts]
            for key in content
        }
        return {key: _with_numbers(value, inner[key], defs) for key, value in content.items()}
    if isinstance(content, list):
        items = [part.get("items") for part in parts]
        return [_with_numbers(value, items, defs) for value in content]
    if isinstance(content, str) and _SCIENTIFIC.fullmatch(content):
        return content if any("string" in part.get("type", ()) for part in parts) else float(content)
    return content


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
