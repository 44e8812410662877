"""The metrics of ``workflow.metrics.volume`` on the device that reconstructed: a GPU does not wait for a CPU.

In double precision too; sums run in another order, so the last bits differ. On a CPU
``workflow.metrics.volume`` is faster and is what is used.
"""

import torch
from torch import Tensor
from torch.nn import functional

from workflow.metrics.formulas import K1, K2, WINDOW
from workflow.metrics.volume import Scores

# Slices scored at once: bounds the memory that the maps of local moments take.
_AT_ONCE = 16
NAN = float("nan")


def metrics_of(target: Tensor, reconstruction: Tensor) -> Scores:
    """Score one volume in both conventions, as ``workflow.metrics.volume.metrics_of`` does.

    Args:
        target: ground-truth magnitude (slice, height, width), finite, at least 7 x 7 pixels, any device.
        reconstruction: on the same device, in the same unit and shape.
    """
    ranges = target.amax(dim=(1, 2)).double()
    volume_range = ranges.max()
    parts = [
        torch.stack([*_ssim(t, r, own, volume_range), *_errors(t, r)])
        for t, r, own in zip(
            *(torch.split(values, _AT_ONCE) for values in (target, reconstruction, ranges)), strict=True
        )
    ]
    own, in_volume, error, energy = torch.cat(parts, dim=1)
    finite = torch.isfinite(reconstruction).all(dim=2).all(dim=1)
    pixels = target.shape[1] * target.shape[2]
    slices = torch.stack([own, _psnr(error / pixels, ranges), _share(error, energy)])
    slices = torch.where(finite, slices, NAN)
    volume = torch.stack(
        [
            in_volume.mean(),
            _psnr(error.sum() / (pixels * len(target)), volume_range),
            _share(error.sum(), energy.sum()),
        ]
    )
    volume = torch.where(finite.all(), volume, NAN)
    names = ("ssim", "psnr", "nmse")
    return (
        dict(zip(names, slices.cpu().numpy(), strict=True)),
        dict(zip(names, volume.tolist(), strict=True)),
    )


def _ssim(target: Tensor, reconstruction: Tensor, own: Tensor, volume: Tensor) -> tuple[Tensor, Tensor]:
    """Mean similarity of each slice under its own data range (slice,) and under the volume's."""
    t, r = target.double(), reconstruction.double()
    moments = torch.stack([t, r, t * t, r * r, t * r], dim=1)
    mean, other, square, other_square, product = functional.avg_pool2d(moments, WINDOW, stride=1).unbind(1)
    samples = WINDOW**2 / (WINDOW**2 - 1)
    contrast = 2 * samples * (product - mean * other)
    variances = samples * (square - mean * mean + other_square - other * other)
    luminance, energies = 2 * mean * other, mean * mean + other * other

    def similarity(data_range: Tensor) -> Tensor:
        c1 = (K1 * data_range).square()[..., None, None]
        c2 = (K2 * data_range).square()[..., None, None]
        values = (luminance + c1) * (contrast + c2) / ((energies + c1) * (variances + c2))
        return torch.where(data_range > 0, values.mean(dim=(1, 2)), NAN)

    return similarity(own), similarity(volume)


def _errors(target: Tensor, reconstruction: Tensor) -> tuple[Tensor, Tensor]:
    """Squared error, and squared norm of the target, of each slice."""
    t, r = target.double(), reconstruction.double()
    return (r - t).square().sum(dim=(1, 2)), t.square().sum(dim=(1, 2))


def _psnr(error: Tensor, data_range: Tensor) -> Tensor:
    return torch.where(data_range > 0, 10 * torch.log10(data_range.square() / error), NAN)


def _share(error: Tensor, energy: Tensor) -> Tensor:
    return torch.where(energy > 0, error / energy, NAN)
