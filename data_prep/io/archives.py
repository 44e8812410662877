"""Zip archives that may be damaged, among them NumPy's: read so that damage is told with the file's name."""

import math
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from data_prep.errors import BadInput, reading

# Packed arrays here are masks and a few slices; large ones are stored as they are.
_MOST_UNPACKED = 2**27  # bytes that unpacking may add
# What zipfile raises for a damaged archive depends on where the damage is; a missing member is a KeyError.
DAMAGE = (
    *(BadZipFile, ValueError, EOFError, NotImplementedError, RuntimeError, OSError, LookupError),
    zlib.error,
)


@contextmanager
def opened(path: Path, absent: str, what: str, remedy: str) -> Iterator[NpzFile]:
    """Open an ``.npz``; keep the block to its arrays, errors of which are taken for damage.

    Args:
        path: the file.
        absent: what to say where there is no such file.
        what: what to say of a damaged one, such as "not a mask file".
        remedy: what to do with it.

    Raises:
        BadInput: the file is missing, damaged, no archive, or lacks an array.
        OSError: the system cannot read it now.
    """
    # By hand, because np.load returns a single array where the file holds one.
    with (
        reading(path, absent, what, remedy, DAMAGE),
        path.open("rb") as file,
        NpzFile(file) as stored,
    ):
        _check_sizes(stored)
        yield stored


def _check_sizes(stored: NpzFile) -> None:
    """Refuse arrays that are not of the size that they claim: numpy takes the memory first."""
    archive = stored.zip
    assert archive is not None  # it is open
    members = archive.infolist()
    if sum(member.file_size - member.compress_size for member in members) > _MOST_UNPACKED:
        raise ValueError("unpacked it would be larger than any such file")
    for member in members:
        with archive.open(member) as stream:
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, _, dtype = read[np.lib.format.read_magic(stream)](stream)
            if math.prod(shape) * max(dtype.itemsize, 1) != member.file_size - stream.tell():
                raise ValueError(f"{member.filename} is not of the size that it claims to be")


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
    with opened(path, absent, "it is truncated or no archive of arrays", damaged) as stored:
        for name in names:
            if name not in stored:
                raise BadInput(f"{path}: `{name}` is missing; {damaged}")
        return {name: stored[name] for name in names}
