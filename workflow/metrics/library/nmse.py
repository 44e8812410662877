"""Normalised mean squared error, eq. 16 of the paper."""

import numpy as np
from numpy.typing import NDArray

from workflow.metrics.contract import Metric


def nmse(target: NDArray[np.floating], reconstruction: NDArray[np.floating]) -> float:
    """Eq. 16: the squared error over the squared norm of the target, on arrays of any one shape."""
    error = np.sum((reconstruction - target) ** 2)
    norm = np.sum(target**2)
    return float(error / norm) if norm > 0 else float("nan")


METRIC = Metric(
    id="nmse",
    label="NMSE",
    meaning="squared error over the squared norm of the truth",
    rising=False,
    perfect=0.0,
    digits=4,
    score=nmse,
)
