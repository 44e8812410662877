"""Networks against values computed independently: order of sums, norms, activations and poolings.

``tests/golden/network_blocks.json`` says how weights and inputs are filled; its ``how`` is the rule.
"""

import importlib
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from golden_values import assert_outputs, cases, fill, inputs_of
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from data_prep.measurement import Measurement
from methods.blocks import DenseBlock, UpBlock
from methods.contract import ReconstructionModel
from methods.dudornet.model import DilatedResidualDenseNetwork, SqueezeExciteDenseBlock
from methods.manet.model import GuidedAttention, TwoStreamNetwork
from methods.networks import UNet

ROOT = Path(__file__).parents[3]
GOLDEN = cases("network_blocks.json")
WITH_WEIGHTS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def unet_in_listed_order(network: UNet) -> nn.ModuleList:
    levels = chain.from_iterable(zip(network.ups, network.decoder, strict=True))
    return nn.ModuleList([network.encoder, network.bottleneck, *levels, network.head])


def in_listed_order(network: nn.Module) -> nn.Module:
    return unet_in_listed_order(network) if isinstance(network, UNet) else network


NETWORKS = {
    "manet_dense_block": lambda: DenseBlock(64),
    "manet_t1_up": lambda: UpBlock(64, skip=False),
    "manet_t2_up": lambda: UpBlock(64, skip=True),
    "manet_t1_ga": lambda: GuidedAttention(64, ("cs",)),
    "manet_k_network": lambda: TwoStreamNetwork(2, 64, 4, "cs", True),
    "manet_image_network": lambda: TwoStreamNetwork(1, 64, 4, "cs", True),
    "dudornet_sedrdb": lambda: SqueezeExciteDenseBlock(32),
    "dudornet_drdn": lambda: DilatedResidualDenseNetwork(4, 32),
    "unet_32_4": lambda: UNet(1, 32, 4, 0.0),
}


def golden_network(name: str) -> nn.Module:
    network = NETWORKS[name]().eval()
    layers = [module for module in in_listed_order(network).modules() if isinstance(module, WITH_WEIGHTS)]
    fill(
        [tensor for layer in layers for tensor in (layer.weight, layer.bias) if tensor is not None],
        GOLDEN[name],
    )
    return network


def test_every_golden_case_is_covered() -> None:
    assert set(NETWORKS) == set(GOLDEN)


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_agree_with_the_golden_values(name: str) -> None:
    case = GOLDEN[name]
    with torch.no_grad():
        outputs = golden_network(name)(*inputs_of(case))
    assert_outputs(outputs if isinstance(outputs, tuple) else (outputs,), case)


@pytest.mark.parametrize("name", ["manet_k_network", "manet_image_network"])
def test_auxiliary_guides_the_target_and_not_the_other_way_round(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]()
    shape = GOLDEN[name]["inputs"][0]["shape"]
    auxiliary, target = torch.randn(shape), torch.randn(shape)
    network(auxiliary, target)  # training mode: fills the running statistics
    network.eval()
    with torch.no_grad():
        base = network(auxiliary, target)
        with_other_auxiliary = network(torch.randn(shape), target)
        with_other_target = network(auxiliary, torch.randn(shape))
    assert (with_other_auxiliary[0] - base[0]).abs().max() > 1e-3
    assert (with_other_auxiliary[1] - base[1]).abs().max() > 1e-3
    assert torch.equal(with_other_target[0], base[0])
    assert (with_other_target[1] - base[1]).abs().max() > 1e-3


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def build_method(method: str, **changes: Any) -> ReconstructionModel:
    """Build a method at the defaults of its folder, some of them changed, without filling memory."""
    content = yaml.safe_load((ROOT / "methods" / method / "method.yaml").read_text())
    build = importlib.import_module(f"methods.{method}.model").build
    with torch.device("meta"):
        model: ReconstructionModel = build({**content["parameters"], **changes}, (256, 256))
    return model


@pytest.mark.parametrize(
    ("method", "changes", "expected"),
    [
        ("zf", {}, 0),
        ("unet", {}, 7_756_097),
        ("unet", {"channels": 16}, 1_939_105),
        ("unet", {"channels": 64}, 31_023_745),
        ("xiang", {}, 1_892_353),
        ("dudornet", {}, 650_628),
        ("dudornet", {"recurrences": 5}, 650_628),
        ("dudornet", {"prior": False}, 2 * 324_738),
        ("manet", {}, 7_283_670),
        ("manet", {"early_concat": False}, 7_283_478),
        ("manet", {"kspace": False}, 3_641_674),
        ("manet", {"fusion": "sc"}, 7_283_670),
        ("manet", {"fusion": "sc_cs"}, 7_283_670 + 16 * 561),
        ("manet", {"fusion": "concat"}, 7_283_670 + 16 * (128 * 64 + 64 - 561)),
    ],
)
def test_parameter_count_of_methods(method: str, changes: dict[str, Any], expected: int) -> None:
    assert count(build_method(method, **changes)) == expected


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: DenseBlock(64), 148_224),
        (lambda: UpBlock(64, skip=False), 102_656),
        (lambda: UpBlock(64, skip=True), 139_520),
        (lambda: GuidedAttention(64, ("cs",)), 561),
        (lambda: TwoStreamNetwork(2, 64, 4, "cs", True), 3_641_996),
        (lambda: TwoStreamNetwork(1, 64, 4, "cs", True), 3_641_674),
        (lambda: SqueezeExciteDenseBlock(32), 97_568),
        (lambda: DilatedResidualDenseNetwork(4, 32), 325_314),
        (lambda: DilatedResidualDenseNetwork(2, 32), 324_738),
        (lambda: UNet(2, 16, 4, 0.0), 1_939_249),
        (lambda: UNet(2, 32, 4, 0.0), 7_756_385),
    ],
)
def test_parameter_count_of_blocks(build: Any, expected: int) -> None:
    with torch.device("meta"):
        assert count(build()) == expected


@pytest.mark.parametrize(
    ("method", "expected"), [("unet", 24.1), ("xiang", 67.1), ("dudornet", 340.0), ("manet", 255.7)]
)
def test_work_of_one_forward_pass_at_256x256(method: str, expected: float) -> None:
    with torch.device("meta"):
        kspace, image = torch.zeros(1, 256, 256, dtype=torch.complex64), torch.zeros(1, 256, 256)
        mask, scale = torch.zeros(1, 1, 256, dtype=torch.bool), torch.zeros(1)
        with FlopCounterMode(display=False) as counter:
            build_method(method)(Measurement(kspace, mask, image, kspace, scale))
    assert counter.get_total_flops() / 1e9 == pytest.approx(expected, abs=0.05)
