"""The product's networks against their plain second writing: outputs, loss and gradients.

In double precision: in single, rounding takes some maps across a ReLU's kink, on some processors only, and
gradients then differ by more than any mistake worth finding.
"""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from data_prep.masks.sets import make_masks
from data_prep.measurement import Measurement, Truth, measure
from methods import recomputation
from methods.contract import ReconstructionModel
from methods.registry import discover, load_builder
from tests.bench.common import memory
from tests.helpers.runs.oracles import ORACLES, Weights

SHAPE = (32, 48)
SMALL = {
    "manet": {"width": 8, "levels": 3},
    "dudornet": {"features": 8, "initial_std": 0.1},
    "xiang": {"width": 8, "levels": 3},
    "unet": {"channels": 4, "pools": 3},
}
FOLDERS = discover()


@pytest.fixture(autouse=True)
def no_casts_to_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "float", Tensor.double)


def small_model(name: str) -> ReconstructionModel:
    torch.manual_seed(3)
    model = load_builder(name)({**FOLDERS[name].default.parameters, **SMALL[name]}, SHAPE)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean):
                assert tensor is not None
                nn.init.normal_(tensor)
            assert module.running_var is not None
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model.double()


def doubled(scan: Any) -> Any:
    tensors = {field.name: getattr(scan, field.name) for field in dataclasses.fields(scan)}
    dtypes = {torch.float32: torch.float64, torch.complex64: torch.complex128}
    return type(scan)(**{key: value.to(dtypes.get(value.dtype)) for key, value in tensors.items()})


def scans() -> tuple[Measurement, Truth]:
    generator = torch.Generator().manual_seed(5)
    target, auxiliary = torch.rand(2, 2, *SHAPE, generator=generator)
    mask = torch.from_numpy(make_masks("1d_random_3x", *SHAPE, 1).evaluation(["a", "b"]))
    noise = 0.05 * torch.randn(2, *SHAPE, dtype=torch.complex64, generator=generator)
    measured, truth = measure(target, auxiliary, mask, noise)
    return doubled(measured), doubled(truth)


def difference(value: Tensor, reference: Tensor) -> float:
    return ((value - reference).norm() / reference.norm()).item()


@pytest.mark.parametrize("name", ORACLES)
def test_images_agree(name: str) -> None:
    model, (measured, _) = small_model(name).eval(), scans()
    with torch.no_grad():
        image = model(measured).image
        plain = ORACLES[name][0](Weights(model.state_dict(), training=False), measured)["image"]
    assert plain.std() > 1e-3
    assert difference(image, plain) < 1e-12


@pytest.mark.parametrize("name", ORACLES)
def test_losses_and_gradients_agree_in_training(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recomputation, "_WORTHWHILE", 0)
    model, (measured, truth) = small_model(name).train(), scans()
    tensors = {key: value.detach().clone() for key, value in model.state_dict().items()}
    names = [key for key, _ in model.named_parameters()]
    for key in names:
        tensors[key].requires_grad_()
    loss = model.loss(model(measured), truth, measured)
    loss.backward()
    reconstruct, plain_loss = ORACLES[name]
    plain = plain_loss(reconstruct(Weights(tensors, training=True), measured), measured, truth)
    plain.backward()
    assert loss.item() == pytest.approx(plain.item(), rel=1e-12)
    # Together: a bias before a batch norm has no gradient but rounding.
    mine = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    theirs = torch.cat([tensors[key].grad.flatten() for key in names])
    assert difference(mine, theirs) < 1e-12
    statistics = {key: value for key, value in model.named_buffers() if "running" in key}
    for key, value in statistics.items():
        np.testing.assert_allclose(value.numpy(), tensors[key].numpy(), rtol=1e-12, err_msg=key)


@pytest.mark.parametrize("name", ["manet", "dudornet"])
def test_training_takes_at_most_seven_tenths_of_the_plain_networks_memory(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The networks are small, to be quick; memory is saved as if their maps were large.
    monkeypatch.setattr(recomputation, "_WORTHWHILE", 0)
    model, (measured, truth) = small_model(name).train(), scans()
    learnt = dict(model.named_parameters())
    weights = Weights({key: learnt.get(key, value) for key, value in model.state_dict().items()}, True)
    reconstruct, plain_loss = ORACLES[name]
    cpu = torch.device("cpu")
    _, product = memory(lambda: model.loss(model(measured), truth, measured).backward(), cpu)
    _, plain = memory(lambda: plain_loss(reconstruct(weights, measured), measured, truth).backward(), cpu)
    assert product < 0.7 * plain
