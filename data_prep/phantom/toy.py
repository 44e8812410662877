"""A made-up head and a made-up knee, to check and test embedded scans without the donors."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.io.files import replacing
from data_prep.phantom.brain import CSF, GM, TEMPLATE, WM
from data_prep.phantom.fields import smooth_noise


def write_toy_donors(folder: Path, names: Iterable[str]) -> None:
    """Write made-up maps in the place of the donors'."""
    for seed, name in enumerate(sorted(names)):
        arrays: dict[str, Any] = {**(toy_knee() if name == "knee" else toy_donor(seed))}
        with replacing(folder / f"{name}.npz") as temporary:
            np.savez(temporary, **arrays)


@cache
def toy_donor(seed: int = 0) -> dict[str, NDArray]:
    """Maps as ``brain_maps.donor_maps`` returns them: skin, skull, folded cortex, ventricles."""
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


def toy_knee(slices: int = 6) -> dict[str, NDArray[np.float32]]:
    """Maps as ``knee_maps.load_maps`` returns them: fat, muscle, two bones with a joint space, a vessel."""
    y, x = np.mgrid[-80:80:256j, -80:80:256j].astype(np.float32)
    volumes = {name: np.zeros((slices, 256, 256), np.float32) for name in ("M0", "R2", "fat_fraction")}
    volumes["R2"][:] = 1 / 8
    for i in range(slices):
        bend = 8 * np.sin(y / 30 + 0.2 * i)
        leg = np.abs(x - bend) < 52
        muscle = np.abs(x - bend) < 46
        bones = [
            ((x - bend + 12) / 20) ** 2 + ((y - top) / 38) ** 2 < 1 for top in (-44 + 0.5 * i, 43 + 0.5 * i)
        ]
        vessel = (np.abs(x - bend - 28 - 4 * np.sin(y / 9)) < 3) & muscle
        tissues = [
            (leg, 1.1, 1 / 120, 1.0),
            (muscle, 0.5, 1 / 36, 0.02),
            *((bone, 0.9, 1 / 110, 1.0) for bone in bones),
            (vessel, 0.7, 1 / 90, 0.0),
        ]
        for where, m0, r2, fat in tissues:
            for name, value in (("M0", m0), ("R2", r2), ("fat_fraction", fat)):
                volumes[name][i][where] = value
    return volumes
