"""1D random: lines drawn without preference, and a centre block."""

import numpy as np

from data_prep.masks.contract import Mask, MaskFamily, centre_block, four_percent, whole_lines


def make(height: int, width: int, acceleration: int, generator: np.random.RandomState) -> Mask:
    """Centre block and lines drawn without replacement from the others, round(width / R) lines in all."""
    acs = four_percent(width, acceleration)
    lines = centre_block(width, acs)
    lines[generator.choice(np.flatnonzero(~lines), round(width / acceleration) - acs, replace=False)] = True
    return whole_lines(lines, height)


FAMILY = MaskFamily("1d_random", (3, 6), order=20, make=make, acs=four_percent)
