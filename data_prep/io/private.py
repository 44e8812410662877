"""Texts without what stays on a machine (folders, who logs in where), and persons whom other ids name."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_prep.errors import visible

# Who logs in stands before the last @ of what ends at the first slash.
LOGIN = re.compile(r"(?<=://)[^/?#\s\"'<>]*@")
SECRET = re.compile(
    r"(?i)(?<=[?&])([\w.%-]*(?:token|key|sig|secret|passw|auth|credential)[\w.%-]*=)[^&#\s\"'<>${}`]+"
)


def without_login(text: str) -> str:
    """Return a text whose addresses have no user, no password and no value of a secret parameter.

    ``https://user:password@host/a.tar?token=b`` becomes ``https://host/a.tar?token=``.
    """
    return SECRET.sub(r"\1", LOGIN.sub("", text))


def without_logins(value: Any) -> Any:
    """Return plain data, all of whose texts are as ``without_login`` leaves them."""
    if isinstance(value, Mapping):
        return {key: without_logins(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_logins(inner) for inner in value]
    return without_login(value) if isinstance(value, str) else value


def without_folders(text: str, names: Mapping[Path, str]) -> str:
    """Return a text that calls files by other names, and other files of their folders by their last names.

    Args:
        text: such as a message.
        names: path as it stands in the text -> what to say instead.
    """
    for path, name in names.items():
        text = text.replace(str(path), name)
    for folder in {path.parent for path in names} - {Path("/"), Path()}:
        text = re.sub(rf"(?<![\w./-]){re.escape(str(folder))}/", "", text)
    return text


def from_within(text: str, folder: Path) -> str:
    """Return a message that names files below a folder as they are named from there."""
    return text.replace(visible(f"{folder}/"), "")


def named_in(person: str, subject: str) -> bool:
    """Whether a person's id is a part of a subject's, between separators."""
    return bool(re.search(rf"(?<![A-Za-z0-9]){re.escape(person)}(?![A-Za-z0-9])", subject))
