"""What the published methods do beyond the contract: losses, data consistency, attention orders, padding."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from data_prep.errors import BadInput
from data_prep.fourier import fft2c
from data_prep.measurement import Measurement, Truth, measure
from methods import blocks
from methods.contract import ReconstructionModel
from methods.manet.model import ChannelAttention, GuidedAttention, SpatialAttention
from methods.networks import reflected
from methods.registry import discover, load_builder
from methods.tiny import ODD, example


def build(method_id: str, shape: tuple[int, int] = (32, 32), **changes: Any) -> ReconstructionModel:
    folder = discover()[method_id.split("-")[0]]
    return load_builder(folder.default.folder)({**folder.method(method_id).parameters, **changes}, shape)


@pytest.fixture
def scan() -> tuple[Measurement, Truth]:
    generator = torch.Generator().manual_seed(1)
    target, auxiliary = torch.rand(2, 2, 24, 32, generator=generator)
    mask = torch.rand(1, 1, 32, generator=generator) < 0.5
    noise = 0.1 * torch.randn(2, 24, 32, dtype=torch.complex64, generator=generator)
    return measure(target, auxiliary, mask, noise)


def l1(values: Tensor, reference: Tensor) -> float:
    difference = values.detach().numpy() - reference.numpy()
    if np.iscomplexobj(difference):
        return float((np.abs(difference.real).mean() + np.abs(difference.imag).mean()) / 2)
    return float(np.abs(difference).mean())


@pytest.mark.parametrize(("alpha", "beta"), [(0.4, 0.6), (0.8, 0.2), (0.0, 1.0)])
def test_manet_loss_is_equation_6(scan: tuple[Measurement, Truth], alpha: float, beta: float) -> None:
    measurement, truth = scan
    model = build("manet", width=4, levels=2, alpha=alpha, beta=beta)
    output = model(measurement)
    extras = output.extras
    expected = alpha * (
        (1 - beta) * l1(extras["auxiliary_kspace"], measurement.auxiliary_kspace)
        + beta * l1(extras["kspace"], truth.kspace)
    ) + (1 - alpha) * (
        (1 - beta) * l1(extras["auxiliary"], measurement.auxiliary) + beta * l1(output.image, truth.image)
    )
    assert model.loss(output, truth, measurement).item() == pytest.approx(expected, rel=1e-5)


def test_manet_without_kspace_has_the_image_loss_alone(scan: tuple[Measurement, Truth]) -> None:
    measurement, truth = scan
    model = build("manet-no_kspace", width=4, levels=2)
    output = model(measurement)
    expected = 0.4 * l1(output.extras["auxiliary"], measurement.auxiliary) + 0.6 * l1(
        output.image, truth.image
    )
    assert model.loss(output, truth, measurement).item() == pytest.approx(expected, rel=1e-5)


def test_only_manet_without_kspace_computes_the_zero_filled_image(
    scan: tuple[Measurement, Truth], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, computed = Measurement.zero_filled, []
    monkeypatch.setattr(
        Measurement,
        "zero_filled",
        property(lambda measurement: (computed.append(0), real.fget(measurement))[1]),
    )
    for method, times in (("manet", 0), ("manet-no_kspace", 1)):
        computed.clear()
        build(method, width=4, levels=2)(scan[0])
        assert len(computed) == times


def test_manet_image_network_gets_the_predicted_kspaces_magnitudes(scan: tuple[Measurement, Truth]) -> None:
    measurement, _ = scan
    model = build("manet", width=4, levels=2).eval()
    seen: list[tuple[Tensor, Tensor]] = []
    model.image_network.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs))
    extras = model(measurement).extras
    ((auxiliary, target),) = seen
    for image, kspace in ((auxiliary, extras["auxiliary_kspace"]), (target, extras["kspace"])):
        centred = np.fft.ifft2(np.fft.ifftshift(kspace.detach().numpy(), axes=(1, 2)), norm="ortho")
        expected = np.abs(np.fft.fftshift(centred, axes=(1, 2)))
        np.testing.assert_allclose(image[:, 0].detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("loss", "power"), [("l1", 1), ("mse", 2)])
def test_xiang_loss_is_the_one_named(scan: tuple[Measurement, Truth], loss: str, power: int) -> None:
    measurement, truth = scan
    model = build("xiang", width=4, levels=2, loss=loss)
    output = model(measurement)
    expected = ((output.image - truth.image).abs() ** power).mean().item()
    assert model.loss(output, truth, measurement).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("recurrences", [1, 3])
def test_dudornet_sums_both_domains_over_all_steps(scan: tuple[Measurement, Truth], recurrences: int) -> None:
    measurement, truth = scan
    model = build("dudornet", features=4, recurrences=recurrences)
    output = model(measurement)
    image = torch.from_numpy(
        np.fft.fftshift(
            np.fft.ifft2(np.fft.ifftshift(truth.kspace.numpy(), axes=(1, 2)), norm="ortho"), axes=(1, 2)
        )
    )
    expected = sum(l1(step, image) for step in output.extras["images"])
    expected += sum(l1(step, truth.kspace) for step in output.extras["kspaces"])
    assert len(output.extras["images"]) == recurrences
    assert model.loss(output, truth, measurement).item() == pytest.approx(expected, rel=1e-5)


def test_dudornet_restores_what_was_measured_and_not_the_clean_kspace(
    scan: tuple[Measurement, Truth],
) -> None:
    measurement, truth = scan
    for image in build("dudornet", features=4, recurrences=2)(measurement).extras["images"]:
        kspace = fft2c(image.detach()) * measurement.mask
        torch.testing.assert_close(kspace, measurement.kspace, rtol=0, atol=1e-5)
        assert (kspace - truth.kspace * measurement.mask).abs().max() > 1e-2


def test_dudornet_steps_follow_the_published_recurrence(scan: tuple[Measurement, Truth]) -> None:
    measurement, _ = scan
    model = build("dudornet", features=4, recurrences=2)
    fourier = {"norm": "ortho", "dim": (-2, -1)}

    def transform(image: Tensor) -> Tensor:
        return torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(image, (-2, -1)), **fourier), (-2, -1))

    def back(kspace: Tensor) -> Tensor:
        return torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(kspace, (-2, -1)), **fourier), (-2, -1))

    def restore(network: nn.Module, values: Tensor, auxiliary: Tensor) -> Tensor:
        parts = (values.real, values.imag, auxiliary.real, auxiliary.imag)
        output = network(torch.stack(parts, dim=1))
        return torch.complex(output[:, 0], output[:, 1])

    def consistent(kspace: Tensor) -> Tensor:
        return kspace * ~measurement.mask + measurement.kspace

    image = back(measurement.kspace)
    auxiliary = torch.complex(measurement.auxiliary, torch.zeros_like(measurement.auxiliary))
    with torch.no_grad():
        for _ in range(2):
            predicted = restore(model.image_network, image, auxiliary)
            image = back(consistent(transform(predicted)))
            kspace = restore(model.kspace_network, transform(image), measurement.auxiliary_kspace)
            image = back(consistent(kspace))
        torch.testing.assert_close(model(measurement).image, image.abs(), rtol=0, atol=1e-5)


def test_dudornet_weights_start_normal() -> None:
    torch.manual_seed(0)
    model = build("dudornet")
    weights = torch.cat(
        [parameter.flatten() for name, parameter in model.named_parameters() if "weight" in name]
    )
    assert weights.std().item() == pytest.approx(0.02, rel=0.01)
    assert abs(weights.mean().item()) < 1e-4


def test_attention_orders_compose_as_their_names_say() -> None:
    torch.manual_seed(0)
    auxiliary, target = torch.rand(2, 2, 16, 8, 8)
    both = GuidedAttention(16, ("sc", "cs"))
    (spatial, channel), (channel_too, spatial_too) = both.branches
    assert isinstance(spatial, SpatialAttention)
    assert isinstance(channel, ChannelAttention)
    sc = channel(spatial(auxiliary))
    cs = spatial_too(channel_too(auxiliary))
    torch.testing.assert_close(both(auxiliary, target), target * (sc + cs) / 2 + target)
    assert not torch.allclose(sc, spatial(channel(auxiliary)))
    weights = [id(parameter) for parameter in both.parameters()]
    assert len(set(weights)) == 6


def test_fusion_stands_at_eight_places_of_each_network() -> None:
    model = build("manet", width=4)
    assert sum(isinstance(module, GuidedAttention) for module in model.kspace_network.modules()) == 8
    assert sum(isinstance(module, GuidedAttention) for module in model.image_network.modules()) == 8


@given(height=st.integers(1, 70), width=st.integers(1, 70), power=st.integers(0, 5), batch=st.integers(1, 2))
def test_padding_keeps_the_centre_and_is_undone_by_cropping(
    height: int, width: int, power: int, batch: int
) -> None:
    multiple = 2**power
    maps = torch.zeros(batch, 1, height, width)
    maps[..., height // 2, width // 2] = 1
    padded = blocks.pad_to_multiple(maps, multiple)
    assert padded.shape[-2] % multiple == padded.shape[-1] % multiple == 0
    assert padded.shape[-2] - height < multiple
    assert padded.shape[-1] - width < multiple
    assert padded[..., padded.shape[-2] // 2, padded.shape[-1] // 2].sum() == padded.sum() == batch
    assert torch.equal(blocks.crop_to(padded, (height, width)), maps)


def test_unet_drops_feature_maps_in_training_only(scan: tuple[Measurement, Truth]) -> None:
    measurement, _ = scan
    torch.manual_seed(0)
    model = build("unet", channels=4, pools=2, dropout=0.5)
    with torch.no_grad():
        assert not torch.equal(model(measurement).image, model(measurement).image)
        model.eval()
        assert torch.equal(model(measurement).image, model(measurement).image)


@pytest.mark.parametrize(
    ("method", "changes", "shape"),
    [
        ("unet", {"channels": 4}, (16, 32)),
        ("unet", {"channels": 4}, (63, 31)),
        ("xiang", {"width": 4}, (3, 17)),
        ("manet", {"width": 4}, (17, 3)),
        ("manet", {"width": 4}, (47, 31)),
        ("dudornet", {"features": 4}, (2, 3)),
    ],
)
def test_smallest_accepted_sides_train(method: str, changes: dict[str, Any], shape: tuple[int, int]) -> None:
    images = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
    measurement, truth = measure(images, images, torch.arange(shape[1]).remainder(2)[None, None] == 0)
    model = build(method, shape, **changes)
    output = model(measurement)
    model.loss(output, truth, measurement).backward()
    assert output.image.shape == (1, *shape)
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@pytest.mark.parametrize("shape", [(4, 6), (5, 6), (4, 7), (5, 7)])
def test_missing_lines_are_reflected_as_torch_pads_them(shape: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    # Sums of whole numbers do not depend on their order.
    seen = torch.arange(float(6 * shape[0] * shape[1])).reshape(2, 3, *shape)
    wanted = functional.pad(maps, (0, shape[1] - 6, 0, shape[0] - 4), mode="reflect")
    (back,) = torch.autograd.grad(wanted, maps, seen)
    found = reflected(maps, shape)
    assert torch.equal(found, wanted)
    assert torch.equal(torch.autograd.grad(found, maps, seen)[0], back)


# For which CUDA has no deterministic algorithm, by torch's documentation of `use_deterministic_algorithms`.
UNREPEATABLE = {
    "AdaptiveAvgPool2DBackward0",
    "AdaptiveMaxPool2DBackward0",
    "CumsumBackward0",
    "FractionalMaxPool2DBackward0",
    "GridSampler2DBackward0",
    "MaxUnpool2DBackward0",
    "MedianBackward0",
    "NllLoss2DBackward0",
    "PutBackward0",
    "ReflectionPad2DBackward0",
    "UpsampleBicubic2DBackward0",
    "UpsampleBilinear2DBackward0",
}


def operations(values: Tensor) -> set[str]:
    """Return the names of all operations that a backward pass goes through."""
    seen, ahead = set(), [values.grad_fn]
    while ahead:
        if (node := ahead.pop()) is not None and node not in seen:
            seen.add(node)
            ahead += [before for before, _ in node.next_functions]
    return {node.name() for node in seen}


TRAINED = [name for name, folder in discover().items() if folder.default.trainable]


@pytest.mark.parametrize(
    "method", [name if name == "unet" else pytest.param(name, marks=pytest.mark.long) for name in TRAINED]
)
def test_every_operation_of_a_step_has_a_deterministic_algorithm_on_a_gpu(method: str) -> None:
    default = discover()[method].default
    # Tensors without values take the ways of a GPU.
    measurement, truth = (
        type(of)(**{name: values.to("meta") for name, values in vars(of).items()}) for of in example(ODD)
    )
    with torch.device("meta"):
        model = load_builder(method)({**default.parameters, **default.small}, ODD)
    found = operations(model.loss(model(measurement), truth, measurement))
    assert "ConvolutionBackward0" in found
    assert not found & UNREPEATABLE


@pytest.mark.parametrize(
    ("method", "shape", "changes", "field"),
    [
        ("unet", (16, 16), {}, "pools"),
        ("unet", (64, 15), {}, "pools"),
        ("unet", (31, 31), {}, "pools"),
        ("unet", (64, 64), {"pools": 0}, "pools"),
        ("xiang", (64, 64), {"levels": 1}, "levels"),
        ("xiang", (64, 64), {"loss": "l2"}, "loss"),
        ("manet", (16, 12), {}, "levels"),
        ("manet", (64, 64), {"fusion": "none"}, "fusion"),
        ("manet", (64, 64), {"alpha": 1.5}, "alpha"),
        ("manet", (64, 64), {"beta": -0.1}, "beta"),
        ("dudornet", (64, 64), {"recurrences": 0}, "recurrences"),
        ("unet", (64, 64), {"dropout": 5.0}, "dropout"),
        ("unet", (64, 64), {"dropout": 1.0}, "dropout"),
        ("unet", (64, 64), {"dropout": -1.0}, "dropout"),
        ("dudornet", (64, 64), {"initial_std": -1.0}, "initial_std"),
        ("dudornet", (64, 64), {"initial_std": 0}, "initial_std"),
    ],
)
def test_impossible_parameters_are_refused_by_name(
    method: str, shape: tuple[int, int], changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(BadInput, match=rf"methods/{method}/method\.yaml .*: {field} is "):
        build(method, shape, **changes)
