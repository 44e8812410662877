"""Noise has the stated strength, and in evaluation depends on nothing but its seed."""

import math

import numpy as np
import pytest
import torch

from data_prep.fourier import ifft2c
from data_prep.undersample.noise import evaluation_noise, noise_std, training_noise

SIDE = 256


def targets() -> torch.Tensor:
    """Two slices of mean intensity 200 and 50."""
    ramp = torch.linspace(0, 2, SIDE).expand(2, SIDE, SIDE)
    return ramp * torch.tensor([200.0, 50.0])[:, None, None]


def test_std_is_a_share_of_each_slices_mean_magnitude() -> None:
    std = noise_std(targets(), 0.1)
    assert std.dtype == torch.float32
    torch.testing.assert_close(std, torch.tensor([20.0, 5.0]))
    turned = targets() * torch.exp(torch.tensor(2j))
    torch.testing.assert_close(noise_std(turned, 0.1), std)


@pytest.mark.parametrize("kind", ["evaluation", "training"])
def test_image_domain_std_per_part_is_a_tenth_of_the_mean(kind: str) -> None:
    std = noise_std(targets(), 0.1)
    if kind == "evaluation":
        noise = evaluation_noise(std, (SIDE, SIDE), [11, 12], "cpu")
    else:
        noise = training_noise(std, (SIDE, SIDE), torch.Generator().manual_seed(5))
    assert noise.dtype == torch.complex64
    image = ifft2c(noise)
    # The standard error of a standard deviation over n samples is sigma / sqrt(2 n); allow five of them.
    allowed = 5 / math.sqrt(2 * SIDE * SIDE)
    for one, expected in zip(image, (20.0, 5.0), strict=True):
        for part in (one.real, one.imag):
            assert float(part.std()) == pytest.approx(expected, rel=allowed)
            assert abs(float(part.mean())) < 5 * expected / SIDE
        correlation = np.corrcoef(one.real.numpy().ravel(), one.imag.numpy().ravel())[0, 1]
        assert abs(correlation) < 5 / SIDE


def test_evaluation_noise_does_not_depend_on_the_batch() -> None:
    std = torch.tensor([1.0, 2.0, 3.0])
    together = evaluation_noise(std, (40, 33), [7, 8, 9], "cpu")
    backwards = evaluation_noise(std.flip(0), (40, 33), [9, 8, 7], "cpu").flip(0)
    alone = torch.cat([evaluation_noise(std[i : i + 1], (40, 33), [7 + i], "cpu") for i in range(3)])
    assert torch.equal(together, backwards)
    assert torch.equal(together, alone)


def test_std_does_not_depend_on_the_batch() -> None:
    target = torch.rand((16, 65, 77), generator=torch.Generator().manual_seed(0)) * 1000
    alone = torch.cat([noise_std(target[i : i + 1], 0.1) for i in range(16)])
    assert torch.equal(noise_std(target, 0.1), alone)


def test_evaluation_noise_leaves_and_ignores_the_global_generator() -> None:
    std = torch.ones(1)
    torch.manual_seed(1)
    first = evaluation_noise(std, (8, 8), [3], "cpu")
    following = torch.rand(4)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(4), following)
    assert torch.equal(evaluation_noise(std, (8, 8), [3], "cpu"), first)


def test_seeds_make_the_difference() -> None:
    noise = evaluation_noise(torch.ones(3), (16, 16), [3, 4, 3], "cpu")
    assert torch.equal(noise[0], noise[2])
    assert not torch.equal(noise[0], noise[1])


def test_training_noise_is_fresh_and_follows_its_generator() -> None:
    std = torch.ones(2)
    generator = torch.Generator().manual_seed(1)
    first, second = (training_noise(std, (16, 16), generator) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(training_noise(std, (16, 16), torch.Generator().manual_seed(1)), first)


def test_no_level_no_noise() -> None:
    assert not evaluation_noise(noise_std(targets(), 0.0), (SIDE, SIDE), [1, 2], "cpu").any()


def test_every_slice_needs_a_seed() -> None:
    with pytest.raises(ValueError, match="1 seeds for 2 slices"):
        evaluation_noise(torch.ones(2), (8, 8), [1], "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_evaluation_noise_is_the_same_on_a_gpu() -> None:
    on_gpu = evaluation_noise(noise_std(targets().cuda(), 0.1), (SIDE, SIDE), [11, 12], "cuda")
    on_cpu = evaluation_noise(noise_std(targets(), 0.1), (SIDE, SIDE), [11, 12], "cpu")
    assert on_gpu.is_cuda
    assert torch.equal(on_gpu.cpu(), on_cpu)
