"""Rigid registration of two scans of one head, by mutual information.

The fixed scan (T2) gives the grid; the transform maps its millimetres to the moving scan's (T1).
Transforms and affines are in RAS+ millimetres, as nibabel has them; SimpleITK works in LPS+, and the
change happens at its border, here. Everything runs on one thread with fixed sampling, so that the result
is the same to the bit on every run, whatever the number of cores.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from data_prep.registration.score import chance, mutual_information
from data_prep.volumes import Volume

# RAS+ to LPS+ and back.
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
_SEED = 2022
_BINS = 32
# Voxel sizes in mm of the search and of the two refinements.
_COARSE, _MEDIUM, _FINE = 6.0, 3.5, 1.8
_FINE_SAMPLES = 120_000
# Rotations, in degrees, from which the search starts besides the header's own position.
_TURNS = ((8, 0, 0), (-8, 0, 0), (0, 8, 0), (0, -8, 0), (0, 0, 8), (0, 0, -8))
# Of a second search: farther ones, from the headers' position and from the heads' centres laid on each other.
_FARTHER = tuple(
    tuple(sign * degrees * (axis == turned) for axis in range(3))
    for degrees in (10, 20)
    for turned in range(3)
    for sign in (1, -1)
)
_REFINED = 3
# All errors of SimpleITK are RuntimeErrors, told apart by their texts alone. Of two scans that a start does
# not lay on each other, or leaves nothing to compare: no sample inside, one value alone, no step to take.
_APART = re.compile("All samples map outside|Joint PDF summed|Zero-valued spacing|m_Scales values must")
_FULL_MEMORY = re.compile("allocate memory|bad_alloc")


@dataclass(frozen=True)
class Registration:
    """The result of a registration.

    Attributes:
        transform: (4, 4), fixed to moving millimetres, RAS+.
        score_before: mutual information in bits with the headers' alignment.
        score_after: with ``transform``.
        chance: the score that the same voxels have in a random order.
    """

    transform: NDArray[np.float64]
    score_before: float
    score_after: float
    chance: float


class RegistrationFailed(Exception):
    """No start of the search led anywhere."""


class NoHead(Exception):
    """Nothing stands out in a scan as a head does in air.

    Attributes:
        volume: the scan.
    """

    def __init__(self, volume: Volume) -> None:
        super().__init__()
        self.volume = volume


@contextmanager
def _telling_full_memory() -> Iterator[None]:
    """Raise MemoryError where SimpleITK had no memory, which says nothing about the scans."""
    try:
        yield
    except RuntimeError as error:
        if _FULL_MEMORY.search(str(error)):
            raise MemoryError("SimpleITK could not allocate memory") from error
        raise


@_telling_full_memory()
def register(fixed: Volume, moving: Volume, wide: bool = False) -> Registration:
    """Find the rigid transform that lays the moving scan onto the fixed one.

    The search starts at the headers' alignment, turned in six directions, and with the heads' centres laid
    on each other; the best of these is refined at two finer resolutions. Only voxels of the fixed scan's
    head count.

    Args:
        fixed: scan that gives the grid.
        moving: scan to be laid on it.
        wide: a second search, where the first one failed: from 26 positions turned by up to 20 degrees, the
            best three of them refined. It takes about three times as long.

    Raises:
        NoHead: one of the scans is as good as flat.
        RegistrationFailed: the scans do not overlap from any start.
        MemoryError: memory is full.
    """
    mask = head_mask(fixed)
    fixed_image, moving_image, mask_image = _image(fixed), _image(moving), _image(fixed, mask)
    centre = _centroid(mask_image)
    coarse = _Level(fixed_image, moving_image, mask_image, _COARSE)
    shift = _centroid(_image(moving, head_mask(moving))) - centre
    still = (0, 0, 0)
    starts = (
        [(turn, place) for place in (still, shift) for turn in (still, *_FARTHER)]
        if wide
        else [*((turn, still) for turn in (still, *_TURNS)), (still, shift)]
    )
    turned = [_euler(centre, np.deg2rad(turn), place) for turn, place in starts]
    candidates = _optimised(coarse, turned, 2.0, 0.02)[: _REFINED if wide else 1]
    for spacing, step in ((_MEDIUM, 0.5), (_FINE, 0.2)):
        level = _Level(fixed_image, moving_image, mask_image, spacing)
        candidates = _optimised(level, candidates, step, 0.002)
    matrix = _matrix(candidates[0])
    before = score(fixed, moving, mask, np.eye(4))
    pair = fixed.data[mask], preview(moving, fixed, matrix)[mask]
    return Registration(matrix, before, mutual_information(*pair), chance(*pair))


def _optimised(level: "_Level", starts: list[Any], step: float, smallest: float) -> list[Any]:
    """Descend from every start; returns the transforms, the best first."""
    found = []
    for start in starts:
        try:
            found.append(level.optimise(start, step=step, smallest=smallest))
        except RuntimeError as error:
            # Another start may do.
            if not _APART.search(str(error)):
                raise
    if not found:
        raise RegistrationFailed
    return [transform for _, transform in sorted(found, key=lambda pair: pair[0])]


@_telling_full_memory()
def resample(moving: Volume, grid: Volume, transform: NDArray[np.float64]) -> NDArray[np.float32]:
    """Sample the moving scan on another scan's voxels, with cubic B-splines.

    Where the target voxels are larger they are averaged over, as a scanner's voxel averages.

    Args:
        moving: scan to sample.
        grid: scan whose voxels are wanted; its data are not looked at.
        transform: (4, 4), grid to moving millimetres.

    Returns:
        float32 of the grid's shape, not negative, 0 outside the moving scan.
    """
    fold = _samples_per_voxel(moving, grid)
    values = _sample(moving, _fine_grid(grid, fold), transform, sitk.sitkBSpline)
    nx, ny, nz = grid.data.shape
    means: NDArray[np.float32] = values.reshape(nx, fold[0], ny, fold[1], nz, fold[2]).mean(axis=(1, 3, 5))
    return np.maximum(means, 0)


@_telling_full_memory()
def preview(moving: Volume, grid: Volume, transform: NDArray[np.float64]) -> NDArray[np.float32]:
    """Like ``resample``, but quick: linear interpolation at the centres of the grid's voxels."""
    return _sample(moving, _image(grid), transform, sitk.sitkLinear)


def coverage(moving: Volume, grid: Volume, transform: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which voxels of ``grid`` lie inside the moving scan's field of view."""
    to_voxel = np.linalg.inv(moving.affine) @ transform @ grid.affine
    inside = np.ones(grid.data.shape, bool)
    i, j, k = np.ogrid[tuple(slice(n) for n in grid.data.shape)]
    for axis, size in enumerate(moving.data.shape):
        row = to_voxel[axis]
        position = row[0] * i + row[1] * j + row[2] * k + row[3]
        inside &= (position >= -0.5) & (position <= size - 0.5)
    return inside


def head_mask(volume: Volume) -> NDArray[np.bool_]:
    """Find the head: bright objects but specks, with a margin, their holes filled slice by slice.

    Returns:
        bool, of the volume's shape.

    Raises:
        NoHead: smoothed, the values hardly differ.
    """
    smooth = ndimage.gaussian_filter(volume.data, 1.5 / volume.spacing)
    # Without the bright end, Otsu's threshold lies between air and head, not between dark and bright tissue.
    capped = np.minimum(smooth, 1.5 * smooth.mean())
    try:
        bright = smooth > threshold_otsu(capped.ravel())
    except ValueError as error:
        # Too little between the least and the largest value to divide it in single precision.
        raise NoHead(volume) from error
    if not bright.any():
        raise NoHead(volume)
    labels, _ = ndimage.label(bright)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    # Brain and scalp may be apart; ghosts and noise are small.
    bright = (sizes >= 0.05 * sizes.max())[labels]
    radius = np.maximum(1, np.round(4.0 / volume.spacing)).astype(int)
    grown = ndimage.maximum_filter(bright, size=tuple(2 * radius + 1))
    thinnest = int(np.argmax(volume.spacing))
    filled = [ndimage.binary_fill_holes(part) for part in np.moveaxis(grown, thinnest, 0)]
    return np.moveaxis(np.stack(filled), 0, thinnest)


def score(fixed: Volume, moving: Volume, mask: NDArray[np.bool_], transform: NDArray[np.float64]) -> float:
    """Mutual information in bits of the two scans' intensities over the mask; higher is better."""
    other = preview(moving, fixed, transform)
    return mutual_information(fixed.data[mask], other[mask])


class _Level:
    """Both scans at one resolution."""

    def __init__(self, fixed: Any, moving: Any, mask: Any, spacing: float) -> None:
        self.fixed = _coarsen(fixed, spacing)
        self.moving = _coarsen(moving, spacing)
        # Nearest neighbours keep the mask binary.
        self.mask = sitk.Resample(mask, self.fixed, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
        self.inside = int(np.count_nonzero(sitk.GetArrayViewFromImage(self.mask)))

    def optimise(self, start: Any, step: float, smallest: float) -> tuple[float, Any]:
        """Descend from ``start``; steps in mm. Returns the metric (lower is better) and the transform."""
        method = sitk.ImageRegistrationMethod()
        method.SetNumberOfThreads(1)
        method.SetNumberOfWorkUnits(1)
        method.SetMetricAsMattesMutualInformation(_BINS)
        method.SetMetricFixedMask(self.mask)
        if self.inside > _FINE_SAMPLES:
            method.SetMetricSamplingStrategy(method.RANDOM)
            method.SetMetricSamplingPercentage(_FINE_SAMPLES / self.inside, _SEED)
        method.SetMetricUseMovingImageGradientFilter(False)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=step, minStep=smallest, numberOfIterations=100, gradientMagnitudeTolerance=1e-6
        )
        method.SetOptimizerScalesFromPhysicalShift()
        transform = sitk.Euler3DTransform(start)
        method.SetInitialTransform(transform, inPlace=True)
        method.Execute(self.fixed, self.moving)
        return method.GetMetricValue(), transform


def _sample(moving: Volume, grid: Any, transform: NDArray[np.float64], how: int) -> NDArray[np.float32]:
    sampled = sitk.Resample(_image(moving), grid, _affine_transform(transform), how, 0.0)
    values: NDArray[np.float32] = sitk.GetArrayFromImage(sampled).T
    return values


def _image(volume: Volume, data: NDArray | None = None) -> Any:
    """Convert to a SimpleITK image (LPS+); ``data`` takes the place of the volume's own."""
    values = volume.data if data is None else data
    image = sitk.GetImageFromArray(
        np.ascontiguousarray(values.T.astype(values.dtype if data is None else np.uint8))
    )
    _place(image, volume.affine)
    return image


def _place(image: Any, affine: NDArray[np.float64]) -> None:
    lps = _FLIP @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    # Headers keep single precision; SimpleITK wants exactly orthogonal axes.
    u, _, vt = np.linalg.svd(lps[:3, :3] / spacing)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((u @ vt).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())


def _coarsen(image: Any, spacing: float) -> Any:
    """Average blocks of voxels to about ``spacing`` mm; never enlarges."""
    factors = [max(1, round(spacing / s)) for s in image.GetSpacing()]
    factors = [f if n // f >= 6 else 1 for f, n in zip(factors, image.GetSize(), strict=True)]
    # (Shrink would pick single voxels, half a voxel off where a factor is even.)
    return sitk.BinShrink(image, factors)


def _centroid(mask: Any) -> NDArray[np.float64]:
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.Execute(mask)
    return np.array(statistics.GetCentroid(1))


def _euler(centre: NDArray[np.float64], angles: Any, shift: Any) -> Any:
    transform = sitk.Euler3DTransform()
    transform.SetCenter(centre.tolist())
    transform.SetRotation(*(float(angle) for angle in angles))
    transform.SetTranslation([float(value) for value in shift])
    return transform


def _matrix(transform: Any) -> NDArray[np.float64]:
    """(4, 4) in RAS+ of a SimpleITK rigid transform."""
    rotation = np.array(transform.GetMatrix()).reshape(3, 3)
    centre, shift = np.array(transform.GetCenter()), np.array(transform.GetTranslation())
    lps = np.eye(4)
    lps[:3, :3] = rotation
    lps[:3, 3] = centre + shift - rotation @ centre
    return np.asarray(_FLIP @ lps @ _FLIP)


def _affine_transform(matrix: NDArray[np.float64]) -> Any:
    lps = _FLIP @ matrix @ _FLIP
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(lps[:3, :3].ravel().tolist())
    transform.SetTranslation(lps[:3, 3].tolist())
    return transform


def _samples_per_voxel(moving: Volume, grid: Volume) -> tuple[int, int, int]:
    """How many moving voxels lie along each side of a grid voxel, at least 1."""
    directions = grid.affine[:3, :3] / grid.spacing
    own = moving.affine[:3, :3] / moving.spacing
    # The moving scan's voxel size along each of the grid's axes: that of its nearest axis.
    nearest = np.argmax(np.abs(own.T @ directions), axis=0)
    x, y, z = (
        max(1, round(float(s / moving.spacing[n]))) for s, n in zip(grid.spacing, nearest, strict=True)
    )
    return x, y, z


def _fine_grid(grid: Volume, fold: tuple[int, int, int]) -> Any:
    """An empty image whose voxels divide the grid's, ``fold`` along each axis."""
    divide = np.diag([1 / fold[0], 1 / fold[1], 1 / fold[2], 1.0])
    divide[:3, 3] = [0.5 / q - 0.5 for q in fold]
    image = sitk.Image([n * q for n, q in zip(grid.data.shape, fold, strict=True)], sitk.sitkUInt8)
    _place(image, grid.affine @ divide)
    return image
