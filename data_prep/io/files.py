"""Whole files or none: a result appears under its name only when it is complete."""

import csv
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from data_prep.errors import BadInput, naming, of_the_system, reading
from data_prep.words import csv_cell, csv_text

LARGEST_TABLE = 2**27  # bytes of a CSV file


@contextmanager
def replacing(path: Path, size: int = 0) -> Iterator[Path]:
    """Yield a temporary path; what is there when the block ends without an error becomes ``path``.

    It lies beside ``path``, in a new folder with a random name that only this user may enter, so that nobody
    can put a link in its place; its permissions are those of any new file. The suffix is kept, because many
    writers choose their format by it. Missing folders are made.

    Args:
        path: the file to write, or a folder that is not there yet.
        size: bytes that must fit on the disk before writing begins. Give it for HDF5, which does not report a
            disk that fills up but crashes.

    Raises:
        OSError: a fault of the system, such as a full disk, with the file's name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        private = Path(tempfile.mkdtemp(".partial", f".{path.stem}.", path.parent))
    except OSError as error:
        # Of the folder, whose random name would tell nobody anything.
        raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from error
    # Not under the name itself: who looks for it in all folders would find it.
    temporary = private / f"partial{path.suffix}"
    try:
        with naming(path, temporary):
            if size:
                _reserve(temporary, size)
            yield temporary
            temporary.replace(path)
    finally:
        shutil.rmtree(private, ignore_errors=True)


def check_place(option: str, path: Path, *, folder: bool = False) -> None:
    """Refuse a place where nothing can be written, before the work whose result is to lie there.

    Args:
        option: that names it.
        path: the file to write, or the folder to write into; neither need be there, nor what is above it.
        folder: whether it is a folder.

    Raises:
        BadInput: a folder is where a file should be, or the other way round.
        OSError: nobody may write there, or not this user.
    """
    if not folder and path.is_dir():
        raise BadInput(f"{option}: {path} is a folder; give the name of a file")
    within = path if folder else path.parent
    there = next((place for place in (within, *within.parents) if place.exists()), Path())
    if not there.is_dir():
        raise BadInput(f"{option}: {there} is no folder; give one to write into")
    if not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(there))


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield an empty folder for what is needed while the block lasts, where the system keeps such files.

    Raises:
        OSError: there is no such place, or none left in it; the message says how to choose another.
    """
    chosen = "temporary files (TMPDIR names another folder for them)"
    try:
        place = tempfile.TemporaryDirectory()
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), chosen) from error
    with place as folder:
        try:
            yield Path(folder)
        except OSError as error:
            if not (of_the_system(error) and Path(str(error.filename)).is_relative_to(folder)):
                raise
            raise OSError(
                error.errno, os.strerror(error.errno or 0), f"{Path(folder).parent}: {chosen}"
            ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_texts(texts: Mapping[Path, str]) -> None:
    """Write texts that belong together: none is replaced before all are written."""
    with ExitStack() as written:
        for path, text in texts.items():
            written.enter_context(replacing(path)).write_text(text, encoding="utf-8")


@contextmanager
def then_print(show: Callable[[], None]) -> Iterator[None]:
    """Write in the block, then print: neither a full disk nor a reader that has seen enough loses the other.

    Args:
        show: prints what the block writes, and is called whether or not that succeeds.
    """
    try:
        yield
    finally:
        show()


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


def below(folder: Path) -> Iterator[Path]:
    """Yield all that lies below a folder and is no folder, in order; links to folders too, and unfollowed.

    Raises:
        OSError: a folder may not be read; ``Path.rglob`` takes it for an empty one.
    """

    def fail(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(folder, onerror=fail):
        folders.sort()
        links = [name for name in folders if Path(place, name).is_symlink()]
        yield from (Path(place, name) for name in sorted((*files, *links)))


def read_rows(path: Path, absent: str, damaged: str) -> list[dict[str, str]]:
    """Read what ``write_rows`` wrote, as texts; ``read_json`` has the same arguments."""
    damage = (UnicodeDecodeError, csv.Error)
    with (
        reading(path, f"no such file; {absent}", "not a table", damaged, damage, LARGEST_TABLE),
        path.open(newline="", encoding="utf-8") as file,
    ):
        return [{name: csv_text(cell) for name, cell in row.items()} for row in csv.DictReader(file)]


def _reserve(path: Path, size: int) -> None:
    # The writer truncates the file again; between the two, the space could be lost to others only.
    with path.open("wb") as file:
        # macOS has no such call.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)


def remove_partial_files(folder: Path, stem: str = "") -> None:
    """Remove what killed writers left behind (``replacing`` names it so), for one target or for all.

    Links are removed and not followed; what is another user's and may not be removed stays.
    """
    for path in folder.glob(f".{stem}*.partial*"):
        with suppress(PermissionError):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
