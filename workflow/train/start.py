"""What one process of a training needs to start."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workflow.run.identity import training_identity
from workflow.run.spec import RunSpec
from workflow.train.history import TensorBoardCurves, write_history

if TYPE_CHECKING:
    from workflow.train.loop import Training
    from workflow.train.progress import Progress
    from workflow.train.termination import Termination


@dataclass(frozen=True)
class Job:
    """What a training is begun from; every process that takes part gets it.

    Attributes:
        spec: the run.
        data: folder with train.h5, val.h5 and test.h5.
        mask_file: the run's masks.
        output: folder to write.
        device: ``auto``, ``cpu`` or ``cuda``.
    """

    spec: RunSpec
    data: Path
    mask_file: Path
    output: Path
    device: str


def open_training(job: Job, termination: "Termination", processes: int = 1, process: int = 0) -> "Training":
    """Return a training at its beginning.

    Args:
        job: what to train.
        termination: tells when SIGTERM has come.
        processes: that train together.
        process: which of them this is, from 0.
    """
    import torch

    from data_prep.undersample.acquisition import open_acquisition, open_split
    from workflow.run.device import set_up_torch
    from workflow.run.model import build_model
    from workflow.train.loop import Training

    spec, settings = job.spec, job.spec.training
    device = set_up_torch(settings.threads, job.device)
    if device.type == "cuda":
        device = torch.device("cuda", process)
        torch.cuda.set_device(device)
    acquisition = open_acquisition(job.mask_file, spec.dataset, spec.mask, spec.noise, spec.base_seed)
    stores = {
        split: open_split(job.data, split, acquisition, device, settings.resident_gigabytes)
        for split in ("train", "val")
    }
    fingerprints = {split: store.fingerprint for split, store in stores.items()}
    return Training(
        spec,
        training_identity(spec, fingerprints, acquisition.masks.sha256),
        build_model(spec, (stores["train"].height, stores["train"].width)),
        stores,
        acquisition,
        device,
        job.output / "resume" / "state.pt",
        termination,
        _watcher(job),
        processes,
        process,
    )


def _watcher(job: Job) -> "Callable[[Progress], None]":
    """Return what shows a training while it runs."""
    curves = None
    if job.spec.training.logger == "tensorboard":
        curves = TensorBoardCurves(job.output / "tensorboard")

    def watch(progress: "Progress") -> None:
        if progress.history:
            write_history(progress.history, job.output / "history.csv")
        if curves is not None:
            curves.update(progress.history)

    return watch
