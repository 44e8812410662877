r"""Reconstruct the test split with one method and score it: metrics.csv, examples.npz, run.json.

An untrained method whose spec names values to try (``tune``) chooses among them on the validation split
before. A training scores itself in the same way, in its own process; this command serves untrained
methods, and trained ones by their checkpoint:

    python -m workflow.evaluate --spec JSON --data results/shared/data/brats-KEY \
        --mask results/X/masks/brats/NAME.npz [--checkpoint model.ckpt] --output FOLDER
"""

import sys
import time
from dataclasses import replace
from typing import Annotated

from data_prep.io.command import SPREAD, command
from data_prep.io.files import remove_partial_files
from data_prep.io.hashes import file_sha256
from data_prep.io.json_files import write_json
from workflow.evaluate.evaluation import evaluate, write_evaluation
from workflow.evaluate.form import check_form
from workflow.evaluate.record import run_record
from workflow.run.job import Checkpoint, Job, check_checkpoint


@command
def main(job: Annotated[Job, SPREAD], checkpoint: Checkpoint = None) -> None:
    """Reconstruct, score and write."""
    spec = job.spec
    check_checkpoint(spec, checkpoint)
    from data_prep.undersample.acquisition import open_acquisition, open_split
    from workflow.run.device import set_up_torch
    from workflow.run.model import restore

    started = time.perf_counter()
    training = spec.training
    device = set_up_torch(training.threads, job.device)
    acquisition = open_acquisition(job.mask, spec.dataset, spec.mask, spec.noise, spec.base_seed, spec.phase)
    stores, tuning = {}, None
    chosen = spec
    if spec.tune:
        from workflow.evaluate.tuning import tune

        stores["val"] = open_split(job.data, "val", acquisition, device, training.resident_gigabytes)
        chosen, tuning = tune(spec, stores["val"], acquisition, device)
    # Opened after the parameters are chosen: the test split has no say in them.
    store = open_split(job.data, spec.scored, acquisition, device, training.resident_gigabytes)
    stores[spec.scored] = store
    shape = (store.height, store.width)
    model, reconstruct, origin = restore(chosen, shape, checkpoint, device)
    check_form(model, spec, store, acquisition)
    evaluation = evaluate(reconstruct, spec, store, acquisition)
    output = job.output
    remove_partial_files(output)
    write_evaluation(evaluation, output)
    record = run_record(spec, model, device, stores, acquisition, evaluation, started, origin, output)
    outputs = record.outputs
    if checkpoint is not None:
        # Whichever lies in the folder: the scores are of this one.
        outputs = outputs | {"model.ckpt": file_sha256(checkpoint)}
    write_json(output / "run.json", replace(record, tuning=tuning, outputs=outputs))
    print(f"{spec.method}: {evaluation.slices} slices scored", file=sys.stderr)
