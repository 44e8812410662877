"""Rigid registration within the slice plane, by local correlation."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from data_prep.errors import BadInput

Stack = NDArray[np.float32]  # (slices, rows, columns)

_WINDOW = 5  # pixels; larger ones leave a bias, smaller ones see noise
# Variance, in units of the bright tissue's squared, below which a window counts as empty.
_EMPTY = 1e-4
_SEARCH = 0.05  # largest shift along rows and along columns, as a fraction of the matrix
_SEARCH_MATRIX = 96  # larger images are searched at a reduced size first
_REACH = 2.0  # pixels about the best whole shift; for the turn, pixels at two thirds of the radius
_REGISTERED_SLICES = 8


def register_in_plane(target: Stack, auxiliary: Stack) -> NDArray[np.float64]:
    """Find the rigid in-plane transform that lays the auxiliary onto the target.

    Args:
        target: magnitude (slices, rows, columns).
        auxiliary: magnitude of the same shape, of another contrast.

    Returns:
        4x4 matrix from (slice, row, column, 1) of a target voxel to the place of the same tissue in the
        auxiliary.

    Raises:
        BadInput: the search ran to its limit, so that the scans do not show the same knee in about the
            same place.
    """
    chosen = np.unique(np.linspace(0, len(target) - 1, _REGISTERED_SLICES).round().astype(int))
    fixed, moving = (_in_units_of_bright_tissue(volume[chosen]) for volume in (target, auxiliary))
    size = min(fixed.shape[1:])
    factor = int(np.ceil(size / _SEARCH_MATRIX))
    reduced = _reduced(fixed, factor), _reduced(moving, factor)
    start = _best_whole_shift(*reduced, limit=int(np.ceil(_SEARCH * size / factor)))
    found = _maximise(*reduced, start=start, reach=_REACH)
    if limits := _limits_reached(found, start, size / factor):
        raise BadInput(
            f"registration ran to its limit of {' and of '.join(limits)}; check that the two files show the "
            "same knee"
        )
    if factor > 1:
        found = _maximise(fixed, moving, start=factor * found, reach=factor)
    return _matrix(found, fixed.shape[1:])


def _limits_reached(found: NDArray[np.float64], start: NDArray[np.float64], size: float) -> list[str]:
    """Return in words the limits of the search that it ran to.

    Args:
        found: turn and shifts, in pixels of the image that was searched.
        start: where the search began.
        size: the image's smaller side, in its pixels.
    """
    turned, *moved = np.abs(found - start) > 0.95 * _REACH
    limits = {
        f"{np.rad2deg(_REACH / (size / 3)):.1f} degrees of turn": turned,
        f"{100 * _SEARCH:g} % of the field of view": np.abs(found[1:]).max() > _SEARCH * size,
        f"{_REACH:g} pixels of {size:.0f} about the best whole shift": any(moved),
    }
    return [limit for limit, reached in limits.items() if reached]


def resample(volume: Stack, transform: NDArray[np.float64]) -> Stack:
    """Sample a magnitude volume (slices, rows, columns) where ``transform`` says, by cubic splines."""
    # Splines overshoot below zero at edges; a magnitude does not.
    return np.maximum(_sampled(_spline(volume), transform), 0)


def rigid_in_plane(angle: float, shift: tuple[float, float], centre: tuple[int, int]) -> NDArray[np.float64]:
    """4x4 matrix on (slice, row, column, 1), in pixels: a turn about ``centre``, then a shift.

    Args:
        angle: radians; positive turns the row axis towards the column axis.
        shift: (rows, columns).
        centre: (row, column) of the pixel that a turn alone leaves in place.
    """
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.eye(4)
    matrix[1:3, 1:3] = turn
    matrix[1:3, 3] = np.asarray(centre) + np.asarray(shift) - turn @ np.asarray(centre)
    return matrix


def _in_units_of_bright_tissue(volume: Stack) -> Stack:
    bright = np.percentile(volume, 99.5)
    return np.asarray(volume / (bright if bright > 0 else 1), dtype=np.float32)


def _reduced(volume: Stack, factor: int) -> Stack:
    """Average blocks of ``factor`` by ``factor`` pixels."""
    slices, rows, columns = volume.shape[0], volume.shape[1] // factor, volume.shape[2] // factor
    whole = volume[:, : rows * factor, : columns * factor]
    return np.asarray(whole.reshape(slices, rows, factor, columns, factor).mean(axis=(2, 4)))


def _local_correlation(fixed: Stack) -> Callable[[Stack], float]:
    """Return the function that gives the mean squared local correlation of ``fixed`` with another volume."""

    def local_mean(volume: Stack) -> Stack:
        return np.asarray(ndimage.uniform_filter(volume, (1, _WINDOW, _WINDOW)))

    fixed_mean = local_mean(fixed)
    fixed_variance = local_mean(fixed**2) - fixed_mean**2 + _EMPTY

    def correlation(moved: Stack) -> float:
        mean = local_mean(moved)
        variance = local_mean(moved**2) - mean**2 + _EMPTY
        covariance = local_mean(moved * fixed) - mean * fixed_mean
        return float((covariance**2 / (variance * fixed_variance)).mean(dtype=np.float64))

    return correlation


def _best_whole_shift(fixed: Stack, moving: Stack, limit: int) -> NDArray[np.float64]:
    """Try all shifts by whole pixels: from more than a few pixels away, no descent finds the maximum."""
    correlation = _local_correlation(fixed)
    reach = range(-limit, limit + 1)
    shifts = [(down, along) for down in reach for along in reach]
    found = max(shifts, key=lambda shift: correlation(np.roll(moving, (-shift[0], -shift[1]), axis=(1, 2))))
    return np.array([0.0, *found])


def _maximise(fixed: Stack, moving: Stack, start: NDArray[np.float64], reach: float) -> NDArray[np.float64]:
    """Maximise the mean squared local correlation over (turn, rows, columns), each in pixels."""
    correlation = _local_correlation(fixed)
    spline = _spline(moving)
    result = optimize.minimize(
        lambda parameters: -correlation(_sampled(spline, _matrix(parameters, fixed.shape[1:]))),
        start,
        method="Powell",
        bounds=[(value - reach, value + reach) for value in start],
        options={"xtol": 0.01, "ftol": 1e-5},
    )
    return np.asarray(result.x)


def _matrix(parameters: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """4x4 matrix of a turn about the centre pixel, in pixels at two thirds of the radius, and a shift."""
    turn, down, along = parameters
    return rigid_in_plane(turn / (min(shape) / 3), (down, along), (shape[0] // 2, shape[1] // 2))


def _spline(volume: Stack) -> Stack:
    return np.stack([ndimage.spline_filter(image, order=3, output=np.float32) for image in volume])


def _sampled(spline: Stack, transform: NDArray[np.float64]) -> Stack:
    moved = np.empty_like(spline)
    for image, out in zip(spline, moved, strict=True):
        turn, shift = transform[1:3, 1:3], transform[1:3, 3]
        ndimage.affine_transform(image, turn, shift, output=out, order=3, mode="nearest", prefilter=False)
    return moved
