"""Whether a machine is large enough for an experiment: disks and GPUs. Arithmetic, no scan is read."""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.datasets.contract import dataset_of
from workflow.plan.config import split_numbers
from workflow.plan.plan import Plan
from workflow.run.gpus import machine_devices, visible_devices

# Where the configuration takes all slices of a scan: fastMRI's published files have about so many.
ASSUMED_SLICES = 36
_AUXILIARY_BYTES = 4  # of a pixel


@dataclass(frozen=True)
class Files:
    """Files of one kind, each as large as the others.

    Attributes:
        kind: ``aligned`` or ``prepared``.
        dataset: id.
        paths: where they are to be.
        size: bytes of each.
    """

    kind: str
    dataset: str
    paths: tuple[Path, ...]
    size: float

    @property
    def total(self) -> float:
        """Bytes of all of them."""
        return self.size * len(self.paths)

    @property
    def to_come(self) -> float:
        """Bytes of those that are not there yet."""
        return self.size * sum(not path.is_file() for path in self.paths)


def slices_of(configured: Mapping[str, Any]) -> int:
    """Return how many slices a configuration takes of a subject; where it takes all, about how many."""
    return configured["slices"] or ASSUMED_SLICES


def split_slices(configured: Mapping[str, Any]) -> dict[str, int]:
    """Return the number of slices of each split, see ``split_numbers`` and ``slices_of``."""
    return {split: n * slices_of(configured) for split, n in split_numbers(configured["splits"]).items()}


def slice_bytes(dataset: str, configured: Mapping[str, Any]) -> int:
    """Return the bytes of one slice of target and auxiliary, as it is stored."""
    return int(configured["matrix"]) ** 2 * (dataset_of(dataset).target_dtype.itemsize + _AUXILIARY_BYTES)


def data_files(plan: Plan) -> Iterator[Files]:
    """Yield the aligned subjects and the split files of an experiment."""
    for name, configured in plan.config["datasets"].items():
        of_slice, slices = slice_bytes(name, configured), slices_of(configured)
        subjects = plan.subjects[name]
        aligned = tuple(Path(f"{plan.subjects.folder('aligned', name)}/{subject}.h5") for subject in subjects)
        yield Files("aligned", name, aligned, slices * of_slice)
        for split, count in split_numbers(configured["splits"]).items():
            # Who asks for at most so many gets what is there.
            path = Path(f"{plan.subjects.folder('data', name)}/{split}.h5")
            yield Files("prepared", name, (path,), min(count, len(subjects)) * slices * of_slice)


def above(path: Path) -> Path:
    """Return the nearest folder above a path, or the path itself, that is there."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def free_bytes(path: Path) -> int:
    """Return the free bytes of the disk that a path is on, or will be."""
    return shutil.disk_usage(above(path)).free


def short_of_room(plan: Plan) -> str:
    """Say on which disk there is too little room for aligned and prepared scans; empty if there is enough.

    A warning and no refusal: files of another experiment may be deleted meanwhile.
    """
    missing: defaultdict[int, float] = defaultdict(float)
    places: dict[int, Path] = {}
    for files in data_files(plan):
        folder = files.paths[0].parent if files.paths else Path(plan.root)
        disk = above(folder).stat().st_dev
        places.setdefault(disk, folder)
        missing[disk] += files.to_come
    for disk, needed in missing.items():
        if needed > (free := free_bytes(places[disk])):
            return (
                f"{places[disk]}: about {gigabytes(needed)} of aligned and prepared scans are to come, but "
                f"{gigabytes(free)} are free there; make room, or let results/ be a link to a folder on a "
                "larger disk"
            )
    return ""


def too_few_gpus(plan: Plan) -> str:
    """Say that this machine has GPUs, but fewer than a training is to have; empty where jobs find enough.

    A warning and no refusal: jobs may run elsewhere.
    """
    wanted = plan.config["training"]["devices"]
    # A driver's answer takes time, and with one device there is nothing to ask.
    if wanted == 1:
        return ""
    there = len(visible_devices(machine_devices(os.environ), os.environ.get("CUDA_VISIBLE_DEVICES")))
    if not 0 < there < wanted:
        return ""
    return (
        f"config: training.devices: is {wanted}, but this machine has {there} GPUs; lower it, unless "
        "trainings run on other machines"
    )


def gigabytes(size: float) -> str:
    """Write bytes for people."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        # From where three digits would be 1e+03 of the smaller unit.
        if size >= 0.9995 * factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size / 1e3:.3g} kB"
