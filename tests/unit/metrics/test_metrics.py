"""SSIM, PSNR and NMSE against scikit-image, against the definitions written out, and at their edges."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio, structural_similarity

from workflow.metrics import on_gpu as device_metrics
from workflow.metrics.volume import metrics_of, similarities, slice_metrics, volume_metrics


def pair(dtype: str = "float32", slices: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Smooth slices of very different brightness, and a noisy reconstruction with negative values."""
    draw = np.random.default_rng(3)
    target = uniform_filter(draw.gamma(2, 300, size=(slices, 40, 37)), size=(0, 3, 3))
    target *= np.linspace(0.2, 1, slices)[:, None, None]
    reconstruction = 0.97 * target + draw.normal(scale=60, size=target.shape)
    assert reconstruction.min() < 0
    return target.astype(dtype), reconstruction.astype(dtype)


def ssim_written_out(target: np.ndarray, other: np.ndarray, data_range: float) -> float:
    """Wang et al. 2004 with a flat 7 x 7 window and sample covariances, over windows inside the image."""
    x, y = (np.lib.stride_tricks.sliding_window_view(a, (7, 7)) for a in (target, other))
    mean_x, mean_y = x.mean((-2, -1)), y.mean((-2, -1))
    var_x, var_y = x.var((-2, -1), ddof=1), y.var((-2, -1), ddof=1)
    cov = ((x - mean_x[..., None, None]) * (y - mean_y[..., None, None])).sum((-2, -1)) / 48
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    top = (2 * mean_x * mean_y + c1) * (2 * cov + c2)
    return float((top / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_volume_convention_equals_scikit_image(dtype: str) -> None:
    target, reconstruction = pair(dtype)
    wide, other = target.astype(float), reconstruction.astype(float)
    got = volume_metrics(target, reconstruction)
    top = wide.max()
    similarity = [structural_similarity(t, r, data_range=top) for t, r in zip(wide, other, strict=True)]
    assert got["ssim"] == pytest.approx(np.mean(similarity), abs=1e-6)
    assert got["psnr"] == pytest.approx(peak_signal_noise_ratio(wide, other, data_range=top), abs=1e-6)
    assert got["nmse"] == pytest.approx(normalized_root_mse(wide, other) ** 2, abs=1e-6)


@pytest.mark.parametrize("shape", [(7, 7), (7, 31), (64, 64), (97, 130)])
def test_ssim_has_scikit_images_bits_under_every_range(shape: tuple[int, int]) -> None:
    draw = np.random.default_rng(4)
    target = draw.gamma(2, 300, size=shape)
    other = target + draw.normal(scale=100, size=shape)
    ranges = (float(target.max()), 1.0, 1e4)
    theirs = [float(structural_similarity(target, other, data_range=top)) for top in ranges]
    assert similarities(target, other, *ranges) == theirs


def test_volume_convention_equals_the_definitions() -> None:
    target, reconstruction = (a.astype(float) for a in pair())
    got = volume_metrics(target, reconstruction)
    v, w = target.ravel(), reconstruction.ravel()
    assert got["nmse"] == pytest.approx(np.linalg.norm(w - v) ** 2 / np.linalg.norm(v) ** 2, abs=1e-6)
    assert got["psnr"] == pytest.approx(
        10 * math.log10(v.max() ** 2 / ((w - v) @ (w - v) / v.size)), abs=1e-6
    )
    expected = np.mean([ssim_written_out(t, r, v.max()) for t, r in zip(target, reconstruction, strict=True)])
    assert got["ssim"] == pytest.approx(expected, abs=1e-6)


def test_slice_convention_is_the_volume_convention_of_single_slices() -> None:
    target, reconstruction = pair()
    got = slice_metrics(target, reconstruction)
    for i in range(len(target)):
        alone = volume_metrics(target[i : i + 1], reconstruction[i : i + 1])
        for name, value in alone.items():
            assert got[name][i] == pytest.approx(value, abs=1e-12)
    whole = volume_metrics(target, reconstruction)
    # The dim slices have a smaller range of their own, hence a lower PSNR than the volume's range gives.
    assert got["psnr"].mean() < whole["psnr"]


def test_a_known_error_has_the_known_psnr() -> None:
    target = np.full((1, 16, 16), 50.0)
    target[0, 3, 4] = 100
    got = volume_metrics(target, target + 1)
    assert got["psnr"] == pytest.approx(40)
    assert got["nmse"] == pytest.approx(256 / (255 * 50**2 + 100**2))


def test_neither_clamped_nor_rescaled() -> None:
    target, reconstruction = pair()
    doubled = volume_metrics(target, 2 * target)
    assert doubled["nmse"] == pytest.approx(1)
    clamped = volume_metrics(target, reconstruction.clip(0, target.max()))
    assert clamped["nmse"] < volume_metrics(target, reconstruction)["nmse"]


def test_a_common_unit_cancels() -> None:
    target, reconstruction = pair("float64")
    one, other = volume_metrics(target, reconstruction), volume_metrics(1e-4 * target, 1e-4 * reconstruction)
    assert one == pytest.approx(other)


def test_identical_images() -> None:
    target, _ = pair()
    assert volume_metrics(target, target) == {"ssim": pytest.approx(1), "psnr": math.inf, "nmse": 0}
    assert (slice_metrics(target, target)["psnr"] == math.inf).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_diverged_reconstruction_has_nan_metrics(bad: float) -> None:
    target, reconstruction = pair()
    reconstruction[1, 5, 5] = bad
    assert all(math.isnan(value) for value in volume_metrics(target, reconstruction).values())
    for values in slice_metrics(target, reconstruction).values():
        np.testing.assert_array_equal(np.isnan(values), [False, True, False, False])


def test_an_empty_slice_has_no_range_of_its_own() -> None:
    target, reconstruction = pair()
    target[0] = 0
    for values in slice_metrics(target, reconstruction).values():
        np.testing.assert_array_equal(np.isnan(values), [True, False, False, False])
    assert all(math.isfinite(value) for value in volume_metrics(target, reconstruction).values())


def test_arguments_are_left_alone() -> None:
    target, reconstruction = pair()
    before = target.copy(), reconstruction.copy()
    volume_metrics(target, reconstruction)
    slice_metrics(target, reconstruction)
    np.testing.assert_array_equal(target, before[0])
    np.testing.assert_array_equal(reconstruction, before[1])


def test_shapes_must_agree_and_the_target_must_be_finite() -> None:
    target, reconstruction = pair()
    with pytest.raises(ValueError, match="slice, height, width"):
        volume_metrics(target[0], reconstruction[0])
    with pytest.raises(ValueError, match="slice, height, width"):
        slice_metrics(target, reconstruction[:2])
    with pytest.raises(ValueError, match="target holds NaN"):
        volume_metrics(np.full_like(target, np.nan), reconstruction)
    with pytest.raises(ValueError, match="smaller than SSIM's 7 x 7 window"):
        metrics_of(target[:, :6], reconstruction[:, :6])


@pytest.mark.parametrize("case", ["plain", "diverged", "infinite", "empty slice", "empty", "equal"])
def test_the_devices_metrics_are_the_same(case: str) -> None:
    target, reconstruction = pair(slices=19)
    if case == "diverged":
        reconstruction[1, 5, 5], reconstruction[18, 2, 2] = np.inf, np.nan
    elif case == "infinite":
        reconstruction[1, 5, 5] = np.inf
    elif case == "empty slice":
        target[17] = 0
    elif case == "empty":
        target[:] = 0
    elif case == "equal":
        reconstruction = target.copy()
    slices, volume = metrics_of(target, reconstruction)
    on_device, of_volume = device_metrics.metrics_of(
        torch.from_numpy(target), torch.from_numpy(reconstruction)
    )
    for name, values in slices.items():
        np.testing.assert_allclose(on_device[name], values, rtol=0, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(of_volume[name], volume[name], rtol=0, atol=1e-9, err_msg=name)
