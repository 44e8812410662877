"""End-to-end variational network for a single coil, with the auxiliary as a third channel."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from data_prep.fourier import fft2c, ifft2c
from data_prep.measurement import Measurement
from methods.blocks import bad_parameter, crop_to, pad_to_multiple, require_depth, to_channels, to_complex
from methods.contract import Parameters, Reconstruction, ReconstructionModel
from methods.networks import LEAST_STD, UNet, standardise

_WINDOW = 7


class NormalisedUNet(nn.Module):
    """U-Net on a complex image whose real and imaginary parts are standardised before and restored after.

    Args:
        channels: feature maps of the U-Net's first level.
        pools: number of its 2x2 average poolings.
        prior: whether there is an auxiliary beside the two parts.
    """

    def __init__(self, channels: int, pools: int, prior: bool) -> None:
        super().__init__()
        self.multiple = 2**pools
        self.network = UNet(3 if prior else 2, channels, pools, 0.0, outputs=2)

    def forward(self, image: Tensor, auxiliary: Tensor | None) -> Tensor:
        """Map a complex image (batch, height, width) to one of the same shape.

        Args:
            image: complex.
            auxiliary: standardised (batch, 1, height, width), by itself: its statistics are not the
                target's, and only the target's come back after the network.
        """
        parts = to_channels(image)
        mean = parts.mean(dim=(-2, -1), keepdim=True)
        # A real image has no spread in its imaginary part.
        std = parts.std(dim=(-2, -1), keepdim=True).clamp_min(LEAST_STD)
        inputs = (parts - mean) / std
        if auxiliary is not None:
            inputs = torch.cat((inputs, auxiliary), dim=1)
        height, width = image.shape[-2:]
        output = crop_to(self.network(pad_to_multiple(inputs, self.multiple)), (height, width))
        return to_complex(output.float() * std + mean)


class Cascade(nn.Module):
    """One unrolled step: k - w M (k - k_measured) - F N(F^-1 k).

    Args:
        channels: feature maps of the U-Net's first level.
        pools: number of its 2x2 average poolings.
        prior: whether the auxiliary joins the U-Net's input.
        first: in the first step k is k_measured, so that it has nothing to weigh and no w.
    """

    def __init__(self, channels: int, pools: int, prior: bool, *, first: bool = False) -> None:
        super().__init__()
        self.weight = None if first else nn.Parameter(torch.ones(()))
        self.refinement = NormalisedUNet(channels, pools, prior)

    def forward(self, kspace: Tensor, measured: Tensor, mask: Tensor, auxiliary: Tensor | None) -> Tensor:
        """Return the next k-space, complex (batch, height, width), from the current and the measured one."""
        refined: Tensor = kspace - fft2c(self.refinement(ifft2c(kspace), auxiliary))
        if self.weight is None:
            return refined
        return refined - self.weight * torch.where(mask, kspace - measured, 0)


def structural_similarity(images: Tensor, reference: Tensor) -> Tensor:
    """Mean SSIM of each slice, (batch,), from two stacks (batch, height, width).

    Uniform 7x7 windows that lie within the image, k1 = 0.01, k2 = 0.03, sample covariances; the range is the
    reference slice's maximum (1 for an empty slice).
    """
    peak = reference.amax(dim=(-2, -1), keepdim=True)
    scale = torch.where(peak > 0, peak, torch.ones_like(peak))
    # Dividing first leaves constants that do not depend on the slice.
    x, y = images[:, None] / scale[:, None], reference[:, None] / scale[:, None]
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = (
        functional.avg_pool2d(maps, _WINDOW, stride=1) for maps in (x, y, x * x, y * y, x * y)
    )
    unbiased = _WINDOW**2 / (_WINDOW**2 - 1)
    spread_x = unbiased * (mean_xx - mean_x.square())
    spread_y = unbiased * (mean_yy - mean_y.square())
    shared = unbiased * (mean_xy - mean_x * mean_y)
    luminance = (2 * mean_x * mean_y + 0.01**2) / (mean_x.square() + mean_y.square() + 0.01**2)
    structure = (2 * shared + 0.03**2) / (spread_x + spread_y + 0.03**2)
    return (luminance * structure).mean(dim=(-3, -2, -1))


def ssim_loss(images: Tensor, reference: Tensor) -> Tensor:
    """1 - SSIM, mean over the slices."""
    return 1 - structural_similarity(images, reference).mean()


_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"ssim": ssim_loss, "l1": functional.l1_loss}


class VarNet(ReconstructionModel):
    """Cascades from the measured k-space on; the magnitude of the last k-space's image."""

    def __init__(self, cascades: int, channels: int, pools: int, prior: bool, loss: str) -> None:
        super().__init__()
        self.prior = prior
        self.criterion = _LOSSES[loss]
        self.cascades = nn.ModuleList(
            Cascade(channels, pools, prior, first=position == 0) for position in range(cascades)
        )

    def forward(self, measurement: Measurement) -> Reconstruction:
        """Reconstruct; data consistency pulls towards what was measured, noise included."""
        auxiliary = standardise(measurement.auxiliary[:, None])[0] if self.prior else None
        kspace = measurement.kspace
        for cascade in self.cascades:
            kspace = cascade(kspace, measurement.kspace, measurement.mask, auxiliary)
        return Reconstruction(ifft2c(kspace).abs())


def build(params: Parameters, image_shape: tuple[int, int]) -> ReconstructionModel:
    """Build the cascades; for the parameters see ``Cascade`` and method.yaml.

    Raises:
        BadInput: there is no cascade, ``loss`` is unknown, or ``pools`` or the loss's window does not suit
            the image shape.
    """
    require_depth("varnet", "pools", params["pools"], image_shape, least=1, padded=True)
    if params["cascades"] < 1:
        raise bad_parameter("varnet", "cascades", params["cascades"], "set it to 1 or more")
    if params["loss"] not in _LOSSES:
        raise bad_parameter("varnet", "loss", params["loss"], "set it to ssim or l1")
    if params["loss"] == "ssim" and min(image_shape) < _WINDOW:
        remedy = f"set it to l1: SSIM's window is {_WINDOW}x{_WINDOW}, the image {image_shape}"
        raise bad_parameter("varnet", "loss", params["loss"], remedy)
    return VarNet(params["cascades"], params["channels"], params["pools"], params["prior"], params["loss"])
