"""2D Poisson disc of variable density: random points that keep their distance, and a full disc in the centre.

Libraries draw points of one distance in continuous space (``scipy.stats.qmc.PoissonDisk``); here the distance
grows outwards and the points are those of the grid.
"""

from bisect import bisect_left
from collections.abc import Iterator

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
    edge = int(radius.max())  # as far as a disc reaches beyond the matrix
    stride = width + 2 * edge
    # Squared distances of a quarter of the largest disc.
    down, across = ((np.arange(edge + 1) * max(height, width) / size) ** 2 for size in (height, width))
    squares = down[:, None] + across
    # The discs that there are, smallest first: each is rows of positions, from their first to their last.
    limits = [float(limit) for limit in np.unique(squares)]
    halves = [np.count_nonzero(squares <= limit, axis=1).tolist() for limit in limits]
    discs = [
        [
            (row * stride - half + 1, 2 * half - 1)
            for row, half in zip(range(-edge, edge + 1), [*half_disc[:0:-1], *half_disc], strict=True)
            if half
        ]
        for half_disc in halves
    ]
    claimed = [bytes(length) for length in range(stride)]
    # Bytes are quicker to ask one by one than an array.
    free = bytearray(b"\1") * ((height + 2 * edge) * stride)
    mask, reach = centre.ravel().copy(), radius.ravel()

    def claim(index: int, place: int) -> None:
        # Nearer than the reach, which is above 0: the position itself at least.
        for first, length in discs[bisect_left(limits, reach[index] ** 2) - 1]:
            free[place + first : place + first + length] = claimed[length]

    def placed(indices: NDArray[np.int_]) -> Iterator[tuple[int, int]]:
        row, column = np.unravel_index(indices, centre.shape)
        return zip(indices.tolist(), ((row + edge) * stride + column + edge).tolist(), strict=True)

    for index, place in placed(np.flatnonzero(centre)):
        claim(index, place)
    lacking = most - int(mask.sum())
    for index, place in placed(order):
        if lacking <= 0:
            break
        if free[place]:
            mask[index] = True
            claim(index, place)
            lacking -= 1
    return mask.reshape(centre.shape)


FAMILY = MaskFamily("2d_poisson", (6, 9), order=50, make=make)
