"""2D Poisson disc of variable density: random points that keep their distance, and a full disc in the centre.

Libraries draw points of one distance in continuous space (``scipy.stats.qmc.PoissonDisk``); here the distance
grows outwards and the points are those of the grid.
"""

import numpy as np
from numpy.typing import NDArray

from data_prep.masks.contract import Mask, MaskFamily, keep_innermost

CENTRE = 0.08  # radius of the full centre, in half sides
GROWTH = 2.0  # how much wider the distance is at the ends of the axes, in distances of the centre
_HALVINGS = 8


def make(height: int, width: int, acceleration: int, generator: np.random.RandomState) -> Mask:
    """Points no nearer to one another than a distance that grows outwards, round(height * width / R) in all.

    Positions are tried in random order; one is taken unless a point taken before claims it. A point claims
    the disc of radius s (1 + 2 f) about it, f its distance from the zero frequency in half sides. The scale s
    is the largest that leaves enough points, found by bisection; a surplus is taken from the outer end.
    """
    wanted = round(height * width / acceleration)
    frequency = frequencies(height, width)
    centre, growth = frequency <= CENTRE, 1 + GROWTH * frequency
    order = generator.permutation(np.flatnonzero(~centre))
    # Even the densest packing of discs of radius sqrt(R) that grow outwards holds fewer points.
    near, far = 0.0, float(np.sqrt(acceleration))
    for _ in range(_HALVINGS):
        scale = (near + far) / 2
        if take(order, centre, scale * growth, wanted).sum() < wanted:
            far = scale
        else:
            near = scale
    return keep_innermost(take(order, centre, near * growth, height * width), wanted)


def frequencies(height: int, width: int) -> NDArray[np.float64]:
    """Distance of every position from the zero frequency, in half sides; both axes span the same range."""
    y, x = (2 * (np.arange(size) - size // 2) / size for size in (height, width))
    return np.hypot(y[:, None], x)


def take(order: NDArray[np.int_], centre: Mask, radius: NDArray[np.float64], most: int) -> Mask:
    """Take the centre, then positions in the given order that nothing taken before claims.

    Args:
        order: positions outside the centre, as indices of the flattened matrix.
        centre: taken whole, (height, width).
        radius: of the disc that a point claims, in grid steps of the longer side, (height, width).
        most: points at which to stop.
    """
    height, width = centre.shape
    # Squared distances along each axis; the middle one is of no step.
    down, across = ((np.arange(-size, size) * max(height, width) / size) ** 2 for size in (height, width))
    mask, free = centre.copy(), np.ones(centre.shape, dtype=bool)

    def claim(row: int, column: int) -> None:
        reach = radius[row, column]
        top, left = max(0, row - int(reach)), max(0, column - int(reach))
        bottom, right = min(height, row + int(reach) + 1), min(width, column + int(reach) + 1)
        away = down[height + top - row : height + bottom - row, None]
        aside = across[width + left - column : width + right - column]
        free[top:bottom, left:right] &= away + aside >= reach**2

    for row, column in np.argwhere(centre).tolist():
        claim(row, column)
    lacking = most - int(mask.sum())
    for row, column in np.column_stack(np.unravel_index(order, centre.shape)).tolist():
        if lacking <= 0:
            break
        if free[row, column]:
            mask[row, column] = True
            claim(row, column)
            lacking -= 1
    return mask


FAMILY = MaskFamily("2d_poisson", (6, 9), order=50, make=make)
