"""What in a text tells of a machine or a person: places, users, hosts, passwords, patients' ids."""

import getpass
import os
import pwd
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from data_prep.io.private import LOGIN, SECRET, without_login

# Names that tell of nobody.
_COMMON = {
    "root",
    "user",
    "users",
    "nobody",
    "admin",
    "guest",
    "ubuntu",
    "debian",
    "localhost",
    "localdomain",
}
_SHORTEST = 3  # letters of a name that is looked for

_FIRST = (
    "home|Users|root|data|datasets?|mnt|media|scratch|work|srv|tmp|var|opt|usr|etc|export|projects?|nfs|gpfs"
    "|lustre|beegfs|storage|volumes?|Volumes|private|run|cluster|afs|net|dev|proc"
)
# Not within an address or a relative path, no closing tag, no base64; a usual first name, or two that are no
# pattern of JavaScript such as /a/g.
_START = r"(?<![\w.~/@%+*)\]}<\\-])"
_PATTERN = r"[^/\s]+/[gimsuy]{1,4}(?![\w/.-])"
_PATH = re.compile(
    rf"{_START}/(?:(?:{_FIRST})\b|(?!{_PATTERN})[^\W\d][\w.@+-]*/[\w.@+-])[^\s\"'<>|:;,()\[\]{{}}`\\]*"
)
_QUOTED_PATH = re.compile(r"(?<=[\"'])/[^\W\d][\w.@+-]+(?=[\"'])")
_FURTHER_PATH = re.compile(
    r"file://[^\s\"'<>]+|(?<!\w)[A-Z]:\\{1,2}[A-Z][^\s\"'<>]*|(?<![\w/.~-])~\w*/\w[^\s\"'<>]*"
)
_IN_BYTES = re.compile(rf"(?<![\w./])/(?:{_FIRST})/\w[\w.@+/-]+")
_HOST_LINE = re.compile(r"^[ \t]*host(?:name)?:[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)
# Of pictures within a page.
_BLOB = re.compile(r"[A-Za-z0-9+/=]{300,}")

_PATIENT = re.compile(
    r"patient|person|birth|accession|medical.?record|(?:sur|family|first|given).?name|\bmrn\b", re.IGNORECASE
)
_HOST_FIELD = re.compile(r"(?:host|node|user|login)_?(?:name)?|e_?mail", re.IGNORECASE)
# Made-up persons, and the numbers that stand for real ones.
_HARMLESS = re.compile(r"embedded[-\w]*|person-\d+|")


@dataclass(frozen=True)
class Names:
    """Names that are looked for as words.

    Attributes:
        hosts: of this machine, with and without its domain.
        users: who runs this and who owns the folder, by login and by full name.
    """

    hosts: tuple[str, ...]
    users: tuple[str, ...]


def names_here(folder: Path) -> Names:
    """Return the names of this machine, of who runs this and of who owns a folder, but for common ones."""
    hosts = {
        name for full in (socket.gethostname(), os.uname().nodename) for name in (full, full.split(".")[0])
    }
    users = set()
    with suppress(OSError, KeyError):
        users.add(getpass.getuser())
    for uid in {os.getuid(), folder.stat().st_uid}:
        with suppress(KeyError):
            entry = pwd.getpwuid(uid)
            users |= {entry.pw_name, entry.pw_gecos.split(",")[0]}
    return Names(_told(hosts), _told(users))


def _told(names: set[str]) -> tuple[str, ...]:
    return tuple(sorted(name for name in names if len(name) >= _SHORTEST and name.lower() not in _COMMON))


def private_words(text: str, names: Names, in_bytes: bool = False) -> Iterator[tuple[str, str]]:
    """Yield what is private in a text: its kind, and the words; of an address with a password without that.

    Args:
        text: to be looked at.
        names: from ``names_here``.
        in_bytes: whether the text was picked out of a file of bytes, where chance makes short paths.
    """
    text = _BLOB.sub("", text)
    for pattern in (LOGIN, SECRET):
        for found in pattern.finditer(text):
            start = max(text.rfind(mark, 0, found.start()) for mark in " \"'<>\t\n") + 1
            yield "address with a login", without_login(re.split(r"[\s\"'<>]", text[start:])[0])
    for pattern in (_IN_BYTES,) if in_bytes else (_PATH, _QUOTED_PATH, _FURTHER_PATH):
        yield from (("absolute path", found[0]) for found in pattern.finditer(text))
    yield from (("host", found[1]) for found in _HOST_LINE.finditer(text))
    for kind, known in (("host", names.hosts), ("user", names.users)):
        for name in known:
            if re.search(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", text, re.IGNORECASE):
                yield kind, name


def private_field(name: str, value: object) -> str | None:
    """Return of which kind a field or a column is by its name, where its value is not empty; else None."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    if value is None or _HARMLESS.fullmatch(text.strip()):
        return None
    if _PATIENT.search(name):
        return "id of a patient"
    return "host or user" if _HOST_FIELD.fullmatch(name) else None
