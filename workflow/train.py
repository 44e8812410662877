r"""Train one method under one mask, then score it.

Writes model.ckpt, history.csv, metrics.csv, examples.npz and run.json:

    python -m workflow.train --spec JSON --data results/X/data/ixi --mask results/X/masks/ixi/NAME.npz \
        --output results/X/runs/ixi/NAME/METHOD/seed0

The weights are those of the epoch with the lowest validation loss; the test split is opened only after it
is chosen. The state of the training is kept in OUTPUT/resume/ and marked with a hash of all that it depends
on: killed at any moment and started again, a training goes on from its last epoch and ends with the same
bits; SIGTERM saves first, in the middle of an epoch too. A finished training is not repeated when only its
evaluation changed.
"""

import argparse
import csv
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.errors import BadInput, run_command
from data_prep.files import replacing
from workflow import runs
from workflow.evaluate import add_run_arguments, evaluate, run_record, write_evaluation
from workflow.runs import RunSpec

if TYPE_CHECKING:
    from workflow.execution import Termination
    from workflow.learning import Progress

HISTORY = ("epoch", "train_loss", "val_loss", "val_psnr", "learning_rate", "seconds")


def train(
    spec: RunSpec, data: Path, mask_file: Path, output: Path, device_choice: str, termination: "Termination"
) -> "Progress":
    """Train, evaluate and write everything.

    Args:
        spec: the run.
        data: folder with train.h5, val.h5 and test.h5.
        mask_file: the run's masks.
        output: folder to write.
        device_choice: ``auto``, ``cpu`` or ``cuda``.
        termination: tells when SIGTERM has come.

    Returns:
        Where the training ended.
    """
    from workflow.acquisition import open_acquisition, open_split
    from workflow.execution import (
        build_model,
        not_a_number,
        reconstructor,
        save_checkpoint,
        set_up_torch,
    )
    from workflow.learning import Training

    started = time.perf_counter()
    runs.remove_partial_files(output)
    runs.remove_partial_files(output / "resume")
    settings = spec.training
    device = set_up_torch(settings.threads, device_choice)
    acquisition = open_acquisition(mask_file, spec.dataset, spec.mask, spec.noise, spec.base_seed)
    stores = {
        split: open_split(data, split, acquisition, device, settings.resident_gigabytes)
        for split in ("train", "val")
    }
    fingerprints = {split: store.fingerprint for split, store in stores.items()}
    training_hash = runs.training_hash(spec, fingerprints, acquisition.masks.sha256)
    model = build_model(spec, (stores["train"].height, stores["train"].width))
    training = Training(
        spec, training_hash, model, stores, acquisition, device, output / "resume" / "state.pt", termination
    )
    training.resume()
    training.fit()

    progress = training.progress
    model.load_state_dict(progress.weights)
    stores["test"] = open_split(data, "test", acquisition, device, settings.resident_gigabytes)
    finished = progress.status == "finished"
    reconstruct = reconstructor(model, settings.precision, device) if finished else not_a_number
    evaluation = evaluate(reconstruct, spec, stores["test"], acquisition)

    save_checkpoint(model, spec, training_hash, output / "model.ckpt")
    write_history(progress.history, output / "history.csv")
    write_evaluation(evaluation, output)
    record = run_record(spec, model, device, stores, acquisition, evaluation)
    record |= {
        "status": progress.status,
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "training_hash": training_hash,
        "environments": progress.environments,
        "restarts": progress.restarts,
    }
    record["seconds"]["training"] = sum(row["seconds"] for row in progress.history)
    record["seconds"]["total"] = time.perf_counter() - started
    trained = progress.epoch * len(stores["train"])
    record["throughput"]["training_slices_per_second"] = trained / progress.training_seconds
    # Last: a folder with run.json is complete.
    runs.write_json(output / "run.json", record)
    return progress


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
    progress = train(spec, arguments.data, arguments.mask, arguments.output, arguments.device, termination)
    say(f"{spec.method}: {progress.status} after {progress.epoch} epochs, best epoch {progress.best_epoch}")


if __name__ == "__main__":
    run_command(main)
