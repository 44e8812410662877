"""Networks and input scaling that more than one method folder uses."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from data_prep.measurement import Measurement
from methods.contract import Reconstruction, ReconstructionModel

_SLOPE = 0.2
LEAST_STD = 1e-6  # of an image whose maximum is 1: a constant slice divides by this instead of 0


def _activated(convolution: nn.Module, channels: int) -> list[nn.Module]:
    return [convolution, nn.InstanceNorm2d(channels), nn.LeakyReLU(_SLOPE, inplace=True)]


def _double_convolution(before: int, after: int, dropout: float) -> nn.Sequential:
    """Two 3x3 convolutions without bias, each with instance norm and LeakyReLU, then dropout if any."""
    layers: list[nn.Module] = []
    for inputs in (before, after):
        layers += _activated(nn.Conv2d(inputs, after, 3, padding=1, bias=False), after)
        if dropout > 0:
            layers.append(nn.Dropout2d(dropout))
    return nn.Sequential(*layers)


def standardise(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return images of mean 0 and standard deviation 1, the means and the standard deviations.

    Args:
        images: (batch, channels, height, width); each channel of each slice has statistics of its own.

    Returns:
        The images, and twice (batch, channels, 1, 1).
    """
    mean = images.mean(dim=(-2, -1), keepdim=True)
    std = images.std(dim=(-2, -1), keepdim=True, correction=0).clamp_min(LEAST_STD)
    return (images - mean) / std, mean, std


def reflected(maps: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return maps (..., height, width) of this (height, width), which has at most one row and column more.

    What is missing at the lower and right edge is reflected there. Not by torch's padding, to whose gradient
    GPUs have no deterministic way.
    """
    height, width = shape
    if maps.shape[-1] < width:
        maps = torch.cat((maps, maps[..., -2:-1]), dim=-1)
    if maps.shape[-2] < height:
        maps = torch.cat((maps, maps[..., -2:-1, :]), dim=-2)
    return maps


class UNet(nn.Module):
    """Encoder of ``pools`` levels, bottleneck, decoder with skips, 1x1 head; no residual.

    Args:
        inputs: input channels.
        channels: feature maps of the first level, doubled at each next one.
        pools: number of 2x2 average poolings.
        dropout: probability with which a feature map is dropped after each activation.
        outputs: output channels.
    """

    def __init__(self, inputs: int, channels: int, pools: int, dropout: float, outputs: int = 1) -> None:
        super().__init__()
        widths = [channels * 2**level for level in range(pools + 1)]
        self.encoder = nn.ModuleList(
            _double_convolution(before, after, dropout)
            for before, after in zip([inputs, *widths], widths[:-1], strict=False)
        )
        self.bottleneck = _double_convolution(widths[-2], widths[-1], dropout)
        self.ups = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for width in reversed(widths[:-1]):
            up = nn.ConvTranspose2d(2 * width, width, 2, stride=2, bias=False)
            self.ups.append(nn.Sequential(*_activated(up, width)))
            self.decoder.append(_double_convolution(2 * width, width, dropout))
        self.head = nn.Conv2d(channels, outputs, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Map (batch, inputs, height, width) to (batch, outputs, height, width)."""
        skips: list[Tensor] = []
        features = images
        for block in self.encoder:
            features = block(features)
            skips.append(features)
            features = functional.avg_pool2d(features, 2)
        features = self.bottleneck(features)
        for up, block in zip(self.ups, self.decoder, strict=True):
            skip = skips.pop()
            # Pooling an odd side drops its last row or column; reflection puts one back.
            features = reflected(up(features), (skip.shape[-2], skip.shape[-1]))
            features = block(torch.cat((features, skip), dim=1))
        output: Tensor = self.head(features)
        return output


class UNetReconstruction(ReconstructionModel):
    """U-Net from |F^-1 k_u|, and the auxiliary if there are two ``inputs``, to the magnitude image; L1."""

    def __init__(self, inputs: int, channels: int, pools: int, dropout: float) -> None:
        super().__init__()
        self.inputs = inputs
        self.network = UNet(inputs, channels, pools, dropout)

    def forward(self, measurement: Measurement) -> Reconstruction:
        """Reconstruct the target.

        Instance norm forgets the intensity of its input. The network therefore maps standardised
        slices to standardised slices, and the zero-filled mean and standard deviation come back after.
        """
        images = (measurement.zero_filled, measurement.auxiliary)[: self.inputs]
        standardised, mean, std = standardise(torch.stack(images, dim=1))
        return Reconstruction(self.network(standardised)[:, 0].float() * std[:, 0] + mean[:, 0])
