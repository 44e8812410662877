"""fastMRI's random lines: each by itself with one probability, and a centre block."""

import numpy as np

from data_prep.masks.contract import Mask, MaskFamily, acs_by_acceleration, centre_block, whole_lines


def make(height: int, width: int, acceleration: int, generator: np.random.RandomState) -> Mask:
    """Lines bit-equal to the dataset's own definition; the acceleration is met on average only."""
    centre = acs_by_acceleration(width, acceleration)
    probability = (width / acceleration - centre) / (width - centre)
    lines = generator.uniform(size=width) < probability
    return whole_lines(lines | centre_block(width, centre), height)


FAMILY = MaskFamily("random", (4, 8), order=60, make=make, drawn=True, acs=acs_by_acceleration)
