"""MC-VarNet: unrolled, with the auxiliary split into what both contrasts share and what is its own."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from data_prep.fourier import fft2c, ifft2c
from data_prep.measurement import Measurement
from methods.blocks import bad_parameter
from methods.contract import Reconstruction, ReconstructionModel

SPECTRA = ("complex", "real", "half")
# Constants of the released program, which keeps them where no optimiser sees them: step, and weights of the
# dictionary term, the denoisers and the two copies. All but the step are 1 and do not show below.
_STEP = 0.1


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)


class Convolutions(nn.Module):
    """3x3 convolutions with one PReLU slope for all the activations between them.

    Args:
        inputs: channels of the input.
        features: channels after each convolution.
        activated: for each convolution, whether an activation follows.
    """

    def __init__(self, inputs: int, features: int, activated: tuple[bool, ...]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            _convolution(inputs if position == 0 else features, features)
            for position in range(len(activated))
        )
        self.activation = nn.PReLU()
        self.activated = activated

    def forward(self, maps: Tensor) -> Tensor:
        """Map (batch, inputs, height, width) to (batch, features, height, width)."""
        for convolution, active in zip(self.convolutions, self.activated, strict=True):
            maps = convolution(maps)
            if active:
                maps = self.activation(maps)
        return maps


class ResidualUNet(nn.Module):
    """Three levels of one width, strided convolutions down and up, the input added at the end.

    The released one also computes a fourth resolution and drops it; that convolution is left out.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(Convolutions(features, features, (True, True, False)) for _ in range(3))
        self.downs = nn.ModuleList(_convolution(features, features, stride=2) for _ in range(2))
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(features, features, 3, stride=2, padding=1) for _ in range(2)
        )
        self.decoder = nn.ModuleList(
            Convolutions(2 * features, features, (True, True, True, False)) for _ in range(2)
        )
        self.end = Convolutions(features, features, (True, True, False, False))

    def forward(self, maps: Tensor) -> Tensor:
        """Map (batch, features, height, width) to the same shape."""
        features, skips = maps, []
        for block, down in zip(self.encoder, self.downs, strict=False):
            skips.append(block(features))
            features = down(skips[-1])
        features = self.encoder[-1](features)
        for up, block in zip(self.ups, self.decoder, strict=True):
            skip = skips.pop()
            features = block(torch.cat((up(features, output_size=skip.shape[-2:]), skip), dim=1))
        restored: Tensor = self.end(features) + maps
        return restored


def _dictionary(features: int) -> nn.Sequential:
    return nn.Sequential(
        _convolution(features, features), nn.ReLU(inplace=True), _convolution(features, features)
    )


def half_inverse(kspace: Tensor) -> Tensor:
    """The released program's inverse: of centred k-space (..., height, width), half of the columns is read.

    ``irfft2`` takes the columns of non-negative frequency and supposes that the others mirror them.
    """
    width = kspace.shape[-1]
    swapped = torch.fft.ifftshift(kspace, dim=(-2, -1))[..., : width // 2 + 1]
    image = torch.fft.irfft2(swapped, s=kspace.shape[-2:], norm="ortho")
    centred: Tensor = torch.fft.fftshift(image, dim=(-2, -1))
    return centred


class UnrolledNetwork(nn.Module):
    """Initial U-Nets, unrolled iterations with shared weights, and the last convolution.

    Args:
        features: feature maps everywhere.
        iterations: how many.
        spectrum: how data consistency sees the maps. ``complex``: the first half of the channels are real,
            the second imaginary parts. ``real``, ``half``: every channel is a real image, and the real part
            of the inverse transform is kept, or what ``half_inverse`` gives.
    """

    def __init__(self, features: int, iterations: int, spectrum: str) -> None:
        super().__init__()
        self.features = features
        self.iterations = iterations
        self.spectrum = spectrum
        self.start_target = ResidualUNet(features)
        self.start_common = ResidualUNet(features)
        self.encode_target = _dictionary(features)
        self.encode_common = _dictionary(features)
        self.decode_target = _dictionary(features)
        self.denoise_target = ResidualUNet(features)
        self.decode_common = _dictionary(features)
        self.update_common = _dictionary(features)
        self.denoise_common = ResidualUNet(features)
        self.denoise_unique = ResidualUNet(features)
        self.last = _convolution(features, 2 if spectrum == "complex" else 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.xavier_normal_(module.weight)

    def consistent(self, maps: Tensor, measured: Tensor, mask: Tensor) -> Tensor:
        """Put ``measured`` (batch, height, width) back where it was sampled, in every image of ``maps``."""
        maps, measured, mask = maps.float(), measured[:, None], mask[:, None]
        if self.spectrum == "complex":
            real, imaginary = maps.chunk(2, dim=1)
            image = ifft2c(torch.where(mask, measured, fft2c(torch.complex(real, imaginary))))
            return torch.cat((image.real, image.imag), dim=1)
        kspace = measured + ~mask * fft2c(maps.to(torch.complex64))
        return ifft2c(kspace).real if self.spectrum == "real" else half_inverse(kspace)

    def forward(self, target: Tensor, reference: Tensor, measured: Tensor, mask: Tensor) -> Tensor:
        """Reconstruct; returns (batch, 2, height, width), real and imaginary part, or (batch, 1, ...).

        Args:
            target: the zero-filled image, (batch, 2 or 1, height, width) likewise.
            reference: the auxiliary, (batch, 1, height, width).
            measured: k-space to keep at the sampled positions, complex (batch, height, width).
            mask: bool, broadcastable to ``measured``.
        """
        target = target.repeat_interleave(self.features // target.shape[1], dim=1)
        reference = reference.repeat_interleave(self.features, dim=1)
        image, common = self.start_target(target), self.start_common(reference)
        unique = reference - common
        common_copy, unique_copy = common, unique
        for iteration in range(self.iterations):
            code = self.encode_target(image)
            difference = self.decode_target(code - self.encode_common(common))
            stepped = self.consistent(image, measured, mask) - _STEP * (
                difference + self.denoise_target(image)
            )
            if iteration + 1 < self.iterations:
                # Every right-hand side is of the iteration before.
                updated = self.update_common(reference - unique + self.decode_common(code) + common_copy)
                unique = (reference + unique_copy - common) / 2
                common = updated
                common_copy, unique_copy = self.denoise_common(common), self.denoise_unique(unique)
            image = stepped
        restored: Tensor = self.last(image).float()
        return restored


class MCVarNet(ReconstructionModel):
    """The unrolled network between a measurement and a magnitude image; L1."""

    def __init__(self, features: int, iterations: int, spectrum: str) -> None:
        super().__init__()
        self.network = UnrolledNetwork(features, iterations, spectrum)

    def forward(self, measurement: Measurement) -> Reconstruction:
        """Reconstruct the target from its measured k-space and the auxiliary image."""
        measured = measurement.kspace
        if self.network.spectrum == "complex":
            image = ifft2c(measured)
            target = torch.stack((image.real, image.imag), dim=1)
        elif self.network.spectrum == "real":
            target = ifft2c(measured).real[:, None]
        else:
            target = half_inverse(measured)[:, None]
            # As released: what data consistency restores comes from the image, not from the scanner.
            measured = fft2c(target[:, 0].to(torch.complex64))
        output = self.network(target, measurement.auxiliary[:, None], measured, measurement.mask)
        if self.network.spectrum == "complex":
            return Reconstruction(torch.complex(output[:, 0], output[:, 1]).abs())
        return Reconstruction(output[:, 0])


def build(params: Mapping[str, Any], image_shape: tuple[int, int]) -> ReconstructionModel:
    """Build the network with ``features``, ``iterations`` and ``spectrum``; it takes any image shape.

    Raises:
        BadInput: ``features`` is odd, there are fewer than four iterations, or ``spectrum`` is unknown.
    """
    if params["features"] < 2 or params["features"] % 2:
        raise bad_parameter("mcvarnet", "features", params["features"], "set it to an even number above 0")
    if params["iterations"] < 4:
        remedy = "set it to 4 or more: what the denoiser of u gives reaches the image three iterations later"
        raise bad_parameter("mcvarnet", "iterations", params["iterations"], remedy)
    if params["spectrum"] not in SPECTRA:
        remedy = f"set it to one of {', '.join(SPECTRA)}"
        raise bad_parameter("mcvarnet", "spectrum", params["spectrum"], remedy)
    return MCVarNet(params["features"], params["iterations"], params["spectrum"])
