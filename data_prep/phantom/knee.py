"""One made-up knee: anatomy deformed from the donor's, with texture and oedema."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit

from data_prep.phantom.fields import Array, Grid, smooth_noise
from data_prep.phantom.knee_maps import MAPS

FIELD_OF_VIEW = 160.0  # mm, of the reconstructed image; the donor's own
DONOR_PIXEL = 0.625  # mm
DONOR_SPACING = 4.0  # mm between slice centres
_FADED_ROWS = 6  # the donor's outermost ones, where the scanner cropped them

ROW_EXTENT, COLUMN_EXTENT = 0.625, 0.5625
_MINIMUM_FINE_MATRIX = 288  # as fine as the donor


@dataclass(frozen=True)
class FineGrid:
    """A fine grid over somewhat more than the field of view; the image's centre is at 0 mm.

    Attributes:
        matrix: pixels along the field of view.
        slices: number of slices.
    """

    matrix: int
    slices: int

    @property
    def pixel(self) -> float:
        """Pixel size in mm."""
        return FIELD_OF_VIEW / self.matrix

    @property
    def rows(self) -> NDArray[np.float32]:
        """Row positions in mm."""
        return self._positions(ROW_EXTENT)

    @property
    def columns(self) -> NDArray[np.float32]:
        """Column positions in mm."""
        return self._positions(COLUMN_EXTENT)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns."""
        return self.slices, len(self.rows), len(self.columns)

    def _positions(self, extent: float) -> NDArray[np.float32]:
        half = int(extent * self.matrix)
        return (np.arange(-half, half) * self.pixel).astype(np.float32)

    def field(self, rng: np.random.Generator, scale: float) -> Array:
        """Gaussian random field (slices, rows, columns) of unit variance, smooth over ``scale`` mm.

        The box is always the donor's, so that one seed gives one field whatever the matrix.
        """
        extents = (2 * ROW_EXTENT * FIELD_OF_VIEW, 2 * COLUMN_EXTENT * FIELD_OF_VIEW)
        box = Grid(
            box=((self.slices - 1) * DONOR_SPACING, *extents), spacing=(DONOR_SPACING, self.pixel, self.pixel)
        )
        return smooth_noise(rng, box, scale)[:, : len(self.rows), : len(self.columns)]


def fine_grid(matrix: int, slices: int) -> FineGrid:
    """Return the grid on which a knee is simulated, at least as fine as the donor."""
    # Half-integer multiples of an even matrix keep pixel centres and the encoded width whole.
    halves = int(np.ceil(2 * max(_MINIMUM_FINE_MATRIX, 1.4 * matrix) / matrix))
    return FineGrid(matrix=matrix * halves // 2, slices=slices)


@dataclass(frozen=True)
class _Anatomy:
    """One deformed knee on the fine grid, volumes (slices, rows, columns); densities where fat is about 1."""

    water: Array
    fat: Array
    r2: Array


def deformed(maps: Mapping[str, Array], rng: np.random.Generator, grid: FineGrid, first: int) -> _Anatomy:
    """Sample the donor through a random affine and a random smooth in-plane deformation."""
    count = len(maps["M0"])
    angle = rng.normal(0, 0.08)
    zoom = rng.uniform(0.86, 1.0) * np.exp(rng.normal(0, 0.03, 2))
    mirrored = rng.random() < 0.5  # a right knee from a left one: medial and lateral change places
    row_shift, column_shift = (
        3.4 * grid.field(rng, 17.0) + 0.7 * grid.field(rng, 6.0) for _axis in ("rows", "columns")
    )
    y, x = grid.rows[:, None] * zoom[0], grid.columns[None, :] * zoom[1]
    rows = np.cos(angle) * y - np.sin(angle) * x + row_shift
    columns = np.sin(angle) * y + np.cos(angle) * x + column_shift
    donor_centre = maps["M0"].shape[1] // 2
    rows = rows / DONOR_PIXEL + donor_centre - _FADED_ROWS
    columns = columns / DONOR_PIXEL + donor_centre

    sampled = {name: np.empty(grid.shape, dtype=np.float32) for name in MAPS}
    for i in range(grid.slices):
        donor = count - 1 - (first + i) if mirrored else first + i
        where = np.stack([rows[i], columns[i]])
        for name in MAPS:
            trimmed = maps[name][donor, _FADED_ROWS:-_FADED_ROWS]
            sampled[name][i] = ndimage.map_coordinates(trimmed, where, order=3, mode="mirror")
    # Sharpened; spline interpolation overshoots at edges.
    sigma = 0.6 / grid.pixel
    blurred = ndimage.gaussian_filter(sampled["M0"], (0, sigma, sigma))
    m0 = np.maximum(sampled["M0"] + np.float32(0.4) * (sampled["M0"] - blurred), 0)
    fraction = expit((sampled["fat_fraction"] - 0.5) / 0.13)
    r2 = np.clip(sampled["R2"], 1 / 300, 1 / 8)
    return _Anatomy(water=m0 * (1 - fraction), fat=m0 * fraction, r2=r2)


def textured(anatomy: _Anatomy, rng: np.random.Generator, grid: FineGrid) -> _Anatomy:
    """Add detail below the donor's resolution: trabeculae in marrow, fibres along the leg in muscle."""
    shape = anatomy.water.shape

    def noise(rows_mm: float, columns_mm: float) -> Array:
        white = rng.standard_normal(shape, dtype=np.float32)
        smooth = ndimage.gaussian_filter(white, (0, rows_mm / grid.pixel, columns_mm / grid.pixel))
        return np.asarray(smooth / smooth.std())

    return _Anatomy(
        water=anatomy.water * np.exp(0.07 * noise(1.2, 0.25) + rng.normal(0, 0.06)),
        fat=anatomy.fat * np.exp(0.06 * noise(0.25, 0.25)),
        r2=anatomy.r2 * np.exp(0.04 * noise(0.3, 0.3) + rng.normal(0, 0.07)),
    )


def with_oedema(
    anatomy: _Anatomy, rng: np.random.Generator, grid: FineGrid
) -> tuple[_Anatomy, list[tuple[int, float, float, float]]]:
    """Turn part of the fat in a few places into water of the same brightness.

    The sum, and with it PD, stays; PDFS, which suppresses fat only, shows it bright.

    Returns:
        The anatomy, and (slice, row mm, column mm, radius mm) of every lesion.
    """
    density = anatomy.fat + anatomy.water
    # Well inside fatty tissue of some extent, mostly bone marrow, and inside the image.
    sigma = 5.0 / grid.pixel
    inside = ndimage.gaussian_filter(
        anatomy.fat * (anatomy.fat > 0.8 * density) * (density > 0.25), (0, sigma, sigma)
    )
    central = np.outer(np.abs(grid.rows) < 0.35 * FIELD_OF_VIEW, np.abs(grid.columns) < 0.25 * FIELD_OF_VIEW)
    inside = inside * central
    candidates = np.argwhere(inside >= 0.6 * inside.max())
    extent = np.zeros_like(anatomy.fat)
    found = []
    ragged = np.exp(0.25 * grid.field(rng, 3.5))
    for _ in range(1 + rng.poisson(0.8)):
        index, row, column = candidates[rng.integers(len(candidates))]
        radius = rng.uniform(4.0, 10.0)
        across = (np.arange(grid.slices) - index)[:, None, None] * DONOR_SPACING
        down, along = grid.rows[:, None] - grid.rows[row], grid.columns - grid.columns[column]
        distance = np.sqrt(across**2 + down**2 + along**2) * ragged
        fluid = rng.uniform(0.15, 0.32)
        extent = np.maximum(extent, fluid * np.exp(-((distance / radius) ** 2.5)))
        found.append((int(index), float(grid.rows[row]), float(grid.columns[column]), radius))
    changed = (extent * anatomy.fat).astype(np.float32)
    return _Anatomy(anatomy.water + changed, anatomy.fat - changed, anatomy.r2), found
