"""Tiny trainings in this process: begun, interrupted, and what two equal ones share."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import torch
from tiny_runs import MASKS
from torch import Tensor, nn

from data_prep.measurement import Measurement, Truth
from data_prep.undersample.acquisition import Acquisition, open_acquisition, open_split
from data_prep.undersample.slices import SliceStore
from methods.contract import Reconstruction, ReconstructionModel
from workflow.run.job import Job
from workflow.run.spec import RunSpec
from workflow.train.__main__ import train
from workflow.train.choices import Choices
from workflow.train.history import HISTORY
from workflow.train.loop import Training
from workflow.train.progress import StateFile
from workflow.train.termination import Termination

CPU = torch.device("cpu")
# Compared as bytes; history.csv holds seconds and is compared without them.
BIT_EQUAL = ("model.ckpt", "metrics.csv", "examples.npz")
# A network with batch normalisation.
NORMED = {"method": "xiang", "folder": "xiang", "parameters": {"width": 2, "levels": 2, "loss": "mse"}}


def job(folder: Path, output: Path, spec: RunSpec, device: str = "cpu") -> Job:
    return Job(spec, folder / "data" / spec.dataset, folder / f"{spec.mask}.npz", output, device)


def command(folder: Path, output: Path, content: dict[str, Any]) -> list[str]:
    """Return the command that trains what ``spec_content`` describes, on the CPU."""
    arguments = ["--spec", json.dumps(content), "--data", str(folder / "data" / "ixi"), "--device", "cpu"]
    arguments += ["--mask", str(folder / f"{MASKS['ixi']}.npz"), "--output", str(output)]
    return [sys.executable, "-m", "workflow.train", *arguments]


def run(folder: Path, output: Path, spec: RunSpec, termination: Termination | None = None) -> dict[str, Any]:
    """Train in this process and return run.json."""
    train(job(folder, output, spec), termination or Termination())
    return json.loads((output / "run.json").read_text())


def history(output: Path) -> list[dict[str, float]]:
    with (output / "history.csv").open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def results(output: Path) -> tuple[Any, ...]:
    """Everything that two equal trainings share."""
    lines = (output / "history.csv").read_text().splitlines()
    assert HISTORY[-1] == "seconds"
    timeless = [line.rpartition(",")[0] for line in lines]
    record = json.loads((output / "run.json").read_text())
    kept = {name: record[name] for name in ("status", "best_epoch", "epochs", "training_hash")}
    return (*((output / name).read_bytes() for name in BIT_EQUAL), timeless, kept)


def opened(folder: Path, dataset: str, noise: float) -> tuple[Acquisition, SliceStore]:
    """Return a dataset's masks, and its training split."""
    acquisition = open_acquisition(folder / f"{MASKS[dataset]}.npz", dataset, MASKS[dataset], noise, 2022)
    return acquisition, open_split(folder / "data" / dataset, "train", acquisition, CPU, 1.0)


def training_of(
    folder: Path,
    spec: RunSpec,
    model: ReconstructionModel,
    state: Path,
    choices: Choices | None = None,
    termination: Termination | None = None,
) -> Training:
    acquisition, train = opened(folder, spec.dataset, spec.noise)
    stores = {"train": train, "val": open_split(folder / "data" / spec.dataset, "val", acquisition, CPU, 1.0)}
    file, termination = StateFile(state, {"of": "a test"}), termination or Termination()
    return Training(spec, model, stores, acquisition, CPU, file, termination, choices=choices)


class Toy(ReconstructionModel):
    """The zero-filled image times a learned factor."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.5))

    def forward(self, measurement: Measurement) -> Reconstruction:
        return Reconstruction(self.factor * measurement.zero_filled)

    def loss(self, reconstruction: Reconstruction, truth: Truth, measurement: Measurement) -> Tensor:
        return (reconstruction.image - truth.image).abs().mean()


class StopAt(Termination):
    """SIGTERM at the n-th moment at which training looks for it."""

    def __init__(self, moment: int) -> None:
        self.left = moment
        super().__init__()

    @property
    def noticed(self) -> bool:
        self.left -= 1
        return self.left < 0

    @noticed.setter
    def noticed(self, value: bool) -> None:
        pass


def exit_status(folder: Path, output: Path, spec: RunSpec, termination: Termination) -> object:
    """Return the status with which a training leaves, None if it comes to its end."""
    try:
        run(folder, output, spec, termination)
    except SystemExit as left:
        return left.code
    return None


def count_steps(monkeypatch) -> list[int]:
    steps: list[int] = []
    real = Training._step
    monkeypatch.setattr(
        Training, "_step", lambda self, *arguments: (steps.append(arguments[1]), real(self, *arguments))[1]
    )
    return steps
