"""Peak signal-to-noise ratio, eq. 17 of the paper."""

from workflow.metrics.contract import Metric
from workflow.metrics.formulas import Image, psnr


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
