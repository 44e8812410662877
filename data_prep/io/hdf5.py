"""HDF5 files that may be damaged: opened and read so that whatever is wrong is told with the file's name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from data_prep.errors import reading

# Larger than any scan of these datasets. A damaged size must not become a request for all memory.
_LARGEST_AXIS = 2**20
_LARGEST_SLICE_BYTES = 2**28
_MOST_MADE_UP = 2**27  # bytes
_SMALL = 2**16
_LONGEST_TEXT = 2**20  # characters
_DEFLATED = 1032  # bytes that one of a compressed chunk stands for at most (zlib's technical details)
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
        OSError: the system cannot read it now, for example because another process locks it.
    """
    with (
        reading(path, f"the file is missing; {missing}", "it is truncated or no HDF5 file", remedy, _DAMAGE),
        _telling_full_memory(),
        h5py.File(path, "r") as file,
    ):
        if not _heaps_are_sound(file, path):
            raise ValueError("damaged heap of texts")
        yield file


@contextmanager
def _telling_full_memory() -> Iterator[None]:
    """Raise MemoryError for damage where memory is full, which HDF5 and its filters tell in many ways."""
    try:
        yield
    except _DAMAGE:
        np.empty(_LARGEST_SLICE_BYTES, np.uint8)  # asks for it, and touches none
        raise


def _heaps_are_sound(file: h5py.File, path: Path) -> bool:
    """Walk the heaps in which HDF5 keeps texts: in a damaged one the library may turn round for ever.

    A heap begins with ``GCOL`` and its size. Objects follow, each with its number and size; number 0 is the
    rest of the heap. They are looked for between the values of the datasets, which is little to read.
    """
    size = path.stat().st_size
    at = 0
    with path.open("rb") as raw:
        for begin, end in [*sorted(_extents(file)), (size, size)]:
            raw.seek(at)
            block = raw.read(min(max(begin - at, 0), _LARGEST_SLICE_BYTES))
            found = block.find(b"GCOL")
            while found >= 0:
                if not _heap_is_sound(block[found:]):
                    return False
                found = block.find(b"GCOL", found + 4)
            at = max(at, end)
    return True


def _extents(file: h5py.File) -> Iterator[tuple[int, int]]:
    """Yield where the values of datasets begin and end in the file."""
    for name in file:
        data = dataset(file, name)
        if data is None or data.nbytes < _SMALL:
            continue
        if data.chunks is None and (offset := data.id.get_offset()) is not None:
            yield offset, offset + data.nbytes
        elif data.chunks is not None:
            chunks: list[h5py.h5d.StoreInfo] = []
            # At once: to ask for each by its number is to count from the first every time.
            data.id.chunk_iter(chunks.append)
            yield from ((chunk.byte_offset, chunk.byte_offset + chunk.size) for chunk in chunks)


def _heap_is_sound(block: bytes) -> bool:
    if len(block) < 16:
        return False
    end = int.from_bytes(block[8:16], "little")
    at = 16
    while at + 16 <= end:
        if at + 16 > len(block):
            return False
        number = int.from_bytes(block[at : at + 2], "little")
        size = int.from_bytes(block[at + 8 : at + 16], "little")
        # The rest counts its own head and ends the heap.
        step = size if number == 0 else 16 + (size + 7) // 8 * 8
        if step < 16 or at + step > end:
            return False
        at += step
    return True


def dataset(file: h5py.File, name: str) -> h5py.Dataset | None:
    """Return a dataset whose values lie in the file itself, or None if there is no such dataset.

    Links to other files and virtual datasets are none: they would read what nobody checked.
    """
    # Not file.get, which takes a link that cannot be read for none. A name that is no text comes as bytes.
    key = name.encode() if isinstance(name, str) else name
    if not file.id.links.exists(key) or file.id.links.get_info(key).type != h5py.h5l.TYPE_HARD:
        return None
    data = file[name]
    if not isinstance(data, h5py.Dataset) or data.is_virtual or data.external:
        return None
    return data


def claimed_bytes(data: h5py.Dataset) -> int:
    """Return how many bytes a scalar text says that it has: HDF5 takes as many before it looks for it.

    A text of any length lies in a heap; where the dataset lies there is its length, and then its place.
    """
    text, offset = h5py.check_string_dtype(data.dtype), data.id.get_offset()
    if text is None or text.length is not None or offset is None:
        return int(data.dtype.itemsize)
    with Path(data.file.filename).open("rb") as raw:
        raw.seek(offset)
        return int.from_bytes(raw.read(4), "little")


def too_large(data: h5py.Dataset) -> bool:
    """Whether a row of the first axis or a chunk is larger than any scan's, or there is more than is stored.

    Of chunks that nobody wrote HDF5 makes up the values.
    """
    row = int(np.prod(data.shape[1:], dtype=object)) * data.dtype.itemsize
    chunk = int(np.prod(data.chunks or (), dtype=object)) * data.dtype.itemsize
    if max(data.shape, default=0) > _LARGEST_AXIS or max(row, chunk) > _LARGEST_SLICE_BYTES:
        return True
    return bool(data.nbytes > max(_DEFLATED * data.id.get_storage_size(), _MOST_MADE_UP))


def attribute(file: h5py.File, name: str) -> str | None:
    """Return an attribute of the file that is a text of reasonable length, or None if it is none."""
    # Not attrs.get, which takes an attribute that cannot be read for none.
    there = name in file.attrs and (kind := file.attrs.get_id(name)).shape == ()
    value = file.attrs[name] if there and kind.dtype.itemsize <= _LONGEST_TEXT else None
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            return None
    return value if isinstance(value, str) and len(value) <= _LONGEST_TEXT else None
