"""The transform is centred, unitary and the same in numpy and torch, for odd and even sizes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.fourier import fft2c, ifft2c

SHAPES = [(32, 32), (33, 33), (32, 45), (47, 64), (1, 5), (96, 96)]
sides = st.integers(1, 24)


def complex_images(shape: tuple[int, ...], seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.normal(size=shape) + 1j * draw.normal(size=shape)


def centred_dft(image: np.ndarray) -> np.ndarray:
    """The definition, written out as two matrix products with coordinates that are zero at n // 2."""

    def matrix(n: int) -> np.ndarray:
        k = np.arange(n) - n // 2
        return np.exp(-2j * np.pi * np.outer(k, k) / n) / np.sqrt(n)

    return matrix(image.shape[0]) @ image @ matrix(image.shape[1]).T


@given(sides, sides, st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_agrees_with_the_definition(height: int, width: int, seed: int) -> None:
    image = complex_images((height, width), seed)
    np.testing.assert_allclose(fft2c(image), centred_dft(image), atol=1e-10)
    np.testing.assert_allclose(fft2c(torch.from_numpy(image)).numpy(), centred_dft(image), atol=1e-10)


@given(sides, sides, st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_is_unitary(height: int, width: int, seed: int) -> None:
    x, y = complex_images((2, height, width), seed)
    np.testing.assert_allclose(ifft2c(fft2c(x)), x, atol=1e-10)
    np.testing.assert_allclose(fft2c(ifft2c(x)), x, atol=1e-10)
    assert np.linalg.norm(fft2c(x)) == pytest.approx(np.linalg.norm(x))
    # <F x, y> = <x, F^-1 y>: the inverse is the adjoint.
    assert np.vdot(y, fft2c(x)) == pytest.approx(np.vdot(ifft2c(y), x))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_constant_image_is_one_sample_at_the_centre(shape: tuple[int, int]) -> None:
    kspace = fft2c(np.ones(shape))
    expected = np.zeros(shape)
    expected[shape[0] // 2, shape[1] // 2] = np.sqrt(shape[0] * shape[1])
    np.testing.assert_allclose(kspace, expected, atol=1e-10)
    # And the other way round: a point in the image's centre has a flat, real spectrum.
    point = np.zeros(shape)
    point[shape[0] // 2, shape[1] // 2] = 1
    np.testing.assert_allclose(ifft2c(point), np.full(shape, 1 / np.sqrt(shape[0] * shape[1])), atol=1e-10)


@pytest.mark.parametrize("shape", [(96, 96), (97, 101)])
def test_single_precision_round_trip(shape: tuple[int, int]) -> None:
    image = torch.from_numpy(complex_images((2, *shape), 0)).to(torch.complex64)
    again = ifft2c(fft2c(image))
    assert again.dtype == torch.complex64
    assert (again - image).abs().max() / image.abs().max() < 1e-6


def test_leading_axes_are_left_alone() -> None:
    image = complex_images((3, 2, 9, 8), 1)
    separate = np.stack([[fft2c(one) for one in pair] for pair in image])
    np.testing.assert_allclose(fft2c(image), separate, atol=1e-12)
    np.testing.assert_allclose(fft2c(torch.from_numpy(image)).numpy(), separate, atol=1e-12)


def test_gradients_pass_through() -> None:
    image = torch.from_numpy(complex_images((4, 5), 2)).requires_grad_()
    assert torch.autograd.gradcheck(fft2c, image)
    assert torch.autograd.gradcheck(ifft2c, image)
