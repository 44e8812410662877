"""Whole files or none: a result appears under its name only when it is complete."""

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from data_prep.errors import naming, reading
from data_prep.words import csv_cell, csv_text


@contextmanager
def replacing(path: Path, size: int = 0) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it takes its name when the block ends without an error.

    The suffix is kept, because many writers choose their format by it. Missing folders are made.

    Args:
        path: the file to write.
        size: bytes that must fit on the disk before writing begins. Give it for HDF5, which does not report a
            disk that fills up but crashes.

    Raises:
        OSError: a fault of the system, such as a full disk, with the file's name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        with naming(path, temporary):
            if size:
                _reserve(temporary, size)
            yield temporary
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV that ``read_rows`` reads back exactly; equal results give equal bytes."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: csv_cell(value) for name, value in row.items()} for row in rows)


def matching(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield the paths below a folder that match a pattern without ``**``; none where there is no folder.

    Raises:
        OSError: a folder may not be read; ``Path.glob`` takes it for an empty one.
    """
    first, _, rest = pattern.partition("/")
    for path in folder.iterdir() if folder.is_dir() else ():
        if fnmatchcase(path.name, first):
            yield from matching(path, rest) if rest else (path,)


def read_rows(path: Path, absent: str, damaged: str) -> list[dict[str, str]]:
    """Read what ``write_rows`` wrote, as texts; ``read_json`` has the same arguments."""
    damage = (UnicodeDecodeError, csv.Error)
    with (
        reading(path, f"no such file; {absent}", "not a table", damaged, damage),
        path.open(newline="", encoding="utf-8") as file,
    ):
        return [{name: csv_text(cell) for name, cell in row.items()} for row in csv.DictReader(file)]


def _reserve(path: Path, size: int) -> None:
    # The writer truncates the file again; between the two, the space could be lost to others only.
    with path.open("wb") as file:
        # macOS has no such call.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)


def remove_partial_files(folder: Path) -> None:
    """Remove what killed writers left behind (``data_prep.io.files.replacing`` names them so)."""
    for path in folder.glob(".*.partial*"):
        path.unlink()
