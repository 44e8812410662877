"""Zip archives that may be damaged, among them NumPy's: read with the arrays needed, or refused by name."""

import errno
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import BadInput

# What zipfile raises for a damaged archive depends on where the damage is.
ZIP_DAMAGE = (BadZipFile, ValueError, EOFError, NotImplementedError, RuntimeError, OSError, zlib.error)


def of_the_system(error: Exception) -> bool:
    """Whether an error says that a file cannot be read, not that it is damaged (a place that cannot be)."""
    return isinstance(error, OSError) and error.errno != errno.EINVAL


def read_npz(path: Path, names: Iterable[str], absent: str, damaged: str) -> dict[str, NDArray[Any]]:
    """Read arrays of an ``.npz``.

    Args:
        path: the file.
        names: of the arrays.
        absent: what to do where there is no such file.
        damaged: what to do where it holds something else.

    Raises:
        BadInput: there is no such file, it is damaged or no archive, or an array is missing.
    """
    if not path.is_file():
        raise BadInput(f"{path}: no such file; {absent}")
    try:
        # By hand, because np.load returns a single array where the file holds one.
        with path.open("rb") as file, np.lib.npyio.NpzFile(file) as stored:
            for name in names:
                if name not in stored:
                    raise BadInput(f"{path}: `{name}` is missing; {damaged}")
            return {name: stored[name] for name in names}
    except ZIP_DAMAGE as error:
        if of_the_system(error):
            raise
        said = " ".join(str(error).split())
        raise BadInput(f"{path}: it is truncated or no archive of arrays ({said}); {damaged}") from error
