"""Peak signal-to-noise ratio, eq. 17 of the paper."""

import numpy as np
from numpy.typing import NDArray

from workflow.metrics.contract import Metric

Image = NDArray[np.floating]


def psnr(target: Image, reconstruction: Image, data_range: float) -> float:
    """Eq. 17 in decibels, with max(v) given as ``data_range``; inf where the two are equal."""
    error = np.mean((reconstruction - target) ** 2)
    if data_range <= 0:
        return float("nan")
    return float(10 * np.log10(data_range**2 / error)) if error > 0 else float("inf")


def of_volume(target: Image, reconstruction: Image) -> float:
    """PSNR over a volume (slice, height, width), whose largest true value is the range."""
    return psnr(target, reconstruction, float(target.max()))


METRIC = Metric(
    id="psnr",
    label="PSNR",
    meaning="squared maximum of the truth over the mean squared error, in decibels",
    rising=True,
    perfect=float("inf"),
    digits=2,
    score=of_volume,
    unit="dB",
)
