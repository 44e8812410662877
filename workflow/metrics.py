"""SSIM, PSNR and NMSE in the two conventions of the benchmark, and nothing else.

``volume``: the data range is the largest value of the ground-truth volume; PSNR and NMSE are taken over the
volume, SSIM is the mean over its slices. ``slice``: each slice by itself, its own largest value as range.
Images are compared as they are: no clamping, no rescaling of the reconstruction. Values are computed in
double precision.

Special values, instead of exceptions, because a table can show them: a reconstruction with NaN or infinite
pixels has NaN metrics (of the whole volume, or of the slice that holds them); a reconstruction equal to the
target has PSNR inf, NMSE 0 and SSIM 1; a target that is zero everywhere has no range, and all three are NaN.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

Image = NDArray[np.floating]
# scikit-image declares no types for it.
_structural_similarity: Callable[..., float] = structural_similarity


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
    """Mean structural similarity of two images (height, width), scikit-image's defaults otherwise."""
    if data_range <= 0:
        return float("nan")
    return float(_structural_similarity(target, reconstruction, data_range=data_range))


def volume_metrics(target: Image, reconstruction: Image) -> dict[str, float]:
    """Metrics of one volume in the ``volume`` convention.

    Args:
        target: ground-truth magnitude (slice, height, width), any unit, at least 7 x 7 pixels.
        reconstruction: in the same unit and shape.

    Returns:
        ``ssim``, ``psnr`` in decibels, ``nmse``.

    Raises:
        ValueError: the shapes differ, or the target holds NaN or infinite pixels.
    """
    target, reconstruction = _checked(target, reconstruction)
    if not np.isfinite(reconstruction).all():
        return {"ssim": float("nan"), "psnr": float("nan"), "nmse": float("nan")}
    data_range = float(target.max())
    similarities = [ssim(t, r, data_range) for t, r in zip(target, reconstruction, strict=True)]
    return {
        "ssim": float(np.mean(similarities)),
        "psnr": psnr(target, reconstruction, data_range),
        "nmse": nmse(target, reconstruction),
    }


def slice_metrics(target: Image, reconstruction: Image) -> dict[str, NDArray[np.float64]]:
    """Metrics of every slice in the ``slice`` convention; arguments and errors as in ``volume_metrics``.

    Returns:
        ``ssim``, ``psnr`` in decibels, ``nmse``: float64 (slice,).
    """
    target, reconstruction = _checked(target, reconstruction)

    def per_slice(metric: Callable[[Image, Image, float], float]) -> NDArray[np.float64]:
        values = np.full(len(target), np.nan)
        for i, (t, r) in enumerate(zip(target, reconstruction, strict=True)):
            if np.isfinite(r).all():
                values[i] = metric(t, r, float(t.max()))
        return values

    return {
        "ssim": per_slice(ssim),
        "psnr": per_slice(psnr),
        "nmse": per_slice(lambda t, r, _: nmse(t, r)),
    }


def _checked(target: Image, reconstruction: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if target.ndim != 3 or target.shape != reconstruction.shape or target.size == 0:
        raise ValueError(
            f"target {target.shape} and reconstruction {reconstruction.shape} must be (slice, height, width)"
        )
    if not np.isfinite(target).all():
        raise ValueError("the target holds NaN or infinite values")
    return np.asarray(target, dtype=np.float64), np.asarray(reconstruction, dtype=np.float64)
