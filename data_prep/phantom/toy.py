"""A made-up head on the template's grid, to check and test embedded brains without the donors."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import BadInput
from data_prep.phantom.brain import CSF, GM, TEMPLATE, WM
from data_prep.phantom.fields import smooth_noise


def write_toy_donors(folder: Path, names: Iterable[str]) -> None:
    """Write made-up maps in the place of the donors'; only those of brains.

    Raises:
        BadInput: there is no made-up form of a map.
    """
    for seed, name in enumerate(sorted(names)):
        if not name.startswith("brain_"):
            raise BadInput(
                f"there is no made-up donor {name!r}; give the folder of the real ones with --donors"
            )
        arrays: dict[str, Any] = {**toy_donor(seed)}
        np.savez(folder / f"{name}.npz", **arrays)


@cache
def toy_donor(seed: int = 0) -> dict[str, NDArray]:
    """Maps as ``embedded_brain.donor_maps`` returns them: skin, skull, folded cortex, ventricles."""
    rng = np.random.default_rng(seed)
    x, y, z = (
        (TEMPLATE.axis(i).astype(np.float32) - c) / r
        for i, (c, r) in enumerate(((96, 68), (114, 86), (86, 68)))
    )
    radius = np.sqrt(x[:, None, None] ** 2 + y[:, None] ** 2 + z**2)
    middle = np.sqrt((x[:, None, None] / 0.32) ** 2 + (y[:, None] / 0.35) ** 2 + ((z - 0.1) / 0.2) ** 2)
    depth = (1 - radius) + 0.10 * smooth_noise(rng, TEMPLATE, 7.0)
    ventricles = middle + 0.25 * smooth_noise(rng, TEMPLATE, 9.0) < 1
    brain = radius < 1
    csf = brain & ((depth < 0.06) | ventricles)
    grey = brain & ~csf & (depth < 0.18)
    fractions = np.zeros((3, *TEMPLATE.shape), np.float16)
    fractions[CSF], fractions[GM] = csf, grey
    fractions[WM] = 1 - fractions[CSF] - fractions[GM]
    skin = (radius > 1.1) & (radius < 1.22)
    return {
        "fractions": fractions,
        "residual": np.zeros(TEMPLATE.shape, np.float16),
        "t1": (0.9 * skin + brain).astype(np.float16),
        "t2": (0.7 * skin + brain).astype(np.float16),
        "brain": brain.astype(np.float16),
    }
