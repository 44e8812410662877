"""HDF5 files that may be damaged: opened and read so that whatever is wrong is told with the file's name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from data_prep.errors import BadInput

# Larger than any scan of these datasets. A damaged size must not become a request for all memory.
_LARGEST_AXIS = 2**20
_LARGEST_SLICE_BYTES = 2**28
_LONGEST_TEXT = 2**20  # characters
# What h5py raises for a damaged file depends on where the damage is.
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, NotImplementedError, SystemError)


@contextmanager
def opened(path: Path, missing: str, remedy: str) -> Iterator[h5py.File]:
    """Open a file for reading; keep the block to h5py calls, whose errors are taken for damage.

    Args:
        path: the file.
        missing: what to do if there is none.
        remedy: what to do if it is damaged.

    Raises:
        BadInput: the file is missing or damaged.
        PermissionError: it may not be read.
    """
    if not path.is_file():
        raise BadInput(f"{path}: the file is missing; {missing}")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except PermissionError:
        raise
    except _DAMAGE as error:
        said = " ".join(str(error).split())
        raise BadInput(f"{path}: it is truncated or no HDF5 file ({said}); {remedy}") from error


def dataset(file: h5py.File, name: str) -> h5py.Dataset | None:
    """Return a dataset whose values lie in the file itself, or None if there is no such dataset.

    Links to other files and virtual datasets are none: they would read what nobody checked.
    """
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        return None
    data = file.get(name)
    if not isinstance(data, h5py.Dataset) or data.is_virtual or data.external:
        return None
    return data


def too_large(data: h5py.Dataset) -> bool:
    """Whether one row of the first axis, or one stored chunk, is larger than any scan's."""
    row = int(np.prod(data.shape[1:], dtype=object)) * data.dtype.itemsize
    chunk = int(np.prod(data.chunks or (), dtype=object)) * data.dtype.itemsize
    return max(data.shape, default=0) > _LARGEST_AXIS or max(row, chunk) > _LARGEST_SLICE_BYTES


def text(value: Any) -> str | None:
    """Return a text of reasonable length from an attribute or scalar, or None if it is none."""
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            return None
    return value if isinstance(value, str) and len(value) <= _LONGEST_TEXT else None
