"""Knees that were undersampled when they were scanned: ``kspace`` with a ``mask``, as the test set has them.

Along the readout (rows) all is sampled, so that its oversampling is cut off exactly. Along the phase encoding
k-space stays as long as it was measured, because its missing columns cannot be known for another length.
"""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from data_prep.datasets.fastmri.scans import (
    Header,
    centre_crop,
    header_text,
    opened_scan,
    parse_header,
    stack,
)
from data_prep.datasets.geometry import Geometry
from data_prep.datasets.record import Measured
from data_prep.errors import BadInput
from data_prep.fourier import ifft2c
from data_prep.io import hdf5


def read_kspace(target: Path, auxiliary: Path | None) -> Measured:
    """Read a scan with its mask, and a fully sampled scan of the other contrast, paired as they lie.

    Args:
        target: file with ``kspace``, ``mask`` (one entry for each column) and ``ismrmrd_header``.
        auxiliary: file with ``kspace`` and ``ismrmrd_header``; slices are paired from the first.

    Returns:
        Images of the reconstructed rows and all measured columns.

    Raises:
        BadInput: a file is damaged or lacks a part, the mask does not fit, or the two scans do not.
    """
    header, images, mask = _read(target)
    if mask is None:
        raise BadInput(f"{target}: dataset mask is missing; give a fully sampled scan as --target")
    slices, columns = len(images), images.shape[2]
    other = np.zeros(images.shape, np.float32)
    if auxiliary is not None:
        its, pictures, its_mask = _read(auxiliary)
        if its_mask is not None:
            raise BadInput(f"{auxiliary}: it holds a `mask`; the auxiliary must be fully sampled")
        for name in ("recon_matrix", "recon_field_of_view"):
            mine, theirs = getattr(header, name), getattr(its, name)
            if not np.allclose(mine, theirs, rtol=0.005):
                raise BadInput(f"{auxiliary}: its {name} {theirs} is not that of {target.name}, {mine}")
        slices = min(slices, len(pictures))
        # Scans of a pair are encoded with different numbers of columns, around one centre.
        width = min(columns, pictures.shape[2])
        left = (columns - width) // 2
        other[:slices, :, left : left + width] = centre_crop(
            np.abs(pictures[:slices]), (images.shape[1], width)
        )
    steps = [[int(axis == along) for along in range(3)] + [0] for axis in range(3)]
    steps[2][3] = -((columns - header.recon_matrix[1]) // 2)
    geometry = Geometry([len(images), *header.recon_matrix], steps)
    return Measured(images[:slices], other[:slices], mask, geometry)


def _read(path: Path) -> tuple[Header, NDArray[np.complex64], NDArray[np.bool_] | None]:
    """Return header, images (slices, reconstructed rows, measured columns) and mask, if there is one."""
    with opened_scan(path) as file:
        kspace = stack(file, path, "kspace", np.dtype(np.complex64))
        header = parse_header(header_text(file, path), path)
        rows, columns = header.recon_matrix
        if kspace.shape[1] < rows or kspace.shape[2] < columns:
            raise BadInput(
                f"{path}: dataset kspace {kspace.shape} is smaller than its reconstructed matrix of {rows} x "
                f"{columns}; give the file as it was scanned"
            )
        mask = _read_mask(file, path, kspace.shape[2]) if "mask" in file else None
        images = np.empty((len(kspace), rows, kspace.shape[2]), np.complex64)
        for index in range(len(kspace)):
            sampled = kspace[index] if mask is None else kspace[index] * mask
            images[index] = centre_crop(ifft2c(sampled), images.shape[1:])
    if not np.isfinite(images).all() or not images.any():
        raise BadInput(f"{path}: dataset kspace holds no signal, or values that are no numbers; get it again")
    return header, images, mask


def _read_mask(file: h5py.File, path: Path, columns: int) -> NDArray[np.bool_]:
    data = hdf5.dataset(file, "mask")
    if data is None or data.shape != (columns,) or data.dtype.kind not in "buif":
        raise BadInput(
            f"{path}: dataset mask must have one number for each of {columns} columns; mend the file"
        )
    values = data[()]
    if not np.isin(values, (0, 1)).all() or not values.any():
        raise BadInput(
            f"{path}: dataset mask must hold 1 for a sampled column and 0 for others; mend the file"
        )
    return np.asarray(values, dtype=np.bool_)
