"""The donor's knee: proton density and T2 maps from the echoes that a package carries."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit

from data_prep.io.archives import read_npz
from data_prep.phantom.fields import Array

MAPS = ("M0", "R2", "fat_fraction")


def donor_maps(echoes: Array, echo_times: NDArray[np.float64]) -> dict[str, Array]:
    """Estimate proton density, R2 and fat fraction from a multi-echo scan.

    Args:
        echoes: magnitude images (slices, echoes, rows, columns), scanner units.
        echo_times: (echoes,) in ms.

    Returns:
        ``M0`` (fat is about 1), ``R2`` (1/ms) and ``fat_fraction`` (0..1), each float32
        (slices, rows, columns).
    """
    # The first echo lacks the stimulated echoes that the later ones contain: it is left out of the fit.
    log_signal = np.log(np.clip(echoes[:, 1:], 1, None))
    # Weights of a log-linear fit: the variance of a logarithm goes as 1 / signal squared.
    weight = echoes[:, 1:] ** 2 + 1
    time = echo_times[1:].astype(np.float32)[:, None, None]
    total = weight.sum(axis=1)
    mean_time = (weight * time).sum(axis=1) / total
    mean_log = (weight * log_signal).sum(axis=1) / total
    centred = time - mean_time[:, None]
    covariance = (weight * centred * (log_signal - mean_log[:, None])).sum(axis=1)
    slope = covariance / (weight * centred**2).sum(axis=1)
    r2 = np.clip(-slope, 1 / 300, 1 / 8)
    # Where little signal is left for the fit, it extrapolates beyond what any tissue has.
    m0 = np.minimum(np.exp(mean_log - slope * mean_time), 1.6 * echoes[:, 0])
    return {
        "M0": (m0 / 4000).astype(np.float32),
        "R2": r2.astype(np.float32),
        "fat_fraction": _fat_fraction(echoes[:, 0], m0, r2).astype(np.float32),
    }


def _fat_fraction(first_echo: Array, m0: Array, r2: Array) -> Array:
    """Tell fat from water by brightness at a short echo time, and by its long apparent T2."""
    body = ndimage.gaussian_filter(m0, (0, 2, 2)) > 600
    # Fat is the brightest tissue at 6 ms: a local high percentile follows the coil's sensitivity.
    coarse = ndimage.percentile_filter(ndimage.zoom(m0, (1, 0.25, 0.25), order=1), 85, size=(3, 17, 17))
    fat_level = ndimage.zoom(ndimage.gaussian_filter(coarse, (1, 5, 5)), (1, 4, 4), order=1)
    relative = first_echo / np.maximum(fat_level, 1500)
    t2 = ndimage.median_filter(1 / r2, (1, 3, 3))
    bright = expit((relative - 0.72) / 0.05)
    slow = expit((relative - 0.30) / 0.04) * expit((t2 - 68) / 5)
    return np.asarray(ndimage.gaussian_filter(np.maximum(bright, slow) * body, (0, 0.5, 0.5)))


def load_maps(folder: Path) -> dict[str, Array]:
    """Read ``knee.npz`` as written by ``data_prep.phantom.donors``.

    Raises:
        BadInput: the file is missing or damaged, or lacks a map.
    """
    path = folder / "knee.npz"
    absent = "the donor's maps are missing; run `python -m data_prep.phantom.donors` first"
    return read_npz(path, MAPS, absent, "delete it and run data_prep.phantom.donors again")
