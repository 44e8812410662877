"""Masks from files (``mask_files`` of a configuration): a family for each name that is known here."""

import numpy as np

from data_prep.errors import BadInput
from data_prep.masks.contract import Mask, MaskFamily
from data_prep.masks.from_file import registered


def make(height: int, width: int, acceleration: int, generator: np.random.RandomState) -> Mask:
    """Refuse to make what a file tells."""
    raise BadInput("this mask is a user's, from a file; name the file with --file")


def FAMILY() -> list[MaskFamily]:
    """Return the families of the masks that ``data_prep.masks.from_file`` made known, each once."""
    accelerations: dict[str, set[int]] = {}
    for pattern, _, acceleration in (name.rpartition("_") for name in registered()):
        accelerations.setdefault(pattern, set()).add(int(acceleration.removesuffix("x")))
    return [
        MaskFamily(pattern, tuple(sorted(of)), order=1000, make=make) for pattern, of in accelerations.items()
    ]
