"""The lesions of embedded brains, brought onto the slices of their aligned T2 scans.

``python -m data_prep.datasets.ixi.lesions --scans results/shared/raw/ixi-X --aligned DIR
--subjects '["IXI900-Guys-1720"]' --output FILE.h5`` writes, for each subject that was aligned, a dataset of
lesion numbers uint8 (slice, height, width) whose attribute ``radius_mm`` holds the radius of each number,
from 1. Methods never see it: only the probing of finished runs reads it.
"""

import zlib
from pathlib import Path
from typing import Annotated

import h5py
import numpy as np
from numpy.typing import NDArray

from data_prep.datasets.record import AGAIN, Subjects, read_record
from data_prep.errors import BadInput, reading
from data_prep.io import hdf5
from data_prep.io.command import command
from data_prep.io.files import replacing
from data_prep.io.json_files import read_json
from data_prep.volumes import Volume, central, load_volume, to_axial


def cropped(volume: Volume, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Reorder and crop a volume on the T2 grid as the alignment does its target: (slice, height, width).

    Args:
        volume: on the grid of the T2 scan as stored.
        shape: wanted (slice, height, width).
    """
    return np.ascontiguousarray(central(to_axial(volume), (shape[2], shape[1], shape[0])).data.T)


def lesion_labels(scans: Path, aligned: Path, subject: str) -> tuple[NDArray[np.uint8], list[float]]:
    """Return a subject's lesion numbers (slice, height, width) and the radius in mm of each, from number 1.

    Raises:
        BadInput: a file is missing, or the T2 scan, cropped alike, is not the aligned target: then the
            numbers would lie elsewhere than the lesions.
    """
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    scan = scans / "IXI-T2" / f"{subject}-T2.nii.gz"
    truth = scans / "truth" / f"{subject}.truth.json"
    labels = scans / "truth" / f"{subject}.lesions.nii.gz"
    absent = "only embedded brains have known lesions: make them again"
    stored = aligned / f"{subject}.h5"
    with hdf5.opened(stored, "run the step `align` for this subject", AGAIN) as file:
        target = file["target"][()]
    shape = (target.shape[0], target.shape[1], target.shape[2])
    volume = load_volume(scan)
    if not np.array_equal(cropped(volume, shape), target):
        raise BadInput(
            f"{stored}: target is not the scan {scan.name} cropped to {shape}; delete it and align again"
        )
    # Not load_volume, which refuses a volume of zeros: a subject may have no lesion on the grid.
    again, damage = "generate the subject again", (ImageFileError, OSError, ValueError, EOFError, zlib.error)
    with reading(labels, f"no such file; {absent}", "not NIfTI", again, damage):
        image = nibabel.Nifti1Image.from_filename(labels)
        if image.shape != volume.shape:
            raise ValueError(f"its shape is {image.shape}, the scan's {volume.shape}")
        numbers = np.asanyarray(image.dataobj).astype(np.float32)
    lesions = read_json(truth, absent, again, ["lesions"])["lesions"]
    return (
        cropped(Volume(numbers, volume.affine), shape).astype(np.uint8),
        [float(lesion["radius_mm"]) for lesion in lesions],
    )


@command
def main(
    scans: Annotated[Path, "folder of IXI-T2/ and truth/"],
    aligned: Annotated[Path, "folder of the aligned subjects"],
    subjects: Subjects,
    output: Annotated[Path, "the HDF5 file to write"],
) -> None:
    """Write the lesions of all subjects."""
    found = 0
    with replacing(output) as temporary, h5py.File(temporary, "w") as file:
        for subject in sorted(subjects):
            if not read_record(aligned, "ixi", subject).usable:
                continue
            labels, radii = lesion_labels(scans, aligned, subject)
            file.create_dataset(subject, data=labels, compression="gzip").attrs["radius_mm"] = radii
            found += len(np.unique(labels)) - 1
    print(f"{found} lesions on the slices")
