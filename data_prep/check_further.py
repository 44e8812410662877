"""Whether a folder of a further dataset can be used, by the functions of the step ``align_further``."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data_prep.check_report import Finding
from data_prep.errors import BadInput
from data_prep.further_dataset import further_dataset


def findings(name: str, folder: Path, slices: int, deep: bool = False) -> list[Finding]:
    """Return one finding for each subject of whom there is a scan, sorted.

    Args:
        name: the dataset's id.
        folder: as ``datasets.<name>.root``.
        slices: axial slices wanted of each scan.
        deep: read every voxel too; else only missing scans are found.

    Raises:
        BadInput: the folder does not exist or holds no scan.
    """
    dataset = further_dataset(name)
    subjects = dataset.find(folder)
    if not subjects:
        raise BadInput(
            f"{folder}: no scan like {dataset.target_file} here; point it at the folder that holds them"
        )
    return [_finding(name, folder, subject, slices, deep) for subject in subjects]


def summary(name: str, folder: Path, found: Sequence[Finding]) -> dict[str, str]:
    """Count subjects and persons; numbers of subjects that can be used stand last."""
    status = Counter(finding.status for finding in found)
    group = further_dataset(name).group
    return {
        "subjects": str(len(found)),
        "persons": str(len({group(finding.subject) for finding in found})),
        **{state: str(status[state]) for state in ("ok", "suspicious", "excluded")},
    }


def _finding(name: str, folder: Path, subject: str, slices: int, deep: bool) -> Finding:
    dataset = further_dataset(name)
    target, auxiliary = dataset.files(folder, subject)
    there = tuple(path.relative_to(folder).as_posix() for path in (target, auxiliary) if path.is_file())
    try:
        for path in (target, auxiliary):
            if not path.is_file():
                raise BadInput(f"{path}: no such file; add it or leave the subject out")
        if deep:
            have = min(volume.data.shape[2] for volume in dataset.read(target, auxiliary))
            if have < slices:
                raise BadInput(
                    f"{target}: {have} axial slices, but {slices} are wanted; set datasets.{name}.slices "
                    "lower or leave the scan out"
                )
    except BadInput as error:
        return Finding(subject, "excluded", str(error).replace(f"{folder}/", ""), there)
    return Finding(subject, "ok", files=there)
