"""A measurement holds what the scanner gives and nothing of what it did not sample."""

import numpy as np
import pytest
import torch
from torch import Tensor

from data_prep.fourier import fft2c, ifft2c
from data_prep.measurement import Measurement, measure

SHAPE = (3, 24, 27)


def slices(seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(SHAPE, generator=generator, dtype=torch.float32).to(dtype) * 700 + 20


def half_mask(seed: int = 1) -> Tensor:
    mask = torch.rand(SHAPE[1:], generator=torch.Generator().manual_seed(seed)) < 0.5
    mask[SHAPE[1] // 2, SHAPE[2] // 2] = True
    return mask[None]


def assert_same(one: Measurement, other: Measurement, tolerance: float = 2e-6) -> None:
    for name in ("kspace", "mask", "auxiliary", "auxiliary_kspace", "scale"):
        torch.testing.assert_close(
            getattr(one, name), getattr(other, name), rtol=tolerance, atol=tolerance, msg=name
        )


def test_unsampled_kspace_never_reaches_the_measurement() -> None:
    target, mask = slices().to(torch.complex64), half_mask()
    hidden = fft2c(slices(5).to(torch.complex64)) * ~mask
    other = ifft2c(fft2c(target) + hidden)
    assert (other - target).abs().max() > 1
    first, truth = measure(target, slices(2), mask)
    second, other_truth = measure(other, slices(2), mask)
    assert_same(first, second)
    assert (truth.kspace - other_truth.kspace).abs().max() > 0.01


def test_noise_outside_the_mask_never_reaches_the_measurement() -> None:
    target, mask = slices(), half_mask()
    noise = torch.randn(SHAPE, dtype=torch.complex64, generator=torch.Generator().manual_seed(3))
    first, _ = measure(target, slices(2), mask, noise)
    second, _ = measure(target, slices(2), mask, torch.where(mask, noise, 1e4))
    for name in ("kspace", "scale"):
        torch.testing.assert_close(getattr(first, name), getattr(second, name), rtol=0, atol=0)


def test_follows_the_equation() -> None:
    """x_u = F^-1 (M (F x + n)), divided by its own largest magnitude."""
    target, mask = slices(), half_mask()
    noise = 30 * torch.randn(SHAPE, dtype=torch.complex64, generator=torch.Generator().manual_seed(3))
    measurement, truth = measure(target, slices(2), mask, noise)
    kspace = np.fft.fftshift(
        np.fft.fft2(np.fft.ifftshift(target.double().numpy(), axes=(1, 2)), norm="ortho"), axes=(1, 2)
    )
    undersampled = mask.numpy() * (kspace + noise.numpy())
    zero_filled = np.abs(np.fft.ifft2(np.fft.ifftshift(undersampled, axes=(1, 2)), norm="ortho"))
    scale = zero_filled.max(axis=(1, 2))
    np.testing.assert_allclose(measurement.scale, scale, rtol=1e-5)
    np.testing.assert_allclose(measurement.kspace, undersampled / scale[:, None, None], atol=1e-5)
    np.testing.assert_allclose(truth.kspace, kspace / scale[:, None, None], atol=1e-4)
    np.testing.assert_allclose(truth.image, target.numpy() / scale[:, None, None], rtol=1e-5)
    assert not measurement.kspace[~mask.expand(SHAPE)].any()


def test_scale_normalises_the_zero_filled_image_and_is_undone_exactly() -> None:
    target = slices()
    measurement, truth = measure(target, slices(2), half_mask())
    np.testing.assert_allclose(measurement.zero_filled.amax(dim=(1, 2)), 1, rtol=1e-5)
    torch.testing.assert_close(truth.image * measurement.scale[:, None, None], target)


def test_a_louder_scanner_gives_the_same_normalised_measurement() -> None:
    target, auxiliary, mask = slices(), slices(2), half_mask()
    quiet, quiet_truth = measure(target, auxiliary, mask)
    loud, loud_truth = measure(1000 * target, 0.01 * auxiliary, mask)
    torch.testing.assert_close(loud.scale, 1000 * quiet.scale)
    torch.testing.assert_close(loud.kspace, quiet.kspace, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(loud.auxiliary, quiet.auxiliary)
    torch.testing.assert_close(loud_truth.image, quiet_truth.image)


def test_slices_do_not_depend_on_their_batch() -> None:
    target, auxiliary, mask = slices(), slices(2), half_mask()
    together, _ = measure(target, auxiliary, mask)
    alone, _ = measure(target[1:2], auxiliary[1:2], mask)
    torch.testing.assert_close(together.kspace[1:2], alone.kspace)
    torch.testing.assert_close(together.scale[1:2], alone.scale)


def test_auxiliary_is_fully_sampled_with_maximum_one() -> None:
    measurement, _ = measure(slices(), slices(2), half_mask())
    np.testing.assert_array_equal(measurement.auxiliary.amax(dim=(1, 2)), 1)
    image = ifft2c(measurement.auxiliary_kspace)
    np.testing.assert_allclose(image.real, measurement.auxiliary, atol=1e-6)
    assert image.imag.abs().max() < 1e-6


def test_complex_targets_keep_their_phase_in_kspace() -> None:
    phase = torch.exp(1j * torch.linspace(0, 3, SHAPE[2]))
    target = slices().to(torch.complex64) * phase
    measurement, truth = measure(target, slices(2), torch.ones((1, 1, SHAPE[2]), dtype=torch.bool))
    per_slice = measurement.scale[:, None, None]
    torch.testing.assert_close(ifft2c(measurement.kspace) * per_slice, target, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(truth.image * per_slice, target.abs())


@pytest.mark.parametrize("shape", [(1, 1, 27), (1, 24, 27), (3, 1, 27), (3, 24, 27)])
def test_masks_broadcast(shape: tuple[int, int, int]) -> None:
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(4)) < 0.6
    broadcast, _ = measure(slices(), slices(2), mask)
    full, _ = measure(slices(), slices(2), mask.expand(SHAPE))
    torch.testing.assert_close(broadcast.kspace, full.kspace)


def test_an_empty_slice_stays_zero() -> None:
    empty = torch.zeros(SHAPE)
    measurement, truth = measure(empty, empty, half_mask())
    for values in (measurement.kspace, measurement.auxiliary, truth.image, measurement.zero_filled):
        assert not values.any()
    np.testing.assert_array_equal(measurement.scale, 1)
