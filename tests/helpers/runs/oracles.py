"""The four trained networks written a second time, as plainly as their description allows.

Eager float32 functions of weights and a measurement, no classes, nothing in place, nothing from the product
but the names of its weights. They are what the product's outputs and gradients are checked against
(``tests/unit/methods/test_oracles.py``) and what its speed is compared with (``python -m tests.bench``).
Sides must be multiples of 16: padding is the product's business.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from data_prep.measurement import Measurement, Truth


class Weights:
    """Named tensors of a network or, after ``at``, of one part of it."""

    def __init__(self, tensors: Mapping[str, Tensor], training: bool, prefix: str = "") -> None:
        self.tensors = tensors
        self.training = training
        self.prefix = prefix

    def __call__(self, name: str) -> Tensor:
        return self.tensors[self.prefix + name]

    def at(self, *path: str | int) -> "Weights":
        part = "".join(f"{name}." for name in path)
        return Weights(self.tensors, self.training, self.prefix + part)

    def numbered(self) -> list["Weights"]:
        """The parts of a list that have weights, in order."""
        start = len(self.prefix)
        numbers = {int(key[start:].split(".")[0]) for key in self.tensors if key.startswith(self.prefix)}
        return [self.at(number) for number in sorted(numbers)]

    def bias(self) -> Tensor | None:
        return self.tensors.get(f"{self.prefix}bias")

    def convolve(self, x: Tensor, dilation: int = 1) -> Tensor:
        """Convolution that keeps the sides."""
        kernel = self("weight")
        padding = dilation * (kernel.shape[-1] // 2)
        return F.conv2d(x, kernel, self.bias(), padding=padding, dilation=dilation)

    def normalise(self, x: Tensor) -> Tensor:
        """Batch norm."""
        mean, variance = self("running_mean"), self("running_var")
        return F.batch_norm(x, mean, variance, self("weight"), self("bias"), self.training)


def image_of(kspace: Tensor) -> Tensor:
    height, width = kspace.shape[-2:]
    corner = torch.roll(kspace, (-(height // 2), -(width // 2)), (-2, -1))
    return torch.roll(torch.fft.ifft2(corner, norm="ortho"), (height // 2, width // 2), (-2, -1))


def kspace_of(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    corner = torch.roll(image, (-(height // 2), -(width // 2)), (-2, -1))
    return torch.roll(torch.fft.fft2(corner, norm="ortho"), (height // 2, width // 2), (-2, -1))


def two_channels(values: Tensor) -> Tensor:
    return torch.cat((values.real[:, None], values.imag[:, None]), 1)


def one_complex(channels: Tensor) -> Tensor:
    return torch.complex(channels[:, 0], channels[:, 1])


def mean_difference(a: Tensor, b: Tensor) -> Tensor:
    """L1; of complex values, of their real and imaginary parts."""
    if a.is_complex():
        return ((a.real - b.real).abs().mean() + (a.imag - b.imag).abs().mean()) / 2
    return (a - b).abs().mean()


# ---- blocks of MANet and Xiang et al. -------------------------------------------------------------


def dense_block(weights: Weights, x: Tensor) -> Tensor:
    history = [x]
    for i in range(4):
        mixed = weights.at("convolutions", i).convolve(history[-1])
        for earlier in history[:-1]:
            mixed = mixed + earlier
        history.append(F.relu(weights.at("norms", i).normalise(mixed)))
    return history[-1]


def up_block(weights: Weights, x: Tensor, skip: Tensor | None = None) -> Tensor:
    up = F.conv_transpose2d(x, weights("up.weight"), weights("up.bias"), stride=2, padding=1)
    if skip is not None:
        up = torch.cat((up, skip), 1)
    return F.relu(weights.at("norm").normalise(weights.at("convolution").convolve(up)))


# ---- MANet ----------------------------------------------------------------------------------------


def guided(weights: Weights, auxiliary: Tensor, target: Tensor) -> Tensor:
    """T1-GA in the order CS: channel attention, spatial attention, modulation (eqs. 7-15)."""
    channel, spatial = weights.at("branches", 0, 0), weights.at("branches", 0, 1)
    peak = F.adaptive_max_pool2d(auxiliary, 1)
    gate = torch.sigmoid(channel.at("excite").convolve(F.relu(channel.at("squeeze").convolve(peak))))
    gated = auxiliary * gate
    strongest = gated.max(1, keepdim=True).values
    gated = gated * torch.sigmoid(spatial.at("convolution").convolve(strongest))
    return target * gated + target


def two_streams(weights: Weights, auxiliary: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    x, y = auxiliary, torch.cat((target, auxiliary), 1)
    x, y = weights.at("auxiliary_stem").convolve(x), weights.at("target_stem").convolve(y)
    skips = []
    for part in weights.at("encoder").numbered():
        x = F.max_pool2d(dense_block(part.at("auxiliary_block"), x), 2)
        y = dense_block(part.at("target_block"), y)
        skips.append(y)
        y = guided(part.at("fusion"), x, F.max_pool2d(y, 2))
    x = dense_block(weights.at("auxiliary_bottleneck"), x)
    y = dense_block(weights.at("target_bottleneck"), y)
    for part in weights.at("decoder").numbered():
        x = dense_block(part.at("auxiliary_block"), up_block(part.at("auxiliary_up"), x))
        y = dense_block(part.at("target_block"), up_block(part.at("target_up"), y, skips.pop()))
        y = guided(part.at("fusion"), x, y)
    return weights.at("auxiliary_head").convolve(x), weights.at("target_head").convolve(y)


def manet(weights: Weights, measured: Measurement) -> dict[str, Any]:
    auxiliary, target = two_streams(
        weights.at("kspace_network"), two_channels(measured.auxiliary_kspace), two_channels(measured.kspace)
    )
    kspaces = one_complex(auxiliary), one_complex(target)
    auxiliary, target = two_streams(
        weights.at("image_network"), image_of(kspaces[0]).abs()[:, None], image_of(kspaces[1]).abs()[:, None]
    )
    return {"image": target[:, 0], "auxiliary": auxiliary[:, 0], "kspaces": kspaces}


def manet_loss(
    outputs: Mapping[str, Any], measured: Measurement, truth: Truth, alpha: float = 0.4, beta: float = 0.6
) -> Tensor:
    auxiliary_kspace, kspace = outputs["kspaces"]
    return (
        alpha * (1 - beta) * mean_difference(auxiliary_kspace, measured.auxiliary_kspace)
        + alpha * beta * mean_difference(kspace, truth.kspace)
        + (1 - alpha) * (1 - beta) * mean_difference(outputs["auxiliary"], measured.auxiliary)
        + (1 - alpha) * beta * mean_difference(outputs["image"], truth.image)
    )


# ---- Xiang et al. -----------------------------------------------------------------------------------


def xiang(weights: Weights, measured: Measurement) -> dict[str, Any]:
    network = weights.at("network")
    zero_filled = image_of(measured.kspace).abs()
    x = network.at("stem").convolve(torch.cat((zero_filled[:, None], measured.auxiliary[:, None]), 1))
    skips = []
    for block in network.at("encoder").numbered():
        skips.append(dense_block(block, x))
        x = F.max_pool2d(skips[-1], 2)
    x = dense_block(network.at("bottleneck"), x)
    for up, block in zip(network.at("ups").numbered(), network.at("decoder").numbered(), strict=True):
        x = dense_block(block, up_block(up, x, skips.pop()))
    return {"image": network.at("head").convolve(x)[:, 0]}


def xiang_loss(outputs: Mapping[str, Any], measured: Measurement, truth: Truth) -> Tensor:
    image: Tensor = outputs["image"]
    return ((image - truth.image) ** 2).mean()


# ---- U-Net ------------------------------------------------------------------------------------------


def standardised(x: Tensor) -> Tensor:
    """Instance norm without weights."""
    variance, mean = torch.var_mean(x, (-2, -1), correction=0, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-5)


def two_convolutions(weights: Weights, x: Tensor) -> Tensor:
    for convolution in weights.numbered():
        x = F.leaky_relu(standardised(convolution.convolve(x)), 0.2)
    return x


def unet(weights: Weights, measured: Measurement) -> dict[str, Any]:
    network = weights.at("network")
    zero_filled = image_of(measured.kspace).abs()[:, None]
    variance, mean = torch.var_mean(zero_filled, (-2, -1), correction=0, keepdim=True)
    std = torch.sqrt(variance).clamp(min=1e-6)
    x = (zero_filled - mean) / std
    skips = []
    for block in network.at("encoder").numbered():
        skips.append(two_convolutions(block, x))
        x = F.avg_pool2d(skips[-1], 2)
    x = two_convolutions(network.at("bottleneck"), x)
    for up, block in zip(network.at("ups").numbered(), network.at("decoder").numbered(), strict=True):
        x = F.leaky_relu(standardised(F.conv_transpose2d(x, up("0.weight"), stride=2)), 0.2)
        x = two_convolutions(block, torch.cat((x, skips.pop()), 1))
    return {"image": (network.at("head").convolve(x) * std + mean)[:, 0]}


def unet_loss(outputs: Mapping[str, Any], measured: Measurement, truth: Truth) -> Tensor:
    return mean_difference(outputs["image"], truth.image)


# ---- DuDoRNet ---------------------------------------------------------------------------------------


def squeeze_excite_dense_block(weights: Weights, x: Tensor) -> Tensor:
    dense = x
    for number, dilation in enumerate((1, 2, 3, 3)):
        grown = F.relu(weights.at("convolutions", number).convolve(dense, dilation))
        dense = torch.cat((dense, grown), 1)
    fused = weights.at("fusion").convolve(dense)
    squeezed = F.relu(F.linear(fused.mean((-2, -1)), weights("squeeze.weight")))
    gate = torch.sigmoid(F.linear(squeezed, weights("excite.weight")))
    return fused * gate[:, :, None, None] + x


def restoration_network(weights: Weights, x: Tensor) -> Tensor:
    shallow = weights.at("shallow_1").convolve(x)
    x = weights.at("shallow_2").convolve(shallow)
    outputs = []
    for block in weights.at("blocks").numbered():
        x = squeeze_excite_dense_block(block, x)
        outputs.append(x)
    x = weights.at("fusion", 0).convolve(torch.cat(outputs, 1))
    x = weights.at("fusion", 1).convolve(x) + shallow
    return weights.at("tail", 1).convolve(weights.at("tail", 0).convolve(x))


def dudornet(weights: Weights, measured: Measurement, recurrences: int = 4) -> dict[str, Any]:
    def consistent(kspace: Tensor) -> Tensor:
        mask = measured.mask.to(torch.float32)
        return (1 - mask) * kspace + mask * measured.kspace

    prior_image = torch.cat((measured.auxiliary[:, None], 0 * measured.auxiliary[:, None]), 1)
    prior_kspace = two_channels(measured.auxiliary_kspace)
    image = image_of(measured.kspace)
    images, kspaces = [], []
    for _ in range(recurrences):
        inputs = torch.cat((two_channels(image), prior_image), 1)
        restored = one_complex(restoration_network(weights.at("image_network"), inputs))
        images.append(image_of(consistent(kspace_of(restored))))
        inputs = torch.cat((two_channels(kspace_of(images[-1])), prior_kspace), 1)
        kspaces.append(one_complex(restoration_network(weights.at("kspace_network"), inputs)))
        image = image_of(consistent(kspaces[-1]))
    return {"image": image.abs(), "images": images, "kspaces": kspaces}


def dudornet_loss(outputs: Mapping[str, Any], measured: Measurement, truth: Truth) -> Tensor:
    image = image_of(truth.kspace)
    loss = torch.zeros((), device=image.device)
    for step_image, step_kspace in zip(outputs["images"], outputs["kspaces"], strict=True):
        loss = loss + mean_difference(step_image, image) + mean_difference(step_kspace, truth.kspace)
    return loss


ORACLES: dict[str, tuple[Callable[..., dict[str, Any]], Callable[..., Tensor]]] = {
    "manet": (manet, manet_loss),
    "dudornet": (dudornet, dudornet_loss),
    "xiang": (xiang, xiang_loss),
    "unet": (unet, unet_loss),
}
