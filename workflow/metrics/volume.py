"""SSIM, PSNR and NMSE in the two conventions of the benchmark, and nothing else.

``volume``: the data range is the largest value of the ground-truth volume; PSNR and NMSE are taken over the
volume, SSIM is the mean over its slices. ``slice``: each slice by itself, its own largest value as range.
Images are compared as they are: no clamping, no rescaling of the reconstruction. Values are computed in
double precision.

Special values, instead of exceptions, because a table can show them: a reconstruction with NaN or infinite
pixels has NaN metrics (of the whole volume, or of the slice that holds them); a reconstruction equal to the
target has PSNR inf, NMSE 0 and SSIM 1; a target that is zero everywhere has no range, and all three are NaN.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

Image = NDArray[np.floating]
WINDOW = 7
K1, K2 = 0.01, 0.03


def nmse(target: Image, reconstruction: Image) -> float:
    """Eq. 16: the squared error over the squared norm of the target, on arrays of any one shape."""
    error = np.sum((reconstruction - target) ** 2)
    norm = np.sum(target**2)
    return float(error / norm) if norm > 0 else float("nan")


def psnr(target: Image, reconstruction: Image, data_range: float) -> float:
    """Eq. 17 in decibels, with max(v) given as ``data_range``; inf where the two are equal."""
    error = np.mean((reconstruction - target) ** 2)
    if data_range <= 0:
        return float("nan")
    return float(10 * np.log10(data_range**2 / error)) if error > 0 else float("inf")


def ssim(target: Image, reconstruction: Image, data_range: float) -> float:
    """Mean structural similarity of two images (height, width); see ``similarities``."""
    return similarities(target, reconstruction, data_range)[0]


def similarities(target: Image, reconstruction: Image, *data_ranges: float) -> list[float]:
    """Mean structural similarity of two images (height, width) under each of several data ranges.

    Wang et al. 2004 as scikit-image computes it by default: flat windows of 7 x 7 pixels inside the image and
    sample covariances, the same operations in the same order, hence the same bits. The data range enters
    after the filters, which take nearly all of the time, so that a second range costs little.
    """
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


def metrics_of(
    target: Image, reconstruction: Image
) -> tuple[dict[str, NDArray[np.float64]], dict[str, float]]:
    """Score one volume in both conventions.

    Args:
        target: ground-truth magnitude (slice, height, width), any unit, at least 7 x 7 pixels.
        reconstruction: in the same unit and shape.

    Returns:
        ``ssim``, ``psnr`` in decibels and ``nmse`` of every slice in the ``slice`` convention, float64
        (slice,); and of the volume in the ``volume`` convention.

    Raises:
        ValueError: the shapes differ, an image is smaller than SSIM's window, or the target holds NaN or
            infinite pixels.
    """
    target, reconstruction = _checked(target, reconstruction)
    volume_range = float(target.max())
    slices = {name: np.full(len(target), np.nan) for name in ("ssim", "psnr", "nmse")}
    in_volume = []
    for i, (t, r) in enumerate(zip(target, reconstruction, strict=True)):
        if not np.isfinite(r).all():
            continue
        own_range = float(t.max())
        slices["ssim"][i], similarity = similarities(t, r, own_range, volume_range)
        slices["psnr"][i], slices["nmse"][i] = psnr(t, r, own_range), nmse(t, r)
        in_volume.append(similarity)
    if len(in_volume) < len(target):
        return slices, {name: float("nan") for name in slices}
    return slices, {
        "ssim": float(np.mean(in_volume)),
        "psnr": psnr(target, reconstruction, volume_range),
        "nmse": nmse(target, reconstruction),
    }


def volume_metrics(target: Image, reconstruction: Image) -> dict[str, float]:
    """Metrics of one volume in the ``volume`` convention; arguments and errors as in ``metrics_of``."""
    return metrics_of(target, reconstruction)[1]


def slice_metrics(target: Image, reconstruction: Image) -> dict[str, NDArray[np.float64]]:
    """Metrics of every slice in the ``slice`` convention; arguments and errors as in ``metrics_of``."""
    return metrics_of(target, reconstruction)[0]


def _checked(target: Image, reconstruction: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if target.ndim != 3 or target.shape != reconstruction.shape or target.size == 0:
        raise ValueError(
            f"target {target.shape} and reconstruction {reconstruction.shape} must be (slice, height, width)"
        )
    if min(target.shape[1:]) < WINDOW:
        raise ValueError(f"slices of {target.shape[1:]} are smaller than SSIM's {WINDOW} x {WINDOW} window")
    if not np.isfinite(target).all():
        raise ValueError("the target holds NaN or infinite values")
    return np.asarray(target, dtype=np.float64), np.asarray(reconstruction, dtype=np.float64)
