"""What a file of ``data_prep/masks/families/`` defines, and what several of them share.

``True`` is a sampled position; the zero frequency stands at index n // 2 of either axis.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import BadInput
from data_prep.words import check_words

Mask = NDArray[np.bool_]
Make = Callable[[int, int, int, np.random.RandomState], Mask]


def no_lines(width: int, acceleration: int) -> int:
    """Number of centre lines of a family that samples points: none."""
    return 0


@dataclass(frozen=True)
class MaskFamily:
    """One pattern of undersampling at one or more accelerations; the ``FAMILY`` of its file.

    Attributes:
        pattern: the names of its masks without the acceleration, e.g. ``2d_radial``; ``1d_`` samples whole
            lines, ``2d_`` points.
        accelerations: nominal ones that a configuration may ask for.
        order: position among the families in lists and tables.
        make: (height, width, acceleration, generator) -> bool (height, width). The generator is freshly
            seeded and the only source of chance; RandomState, because numpy keeps its streams for ever.
        drawn: False: one mask, frozen, for all slices. True: lines drawn for each file of fastMRI, and anew
            for each slice in training.
        acs: (width, acceleration) -> fully sampled centre lines; 0 for families that sample points.
    """

    pattern: str
    accelerations: tuple[int, ...]
    order: int
    make: Make
    drawn: bool = False
    acs: Callable[[int, int], int] = no_lines

    def __post_init__(self) -> None:
        """Refuse what cannot be part of a mask's name.

        Raises:
            BadInput: the pattern or an acceleration is malformed.
        """
        if not re.fullmatch("[a-z0-9]+(_[a-z0-9]+)*", self.pattern):
            raise BadInput(f"FAMILY: pattern is {self.pattern!r}; use words of a-z and 0-9 joined by _")
        check_words("FAMILY: pattern", self.pattern)
        if not self.accelerations or not all(type(a) is int and a > 1 for a in self.accelerations):
            raise BadInput(
                f"FAMILY {self.pattern}: accelerations are {self.accelerations!r}; give whole numbers above 1"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its masks, e.g. ``2d_radial_6x``."""
        return tuple(f"{self.pattern}_{acceleration}x" for acceleration in self.accelerations)


def four_percent(width: int, acceleration: int) -> int:
    """Number of centre lines of the 1D families: 4 % of all."""
    return round(width * 0.04)


def acs_by_acceleration(width: int, acceleration: int) -> int:
    """Number of centre lines of fastMRI's masks: 8 % of all at 4x, 4 % at 8x."""
    return round(width * 0.32 / acceleration)


def centre_block(width: int, lines: int) -> Mask:
    """Return a line mask (width,) with ``lines`` lines around the zero frequency, as fastMRI places them."""
    block = np.zeros(width, dtype=bool)
    start = (width - lines + 1) // 2
    block[start : start + lines] = True
    return block


def whole_lines(lines: Mask, height: int) -> Mask:
    """Return the mask (height, width) that samples the columns of a line mask (width,)."""
    return np.repeat(lines[None], height, axis=0)


def rasterise(y: NDArray[np.float64], x: NDArray[np.float64], height: int, width: int) -> Mask:
    """Mark the grid positions nearest to the points of a trajectory, in grid steps of the longer side.

    The other side is scaled, since both span the same range of frequencies. Rounding to 1e-6 grid steps first
    keeps the last bit of a platform's sine from deciding where a sample goes.
    """
    side = max(height, width)
    row = height // 2 + np.floor(np.round(y * height / side, 6) + 0.5).astype(int)
    column = width // 2 + np.floor(np.round(x * width / side, 6) + 0.5).astype(int)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    mask = np.zeros((height, width), dtype=bool)
    mask[row[inside], column[inside]] = True
    return mask


def keep_innermost(mask: Mask, wanted: int) -> Mask:
    """Keep the ``wanted`` samples nearest to the zero frequency, in units of each axis' range."""
    height, width = mask.shape
    row, column = np.nonzero(mask)
    distance = ((row - height // 2) / height) ** 2 + ((column - width // 2) / width) ** 2
    kept = np.argsort(distance, kind="stable")[:wanted]
    trimmed = np.zeros_like(mask)
    trimmed[row[kept], column[kept]] = True
    return trimmed
