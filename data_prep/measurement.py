"""What a scanner gives and what only training and evaluation may see (eq. 1 of the paper)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from data_prep.fourier import fft2c, ifft2c


@dataclass(frozen=True)
class Measurement:
    """All that a scanner gives, and all that a method's ``forward`` sees, in normalised units.

    Attributes:
        kspace: undersampled target k-space, noise included, complex64 (batch, height, width).
        mask: sampled positions, bool, broadcastable to ``kspace``: (batch or 1, height or 1, width).
        auxiliary: fully sampled auxiliary magnitude, float32 (batch, height, width), maximum 1.
        auxiliary_kspace: its k-space, complex64 (batch, height, width).
        scale: scanner units per normalised unit of ``kspace``, float32 (batch,): the maximum of
            |F^-1 kspace| before normalisation, hence known from the measurement alone.
    """

    kspace: Tensor
    mask: Tensor
    auxiliary: Tensor
    auxiliary_kspace: Tensor
    scale: Tensor

    @property
    def zero_filled(self) -> Tensor:
        """|F^-1 kspace|, float32 (batch, height, width), maximum 1."""
        image: Tensor = ifft2c(self.kspace).abs()
        return image


@dataclass(frozen=True)
class Truth:
    """The fully sampled target, for losses and metrics only, in the measurement's normalised units.

    Attributes:
        image: magnitude, float32 (batch, height, width).
        kspace: noise-free for IXI, as measured for fastMRI, complex64 (batch, height, width).
    """

    image: Tensor
    kspace: Tensor


def measure(
    target: Tensor, auxiliary: Tensor, mask: Tensor, noise: Tensor | None = None
) -> tuple[Measurement, Truth]:
    """Simulate k_u = M (F x + n) and normalise it, on whatever device the slices are.

    Args:
        target: fully sampled target, float32 magnitude or complex64 (batch, height, width).
        auxiliary: float32 magnitude (batch, height, width).
        mask: bool, broadcastable to ``target``.
        noise: complex64 k-space noise (batch, height, width), or None where k-space is measured.

    Returns:
        The measurement and the truth, both divided by the measurement's scale. The auxiliary is
        divided by its own maximum: its intensity unit is unrelated to the target's.
    """
    kspace = fft2c(target.to(torch.complex64))
    noisy = kspace if noise is None else kspace + noise
    undersampled = noisy * mask
    scale = ifft2c(undersampled).abs().amax(dim=(-2, -1))
    # An empty slice has scale 0; dividing by 1 leaves it zero instead of NaN.
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    per_slice = scale[:, None, None]
    peak = auxiliary.amax(dim=(-2, -1), keepdim=True)
    auxiliary = auxiliary / torch.where(peak > 0, peak, torch.ones_like(peak))
    measurement = Measurement(
        kspace=undersampled / per_slice,
        mask=mask,
        auxiliary=auxiliary,
        auxiliary_kspace=fft2c(auxiliary.to(torch.complex64)),
        scale=scale,
    )
    truth = Truth(image=target.abs() / per_slice, kspace=kspace / per_slice)
    return measurement, truth
