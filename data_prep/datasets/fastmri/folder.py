"""Whether a folder of fastMRI can be used, from the files' headers and attributes alone.

The same functions decide here and in the step ``align``, so that what is excluded here is excluded there. A
person of both lists, at whom the step ``prepare`` stops, is refused.
Only values that are NaN or that do not give the stored reconstruction, and a registration that fails, cannot
be foreseen; ``deep`` foresees the first two.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_prep.datasets.contract import Dataset, Finding, Scans
from data_prep.datasets.fastmri.dataset import DATASET, PAIRS, files
from data_prep.datasets.fastmri.pairs import check_pair, paired_slices
from data_prep.datasets.fastmri.scans import Scan, open_scan, read_images, remarks
from data_prep.errors import BadInput
from data_prep.io.private import from_within

PUBLISHED_FILES = {"train": 973, "val": 199}
# Under these names the lists are found beside the folders of scans, if no others are given.
LIST_NAMES = ("singlecoil_{}_split_less.csv", PAIRS)


def check(
    dataset: Dataset, folder: Path, slices: int, deep: bool, lists: Mapping[str, Path]
) -> tuple[list[Finding], dict[str, str]]:
    """Return what ``findings`` and ``summary`` say of a folder; all slices of a pair are wanted."""
    found = findings(folder, lists.get("train_pairs"), lists.get("val_pairs"), deep)
    return found, summary(folder, found)


def findings(
    folder: Path, train_pairs: Path | None = None, val_pairs: Path | None = None, deep: bool = False
) -> list[Finding]:
    """Return one finding for each pair of the lists; without lists, one for each file.

    Args:
        folder: as ``datasets.fastmri.root``, with ``singlecoil_train`` and ``singlecoil_val``.
        train_pairs: list of training pairs; None: one of ``LIST_NAMES`` in the folder, if it is there.
        val_pairs: list of validation pairs, likewise.
        deep: read every slice too, as the step ``align`` does.

    Raises:
        BadInput: a list is broken, or a file is in both.
    """
    given = {"train": train_pairs or _list_in(folder, "train"), "val": val_pairs or _list_in(folder, "val")}
    lists = {f"{split}_pairs": path for split, path in given.items() if path is not None}
    single = [(split, path) for split in PUBLISHED_FILES for path in files(folder, split)]
    if not lists:
        return [_single(folder, split, path, deep) for split, path in single]
    people: dict[str, tuple[str, str]] = {}
    pairs = DATASET.scans(folder, lists).items()
    return [_pair(folder, subject, scans, deep, people) for subject, scans in pairs]


def summary(folder: Path, found: Sequence[Finding]) -> dict[str, str]:
    """Count files, pairs and the slices that pairs share, each beside the published number."""
    status = Counter(finding.status for finding in found)
    said = {
        f"files in singlecoil_{split}": f"{len(files(folder, split))} ({published} published)"
        for split, published in PUBLISHED_FILES.items()
    }
    paired = [finding for finding in found if len(finding.files) == 2]
    for split, published in DATASET.published.items():
        here = [finding for finding in paired if finding.pool == split]
        shared = sum(
            min(open_scan(folder / name).slices for name in finding.files)
            for finding in here
            if finding.status in ("ok", "suspicious")
        )
        if paired:
            said[f"pairs of {split}"] = f"{len(here)} ({published.counted} published)"
            said[f"slices of usable pairs of {split}"] = f"{shared} ({published.slices} published)"
    if not paired:
        said["pairs"] = "unknown without pair lists"
    return said | {name: str(status[name]) for name in ("ok", "suspicious", "excluded", "refused")}


def _list_in(folder: Path, split: str) -> Path | None:
    return next((path for name in LIST_NAMES if (path := folder / name.format(split)).is_file()), None)


def _single(folder: Path, split: str, path: Path, deep: bool) -> Finding:
    files = (path.relative_to(folder).as_posix(),)
    try:
        scan = open_scan(path)
        if deep:
            _read(scan, scan.slices)
    except BadInput as error:
        return Finding(path.stem, "excluded", from_within(str(error), folder), files, split)
    return _judged(path.stem, remarks(scan), files, split)


def _pair(
    folder: Path, subject: str, scans: Scans, deep: bool, people: dict[str, tuple[str, str]]
) -> Finding:
    """Check a pair; ``people`` holds where each person was met first, and is added to."""
    split, paths = scans.split_hint, (Path(scans.target), Path(scans.auxiliary))
    files = tuple(path.relative_to(folder).as_posix() for path in paths)
    try:
        pdfs, pd = map(open_scan, paths)
        check_pair(pd, pdfs)
        if deep:
            for scan in (pdfs, pd):
                _read(scan, paired_slices(pd, pdfs)[1])
    except BadInput as error:
        return Finding(subject, "excluded", from_within(str(error), folder), files, split)
    for scan, file in zip((pdfs, pd), files, strict=True):
        other, where = people.setdefault(scan.patient_id, (split, scan.path.name))
        if other != split:
            # A person's id may be a patient's, and findings are passed on; the files tell who it is.
            leak = f"{file}: its person (attribute patient_id) is in the other list too, with {where}"
            remedy = "which the run refuses; remove one of the two pairs from its list"
            return Finding(subject, "refused", f"{leak}, {remedy}", files, split)
    return _judged(subject, [*remarks(pdfs), *remarks(pd)], files, split)


def _read(scan: Scan, slices: int) -> None:
    for index in range(slices):
        read_images(scan, index, index + 1)


def _judged(subject: str, said: Sequence[str], files: tuple[str, ...], split: str) -> Finding:
    return Finding(subject, "suspicious" if said else "ok", "; ".join(said), files, split)
