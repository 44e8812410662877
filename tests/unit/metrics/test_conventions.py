"""Metric conventions and HFEN against independent computations."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.signal import convolve2d
from skimage.metrics import structural_similarity

from workflow.metrics.conventions import audit, body_mask, gaussian_ssim, hfen, inside_body
from workflow.metrics.volume import slice_metrics, volume_metrics


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    """A volume of bright discs in noisy air, and a distorted copy."""
    generator = np.random.default_rng(3)
    y, x = np.mgrid[-1:1:40j, -1:1:36j]
    disc = ((x / 0.7) ** 2 + (y / 0.8) ** 2 < 1) * (100 + 60 * np.sin(7 * x) * np.cos(5 * y))
    target = np.stack([disc * (1 + 0.3 * i) for i in range(3)]) + generator.random((3, 40, 36))
    return target, np.abs(target + 8 * generator.standard_normal(target.shape))


def scores(target: np.ndarray, image: np.ndarray) -> dict[tuple[str, str], float]:
    return {(convention, metric): value for convention, metric, value in audit(target, image)}


def test_hfen_is_that_of_the_published_kernel(pair):
    target, image = pair
    # Ravishankar and Bresler (2011): a rotationally symmetric LoG, 15 x 15 pixels, sigma 1.5 pixels.
    y, x = np.mgrid[-7:8, -7:8].astype(float)
    bell = np.exp(-(x**2 + y**2) / (2 * 1.5**2))
    kernel = bell / bell.sum() * (x**2 + y**2 - 2 * 1.5**2) / 1.5**4
    true, error = (
        np.stack([convolve2d(part, kernel, mode="same") for part in volume])
        for volume in (target, image - target)
    )
    assert hfen(target, image) == pytest.approx(np.linalg.norm(error) / np.linalg.norm(true), rel=1e-10)


def test_the_benchmarks_own_conventions_are_its_own_metrics(pair):
    found = scores(*pair)
    for metric, value in volume_metrics(*pair).items():
        assert found["volume", metric] == value
    for metric in ("ssim", "psnr"):
        assert found["slice", metric] == pytest.approx(slice_metrics(*pair)[metric].mean(), rel=1e-12)


def test_peak_to_peak_changes_psnr_by_the_range_alone(pair):
    target, image = (volume + 50.0 for volume in pair)  # a floor that the range leaves out
    found = scores(target, image)
    gain = [20 * np.log10((t.max() - t.min()) / t.max()) for t in target]
    assert found["peak_to_peak", "psnr"] == pytest.approx(found["slice", "psnr"] + np.mean(gain), rel=1e-9)


def test_self_normalisation_forgives_a_wrong_intensity_and_the_others_do_not(pair):
    target, image = pair
    # Each slice has a maximum of its own.
    plain, brighter = scores(target, image), scores(target, np.array([2.0, 3.0, 4.0])[:, None, None] * image)
    for metric in ("ssim", "psnr"):
        own = plain["self_normalised", metric]
        assert brighter["self_normalised", metric] == pytest.approx(own, rel=1e-9)
        for convention in ("volume", "slice", "peak_to_peak", "body"):
            assert brighter[convention, metric] < plain[convention, metric]


def test_the_gaussian_window_is_scikit_images(pair):
    target, image = pair
    expected = [
        structural_similarity(
            t,
            r,
            data_range=target.max(),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            win_size=11,
        )
        for t, r in zip(target, image, strict=True)
    ]
    assert gaussian_ssim(target, image) == pytest.approx(np.mean(expected), rel=1e-12)


def test_the_body_is_the_disc_and_what_lies_outside_does_not_count(pair):
    target, image = pair
    target[:, 18:23, 16:21] = 0  # a void inside is of the body
    mask = body_mask(target)
    y, x = np.mgrid[-1:1:40j, -1:1:36j]
    disc = (x / 0.7) ** 2 + (y / 0.8) ** 2 < 1
    with_rim = ndimage.binary_dilation(disc, iterations=2)  # of the smoothing
    for part in mask:
        assert part[disc].all()
        assert not part[~with_rim].any()
    outside = np.where(mask, image, image + 30)
    assert inside_body(target, outside, mask)["psnr"] == inside_body(target, image, mask)["psnr"]
    assert scores(target, outside)["volume", "psnr"] < scores(target, image)["volume", "psnr"]


def test_a_body_that_fills_the_image_is_scored_as_the_volume_is(pair):
    found, whole = inside_body(*pair, np.ones(pair[0].shape, bool)), volume_metrics(*pair)
    assert found == {metric: pytest.approx(whole[metric], rel=1e-12) for metric in ("ssim", "psnr")}


def test_a_perfect_reconstruction_is_perfect_and_a_broken_one_has_no_numbers(pair):
    target, image = pair
    best = {"ssim": 1.0, "psnr": np.inf, "nmse": 0.0, "hfen": 0.0}
    for (_, metric), value in scores(target, target).items():
        assert value == pytest.approx(best[metric], abs=1e-12)
    for broken in (np.nan, np.inf):
        image[1, 5, 5] = broken
        assert np.isnan(list(scores(target, image).values())).all()


def test_a_slice_without_signal_is_left_out_of_the_means_over_slices(pair):
    target, image = pair
    empty = np.zeros_like(target[:1])
    found = scores(np.concatenate([target, empty]), np.concatenate([image, empty + 1]))
    for metric in ("ssim", "psnr"):
        assert found["slice", metric] == scores(target, image)["slice", metric]
