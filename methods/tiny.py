"""Small heads and measurements that methods are checked with."""

import torch
from torch import Tensor

from data_prep.fourier import ifft2c
from data_prep.masks.registry import parse_mask
from data_prep.masks.sets import make_masks
from data_prep.measurement import Measurement, Truth, measure

EVEN, ODD = (32, 32), (45, 37)

# Of the head-like slices: half axes and centre (in half sides), angle (rad), what it adds to the target
# and to the auxiliary.
_TISSUES = (
    (0.72, 0.92, 0.00, 0.00, 0.0, 0.30, 0.90),  # scalp
    (0.66, 0.86, 0.00, 0.00, 0.0, -0.25, -0.80),  # skull
    (0.62, 0.82, 0.00, -0.02, 0.0, 0.85, 0.20),  # fluid
    (0.58, 0.78, 0.00, -0.02, 0.0, -0.35, 0.25),  # grey matter
    (0.44, 0.62, 0.00, -0.02, 0.0, -0.20, 0.25),  # white matter
    (0.10, 0.28, 0.20, -0.05, -0.3, 0.60, -0.55),  # ventricles
    (0.10, 0.28, -0.20, -0.05, 0.3, 0.60, -0.55),
    (0.07, 0.07, 0.28, 0.42, 0.0, 0.40, -0.05),  # a lesion
)


def head_slices(batch: int, shape: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw target and auxiliary, float32 (batch, height, width): one anatomy each, in two contrasts."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, size) for size in shape), indexing="ij")
    target, auxiliary = torch.zeros(batch, *shape), torch.zeros(batch, *shape)
    for half_x, half_y, centre_x, centre_y, angle, of_target, of_auxiliary in _TISSUES:
        moved = 0.04 * torch.randn(batch, 3, 1, 1, generator=generator)
        turn = torch.tensor(angle) + moved[:, 2]
        right, down = x - centre_x - moved[:, 0], y - centre_y - moved[:, 1]
        along = (right * turn.cos() + down * turn.sin()) / half_x
        across = (down * turn.cos() - right * turn.sin()) / half_y
        inside = (along.square() + across.square() < 1).float()
        target += of_target * inside
        auxiliary += of_auxiliary * inside
    # Scanners' units: the benchmark, not the method, takes care of them.
    return 300 * target.clamp(min=0), 500 * auxiliary.clamp(min=0)


def with_phase(images: Tensor) -> Tensor:
    """Give magnitude images (batch, height, width) a smooth phase, as measured k-space has."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, size) for size in images.shape[-2:]), indexing="ij")
    return torch.polar(images, 0.6 + 1.2 * x - 0.8 * y + 0.7 * x * y)


def sampling(pattern: str, batch: int, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """1d: columns, another draw for each slice; 2d: points, one mask for all slices; both with a centre."""
    height, width = shape
    if pattern == "1d":
        mask = torch.rand(batch, 1, width, generator=generator) < 0.3
        mask[:, :, width // 2 - 2 : width // 2 + 2] = True
        return mask
    mask = torch.rand(1, height, width, generator=generator) < 0.3
    mask[:, height // 2 - 2 : height // 2 + 2, width // 2 - 2 : width // 2 + 2] = True
    return mask


def example(
    shape: tuple[int, int] = EVEN, pattern: str = "1d", batch: int = 2, seed: int = 0
) -> tuple[Measurement, Truth]:
    """Measure head-like slices with noise."""
    generator = torch.Generator().manual_seed(seed)
    target, auxiliary = head_slices(batch, shape, generator)
    noise = 6 * torch.randn(batch, *shape, dtype=torch.complex64, generator=generator)
    return measure(target, auxiliary, sampling(pattern, batch, shape, generator), noise)


def named_measurement(mask_name: str, shape: tuple[int, int]) -> tuple[Measurement, Truth]:
    """Measure two head-like slices under a mask of the benchmark; fastMRI's have a phase, IXI's noise."""
    generator = torch.Generator().manual_seed(1)
    target, auxiliary = head_slices(2, shape, generator)
    subjects = ("file1", "file2")
    mask = torch.from_numpy(make_masks(mask_name, *shape, 0, subjects).evaluation(subjects))
    if parse_mask(mask_name)[0].drawn:
        return measure(with_phase(target), auxiliary, mask)
    noise = 6 * torch.randn(2, *shape, dtype=torch.complex64, generator=generator)
    return measure(target, auxiliary, mask, noise)


def measured(kspace: Tensor, auxiliary: Tensor, mask: Tensor) -> tuple[Measurement, Truth]:
    """Measure a given k-space to the bit: as the 'noise' of an empty image, for M (F 0 + n) is M n."""
    measurement, _ = measure(torch.zeros(auxiliary.shape), auxiliary, mask, kspace)
    normalised = kspace / measurement.scale[:, None, None]
    return measurement, Truth(image=ifft2c(normalised).abs(), kspace=normalised)
