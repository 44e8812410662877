"""Compressed sensing against PyWavelets, numpy and the optimality of what it returns."""

from dataclasses import replace

import numpy as np
import pytest
import pywt
import torch
from torch import Tensor

from data_prep.errors import BadInput
from data_prep.fourier import fft2c, ifft2c
from data_prep.measurement import Measurement
from methods.cs.model import (
    CompressedSensing,
    analysis_matrix,
    gradient,
    gradient_adjoint,
    gradient_spectrum,
    shifts,
    shrink_details,
    total_variation,
)
from methods.registry import discover, load_builder
from methods.tiny import example


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("side", [2, 4, 8, 16, 64])
def test_one_level_is_pywavelets_periodization(side):
    values = np.random.default_rng(side).normal(size=side)
    low, high = pywt.dwt(values, "db4", "periodization")
    found = analysis_matrix(side).real.numpy() @ values
    np.testing.assert_allclose(found, np.concatenate((low, high)), atol=1e-6)
    np.testing.assert_allclose(analysis_matrix(side) @ analysis_matrix(side).mT, np.eye(side), atol=1e-6)


@pytest.mark.parametrize(("levels", "shape"), [(1, (16, 24)), (3, (32, 16)), (5, (64, 32))])
def test_soft_thresholding_is_pywavelets_own(levels, shape):
    image = noise(1, *shape)
    coarse, *details = pywt.wavedec2(image[0].numpy(), "db4", "periodization", levels)
    details = [tuple(pywt.threshold(band, 0.4, "soft") for band in level) for level in details]
    expected = pywt.waverec2([coarse, *details], "db4", "periodization")
    np.testing.assert_allclose(shrink_details(image, 0.4, levels)[0], expected, atol=2e-5)


@pytest.mark.parametrize("shape", [(8, 6), (7, 9)])
def test_the_gradients_adjoint_and_spectrum_are_its_own(shape):
    image, field = noise(1, *shape), noise(2, 1, *shape, seed=1)
    left = torch.vdot(gradient(image).flatten(), field.flatten())
    right = torch.vdot(image.flatten(), gradient_adjoint(field).flatten())
    torch.testing.assert_close(left, right)
    twice = fft2c(gradient_adjoint(gradient(image)))
    torch.testing.assert_close(twice, gradient_spectrum(*shape) * fft2c(image), rtol=1e-4, atol=1e-4)


def objective(image: Tensor, measurement: Measurement, weight: float) -> float:
    residual = (fft2c(image) * measurement.mask - measurement.kspace).abs().square().sum() / 2
    return float(residual + weight * torch.linalg.vector_norm(gradient(image), dim=0).sum())


def test_total_variation_reaches_the_minimum_of_its_objective():
    measurement, _ = example((32, 32), batch=1)
    weight = 0.01
    image = total_variation(measurement, weight, 1000)
    reached = objective(image, measurement, weight)
    assert reached < 0.9 * objective(ifft2c(measurement.kspace), measurement, weight)
    # Any random change is worse than nearly any image; what minimises for another weight is a near rival.
    for factor in (0.5, 0.8, 1.25, 2):
        assert objective(total_variation(measurement, factor * weight, 300), measurement, weight) > reached
    # A hundred iterations, the default, are close to that.
    assert objective(total_variation(measurement, weight, 100), measurement, weight) < 1.02 * reached


@pytest.mark.parametrize("transform", ["tv", "wavelet"])
def test_it_improves_on_zero_filling_and_a_large_weight_flattens(transform):
    measurement, truth = example((64, 64))

    def error(image: Tensor) -> float:
        return float((image - truth.image).square().mean())

    found = CompressedSensing(transform, 0.003, 100, 5)(measurement).image
    assert error(found) < 0.9 * error(measurement.zero_filled)
    flat = CompressedSensing(transform, 30.0, 100, 5)(measurement).image
    assert flat.diff(dim=-1).abs().mean() < 0.2 * measurement.zero_filled.diff(dim=-1).abs().mean()


@pytest.mark.parametrize("transform", ["tv", "wavelet"])
def test_everything_sampled_and_almost_no_weight_gives_the_image_back(transform):
    measurement, _ = example((32, 32))
    kspace = fft2c(noise(2, 32, 32))
    full = replace(measurement, kspace=kspace, mask=torch.ones(1, 1, 32, dtype=torch.bool))
    found = CompressedSensing(transform, 1e-6, 30, 3)(full).image
    torch.testing.assert_close(found, ifft2c(kspace).abs(), rtol=0, atol=1e-4)


def test_a_device_gets_the_wavelet_matrix_once():
    there = torch.device("meta")
    assert analysis_matrix(12, there).device == there
    assert analysis_matrix(12, there) is analysis_matrix(12, there)
    assert analysis_matrix(12).device.type == "cpu"


def test_shifts_are_the_same_at_every_call_and_not_one_shift():
    assert shifts(50) == shifts(50)
    assert len(set(shifts(50))) > 20


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("transform", ["tv", "wavelet"])
def test_a_gpu_gives_the_same_image(transform):
    measurement, _ = example((45, 37))
    on_gpu = Measurement(**{name: value.cuda() for name, value in vars(measurement).items()})
    model = CompressedSensing(transform, 0.003, 50, 3)
    torch.testing.assert_close(model(on_gpu).image.cpu(), model(measurement).image, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"transform": "dct"}, "transform"), ({"weight": 0}, "weight"), ({"iterations": 0}, "iterations")],
)
def test_impossible_parameters_are_refused_by_name(changes, field):
    with pytest.raises(BadInput, match=rf"methods/cs/method\.yaml .*: {field} is "):
        load_builder("cs")({**discover()["cs"].default.parameters, **changes}, (32, 32))
