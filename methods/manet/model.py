"""MANet: two-stream networks in k-space and image domain, the auxiliary guiding the target."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from data_prep.fourier import ifft2c
from data_prep.measurement import Measurement, Truth
from methods.blocks import (
    DenseBlock,
    UpBlock,
    bad_parameter,
    complex_l1,
    crop_to,
    pad_to_multiple,
    require_depth,
    to_channels,
    to_complex,
)
from methods.contract import Parameters, Reconstruction, ReconstructionModel
from methods.recomputation import map_bytes, recomputed, recomputing

_REDUCTION = 16


class ChannelAttention(nn.Module):
    """Re-weight channels by what their global maxima say (eqs. 10-12)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        reduced = max(1, width // _REDUCTION)
        self.squeeze = nn.Conv2d(width, reduced, 1, bias=False)
        self.excite = nn.Conv2d(reduced, width, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map (batch, width, height, width) to the same shape."""
        pooled = features.amax(dim=(-2, -1), keepdim=True)
        gate: Tensor = torch.sigmoid(self.excite(functional.relu(self.squeeze(pooled))))
        return recomputed(torch.mul, features, gate)


class SpatialAttention(nn.Module):
    """Re-weight positions by what the maximum over channels says around them (eqs. 13-14)."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 7, padding=3, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map (batch, width, height, width) to the same shape."""
        gate: Tensor = torch.sigmoid(self.convolution(features.amax(dim=1, keepdim=True)))
        return recomputed(torch.mul, features, gate)


class GuidedAttention(nn.Module):
    """T1-GA: attention on the auxiliary features, which then modulate the target's (eqs. 7-15).

    Args:
        width: channels of both streams.
        orders: one string for each branch: ``cs`` channel then spatial attention, ``sc`` spatial then
            channel. Several branches, each with its own weights, are averaged.
    """

    def __init__(self, width: int, orders: tuple[str, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(ChannelAttention(width), SpatialAttention())
            if order == "cs"
            else nn.Sequential(SpatialAttention(), ChannelAttention(width))
            for order in orders
        )

    def forward(self, auxiliary: Tensor, target: Tensor) -> Tensor:
        """Return the guided target features; all are (batch, width, height, width)."""
        modulated = [branch(auxiliary) for branch in self.branches]
        guide = modulated[0] if len(modulated) == 1 else torch.stack(modulated).mean(dim=0)
        return recomputed(torch.addcmul, target, target, guide)  # eq. 15


class ConcatenationMerge(nn.Module):
    """The ablation without T1-GA: both streams concatenated and merged by a 1x1 convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.merge = nn.Conv2d(2 * width, width, 1)

    def forward(self, auxiliary: Tensor, target: Tensor) -> Tensor:
        """Return the merged target features; all are (batch, width, height, width)."""
        merged: Tensor = self.merge(torch.cat((target, auxiliary), dim=1))
        return merged


_ATTENTION_ORDERS = {"cs": ("cs",), "sc": ("sc",), "sc_cs": ("sc", "cs")}
_FUSIONS = (*_ATTENTION_ORDERS, "concat")


def _fusion(kind: str, width: int) -> nn.Module:
    if kind == "concat":
        return ConcatenationMerge(width)
    return GuidedAttention(width, _ATTENTION_ORDERS[kind])


class EncoderLevel(nn.Module):
    """A dense block in each stream, 2x2 max pooling, then fusion of the pooled features."""

    def __init__(self, width: int, fusion: str) -> None:
        super().__init__()
        self.auxiliary_block = DenseBlock(width)
        self.target_block = DenseBlock(width)
        self.fusion = _fusion(fusion, width)

    def forward(self, auxiliary: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return both streams at half the sides, and the target's features before pooling (the skip)."""
        skip = self.target_block(target)
        auxiliary = functional.max_pool2d(self.auxiliary_block(auxiliary), 2)
        target = self.fusion(auxiliary, functional.max_pool2d(skip, 2))
        return auxiliary, target, skip


class DecoderLevel(nn.Module):
    """Upsampling and a dense block in each stream, then fusion; only the target has a skip."""

    def __init__(self, width: int, fusion: str) -> None:
        super().__init__()
        self.auxiliary_up = UpBlock(width, skip=False)
        self.auxiliary_block = DenseBlock(width)
        self.target_up = UpBlock(width, skip=True)
        self.target_block = DenseBlock(width)
        self.fusion = _fusion(fusion, width)

    def forward(self, auxiliary: Tensor, target: Tensor, skip: Tensor) -> tuple[Tensor, Tensor]:
        """Return both streams at twice the sides."""
        auxiliary = self.auxiliary_block(self.auxiliary_up(auxiliary))
        target = self.fusion(auxiliary, self.target_block(self.target_up(target, skip)))
        return auxiliary, target


class TwoStreamNetwork(nn.Module):
    """MANet's network for one domain (Fig. 3b); the k-space and the image network share only its form.

    Args:
        channels: real channels of each input and output: 2 for k-space, 1 for magnitude images.
        width: feature maps everywhere.
        levels: number of 2x2 poolings.
        fusion: ``cs`` (the paper's T1-GA), ``sc``, ``sc_cs`` or ``concat``.
        early_concat: whether the target's stem also sees the auxiliary.
    """

    def __init__(self, channels: int, width: int, levels: int, fusion: str, early_concat: bool) -> None:
        super().__init__()
        self.early_concat = early_concat
        self.auxiliary_stem = nn.Conv2d(channels, width, 1)
        self.target_stem = nn.Conv2d(2 * channels if early_concat else channels, width, 1)
        self.encoder = nn.ModuleList(EncoderLevel(width, fusion) for _ in range(levels))
        self.auxiliary_bottleneck = DenseBlock(width)
        self.target_bottleneck = DenseBlock(width)
        self.decoder = nn.ModuleList(DecoderLevel(width, fusion) for _ in range(levels))
        self.auxiliary_head = nn.Conv2d(width, channels, 1)
        self.target_head = nn.Conv2d(width, channels, 1)

    def forward(self, auxiliary: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Map auxiliary and target (batch, channels, height, width), any sides, to predictions of both."""
        height, width = target.shape[-2:]
        auxiliary = pad_to_multiple(auxiliary, 2 ** len(self.encoder))
        target = pad_to_multiple(target, 2 ** len(self.encoder))
        if self.early_concat:
            target = torch.cat((target, auxiliary), dim=1)
        auxiliary, target = self.auxiliary_stem(auxiliary), self.target_stem(target)
        skips: list[Tensor] = []
        for level in self.encoder:
            auxiliary, target, skip = level(auxiliary, target)
            skips.append(skip)
        auxiliary, target = self.auxiliary_bottleneck(auxiliary), self.target_bottleneck(target)
        for level in self.decoder:
            auxiliary, target = level(auxiliary, target, skips.pop())
        auxiliary, target = self.auxiliary_head(auxiliary), self.target_head(target)
        return crop_to(auxiliary, (height, width)), crop_to(target, (height, width))


class MANet(ReconstructionModel):
    """k-space network, inverse transform, magnitude, image network (Fig. 3a), and the loss of eq. 6.

    Args:
        width: feature maps of both networks.
        levels: number of 2x2 poolings of both networks.
        fusion: how auxiliary features reach the target's stream, see ``TwoStreamNetwork``.
        early_concat: whether the target's stem also sees the auxiliary.
        kspace: False leaves the image network alone (the ablation w/o k-space).
        alpha: weight of k-space against image domain in eq. 6.
        beta: weight of target against auxiliary in eq. 6.
    """

    def __init__(
        self,
        width: int,
        levels: int,
        fusion: str,
        early_concat: bool,
        kspace: bool,
        alpha: float,
        beta: float,
    ) -> None:
        super().__init__()
        self.width = width
        self.alpha = alpha
        self.beta = beta
        self.kspace_network = TwoStreamNetwork(2, width, levels, fusion, early_concat) if kspace else None
        self.image_network = TwoStreamNetwork(1, width, levels, fusion, early_concat)

    def forward(self, measurement: Measurement) -> Reconstruction:
        """Reconstruct; extras: ``auxiliary`` image and, with the k-space network, both k-spaces."""
        with recomputing(map_bytes(self.width, measurement.auxiliary)):
            return self._reconstruct(measurement)

    def _reconstruct(self, measurement: Measurement) -> Reconstruction:
        extras: dict[str, Tensor] = {}
        if self.kspace_network is None:
            auxiliary, target = measurement.auxiliary, measurement.zero_filled
        else:
            predictions = self.kspace_network(
                to_channels(measurement.auxiliary_kspace), to_channels(measurement.kspace)
            )
            extras["auxiliary_kspace"], extras["kspace"] = map(to_complex, predictions)
            # torch differentiates |z| at z = 0 as 0, so that empty regions give no NaN.
            auxiliary = ifft2c(extras["auxiliary_kspace"]).abs()
            target = ifft2c(extras["kspace"]).abs()
        auxiliary, target = self.image_network(auxiliary[:, None], target[:, None])
        extras["auxiliary"] = auxiliary[:, 0].float()
        return Reconstruction(target[:, 0].float(), extras)

    def _balance(self, auxiliary: Tensor, target: Tensor) -> Tensor:
        return (1 - self.beta) * auxiliary + self.beta * target

    def loss(self, reconstruction: Reconstruction, truth: Truth, measurement: Measurement) -> Tensor:
        """Eq. 6 with L1 terms; without a k-space network its image part alone, unweighted by alpha."""
        extras = reconstruction.extras
        image = self._balance(
            functional.l1_loss(extras["auxiliary"], measurement.auxiliary),
            functional.l1_loss(reconstruction.image, truth.image),
        )
        if self.kspace_network is None:
            return image
        kspace = self._balance(
            complex_l1(extras["auxiliary_kspace"], measurement.auxiliary_kspace),
            complex_l1(extras["kspace"], truth.kspace),
        )
        return self.alpha * kspace + (1 - self.alpha) * image


def build(params: Parameters, image_shape: tuple[int, int]) -> ReconstructionModel:
    """Build MANet or one of its ablations; for the parameters see ``MANet``.

    Raises:
        BadInput: ``levels`` does not suit the image shape, or ``fusion``, ``alpha`` or ``beta`` is
            outside its range.
    """
    require_depth("manet", "levels", params["levels"], image_shape, least=2, padded=True)
    if params["fusion"] not in _FUSIONS:
        raise bad_parameter("manet", "fusion", params["fusion"], f"set it to one of {', '.join(_FUSIONS)}")
    for field in ("alpha", "beta"):
        if not 0 <= params[field] <= 1:
            raise bad_parameter("manet", field, params[field], "set it to a weight from 0 to 1")
    return MANet(**params)
