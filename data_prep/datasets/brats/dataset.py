"""BraTS: brains with T1 and T2 on one 1 mm grid, skull stripped; T1 guides T2.

The published form is a folder per subject, such as ``BraTS2021_00000``, that holds
``BraTS2021_00000_t1.nii.gz``, ``BraTS2021_00000_t2.nii.gz`` and others that are not used: int16, 240 x 240 x
155 voxels of 1 mm, x to the left, y to the back, z up. From 2023 on, scans are named
``BraTS-GLI-00000-000-t1n.nii.gz`` and ``-t2w``. Embedded subjects have the form of 2021 at other sizes;
they have small lesions but no tumours.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from data_prep.datasets.contract import Dataset, Later, Scans, Size, check_brain_size, scans_by_names
from data_prep.datasets.misnamed import misnamed_by_names
from data_prep.errors import BadInput

# Above the published numbers.
FIRST_EMBEDDED_NUMBER = 90_000
SLICE_SPACING = 1.0  # mm, as published
# 2018 has its subjects in two folders more, HGG and LGG, and 2020 may be unpacked into one.
FORMS = [
    (f"{above}{{subject}}/{{subject}}{t2}{suffix}", f"{above}{{subject}}/{{subject}}{t1}{suffix}")
    for above in ("", "*/")
    for t2, t1 in (("_t2", "_t1"), ("-t2w", "-t1n"))
    for suffix in (".nii.gz", ".nii")
]
# Brats17_TCIA_101_1 to BraTS19, BraTS-GLI-00000-000: the last number is that of the session.
_SESSION = re.compile(r"(?P<person>Brats1[789]_.+)_\d+|(?P<same>BraTS-[A-Z]+-\d+)-\d{3}", re.IGNORECASE)


def locate(root: Path, lists: Mapping[str, Path]) -> dict[str, Scans]:
    """Find the subjects of one release, by its names.

    Raises:
        BadInput: the folder does not exist, a scan is there twice, or there are two releases.
    """
    found = scans_by_names(root, FORMS)
    first: dict[str, str] = {}
    for subject in found:
        first.setdefault(re.split("[_-]", subject)[0].lower(), subject)
    if len(first) > 1:
        one, other = list(first.values())[:2]
        raise BadInput(
            f"{root}: {one} and {other} are of two releases of BraTS, which hold the same people under other "
            "names; give the folder of one"
        )
    return found


def group(subject: str) -> str:
    """Return the person, e.g. ``BraTS-GLI-00005`` of the session ``BraTS-GLI-00005-001``."""
    match = _SESSION.fullmatch(subject)
    return (match["person"] or match["same"]) if match else subject


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
    locate=locate,
    misnamed=lambda root: misnamed_by_names(root, FORMS),
    group=group,
    embed=Later("data_prep.datasets.brats.embedded:embed"),
    embedded_id=embedded_id,
    maps=("brain_asym", "brain_sym"),
    check_size=check_size,
    descent="all brains descend from two variants of one population average, and none has a tumour",
)
