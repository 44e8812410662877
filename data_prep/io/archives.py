"""Zip archives that may be damaged, among them NumPy's: read so that damage is told with the file's name."""

import errno
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from data_prep.errors import BadInput

# What zipfile raises for a damaged archive depends on where the damage is; a missing member is a KeyError.
DAMAGE = (
    *(BadZipFile, ValueError, EOFError, NotImplementedError, RuntimeError, OSError, LookupError),
    zlib.error,
)


def of_the_system(error: Exception) -> bool:
    """Whether an error says that a file cannot be read, not that it is damaged (a place that cannot be)."""
    return isinstance(error, OSError) and error.errno != errno.EINVAL


@contextmanager
def opened(path: Path, what: str, remedy: str) -> Iterator[NpzFile]:
    """Open an ``.npz``; keep the block to its arrays, errors of which are taken for damage.

    Args:
        path: the file.
        what: what to say of a damaged one, such as "not a mask file".
        remedy: what to do with it.

    Raises:
        BadInput: the file is damaged, no archive, or lacks an array.
    """
    try:
        # By hand, because np.load returns a single array where the file holds one.
        with path.open("rb") as file, NpzFile(file) as stored:
            yield stored
    except DAMAGE as error:
        if of_the_system(error):
            raise
        said = " ".join(str(error).split())
        raise BadInput(f"{path}: {what} ({said}); {remedy}") from error


def read_npz(path: Path, names: Iterable[str], absent: str, damaged: str) -> dict[str, NDArray[Any]]:
    """Read arrays of an ``.npz``.

    Args:
        path: the file.
        names: of the arrays.
        absent: what is wrong, and what to do, where there is no such file.
        damaged: what to do where it holds something else.

    Raises:
        BadInput: there is no such file, it is damaged or no archive, or an array is missing.
    """
    if not path.is_file():
        raise BadInput(f"{path}: {absent}")
    with opened(path, "it is truncated or no archive of arrays", damaged) as stored:
        for name in names:
            if name not in stored:
                raise BadInput(f"{path}: `{name}` is missing; {damaged}")
        return {name: stored[name] for name in names}
