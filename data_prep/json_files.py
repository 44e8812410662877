"""JSON files that steps write and read: objects with the fields that are needed, or refused by name."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from data_prep.errors import BadInput


def read_json(
    path: Path,
    absent: str = "run the workflow to its end first",
    damaged: str = "delete it and make it again",
    fields: Iterable[str] = (),
) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: the file.
        absent: what to do where there is no such file.
        damaged: what to do where it holds something else.
        fields: keys that must be there.

    Raises:
        BadInput: there is no such file, it holds no JSON object, or a field is missing.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file; {absent}") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise BadInput(f"{path}: not JSON ({error}); {damaged}") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path}: not a JSON object; {damaged}")
    for field in fields:
        if field not in content:
            raise BadInput(f"{path}: field {field} is missing; {damaged}")
    return content
