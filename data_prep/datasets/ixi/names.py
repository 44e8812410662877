"""IXI scans: what their names tell, and where they lie.

The published archive holds ``IXI-T1/IXI012-HH-1211-T1.nii.gz`` (sagittal) and
``IXI-T2/IXI012-HH-1211-T2.nii.gz`` (axial). One folder for both is read too, and so are ``T1`` and ``T2``, as
TorchIO leaves them, and a folder within one of its own name, as some programs unpack archives.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_prep.errors import BadInput
from data_prep.seeds import seed_for

SITES = ("Guys", "HH", "IOP")
MODALITIES = ("T1", "T2")
SUFFIXES = (".nii.gz", ".nii")
FIRST_EMBEDDED_NUMBER = 900
_FOLDERS = ("IXI-T1", "IXI-T2", "T1", "T2")

_SCAN_NAME = re.compile(
    r"(?P<subject>(?P<group>IXI\d{3,})-(?P<site>[A-Za-z]+)-(?P<number>\d+))-(?P<modality>[A-Z0-9]+)\.nii(\.gz)?"
)

_LIKE_A_SCAN = re.compile(r"(?P<subject>.*?)[-_. ]*T[12]\.nii(\.gz)?", re.IGNORECASE)
# The published .nii.gz keep within them what their scans were called before, without the modality. Programs
# that go by it leave IXI002-Guys-0828-MPRAGESEN_-s256_-0301-00003-000001-01.nii.
_FORMER_NAME = re.compile(r"(?P<subject>IXI\d{3,}-[A-Za-z]+-\d+)-.+-\d{6}-\d\d\.nii(\.gz)?")


@dataclass(frozen=True)
class ScanName:
    """What the name of a published scan says, e.g. ``IXI012-HH-1211-T1.nii.gz``.

    Attributes:
        subject: ``IXI012-HH-1211``, which names the session.
        group: ``IXI012``, the person: never to be divided between splits.
        site: ``Guys``, ``HH`` or ``IOP``.
        number: the hospital's scan number, ``1211``.
        modality: ``T1``, ``T2``, ``PD`` ...
    """

    subject: str
    group: str
    site: str
    number: str
    modality: str


def parse_scan_name(path: Path | str) -> ScanName:
    """Read subject, site and modality from a file name.

    Raises:
        BadInput: the name is not of the published form.
    """
    name = scan_name(path)
    if name is None:
        form = "not of the form IXI012-HH-1211-T1.nii.gz; give the scan its published name"
        raise BadInput(f"{path}: the file name is {form}")
    return name


def scan_name(path: Path | str) -> ScanName | None:
    """Read a file name; None if it is not of the published form."""
    match = _SCAN_NAME.fullmatch(Path(path).name)
    return match and ScanName(**match.groupdict())


def embedded_subject_id(index: int, seed: int) -> str:
    """Return the subject id of an embedded brain, e.g. ``IXI903-HH-1211`` for index 3.

    Numbers start at 900, above the published ones, and go on with four digits from IXI1000.
    """
    if index < 0:
        raise BadInput(f"index {index}: embedded subjects are counted from 0; give 0 or more")
    axes: dict[str, str | int] = {"use": "subject id", "dataset": "ixi", "index": index, "seed": seed}
    site = SITES[seed_for(field="site", **axes) % len(SITES)]
    number = seed_for(field="number", **axes) % 2900 + 100
    return f"IXI{FIRST_EMBEDDED_NUMBER + index:03d}-{site}-{number:04d}"


def find_scans(folder: Path) -> dict[str, dict[str, Path]]:
    """Find every T1 and T2 scan.

    Returns:
        Subject id -> {"T1": path, "T2": path}, subjects sorted, without what is not there.

    Raises:
        BadInput: the folder does not exist.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder; point it at the folder that holds IXI-T1 and IXI-T2")
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(path for place in _places(folder) for path in place.iterdir()):
        # Copies made on other systems carry hidden twins (._IXI...) that are no scans.
        name = scan_name(path)
        if name is not None and name.modality in MODALITIES:
            scans = found.setdefault(name.subject, {})
            # Some programs unpack a scan into a folder of its name, beside it.
            if name.modality not in scans or scans[name.modality].is_dir():
                scans[name.modality] = path
    return dict(sorted(found.items()))


def misnamed(folder: Path) -> dict[str, list[Path]]:
    """Find visible files that end as T1 and T2 scans do, or go by a former name, but have no published one.

    Returns:
        What precedes the modality, or the subject of a former name -> the files, sorted.

    Raises:
        BadInput: the folder does not exist.
    """
    found: dict[str, list[Path]] = {}
    taken = find_scans(folder)
    for path in sorted(path for place in _places(folder) for path in place.iterdir()):
        subject = misnamed_subject(path.name)
        # Of a subject whose two scans are taken, it was unpacked from one of them.
        unpacked = _FORMER_NAME.fullmatch(path.name) and len(taken.get(subject or "", ())) == len(MODALITIES)
        if subject is not None and not unpacked and not path.is_dir():
            found.setdefault(subject or path.name, []).append(path)
    return dict(sorted(found.items()))


def misnamed_subject(name: str) -> str | None:
    """Return the subject, or what precedes the modality, of a misnamed scan; None for all other files."""
    like = _FORMER_NAME.fullmatch(name) or _LIKE_A_SCAN.fullmatch(name)
    return like["subject"] if like and scan_name(name) is None and not name.startswith(".") else None


def _places(folder: Path) -> Iterator[Path]:
    """Yield the folder and those within that may hold scans."""
    named = [folder / name for name in _FOLDERS]
    within = (path / path.name for path in named)
    return (path for path in (folder, *named, *within) if path.is_dir())


def twins(path: Path) -> list[Path]:
    """Find other files of the same scan: the other suffix, or the same name in another folder of the dataset.

    Args:
        path: a scan in one of the dataset's folders; one without a published name has none, as only those
            names tell the modality.
    """
    if scan_name(path) is None:
        return []
    stem = path.name.removesuffix(".gz").removesuffix(".nii")
    root = path.parent
    while root.name in _FOLDERS:
        root = root.parent
    candidates = [place / f"{stem}{suffix}" for place in _places(root) for suffix in SUFFIXES]
    return [other for other in candidates if other != path and other.is_file()]


def check_single(path: Path) -> None:
    """Refuse a scan that is there twice.

    Raises:
        BadInput: it is, so that nobody knows which of the two is meant.
    """
    others = twins(path)
    if others:
        raise BadInput(
            f"{path}: {others[0]} is the same scan; keep one of the two, so that it is clear which is used"
        )
