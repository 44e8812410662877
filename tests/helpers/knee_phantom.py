"""A leg of simple shapes in place of the donor's maps, and small files of the published form."""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

SLICES = 6


def maps(slices: int = SLICES) -> dict[str, NDArray[np.float32]]:
    """Subcutaneous fat, muscle, two bones with marrow and a joint space, a vessel: 160 mm, 256 pixels."""
    y, x = np.mgrid[-80:80:256j, -80:80:256j].astype(np.float32)
    volumes = {name: np.zeros((slices, 256, 256), np.float32) for name in ("M0", "R2", "fat_fraction")}
    volumes["R2"][:] = 1 / 8
    for i in range(slices):
        bend = 8 * np.sin(y / 30 + 0.2 * i)
        leg = np.abs(x - bend) < 52
        muscle = np.abs(x - bend) < 46
        bones = [
            ((x - bend + 12) / 20) ** 2 + ((y - top) / 38) ** 2 < 1 for top in (-44 + 0.5 * i, 43 + 0.5 * i)
        ]
        vessel = (np.abs(x - bend - 28 - 4 * np.sin(y / 9)) < 3) & muscle
        tissues = [
            (leg, 1.1, 1 / 120, 1.0),
            (muscle, 0.5, 1 / 36, 0.02),
            *((bone, 0.9, 1 / 110, 1.0) for bone in bones),
            (vessel, 0.7, 1 / 90, 0.0),
        ]
        for where, m0, r2, fat in tissues:
            for name, value in (("M0", m0), ("R2", r2), ("fat_fraction", fat)):
                volumes[name][i][where] = value
    return volumes


def write_donor(folder: Path) -> Path:
    """Write ``knee.npz`` as ``data_prep.phantom.donors`` does and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "knee.npz", **maps())
    return folder


HEADER = """<?xml version="1.0" encoding="UTF-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<encodedSpace><matrixSize><x>24</x><y>20</y><z>1</z></matrixSize>
<fieldOfView_mm><x>240</x><y>200</y><z>4.5</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>12</x><y>12</y><z>1</z></matrixSize>
<fieldOfView_mm><x>120</x><y>120</y><z>3</z></fieldOfView_mm></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>16</maximum><center>8</center>
</kspace_encoding_step_1></encodingLimits></encoding></ismrmrdHeader>"""


def write_published(
    path: Path, acquisition: str = "CORPD_FBK", slices: int = 4, header: str = HEADER, seed: int = 0
) -> Path:
    """Write a small file of the published form: 24 x 20 k-space, 12 x 12 images."""
    rng = np.random.default_rng(seed)
    image = rng.standard_normal((slices, 24, 20)) + 1j * rng.standard_normal((slices, 24, 20))
    axes = (1, 2)
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image, axes=axes), norm="ortho"), axes=axes)
    cropped = np.abs(image[:, 6:18, 4:16]).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace.astype(np.complex64)
        file["reconstruction_esc"] = cropped
        file["reconstruction_rss"] = cropped
        file["ismrmrd_header"] = header
        file.attrs["acquisition"] = acquisition
        file.attrs["max"] = float(cropped.max())
        file.attrs["norm"] = float(np.linalg.norm(cropped))
        file.attrs["patient_id"] = "a patient"
    return path
