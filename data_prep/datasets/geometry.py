"""Where a subject's prepared slices lie in the scan that they come from, and the way back."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# As data_prep.volumes has it: beyond, a number is more likely broken than true.
_MOST_VOXELS = 2**27


@dataclass(frozen=True)
class Geometry:
    """The grid of a scan as it is stored, and the place of the prepared slices on it.

    Slices are reordered, turned over, cropped and padded on their way from the scan, and never interpolated;
    so each prepared voxel is one of the scan's, or lies outside of it where slices were padded.

    Attributes:
        shape: voxels along the scan's three axes.
        steps: (3, 4), whole numbers: a prepared (slice, row, column, 1) to the scan's voxel index.
        affine: (4, 4), the scan's voxel index to RAS+ millimetres; None where its file does not tell.
    """

    shape: list[int]
    steps: list[list[int]]
    affine: list[list[float]] | None = None

    def __post_init__(self) -> None:
        """Refuse what is no grid, or turns slices otherwise than by whole axes.

        Raises:
            ValueError: it is so.
        """
        steps, affine = np.array(self.steps), np.array(np.eye(4) if self.affine is None else self.affine)
        turned = np.abs(steps[:, :3]) if steps.shape == (3, 4) else np.zeros((3, 3))
        if len(self.shape) != 3 or min(self.shape) < 1 or math.prod(self.shape) > _MOST_VOXELS:
            raise ValueError(f"shape {self.shape} is no volume's")
        if not ((turned.sum(0) == 1).all() and (turned.sum(1) == 1).all() and turned.max() == 1):
            raise ValueError("steps do not lead along the axes of the scan")
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.linalg.det(affine):
            raise ValueError("affine is not invertible")

    def placed(self, slices: NDArray[Any]) -> NDArray[Any]:
        """Return slices (slice, row, column) as the scan stores its voxels; 0 where none was prepared."""
        axes, places, inside = self._along(slices.shape)
        scan = np.zeros(self.shape, slices.dtype)
        scan.transpose(axes)[np.ix_(*places)] = slices[np.ix_(*inside)]
        return scan

    def taken(self, scan: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Return the slices of a volume on the scan's grid; 0 where slices were padded beyond it."""
        axes, places, inside = self._along(shape)
        slices = np.zeros(shape, scan.dtype)
        slices[np.ix_(*inside)] = scan.transpose(axes)[np.ix_(*places)]
        return slices

    def within(self, slices: NDArray[Any]) -> NDArray[Any]:
        """Return the part of slices that lies in the scan: without the margin that was padded beyond it."""
        _, _, inside = self._along(slices.shape)
        return np.asarray(slices[np.ix_(*inside)])

    def _along(self, shape: tuple[int, ...]) -> tuple[list[int], list[NDArray], list[NDArray]]:
        """Return the scan's axis of each prepared one, and which positions are which on both."""
        steps = np.array(self.steps)
        axes = [int(axis) for axis in np.abs(steps[:, :3]).argmax(0)]
        places, inside = [], []
        for prepared, (axis, count) in enumerate(zip(axes, shape, strict=True)):
            place = steps[axis, prepared] * np.arange(count) + steps[axis, 3]
            within = np.flatnonzero((place >= 0) & (place < self.shape[axis]))
            places.append(place[within])
            inside.append(within)
        return axes, places, inside
