r"""Train one method under one mask, then score it.

Writes model.ckpt, history.csv, metrics.csv, examples.npz and run.json:

    python -m workflow.train --spec JSON --data results/shared/data/brats-KEY \
        --mask results/X/masks/brats/NAME.npz --output results/X/runs/brats/NAME/METHOD/seed0

The weights are those of the epoch with the lowest validation loss; the test split is opened only after it
is chosen, and not at all by a trial of a tuning, which is scored on the validation split. The state of the
training is kept in OUTPUT/resume/ and marked with a hash of all that it depends on: killed at any moment and
started again, a training goes on from its last epoch and ends with the same bits; SIGTERM saves first, in the
middle of an epoch too. A finished training is not repeated when only its evaluation changed. A batch that
does not fit the GPU's memory is computed in parts.

With ``training.devices`` above 1 in the spec, as many processes train together, each on a GPU of its own (on
the CPU where there is none). history.csv grows while the training runs; with ``training.logger: tensorboard``
so does OUTPUT/tensorboard/.
"""

import gc
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from data_prep.errors import BadInput
from data_prep.io.command import SPREAD, command
from data_prep.io.files import remove_partial_files
from data_prep.io.json_files import write_json
from workflow.evaluate.evaluation import evaluate, write_evaluation
from workflow.evaluate.form import check_form
from workflow.evaluate.record import run_record
from workflow.run.identity import identity_hash
from workflow.run.job import Job
from workflow.run.spec import RunSpec
from workflow.train.convergence import converged
from workflow.train.history import write_history
from workflow.train.start import begin

if TYPE_CHECKING:
    from methods.contract import ReconstructionModel
    from workflow.train.loop import Training
    from workflow.train.progress import Progress
    from workflow.train.termination import Termination


def train(job: Job, termination: "Termination") -> "Progress":
    """Train, evaluate and write everything.

    Args:
        job: what to train.
        termination: tells when SIGTERM has come.

    Returns:
        Where the training ended.
    """
    from data_prep.undersample.acquisition import open_split
    from workflow.run.checkpoint import Origin, save_checkpoint
    from workflow.run.model import reconstructor

    started = time.perf_counter()
    spec, output = job.spec, job.output
    remove_partial_files(output)
    remove_partial_files(output / "resume")
    if spec.training.devices > 1:
        from workflow.train.together import train_together

        train_together(job, termination)
    # After many processes, this one finds the training ended and evaluates it.
    training = fit(job, termination)

    progress, model, stores = training.progress, training.model, dict(training.stores)
    settings, device, acquisition = spec.training, training.device, training.acquisition
    model.load_state_dict(progress.weights)
    if spec.scored not in stores:
        resident = settings.resident_gigabytes
        stores[spec.scored] = open_split(job.data, spec.scored, acquisition, device, resident)
    finished = progress.status == "finished"
    reconstruct = reconstructor(model, settings.precision, device, progress.status)
    evaluation = evaluate(reconstruct, spec, stores[spec.scored], acquisition)

    origin = Origin(identity_hash(training.state_file.identity), progress.status)
    save_checkpoint(model, spec, origin, output / "model.ckpt")
    write_history(progress.history, output / "history.csv")
    write_evaluation(evaluation, output)
    record = run_record(spec, model, device, stores, acquisition, evaluation, started, origin, output)
    record = replace(
        record,
        epochs=progress.epoch,
        best_epoch=progress.best_epoch,
        converged=converged([row["val_loss"] for row in progress.history]) if finished else None,
        diverged_step=progress.diverged_step,
        environments=progress.environments,
        restarts=progress.restarts,
        refused_states=progress.refused,
        micro_batch=progress.micro_batch,
        notes=notes(progress, spec, model),
        compiled=progress.compiled,
        compile_seconds=progress.compile_seconds,
        recompute=progress.recompute,
        energy_joules=progress.energy_joules if device.type == "cuda" else None,
        peak_memory_bytes=max(record.peak_memory_bytes, progress.peak_memory_bytes),
        seconds=replace(record.seconds, training=sum(row["seconds"] for row in progress.history)),
        throughput=replace(
            record.throughput, training_slices_per_second=progress.slices / progress.training_seconds
        ),
    )
    # Last: a folder with run.json is complete.
    write_json(output / "run.json", record)
    return progress


def fit(job: Job, termination: "Termination") -> "Training":
    """Bring a training to its end; where a batch does not fit the device's memory, go on in smaller parts.

    It then goes on from its last saved state, because a step that broke off may have moved batch statistics.
    """
    import torch

    from data_prep.undersample.device_memory import out_of_memory

    halve = False
    while True:
        training = begin(job, termination, halve=halve)
        try:
            check_form(training.model, job.spec, training.stores["val"], training.acquisition)
            training.fit()
            return training
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            halve = True
        # The tensors of the attempt are to be gone before the next, and what was compiled for its sizes.
        del training
        torch.compiler.reset()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            # The next attempt's own; that of the whole device says nothing of what the training takes.
            torch.cuda.reset_peak_memory_stats()


def notes(progress: "Progress", spec: RunSpec, model: "ReconstructionModel") -> list[str]:
    """Say what was done otherwise than in a plain training on one device, one sentence each."""
    from workflow.train.batches import has_batch_norm
    from workflow.train.choices import NOT_COMPILED

    found = []
    normed = has_batch_norm(model)
    if progress.micro_batch is not None:
        parts = f"of at most {progress.micro_batch} slices"
        found.append(
            f"out of memory: each batch was computed in parts {parts} and their gradients were added up"
            + (f"; batch normalisation took its statistics from parts {parts}" if normed else "")
        )
    if spec.training.compile is True and not progress.compiled:
        found.append(NOT_COMPILED)
    if spec.training.devices > 1:
        found.append(
            f"{spec.training.devices} processes shared each batch (DDP)"
            + ("; batch normalisation took its statistics over all of them (SyncBatchNorm)" if normed else "")
        )
    return found


@command
def main(job: Annotated[Job, SPREAD]) -> None:
    """Train, and say how it ended."""
    from workflow.train.progress import say
    from workflow.train.termination import Termination

    method = job.spec.method
    if not job.spec.trainable:
        raise BadInput(f"--spec: trainable: {method} has nothing to train; use workflow.evaluate")
    termination = Termination()
    termination.listen()
    progress = train(job, termination)
    say(f"{method}: {progress.status} after {progress.epoch} epochs, best epoch {progress.best_epoch}")
