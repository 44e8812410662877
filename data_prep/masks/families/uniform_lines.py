"""1D uniform: equally spaced lines and a centre block."""

import numpy as np

from data_prep.masks.contract import Mask, MaskFamily, centre_block, four_percent, whole_lines


def make(height: int, width: int, acceleration: int, generator: np.random.RandomState) -> Mask:
    """Equally spaced lines joined with the centre block, round(width / R) lines in all.

    The spacing is width / n with n below this number: wider than R, to make up for the centre block. It is a
    fraction, so that neighbouring gaps differ by up to one line. The generator chooses the first line; where
    no n meets the number exactly, the first line moves on by sixteenths of the spacing.
    """
    wanted, acs = round(width / acceleration), four_percent(width, acceleration)
    centre = centre_block(width, acs)
    start = generator.uniform()
    best = centre
    for step in range(16):
        offset = (start + step / 16) % 1
        for count in range(wanted - acs, wanted + 1):
            lines = centre.copy()
            lines[np.floor((np.arange(count) + offset) * width / count).astype(int)] = True
            if abs(lines.sum() - wanted) < abs(best.sum() - wanted):
                best = lines
    return whole_lines(best, height)


FAMILY = MaskFamily("1d_uniform", (6, 9), order=10, make=make, acs=four_percent)
