"""Reconstructed volumes as NIfTI on the grid of the scan, laid over which any viewer shows them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.datasets.geometry import Geometry
from data_prep.datasets.registered import LARGEST_SHIFT
from data_prep.errors import BadInput
from data_prep.volumes import largest_gap, load_volume, save_volume


def write_volume(path: Path, scan: NDArray[np.float32], geometry: Geometry) -> None:
    """Write a volume on a scan's grid as NIfTI: single precision, the scan's affine, millimetres.

    Raises:
        BadInput: the name is no NIfTI file's.
    """
    if not path.name.endswith((".nii", ".nii.gz")):
        raise BadInput(f"{path}: volumes of this dataset are NIfTI; give a name that ends in .nii.gz or .nii")
    save_volume(path, scan, np.array(geometry.affine))


def read_volume(path: Path, geometry: Geometry) -> NDArray[np.float32]:
    """Read a volume that another program wrote on a scan's grid as NIfTI.

    Raises:
        BadInput: it cannot be read, or lies on another grid.
    """
    # What rings below zero is bad, but not damaged: runs of an experiment are scored with it, too.
    volume = load_volume(path, signed=True)
    if list(volume.shape) != geometry.shape:
        have, want = (" x ".join(map(str, sides)) for sides in (volume.shape, geometry.shape))
        raise BadInput(f"{path}: {have} voxels, but the scan has {want}; write it on the scan's own grid")
    affine = np.array(geometry.affine)
    apart = largest_gap(volume.affine, affine, volume.shape)
    if apart > LARGEST_SHIFT * np.linalg.norm(affine[:3, :3], axis=0).min():
        raise BadInput(
            f"{path}: its header places it up to {apart:.1f} mm from the scan; write it with the scan's own "
            "affine"
        )
    return volume.data
