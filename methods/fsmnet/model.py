"""FSMNet: a frequency branch and a spatial branch that look at each other at every level."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from data_prep.measurement import Measurement, Truth
from methods.blocks import bad_parameter, crop_to, pad_to_multiple
from methods.contract import Reconstruction, ReconstructionModel
from methods.networks import standardise

_LEVELS = 3
_OFFSET = 1e-8
_SPECTRUM_WEIGHT = 0.01


def _convolution(inputs: int, outputs: int, *, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)


def _end(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_convolution(inputs, outputs, bias=False), nn.PReLU())


def _down(features: int) -> nn.Sequential:
    """Half the sides: 3x3, every 2x2 square into channels, 1x1."""
    return nn.Sequential(
        _convolution(features, features, bias=False),
        nn.PixelUnshuffle(2),
        nn.Conv2d(4 * features, features, 1, bias=False),
    )


def _up(features: int) -> nn.Sequential:
    """Twice the sides: 1x1, channels into 2x2 squares, PReLU."""
    return nn.Sequential(nn.Conv2d(features, 4 * features, 1), nn.PixelShuffle(2), nn.PReLU())


def amplitude_and_phase(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Amplitude and phase of the unnormalised half spectrum of real (..., height, width).

    Coefficients that are their own mirror image are real. Rounding would make the phase of a negative one pi
    or -pi by chance; here it is pi.
    """
    height, width = maps.shape[-2:]
    spectrum = torch.fft.rfft2(maps.float())
    row = torch.arange(height, device=maps.device)[:, None]
    column = torch.arange(width // 2 + 1, device=maps.device)
    mirrors_itself = (2 * row % height == 0) & (2 * column % width == 0)
    imaginary = torch.where(mirrors_itself, 0, spectrum.imag)
    return spectrum.abs(), torch.atan2(imaginary, spectrum.real)


class FrequencyBlock(nn.Module):
    """Convolutions on amplitude and phase of the spectrum; 156,032 parameters at 64 features."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.before = nn.Conv2d(features, features, 1)
        self.amplitude, self.phase = (
            nn.Sequential(
                _convolution(features, features),
                nn.LeakyReLU(0.1, inplace=True),
                _convolution(features, features),
            )
            for _ in range(2)
        )
        self.after = nn.Conv2d(features, features, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (batch, features, height, width) to the same shape."""
        amplitude, phase = amplitude_and_phase(self.before(maps) + _OFFSET)
        amplitude = (amplitude + self.amplitude(amplitude)).float()
        phase = (phase + self.phase(phase)).float()
        # Not torch.polar, which takes no negative amplitude; a convolution may give one.
        spectrum = torch.complex(amplitude * phase.cos(), amplitude * phase.sin())
        changed = torch.fft.irfft2(spectrum, s=maps.shape[-2:]).abs()
        restored: Tensor = self.after(changed) + maps
        return restored


class ResidualBlock(nn.Module):
    """ReLU(x + 3x3(ReLU(3x3 x))), without biases."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = _convolution(features, features, bias=False)
        self.second = _convolution(features, features, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (batch, features, height, width) to the same shape."""
        return functional.relu(maps + self.second(functional.relu(self.first(maps))))


class ResidualGroup(nn.Module):
    """Two residual blocks, 3x3, PReLU, plus the scaled input; 184,322 parameters at 64 features."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ResidualBlock(features), ResidualBlock(features), _convolution(features, features, bias=False)
        )
        self.activation = nn.PReLU()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, maps: Tensor) -> Tensor:
        """Map (batch, features, height, width) to the same shape."""
        updated: Tensor = self.activation(self.body(maps)) + self.scale * maps
        return updated


class Gates(nn.Module):
    """Two maps weighed against each other: 3x3, 3x3 and sigmoid on both give a gate for each."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = _convolution(2 * features, features)
        self.second = _convolution(features, 2 * features)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Merge two (batch, features, height, width) into one."""
        gates = torch.sigmoid(self.second(self.first(torch.cat((one, other), dim=1))))
        of_one, of_other = gates.chunk(2, dim=1)
        return of_one * one + of_other * other


class ModalityFusion(nn.Module):
    """Auxiliary and target, each through a 3x3, weighed by gates; 221,504 parameters at 64 features."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.auxiliary = _convolution(features, features)
        self.target = _convolution(features, features)
        self.gates = Gates(features)

    def forward(self, auxiliary: Tensor, target: Tensor) -> Tensor:
        """Merge two (batch, features, height, width) into one."""
        merged: Tensor = self.gates(self.auxiliary(auxiliary), self.target(target))
        return merged


class ChannelAttention(nn.Module):
    """Attention between channels: each is a token of all its pixels."""

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.key_value = nn.Sequential(
            nn.Conv2d(features, 2 * features, 1, bias=False),
            nn.Conv2d(2 * features, 2 * features, 3, padding=1, groups=2 * features, bias=False),
        )
        self.query = nn.Sequential(
            nn.Conv2d(features, features, 1, bias=False),
            nn.Conv2d(features, features, 3, padding=1, groups=features, bias=False),
        )
        self.projection = nn.Conv2d(features, features, 1, bias=False)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))

    def forward(self, asking: Tensor, asked: Tensor) -> Tensor:
        """Return what ``asking`` takes from ``asked``, (batch, features, height, width)."""
        key, value = self.key_value(asked).chunk(2, dim=1)
        query, key, value = (
            maps.unflatten(1, (self.heads, -1)).flatten(3) for maps in (self.query(asking), key, value)
        )
        alike = functional.normalize(query, dim=-1) @ functional.normalize(key, dim=-1).mT
        attended = torch.softmax(alike * self.temperature, dim=-1) @ value
        projected: Tensor = self.projection(attended.flatten(1, 2).unflatten(-1, asking.shape[-2:]))
        return projected


class BranchFusion(nn.Module):
    """Both branches attend to each other through one attention; then gates. 239,624 parameters at 64.

    The released one holds a second attention for the other direction and never calls it; it is left out.
    """

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.spatial = _convolution(features, features)
        self.frequency = _convolution(features, features)
        self.attention = ChannelAttention(features, heads)
        self.gates = Gates(features)

    def forward(self, frequency: Tensor, spatial: Tensor) -> Tensor:
        """Merge two (batch, features, height, width) into one."""
        spatial, frequency = self.spatial(spatial), self.frequency(frequency)
        spatial = spatial + self.attention(spatial, frequency)
        frequency = frequency + self.attention(frequency, spatial)
        merged: Tensor = self.gates(spatial, frequency)
        return merged


class AuxiliaryBranch(nn.Module):
    """A branch of the auxiliary, which no other branch changes: head, three levels and neck.

    Args:
        features: feature maps everywhere.
        block: what each level and the neck has two of, ``FrequencyBlock`` or ``ResidualGroup``.
    """

    def __init__(self, features: int, block: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.head = _end(1, features)
        self.levels = nn.ModuleList(
            nn.Sequential(_down(features), block(features), block(features)) for _ in range(_LEVELS)
        )
        self.neck = nn.Sequential(block(features), block(features))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the features of head, levels 1 to 3 and neck, from (batch, 1, height, width)."""
        found = [self.head(image)]
        for level in (*self.levels, self.neck):
            found.append(level(found[-1]))
        return found


class FrequencyTarget(nn.Module):
    """Frequency branch of the target: encoder, neck and decoder of frequency blocks."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.head = _end(1, features)
        self.fusions = nn.ModuleList(ModalityFusion(features) for _ in range(_LEVELS + 2))
        self.downs = nn.ModuleList(_down(features) for _ in range(_LEVELS))
        self.ups = nn.ModuleList(_up(features) for _ in range(_LEVELS))
        # Two for each level, the neck and each level of the decoder.
        self.blocks = nn.ModuleList(FrequencyBlock(features) for _ in range(2 * (2 * _LEVELS + 1)))
        self.tail = _end(features, 1)

    def forward(self, image: Tensor, auxiliary: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the image's correction and the 14 features that the spatial branch looks at, in its order.

        Args:
            image: (batch, 1, height, width).
            auxiliary: features of the auxiliary's frequency branch.
        """
        shown: list[Tensor] = []
        blocks = iter(self.blocks)
        fused = [self.fusions[0](auxiliary[0], self.head(image))]
        for level, (down, fusion) in enumerate(zip(self.downs, self.fusions[1:], strict=False), start=1):
            first = next(blocks)(down(fused[-1]))
            second = next(blocks)(first)
            fused.append(fusion(auxiliary[level], second))
            # At the first level only, the merged features are shown.
            shown += [first, fused[-1] if level == 1 else second]
        first = next(blocks)(fused[-1])
        features = self.fusions[-1](auxiliary[-1], next(blocks)(first)) + fused.pop()
        shown += [first, features]
        for up in self.ups:
            first = next(blocks)(up(features))
            features = next(blocks)(first) + fused.pop()
            shown += [first, features]
        return self.tail(features), shown


class SpatialLevel(nn.Module):
    """Group, fusion with the frequency branch, group, a skip added if there is one, fusion again."""

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.first = ResidualGroup(features)
        self.first_fusion = BranchFusion(features, heads)
        self.second = ResidualGroup(features)
        self.second_fusion = BranchFusion(features, heads)

    def forward(
        self, features: Tensor, shown: tuple[Tensor, Tensor], skip: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the level's features, and those of the second group, which the decoder adds."""
        features = self.second(self.first_fusion(shown[0], self.first(features)))
        if skip is not None:
            features = features + skip
        return self.second_fusion(shown[1], features), features


class SpatialTarget(nn.Module):
    """Spatial branch of the target: encoder, neck and decoder of residual groups."""

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.head = _end(1, features)
        self.fusions = nn.ModuleList(ModalityFusion(features) for _ in range(_LEVELS + 2))
        self.downs = nn.ModuleList(_down(features) for _ in range(_LEVELS))
        self.ups = nn.ModuleList(_up(features) for _ in range(_LEVELS))
        self.levels = nn.ModuleList(SpatialLevel(features, heads) for _ in range(2 * _LEVELS + 1))
        self.tail = _end(features, 1)

    def forward(self, image: Tensor, auxiliary: list[Tensor], shown: list[Tensor]) -> Tensor:
        """Return the image's correction (batch, 1, height, width).

        Args:
            image: (batch, 1, height, width).
            auxiliary: features of the auxiliary's spatial branch.
            shown: features of ``FrequencyTarget``, two for each level.
        """
        pairs = iter(zip(shown[::2], shown[1::2], strict=True))
        levels = iter(self.levels)
        skips = [self.head(image)]
        features = self.fusions[0](auxiliary[0], skips[0])
        for position, down in enumerate(self.downs, start=1):
            features, skip = next(levels)(down(features), next(pairs))
            skips.append(skip)
            features = self.fusions[position](auxiliary[position], features)
        features, _ = next(levels)(features, next(pairs), skips.pop())
        features = self.fusions[-1](auxiliary[-1], features)
        for up in self.ups:
            features, _ = next(levels)(up(features), next(pairs), skips.pop())
        correction: Tensor = self.tail(features)
        return correction


class TwoBranches(nn.Module):
    """All four parts; each branch adds its correction to the target image."""

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.frequency_auxiliary = AuxiliaryBranch(features, FrequencyBlock)
        self.frequency_target = FrequencyTarget(features)
        self.spatial_auxiliary = AuxiliaryBranch(features, ResidualGroup)
        self.spatial_target = SpatialTarget(features, heads)

    def forward(self, target: Tensor, auxiliary: Tensor) -> tuple[Tensor, Tensor]:
        """Map two (batch, 1, height, width), sides divisible by 8, to the spatial and the frequency image."""
        correction, shown = self.frequency_target(target, self.frequency_auxiliary(auxiliary))
        spatial = self.spatial_target(target, self.spatial_auxiliary(auxiliary), shown)
        return target + spatial, target + correction


class FSMNet(ReconstructionModel):
    """Both branches between standardised magnitudes."""

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.network = TwoBranches(features, heads)

    def forward(self, measurement: Measurement) -> Reconstruction:
        """Reconstruct; extras: both images in standardised units, and the target's mean and deviation."""
        target, mean, std = standardise(measurement.zero_filled[:, None])
        auxiliary = standardise(measurement.auxiliary[:, None])[0]
        height, width = target.shape[-2:]
        outputs = self.network(pad_to_multiple(target, 2**_LEVELS), pad_to_multiple(auxiliary, 2**_LEVELS))
        spatial, frequency = (crop_to(output, (height, width)).float() for output in outputs)
        extras = {"spatial": spatial, "frequency": frequency, "mean": mean, "std": std}
        return Reconstruction((spatial * std + mean)[:, 0], extras)

    def loss(self, reconstruction: Reconstruction, truth: Truth, measurement: Measurement) -> Tensor:
        """L1 of both images, and 0.01 L1 of amplitude and phase of the frequency branch's; standardised."""
        extras = reconstruction.extras
        target = (truth.image[:, None] - extras["mean"]) / extras["std"]
        found, wanted = amplitude_and_phase(extras["frequency"]), amplitude_and_phase(target)
        spectra = [functional.l1_loss(one, other) for one, other in zip(found, wanted, strict=True)]
        images = [functional.l1_loss(extras[name], target) for name in ("spatial", "frequency")]
        return torch.stack(images).sum() + _SPECTRUM_WEIGHT * torch.stack(spectra).sum()


def build(params: Mapping[str, Any], image_shape: tuple[int, int]) -> ReconstructionModel:
    """Build both branches with ``features`` and ``heads``; they take any image shape.

    Raises:
        BadInput: ``features`` does not give every head the same number of channels, two or more.
    """
    features, heads = params["features"], params["heads"]
    if features < 2 * heads or features % heads:
        remedy = f"set it to a multiple of heads, {heads}, that gives each two channels or more to compare"
        raise bad_parameter("fsmnet", "features", features, remedy)
    return FSMNet(features, heads)
