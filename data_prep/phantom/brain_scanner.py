"""A simulated MR scanner: voxels, coil sensitivity, k-space truncation, noise, and a head that moves.

Coordinates are RAS+ millimetres; a motion maps the scanner's coordinates to the head's.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import fft, ndimage

from data_prep.phantom.brain import TEMPLATE_ORIGIN, Lesion
from data_prep.phantom.fields import Array, Grid, rotation, smooth_noise

FIELD_OF_VIEW = 240.0
LARGEST_MATRIX = 256
IXI_SLICE_SPACING = 1.25


@dataclass(frozen=True)
class ScanGrid:
    """A scan's voxels: two in-plane axes, then the slice axis.

    Attributes:
        shape: voxels along the three axes.
        affine: (4, 4), voxel index to scanner millimetres, as the header tells it.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Voxel size in mm."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))


def default_slice_spacing(slices: int) -> float:
    """Slice spacing in mm: IXI's 1.25 for many slices, up to 4 for few, so that about 72 mm are covered."""
    return float(np.clip(72 / slices, IXI_SLICE_SPACING, 4.0))


def sagittal_grid(matrix: int, centre: NDArray[np.float64], tilt: NDArray[np.float64]) -> ScanGrid:
    """T1 voxels, stored as posterior, superior, right; IXI's 256 x 256 x 150 at full size.

    At smaller matrices they stay finer than the T2's, which registration needs.

    Args:
        matrix: the T2 matrix size.
        centre: of the volume, mm.
        tilt: (3, 3) rotation of the prescription.
    """
    spacing = model_spacing(matrix)
    pixel = FIELD_OF_VIEW / LARGEST_MATRIX if matrix == LARGEST_MATRIX else spacing
    thickness = 1.2 if matrix == LARGEST_MATRIX else spacing
    side = 2 * round(FIELD_OF_VIEW / pixel / 2)
    axes = np.array([[0, 0, 1], [-1, 0, 0], [0, 1, 0]], dtype=float)
    return _scan_grid((side, side, round(180 / thickness)), (pixel, pixel, thickness), tilt @ axes, centre)


def axial_grid(
    matrix: int, slices: int, slice_spacing: float, centre: NDArray[np.float64], tilt: NDArray[np.float64]
) -> ScanGrid:
    """T2 voxels, stored as left, anterior, superior."""
    pixel = FIELD_OF_VIEW / matrix
    axes = np.diag([-1.0, 1.0, 1.0])
    return _scan_grid((matrix, matrix, slices), (pixel, pixel, slice_spacing), tilt @ axes, centre)


def acquire(
    image: Array, model: Grid, grid: ScanGrid, motion: NDArray[np.float64], snr: float, acquired: float,
    rng: Generator,
) -> Array:  # fmt: skip
    """Scan a head.

    Args:
        image: ideal image, float32 on ``model``.
        model: the image's grid in the template's box.
        grid: voxels to acquire.
        motion: (4, 4), scanner mm to head mm: where the head lies, unknown to the scanner.
        snr: of intensity 1.
        acquired: part of k-space acquired along each in-plane axis; the rest is zero-filled.
        rng: for coil sensitivity and noise.

    Returns:
        Magnitude, float32 of the grid's shape.
    """
    fine, fold = _sample_finely(image, model, grid, motion)
    fine *= np.exp(np.float32(0.12) * _field_over(fine.shape, grid, rng))
    spectrum = fft.fftshift(fft.fft2(fine, axes=(0, 1)), axes=(0, 1))
    rows, columns = (
        slice(start, start + n)
        for n, q in zip(grid.shape[:2], fold[:2], strict=True)
        for start in [n * q // 2 - n // 2]
    )
    spectrum = spectrum[rows, columns] / np.float32(fold[0] * fold[1])
    window = np.multiply.outer(*(_readout_window(n, acquired) for n in grid.shape[:2]))
    noise = rng.standard_normal((2, *grid.shape), dtype=np.float32)
    # In the image, noise has this level per real and imaginary part after zero-filling.
    level = np.sqrt(grid.shape[0] * grid.shape[1] / np.mean(window**2)) / snr
    measured = (spectrum + np.float32(level) * (noise[0] + 1j * noise[1])) * window[:, :, None]
    return np.asarray(np.abs(fft.ifft2(fft.ifftshift(measured, axes=(0, 1)), axes=(0, 1))), dtype=np.float32)


def stored(image: Array, unit: float) -> NDArray[np.int16]:
    """Return a scan as published files store it, ``unit`` for an intensity of 1."""
    return np.asarray(np.clip(np.rint(image * unit), 0, np.iinfo(np.int16).max), dtype=np.int16)


def head_motion(
    rng: Generator, degrees: float, millimetres: float, pivot: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Draw a rigid motion (4, 4) about ``pivot``; the arguments are standard deviations per axis."""
    motion = np.eye(4)
    motion[:3, :3] = rotation(np.deg2rad(rng.normal(0, degrees, 3)))
    motion[:3, 3] = pivot - motion[:3, :3] @ pivot + rng.normal(0, millimetres, 3)
    return motion


def lesion_labels(grid: ScanGrid, motion: NDArray[np.float64], lesions: list[Lesion]) -> NDArray[np.uint8]:
    """Mark the voxels of which a lesion fills half or more, by the lesion's number, counted from 1."""
    labels = np.zeros(grid.shape, np.uint8)
    to_head = motion @ grid.affine
    inside_voxel = np.stack(np.meshgrid(*[(-1 / 3, 0, 1 / 3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    for number, lesion in enumerate(lesions, start=1):
        middle = transform_points(np.linalg.inv(to_head), np.array(lesion.centre))
        reach = 2 * lesion.radius / grid.spacing + 1
        first = np.maximum(np.floor(middle - reach).astype(int), 0)
        last = np.minimum(np.ceil(middle + reach).astype(int) + 1, grid.shape)
        if (first >= last).any():
            continue
        voxels = np.stack(np.meshgrid(*map(np.arange, first, last), indexing="ij"), axis=-1)
        points = transform_points(to_head, voxels[..., None, :] + inside_voxel)
        distance = np.linalg.norm((points - lesion.centre) / lesion.stretch, axis=-1)
        filled = (distance < lesion.radius).mean(-1) >= 0.5
        labels[tuple(map(slice, first, last))][filled] = number
    return labels


def _sample_finely(
    image: Array, model: Grid, grid: ScanGrid, motion: NDArray[np.float64]
) -> tuple[Array, tuple[int, ...]]:
    """Sample at about the model's spacing and average across each slice.

    Returns:
        float32 (n0 q0, n1 q1, n2), and q: fine samples per voxel. Fine sample q k lies at voxel k.
    """
    fold = tuple(max(1, round(s / m)) for s, m in zip(grid.spacing, (min(model.spacing),) * 3, strict=True))
    to_voxel = np.diag([1 / fold[0], 1 / fold[1], 1 / fold[2], 1.0])
    to_voxel[2, 3] = 0.5 / fold[2] - 0.5
    to_model = np.diag([*(1 / np.array(model.spacing)), 1.0]) @ _translation(-TEMPLATE_ORIGIN)
    matrix = to_model @ motion @ grid.affine @ to_voxel
    shape = tuple(n * q for n, q in zip(grid.shape, fold, strict=True))
    fine = ndimage.affine_transform(image, matrix[:3, :3], matrix[:3, 3], shape, order=3, mode="constant")
    fine = fine.reshape(*shape[:2], grid.shape[2], fold[2]).mean(-1)
    return np.maximum(fine, 0, dtype=np.float32), fold


def _field_over(shape: tuple[int, ...], grid: ScanGrid, rng: Generator) -> Array:
    """Slowly varying unit noise over a scan's field of view, at ``shape`` points."""
    extent = [n * float(s) for n, s in zip(grid.shape, grid.spacing, strict=True)]
    step = [e / n for e, n in zip(extent, shape, strict=True)]
    box = [e - s for e, s in zip(extent, step, strict=True)]
    return smooth_noise(rng, Grid((box[0], box[1], box[2]), (step[0], step[1], step[2])), 60.0)


def _readout_window(size: int, acquired: float) -> Array:
    """Acquired part of ``size`` k-space samples, zero frequency at size // 2, its outer eighth tapered."""
    frequency = np.abs(np.arange(size) - size // 2) / (acquired * size / 2)
    taper = np.cos(np.clip((frequency - 7 / 8) * 8, 0, 1) * np.pi / 3) ** 2
    return np.asarray(np.where(frequency <= 1, taper, 0), dtype=np.float32)


def _scan_grid(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    axes: NDArray[np.float64],
    centre: NDArray[np.float64],
) -> ScanGrid:
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    # A NIfTI header keeps single precision; the scan is made where the header says.
    return ScanGrid(shape, affine.astype(np.float32).astype(np.float64))


def model_spacing(matrix: int) -> float:
    """Spacing in mm on which anatomy is simulated: finer than the pixels, between 1 and 2 mm."""
    return float(np.clip(0.6 * FIELD_OF_VIEW / matrix, 1.0, 2.0))


def _translation(shift: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, 3] = shift
    return matrix


def transform_points(affine: NDArray, points: NDArray) -> NDArray[np.float64]:
    """Apply a (4, 4) affine to points (..., 3)."""
    return np.asarray(points @ affine[:3, :3].T + affine[:3, 3])
