"""Hashes of files, and which files of a results folder are results."""

from collections.abc import Iterator, Sequence
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
    """Return the files of a results folder that belong to its results, as relative paths in order."""
    return sorted(_walk(results, ()))


def _walk(folder: Path, parts: tuple[str, ...]) -> Iterator[str]:
    for path in folder.iterdir():
        # A leading dot marks what a killed process left behind.
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if path.name not in _LEFT_OUT_FOLDERS:
                yield from _walk(path, (*parts, path.name))
        elif parts or path.name not in _LEFT_OUT_FILES:
            yield PurePosixPath(*parts, path.name).as_posix()
