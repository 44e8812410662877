"""Batches and what learns from one."""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from data_prep.measurement import Measurement, Truth
from methods.contract import ReconstructionModel
from methods.recomputation import recomputation
from workflow.train.choices import Choices, compiled


def shares(count: int, processes: int, process: int, most: int | None) -> list[tuple[slice, float]]:
    """Return which slices of a step one process computes, in parts, and the share of each in the mean loss.

    All processes get equally many parts, because batch statistics may be joined in each, and in a part every
    slice counts as often as any other: where there are fewer slices than processes, all compute them all. (Of
    the statistics only the running variance notices, by its division by one less than the count of pixels.)

    Args:
        count: slices of the step.
        processes: that train together.
        process: which of them, from 0.
        most: slices in a part; None for no limit.
    """
    parts = math.ceil(math.ceil(count / processes) / (most or count))
    found = []
    for start, stop in itertools.pairwise(count * part // parts for part in range(parts + 1)):
        size = stop - start
        if size >= processes:
            begin, end = (start + size * number // processes for number in (process, process + 1))
            found.append((slice(begin, end), (end - begin) / count))
        else:
            step = min(size, most or size)
            found += [
                (slice(begin, min(begin + step, stop)), min(step, stop - begin) / count / processes)
                for begin in range(start, stop, step)
            ]
    return found


def has_batch_norm(model: nn.Module) -> bool:
    """Tell whether what a network makes of a slice depends on the slices beside it in training."""
    return any(isinstance(module, _BatchNorm) for module in model.modules())


class Batch:
    """Measurement and truth on their way into the network.

    A plain class, because Fabric converts the tensors of all other containers to the network's precision,
    while k-space, noise and truth are to stay as they are.
    """

    def __init__(self, measurement: Measurement, truth: Truth) -> None:
        self.measurement = measurement
        self.truth = truth

    def part(self, rows: slice) -> "Batch":
        """Return some of the slices, as views."""
        count = len(self.truth.image)

        def cut(values: Tensor) -> Tensor:
            # A mask may be one for all slices.
            return values[rows] if len(values) == count else values

        measurement, truth = (
            {name: cut(value) for name, value in vars(both).items()}
            for both in (self.measurement, self.truth)
        )
        return Batch(Measurement(**measurement), Truth(**truth))


class Learner(nn.Module):
    """A method and its own loss in one call, which is what Fabric wraps; compiled in training, if chosen."""

    def __init__(self, model: ReconstructionModel, choices: Choices, *, deterministic: bool = True) -> None:
        super().__init__()
        self.model = model
        self.recompute = choices.recompute
        self.compiled = None
        if choices.compiler is not None:
            # Not the module, whose parameters would change their names.
            self.compiled = compiled(self.computed, choices.compiler, deterministic=deterministic)

    def computed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return what ``forward`` does, operation by operation."""
        with recomputation(allowed=self.recompute):
            reconstruction = self.model(batch.measurement)
        return self.model.loss(reconstruction, batch.truth, batch.measurement), reconstruction.image

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the scalar loss, and the image (batch, height, width)."""
        step = self.compiled if self.compiled is not None and self.training else self.computed
        return step(batch)


def summed_psnr(image: Tensor, truth: Truth) -> tuple[Tensor, Tensor]:
    """Return the sum of the PSNR of images (batch, height, width) in dB, and the number of those that count.

    A slice's PSNR takes its own largest value as range; slices without any signal do not count.
    """
    peak = truth.image.amax(dim=(-2, -1))
    error = (image - truth.image).square().mean(dim=(-2, -1))
    counted = peak > 0
    psnr = torch.where(counted, 10 * torch.log10(peak.square() / error), 0)
    return psnr.sum(), counted.sum()


def in_batches(positions: Sequence[int], size: int) -> list[Sequence[int]]:
    """Return positions in groups of ``size``, the last of which may be smaller."""
    return [positions[start : start + size] for start in range(0, len(positions), size)]
