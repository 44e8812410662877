"""fastMRI's equispaced lines from a random first one on, and a centre block."""

import numpy as np

from data_prep.masks.contract import Mask, MaskFamily, acs_by_acceleration, centre_block, whole_lines


def make(height: int, width: int, acceleration: int, generator: np.random.RandomState) -> Mask:
    """Lines bit-equal to the dataset's own definition."""
    centre = acs_by_acceleration(width, acceleration)
    # Wider than the acceleration, so that the centre block counts towards it.
    spacing = acceleration * (centre - width) / (centre * acceleration - width)
    offset = generator.randint(0, round(spacing))
    lines = np.zeros(width, dtype=bool)
    lines[np.around(np.arange(offset, width - 1, spacing)).astype(int)] = True
    return whole_lines(lines | centre_block(width, centre), height)


FAMILY = MaskFamily("equispaced", (4, 8), order=70, make=make, drawn=True, acs=acs_by_acceleration)
