"""A made-up donor knee, and small files of the published form."""

from pathlib import Path

import h5py
import numpy as np

from data_prep.phantom.toy import toy_knee as maps


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
