"""Semi-synthetic brains, written exactly as IXI publishes its scans.

Two averaged T1/T2 templates of real heads are the donors. Each subject is one of them, deformed, with
tissue fractions, relaxation times, texture, lesions and vessels of its own, seen through the signal
equations of an MPRAGE-like T1 scan and a fast-spin-echo T2 scan, and through a scanner: coil sensitivity,
k-space truncation, noise, and a head that moved between the two scans, which the header does not tell.

Coordinates are RAS+ millimetres throughout.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from data_prep.datasets.contract import Size
from data_prep.datasets.ixi.dataset import Motion, check_size
from data_prep.datasets.ixi.names import embedded_subject_id, parse_scan_name
from data_prep.io.files import replacing
from data_prep.phantom.brain import (
    PROTOCOLS,
    TEMPLATE,
    TEMPLATE_ORIGIN,
    Anatomy,
    Lesion,
    deform,
    draw_lesions,
    lesion_map,
    paint_lesions,
    vary_tissues,
    weighted_images,
)
from data_prep.phantom.brain_maps import T1_UNIT, T2_UNIT, load_donors
from data_prep.phantom.brain_scanner import (
    LARGEST_MATRIX,
    ScanGrid,
    acquire,
    axial_grid,
    default_slice_spacing,
    head_motion,
    lesion_labels,
    model_spacing,
    sagittal_grid,
    stored,
    transform_points,
)
from data_prep.phantom.fields import Array, Grid, rotation
from data_prep.seeds import seed_for
from data_prep.volumes import save_volume


@dataclass(frozen=True)
class Settings(Motion, Size):
    """Size of a subject's scans (pixels of T2 over 240 mm), and the motion between them."""

    def __post_init__(self) -> None:
        """Refuse what the donors cannot fill.

        Raises:
            BadInput: a size is out of range.
        """
        check_size(self)


@dataclass(frozen=True)
class Subject:
    """A simulated subject.

    Attributes:
        name: subject id.
        t1, t2: int16 (n0, n1, n2) in storage order, with their grids.
        t1_grid, t2_grid: the scans' voxels.
        labels: uint8 on the T2 grid, lesion numbers, 0 elsewhere.
        truth: what the scans do not tell, for the side file.
    """

    name: str
    t1: NDArray[np.int16]
    t2: NDArray[np.int16]
    t1_grid: ScanGrid
    t2_grid: ScanGrid
    labels: NDArray[np.uint8]
    truth: dict[str, Any]


def simulate(
    donors: Mapping[str, Mapping[str, NDArray]], index: int, seed: int, settings: Settings
) -> Subject:
    """Simulate one subject; anatomy depends on (index, seed), not on the size of the scans.

    Args:
        donors: ``asym`` and ``sym``, as ``donor_maps`` returns them.
        index: number of the subject, from 0.
        seed: of the whole data set.
        settings: size of the scans.
    """

    def stream(use: str) -> Generator:
        return np.random.default_rng(seed_for(use=use, dataset="ixi", index=index, seed=seed))

    name = embedded_subject_id(index, seed)
    protocol = PROTOCOLS[parse_scan_name(f"{name}-T1.nii").site]
    model = Grid(TEMPLATE.box, (model_spacing(settings.matrix),) * 3)
    traits = stream("traits")
    donor = "asym" if traits.random() < 0.65 else "sym"
    atrophy = float(np.clip(traits.normal(), -1.5, 2))
    anatomy = deform(donors[donor], model, stream("shape"), atrophy)
    anatomy = vary_tissues(anatomy, stream("tissues"), atrophy)
    lesion_rng = stream("lesions")
    lesions = draw_lesions(anatomy, lesion_rng, int(lesion_rng.poisson(max(5.0, 12 + 4 * atrophy))))
    painted = paint_lesions(model, lesions)
    ideal_t1, ideal_t2 = weighted_images(anatomy, lesion_map(model, painted), protocol, stream("contrast"))

    placing = stream("placing")
    t1_grid = sagittal_grid(
        settings.matrix,
        np.array([0.0, -18.0, 8.0]) + placing.normal(0, 2, 3),
        rotation(np.deg2rad(placing.normal(0, 1.0, 3))),
    )
    spacing = settings.slice_spacing or default_slice_spacing(settings.slices)
    covered = settings.slices * spacing
    # Thin slabs lie on the ventricles, thick ones on the middle of the brain.
    middle = np.array([0.0, -18.0, 15.0 - 0.15 * max(0.0, covered - 80)]) + placing.normal(0, 2, 3)
    tilt = rotation(np.deg2rad(placing.normal(0, [3.0, 1.0, 1.0])))
    t2_grid = axial_grid(settings.matrix, settings.slices, spacing, middle, tilt)
    motion = head_motion(stream("motion"), settings.motion_degrees, settings.motion_mm, middle)

    # Larger voxels are less noisy, though not by as much as their volume: such scans are also shorter.
    snr = protocol.snr * min(2.0, float(np.sqrt(LARGEST_MATRIX / settings.matrix)))
    t1 = acquire(ideal_t1, model, t1_grid, np.eye(4), snr, protocol.acquired_t1, stream("T1 scan"))
    t2 = acquire(ideal_t2, model, t2_grid, motion, snr, protocol.acquired_t2, stream("T2 scan"))
    labels = lesion_labels(t2_grid, motion, lesions)
    truth = {
        "subject": name,
        "index": index,
        "seed": seed,
        "donor": f"brain_{donor}",
        "t2_to_t1": motion.tolist(),
        "lesions": _lesion_list(lesions, painted, model, labels, motion),
        "brain_points_t2_mm": _brain_points(anatomy, t2_grid, motion).round(2).tolist(),
    }
    return Subject(name, stored(t1, T1_UNIT), stored(t2, T2_UNIT), t1_grid, t2_grid, labels, truth)


def embed(
    donors: Path, index: int, seed: int, size: Size, root: Path, motion_degrees: float, motion_mm: float
) -> None:
    """Write one subject; see ``simulate`` and ``write_subject``."""
    settings = Settings(size.matrix, size.slices, size.slice_spacing, motion_degrees, motion_mm)
    write_subject(simulate(load_donors(donors), index, seed, settings), root)


def write_subject(subject: Subject, folder: Path) -> None:
    """Write ``IXI-T1/``, ``IXI-T2/`` and ``truth/`` below ``folder``."""
    name = subject.name
    truth = folder / "truth"
    save_volume(folder / "IXI-T1" / f"{name}-T1.nii.gz", subject.t1, subject.t1_grid.affine)
    save_volume(folder / "IXI-T2" / f"{name}-T2.nii.gz", subject.t2, subject.t2_grid.affine)
    save_volume(truth / f"{name}.lesions.nii.gz", subject.labels, subject.t2_grid.affine)
    # One line per entry: the list of points would fill a thousand otherwise.
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in sorted(subject.truth.items())]
    with replacing(truth / f"{name}.truth.json") as temporary:
        temporary.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _lesion_list(
    lesions: list[Lesion],
    painted: list[tuple[tuple[slice, ...], Array]],
    model: Grid,
    labels: NDArray[np.uint8],
    motion: NDArray[np.float64],
) -> list[dict[str, Any]]:
    voxel = float(np.prod(model.spacing))
    voxels = np.bincount(labels.ravel(), minlength=len(lesions) + 1)
    to_t2 = np.linalg.inv(motion)
    return [
        {
            "label": number,
            "centre_t1_mm": [round(value, 2) for value in lesion.centre],
            "centre_t2_mm": transform_points(to_t2, np.array(lesion.centre)).round(2).tolist(),
            "radius_mm": round(lesion.radius, 2),
            "volume_mm3": round(float(values.sum()) * voxel, 1),
            "t2_voxels": int(voxels[number]),
        }
        for number, (lesion, (_, values)) in enumerate(zip(lesions, painted, strict=True), start=1)
    ]


def _brain_points(anatomy: Anatomy, grid: ScanGrid, motion: NDArray[np.float64], count: int = 400) -> NDArray:
    """T2 voxel centres in the brain, at random but always the same, in T2 scanner mm (count, 3)."""
    voxels = np.random.default_rng(0).integers(0, grid.shape, (40 * count, 3)).astype(np.float64)
    head = transform_points(motion @ grid.affine, voxels)
    index = (head - TEMPLATE_ORIGIN) / np.array(anatomy.grid.spacing)
    inside = ndimage.map_coordinates(anatomy.brain, index.T, order=1) > 0.5
    return transform_points(grid.affine, voxels[inside][:count])
