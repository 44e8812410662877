"""Smooth random fields in physical space, and the deformations made of them.

A field is a cubic B-spline with independent normal coefficients. It is defined everywhere in a box of
millimetres, so that the same generator gives the same field whatever grid it is then evaluated on:
a subject has the same anatomy at every matrix size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage, sparse

Array = NDArray[np.float32]

# The cubic B-spline with knots h apart has the variance h^2 / 3, so that it acts as a Gaussian kernel
# of this many knot distances.
_KERNEL_SIGMA = 3**-0.5


@dataclass(frozen=True)
class Grid:
    """Points of a regular grid in a box.

    Attributes:
        box: size of the box in mm along (x, y, z).
        spacing: distance of the points in mm along (x, y, z); the first point lies in the box's corner.
    """

    box: tuple[float, float, float]
    spacing: tuple[float, float, float]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of points along (x, y, z)."""
        x, y, z = (int(size / step + 1e-6) + 1 for size, step in zip(self.box, self.spacing, strict=True))
        return x, y, z

    def axis(self, number: int) -> NDArray[np.float64]:
        """Coordinates in mm along one axis."""
        return np.arange(self.shape[number], dtype=np.float64) * self.spacing[number]


def smooth_noise(rng: Generator, grid: Grid, sigma: float) -> Array:
    """Normal noise of zero mean and unit variance, smoothed as by a Gaussian of ``sigma`` mm.

    Returns:
        float32 of the grid's shape.
    """
    knots = sigma / _KERNEL_SIGMA
    sizes = [int(np.ceil(size / knots)) + 4 for size in grid.box]
    coefficients = rng.standard_normal(sizes, dtype=np.float32)
    matrices = [_spline_matrix(grid.axis(i) / knots, sizes[i]) for i in range(3)]
    return _separable(matrices, coefficients)


def resize(values: Array, source: Grid, target: Grid) -> Array:
    """Interpolate linearly from one grid to another of the same box, outermost values repeated."""
    matrices = [_linear_matrix(target.axis(i) / source.spacing[i], source.shape[i]) for i in range(3)]
    return _separable(matrices, values)


def flow(velocity: Array, spacing: float, steps: int = 5) -> Array:
    """Integrate a stationary velocity field over unit time by scaling and squaring.

    Args:
        velocity: (3, x, y, z) in mm, on a grid of equal spacing.
        spacing: grid spacing in mm.
        steps: number of squarings.

    Returns:
        Displacement in mm, (3, x, y, z). It folds nowhere as long as the velocity varies little between
        neighbouring points.
    """
    points = np.indices(velocity.shape[1:], dtype=np.float32)
    displacement = velocity / np.float32(spacing * 2**steps)
    for _ in range(steps):
        moved = points + displacement
        displacement = displacement + np.stack(
            [ndimage.map_coordinates(part, moved, order=1, mode="nearest") for part in displacement]
        )
    return np.asarray(displacement * np.float32(spacing))


def rotation(angles: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation matrix (3, 3) for angles in radians about x, then y, then z (applied from the right)."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_x @ about_y @ about_z)


def _spline_matrix(positions: NDArray[np.float64], size: int) -> sparse.csr_array:
    """Weights of ``size`` coefficients at ``positions`` (in knots), rows scaled to unit sum of squares."""
    first = np.floor(positions).astype(int)
    t = positions - first
    weights = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1
    )
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    return _banded(first, weights, size)


def _linear_matrix(positions: NDArray[np.float64], size: int) -> sparse.csr_array:
    positions = np.clip(positions, 0, size - 1)
    first = np.minimum(np.floor(positions).astype(int), size - 2)
    t = positions - first
    return _banded(first, np.stack([1 - t, t], axis=1), size)


def _banded(first: NDArray[np.int_], weights: NDArray[np.float64], size: int) -> sparse.csr_array:
    rows, width = weights.shape
    columns = first[:, None] + np.arange(width)
    pointers = np.arange(rows + 1) * width
    data = weights.astype(np.float32).ravel()
    return sparse.csr_array((data, columns.ravel(), pointers), shape=(rows, size))


def _separable(matrices: Sequence[sparse.csr_array], values: Array) -> Array:
    # Sparse products run on one thread in a fixed order, so that the bits do not depend on the machine's
    # number of cores, as those of a dense product may.
    for matrix in matrices:
        rest = values.shape[1:]
        product = matrix @ np.ascontiguousarray(values).reshape(values.shape[0], -1)
        values = np.moveaxis(product.reshape(-1, *rest), 0, -1)
    return np.ascontiguousarray(values, dtype=np.float32)
