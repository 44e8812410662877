"""Where a part of the GPU bench runs: the device, the sizes, and small prepared data to train on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_prep.masks.sets import make_masks
from methods.registry import discover
from tests.bench.common import MASK, SEED, write_split
from tests.bench.networks import spec_of
from workflow.run.job import Job
from workflow.run.spec import RunSpec
from workflow.train.loop import Training
from workflow.train.start import begin
from workflow.train.termination import Termination

Values = dict[str, str | int | float]
Row = Callable[[], Values]


class NotRun(Exception):
    """A row cannot be had here; the text says why."""


@dataclass(frozen=True)
class Place:
    """Where and how large.

    Attributes:
        device: a GPU, or a CPU that stands in for one, with everything tiny.
        folder: for data and outputs.
    """

    device: torch.device
    folder: Path

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def need_gpu(self) -> None:
        if not self.on_gpu:
            raise NotRun("no GPU")

    def synchronize(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def sides(self, side: int, batch: int) -> tuple[int, int]:
        """Return side and batch as they are on a GPU, and tiny on a CPU."""
        return (side, batch) if self.on_gpu else (32, 2)

    def spec(self, method: str, batch: int, precision: str, **training: Any) -> RunSpec:
        """Return a run of a method at its full width, on a CPU a small one."""
        default = discover()[method].default
        small = {} if self.on_gpu else dict(default.small)
        if "recurrences" in small:
            # The oracle has as many as the paper, and they share their weights.
            small["recurrences"] = default.parameters["recurrences"]
        return spec_of(method, batch, 1, precision, small, **training)

    def data(self, slices: int, side: int) -> Path:
        """Return a folder with splits of so many slices each, and their mask."""
        folder = self.folder / f"{slices}x{side}"
        if not folder.is_dir():
            folder.mkdir(parents=True)
            for split in ("train", "val", "test"):
                write_split(folder / f"{split}.h5", slices, side)
            masks = make_masks(MASK, side, side, SEED)
            np.savez(
                folder / "mask.npz", name=np.array(MASK), mask=masks.mask, files=np.array([], dtype=np.str_)
            )
        return folder

    def job(self, spec: RunSpec, slices: int, side: int, output: str) -> Job:
        data = self.data(slices, side)
        return Job(spec, data, data / "mask.npz", self.folder / output, self.device.type)

    def training(self, method: str, side: int, precision: str, **training: Any) -> Training:
        """Return a training at its beginning, whose step takes all slices of its split."""
        side, batch = self.sides(side, 8)
        spec = self.spec(method, batch, precision, **training)
        number = len(list(self.folder.glob("training-*")))
        output = self.folder / f"training-{number}"
        output.mkdir()
        begun = begin(self.job(spec, batch, side, output.name), Termination())
        begun.learner.train()
        return begun
