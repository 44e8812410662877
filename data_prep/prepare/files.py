"""The files of a split, one subject in memory at a time."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from data_prep.datasets.contract import dataset_of
from data_prep.datasets.record import AGAIN, Record, broken
from data_prep.errors import BadInput
from data_prep.io import hdf5
from data_prep.io.files import replacing

_UNITS = "arbitrary scanner units"
# Of the subject and slice lists, and of the file's own structures; generous.
_BYTES_PER_SLICE, _HEADER_BYTES = 128, 16_384


def write_split(
    path: Path, folder: Path, split: str, records: Sequence[Record], shape: tuple[int, int]
) -> str:
    """Write one split, one subject in memory at a time; the same input gives the same bytes.

    Args:
        path: the split's file.
        folder: the aligned subjects.
        split: train, val or test.
        records: the split's subjects, all usable and of one dataset and source.
        shape: height and width of every slice.

    Returns:
        The fingerprint: SHA-256 over each subject's name, number of slices, target and auxiliary.

    Raises:
        BadInput: a subject's file is missing or broken, or its matrix is another.
    """
    dataset, source = records[0].dataset, records[0].source
    dtype = dataset_of(dataset).target_dtype
    total = sum(record.slices for record in records)
    digest = hashlib.sha256()
    voxels = total * shape[0] * shape[1]
    size = voxels * (dtype.itemsize + 4) + total * _BYTES_PER_SLICE + _HEADER_BYTES
    with replacing(path, size) as temporary, h5py.File(temporary, "w") as output:
        output.create_dataset("target", (total, *shape), dtype)
        output.create_dataset("auxiliary", (total, *shape), np.float32)
        output["subject"] = [record.subject for record in records for _ in range(record.slices)]
        output["slice"] = np.concatenate([np.arange(record.slices, dtype=np.int32) for record in records])
        start = 0
        for record in records:
            digest.update(json.dumps([record.subject, record.slices, *shape]).encode())
            for name in ("target", "auxiliary"):
                values = _read_volume(folder / f"{record.subject}.h5", name, record, shape)
                output[name][start : start + record.slices] = values
                digest.update(values.view(np.uint8).data)
            start += record.slices
        attributes: dict[str, str | int] = {
            "dataset": dataset,
            "source": source,
            "split": split,
            "units": _UNITS,
            "height": shape[0],
            "width": shape[1],
            "fingerprint": digest.hexdigest(),
        }
        output.attrs.update(attributes)
    return digest.hexdigest()


def _read_volume(path: Path, name: str, record: Record, shape: tuple[int, int]) -> NDArray[Any]:
    with _opened(path) as stored:
        data = _dataset(stored, path, name)
        dtype = dataset_of(record.dataset).target_dtype if name == "target" else np.dtype(np.float32)
        if data.dtype != dtype:
            raise broken(path, f"dataset `{name}` is {data.dtype}, not {dtype}")
        if data.shape[1:] != shape:
            matrix = " x ".join(map(str, data.shape[1:]))
            raise BadInput(
                f"{path}: dataset `{name}` has a matrix of {matrix}, other subjects {shape[0]} x {shape[1]}; "
                f"align all subjects with the same datasets.{record.dataset}.matrix"
            )
        if len(data) != record.slices:
            raise broken(path, f"dataset `{name}` has {len(data)} slices, the JSON file says {record.slices}")
        values: NDArray[Any] = data[()]
    if not np.isfinite(values).all():
        raise broken(path, f"dataset `{name}` holds NaN or infinite values")
    return values


def stored_matrix(path: Path) -> tuple[int, int]:
    """Return height and width of an aligned subject's slices."""
    with _opened(path) as stored:
        data = _dataset(stored, path, "target")
        return int(data.shape[1]), int(data.shape[2])


def _opened(path: Path) -> AbstractContextManager[h5py.File]:
    return hdf5.opened(path, "run the step `align` for this subject", AGAIN)


def _dataset(file: h5py.File, path: Path, name: str) -> h5py.Dataset:
    data = hdf5.dataset(file, name)
    if data is None:
        raise broken(path, f"dataset `{name}` is missing")
    if data.ndim != 3 or hdf5.too_large(data):
        raise broken(path, f"dataset `{name}` has shape {data.shape}, not (slice, height, width)")
    return data
