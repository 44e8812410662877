"""Networks of the extended grid against values computed independently, and their published sizes."""

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from golden_values import assert_outputs, cases, fill, inputs_of
from torch import Tensor, nn

from data_prep.fourier import fft2c
from methods.fsmnet.model import BranchFusion, FrequencyBlock, ModalityFusion, ResidualGroup, TwoBranches
from methods.mcvarnet.model import ResidualUNet, UnrolledNetwork
from methods.mtrans.model import CrossLayer, CrossTransformer, Side
from methods.networks import UNet
from methods.registry import discover, load_builder
from methods.varnet.model import Cascade, NormalisedUNet

GOLDEN = cases("more_blocks.json")
Tensors = list[Tensor | list[int]]


def layers(*modules: nn.Module) -> Tensors:
    """Weights and biases of all convolutions and linear layers, in the order of the modules."""
    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    found = [layer for module in modules for layer in module.modules() if isinstance(layer, kinds)]
    return [tensor for layer in found for tensor in (layer.weight, layer.bias) if tensor is not None]


def of_unet(network: UNet) -> Tensors:
    levels = [module for pair in zip(network.ups, network.decoder, strict=True) for module in pair]
    return layers(network.encoder, network.bottleneck, *levels, network.head)


def of_residual_unet(network: ResidualUNet) -> Tensors:
    encoder = [module for pair in zip(network.encoder, network.downs, strict=False) for module in pair]
    decoder = [module for pair in zip(network.ups, network.decoder, strict=True) for module in pair]
    width = network.downs[0].out_channels
    unused: Tensors = [[width, width, 3, 3], [width]]  # a fourth resolution that nothing reads
    return [*layers(*encoder, network.encoder[-1]), *unused, *layers(*decoder, network.end)]


def of_unrolled(network: UnrolledNetwork) -> Tensors:
    return [
        *of_residual_unet(network.start_target),
        *of_residual_unet(network.start_common),
        *layers(network.encode_target, network.encode_common, network.decode_target),
        *of_residual_unet(network.denoise_target),
        *layers(network.decode_common, network.update_common),
        *of_residual_unet(network.denoise_common),
        *of_residual_unet(network.denoise_unique),
        *layers(network.last),
    ]


def of_cross_layer(layer: CrossLayer) -> Tensors:
    attention = layer.attention
    return layers(attention.query, attention.key_value, attention.projection, layer.perceptron)


def of_side(side: Side) -> Tensors:
    return [*layers(side.enter), *of_cross_layer(side.layer), *layers(side.leave)]


def of_transformer(network: CrossTransformer) -> Tensors:
    sides = zip(network.target_sides, network.auxiliary_sides, strict=True)
    return [
        *layers(network.target_head, network.auxiliary_head),
        network.target_position,
        network.auxiliary_position,
        *(tensor for pair in sides for side in pair for tensor in of_side(side)),
        *layers(network.target_tail, network.auxiliary_tail),
    ]


def of_two_branches(network: TwoBranches) -> Tensors:
    def interleaved(part: nn.Module) -> Iterable[nn.Module]:
        levels = iter(part.levels) if hasattr(part, "levels") else None
        yield from (part.head, part.fusions[0])
        for down, fusion in zip(part.downs, part.fusions[1:], strict=False):
            yield from (down, next(levels), fusion) if levels else (down, fusion)
        yield from (next(levels), part.fusions[-1]) if levels else (part.fusions[-1],)
        for up in part.ups:
            yield from (up, next(levels)) if levels else (up,)
        yield part.tail

    return layers(
        network.frequency_auxiliary,
        *interleaved(network.frequency_target),
        network.spatial_auxiliary,
        *interleaved(network.spatial_target),
    )


def columns(side: int) -> Tensor:
    """The golden file's line mask, bool (1, 1, side)."""
    column = torch.arange(side)
    return ((column % 4 == 0) | ((column >= 14) & (column < 18)))[None, None]


def complex_of(pairs: Tensor) -> Tensor:
    return torch.view_as_complex(pairs)[:, 0]


def pairs_of(values: Tensor) -> Tensor:
    return torch.view_as_real(values[:, None])


def norm_unet(case: dict[str, Any]) -> list[Tensor]:
    network = NormalisedUNet(8, 4, prior=False)
    fill(of_unet(network.network), case)
    (image,) = inputs_of(case)
    return [pairs_of(network(complex_of(image), None))]


def cascade(case: dict[str, Any]) -> list[Tensor]:
    network = Cascade(8, 4, prior=False)
    fill(of_unet(network.refinement.network), case)
    network.weight.fill_(0.8)
    current, measured = map(complex_of, inputs_of(case))
    return [pairs_of(network(current, measured, columns(32), None))]


def cross_layer(case: dict[str, Any]) -> list[Tensor]:
    network = CrossLayer(64, 4)
    fill(of_cross_layer(network), case)
    return [network(*inputs_of(case))]


def transformer(case: dict[str, Any]) -> list[Tensor]:
    network = CrossTransformer((32, 32), 4, 4, 8, 2, 4).eval()
    fill(of_transformer(network), case)
    return list(network(*inputs_of(case)))


def residual_unet(case: dict[str, Any]) -> list[Tensor]:
    network = ResidualUNet(32)
    fill(of_residual_unet(network), case)
    return [network(*inputs_of(case))]


def unrolled(case: dict[str, Any], spectrum: str) -> list[Tensor]:
    network = UnrolledNetwork(32, 4, spectrum)
    fill(of_unrolled(network), case)
    target, reference = inputs_of(case)
    return [network(target, reference, fft2c(target[:, 0].to(torch.complex64)), columns(32))]


def two_branches(case: dict[str, Any]) -> list[Tensor]:
    network = TwoBranches(16, 8)
    # The file's way to check the wiring: the spectra of its inputs are nearly empty, their phase is noise.
    for part in (network.frequency_auxiliary.levels, [network.frequency_auxiliary.neck]):
        for level in part:
            for position, module in enumerate(level):
                if isinstance(module, FrequencyBlock):
                    level[position] = nn.Identity()
    network.frequency_target.blocks = nn.ModuleList(nn.Identity() for _ in network.frequency_target.blocks)
    fill(of_two_branches(network), case)
    return list(network(*inputs_of(case)))


def block(network: nn.Module, case: dict[str, Any]) -> list[Tensor]:
    fill(layers(network), case)
    return [network(*inputs_of(case))]


NETWORKS = {
    "varnet_norm_unet": norm_unet,
    "varnet_cascade_single_coil": cascade,
    "mtrans_cross_layer": cross_layer,
    "mtrans_network_reduced": transformer,
    "mcvarnet_unet": residual_unet,
    "mcvarnet_network_published": lambda case: unrolled(case, "half"),
    "mcvarnet_network_fullspectrum": lambda case: unrolled(case, "real"),
    "fsmnet_frequency_block": lambda case: block(FrequencyBlock(16), case),
    "fsmnet_residual_group": lambda case: block(ResidualGroup(16), case),
    "fsmnet_modality_fusion": lambda case: block(ModalityFusion(16), case),
    "fsmnet_freq_spatial_fusion": lambda case: block(BranchFusion(16, 8), case),
    "fsmnet_network_wiring": two_branches,
}


def test_every_golden_case_is_covered() -> None:
    assert set(NETWORKS) == set(GOLDEN)


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_agree_with_the_golden_values(name: str) -> None:
    with torch.no_grad():
        assert_outputs(NETWORKS[name](GOLDEN[name]), GOLDEN[name])


# What the published networks hold and ours leave out, because no output depends on it.
FIRST_WEIGHT = 1  # of VarNet: it multiplies the distance from the measured k-space to itself
MCVARNET_UNUSED = 5 * (9_248 + 1) + 289  # a fourth resolution and a slope in each U-Net, and a convolution
FSMNET_UNUSED = 14 * 18_120  # the second attention of each fusion


@pytest.mark.parametrize(
    ("method", "changes", "shape", "published"),
    [
        ("unet2", {}, (256, 256), 7_756_385),
        ("unet2", {"channels": 16}, (256, 256), 1_939_249),
        ("varnet", {}, (256, 256), 19_636_008 - FIRST_WEIGHT),
        ("varnet", {"prior": False}, (256, 256), 19_634_712 - FIRST_WEIGHT),
        ("varnet", {"cascades": 12}, (256, 256), 29_454_012 - FIRST_WEIGHT),
        ("varnet", {"cascades": 12, "prior": False}, (256, 256), 29_452_068 - FIRST_WEIGHT),
        ("cs", {}, (256, 256), 0),
        ("mcvarnet", {"spectrum": "half"}, (256, 256), 1_387_493 - MCVARNET_UNUSED),
        ("mcvarnet", {"spectrum": "real"}, (256, 256), 1_387_493 - MCVARNET_UNUSED),
        ("mcvarnet", {}, (256, 256), 1_387_493 - MCVARNET_UNUSED + 289),  # two output channels
        ("fsmnet", {}, (256, 256), 14_053_528 - FSMNET_UNUSED),
        ("mtrans", {"channels": 16}, (256, 256), 782_513_762),
        ("mtrans", {"channels": 16}, (320, 320), 783_693_410),
    ],
)
def test_parameter_counts_are_the_published_ones_less_what_is_never_used(
    method: str, changes: dict[str, Any], shape: tuple[int, int], published: int
) -> None:
    with torch.device("meta"):
        model = load_builder(method)({**discover()[method].default.parameters, **changes}, shape)
    assert sum(parameter.numel() for parameter in model.parameters()) == published
