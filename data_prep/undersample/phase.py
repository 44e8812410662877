"""A smooth phase for targets that are stored as magnitudes.

The transform of a magnitude is conjugate symmetric: each measured sample gives its mirror image for free. A
scanner's image is not real: the gift is the file's (Shimron et al., "Implicit data crimes", PNAS 2022,
arXiv:2109.08237). A phase takes it back. It belongs to the slice: every method, mask, training seed and epoch
sees the same.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from data_prep.undersample.transfer import sent

HALF_WAVES = 3  # along both axes together, at most
_TERMS = [(down, across) for down in range(HALF_WAVES + 1) for across in range(HALF_WAVES + 1 - down)]


def smooth_phase(shape: tuple[int, int], seeds: Sequence[int], device: torch.device | str) -> Tensor:
    """Draw a phase for each slice: cosines of few half waves, the largest value pi or -pi.

    The coefficients are standard normal and come from a CPU generator of each slice's own; all that follows
    is pixel by pixel. So a slice's phase depends on neither batch nor process, and on the device to rounding
    only.

    Args:
        shape: (height, width).
        seeds: one per slice, hashed from the slice's names.
        device: where the phase is wanted.

    Returns:
        Radians from -pi to pi, float32 (batch, height, width) on ``device``.
    """
    drawn = [torch.randn(len(_TERMS), generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    coefficients = sent(torch.stack(drawn), device)
    rows, columns = (sent(_half_waves(size), device) for size in shape)
    phase = torch.zeros((len(seeds), *shape), device=device)
    for term, (down, across) in enumerate(_TERMS):
        phase += coefficients[:, term, None, None] * (rows[down, :, None] * columns[across])
    return phase * (math.pi / phase.abs().amax(dim=(-2, -1), keepdim=True))


def _half_waves(size: int) -> Tensor:
    """Cosines of 0, 1, ... half waves over ``size`` pixels, float32 (HALF_WAVES + 1, size)."""
    places = (np.arange(size) + 0.5) / size
    waves = np.cos(math.pi * np.arange(HALF_WAVES + 1)[:, None] * places)
    return torch.from_numpy(waves.astype(np.float32))
