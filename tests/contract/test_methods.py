"""What every method folder promises, variants included: a new folder is tested by existing.

Networks are built small through the parameter names that the folders share (``width``, ``levels``, ...);
a method without such a name is tested at its defaults.
"""

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from data_prep.fourier import fft2c, ifft2c
from data_prep.measurement import Measurement, Truth, measure
from methods.contract import Reconstruction, ReconstructionModel
from methods.registry import Method, discover, load_builder

SMALL = {"width": 4, "channels": 4, "features": 4, "levels": 2, "pools": 2, "recurrences": 2}
METHODS: dict[str, Method] = {
    method.id: method
    for folder in discover().values()
    for method in (
        folder.default,
        *(folder.method(f"{folder.default.id}-{variant}") for variant in folder.variants),
    )
}
TRAINABLE = [name for name, method in METHODS.items() if method.trainable]
EVEN, ODD = (32, 32), (45, 37)

every_method = pytest.mark.parametrize("name", METHODS)
every_trainable_method = pytest.mark.parametrize("name", TRAINABLE)
every_geometry = pytest.mark.parametrize(
    ("shape", "pattern"),
    [(EVEN, "1d"), (EVEN, "2d"), (ODD, "1d"), (ODD, "2d")],
    ids=["even-1d", "even-2d", "odd-1d", "odd-2d"],
)


def build_small(name: str, shape: tuple[int, int], seed: int = 0) -> ReconstructionModel:
    method = METHODS[name]
    params = {key: SMALL.get(key, value) for key, value in method.parameters.items()}
    torch.manual_seed(seed)
    return load_builder(method.folder)(params, shape)


def blobs(batch: int, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Smooth non-negative images (batch, height, width)."""
    coarse = torch.rand(batch, 1, 6, 6, generator=generator)
    return torch.nn.functional.interpolate(coarse, shape, mode="bicubic")[:, 0].clamp(min=0)


def sampling(pattern: str, batch: int, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """1D: columns, another draw for each slice; 2D: points, one mask for all slices; both with a centre."""
    height, width = shape
    if pattern == "1d":
        mask = torch.rand(batch, 1, width, generator=generator) < 0.3
        mask[:, :, width // 2 - 2 : width // 2 + 2] = True
        return mask
    mask = torch.rand(1, height, width, generator=generator) < 0.3
    mask[:, height // 2 - 2 : height // 2 + 2, width // 2 - 2 : width // 2 + 2] = True
    return mask


def example(
    shape: tuple[int, int] = EVEN, pattern: str = "1d", batch: int = 2, seed: int = 0
) -> tuple[Measurement, Truth]:
    generator = torch.Generator().manual_seed(seed)
    target, auxiliary = blobs(batch, shape, generator), 500 * blobs(batch, shape, generator)
    noise = 0.02 * torch.randn(batch, *shape, dtype=torch.complex64, generator=generator)
    return measure(target, auxiliary, sampling(pattern, batch, shape, generator), noise)


def step(model: ReconstructionModel, measurement: Measurement, truth: Truth) -> tuple[Reconstruction, Tensor]:
    reconstruction = model(measurement)
    loss = model.loss(reconstruction, truth, measurement)
    if loss.requires_grad:
        loss.backward()
    return reconstruction, loss.detach()


def train(name: str, model: ReconstructionModel, steps: int) -> list[float]:
    """Losses of some steps on one batch with the method's own optimiser."""
    options: dict[str, Any] = {key: value for key, value in METHODS[name].optimiser.items() if key != "name"}
    optimiser = {"adam": torch.optim.Adam}[METHODS[name].optimiser["name"]](model.parameters(), **options)
    measurement, truth = example()
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        losses.append(step(model, measurement, truth)[1].item())
        optimiser.step()
    return losses


def assert_finite(model: ReconstructionModel, reconstruction: Reconstruction, loss: Tensor) -> None:
    assert torch.isfinite(reconstruction.image).all()
    assert torch.isfinite(loss)
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name


@every_method
@every_geometry
def test_output_has_the_shape_of_the_target_and_is_finite(
    name: str, shape: tuple[int, int], pattern: str
) -> None:
    measurement, truth = example(shape, pattern)
    model = build_small(name, shape)
    reconstruction, loss = step(model, measurement, truth)
    assert reconstruction.image.shape == truth.image.shape
    assert reconstruction.image.dtype == torch.float32
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    assert loss > 0
    assert_finite(model, reconstruction, loss)


@every_method
def test_a_batch_of_one_trains(name: str) -> None:
    measurement, truth = example(ODD, "2d", batch=1)
    model = build_small(name, ODD)
    assert_finite(model, *step(model, measurement, truth))


@every_trainable_method
def test_gradients_reach_every_parameter(name: str) -> None:
    # A ReLU may be silent for one initialisation (an attention of one hidden channel often is), so
    # several are tried. Batch norm cancels a bias just before it in training; with its running
    # statistics (evaluation mode) that bias counts as well.
    measurement, truth = example()
    untouched = {parameter_name for parameter_name, _ in build_small(name, EVEN).named_parameters()}
    seed = 0
    while untouched and seed < 12:
        model = build_small(name, EVEN, seed).eval()
        step(model, measurement, truth)
        untouched -= {
            parameter_name
            for parameter_name, parameter in model.named_parameters()
            if parameter.grad is not None and parameter.grad.any()
        }
        seed += 1
    assert not untouched


@every_method
def test_the_seed_decides_everything(name: str) -> None:
    measurement, truth = example()

    def trained_once(seed: int) -> Tensor:
        model = build_small(name, EVEN, seed)
        if METHODS[name].trainable:
            train(name, model, 2)
        return step(model, measurement, truth)[0].image

    first = trained_once(0)
    assert torch.equal(trained_once(0), first)
    assert torch.equal(trained_once(1), first) == (not METHODS[name].trainable)


@every_trainable_method
def test_the_loss_falls_on_one_batch(name: str) -> None:
    losses = train(name, build_small(name, EVEN), 15)
    assert min(losses[-3:]) < 0.95 * losses[0]


@every_method
def test_a_saved_state_gives_the_same_reconstruction(name: str) -> None:
    measurement, _ = example()
    model = build_small(name, EVEN)
    if METHODS[name].trainable:
        train(name, model, 2)
    restored = build_small(name, EVEN, seed=1)
    restored.load_state_dict(copy.deepcopy(model.state_dict()), strict=True)
    with torch.no_grad():
        assert torch.equal(restored.eval()(measurement).image, model.eval()(measurement).image)


@every_method
@pytest.mark.parametrize(
    ("mode", "shape"),
    [("train", EVEN), ("train", ODD), ("eval", ODD)],
    ids=["train-even", "train-odd", "eval-odd"],
)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_images_stay_finite(name: str, mode: str, value: float, shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.full((2, *shape), value)
    measurement, truth = measure(images, images, sampling("1d", 2, shape, generator))
    model = build_small(name, shape).train(mode == "train")
    assert_finite(model, *step(model, measurement, truth))


@every_method
def test_slices_of_a_batch_do_not_influence_each_other(name: str) -> None:
    measurement, _ = example(ODD, "1d", batch=3)
    alone = Measurement(
        kspace=measurement.kspace[1:2],
        mask=measurement.mask[1:2],
        auxiliary=measurement.auxiliary[1:2],
        auxiliary_kspace=measurement.auxiliary_kspace[1:2],
        scale=measurement.scale[1:2],
    )
    model = build_small(name, ODD).eval()
    with torch.no_grad():
        together = model(measurement).image[1:2]
        torch.testing.assert_close(model(alone).image, together, rtol=0, atol=1e-4)


def measured(kspace: Tensor, auxiliary: Tensor, mask: Tensor) -> tuple[Measurement, Truth]:
    """Measure a given k-space to the bit: as the 'noise' of an empty image, for M (F 0 + n) is M n."""
    measurement, _ = measure(torch.zeros(auxiliary.shape), auxiliary, mask, kspace)
    normalised = kspace / measurement.scale[:, None, None]
    return measurement, Truth(image=ifft2c(normalised).abs(), kspace=normalised)


@every_method
@pytest.mark.parametrize(("shape", "pattern"), [(EVEN, "1d"), (ODD, "2d")], ids=["even-1d", "odd-2d"])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_truth_and_unsampled_kspace_have_no_way_in(
    name: str, shape: tuple[int, int], pattern: str, mode: str
) -> None:
    generator = torch.Generator().manual_seed(3)
    mask = sampling(pattern, 2, shape, generator)
    auxiliary = blobs(2, shape, generator)
    kspace = fft2c(blobs(2, shape, generator).to(torch.complex64))
    elsewhere = torch.randn(2, *shape, dtype=torch.complex64, generator=generator)
    model = build_small(name, shape).train(mode == "train")
    # The second pass of the second model comes after its loss has seen the other truth.
    outputs = []
    for other in (kspace, torch.where(mask, kspace, elsewhere)):
        measurement, truth = measured(other, auxiliary, mask)
        candidate = copy.deepcopy(model)
        for _ in range(2):
            torch.manual_seed(0)
            reconstruction, _ = step(candidate, measurement, truth)
            outputs.append((reconstruction, truth))
    (first, first_truth), (first_again, _), (second, second_truth), (second_again, _) = outputs
    assert not torch.equal(first_truth.image, second_truth.image)
    assert torch.equal(first.image, second.image)
    assert torch.equal(first_again.image, second_again.image)


@every_method
def test_the_auxiliary_matters_exactly_where_it_is_declared(name: str) -> None:
    measurement, _ = example()
    flipped = replace(
        measurement,
        auxiliary=measurement.auxiliary.flip(-1),
        auxiliary_kspace=fft2c(measurement.auxiliary.flip(-1).to(torch.complex64)),
    )
    model = build_small(name, EVEN)
    with torch.no_grad():
        model(measurement)  # fills running statistics, if there are any
        model.eval()
        same = torch.equal(model(measurement).image, model(flipped).image)
    assert same != METHODS[name].needs_auxiliary


@every_method
def test_results_are_in_full_precision_under_autocast(name: str) -> None:
    measurement, truth = example(ODD, "2d")
    model = build_small(name, ODD)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reconstruction = model(measurement)
        loss = model.loss(reconstruction, truth, measurement)
    assert reconstruction.image.dtype == torch.float32
    assert loss.dtype == torch.float32
    assert math.isfinite(loss.item())


@every_method
def test_the_stated_parameter_count_is_the_built_one(name: str) -> None:
    method = METHODS[name]
    with torch.device("meta"):
        model = load_builder(method.folder)(method.parameters, (256, 256))
    count = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert method.full_parameter_count in (None, count)
    assert (count > 0) == method.trainable
