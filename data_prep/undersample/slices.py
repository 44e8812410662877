"""Batches of prepared slices, straight from ``data/<dataset>/<split>.h5`` to the device that needs them.

The values of a split lie in its file uncompressed and slice after slice. HDF5 is asked once where they begin;
from then on each slice is one read into the memory that the batch is made of.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_prep.errors import BadInput, naming
from data_prep.io import hdf5
from data_prep.undersample.device_memory import device_memory, out_of_memory, room_for_slices
from data_prep.undersample.transfer import sent

_BLOCK_BYTES = 64 * 2**20
_LONGEST_ENTRY = 2**10  # bytes of a subject's name
_DTYPES = {
    "target": (np.dtype(np.float32), np.dtype(np.complex64)),
    "auxiliary": (np.dtype(np.float32),),
}
_AGAIN = "delete it and run the step `prepare` of its dataset again"
_TENSOR = {"f": torch.float32, "c": torch.complex64}


@dataclass(frozen=True)
class _Values:
    """Where the values of a dataset lie in the file.

    Attributes:
        name: ``target`` or ``auxiliary``.
        dtype: of one value.
        shape: (slice, height, width).
        offset: byte at which the first slice begins.
    """

    name: str
    dtype: np.dtype
    shape: tuple[int, int, int]
    offset: int

    @property
    def slice_bytes(self) -> int:
        return self.shape[1] * self.shape[2] * self.dtype.itemsize

    @property
    def end(self) -> int:
        return self.offset + self.shape[0] * self.slice_bytes


class SliceStore:
    """One split: held on the device if it fits there, read batch by batch from disk otherwise.

    The two ways give the same bits. One store belongs to one process.

    Attributes:
        path: the split's file.
        dataset, source, fingerprint: as written by ``data_prep.prepare``.
        height, width: matrix size.
        subjects: the subject of every slice.
        slice_indices: every slice's index within its subject's volume.
        device: where batches are returned.
    """

    def __init__(self, path: Path | str, device: torch.device | str, resident_gigabytes: float) -> None:
        """Open a split.

        Args:
            path: a file written by ``data_prep.prepare``.
            device: where batches are wanted.
            resident_gigabytes: the largest split, in units of 1e9 bytes, that is held on the device; a GPU
                holds none that leaves too little for the network (``room_for_slices``).

        Raises:
            BadInput: the file is missing or broken, or (here if resident, else when a batch meets it) a
                slice holds NaN or infinite values.
        """
        self.path = Path(path)
        self.device = torch.device(device)
        with self._opened() as file:
            self._target, self._auxiliary = (self._values(file, name) for name in _DTYPES)
            shape = self._target.shape
            if shape != self._auxiliary.shape:
                raise self._broken(
                    f"target {shape} and auxiliary {self._auxiliary.shape} must be (slice, height, width) "
                    "and agree"
                )
            self.height, self.width = shape[1:]
            self.dataset = self._attribute(file, "dataset")
            self.source = self._attribute(file, "source")
            self.fingerprint = self._attribute(file, "fingerprint")
            self.subjects = [str(name) for name in self._list(file, "subject", "OSU").asstr()[()]]
            self.slice_indices = [int(index) for index in self._list(file, "slice", "iu")[()]]
        # Unbuffered: a slice goes from the system's cache into the batch without another copy.
        self._file = self.path.open("rb", buffering=0)
        if max(self._target.end, self._auxiliary.end) > self.path.stat().st_size:
            raise self._broken("it ends before its last slice")
        size = self._target.end - self._target.offset + self._auxiliary.end - self._auxiliary.offset
        limit = resident_gigabytes * 1e9
        if self.device.type == "cuda":
            limit = min(limit, room_for_slices(device_memory(self.device)))
        self._held = self._loaded() if size <= limit else None

    @property
    def resident(self) -> bool:
        """Whether the split is held on the device."""
        return self._held is not None

    def __len__(self) -> int:
        """Number of slices."""
        return len(self.subjects)

    def volumes(self) -> dict[str, list[int]]:
        """Positions of each subject's slices in slice order, subjects sorted."""
        positions: dict[str, list[int]] = {}
        for position in sorted(range(len(self)), key=lambda i: (self.subjects[i], self.slice_indices[i])):
            positions.setdefault(self.subjects[position], []).append(position)
        return positions

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return target and auxiliary (batch, height, width) at the given positions, in their order.

        The target is float32 magnitude (IXI) or complex64 (fastMRI), the auxiliary float32 magnitude; both in
        scanner units and on the store's device.
        """
        # As numpy counts: from the end if negative, and none beyond either end.
        wanted = np.arange(len(self))[np.asarray(indices, dtype=np.int64)]
        if self._held is not None:
            positions = sent(wanted, self.device)
            target, auxiliary = (held.index_select(0, positions) for held in self._held)
            return target, auxiliary
        return self._gather(self._target, wanted), self._gather(self._auxiliary, wanted)

    def close(self) -> None:
        """Close the file; a resident store goes on working."""
        self._file.close()

    def _gather(self, values: _Values, positions: NDArray[np.int64]) -> Tensor:
        host = self._host(values, len(positions))
        self._read(values, positions, host.numpy())
        return sent(host, self.device)

    def _loaded(self) -> tuple[Tensor, Tensor] | None:
        try:
            return self._load(self._target), self._load(self._auxiliary)
        except RuntimeError as error:
            # Somebody else took the memory in the meantime.
            if self.device.type == "cpu" or not out_of_memory(error):
                raise
            return None

    def _load(self, values: _Values) -> Tensor:
        held = torch.empty(values.shape, dtype=_TENSOR[values.dtype.kind], device=self.device)
        step = max(1, _BLOCK_BYTES // values.slice_bytes)
        for start in range(0, len(held), step):
            positions = np.arange(start, min(start + step, len(held)))
            if self.device.type == "cpu":
                self._read(values, positions, held[start : start + step].numpy())
            else:
                block = self._host(values, len(positions))
                self._read(values, positions, block.numpy())
                held[start : start + step] = block
        return held

    def _host(self, values: _Values, slices: int) -> Tensor:
        # Page-locked memory lets the copy to a GPU overlap with the computation before it.
        pinned = self.device.type == "cuda"
        shape = (slices, *values.shape[1:])
        return torch.empty(shape, dtype=_TENSOR[values.dtype.kind], pin_memory=pinned)

    def _read(self, values: _Values, positions: NDArray[np.int64], rows: NDArray) -> None:
        """Read slices into ``rows``, which lies in memory without gaps, and check them."""
        for position, row in zip(positions.tolist(), rows, strict=True):
            place, room = values.offset + position * values.slice_bytes, row.reshape(-1).view(np.uint8)
            # A disk that fails half-way gives what it has first and tells why at the next call only.
            with naming(self.path):
                self._file.seek(place)
                while len(room) and (count := self._file.readinto(room.data)):
                    room = room[count:]
            if len(room):
                raise self._broken("it ends before its last slice")
            # While the slice is in the processor's cache.
            if not np.isfinite(row.view(np.float32)).all():
                raise self._broken(
                    f"{values.name} of subject {self.subjects[position]}, slice "
                    f"{self.slice_indices[position]}, holds NaN or infinite values"
                )

    def _opened(self) -> AbstractContextManager[h5py.File]:
        return hdf5.opened(self.path, "run the step `prepare` of its dataset", _AGAIN)

    def _values(self, file: h5py.File, name: str) -> _Values:
        data = self._dataset(file, name)
        if data.dtype not in _DTYPES[name]:
            raise self._broken(
                f"dataset `{name}` is {data.dtype}, not {' or '.join(map(str, _DTYPES[name]))}"
            )
        if data.ndim != 3 or 0 in data.shape or hdf5.too_large(data):
            raise self._broken(f"dataset `{name}` {data.shape} must be (slice, height, width)")
        offset = data.id.get_offset()
        if data.chunks is not None or offset is None:
            raise self._broken(f"dataset `{name}` is not stored in one piece")
        slices, height, width = map(int, data.shape)
        return _Values(name, data.dtype, (slices, height, width), int(offset))

    def _dataset(self, file: h5py.File, name: str) -> h5py.Dataset:
        data = hdf5.dataset(file, name)
        if data is None:
            raise self._broken(f"dataset `{name}` is missing")
        return data

    def _list(self, file: h5py.File, name: str, kinds: str) -> h5py.Dataset:
        data = self._dataset(file, name)
        if data.shape != self._target.shape[:1]:
            raise self._broken(
                f"dataset `{name}` has shape {data.shape}, not one entry per slice, {self._target.shape[:1]}"
            )
        if data.dtype.kind not in kinds or data.dtype.itemsize > _LONGEST_ENTRY:
            raise self._broken(f"dataset `{name}` is {data.dtype}, not what `prepare` writes")
        return data

    def _attribute(self, file: h5py.File, name: str) -> str:
        value = hdf5.attribute(file, name)
        if value is None:
            raise self._broken(f"attribute `{name}` is missing")
        return value

    def _broken(self, what: str) -> BadInput:
        return BadInput(f"{self.path}: {what}; {_AGAIN}")
