"""Metrics that more than one convention uses, as functions of two images: SSIM, PSNR, NMSE, HFEN.

No image library is loaded until they are called.
"""

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.floating]
WINDOW = 7  # pixels
K1, K2 = 0.01, 0.03
SIGMA, RADIUS = 1.5, 7  # pixels, of HFEN: a kernel of 15 x 15


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


def psnr(target: Image, reconstruction: Image, data_range: float) -> float:
    """Eq. 17 in decibels, with max(v) given as ``data_range``; inf where the two are equal."""
    error = np.mean((reconstruction - target) ** 2)
    if data_range <= 0:
        return float("nan")
    return float(10 * np.log10(data_range**2 / error)) if error > 0 else float("inf")


def nmse(target: Image, reconstruction: Image) -> float:
    """Eq. 16: the squared error over the squared norm of the target, on arrays of any one shape."""
    error = np.sum((reconstruction - target) ** 2)
    norm = np.sum(target**2)
    return float(error / norm) if norm > 0 else float("nan")


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
