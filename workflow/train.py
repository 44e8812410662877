r"""Train one method under one mask, then score it.

Writes model.ckpt, history.csv, metrics.csv, examples.npz and run.json:

    python -m workflow.train --spec JSON --data results/X/data/ixi --mask results/X/masks/ixi/NAME.npz \
        --output results/X/runs/ixi/NAME/METHOD/seed0

The weights are those of the epoch with the lowest validation loss; the test split is opened only after it
is chosen. The state of the training is kept in OUTPUT/resume/ and marked with a hash of all that it depends
on: killed at any moment and started again, a training goes on from its last epoch and ends with the same
bits; SIGTERM saves first, in the middle of an epoch too. A finished training is not repeated when only its
evaluation changed. A batch that does not fit the GPU's memory is computed in parts.

With ``training.devices`` above 1 in the spec, as many processes train together, each on a GPU of its own (on
the CPU where there is none). history.csv grows while the training runs; with ``training.logger: tensorboard``
so does OUTPUT/tensorboard/.
"""

import argparse
import csv
import gc
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.errors import BadInput, run_command
from data_prep.files import replacing
from workflow import runs
from workflow.convergence import converged
from workflow.evaluate import add_run_arguments, evaluate, run_record, write_evaluation
from workflow.runs import RunSpec

if TYPE_CHECKING:
    from methods.contract import ReconstructionModel
    from workflow.execution import Termination
    from workflow.learning import Progress, Training

HISTORY = ("epoch", "train_loss", "val_loss", "val_psnr", "learning_rate", "seconds")


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


def train(job: Job, termination: "Termination") -> "Progress":
    """Train, evaluate and write everything.

    Args:
        job: what to train.
        termination: tells when SIGTERM has come.

    Returns:
        Where the training ended.
    """
    from workflow.acquisition import open_split
    from workflow.execution import Origin, reconstructor, save_checkpoint

    started = time.perf_counter()
    spec, output = job.spec, job.output
    runs.remove_partial_files(output)
    runs.remove_partial_files(output / "resume")
    if spec.training.devices > 1:
        from workflow.together import train_together

        train_together(job, termination)
    # After many processes, this one finds the training ended and evaluates it.
    training = fit(lambda: open_training(job, termination))

    progress, model, stores = training.progress, training.model, dict(training.stores)
    settings, device, acquisition = spec.training, training.device, training.acquisition
    model.load_state_dict(progress.weights)
    stores["test"] = open_split(job.data, "test", acquisition, device, settings.resident_gigabytes)
    finished = progress.status == "finished"
    reconstruct = reconstructor(model, settings.precision, device, progress.status)
    evaluation = evaluate(reconstruct, spec, stores["test"], acquisition)

    training_hash = runs.identity_hash(training.identity)
    save_checkpoint(model, spec, Origin(training_hash, progress.status), output / "model.ckpt")
    write_history(progress.history, output / "history.csv")
    write_evaluation(evaluation, output)
    record = run_record(spec, model, device, stores, acquisition, evaluation)
    record |= {
        "status": progress.status,
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "converged": converged([row["val_loss"] for row in progress.history]) if finished else None,
        "diverged_step": progress.diverged_step,
        "training_hash": training_hash,
        "environments": progress.environments,
        "restarts": progress.restarts,
        "refused_states": progress.refused,
        "micro_batch": progress.micro_batch,
        "notes": notes(progress, spec, model),
        "energy_joules": progress.energy_joules if device.type == "cuda" else None,
    }
    record["peak_memory_bytes"] = max(record["peak_memory_bytes"], progress.peak_memory_bytes)
    record["seconds"]["training"] = sum(row["seconds"] for row in progress.history)
    record["seconds"]["total"] = time.perf_counter() - started
    record["throughput"]["training_slices_per_second"] = progress.slices / progress.training_seconds
    # Last: a folder with run.json is complete.
    runs.write_json(output / "run.json", record)
    return progress


def open_training(job: Job, termination: "Termination", processes: int = 1, process: int = 0) -> "Training":
    """Return a training at its beginning.

    Args:
        job: what to train.
        termination: tells when SIGTERM has come.
        processes: that train together.
        process: which of them this is, from 0.
    """
    import torch

    from workflow.acquisition import open_acquisition, open_split
    from workflow.execution import build_model, set_up_torch
    from workflow.learning import Training

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
        runs.training_identity(spec, fingerprints, acquisition.masks.sha256),
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


def fit(begin: "Callable[[], Training]") -> "Training":
    """Bring a training to its end; where a batch does not fit the device's memory, go on in smaller parts.

    It then goes on from its last saved state, because a step that broke off may have moved batch statistics.
    """
    import torch

    halve = False
    while True:
        training = begin()
        training.resume()
        if halve:
            training.halve()
        try:
            training.fit()
            return training
        except torch.OutOfMemoryError:
            halve = True
        # The tensors of the attempt are to be gone before the next.
        del training
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def notes(progress: "Progress", spec: RunSpec, model: "ReconstructionModel") -> list[str]:
    """Say what was done otherwise than in a plain training on one device, one sentence each."""
    from workflow.learning import has_batch_norm

    found = []
    normed = has_batch_norm(model)
    if progress.micro_batch is not None:
        parts = f"of at most {progress.micro_batch} slices"
        found.append(
            f"out of memory: each batch was computed in parts {parts} and their gradients were added up"
            + (f"; batch normalisation took its statistics from parts {parts}" if normed else "")
        )
    if spec.training.devices > 1:
        found.append(
            f"{spec.training.devices} processes shared each batch (DDP)"
            + ("; batch normalisation took its statistics over all of them (SyncBatchNorm)" if normed else "")
        )
    return found


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


class TensorBoardCurves:
    """A training's history for TensorBoard: every finished epoch once, however often it was interrupted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None
        self._written = 0

    def update(self, history: "list[dict[str, float]]") -> None:
        """Write the epochs that are not written yet; the first call replaces what an earlier process left."""
        if self._writer is None:
            # Heavy, and of no use to other trainings.
            from torch.utils.tensorboard import SummaryWriter

            shutil.rmtree(self.folder, ignore_errors=True)
            self._writer = SummaryWriter(str(self.folder))
        for row in history[self._written :]:
            for name in HISTORY[1:]:
                self._writer.add_scalar(name, row[name], int(row["epoch"]))
        self._written = len(history)
        self._writer.flush()


def write_history(history: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write history.csv; numbers read back exactly."""
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, HISTORY, lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m workflow.train", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add_run_arguments(parser)
    arguments = parser.parse_args()
    spec = RunSpec.from_json(arguments.spec)
    if not spec.trainable:
        raise BadInput(f"--spec: trainable: {spec.method} has nothing to train; use workflow.evaluate")
    from workflow.execution import Termination
    from workflow.learning import say

    termination = Termination()
    termination.listen()
    job = Job(spec, arguments.data, arguments.mask, arguments.output, arguments.device)
    progress = train(job, termination)
    say(f"{spec.method}: {progress.status} after {progress.epoch} epochs, best epoch {progress.best_epoch}")


if __name__ == "__main__":
    run_command(main)
