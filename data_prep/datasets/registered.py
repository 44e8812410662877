"""Scans that lie on one grid already: read, cropped, drawn, and checked before a run."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.datasets.contract import Dataset, Finding, Scans, Wanted
from data_prep.datasets.geometry import Geometry
from data_prep.datasets.record import Aligned, Record
from data_prep.errors import BadInput
from data_prep.io.private import from_within
from data_prep.volumes import (
    Header,
    Volume,
    absence,
    central,
    largest_gap,
    load_volume,
    read_header,
    to_axial,
)

BEFORE, AFTER = "#ff8c1a", "#1fd0c0"  # colours of outlines in quality pictures
ENLARGED = "bicubic"  # how quality pictures show slices of few pixels: smoothly, as viewers of scans do
_LEAST_STEP = 0.01  # of a voxel, by which whole ones may differ in single precision
LARGEST_SHIFT = 0.1  # of a voxel, by which the headers of two scans on one grid may differ


def read_registered(target: Path, auxiliary: Path) -> tuple[Volume, Volume]:
    """Read two scans that lie on one grid already, as axial volumes.

    Raises:
        BadInput: a file is missing or broken, or the two grids differ.
    """
    first, second = load_volume(target), load_volume(auxiliary)
    _require_one_grid(first, second, target, auxiliary)
    return to_axial(first), to_axial(second)


def _require_one_grid(first: Header | Volume, second: Header | Volume, target: Path, auxiliary: Path) -> None:
    """Refuse two scans whose shapes differ, or whose headers do by a tenth of a voxel anywhere."""
    if first.shape != second.shape:
        sides, others = (" x ".join(map(str, scan.shape)) for scan in (first, second))
        raise BadInput(
            f"{auxiliary}: {others} voxels, but {target.name} has {sides}; give the two "
            "scans one grid or leave the subject out"
        )
    apart = largest_gap(first.affine, second.affine, first.shape)
    if apart > LARGEST_SHIFT * np.linalg.norm(first.affine[:3, :3], axis=0).min():
        raise BadInput(
            f"{auxiliary}: its header places it up to {apart:.1f} mm from {target.name}; register the two "
            "scans or leave the subject out"
        )


def require_slices(have: int, wanted: int, scan: Path | str, dataset: str) -> None:
    """Refuse a scan of fewer axial slices than are wanted.

    Raises:
        BadInput: naming the scan.
    """
    if have < wanted:
        raise BadInput(
            f"{scan}: {have} axial slices, but {wanted} are wanted; set datasets.{dataset}.slices, or the "
            "option --slices, lower or leave the scan out"
        )


def stored(volume: Volume) -> NDArray[np.float32]:
    """Return an axial volume as it is written, (slice, height, width)."""
    return np.ascontiguousarray(volume.data.T)


def geometry_of(prepared: Volume, volume: Volume) -> Geometry:
    """Return where cropped axial voxels lie in the scan that they come from.

    Args:
        prepared: the cropped volume.
        volume: what it was cropped from; its own grid counts where no file is known to have it.
    """
    grids: list[Header | Volume] = [volume.scan, volume] if volume.scan else [volume]
    for scan in grids:
        # Slices are (z, y, x) of the volume.
        steps = (np.linalg.inv(scan.affine) @ prepared.affine)[:3, [2, 1, 0, 3]]
        whole = np.rint(steps)
        # A ``read`` that interpolates leaves the file's grid.
        if np.abs(steps - whole).max() < _LEAST_STEP:
            break
    return Geometry(list(scan.shape), whole.astype(int).tolist(), scan.affine.tolist())


def align(wanted: Wanted, record: Record) -> Aligned:
    """Read a subject's scans and take the central matrix and slices of both.

    Nothing is interpolated; scans larger than the matrix are cropped about their centre, smaller ones padded
    with zeros.

    Raises:
        BadInput: a scan cannot be used, or has too few slices.
    """
    volumes = wanted.dataset.read(wanted.target, wanted.auxiliary)
    available = [int(volume.data.shape[2]) for volume in volumes]
    slices = min(available) if wanted.slices is None else wanted.slices
    require_slices(min(available), slices, wanted.target, wanted.dataset.id)
    matrix = wanted.matrix or max(volumes[0].shape[:2])
    cropped = [central(volume, (matrix, matrix, slices)) for volume in volumes]
    for path, volume in zip((wanted.target, wanted.auxiliary), cropped, strict=True):
        if not volume.data.any():
            raise BadInput(f"{path}: the central slices hold no signal; leave the scan out")
    record = replace(
        record,
        slices=slices,
        target_slices=available[0],
        auxiliary_slices=available[1],
        geometry=geometry_of(cropped[0], volumes[0]),
    )
    target, auxiliary = map(stored, cropped)
    return Aligned(record, target, auxiliary, lambda: draw(record, wanted.dataset, target, auxiliary))


def draw(record: Record, dataset: Dataset, target: NDArray[Any], auxiliary: NDArray[np.float32]) -> Any:
    """Draw the central slice: target, auxiliary, and both as a chequerboard, where edges should meet."""
    middle = len(target) // 2
    first, second = shown(target[middle]), shown(auxiliary[middle])
    fields = np.indices(first.shape) // max(1, first.shape[0] // 6)
    pictures = {
        dataset.target: first,
        dataset.auxiliary: second,
        "chequerboard of both": np.where(fields.sum(0) % 2 == 0, first, second),
    }
    title = f"{record.subject} ({record.source}): slice {middle} of {record.slices}"
    return side_by_side(title, pictures)[0]


def side_by_side(title: str, pictures: Mapping[str, NDArray[Any]]) -> tuple[Any, list[Any]]:
    """Draw a quality picture of three slices (height, width) from 0 to 1, by the captions above them.

    Returns:
        matplotlib's figure, and the axes of each slice.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.7), dpi=110)
    figure.text(0.5, 0.94, title, ha="center", size=11, weight="bold")
    panels = [figure.add_axes((0.01 + column * 0.33, 0.02, 0.32, 0.82)) for column in range(3)]
    for axes, (name, image) in zip(panels, pictures.items(), strict=True):
        axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation=ENLARGED)
        axes.set_title(name, fontsize=9)
        axes.set_axis_off()
    return figure, panels


def shown(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale a slice so that nearly all of its signal lies between 0 and 1."""
    signal = image[image > 0]
    bright = float(np.percentile(signal, 99.5)) if signal.size else 1.0
    return np.asarray(np.clip(image / bright, 0, 1), dtype=np.float32)


def check(
    dataset: Dataset, folder: Path, slices: int, deep: bool, lists: Mapping[str, Path]
) -> tuple[list[Finding], dict[str, str]]:
    """Return one finding for each subject of whom there is a scan, sorted, and the numbers of them.

    Args:
        dataset: whose folder it is.
        folder: as ``datasets.<id>.root``.
        slices: axial slices wanted of each scan.
        deep: read every voxel too; else only what names and headers tell is found, and names alone where the
            dataset reads its scans in a way of its own.
        lists: none.

    Raises:
        BadInput: the folder does not exist.
    """
    subjects = dataset.scans(folder)
    found = [_finding(dataset, folder, subject, scans, slices, deep) for subject, scans in subjects.items()]
    status = Counter(finding.status for finding in found)
    return found, {
        "subjects": str(len(found)),
        "persons": str(len(set(map(dataset.group, subjects)))),
        **{state: str(status[state]) for state in ("ok", "suspicious", "excluded")},
    }


def _finding(dataset: Dataset, folder: Path, subject: str, scans: Scans, slices: int, deep: bool) -> Finding:
    target, auxiliary = Path(scans.target), Path(scans.auxiliary)
    there = tuple(path.relative_to(folder).as_posix() for path in (target, auxiliary) if path.is_file())
    try:
        for path in (target, auxiliary):
            if said := absence(path, "no such file; add it or leave the subject out"):
                raise BadInput(said)
        if deep:
            volumes = dataset.read(target, auxiliary)
            require_slices(min(volume.data.shape[2] for volume in volumes), slices, target, dataset.id)
        elif dataset.read == Dataset.read:
            _require_one_grid(read_header(target), read_header(auxiliary), target, auxiliary)
    except BadInput as error:
        return Finding(subject, "excluded", from_within(str(error), folder), there)
    return Finding(subject, "ok", files=there)
