"""BraTS: brains with T1 and T2 on one 1 mm grid, skull stripped; T1 guides T2.

The published form (BraTS 2020 and 2021) is a folder per subject, such as ``BraTS2021_00000``, that holds
``BraTS2021_00000_t1.nii.gz``, ``BraTS2021_00000_t2.nii.gz`` and others that are not used: int16, 240 x 240 x
155 voxels of 1 mm, x to the left, y to the back, z up. Embedded subjects have that form at any size; they
have small lesions but no tumours.
"""

from data_prep.datasets.contract import Dataset, Later, Size, check_brain_size

# Above the published numbers.
FIRST_EMBEDDED_NUMBER = 90_000
SLICE_SPACING = 1.0  # mm, as published


def embedded_id(index: int, seed: int) -> str:
    """Return the id of an embedded subject, e.g. ``BraTS2021_90003`` for index 3."""
    return f"BraTS2021_{FIRST_EMBEDDED_NUMBER + index:05d}"


def check_size(size: Size) -> None:
    """Refuse sizes that the donors cannot fill.

    Raises:
        BadInput: a size is out of range.
    """
    spacing = size.slice_spacing or SLICE_SPACING
    check_brain_size("embedded BraTS brains", size, spacing, most_slices=160)


DATASET = Dataset(
    id="brats",
    label="BraTS",
    target="T2",
    auxiliary="T1",
    target_file="{subject}/{subject}_t2.nii.gz",
    auxiliary_file="{subject}/{subject}_t1.nii.gz",
    embed=Later("data_prep.datasets.brats.embedded:embed"),
    embedded_id=embedded_id,
    maps=("brain_asym", "brain_sym"),
    check_size=check_size,
    descent="all brains descend from two variants of one population average, and none has a tumour",
)
