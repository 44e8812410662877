"""What a results folder still tells of machines and persons: every file is looked into, whatever its form.

No link is followed. What is drawn is not read, nor what scans show: a head can be recognised.
"""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from data_prep.errors import BadInput
from data_prep.io.files import below
from workflow.provenance.contents import BYTES, UNREAD, Told, texts
from workflow.provenance.private import Names, names_here, private_words

_LONGEST = 100  # characters of an example


class Private(NamedTuple):
    """What is private in a file.

    Attributes:
        file: relative path.
        kind: such as "absolute path".
        example: the first of it, and where it stands.
        more: how many others of the kind there are.
    """

    file: str
    kind: str
    example: str
    more: int


def find_private(results: Path, names: Names | None = None) -> tuple[list[Private], int]:
    """Return what is private in a results folder, by file and kind, and how many files were looked into.

    Args:
        results: the folder.
        names: of hosts and users; by default of this machine.

    Raises:
        BadInput: there is no such folder.
        OSError: a file cannot be read now.
    """
    if not results.is_dir():
        raise BadInput(f"{results}: no such folder; give the results of an experiment, such as results/demo")
    names = names or names_here(results)
    found, count = [], 0
    for path in below(results):
        file, by_kind = path.relative_to(results).as_posix(), dict[str, list[str]]()
        for told in _told(path, file):
            kinds = (
                [(told.kind, told.text)]
                if told.kind
                else private_words(told.text, names, told.place == BYTES)
            )
            for kind, words in kinds:
                shown = f"{words[:_LONGEST]!r}" + (f" ({told.place})" if told.place else "")
                by_kind.setdefault(kind, []).append(shown)
        found += [Private(file, kind, shown[0], len(shown) - 1) for kind, shown in by_kind.items()]
        count += 1
    return found, count


def _told(path: Path, file: str) -> Iterator[Told]:
    yield Told("its name", f" {file} ")
    if re.match(r"events\.out\.tfevents\.\d+\.", path.name):
        yield Told("its name", path.name, "host")
    if path.is_symlink():
        yield from _link(str(path.readlink()), PurePosixPath(file))
        return
    if not stat.S_ISREG(path.stat().st_mode):
        yield Told("", "no regular file", UNREAD)
        return
    with path.open("rb") as stream:
        yield from texts(stream, path.stat().st_size, PurePosixPath(file))


def _link(target: str, file: PurePosixPath) -> Iterator[Told]:
    """Yield a link that leads out of the folder, whose copy would lack what it leads to."""
    within = os.path.normpath(file.parent / target)
    if target.startswith("/"):
        yield Told("link", target, "absolute path")
    elif within.startswith(".."):
        yield Told("link", target, UNREAD)
