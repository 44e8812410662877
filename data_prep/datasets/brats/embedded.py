"""Made-up brains in BraTS's form, at any size: no skull, small lesions, no tumours."""

from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from data_prep.datasets.brats.dataset import SLICE_SPACING, check_size, embedded_id
from data_prep.datasets.contract import Size
from data_prep.phantom.brain import (
    PROTOCOLS,
    TEMPLATE,
    TEMPLATE_ORIGIN,
    Anatomy,
    deform,
    draw_lesions,
    lesion_map,
    paint_lesions,
    vary_tissues,
    weighted_images,
)
from data_prep.phantom.brain_maps import T1_UNIT, T2_UNIT, load_donors
from data_prep.phantom.brain_scanner import (
    FIELD_OF_VIEW,
    ScanGrid,
    acquire,
    axial_grid,
    model_spacing,
    stored,
)
from data_prep.phantom.fields import Grid
from data_prep.seeds import seed_for
from data_prep.volumes import save_volume

# Middle of the imaged box in the template's RAS+ millimetres: the brain's.
CENTRE = np.array([0.0, -18.0, 12.0])


def embed(donors: Path, index: int, seed: int, size: Size, root: Path) -> None:
    """Write T1 and T2 of one subject; anatomy depends on (index, seed), not on the size of the scans.

    Args:
        donors: folder of ``brain_asym.npz`` and ``brain_sym.npz``.
        index: number of the subject, from 0.
        seed: of the whole data set.
        size: of the scans.
        root: folder to write into.
    """

    def stream(use: str) -> Generator:
        return np.random.default_rng(seed_for(use=use, dataset="brats", index=index, seed=seed))

    check_size(size)
    traits = stream("traits")
    donor = "asym" if traits.random() < 0.65 else "sym"
    atrophy = float(np.clip(traits.normal(), -1.5, 2))
    protocol = PROTOCOLS[sorted(PROTOCOLS)[int(traits.integers(len(PROTOCOLS)))]]
    model = Grid(TEMPLATE.box, (model_spacing(size.matrix),) * 3)
    anatomy = vary_tissues(
        deform(load_donors(donors)[donor], model, stream("shape"), atrophy), stream("tissues"), atrophy
    )
    painted = paint_lesions(model, draw_lesions(anatomy, stream("lesions"), 12))
    images = weighted_images(anatomy, lesion_map(model, painted), protocol, stream("contrast"))

    # The voxels of both scans: to the left, to the back, up.
    spacing = size.slice_spacing or SLICE_SPACING
    grid = axial_grid(size.matrix, size.slices, spacing, CENTRE, np.diag([1.0, -1.0, 1.0]))
    brain = in_brain(anatomy, grid)
    snr = protocol.snr * min(2.0, float(np.sqrt(FIELD_OF_VIEW / size.matrix)))
    acquired = (protocol.acquired_t1, protocol.acquired_t2)
    name = embedded_id(index, seed)
    for contrast, image, part, unit in zip(("t1", "t2"), images, acquired, (T1_UNIT, T2_UNIT), strict=True):
        scan = acquire(image, model, grid, np.eye(4), snr, part, stream(f"{contrast} scan"))
        save_volume(root / name / f"{name}_{contrast}.nii.gz", stored(scan * brain, unit), grid.affine)


def in_brain(anatomy: Anatomy, grid: ScanGrid) -> NDArray[np.bool_]:
    """Tell which voxels of a grid lie in the brain: what skull stripping keeps."""
    to_model = np.diag([*(1 / np.array(anatomy.grid.spacing)), 1.0])
    to_model[:3, 3] = -TEMPLATE_ORIGIN / np.array(anatomy.grid.spacing)
    matrix = to_model @ grid.affine
    inside = ndimage.affine_transform(anatomy.brain, matrix[:3, :3], matrix[:3, 3], grid.shape, order=1)
    return np.asarray(inside > 0.5)
