"""Hashes of files, and which files of a results folder are results."""

import fnmatch
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from rich.console import Console
from rich.progress import track

from data_prep.io.hashes import file_sha256

FILE = "provenance.json"

# Differ from run to run, can be deleted, or are made from the results afterwards.
_LEFT_OUT_FOLDERS = {"logs", "benchmarks", "resume", "tensorboard"}
_LEFT_OUT_FILES = {FILE, "report.html", "report.zip", "ro-crate-metadata.json"}


def hash_files(root: Path, names: Sequence[str]) -> dict[str, str]:
    """Return name -> sha256 of files below ``root``, showing progress on a terminal."""
    with ThreadPoolExecutor(4) as pool:
        hashes = pool.map(lambda name: file_sha256(root / name), names)
        console = Console(stderr=True)
        shown = track(
            hashes, "Hashing", len(names), console=console, transient=True, disable=not console.is_terminal
        )
        return dict(zip(names, shown, strict=True))


def listed(results: Path) -> list[str]:
    """Return the files of a results folder that belong to its results, as relative paths in order.

    What lies behind a symbolic link is listed like all else.
    """
    return sorted(_walk(results, (), frozenset()))


def leftovers(names: Iterable[str], own: Iterable[str]) -> list[str]:
    """Return those of the listed files that another configuration has left, runs as their folders, in order.

    Args:
        names: from ``listed``.
        own: patterns of what the configuration makes; a star stands for any letters, slashes too.
    """
    made = re.compile("|".join(map(fnmatch.translate, own)))
    left = (PurePosixPath(name) for name in names if not made.match(name))
    return sorted({str(path.parent if path.parts[0] == "runs" else path) for path in left})


def _walk(folder: Path, parts: tuple[str, ...], above: frozenset[Path]) -> Iterator[str]:
    # A link may lead back to a folder that it lies in.
    if folder.resolve() in above:
        return
    above |= {folder.resolve()}
    for path in folder.iterdir():
        # A leading dot marks what a killed process left behind.
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if path.name not in _LEFT_OUT_FOLDERS:
                yield from _walk(path, (*parts, path.name), above)
        elif parts or path.name not in _LEFT_OUT_FILES:
            yield PurePosixPath(*parts, path.name).as_posix()
