"""Finding what a package holds: one entry in each of its files or folders, known by existing."""

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TypeVar

from data_prep.errors import BadInput
from data_prep.io.files import matching

Entry = TypeVar("Entry")


def sources_in(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield what lies in a folder and is a source: no hidden file or folder, and nothing of Python's own.

    Editors, notebooks, git and file managers leave hidden copies beside a file, and so may links be that lead
    nowhere.

    Args:
        folder: that is looked into, itself or through a link; folders in it are.
        pattern: of the names of files, e.g. ``*.py``.
    """
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "__pycache__")):
            continue
        if path.is_dir():
            yield from sources_in(path, pattern)
        elif path.match(pattern) and path.is_file():
            yield path


def entries_of(
    package: ModuleType, constant: str, kind: type[Entry], key: str, guide: str, file: str = ""
) -> dict[str, tuple[str, Entry]]:
    """Return every entry of a package with its module, by key, sorted.

    Args:
        package: whose files are looked at; those that begin with ``_`` or are hidden are not.
        constant: name under which each file defines its entry, or a function that returns a list of them.
        kind: class of the entries.
        key: their attribute that tells them apart.
        guide: page that says how to write such an entry.
        file: where each entry is a folder, the file in it that defines the entry, such as ``dataset.py``.

    Raises:
        BadInput: a file defines no entry, or one whose key another has; the message names the file.
    """
    found: dict[str, tuple[str, Entry]] = {}
    places = [Path(place) for place in package.__path__]
    pattern = f"[!_.]*/{file}" if file else "[!_.]*.py"
    files = [(path.relative_to(place), path) for place in places for path in matching(place, pattern)]
    for inner, path in sorted(files):
        module = ".".join((package.__name__, *inner.with_suffix("").parts))
        try:
            entry = getattr(importlib.import_module(module), constant, None)
        except BadInput as error:
            raise BadInput(f"{path}: {error}") from error
        # A function returns what there is at the moment, any number.
        for one in entry() if isinstance(entry, FunctionType) else (entry,):
            if not isinstance(one, kind):
                raise BadInput(f"{path}: {constant} is no {kind.__name__}; define one ({guide})")
            name = getattr(one, key)
            if name in found:
                raise BadInput(f"{path}: {found[name][0]} has the {key} {name!r} too; rename one")
            found[name] = module, one
    return dict(sorted(found.items()))


def entry_named(name: str, found: Mapping[str, tuple[str, Entry]], what: str) -> Entry:
    """Return the entry of this name.

    Args:
        name: that a user gave.
        found: from ``entries_of``.
        what: the entries are, for the message.

    Raises:
        BadInput: there is no such entry.
    """
    if name not in found:
        raise BadInput(f"{what} {name!r} is unknown; known: {', '.join(found)}")
    return found[name][1]
