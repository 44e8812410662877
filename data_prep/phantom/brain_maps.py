"""Donors' brains: tissue fractions from the templates that a package carries."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from data_prep.errors import BadInput
from data_prep.io.archives import read_npz
from data_prep.phantom.brain import CSF, GM, TEMPLATE, TEMPLATE_ORIGIN, WM
from data_prep.phantom.fields import Array
from data_prep.volumes import Volume, load_volume

T1_UNIT, T2_UNIT = 380.0, 260.0  # stored intensity of white matter


def donor_maps(t1_path: Path, t2_path: Path, mask_path: Path) -> dict[str, NDArray]:
    """Turn an aligned T1/T2 template pair into the maps that subjects are made of.

    Args:
        t1_path: whole-head T1 template on the 1 mm template grid.
        t2_path: the T2 template.
        mask_path: brain mask on the same grid.

    Returns:
        Arrays for ``numpy.savez``: ``fractions`` (3, x, y, z) of CSF, grey and white matter; ``residual``
        (x, y, z), log of the T2 intensity over what the mixture of three tissues explains; ``t1``, ``t2``
        (x, y, z), de-blurred intensities relative to white matter; ``brain`` (x, y, z). All float16.
    """
    from data_prep.registration.rigid import register, resample

    volume1, volume2, mask = (_template(path) for path in (t1_path, t2_path, mask_path))
    brain = mask.data > 0.5
    # One of the template pairs is 0.3 mm off, which would make every subject's true motion wrong by as much.
    moved2 = resample(volume2, volume1, register(volume1, volume2).transform)
    t1 = volume1.data / np.percentile(volume1.data[brain], 99)
    t2 = moved2 / np.percentile(moved2[brain], 99)
    anchors = _pure_tissues(t1, t2, brain)
    fractions = tissue_fractions(t1, t2, anchors)
    mixture = np.tensordot(anchors[1], fractions, 1)
    residual = np.log(np.clip(t2, 0.02, None) / np.clip(mixture, 0.02, None))
    residual = ndimage.gaussian_filter(np.clip(residual, -0.8, 0.5) * brain, 0.6)
    maps = {
        # The averages' edges are restored: a fraction mixed by averaging people is no partial volume.
        "fractions": _sharpened(fractions),
        "residual": residual,
        "t1": shock_filter(t1) / anchors[0, WM],
        "t2": shock_filter(t2) / anchors[1, WM],
        "brain": brain,
    }
    return {name: values.astype(np.float16) for name, values in maps.items()}


def tissue_fractions(t1: Array, t2: Array, anchors: NDArray[np.float64]) -> Array:
    """Find, for every voxel, the mixture of three tissues whose intensities are nearest to it.

    Args:
        t1: intensities, any shape.
        t2: intensities, the same shape.
        anchors: (2, 3), the pure tissues' T1 and T2 intensities.

    Returns:
        (3, *shape), fractions of CSF, grey and white matter, none negative, sum 1.
    """
    anchors = anchors.astype(np.float32)
    system = np.linalg.inv(np.vstack([anchors, np.ones((1, 3), np.float32)]))
    inside = np.tensordot(system, np.stack([t1, t2, np.ones_like(t1)]), 1)
    best = np.clip(inside, 0, None)
    distance = np.where((inside >= 0).all(0), np.float32(0), np.float32(np.inf))
    # A voxel outside the triangle of mixtures belongs to the nearest point of its edges.
    for a, b in ((CSF, GM), (GM, WM), (WM, CSF)):
        start, edge = anchors[:, a], anchors[:, b] - anchors[:, a]
        along = np.clip(((t1 - start[0]) * edge[0] + (t2 - start[1]) * edge[1]) / (edge @ edge), 0, 1)
        miss = (t1 - start[0] - along * edge[0]) ** 2 + (t2 - start[1] - along * edge[1]) ** 2
        nearer = miss < distance
        distance = np.where(nearer, miss, distance)
        mixture = np.zeros_like(best)
        mixture[a], mixture[b] = 1 - along, along
        best = np.where(nearer, mixture, best)
    return np.asarray(best, dtype=np.float32)


def shock_filter(image: Array, steps: int = 7, rate: float = 0.25) -> Array:
    """Restore edges that averaging over people has blurred (Osher and Rudin's shock filter)."""
    for _ in range(steps):
        smooth = ndimage.gaussian_filter(image, 0.8, truncate=2.5)
        slope = np.sqrt(np.sum(np.square(np.gradient(smooth)), axis=0))
        image = image - np.float32(rate) * np.sign(ndimage.laplace(smooth)) * slope
    return image


def _sharpened(fractions: Array) -> Array:
    csf, grey = (np.clip(shock_filter(part), 0, 1) for part in (fractions[CSF], fractions[GM]))
    excess = np.maximum(csf + grey, 1)
    csf, grey = csf / excess, grey / excess
    return np.stack([csf, grey, np.maximum(1 - csf - grey, 0)])


def _pure_tissues(t1: Array, t2: Array, brain: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Find the pure tissues in the (T1, T2) plane: (2, 3), columns CSF, grey matter, white matter."""
    inner = ndimage.binary_erosion(brain, iterations=3)
    a, b = t1[inner], t2[inner]
    white = np.array([values[a > np.percentile(a, 92)].mean() for values in (a, b)])
    csf = np.array([values[b > np.percentile(b, 99.3)].mean() for values in (a, b)])
    counts, edges = np.histogram(a, 120, (csf[0], white[0]))
    smooth = ndimage.gaussian_filter1d(counts.astype(float), 2)
    centres = (edges[1:] + edges[:-1]) / 2
    # Grey matter is the highest peak of the T1 histogram that white matter does not hide.
    limit = csf[0] + 0.8 * (white[0] - csf[0])
    peaks = [i for i in range(5, 110) if smooth[i - 1] < smooth[i] >= smooth[i + 1] and centres[i] < limit]
    if not peaks:
        raise BadInput("the T1 template has no grey-matter peak in its histogram; fetch the donors again")
    near = np.abs(a - centres[max(peaks, key=lambda i: float(smooth[i]))]) < 0.02
    near &= b < np.percentile(b[near], 80)
    grey = np.array([a[near].mean(), b[near].mean()])
    return np.stack([csf, grey, white], axis=1)


def _template(path: Path) -> Volume:
    volume = load_volume(path)
    if volume.data.shape != TEMPLATE.shape or not np.allclose(volume.affine[:3, 3], TEMPLATE_ORIGIN):
        raise BadInput(f"{path}: not on the 1 mm grid of the ICBM 2009c templates; fetch the donors again")
    return volume


def load_donors(folder: Path) -> dict[str, dict[str, NDArray]]:
    """Load ``brain_asym.npz`` and ``brain_sym.npz``.

    Raises:
        BadInput: a file is missing or damaged, or is no donor file.
    """
    first, again = "no such file; fetch the donors first", "delete it and fetch the donors again"
    donors = {}
    for name in ("asym", "sym"):
        path = folder / f"brain_{name}.npz"
        donors[name] = read_npz(path, ("fractions", "residual", "t1", "t2", "brain"), first, again)
        if donors[name]["brain"].shape != TEMPLATE.shape:
            raise BadInput(f"{path}: not a brain donor file; {again}")
    return donors
