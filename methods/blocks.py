"""Building blocks that more than one method folder uses. Complex values are two real channels (re, im)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from data_prep.errors import BadInput
from methods.recomputation import normalised_relu


def to_channels(values: Tensor) -> Tensor:
    """Complex (batch, height, width) to float32 (batch, 2, height, width), channels (re, im)."""
    return torch.stack((values.real, values.imag), dim=1)


def to_complex(channels: Tensor) -> Tensor:
    """Real (batch, 2, height, width) to complex64 (batch, height, width).

    Reduced precision ends here: what autocast computed in 16 bits becomes float32, so that Fourier
    transforms and losses always run in full precision.
    """
    return torch.complex(channels[:, 0].float(), channels[:, 1].float())


def complex_l1(values: Tensor, reference: Tensor) -> Tensor:
    """Mean absolute difference of two complex tensors of one shape, over (re, im) as two channels."""
    return torch.view_as_real(values - reference).abs().mean()


def pad_to_multiple(maps: Tensor, multiple: int) -> Tensor:
    """Zero-pad (..., height, width) to sides that ``multiple`` divides, keeping index n // 2 central.

    The same rule serves k-space and images. In k-space n // 2 is the zero frequency and zeros are
    appended beyond the highest frequencies; in an image they are air around the object. Every
    network crops its output with ``crop_to`` before anything is transformed, so that Fourier
    transforms see the scan's own matrix and grid only.
    """
    pads: list[int] = []
    for size in (maps.shape[-1], maps.shape[-2]):
        total = -size % multiple
        before = (size + total) // 2 - size // 2
        pads += [before, total - before]
    return functional.pad(maps, pads) if any(pads) else maps


def crop_to(maps: Tensor, shape: tuple[int, int]) -> Tensor:
    """Undo ``pad_to_multiple``: the central (height, width) of ``maps`` (..., height', width')."""
    height, width = shape
    top = maps.shape[-2] // 2 - height // 2
    left = maps.shape[-1] // 2 - width // 2
    return maps[..., top : top + height, left : left + width]


def bad_parameter(method: str, field: str, value: object, remedy: str) -> BadInput:
    """The error for a parameter value that a method cannot be built with, to be raised by ``build``."""
    return BadInput(f"methods/{method}/method.yaml or the configuration: {field} is {value!r}; {remedy}")


def require_dropout(method: str, probability: float) -> None:
    """Check that a method's ``dropout`` leaves something of its maps.

    Args:
        method: folder of the method, for the message.
        probability: that a map is dropped.

    Raises:
        BadInput: it is no probability below 1; torch takes a negative one for none.
    """
    if not 0 <= probability < 1:
        raise bad_parameter(method, "dropout", probability, "set it to a probability from 0 and below 1")


def require_depth(
    method: str, field: str, depth: int, image_shape: tuple[int, int], *, least: int, padded: bool
) -> None:
    """Check that an image halved ``depth`` times leaves two pixels to normalise over, or more.

    Args:
        method: folder of the method, for the message.
        field: the parameter that sets the depth.
        depth: number of halvings.
        image_shape: (height, width).
        least: smallest depth that the network is defined for.
        padded: whether the image is padded beforehand; otherwise halving an odd side drops a line.

    Raises:
        BadInput: the depth is too small, or too large for the image.
    """
    if depth < least:
        raise bad_parameter(method, field, depth, f"set it to {least} or more")
    height, width = image_shape
    extra = 2**depth - 1 if padded else 0
    if ((height + extra) >> depth) * ((width + extra) >> depth) < 2:
        remedy = (
            f"lower it or use larger images: too little of {height}x{width} is left at the coarsest level"
        )
        raise bad_parameter(method, field, depth, remedy)


def convolution(inputs: int, outputs: int, **options: Any) -> nn.Conv2d:
    """A 3x3 convolution that keeps the sides, unless ``options`` say otherwise."""
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


class DenseBlock(nn.Module):
    """Four 3x3 convolutions, each normalised together with the sum of all earlier features.

    h_0 = x and h_(i+1) = ReLU(BN(conv_i(h_i) + sum of h_j for j < i)) for i = 0..3; the result is
    h_4, (batch, width, height, width) as the input. 148,224 parameters at width 64.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(4))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(4))

    def forward(self, features: Tensor) -> Tensor:
        """Map (batch, width, height, width) to the same shape."""
        earlier: Tensor | None = None
        for layer, norm in zip(self.convolutions, self.norms, strict=True):
            mixed = layer(features)
            if earlier is None:
                earlier = features
            else:
                # In place: nothing but the batch norm needs the convolution's bare output.
                mixed.add_(earlier)
                earlier = earlier + features
            features = normalised_relu(norm, mixed)
        return features


class UpBlock(nn.Module):
    """Twofold upsampling by a 4x4 transposed convolution, then 3x3 convolution, BN and ReLU.

    With ``skip`` the convolution sees [up, skip] concatenated (139,520 parameters at width 64),
    otherwise the upsampled features alone (102,656).
    """

    def __init__(self, width: int, *, skip: bool) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(width, width, 4, stride=2, padding=1)
        self.convolution = nn.Conv2d(2 * width if skip else width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, features: Tensor, skip: Tensor | None = None) -> Tensor:
        """Map (batch, width, height, width) to twice the sides, merging ``skip`` of that size."""
        up = self.up(features)
        if skip is not None:
            up = torch.cat((up, skip), dim=1)
        return normalised_relu(self.norm, self.convolution(up))
