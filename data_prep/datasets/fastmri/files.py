"""Reconstructions in the form of fastMRI's submissions: a file for each scan, of the scan's own name.

``reconstruction`` is float32 (slices, rows, columns) of the reconstructed matrix, as ``reconstruction_esc``
of the scan.
"""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from data_prep.datasets.geometry import Geometry
from data_prep.errors import BadInput
from data_prep.io import hdf5
from data_prep.io.files import replacing

_NAME = "reconstruction"
_HEADER_BYTES = 16_384


def write_volume(path: Path, scan: NDArray[np.float32], geometry: Geometry) -> None:
    """Write a reconstructed scan.

    Raises:
        BadInput: the name is no HDF5 file's.
    """
    if path.suffix != ".h5":
        raise BadInput(f"{path}: volumes of this dataset are HDF5; give a name that ends in .h5")
    with replacing(path, scan.nbytes + _HEADER_BYTES) as temporary, h5py.File(temporary, "w") as file:
        file[_NAME] = scan


def read_volume(path: Path, geometry: Geometry) -> NDArray[np.float32]:
    """Read a scan that another program reconstructed.

    Raises:
        BadInput: the file is damaged, or the images are of another size or hold no numbers.
    """
    remedy = f"write `{_NAME}` (slices, rows, columns) as fastMRI's submissions do"
    with hdf5.opened(path, "give a file for each scan", remedy) as file:
        data = hdf5.dataset(file, _NAME)
        if data is None:
            raise BadInput(f"{path}: dataset {_NAME} is missing; {remedy}")
        if data.dtype.kind != "f" or list(data.shape) != geometry.shape:
            have, want = (" x ".join(map(str, sides)) for sides in (data.shape, geometry.shape))
            raise BadInput(
                f"{path}: dataset {_NAME} is {data.dtype} of {have}, but the scan has images of {want} "
                f"(slices, rows, columns); {remedy}"
            )
        values: NDArray[np.float32] = data[()].astype(np.float32)
    if not np.isfinite(values).all():
        raise BadInput(f"{path}: dataset {_NAME} holds NaN or infinite values; write it again")
    return values
