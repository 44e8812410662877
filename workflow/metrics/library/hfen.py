"""High-frequency error norm: how well edges and texture are kept."""

import numpy as np
from numpy.typing import NDArray

from workflow.metrics.contract import Metric

Image = NDArray[np.floating]
SIGMA = 1.5  # pixels
RADIUS = 7  # pixels: a kernel of 15 x 15


def hfen(target: Image, reconstruction: Image) -> float:
    """High-frequency error norm: ||LoG(r) - LoG(v)|| / ||LoG(v)|| over a volume (slice, height, width).

    LoG is the Laplacian of a Gaussian of 1.5 pixels in a kernel of 15 x 15 pixels, slice by slice, with zeros
    beyond the edges. S. Ravishankar and Y. Bresler, "MR image reconstruction from highly undersampled k-space
    data by dictionary learning", IEEE Transactions on Medical Imaging 30(5), 2011, who do not divide.
    """
    true, error = _log_filter(target), _log_filter(np.asarray(reconstruction - target))
    norm = float(np.linalg.norm(true))
    return float(np.linalg.norm(error)) / norm if norm > 0 else float("nan")


def _log_filter(volume: Image) -> NDArray[np.float64]:
    from scipy import ndimage

    # A sigma of 0 would still blur nothing, but differentiate: across slices the filter must not act.
    filtered = [
        ndimage.gaussian_laplace(part, SIGMA, mode="constant", truncate=RADIUS / SIGMA)
        for part in np.asarray(volume, dtype=np.float64)
    ]
    return np.stack(filtered)


METRIC = Metric(
    id="hfen",
    label="HFEN",
    meaning="norm of the error behind a Laplacian of a Gaussian of 1.5 pixels, over that of the truth",
    rising=False,
    perfect=0.0,
    digits=3,
    score=hfen,
)
