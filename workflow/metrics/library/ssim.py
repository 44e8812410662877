"""Structural similarity, eq. 18 of the paper, as scikit-image computes it."""

import numpy as np
from numpy.typing import NDArray

from workflow.metrics.contract import Metric

Image = NDArray[np.floating]
WINDOW = 7  # pixels
K1, K2 = 0.01, 0.03


def ssim(target: Image, reconstruction: Image, data_range: float) -> float:
    """Mean structural similarity of two images (height, width); see ``similarities``."""
    return similarities(target, reconstruction, data_range)[0]


def similarities(target: Image, reconstruction: Image, *data_ranges: float) -> list[float]:
    """Mean structural similarity of two images (height, width) under each of several data ranges.

    Wang et al. 2004 as scikit-image computes it by default: flat windows of 7 x 7 pixels inside the image and
    sample covariances, the same operations in the same order, hence the same bits. The data range enters
    after the filters, which take nearly all of the time, so that a second range costs little.
    """
    from scipy.ndimage import uniform_filter

    samples = WINDOW**2 / (WINDOW**2 - 1)
    mean, other = uniform_filter(target, WINDOW), uniform_filter(reconstruction, WINDOW)
    variance = samples * (uniform_filter(target * target, WINDOW) - mean * mean)
    other_variance = samples * (uniform_filter(reconstruction * reconstruction, WINDOW) - other * other)
    covariance = samples * (uniform_filter(target * reconstruction, WINDOW) - mean * other)
    luminance, energies = 2 * mean * other, mean**2 + other**2
    contrast, variances = 2 * covariance, variance + other_variance
    edge = (WINDOW - 1) // 2
    found = []
    for data_range in data_ranges:
        if data_range <= 0:
            found.append(float("nan"))
            continue
        c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
        similarity = ((luminance + c1) * (contrast + c2)) / ((energies + c1) * (variances + c2))
        found.append(float(similarity[edge:-edge, edge:-edge].mean()))
    return found


def of_volume(target: Image, reconstruction: Image) -> float:
    """Mean SSIM over the slices of a volume (slice, height, width), whose largest true value is the range."""
    top = float(target.max())
    return float(np.mean([ssim(t, r, top) for t, r in zip(target, reconstruction, strict=True)]))


METRIC = Metric(
    id="ssim",
    label="SSIM",
    meaning="mean structural similarity over the slices, in windows of 7 x 7 pixels",
    rising=True,
    perfect=1.0,
    digits=3,
    score=of_volume,
)
