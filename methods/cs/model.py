"""Compressed sensing by total variation or wavelets: minimise 1/2 |M F x - k_u|^2 + lambda R(x)."""

import math
from functools import cache

import pywt
import torch
from torch import Tensor

from data_prep.fourier import fft2c, ifft2c
from data_prep.measurement import Measurement
from data_prep.seeds import seed_for
from methods.blocks import bad_parameter, crop_to, pad_to_multiple
from methods.contract import Parameters, Reconstruction, ReconstructionModel

_CPU = torch.device("cpu")
_WAVELET = "db4"
# ADMM's penalty; it changes how fast, not where to.
_PENALTY = 10.0
_LARGEST_SHIFT = 32


def shrink(values: Tensor, size: Tensor, threshold: float) -> Tensor:
    """Shorten ``values`` by ``threshold`` where their ``size`` is that long, to 0 elsewhere."""
    return values * (1 - threshold / size.clamp_min(threshold))


def gradient(image: Tensor) -> Tensor:
    """Differences to the next pixel down and to the right, periodic: (2, batch, height, width)."""
    return torch.stack((image.roll(-1, -2) - image, image.roll(-1, -1) - image))


def gradient_adjoint(field: Tensor) -> Tensor:
    """The adjoint of ``gradient``: (2, batch, height, width) to (batch, height, width)."""
    return field[0].roll(1, -2) - field[0] + field[1].roll(1, -1) - field[1]


def gradient_spectrum(height: int, width: int) -> Tensor:
    """What ``gradient`` and its adjoint, one after the other, do to each k-space sample; (height, width)."""
    of_axes = [
        2 - 2 * torch.cos(2 * math.pi * (torch.arange(size) - size // 2) / size) for size in (height, width)
    ]
    return of_axes[0][:, None] + of_axes[1][None, :]


def total_variation(measurement: Measurement, weight: float, iterations: int) -> Tensor:
    """Minimise with R = isotropic total variation by ADMM; complex (batch, height, width).

    The image update is exact: what is sampled and what a periodic difference does are both diagonal in
    k-space.
    """
    measured = measurement.kspace
    penalty = _PENALTY * weight
    height, width = measured.shape[-2:]
    curvature = measurement.mask + penalty * gradient_spectrum(height, width).to(measured.device)
    # Only an unsampled zero frequency has no curvature; it stays 0.
    inverse = torch.where(curvature > 0, 1 / curvature, 0)
    image: Tensor = ifft2c(measured)
    split = gradient(image)
    dual = torch.zeros_like(split)
    for _ in range(iterations):
        pulled = penalty * gradient_adjoint(split - dual)
        image = ifft2c(inverse * (measured + fft2c(pulled)))
        ahead = gradient(image) + dual
        split = shrink(ahead, torch.linalg.vector_norm(ahead, dim=0), weight / penalty)
        dual = ahead - split
    return image


@cache
def analysis_matrix(side: int, device: torch.device = _CPU) -> Tensor:
    """One level of the orthonormal periodic wavelet transform along an axis of even length.

    A GPU gets it once: each copy would wait until the GPU has done all before.

    Returns:
        Complex64 (side, side): its upper half gives the low band, its lower half the details. The inverse is
        the transpose.
    """
    if device != _CPU:
        return analysis_matrix(side).to(device)
    wavelet = pywt.Wavelet(_WAVELET)
    matrix = torch.zeros(side, side, dtype=torch.float64)
    for first, taps in ((0, wavelet.dec_lo), (side // 2, wavelet.dec_hi)):
        for tap, value in enumerate(taps):
            for row in range(side // 2):
                # Where PyWavelets' mode `periodization` begins. Short axes are wound around several times.
                matrix[first + row, (2 * row + len(taps) // 2 - tap) % side] += value
    return matrix.to(torch.complex64)


def shrink_details(image: Tensor, threshold: float, levels: int) -> Tensor:
    """Shrink the detail coefficients of a complex (batch, height, width); the coarsest band is spared."""
    if levels == 0:
        return image
    height, width = image.shape[-2:]
    rows, columns = (analysis_matrix(side, image.device) for side in (height, width))
    bands = rows @ image @ columns.mT
    coarse = shrink_details(bands[..., : height // 2, : width // 2], threshold, levels - 1)
    bands = shrink(bands, bands.abs(), threshold)
    bands[..., : height // 2, : width // 2] = coarse
    return rows.mT @ bands @ columns


def shifts(iterations: int) -> list[tuple[int, int]]:
    """Return the cyclic shift of each iteration: the same for every slice, mask and run."""
    generator = torch.Generator().manual_seed(seed_for(use="wavelet shifts"))
    drawn = torch.randint(_LARGEST_SHIFT, (iterations, 2), generator=generator).tolist()
    return [(down, right) for down, right in drawn]


def wavelet_sparsity(measurement: Measurement, weight: float, iterations: int, levels: int) -> Tensor:
    """Minimise with R = L1 of the wavelet details by FISTA, step 1; complex (batch, height, width)."""
    measured, mask = measurement.kspace, measurement.mask
    height, width = measured.shape[-2:]
    image: Tensor = ifft2c(measured)
    ahead = image
    momentum = 1.0
    for shift in shifts(iterations):
        # A gradient step of size 1 puts the measured samples back.
        consistent = ifft2c(torch.where(mask, measured, fft2c(ahead)))
        padded = pad_to_multiple(consistent, 2**levels).roll(shift, (-2, -1))
        sparse = shrink_details(padded, weight, levels).roll((-shift[0], -shift[1]), (-2, -1))
        previous, image = image, crop_to(sparse, (height, width))
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead = image + (momentum - 1) / following * (image - previous)
        momentum = following
    return image


class CompressedSensing(ReconstructionModel):
    """Iterations on the measured k-space alone. Nothing to train.

    Args:
        transform: ``tv`` or ``wavelet``.
        weight: lambda, in units of the zero-filled image's maximum.
        iterations: how many.
        levels: of the wavelet transform.
    """

    def __init__(self, transform: str, weight: float, iterations: int, levels: int) -> None:
        super().__init__()
        self.transform = transform
        self.weight = weight
        self.iterations = iterations
        self.levels = levels

    def forward(self, measurement: Measurement) -> Reconstruction:
        """Return the magnitude of the minimiser after ``iterations`` steps."""
        if self.transform == "tv":
            image = total_variation(measurement, self.weight, self.iterations)
        else:
            image = wavelet_sparsity(measurement, self.weight, self.iterations, self.levels)
        return Reconstruction(image.abs())


def build(params: Parameters, image_shape: tuple[int, int]) -> ReconstructionModel:
    """Set up the method; it takes any image shape whose sides the wavelet transform need not double.

    Raises:
        BadInput: ``transform`` is unknown, or ``weight``, ``iterations`` or ``levels`` is out of range.
    """
    if params["transform"] not in ("tv", "wavelet"):
        raise bad_parameter("cs", "transform", params["transform"], "set it to tv or wavelet")
    if params["weight"] <= 0:
        raise bad_parameter("cs", "weight", params["weight"], "set it above 0")
    for field in ("iterations", "levels"):
        if params[field] < 1:
            raise bad_parameter("cs", field, params[field], "set it to 1 or more")
    # Sides are padded to multiples of 2 to this power; what no longer halves pixels but air fills any memory.
    if params["transform"] == "wavelet" and params["levels"] > (2 * max(image_shape)).bit_length() - 1:
        height, width = image_shape
        remedy = f"lower it: an image of {height}x{width} cannot be halved so often"
        raise bad_parameter("cs", "levels", params["levels"], remedy)
    return CompressedSensing(params["transform"], params["weight"], params["iterations"], params["levels"])
