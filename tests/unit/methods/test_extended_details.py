"""What methods of the extended grid do beyond the contract: losses, data consistency, tokens, refusals."""

from typing import Any

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity as reference_ssim
from torch import Tensor, nn

from data_prep.errors import BadInput
from data_prep.fourier import fft2c, ifft2c
from data_prep.measurement import Measurement, Truth
from methods.contract import Reconstruction, ReconstructionModel
from methods.fsmnet.model import FSMNet, amplitude_and_phase
from methods.mcvarnet.model import UnrolledNetwork, half_inverse
from methods.mtrans.model import MTrans, to_maps, to_tokens
from methods.networks import standardise
from methods.registry import discover, load_builder
from methods.tiny import example, head_slices
from methods.varnet.model import Cascade, structural_similarity


def build(name: str, shape: tuple[int, int] = (32, 32), **changes: Any) -> ReconstructionModel:
    default = discover()[name].default
    torch.manual_seed(0)
    return load_builder(name)({**default.parameters, **default.small, **changes}, shape)


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("peak", [0.3, 1.0, 70.0])
def test_varnets_ssim_is_scikit_images_with_each_slices_maximum(peak):
    found, truth = peak * images(3, 24, 31), peak * images(3, 24, 31, seed=1)
    expected = [
        reference_ssim(one, other, data_range=other.max())
        for one, other in zip(found.numpy(), truth.numpy(), strict=True)
    ]
    np.testing.assert_allclose(structural_similarity(found, truth), expected, atol=1e-5)
    empty = torch.zeros(1, 24, 31)
    assert structural_similarity(empty, empty).item() == pytest.approx(1)


def test_varnets_cascade_pulls_towards_the_measured_samples_and_no_others():
    cascade = Cascade(4, 2, prior=False)
    assert cascade.weight is not None
    generator = torch.Generator().manual_seed(0)
    current, measured = torch.randn(2, 1, 16, 16, dtype=torch.complex64, generator=generator)
    mask = torch.arange(16)[None, None] % 3 == 0
    with torch.no_grad():
        with_pull = cascade(current, measured, mask, None)
        cascade.weight.zero_()
        difference = with_pull - cascade(current, measured, mask, None)
    torch.testing.assert_close(difference, (measured - current) * mask, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(32, 32), (33, 31), (20, 27)])
def test_the_released_inverse_is_zero_filling_with_half_of_the_mask_mirrored(shape):
    """The defect of MC-VarNet's program: what it gives is what another, smaller mask would give."""
    width = shape[1]
    image = head_slices(1, shape, torch.Generator().manual_seed(0))[0]
    frequency = torch.arange(width) - width // 2
    sampled = torch.rand(width, generator=torch.Generator().manual_seed(5)) < 0.4
    sampled[frequency.abs() < 2] = True
    kept = {int(f) % width for f in frequency[sampled] if f >= 0 or 2 * f == -width}
    mirrored = torch.tensor([int(f) % width in kept or int(-f) % width in kept for f in frequency])
    assert not torch.equal(mirrored, sampled)
    kspace = fft2c(image.to(torch.complex64))
    expected = ifft2c(kspace * mirrored)
    tolerance = 1e-5 * image.max().item()
    torch.testing.assert_close(half_inverse(kspace * sampled), expected.real, rtol=0, atol=tolerance)
    assert expected.imag.abs().max() < tolerance


def test_mcvarnet_restores_the_measured_kspace_noise_included():
    measurement, truth = example()
    network = UnrolledNetwork(4, 4, "complex")
    maps = torch.randn(2, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    real, imaginary = network.consistent(maps, measurement.kspace, measurement.mask).chunk(2, dim=1)
    kspace = fft2c(torch.complex(real, imaginary))
    before = fft2c(torch.complex(*maps.chunk(2, dim=1)))
    mask = measurement.mask[:, None].expand_as(kspace)
    measured = measurement.kspace[:, None].expand_as(kspace)
    torch.testing.assert_close(kspace[mask], measured[mask], rtol=0, atol=1e-5)
    torch.testing.assert_close(kspace[~mask], before[~mask], rtol=0, atol=1e-5)
    assert (kspace[mask] - truth.kspace[:, None].expand_as(kspace)[mask]).abs().max() > 1e-2


class Times(nn.Module):
    """A network that multiplies."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, maps: Tensor) -> Tensor:
        return self.factor * maps


def test_mcvarnet_takes_every_right_hand_side_from_the_iteration_before():
    """With networks that multiply and nothing measured, a pixel follows the README's row ``iteration``."""
    network = UnrolledNetwork(2, 6, "real")
    names = (
        "start_target",
        "start_common",
        "encode_target",
        "encode_common",
        "decode_target",
        "denoise_target",
    )
    names += ("decode_common", "update_common", "denoise_common", "denoise_unique")
    ux, uc, ex, ec, dx, vx, dc, t, vc, vu = factors = (0.9, 0.7, 1.1, 0.8, 1.3, 0.6, 0.5, 0.4, 1.2, 0.3)
    for name, factor in zip(names, factors, strict=True):
        setattr(network, name, Times(factor))
    network.last = nn.Identity()
    target, reference = torch.full((1, 1, 4, 4), 2.0), torch.full((1, 1, 4, 4), 3.0)
    nothing = torch.zeros(1, 4, 4)
    found = network(target, reference, nothing.to(torch.complex64), nothing.bool())

    t1 = 3.0
    x, c = ux * 2.0, uc * t1
    u = t1 - c
    p, q = c, u
    for _ in range(6):
        x, c, u = (
            x - 0.1 * (dx * (ex * x - ec * c) + vx * x),
            t * (t1 - u + dc * ex * x + p),
            (t1 + q - c) / 2,
        )
        p, q = vc * c, vu * u
    torch.testing.assert_close(found, torch.full_like(found, x))


def test_the_phase_of_a_real_coefficient_is_not_decided_by_rounding():
    image = images(1, 12, 10)
    _, phase = amplitude_and_phase(-image)
    _, nudged = amplitude_and_phase(-image * (1 + 1e-7))
    assert phase[0, 0, 0].item() == pytest.approx(np.pi)
    corners = [(row, column) for row in (0, 6) for column in (0, 5)]
    assert all(phase[0, row, column] == nudged[0, row, column] for row, column in corners)


def test_a_token_lists_its_rows_columns_and_channels():
    maps = images(2, 3, 8, 12)
    tokens = to_tokens(maps, 4)
    assert tokens.shape == (2, 6, 48)
    # The fifth patch is the middle one of the second row.
    patch = maps[0, :, 4:8, 4:8].permute(1, 2, 0).flatten()
    assert torch.equal(tokens[0, 4], patch)
    assert torch.equal(to_maps(tokens, 4, (8, 12)), maps)


def test_mtrans_refuses_images_of_another_shape():
    model = build("mtrans", (32, 32))
    with pytest.raises(ValueError, match=r"built for images of \(32, 32\); these are \(45, 37\)"):
        model(example((45, 37))[0])


@pytest.mark.parametrize(
    ("method", "shape", "changes", "field"),
    [
        ("unet2", (16, 16), {"pools": 4}, "pools"),
        ("varnet", (32, 32), {"cascades": 0}, "cascades"),
        ("varnet", (32, 32), {"loss": "mse"}, "loss"),
        ("varnet", (6, 32), {}, "loss"),
        ("varnet", (8, 8), {"pools": 3}, "pools"),
        ("mcvarnet", (32, 32), {"features": 3}, "features"),
        ("mcvarnet", (32, 32), {"iterations": 3}, "iterations"),
        ("mcvarnet", (32, 32), {"spectrum": "quarter"}, "spectrum"),
        ("fsmnet", (32, 32), {"features": 10}, "features"),
        ("fsmnet", (32, 32), {"features": 4}, "features"),
        ("mtrans", (32, 32), {"auxiliary_patch": 6}, "auxiliary_patch"),
        ("mtrans", (32, 32), {"heads": 5}, "heads"),
        ("unet2", (32, 32), {"dropout": 5.0}, "dropout"),
        ("unet2", (32, 32), {"dropout": -1.0}, "dropout"),
        ("cs", (32, 24), {"transform": "wavelet", "levels": 7}, "levels"),
    ],
)
def test_impossible_parameters_are_refused_by_name(method, shape, changes, field):
    with pytest.raises(BadInput, match=rf"methods/{method}/method\.yaml .*: {field} is "):
        build(method, shape, **changes)


def test_the_losses_of_mtrans_and_fsmnet_weigh_their_outputs_as_released():
    auxiliary, truth, one, other = images(4, 2, 1, 8, 8, seed=3)
    complex_zero = torch.zeros((2, 8, 8), dtype=torch.complex64)
    mask = torch.ones((1, 8, 8), dtype=torch.bool)
    measurement = Measurement(complex_zero, mask, auxiliary[:, 0], complex_zero, torch.ones(2))
    units = {"mean": torch.full((2, 1, 1, 1), 0.2), "std": torch.full((2, 1, 1, 1), 0.5)}
    wanted, seen = (truth - 0.2) / 0.5, Truth(truth[:, 0], complex_zero)
    reconstruction = Reconstruction(one[:, 0], {"target": one, "auxiliary": other, **units})
    own = (one - wanted).abs().mean() + (other - standardise(auxiliary)[0]).abs().mean()
    torch.testing.assert_close(MTrans.loss(None, reconstruction, seen, measurement), own)
    reconstruction = Reconstruction(one[:, 0], {"spatial": one, "frequency": other, **units})
    spectra = zip(amplitude_and_phase(other), amplitude_and_phase(wanted), strict=True)
    own = (one - wanted).abs().mean() + (other - wanted).abs().mean()
    own = own + 0.01 * sum((found - true).abs().mean() for found, true in spectra)
    torch.testing.assert_close(FSMNet.loss(None, reconstruction, seen, measurement), own)
