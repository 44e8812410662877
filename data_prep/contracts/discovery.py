"""Finding what a package holds: one entry in each of its files or folders, known by existing."""

import importlib
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TypeVar

from data_prep.errors import BadInput, of_the_system
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
        BadInput: a file cannot be imported, or defines no entry, or one whose key another has or whose
            ``order`` is no number; the message names the file.
    """
    found: dict[str, tuple[str, Entry]] = {}
    places = [Path(place) for place in package.__path__]
    pattern = f"[!_.]*/{file}" if file else "[!_.]*.py"
    files = [(path.relative_to(place), path) for place in places for path in matching(place, pattern)]
    for inner, path in sorted(files):
        module = ".".join((package.__name__, *inner.with_suffix("").parts))
        entry = getattr(imported(module, path), constant, None)
        # A function returns what there is at the moment, any number.
        for one in entry() if isinstance(entry, FunctionType) else (entry,):
            if not isinstance(one, kind):
                raise BadInput(f"{path}: {constant} is no {kind.__name__}; define one ({guide})")
            if type(order := getattr(one, "order", 0)) not in (int, float):
                raise BadInput(f"{path}: {constant}: order is {order!r}; give a whole number")
            name = getattr(one, key)
            if name in found:
                raise BadInput(f"{path}: {found[name][0]} has the {key} {name!r} too; rename one")
            found[name] = module, one
    return dict(sorted(found.items()))


def imported(module: str, path: Path) -> ModuleType:
    """Import a module that users add to.

    Args:
        module: its full name.
        path: its file, for the message.

    Raises:
        BadInput: it cannot be imported: a package that it needs is missing, say, or its text is no Python.
        OSError: of the system, which says nothing of the file.
    """
    try:
        return importlib.import_module(module)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error
    # Foreign code: anything may come out of it, and a script that reads its arguments leaves the program.
    except (Exception, SystemExit) as error:
        if of_the_system(error):
            raise
        raise BadInput(
            f"{path}: it cannot be imported, {told(error, path)}; mend it, or move it elsewhere"
        ) from error


def told(error: BaseException, own: Path) -> str:
    """Return an exception of foreign code in a line: its kind, its text, and where it came about.

    Args:
        error: the exception.
        own: file or folder of the code, whose last line that the error came through is named.
    """
    return f"{type(error).__name__}: {' '.join(str(error).split())}{_line_of(error, own)}"


def _line_of(error: BaseException, own: Path) -> str:
    stack = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in stack if Path(frame.filename).is_relative_to(own)]
    if not frames:
        return ""
    place = f"{'/'.join(own.parts[-2:])}{frames[-1].filename.removeprefix(str(own))}"
    return f" ({place}, line {frames[-1].lineno}, in {frames[-1].name})"


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
