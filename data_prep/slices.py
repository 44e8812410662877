"""Batches of prepared slices, straight from ``data/<dataset>/<split>.h5`` to the device that needs them."""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_prep.errors import BadInput

_BLOCK_BYTES = 64 * 2**20
_DTYPES = {
    "target": (np.dtype(np.float32), np.dtype(np.complex64)),
    "auxiliary": (np.dtype(np.float32),),
}


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
        resident: whether the split is held on the device.
    """

    def __init__(self, path: Path | str, device: torch.device | str, resident_gigabytes: float) -> None:
        """Open a split.

        Args:
            path: a file written by ``data_prep.prepare``.
            device: where batches are wanted.
            resident_gigabytes: the largest split, in units of 1e9 bytes, that is held on the device.

        Raises:
            BadInput: the file is missing or broken, or (here if resident, else when a batch meets it) a
                slice holds NaN or infinite values.
        """
        self.path = Path(path)
        self.device = torch.device(device)
        self._file = self._open()
        self._target = self._dataset("target")
        self._auxiliary = self._dataset("auxiliary")
        if self._target.shape != self._auxiliary.shape or self._target.ndim != 3 or not len(self._target):
            raise self._broken(
                f"target {self._target.shape} and auxiliary {self._auxiliary.shape} must be "
                "(slice, height, width) and agree"
            )
        self.height, self.width = (int(side) for side in self._target.shape[1:])
        self.dataset = self._attribute("dataset")
        self.source = self._attribute("source")
        self.fingerprint = self._attribute("fingerprint")
        self.subjects = [str(name) for name in self._list("subject").asstr()[()]]
        self.slice_indices = [int(index) for index in self._list("slice")[()]]
        size = self._target.nbytes + self._auxiliary.nbytes
        self.resident = size <= resident_gigabytes * 1e9
        self._held = (self._load(self._target), self._load(self._auxiliary)) if self.resident else None

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
        if self._held is not None:
            positions = torch.as_tensor(indices, dtype=torch.int64).to(self.device)
            return self._held[0][positions], self._held[1][positions]
        # Ascending reads are what a disk likes; the inverse restores the order that was asked for.
        ascending, inverse = np.unique(np.asarray(indices, dtype=np.int64), return_inverse=True)
        return self._read(self._target, ascending, inverse), self._read(self._auxiliary, ascending, inverse)

    def close(self) -> None:
        """Close the file; a resident store goes on working."""
        self._file.close()

    def _read(self, data: h5py.Dataset, ascending: NDArray[np.int64], inverse: NDArray[np.int64]) -> Tensor:
        rows = np.empty((len(ascending), self.height, self.width), dtype=data.dtype)
        for row, position in zip(rows, ascending, strict=True):
            data.read_direct(row, np.s_[position])
        self._require_finite(data, rows, ascending)
        host = torch.from_numpy(rows[inverse])
        if self.device.type == "cuda":
            # Page-locked memory lets the copy overlap with the computation before it.
            return host.pin_memory().to(self.device, non_blocking=True)
        return host.to(self.device)

    def _load(self, data: h5py.Dataset) -> Tensor:
        dtype = torch.complex64 if data.dtype.kind == "c" else torch.float32
        held = torch.empty(data.shape, dtype=dtype, device=self.device)
        step = max(1, _BLOCK_BYTES * len(data) // data.nbytes)
        for start in range(0, len(data), step):
            rows = data[start : start + step]
            self._require_finite(data, rows, np.arange(start, start + len(rows)))
            held[start : start + len(rows)] = torch.from_numpy(rows)
        return held

    def _require_finite(self, data: h5py.Dataset, rows: NDArray, positions: NDArray[np.int64]) -> None:
        if np.isfinite(rows).all():
            return
        bad = int(positions[~np.isfinite(rows).all(axis=(1, 2))][0])
        raise self._broken(
            f"{Path(data.name).name} of subject {self.subjects[bad]}, slice {self.slice_indices[bad]}, holds "
            "NaN or infinite values"
        )

    def _open(self) -> h5py.File:
        if not self.path.is_file():
            raise BadInput(f"{self.path}: the file is missing; run the step `prepare` of its dataset")
        if not h5py.is_hdf5(self.path):
            raise self._broken("it is not an HDF5 file")
        return h5py.File(self.path, "r")

    def _dataset(self, name: str) -> h5py.Dataset:
        data = self._file.get(name)
        if not isinstance(data, h5py.Dataset):
            raise self._broken(f"dataset `{name}` is missing")
        if name in _DTYPES and data.dtype not in _DTYPES[name]:
            raise self._broken(
                f"dataset `{name}` is {data.dtype}, not {' or '.join(map(str, _DTYPES[name]))}"
            )
        return data

    def _list(self, name: str) -> h5py.Dataset:
        data = self._dataset(name)
        if data.shape != self._target.shape[:1]:
            raise self._broken(
                f"dataset `{name}` has shape {data.shape}, not one entry per slice, {self._target.shape[:1]}"
            )
        return data

    def _attribute(self, name: str) -> str:
        if name not in self._file.attrs:
            raise self._broken(f"attribute `{name}` is missing")
        return str(self._file.attrs[name])

    def _broken(self, what: str) -> BadInput:
        return BadInput(f"{self.path}: {what}; delete it and run the step `prepare` of its dataset again")
