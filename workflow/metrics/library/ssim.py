"""Structural similarity, eq. 18 of the paper, as scikit-image computes it."""

import numpy as np

from workflow.metrics.contract import Metric
from workflow.metrics.formulas import Image, ssim


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
