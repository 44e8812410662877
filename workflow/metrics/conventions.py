"""The same reconstructions under the metric conventions in use in this field, with HFEN and inside the body.

Every convention gives one value per volume, so that they can be compared; ``CONVENTIONS`` says in words what
each is. Values are computed in double precision, images are compared as they are unless the convention says
otherwise, and special values are those of ``workflow.metrics.volume``.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.metrics import structural_similarity

from workflow.metrics.formulas import WINDOW, hfen, psnr, ssim
from workflow.metrics.volume import slice_metrics, volume_metrics

Image = NDArray[np.floating]
# scikit-image declares no types for it.
_structural_similarity: Callable[..., tuple[float, NDArray[np.float64]]] = structural_similarity

CONVENTIONS = {
    "volume": "maximum of the true volume (this benchmark)",
    "slice": "maximum of each true slice",
    "peak_to_peak": "maximum less minimum of each true slice",
    "self_normalised": "truth and reconstruction each divided by its own slice's maximum",
    "gaussian_window": "SSIM with a Gaussian window, range as this benchmark",
    "body": "inside the body only, range as this benchmark",
}
_SSIM_MARGIN = WINDOW // 2  # pixels that its mean leaves out along each edge
_BODY_SMOOTHING = 1.0  # pixels
_BODY_CAP = 0.5  # of the mean


def audit(target: Image, reconstruction: Image) -> list[tuple[str, str, float]]:
    """Score one volume under every convention.

    Args:
        target: ground-truth magnitude (slice, height, width), any unit.
        reconstruction: in the same unit and shape.

    Returns:
        (convention, metric, value) with the metrics ``ssim``, ``psnr`` and, under ``volume``, ``nmse`` and
        ``hfen``.
    """
    if not np.isfinite(reconstruction).all():
        # One that failed is told nothing by the slices and pixels that did not.
        return [(name, metric, float("nan")) for name, metric, _ in audit(target, np.zeros_like(target))]
    target, reconstruction = target.astype(np.float64), reconstruction.astype(np.float64)
    scores = {
        "volume": volume_metrics(target, reconstruction) | {"hfen": hfen(target, reconstruction)},
        "slice": _mean_of_slices(target, reconstruction),
        "peak_to_peak": _peak_to_peak(target, reconstruction),
        "self_normalised": _mean_of_slices(_own_maximum(target), _own_maximum(reconstruction)),
        "gaussian_window": {"ssim": gaussian_ssim(target, reconstruction)},
        "body": inside_body(target, reconstruction, body_mask(target)),
    }
    return [(name, metric, value) for name, found in scores.items() for metric, value in found.items()]


def gaussian_ssim(target: Image, reconstruction: Image) -> float:
    """SSIM as its authors computed it: Gaussian window (sigma 1.5 pixels, 11 x 11), population covariances.

    Mean over the slices of a volume (slice, height, width), the volume's maximum as range.
    """
    data_range = float(target.max())
    if data_range <= 0:
        return float("nan")
    values = [
        _structural_similarity(
            t, r, data_range=data_range, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for t, r in zip(target, reconstruction, strict=True)
    ]
    return float(np.mean(np.asarray(values, dtype=np.float64)))


def body_mask(target: Image) -> NDArray[np.bool_]:
    """Find the body in a true volume (slice, height, width): bool, of its shape.

    Otsu's threshold over the volume, of the image smoothed by 1 pixel and capped at half its mean: uncapped,
    the threshold would lie between dark and bright tissue (cerebrospinal fluid, or marrow whose fat is
    suppressed) and not between air and body. Objects below a twentieth of the slice's largest are dropped,
    and holes are filled slice by slice.
    """
    smooth = np.stack([ndimage.gaussian_filter(part, _BODY_SMOOTHING) for part in target.astype(np.float64)])
    if smooth.max() <= smooth.min():
        return np.zeros(target.shape, dtype=np.bool_)
    level = threshold_otsu(np.minimum(smooth, _BODY_CAP * smooth.mean()))
    return np.stack([_filled(part > level) for part in smooth])


def _filled(bright: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, count = ndimage.label(bright)
    if count == 0:
        return bright
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(ndimage.binary_fill_holes((sizes >= 0.05 * sizes.max())[labels]), dtype=np.bool_)


def inside_body(target: Image, reconstruction: Image, mask: NDArray[np.bool_]) -> dict[str, float]:
    """SSIM and PSNR over the mask's pixels of a volume, the true volume's maximum as range.

    SSIM's windows are the benchmark's own; its map is averaged over the mask's pixels whose window lies
    inside the image, all slices together.
    """
    data_range = float(target.max())
    if data_range <= 0 or not mask.any():
        return {"ssim": float("nan"), "psnr": float("nan")}
    maps = [
        _structural_similarity(t, r, data_range=data_range, full=True)[1]
        for t, r in zip(target, reconstruction, strict=True)
    ]
    interior = np.zeros_like(mask)
    interior[:, _SSIM_MARGIN:-_SSIM_MARGIN, _SSIM_MARGIN:-_SSIM_MARGIN] = True
    return {
        "ssim": float(np.stack(maps)[mask & interior].mean()),
        "psnr": psnr(target[mask], reconstruction[mask], data_range),
    }


def _mean_of_slices(target: Image, reconstruction: Image) -> dict[str, float]:
    of_slices = slice_metrics(target, reconstruction)
    return {metric: _mean(of_slices[metric]) for metric in ("ssim", "psnr")}


def _peak_to_peak(target: Image, reconstruction: Image) -> dict[str, float]:
    pairs = [(t, r, float(t.max() - t.min())) for t, r in zip(target, reconstruction, strict=True)]
    return {
        "ssim": _mean(np.array([ssim(*pair) for pair in pairs])),
        "psnr": _mean(np.array([psnr(*pair) for pair in pairs])),
    }


def _own_maximum(volume: Image) -> Image:
    peak = volume.max(axis=(-2, -1), keepdims=True)
    return np.asarray(volume / np.where(peak > 0, peak, 1.0))


def _mean(values: NDArray[np.float64]) -> float:
    """Mean over slices; those without signal (NaN) are left out unless all are."""
    usable = values[~np.isnan(values)]
    return float(usable.mean()) if len(usable) else float("nan")
