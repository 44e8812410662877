"""2D radial: spokes through the zero frequency."""

import numpy as np

from data_prep.masks.contract import Mask, MaskFamily, keep_innermost, rasterise


def make(height: int, width: int, acceleration: int, generator: np.random.RandomState) -> Mask:
    """Spokes equally spaced in angle and long enough to reach the corners; the generator turns them.

    As many spokes as round(height * width / R) samples take; the surplus is taken from the outer ends of all.
    """
    wanted = round(height * width / acceleration)
    offset = generator.uniform()  # of the angle between two spokes
    reach = int(np.ceil(max(height, width) / np.sqrt(2)))
    radius = np.arange(-reach, reach + 1, dtype=np.float64)
    mask = np.zeros((height, width), dtype=bool)
    spokes = wanted // len(radius)
    while mask.sum() < wanted:
        spokes += 1
        angle = (np.arange(spokes)[:, None] + offset) * np.pi / spokes
        mask = rasterise(radius * np.sin(angle), radius * np.cos(angle), height, width)
    return keep_innermost(mask, wanted)


FAMILY = MaskFamily("2d_radial", (6, 9), order=30, make=make)
