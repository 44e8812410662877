"""IXI: brains, T1 registered onto T2, which it guides."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data_prep.datasets.contract import Dataset, Download, Later, Published, Scans, Size, check_brain_size
from data_prep.datasets.ixi.names import (
    MODALITIES,
    SUFFIXES,
    embedded_subject_id,
    find_scans,
    misnamed,
    parse_scan_name,
    twins,
)

_TARGET, _AUXILIARY = "IXI-T2/{subject}-T2.nii.gz", "IXI-T1/{subject}-T1.nii.gz"
_TRUTH = "truth/{subject}.truth.json"
# Lists of the published files and of their headers agree on these.
_HOLES = {
    **dict.fromkeys(
        ("IXI116-Guys-0739", "IXI182-Guys-0792", "IXI309-IOP-0897", "IXI500-Guys-1017"),
        "published without T2",
    ),
    "IXI580-IOP-1157": "published without T1",
    "IXI014-HH-1236": "its published T2 has 28 slices",
}


@dataclass(frozen=True)
class Motion:
    """Of the head between the two scans: standard deviations per axis."""

    motion_degrees: float = 1.2
    motion_mm: float = 1.2


def locate(root: Path, lists: Mapping[str, Path]) -> dict[str, Scans]:
    """Find the subjects of whom there is a scan; one that is missing is where it should be.

    The published archive holds a few subjects with one scan only.

    Raises:
        BadInput: the folder does not exist.
    """

    def place(subject: str, scans: Mapping[str, Path], modality: str) -> str:
        missing = root / f"IXI-{modality}" / f"{subject}-{modality}{SUFFIXES[0]}"
        return str(scans.get(modality, missing))

    return {
        subject: Scans(place(subject, scans, "T2"), place(subject, scans, "T1"))
        for subject, scans in find_scans(root).items()
    }


def describe(subject: str, target: Path, auxiliary: Path) -> dict[str, str]:
    """Return site and person, which a subject's id tells."""
    name = parse_scan_name(f"{subject}-T2.nii")
    return {"site": name.site, "group": name.group}


def check_size(size: Size) -> None:
    """Refuse sizes that the donors cannot fill.

    Raises:
        BadInput: a size is out of range.
    """
    # With IXI's own spacing, any of these numbers of slices fits.
    spacing = 1.25 if size.slice_spacing is None else size.slice_spacing
    check_brain_size("embedded brains", size, spacing, most_slices=140)


DATASET = Dataset(
    id="ixi",
    label="IXI",
    target="T2",
    auxiliary="T1",
    target_file=_TARGET,
    auxiliary_file=_AUXILIARY,
    order=10,
    # 581 T1 and 578 T2; the paper counts those with both, with 100 slices each (V.A).
    published={"": Published(582, 577, 57_700, _HOLES)},
    locate=locate,
    misnamed=misnamed,
    example="IXI-T2/IXI012-HH-1211-T2.nii.gz and IXI-T1/IXI012-HH-1211-T1.nii.gz",
    other_forms={
        "IXI-T[12].tar": "not unpacked; run python -m data_prep.datasets.ixi.fetch --root {root}",
        "IXI*-[0-9][0-9][0-9][0-9][0-9][0-9]-[0-9][0-9].nii": (
            "unpacked under former names, which do not tell T1 from T2; put the .nii.gz of the archives in "
            "their place, which are read as they are"
        ),
    },
    describe=describe,
    align=Later("data_prep.datasets.ixi.align:align"),
    check=Later("data_prep.datasets.ixi.folder:check"),
    embed=Later("data_prep.datasets.ixi.embedded:embed"),
    embed_options=Motion,
    embedded_id=embedded_subject_id,
    embedded_files=(_TARGET, _AUXILIARY, _TRUTH, "truth/{subject}.lesions.nii.gz"),
    maps=("brain_asym", "brain_sym"),
    check_size=check_size,
    twins=twins,
    truth=_TRUTH,
    lesions="data_prep.datasets.ixi.lesions",
    report="data_prep.datasets.ixi.report",
    download=Download("data_prep.datasets.ixi.fetch", tuple(f"IXI-{modality}" for modality in MODALITIES)),
    descent="all brains descend from two variants of one population average",
)
