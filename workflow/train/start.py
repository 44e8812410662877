"""What one process of a training needs to start."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from workflow.run.identity import training_identity
from workflow.run.job import Job
from workflow.train.history import TensorBoardCurves, write_history

if TYPE_CHECKING:
    from workflow.train.loop import Training
    from workflow.train.progress import Progress
    from workflow.train.team import Team
    from workflow.train.termination import Termination


def begin(
    job: Job, termination: "Termination", team: "Team | None" = None, *, halve: bool = False
) -> "Training":
    """Return a training where its stored state ends, or at its beginning.

    Args:
        job: what to train.
        termination: tells when SIGTERM has come.
        team: the processes that train together; by default this one alone.
        halve: whether memory was short, so that parts of a batch are to be half as large as they were.
    """
    import torch

    from data_prep.undersample.acquisition import open_acquisition, open_split
    from workflow.run.device import set_up_torch
    from workflow.run.model import build_model
    from workflow.train.choices import NOT_COMPILED, chosen
    from workflow.train.loop import Training
    from workflow.train.progress import StateFile
    from workflow.train.team import Team

    spec, settings = job.spec, job.spec.training
    team = team or Team()
    device = set_up_torch(settings.threads, job.device)
    if device.type == "cuda":
        device = torch.device("cuda", team.rank)
        torch.cuda.set_device(device)
    acquisition = open_acquisition(job.mask, spec.dataset, spec.mask, spec.noise, spec.base_seed, spec.phase)
    stores = {
        split: open_split(job.data, split, acquisition, device, settings.resident_gigabytes)
        for split in ("train", "val")
    }
    fingerprints = {split: store.fingerprint for split, store in stores.items()}
    train = stores["train"]
    choices = chosen(settings, device, len(train), train.height * train.width)
    identity = training_identity(
        spec, fingerprints, acquisition.masks.sha256, compiled=choices.compiler is not None
    )
    training = Training(
        spec,
        build_model(spec, (train.height, train.width)),
        stores,
        acquisition,
        device,
        StateFile(job.output / "resume" / "state.pt", identity),
        termination,
        team,
        _watcher(job) if team.leads else lambda _: None,
        choices,
    )
    if choices.compiler is not None:
        team.say("torch compiles the first steps, which takes a minute or two")
    elif settings.compile is True:
        team.say(NOT_COMPILED)
    training.resume()
    if halve:
        training.halve()
    return training


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
