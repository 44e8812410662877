"""2D spiral: interleaved spirals of growing distance."""

import numpy as np

from data_prep.masks.contract import Mask, MaskFamily, keep_innermost, rasterise


def make(height: int, width: int, acceleration: int, generator: np.random.RandomState) -> Mask:
    """Interleaved spirals whose turns lie half a sample apart in the centre and ever wider outwards.

    The distance between neighbouring turns is d + g r at radius r, which makes the angle
    2 pi log(1 + g r / d) / (N g) for N interleaves; d = 1/2, and two points per sample along the path, leave
    no hole in the centre after rounding to the grid. The growth g is the largest that still gives
    round(height * width / R) samples; a surplus of a few is taken from the outer end. The corners of k-space
    stay empty. The generator turns the whole.
    """
    wanted = round(height * width / acceleration)
    offset = generator.uniform()  # of the angle between two interleaves
    side = max(height, width)
    distance = 0.5
    interleaves = max(2, round(side / 32))
    rotation = 2 * np.pi * (np.arange(interleaves)[:, None] + offset) / interleaves

    def samples(growth: float) -> Mask:
        fine = np.linspace(0, side / 2, 16 * side)
        winding = 2 * np.pi / interleaves / (distance + growth * fine)
        speed = np.hypot(1, fine * winding)
        length = np.concatenate([[0], np.cumsum((speed[1:] + speed[:-1]) / 2 * np.diff(fine))])
        radius = np.interp(np.arange(0, length[-1], 0.5), length, fine)
        angle = rotation + 2 * np.pi / interleaves * np.log1p(growth * radius / distance) / growth
        return rasterise(radius * np.sin(angle), radius * np.cos(angle), height, width)

    dense, sparse = 1e-4, 16.0
    for _ in range(40):
        middle = float(np.sqrt(dense * sparse))
        if samples(middle).sum() >= wanted:
            dense = middle
        else:
            sparse = middle
    return keep_innermost(samples(dense), wanted)


FAMILY = MaskFamily("2d_spiral", (6, 9), order=40, make=make)
