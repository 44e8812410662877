"""The contract of a dataset, and every dataset by name."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from data_prep import datasets as further_datasets
from data_prep.contracts.discovery import entries_of
from data_prep.errors import BadInput
from data_prep.volumes import Volume, load_volume, to_axial

# The paper's, which have their own steps.
OWN = ("ixi", "fastmri")
SUBJECT = "[A-Za-z0-9_-]+"
_FIELD = "{subject}"


@dataclass(frozen=True)
class Size:
    """Of embedded scans.

    Attributes:
        matrix: pixels along both in-plane axes.
        slices: axial slices.
        slice_spacing: mm.
    """

    matrix: int
    slices: int
    slice_spacing: float


def read_registered(target: Path, auxiliary: Path) -> tuple[Volume, Volume]:
    """Read two scans that lie on one grid already, as axial volumes.

    Raises:
        BadInput: a file is missing or broken, or the two grids differ.
    """
    first, second = load_volume(target), load_volume(auxiliary)
    if first.data.shape != second.data.shape:
        raise BadInput(
            f"{auxiliary}: {_sides(second)} voxels, but {target.name} has {_sides(first)}; give the two "
            "scans one grid or leave the subject out"
        )
    # A tenth of a voxel, anywhere in the volume.
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float64)
    corners[:, :3] *= first.data.shape
    apart = np.linalg.norm(corners @ (first.affine - second.affine).T, axis=1).max()
    if apart > 0.1 * first.spacing.min():
        raise BadInput(
            f"{auxiliary}: its header places it up to {apart:.1f} mm from {target.name}; register the two "
            "scans or leave the subject out"
        )
    return to_axial(first), to_axial(second)


def _sides(volume: Volume) -> str:
    return " x ".join(map(str, volume.data.shape))


def any_size(size: Size) -> None:
    """Take every size of embedded scans."""


def itself(subject: str) -> str:
    """Return the person of a subject where each has one session."""
    return subject


@dataclass(frozen=True)
class FurtherDataset:
    """One dataset; the ``DATASET`` of its file.

    Attributes:
        id: key below ``datasets`` of a configuration, and folder of its results, e.g. ``brats``.
        label: what tables print, e.g. BraTS.
        target, auxiliary: names of the contrasts, e.g. T2 and T1.
        target_file, auxiliary_file: where a subject's scans lie below the root, with ``{subject}`` for the
            id, e.g. ``{subject}/{subject}_t2.nii.gz``.
        read: (target's path, auxiliary's path) -> two volumes on one grid, (width, height, slice), axes to
            left, posterior and superior; raises BadInput where that cannot be.
        group: subject id -> the person, who is never divided between splits.
        embed: (folder of donors' maps, index, seed, size, root) writes the scans of one made-up subject in
            the published form; None if the dataset has no embedded form.
        embedded_id: (index, seed) -> id of that subject, which no published one has.
        maps: donors' maps that ``embed`` reads, names of ``data_prep.phantom.donors.MAPS``.
        check_size: raises BadInput for sizes that ``embed`` cannot fill.
        descent: what embedded subjects have in common, for captions.
    """

    id: str
    label: str
    target: str
    auxiliary: str
    target_file: str
    auxiliary_file: str
    read: Callable[[Path, Path], tuple[Volume, Volume]] = read_registered
    group: Callable[[str], str] = itself
    embed: Callable[[Path, int, int, Size, Path], None] | None = None
    embedded_id: Callable[[int, int], str] | None = None
    maps: tuple[str, ...] = ()
    check_size: Callable[[Size], None] = any_size
    descent: str = "all are made up by one program"

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            BadInput: a field is malformed.
        """
        if not re.fullmatch("[a-z][a-z0-9_]*", self.id) or self.id in OWN:
            raise BadInput(
                f"DATASET: id is {self.id!r}; use a-z, 0-9 and _, no dataset's that is there already"
            )
        for name in ("target_file", "auxiliary_file"):
            if _FIELD not in getattr(self, name):
                raise BadInput(f"DATASET: {name} is {getattr(self, name)!r}, without {_FIELD}; put it in")
        if (self.embed is None) != (self.embedded_id is None):
            raise BadInput("DATASET: embed and embedded_id belong together; define both or none")

    def files(self, root: Path, subject: str) -> tuple[Path, Path]:
        """Return where target and auxiliary of a subject lie."""
        first, second = (file.format(subject=subject) for file in (self.target_file, self.auxiliary_file))
        return root / first, root / second

    def find(self, root: Path) -> list[str]:
        """Return the subjects of whom there is a scan below ``root``, sorted; the other scan may be missing.

        Raises:
            BadInput: the folder does not exist.
        """
        if not root.is_dir():
            raise BadInput(f"{root}: no such folder; point it at the folder that holds {self.target_file}")
        found = set()
        for file in (self.target_file, self.auxiliary_file):
            parts = [re.escape(part) for part in file.split(_FIELD)]
            # The same id wherever it stands.
            pattern = re.compile(f"{parts[0]}(?P<subject>{SUBJECT}){'(?P=subject)'.join(parts[1:])}")
            for path in root.glob(file.replace(_FIELD, "*")):
                match = pattern.fullmatch(path.relative_to(root).as_posix())
                if match is not None:
                    found.add(match["subject"])
        return sorted(found)


@cache
def further() -> dict[str, tuple[str, FurtherDataset]]:
    """Return every further dataset with its module, by id, sorted.

    Raises:
        BadInput: a file defines no dataset, or one whose id another has; the message names the file.
    """
    return entries_of(
        further_datasets, "DATASET", FurtherDataset, "id", "docs/adding_a_dataset.md", "dataset.py"
    )


def further_dataset(name: str) -> FurtherDataset:
    """Return a further dataset by id.

    Raises:
        BadInput: there is no such file.
    """
    if name not in further():
        raise BadInput(f"dataset {name!r} is unknown; further datasets: {', '.join(further()) or 'none'}")
    return further()[name][1]


def datasets() -> tuple[str, ...]:
    """Return the ids of all datasets, the paper's first."""
    return (*OWN, *further())


def dataset_name(dataset: str) -> str:
    """Return a dataset's name in print."""
    return {"ixi": "IXI", "fastmri": "fastMRI"}.get(dataset) or further_dataset(dataset).label


def contrasts(dataset: str) -> tuple[str, str]:
    """Return the names of a dataset's target and auxiliary."""
    if dataset in OWN:
        return {"ixi": ("T2", "T1"), "fastmri": ("PDFS", "PD")}[dataset]
    found = further_dataset(dataset)
    return found.target, found.auxiliary


# Published split of a pool of subjects -> the splits that it fills, in this order.
_ONE_POOL: dict[str, tuple[str, ...]] = {"": ("test", "val", "train")}
_FASTMRI_POOLS: dict[str, tuple[str, ...]] = {"val": ("test",), "train": ("val", "train")}
# Pool -> subjects and slices in the published data: IXI with 100 slices each (paper, V.A), fastMRI by the
# published pair lists, slice by slice up to the shorter volume of each pair.
PUBLISHED: dict[str, dict[str, tuple[int, int]]] = {
    "ixi": {"": (577, 57_700)},
    "fastmri": {"train": (227, 8_332), "val": (45, 1_665)},
}


def pools(dataset: str) -> Mapping[str, tuple[str, ...]]:
    return _FASTMRI_POOLS if dataset == "fastmri" else _ONE_POOL


def target_dtype(dataset: str) -> np.dtype[Any]:
    """Return complex numbers for measured k-space, magnitudes for all else."""
    return np.dtype(np.complex64 if dataset == "fastmri" else np.float32)
