"""Whether a folder of IXI can be used, from names, headers and the ends of files.

The same functions decide here and in the step ``align``, so that what is excluded here is excluded there.
Only a registration that fails cannot be foreseen.
"""

import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from data_prep.datasets.contract import Dataset, Finding
from data_prep.datasets.ixi.dataset import DATASET
from data_prep.datasets.ixi.names import MODALITIES, SITES, check_single, find_scans, parse_scan_name
from data_prep.datasets.registered import require_slices
from data_prep.errors import BadInput, naming
from data_prep.io.private import from_within
from data_prep.volumes import Header, axial_slices, load_volume, read_header

# Voxel sizes in mm of a brain scan that is worth a look beyond, and how far apart two centres may lie.
_FINEST, _COARSEST, _FARTHEST = 0.4, 3.0, 80.0


def check(
    dataset: Dataset, folder: Path, slices: int, deep: bool, lists: Mapping[str, Path]
) -> tuple[list[Finding], dict[str, str]]:
    """Return what ``findings`` and ``summary`` say of a folder."""
    found = findings(folder, slices, deep)
    return found, summary(folder, found)


def findings(folder: Path, slices: int, deep: bool = False) -> list[Finding]:
    """Return one finding for each subject of which there is any scan, sorted.

    Args:
        folder: as ``datasets.ixi.root``.
        slices: axial slices wanted of each T2 scan.
        deep: read every voxel too, as the step ``align`` does.

    Raises:
        BadInput: the folder does not exist.
    """
    found = find_scans(folder)
    first: dict[tuple[int, ...], str] = {}
    return [_finding(folder, subject, scans, slices, deep, first) for subject, scans in found.items()]


def summary(folder: Path, found: Sequence[Finding]) -> dict[str, str]:
    """Count scans, pairs, persons and sites; numbers of subjects that can be used stand last."""
    scans = find_scans(folder)
    names = [parse_scan_name(f"{subject}-T1.nii") for subject in scans]
    sites = Counter(name.site for name in names)
    status = Counter(finding.status for finding in found)
    return {
        **{f"{m} scans": str(sum(m in files for files in scans.values())) for m in MODALITIES},
        "subjects with both": str(sum(len(files) == len(MODALITIES) for files in scans.values())),
        "subjects in the paper": str(DATASET.published[""].counted),
        "persons": str(len({name.group for name in names})),
        "sites": ", ".join(f"{site} {count}" for site, count in sorted(sites.items())),
        **{name: str(status[name]) for name in ("ok", "suspicious", "excluded")},
    }


def _finding(
    folder: Path,
    subject: str,
    scans: dict[str, Path],
    slices: int,
    deep: bool,
    first: dict[tuple[int, ...], str],
) -> Finding:
    finding = Finding(subject, "ok", files=tuple(str(path.relative_to(folder)) for path in scans.values()))
    try:
        for modality in MODALITIES:
            if modality not in scans:
                raise BadInput(f"no {modality} scan; add it or leave the subject out")
        headers = {modality: _checked(path, deep) for modality, path in scans.items()}
        require_slices(axial_slices(headers["T2"]), slices, scans["T2"], DATASET.id)
    except BadInput as error:
        return replace(finding, status="excluded", reason=from_within(str(error), folder))
    doubts = [*_doubts(subject, headers), *_copies(subject, scans, first)]
    return replace(finding, status="suspicious", reason="; ".join(doubts)) if doubts else finding


def _checked(path: Path, deep: bool) -> Header:
    check_single(path)
    header = read_header(path)
    length = _trailer(path)[1] if path.suffix == ".gz" else path.stat().st_size % 2**32
    # A file that was cut off does not end as it should; only reading it tells for sure.
    if deep or length != header.file_bytes % 2**32:
        load_volume(path)
    return header


def _trailer(path: Path) -> tuple[int, int]:
    """Checksum, and uncompressed length modulo 2^32, that a gzip file ends with."""
    with naming(path), path.open("rb") as file:
        file.seek(-8, 2)
        checksum, length = struct.unpack("<II", file.read(8))
    return checksum, length


def _doubts(subject: str, headers: dict[str, Header]) -> list[str]:
    """Return what a person should look at though nothing forbids its use."""
    found = []
    site = parse_scan_name(f"{subject}-T1.nii").site
    if site not in SITES:
        found.append(f"site {site} is none of {', '.join(SITES)}")
    centres = []
    for modality, header in headers.items():
        spacing = np.linalg.norm(header.affine[:3, :3], axis=0)
        if spacing.min() < _FINEST or spacing.max() > _COARSEST:
            sizes = " x ".join(f"{value:.2g}" for value in spacing)
            found.append(f"{modality} has voxels of {sizes} mm, where nearly all of IXI have 0.9 x 0.9 x 1.2")
        middle = (np.array(header.shape) - 1) / 2
        centres.append(header.affine[:3, :3] @ middle + header.affine[:3, 3])
    distance = float(np.linalg.norm(centres[0] - centres[1]))
    if distance > _FARTHEST:
        found.append(f"the centres of T1 and T2 lie {distance:.0f} mm apart, so registration may fail")
    return found


def _copies(subject: str, scans: dict[str, Path], first: dict[tuple[int, ...], str]) -> list[str]:
    """Return which scans have the content of another subject's, by what their compressed files end with."""
    found = []
    for modality, path in scans.items():
        if path.suffix == ".gz":
            other = first.setdefault((path.stat().st_size, *_trailer(path)), f"{subject} {modality}")
            if other != f"{subject} {modality}":
                found.append(f"{modality} has the content of {other}; the run stops if two splits hold them")
    return found
