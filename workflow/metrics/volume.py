"""Metrics of a volume and its slices in the two conventions of the benchmark.

``volume``: the data range is the largest value of the ground-truth volume; PSNR and NMSE are taken over the
volume, SSIM is the mean over its slices. ``slice``: each slice by itself, its own largest value as range.
Images are compared as they are: no clamping, no rescaling of the reconstruction. Values are computed in
double precision.

Special values, instead of exceptions, because a table can show them: a reconstruction with NaN or infinite
pixels has NaN metrics (of the whole volume, or of the slice that holds them); a reconstruction equal to the
target has PSNR inf, NMSE 0 and SSIM 1; a target that is zero everywhere has no range, and all three are NaN.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from workflow.metrics.contract import metric_of
from workflow.metrics.formulas import WINDOW, Image, nmse, psnr, similarities

# Of every slice by itself, float64 (slice,), and of the volume, by metric.
Scores = tuple[dict[str, NDArray[np.float64]], dict[str, float]]


def metrics_of(target: Image, reconstruction: Image) -> Scores:
    """Score one volume with SSIM, PSNR and NMSE in both conventions, each slice filtered once for both.

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


def scores_of(names: Iterable[str], target: Image, reconstruction: Image) -> Scores:
    """Score one volume with any metrics in both conventions, by the ``score`` of their files.

    Slices with NaN or infinite pixels have NaN scores, and so has the volume that holds them.

    Args:
        names: ids of the metrics.
        target: ground-truth magnitude (slice, height, width).
        reconstruction: in the same unit and shape.
    """
    truth, image = np.asarray(target, dtype=np.float64), np.asarray(reconstruction, dtype=np.float64)
    usable = np.asarray(np.isfinite(image).all(axis=(1, 2)))
    slices, volume = {}, {}
    for name in names:
        score = metric_of(name).score
        slices[name] = np.array(
            [score(truth[i : i + 1], image[i : i + 1]) if usable[i] else np.nan for i in range(len(truth))],
            dtype=np.float64,
        )
        volume[name] = float(score(truth, image)) if usable.all() else float("nan")
    return slices, volume


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
