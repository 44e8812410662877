"""MTrans: cross-attention between patches of the target and larger patches of the auxiliary."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from data_prep.measurement import Measurement, Truth
from methods.blocks import bad_parameter, crop_to, pad_to_multiple
from methods.contract import Reconstruction, ReconstructionModel
from methods.networks import standardise

_RATIO = 3


class CrossAttention(nn.Module):
    """Attention of one stream to both; the queries are added before the last projection, not after it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.projection = nn.Linear(width, width)

    def _split(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, width) to (batch, heads, tokens, width / heads)."""
        batch, count, width = tokens.shape
        return tokens.reshape(batch, count, self.heads, width // self.heads).transpose(1, 2)

    def forward(self, tokens: Tensor, others: Tensor) -> Tensor:
        """Map (batch, tokens, width) to the same shape; keys and values are of ``tokens`` and ``others``."""
        key, value = self.key_value(torch.cat((tokens, others), dim=1)).chunk(2, dim=-1)
        attended = functional.scaled_dot_product_attention(
            self._split(self.query(tokens)), self._split(key), self._split(value)
        )
        projected: Tensor = self.projection(attended.transpose(1, 2).flatten(2) + tokens)
        return projected


class CrossLayer(nn.Module):
    """Cross-attention and perceptron; the residual carries the normalised tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.norm_others = nn.LayerNorm(width)
        self.attention = CrossAttention(width, heads)
        self.norm_attended = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, _RATIO * width), nn.GELU(), nn.Linear(_RATIO * width, width)
        )

    def forward(self, tokens: Tensor, others: Tensor) -> Tensor:
        """Map (batch, tokens, width) to the same shape, looking at ``others`` of the same width."""
        tokens, others = self.norm(tokens), self.norm_others(others)
        tokens = tokens + self.attention(tokens, others)
        updated: Tensor = tokens + self.perceptron(self.norm_attended(tokens))
        return updated


class Side(nn.Module):
    """One stream's part of a stage: into the other stream's width, the cross layer, and back; residual."""

    def __init__(self, width: int, other_width: int, heads: int) -> None:
        super().__init__()
        self.enter = nn.Linear(width, other_width)
        self.layer = CrossLayer(other_width, heads)
        self.leave = nn.Linear(other_width, width)

    def forward(self, tokens: Tensor, others: Tensor) -> Tensor:
        """Map (batch, tokens, width) to the same shape."""
        updated: Tensor = tokens + self.leave(self.layer(self.enter(tokens), others))
        return updated


def to_tokens(maps: Tensor, patch: int) -> Tensor:
    """Cut (batch, channels, height, width) into patches; a token lists its row, column, channel in turn."""
    batch, channels, height, width = maps.shape
    cut = maps.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, patch * patch * channels)


def to_maps(tokens: Tensor, patch: int, shape: tuple[int, int]) -> Tensor:
    """Undo ``to_tokens`` for maps of this (height, width)."""
    height, width = shape
    cut = tokens.reshape(tokens.shape[0], height // patch, width // patch, patch, patch, -1)
    return cut.permute(0, 5, 1, 3, 2, 4).reshape(tokens.shape[0], -1, height, width)


def _head(channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs in (1, channels, channels):
        layers += [nn.Conv2d(inputs, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class CrossTransformer(nn.Module):
    """Heads, patches with learned positions, stages, and tails.

    Args:
        shape: (height, width) of its images, which the tables of positions fix; ``auxiliary_patch`` divides
            both.
        channels: feature maps of the heads.
        target_patch: side of the target's patches.
        auxiliary_patch: side of the auxiliary's patches.
        stages: number of cross-attention stages.
        heads: of each attention.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        channels: int,
        target_patch: int,
        auxiliary_patch: int,
        stages: int,
        heads: int,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.patches = (target_patch, auxiliary_patch)
        width, other = (channels * patch**2 for patch in self.patches)
        pixels = shape[0] * shape[1]
        self.target_head, self.auxiliary_head = _head(channels), _head(channels)
        self.target_position = nn.Parameter(torch.randn(1, pixels // target_patch**2, width))
        self.auxiliary_position = nn.Parameter(torch.randn(1, pixels // auxiliary_patch**2, other))
        self.target_sides = nn.ModuleList(Side(width, other, heads) for _ in range(stages))
        self.auxiliary_sides = nn.ModuleList(Side(other, width, heads) for _ in range(stages))
        self.target_tail, self.auxiliary_tail = nn.Conv2d(channels, 1, 1), nn.Conv2d(channels, 1, 1)

    def forward(self, target: Tensor, auxiliary: Tensor) -> tuple[Tensor, Tensor]:
        """Map target and auxiliary, each (batch, 1, height, width), to predictions of both."""
        of_auxiliary = self.auxiliary_head(auxiliary)
        of_target = self.target_head(target) + of_auxiliary
        target = to_tokens(of_target, self.patches[0]) + self.target_position
        auxiliary = to_tokens(of_auxiliary, self.patches[1]) + self.auxiliary_position
        for target_side, auxiliary_side in zip(self.target_sides, self.auxiliary_sides, strict=True):
            target = target_side(target, auxiliary)
            auxiliary = auxiliary_side(auxiliary, target)
        return (
            self.target_tail(to_maps(target, self.patches[0], self.shape)),
            self.auxiliary_tail(to_maps(auxiliary, self.patches[1], self.shape)),
        )


class MTrans(ReconstructionModel):
    """The transformer between standardised magnitudes; L1 of target and auxiliary.

    Args:
        image_shape: (height, width), padded inside to the network's.
        network: of the smallest shape that its patches divide.
    """

    def __init__(self, image_shape: tuple[int, int], network: CrossTransformer) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.network = network

    def forward(self, measurement: Measurement) -> Reconstruction:
        """Reconstruct; extras: both outputs in standardised units, and the target's mean and deviation.

        Raises:
            ValueError: the images are not of the shape that the network was built for.
        """
        target, mean, std = standardise(measurement.zero_filled[:, None])
        found = (target.shape[-2], target.shape[-1])
        if found != self.image_shape:
            raise ValueError(f"MTrans was built for images of {self.image_shape}; these are {found}")
        auxiliary = standardise(measurement.auxiliary[:, None])[0]
        multiple = self.network.patches[1]
        outputs = self.network(pad_to_multiple(target, multiple), pad_to_multiple(auxiliary, multiple))
        restored, of_auxiliary = (crop_to(output, self.image_shape).float() for output in outputs)
        extras = {"target": restored, "auxiliary": of_auxiliary, "mean": mean, "std": std}
        return Reconstruction((restored * std + mean)[:, 0], extras)

    def loss(self, reconstruction: Reconstruction, truth: Truth, measurement: Measurement) -> Tensor:
        """L1 of the target and of the auxiliary, which the network also puts out, in standardised units."""
        extras = reconstruction.extras
        target = (truth.image[:, None] - extras["mean"]) / extras["std"]
        auxiliary = standardise(measurement.auxiliary[:, None])[0]
        of_target = functional.l1_loss(extras["target"], target)
        return of_target + functional.l1_loss(extras["auxiliary"], auxiliary)


def build(params: Mapping[str, Any], image_shape: tuple[int, int]) -> ReconstructionModel:
    """Build the transformer for images of this shape and no other.

    Raises:
        BadInput: the patches do not fit into each other, or ``heads`` does not divide the tokens' widths.
    """
    small, large = params["target_patch"], params["auxiliary_patch"]
    if large % small:
        raise bad_parameter(
            "mtrans", "auxiliary_patch", large, f"set it to a multiple of target_patch, {small}"
        )
    if params["channels"] * small**2 % params["heads"]:
        remedy = f"set it to a divisor of channels x target_patch^2, {params['channels'] * small**2}"
        raise bad_parameter("mtrans", "heads", params["heads"], remedy)
    height, width = (side + -side % large for side in image_shape)
    shape = (height, width)
    network = CrossTransformer(shape, params["channels"], small, large, params["stages"], params["heads"])
    return MTrans(image_shape, network)
