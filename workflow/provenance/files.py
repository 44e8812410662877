"""Hashes of files, and which files of a results folder are results."""

import errno
import fnmatch
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import track

from data_prep.errors import BadInput, naming
from data_prep.io.files import matching
from data_prep.io.hashes import file_sha256
from data_prep.io.json_files import check_fields, read_json
from data_prep.prepare.places import shared_folder

FILE = "provenance.json"

# What lies there is the system's, and some of it has no end.
_SYSTEM = (Path("/dev"), Path("/proc"), Path("/sys"))
# What nobody wrote of a file reads as zeros, at any length; results have none of it.
_MOST_UNWRITTEN = 2**30  # bytes
# Differ from run to run, can be deleted, or are made from the results afterwards.
_LEFT_OUT_FOLDERS = {"logs", "benchmarks", "resume", "tensorboard", "weights", "gpu"}
_LEFT_OUT_FILES = {FILE, "README.md", "report.html", "report.zip", "ro-crate-metadata.json"}


class Listed(NamedTuple):
    """What ``provenance.json`` lists.

    Attributes:
        outputs: relative path -> sha256.
        leftovers: of another configuration.
        shared: path below the folder that experiments share -> sha256.
    """

    outputs: dict[str, str]
    leftovers: list[str]
    shared: dict[str, str]


def read_list(results: Path) -> Listed:
    """Return what ``provenance.json`` lists.

    Raises:
        BadInput: there is no such file, or it lists no files of this folder.
    """
    path, again = results / FILE, "make it again with workflow.provenance"
    optional: dict[str, Any] = {"leftovers": [], "shared": {}}
    content = optional | read_json(path, damaged=again, fields={"outputs": dict[str, str]})
    check_fields(content, {"leftovers": list[str], "shared": dict[str, str]}, path, again)
    outputs, left, shared = content["outputs"], content["leftovers"], content["shared"]
    for name in (*outputs, *left, *shared):
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts:
            raise BadInput(f"{path}: it lists {name!r}, which is outside the folder; make the file again")
    return Listed(outputs, left, shared)


def left_over(results: Path) -> list[str]:
    """Return the leftovers of the list, none where it is not written yet.

    Raises:
        BadInput: see ``read_list``.
    """
    return read_list(results).leftovers if (results / FILE).is_file() else []


def hash_files(root: Path, names: Sequence[str]) -> dict[str, str]:
    """Return name -> sha256 of files below ``root``, showing progress on a terminal.

    Raises:
        BadInput: one is no regular file, or claims far more than was written: reading it may never end.
    """
    for name in names:
        path = root / name
        if not path.is_file():
            raise BadInput(f"{path}: it is no regular file; remove it")
        if path.stat().st_size > _MOST_UNWRITTEN < (unwritten := _unwritten(path)):
            raise BadInput(f"{path}: nobody has written {unwritten} bytes of it; remove it")
    with ThreadPoolExecutor(4) as pool:
        hashes = pool.map(lambda name: file_sha256(root / name), names)
        console = Console(stderr=True)
        shown = track(
            hashes, "Hashing", len(names), console=console, transient=True, disable=not console.is_terminal
        )
        return dict(zip(names, shown, strict=True))


def _unwritten(path: Path) -> int:
    """Return how many bytes of a file are holes; none where the file system does not tell."""
    with naming(path), path.open("rb") as file:
        end, place, found = os.fstat(file.fileno()).st_size, 0, 0
        while (hole := os.lseek(file.fileno(), place, os.SEEK_HOLE)) < end:
            try:
                place = os.lseek(file.fileno(), hole, os.SEEK_DATA)
            except OSError as error:
                # There is no more.
                if error.errno != errno.ENXIO:
                    raise
                return found + end - hole
            found += place - hole
        return found


def listed(results: Path) -> list[str]:
    """Return the files of a results folder that belong to its results, as relative paths in order.

    Links to folders are followed, because data or runs may lie on another disk, but none to a folder that is
    walked already, to one above, or into the system's own. Such a link is listed itself, as is whatever else
    is no file; nothing is opened.
    """
    return sorted(_walk(results))


def check_outside(option: str, path: Path, results: Path) -> None:
    """Refuse to write among the files of a results folder that its list names, or among those that it shares.

    Raises:
        BadInput: the path lies there, and in none of the folders that the list leaves out.
    """
    real, written = path.resolve(), Path(os.path.normpath(path.absolute()))
    # As it is written too: a folder of the results may be a link to another disk.
    for place, folder in ((real, results.resolve()), (written, Path(os.path.normpath(results.absolute())))):
        if place.is_relative_to(folder) and _LEFT_OUT_FOLDERS.isdisjoint(
            place.relative_to(folder).parts[:-1]
        ):
            raise BadInput(
                f"{option}: {path} lies within {results}, whose files are listed; choose a folder elsewhere"
            )
    shared = shared_folder(results)
    if real.is_relative_to(shared) and any(matching(results, "data/*/shared.json")):
        raise BadInput(
            f"{option}: {path} lies within {shared}, where {results} has its data; choose a folder elsewhere"
        )


def leftovers(names: Iterable[str], own: Iterable[str]) -> list[str]:
    """Return those of the listed files that another configuration has left, runs as their folders, in order.

    Args:
        names: from ``listed``.
        own: patterns of what the configuration makes; a star stands for any letters, slashes too.
    """
    made = re.compile("|".join(map(fnmatch.translate, own)))
    left = (PurePosixPath(name) for name in names if not made.match(name))
    return sorted({str(path.parent if path.parts[0] == "runs" else path) for path in left})


def _walk(results: Path) -> Iterator[str]:
    """Yield the names below a folder: first of what lies in it, then of what links lead to."""
    real = results.resolve()
    walked, folders = {*real.parents}, [(real, PurePosixPath())]
    links: list[tuple[Path, PurePosixPath]] = []
    while folders or links:
        if folders:
            folder, place = folders.pop()
        else:
            link, place = links.pop(0)
            folder = link.resolve()
            if folder in walked or any(map(folder.is_relative_to, _SYSTEM)):
                yield place.as_posix()
                continue
        walked.add(folder)
        for path in sorted(folder.iterdir()):
            # A leading dot marks what a killed process left behind.
            if path.name.startswith("."):
                continue
            if path.is_dir():
                if path.name not in _LEFT_OUT_FOLDERS:
                    (links if path.is_symlink() else folders).append((path, place / path.name))
            elif place.parts or path.name not in _LEFT_OUT_FILES:
                yield (place / path.name).as_posix()
