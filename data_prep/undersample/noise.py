"""Complex Gaussian noise in k-space, as strong as a share of the slice's mean intensity.

The Fourier transform here is unitary, so that k-space noise of a given standard deviation has the same
standard deviation in the image. The magnitude of an image with such noise is Rician distributed.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from data_prep.undersample.transfer import sent


def noise_std(target: Tensor, level: float) -> Tensor:
    """Standard deviation of the noise per real and imaginary part, for each slice.

    Args:
        target: fully sampled target, float32 or complex64 (batch, height, width), scanner units.
        level: share of the slice's mean magnitude, e.g. 0.1.

    Returns:
        float32 (batch,), scanner units. The mean is taken in double precision, which hides the order of
        summation: the value does not depend on the other slices of the batch.
    """
    mean = target.abs().mean(dim=(-2, -1), dtype=torch.float64)
    return (level * mean).to(torch.float32)


def evaluation_noise(
    std: Tensor, shape: tuple[int, int], seeds: Sequence[int], device: torch.device | str
) -> Tensor:
    """Draw each slice's noise from a CPU generator of its own, so that every device and batch sees the same.

    Args:
        std: as from :func:`noise_std`, float32 (batch,).
        shape: (height, width).
        seeds: one per slice, hashed from the slice's names.
        device: where the noise is wanted.

    Returns:
        k-space noise, complex64 (batch, height, width) on ``device``, scanner units.
    """
    if len(seeds) != len(std):
        raise ValueError(f"{len(seeds)} seeds for {len(std)} slices")
    draws = torch.empty((len(seeds), *shape, 2), dtype=torch.float32)
    for draw, seed in zip(draws, seeds, strict=True):
        draw.normal_(generator=torch.Generator().manual_seed(seed))
    unit = torch.view_as_complex(sent(draws, device))
    return unit * std.to(device)[:, None, None]


def training_noise(std: Tensor, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Draw fresh noise on the device of ``std``, where ``generator`` must be too.

    Returns:
        k-space noise, complex64 (batch, height, width), scanner units.
    """
    draws = torch.randn((len(std), *shape, 2), generator=generator, device=std.device)
    return torch.view_as_complex(draws) * std[:, None, None]
